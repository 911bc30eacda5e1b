use super::*;

/// A clock that tells what it is told.
struct Told(Mutex<SystemTime>);

impl Clock for Told {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

#[test]
fn time_goes_on_but_never_back() {
    let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let told = Arc::new(Told(Mutex::new(noon)));
    let clock = MonotonicClock::new(told.clone(), None);
    assert_eq!(clock.now(), noon);
    *told.0.lock().unwrap() = noon + Duration::from_secs(5);
    assert_eq!(clock.now(), noon + Duration::from_secs(5));
    *told.0.lock().unwrap() = noon - Duration::from_secs(3600);
    assert_eq!(clock.now(), noon + Duration::from_secs(5));
    assert_eq!(clock.clone().now(), noon + Duration::from_secs(5));
}

#[test]
fn a_restart_does_not_turn_time_back() {
    let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let told = Arc::new(Told(Mutex::new(noon)));
    let remembered = noon + Duration::from_secs(60);
    let clock = MonotonicClock::new(told.clone(), Some(remembered));
    assert_eq!(clock.now(), remembered);
    *told.0.lock().unwrap() = noon + Duration::from_secs(61);
    assert_eq!(clock.now(), noon + Duration::from_secs(61));
}

/// The same, of a clock that goes on by itself.
struct Steady(Told);

impl Clock for Steady {
    fn now(&self) -> SystemTime {
        self.0.now()
    }

    fn is_steady(&self) -> bool {
        true
    }
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

fn steady(at: SystemTime) -> Arc<Steady> {
    Arc::new(Steady(Told(Mutex::new(at))))
}

#[test]
fn a_leap_is_followed_and_leaves_nothing_behind() {
    let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let told = steady(noon);
    let clock = MonotonicClock::new(told.clone(), None);
    assert_eq!(clock.now(), noon);
    assert_eq!(clock.check(), None);
    *told.0.0.lock().unwrap() = noon + 80 * YEAR;
    assert_eq!(clock.now(), noon + 80 * YEAR, "what may be over is over");
    let soon = noon + Duration::from_secs(60);
    assert!(clock.confirmed_now() < soon, "nothing is forgotten by it");
    assert!(clock.lease() < soon, "and no restart begins there");
    assert!(clock.check().unwrap().contains("ahead"));
    *told.0.0.lock().unwrap() = noon + Duration::from_secs(90);
    assert_eq!(clock.now(), noon + Duration::from_secs(90));
    assert_eq!(clock.check(), None);
}

#[test]
fn a_leap_while_nothing_ran_is_not_believed_either() {
    let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let month = Duration::from_secs(29 * 24 * 3_600);
    let clock = MonotonicClock::new(steady(noon + month), Some(noon));
    assert_eq!(
        clock.confirmed_now(),
        noon + month,
        "it was off for a while"
    );
    let clock = MonotonicClock::new(steady(noon + 80 * YEAR), Some(noon));
    assert!(clock.confirmed_now() < noon + Duration::from_secs(60));
    assert!(clock.check().is_some());
}

#[test]
fn a_clock_that_was_believed_wrongly_is_repaired() {
    let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let clock = MonotonicClock::new(steady(noon), Some(noon + 80 * YEAR));
    assert_eq!(clock.now(), noon + 80 * YEAR, "it stands still");
    assert!(clock.check().unwrap().contains("behind"));
    clock.reset(noon);
    assert_eq!((clock.now(), clock.check()), (noon, None));
}

#[test]
fn a_restart_begins_after_every_moment_that_was_told() {
    let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let told = steady(noon);
    let clock = MonotonicClock::new(told.clone(), None);
    let lease = clock.lease();
    *told.0.0.lock().unwrap() = noon + Duration::from_secs(2);
    let last = clock.now();
    // Killed before anything more is written, and the clock is set back.
    *told.0.0.lock().unwrap() = noon - YEAR;
    let next = MonotonicClock::new(told.clone(), Some(lease));
    assert!(next.now() >= last);
    // However often it starts, time does not run ahead.
    assert_eq!(next.lease(), lease);
}

#[test]
fn two_clocks_that_differ_are_believed_neither() {
    let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let hour = Duration::from_secs(3_600);
    let told = steady(noon);
    let set = |at: SystemTime| *told.0.0.lock().unwrap() = at;
    let beside =
        |furthest, database| MonotonicClock::beside(told.clone(), furthest, (told.now(), database));
    for (database, how) in [(noon - hour, "ahead of"), (noon + hour, "behind")] {
        let Err(StoreError::ClockDiffers(said)) = beside(Some(noon), database) else {
            panic!("it starts {how}");
        };
        assert!(
            said.contains(&format!("3600 s {how} the database's")),
            "{said}"
        );
    }
    // Both say that the last time in the store has not come.
    let clock = beside(Some(noon + 80 * YEAR), noon).unwrap();
    assert_eq!(clock.confirmed_now(), noon + MAX_DIFFERENCE);

    let clock = beside(Some(noon), noon + MAX_DIFFERENCE).unwrap();
    set(noon + hour);
    assert_eq!(
        clock.now(),
        noon + hour,
        "it is followed until it is compared"
    );
    assert!(
        clock.confirmed_now() < noon + MAX_DIFFERENCE,
        "and not believed"
    );
    let second = Duration::from_secs(1);
    assert!(
        clock
            .compare(noon + hour, noon + second, noon + hour)
            .is_err()
    );
    assert!(clock.differs() && clock.check().unwrap().contains("ahead of"));
    // One that runs too fast is not followed step by step either.
    set(noon + 2 * MAX_DIFFERENCE);
    clock.now();
    assert!(clock.confirmed_now() < noon + MAX_DIFFERENCE);
    assert!(clock.lease() < noon + MAX_DIFFERENCE);
    // A long answer is no difference, and after a pause both have gone on.
    set(noon + hour);
    clock.compare(noon, noon + hour, noon + hour).unwrap();
    clock
        .compare(noon + hour, noon + hour + second, noon + hour)
        .unwrap();
    assert_eq!((clock.now(), clock.check()), (noon + hour, None));
    assert_eq!(clock.confirmed_now(), noon + hour);
}
