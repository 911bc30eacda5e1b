use std::time::Duration;

use hyper::rt::Timer;

use super::{RoundTimer, in_round, now};

const LATER: Duration = Duration::from_millis(7);

#[test]
fn the_time_stands_still_in_a_round_alone() {
    let (begun, later) = in_round(|| {
        let begun = now();
        std::thread::sleep(LATER);
        assert_eq!(RoundTimer::default().now(), begun.into_std());
        (begun, now())
    });
    assert_eq!(begun, later);
    assert!(now() >= begun + LATER);
}

#[test]
fn a_round_within_another_has_its_own_time() {
    in_round(|| {
        let begun = now();
        std::thread::sleep(LATER);
        assert!(in_round(now) >= begun + LATER);
        assert_eq!(now(), begun);
    });
}

#[test]
fn a_panic_ends_the_round() {
    let ended = std::panic::catch_unwind(|| in_round(|| panic!("a request")));
    assert!(ended.is_err());
    let before = now();
    std::thread::sleep(LATER);
    assert!(now() >= before + LATER);
}
