use super::*;

#[test]
fn results_come_in_the_order_of_the_jobs() {
    for is_much in [false, true] {
        let jobs: Vec<u32> = (0..1_000).collect();
        let doubled = map_parallel(jobs, is_much, |job| job * 2);
        assert_eq!(doubled, (0..1_000).map(|job| job * 2).collect::<Vec<_>>());
    }
}

#[test]
#[should_panic(expected = "the work went wrong")]
fn a_panic_is_passed_on() {
    map_parallel(vec![1, 2, 3], true, |job| {
        assert_ne!(job, 2, "the work went wrong")
    });
}
