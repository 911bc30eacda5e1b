use super::*;

const GIVEN: Duration = Duration::from_millis(500);
const CONFIGURED: usize = 1_000;

/// Windows of requests that each have waited so long, so many under way.
fn windows(
    pressure: &ConcurrencyLimit,
    from: u64,
    count: u64,
    waited_ms: u64,
    under_way: usize,
) -> u64 {
    for window in from..from + count {
        let now = WINDOW * u32::try_from(window).expect("few");
        for _ in 0..SAMPLES {
            let waited = Duration::from_millis(waited_ms);
            pressure.ended_at(now, waited, GIVEN, under_way, CONFIGURED);
        }
    }
    from + count
}

#[test]
fn what_is_configured_holds_while_nobody_waits() {
    let pressure = ConcurrencyLimit::default();
    windows(&pressure, 0, 20, 1, 900);
    assert_eq!(pressure.limit(CONFIGURED), CONFIGURED);
    assert!(!pressure.is_reduced(CONFIGURED));
}

#[test]
fn the_limit_falls_below_what_waits_and_rises_again() {
    let pressure = ConcurrencyLimit::default();
    let now = windows(&pressure, 0, 2, 250, 400);
    // Two windows: half of what was under way, twice.
    assert_eq!(pressure.limit(CONFIGURED), 100);
    assert!(pressure.is_reduced(CONFIGURED));
    let now = windows(&pressure, now, 1, 1, 100);
    assert_eq!(pressure.limit(CONFIGURED), 125, "a quarter more");
    windows(&pressure, now, 60, 1, 208);
    assert!(!pressure.is_reduced(CONFIGURED), "it is over");
}

#[test]
fn near_what_is_wanted_the_limit_hardly_moves() {
    let pressure = ConcurrencyLimit::default();
    let now = windows(&pressure, 0, 1, 100, 400);
    assert_eq!(pressure.limit(CONFIGURED), 282, "twice what is wanted");
    // 50 ms of 500 are wanted.
    let now = windows(&pressure, now, 1, 55, 282);
    assert_eq!(pressure.limit(CONFIGURED), 268, "half of an eleventh less");
    let now = windows(&pressure, now, 1, 47, 268);
    assert_eq!(pressure.limit(CONFIGURED), 276, "half of a sixteenth more");
    let now = windows(&pressure, now, 1, 50, 276);
    assert_eq!(pressure.limit(CONFIGURED), 277, "one more");
    windows(&pressure, now, 1, 51, 277);
    assert_eq!(pressure.limit(CONFIGURED), 274);
}

#[test]
fn with_no_place_left_the_limit_holds_at_once() {
    let pressure = ConcurrencyLimit::default();
    pressure.note_full(CONFIGURED);
    assert_eq!(pressure.limit(CONFIGURED), CONFIGURED - 1);
    pressure.note_full(CONFIGURED);
    assert_eq!(pressure.limit(CONFIGURED), CONFIGURED - 1, "once");
    // It was only a moment.
    windows(&pressure, 0, 1, 1, CONFIGURED - 1);
    assert!(!pressure.is_reduced(CONFIGURED));
    pressure.note_full(MIN_LIMIT);
    assert_eq!(pressure.limit(MIN_LIMIT), MIN_LIMIT);
}

#[test]
fn some_are_always_let_in() {
    let pressure = ConcurrencyLimit::default();
    windows(&pressure, 0, 100, 10_000, 2);
    assert_eq!(pressure.limit(CONFIGURED), MIN_LIMIT);
    assert_eq!(pressure.limit(2), 2, "never more than configured");
}

#[test]
fn a_few_requests_prove_nothing() {
    let pressure = ConcurrencyLimit::default();
    for _ in 1..SAMPLES {
        pressure.ended_at(WINDOW * 3, GIVEN, GIVEN, 500, CONFIGURED);
    }
    assert!(!pressure.is_reduced(CONFIGURED));
}

#[test]
fn the_part_counts_and_not_the_time() {
    assert_eq!(
        thousandths(Duration::from_millis(50), GIVEN),
        WANTED_PER_MILLE
    );
    assert_eq!(thousandths(GIVEN * 9, GIVEN), 1_000);
    assert_eq!(thousandths(GIVEN, Duration::ZERO), 1_000);
    let pressure = ConcurrencyLimit::default();
    let waited = Duration::from_millis(150);
    for window in 0..4 {
        for _ in 0..SAMPLES {
            let given = Duration::from_secs(2);
            pressure.ended_at(WINDOW * window, waited, given, 500, CONFIGURED);
        }
    }
    assert!(!pressure.is_reduced(CONFIGURED), "150 ms of 2 s are little");
}
