use super::*;
use crate::adapters::future_sizes_tests::future_size;

#[test]
fn the_future_of_a_message_is_small() {
    let size = future_size(hear);
    assert!(size <= 8 * 1024, "{size} bytes");
}
