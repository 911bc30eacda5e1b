use std::time::{Duration, Instant};

use crate::service::deadline::{Deadline, ServiceError};

#[test]
fn a_deadline_is_over_from_its_moment_on() {
    let hour = Duration::from_secs(3_600);
    let past = Instant::now().checked_sub(Duration::from_millis(1));
    let over = Deadline::at(past.expect("a moment"));
    assert!(over.is_over() && Deadline::in_millis(0).is_over());
    assert_eq!(over.check(), Err(ServiceError::DeadlineExceeded));
    for open in [
        Deadline::NONE,
        Deadline::default(),
        Deadline::at(Instant::now() + hour),
        Deadline::in_millis(60_000),
        Deadline::in_millis(u32::MAX),
    ] {
        assert!(!open.is_over(), "{open:?}");
        assert_eq!(open.check(), Ok(()), "{open:?}");
    }
}

#[tokio::test]
async fn what_does_not_come_in_time_does_not_come() {
    let never = std::future::pending::<()>();
    assert_eq!(
        Deadline::in_millis(1).within(never).await,
        Err(ServiceError::DeadlineExceeded)
    );
    assert_eq!(Deadline::NONE.within(async { 7 }).await, Ok(7));
    assert_eq!(Deadline::in_millis(60_000).within(async { 7 }).await, Ok(7));
}
