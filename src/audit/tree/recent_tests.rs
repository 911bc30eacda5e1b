use super::*;

#[test]
fn a_million_records_are_recent() {
    let tile = 1 << 8;
    let above = 1 << 16;
    assert_eq!(first(0), 0);
    assert_eq!(first(17 * above - 1), 0);
    assert_eq!(first(17 * above), tile);
    assert_eq!(first(18 * above + 5), 2 * tile);
    // Whatever the size, what is recent is a million records and less than one tile of the level above.
    for size in [17 * above, 40 * above + 77, u64::MAX >> 8] {
        let recent = size - (first(size) << 8);
        assert!((16 * above..17 * above).contains(&recent), "{size}");
    }
}
