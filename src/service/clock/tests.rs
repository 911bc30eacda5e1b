use std::sync::Mutex;
use std::time::Duration;

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
    let clock = Forward::new(told.clone(), None);
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
    let clock = Forward::new(told.clone(), Some(remembered));
    assert_eq!(clock.now(), remembered);
    *told.0.lock().unwrap() = noon + Duration::from_secs(61);
    assert_eq!(clock.now(), noon + Duration::from_secs(61));
}
