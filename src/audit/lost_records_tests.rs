use super::*;

#[test]
fn no_record_is_counted_as_lost_twice() {
    let mut lost = LostRanges::default();
    for (range, new) in [
        ((5, 9), 5),
        ((5, 9), 0),
        ((20, 20), 1),
        ((8, 12), 3),
        ((0, 30), 22),
        ((10, 11), 0),
        ((31, 31), 1),
    ] {
        assert_eq!(lost.add(range), new, "{range:?}");
    }
}
