use super::*;

#[test]
fn chains_are_followed_to_the_limit_and_no_further() {
    let line = |last: usize| move |at: &usize| (*at < last).then_some(at + 1).into_iter().collect();
    assert_eq!(longest_chain(&0, line(0)), Some(0));
    assert_eq!(
        longest_chain(&0, line(MAX_GENERATIONS)),
        Some(MAX_GENERATIONS)
    );
    assert_eq!(longest_chain(&0, line(MAX_GENERATIONS + 1)), None);
    assert_eq!(longest_chain(&0, line(usize::MAX)), None);
}

#[test]
fn what_is_reached_in_many_ways_is_looked_at_once() {
    let looked = std::cell::Cell::new(0);
    let ladder = |at: &usize| {
        looked.set(looked.get() + 1);
        if *at < 60 {
            vec![at + 1, at + 2]
        } else {
            Vec::new()
        }
    };
    assert_eq!(longest_chain(&0, ladder), Some(60));
    assert!(looked.get() <= 62, "{}", looked.get());
    assert_eq!(
        longest_chain(&0, |at: &usize| vec![(at + 1) % 3]),
        Some(3),
        "a circle"
    );
}

#[test]
fn what_is_known_is_kept_and_a_chain_that_is_too_long_spoils_nothing() {
    let looked = std::cell::Cell::new(0);
    let mut chains = Chains::new(|at: &usize| {
        looked.set(looked.get() + 1);
        if *at < 100 { vec![at + 1] } else { Vec::new() }
    });
    assert_eq!(chains.length(&0), None);
    looked.set(0);
    assert_eq!(chains.length(&90), Some(10));
    assert_eq!(chains.length(&80), Some(20));
    assert_eq!(looked.get(), 21);
    assert_eq!(chains.length(&0), None);
    assert_eq!(chains.length(&50), Some(50));
}
