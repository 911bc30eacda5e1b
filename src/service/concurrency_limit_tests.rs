use super::*;

const GIVEN: Duration = Duration::from_millis(500);
const CONFIGURED: usize = 1_000;

/// The limit right after it was set.
fn limit(pressure: &ConcurrencyLimit) -> usize {
    let set_at = Duration::from_micros(pressure.set_at.load(Ordering::Relaxed));
    pressure.limit_at(CONFIGURED, || set_at)
}

fn is_reduced(pressure: &ConcurrencyLimit) -> bool {
    limit(pressure) < CONFIGURED
}

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
    assert_eq!(limit(&pressure), CONFIGURED);
    assert!(!is_reduced(&pressure));
}

#[test]
fn the_limit_falls_below_what_waits_and_rises_again() {
    let pressure = ConcurrencyLimit::default();
    let now = windows(&pressure, 0, 2, 250, 400);
    // Two windows: half of what was under way, twice.
    assert_eq!(limit(&pressure), 100);
    assert!(is_reduced(&pressure));
    let now = windows(&pressure, now, 1, 1, 100);
    assert_eq!(limit(&pressure), 125, "a quarter more");
    windows(&pressure, now, 60, 1, 208);
    assert!(!is_reduced(&pressure), "it is over");
}

#[test]
fn near_what_is_wanted_the_limit_hardly_moves() {
    let pressure = ConcurrencyLimit::default();
    let now = windows(&pressure, 0, 1, 100, 400);
    assert_eq!(limit(&pressure), 282, "twice what is wanted");
    // 50 ms of 500 are wanted.
    let now = windows(&pressure, now, 1, 55, 282);
    assert_eq!(limit(&pressure), 268, "half of an eleventh less");
    let now = windows(&pressure, now, 1, 47, 268);
    assert_eq!(limit(&pressure), 276, "half of a sixteenth more");
    let now = windows(&pressure, now, 1, 50, 276);
    assert_eq!(limit(&pressure), 277, "one more");
    windows(&pressure, now, 1, 51, 277);
    assert_eq!(limit(&pressure), 274);
}

#[test]
fn with_no_place_left_the_limit_holds_at_once() {
    let pressure = ConcurrencyLimit::default();
    pressure.note_full_at(Duration::ZERO, CONFIGURED);
    assert_eq!(limit(&pressure), CONFIGURED - 1);
    pressure.note_full_at(Duration::ZERO, CONFIGURED);
    assert_eq!(limit(&pressure), CONFIGURED - 1, "once");
    // It was only a moment.
    windows(&pressure, 0, 1, 1, CONFIGURED - 1);
    assert!(!is_reduced(&pressure));
    pressure.note_full_at(Duration::ZERO, MIN_LIMIT);
    assert_eq!(pressure.limit(MIN_LIMIT), MIN_LIMIT);
}

#[test]
fn some_are_always_let_in() {
    let pressure = ConcurrencyLimit::default();
    windows(&pressure, 0, 100, 10_000, MIN_LIMIT + 1);
    assert_eq!(limit(&pressure), MIN_LIMIT);
    assert_eq!(pressure.limit(2), 2, "never more than configured");
}

#[test]
fn a_few_requests_prove_nothing() {
    let pressure = ConcurrencyLimit::default();
    for _ in 1..SAMPLES {
        pressure.ended_at(WINDOW * 3, GIVEN, GIVEN, 500, CONFIGURED);
    }
    assert!(!is_reduced(&pressure));
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
    assert!(!is_reduced(&pressure), "150 ms of 2 s are little");
}

#[test]
fn no_more_than_are_always_let_in_are_no_queue_however_long_they_take() {
    let pressure = ConcurrencyLimit::default();
    let now = windows(&pressure, 0, 100, 10_000, MIN_LIMIT);
    assert!(!is_reduced(&pressure));
    let now = windows(&pressure, now, 1, 250, 100);
    assert_eq!(limit(&pressure), 50);
    windows(&pressure, now, 1, 250, 1);
    assert_eq!(limit(&pressure), 50, "nor does it rise");
}

#[test]
fn a_reduced_limit_doubles_with_each_second_without_a_measurement() {
    let pressure = ConcurrencyLimit::default();
    windows(&pressure, 0, 1, 250, 100);
    let held = |now| pressure.limit_at(CONFIGURED, || now);
    assert_eq!(held(HOLDS - Duration::from_millis(1)), 50);
    assert_eq!(held(HOLDS), 100);
    assert_eq!(held(HOLDS * 2), 200.min(CONFIGURED));
    assert_eq!(held(HOLDS * 100), CONFIGURED);
    assert_eq!(held(Duration::MAX), CONFIGURED);
    let now = windows(&pressure, 10, 1, 250, 100);
    let last = WINDOW * u32::try_from(now - 1).expect("few");
    assert_eq!(held(last + HOLDS / 2), 50, "measured again");
}

#[test]
fn a_deadline_of_a_moment_counts_as_a_tenth_of_the_longest() {
    let longest = Duration::from_secs(2);
    let weighed = |millis| ConcurrencyLimit::weighed(Duration::from_millis(millis), longest);
    assert_eq!(weighed(10), Duration::from_millis(200));
    assert_eq!(weighed(500), Duration::from_millis(500));
    assert_eq!(weighed(60_000), longest);
}
