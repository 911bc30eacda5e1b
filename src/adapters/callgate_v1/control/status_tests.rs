use super::*;
use crate::domain::reason::{Reason, ReasonCode};

#[test]
fn what_cannot_be_decided_now_may_be_asked_again_and_what_is_denied_may_not() {
    let caller = Caller::local();
    let undecided = ControlError::Undecided("the session cannot be read".to_owned());
    assert_eq!(status(undecided, &caller).code(), Code::Unavailable);
    let denied = Verdict::deny(Reason::new(ReasonCode::NoPermit, "it is not permitted"));
    let denied = ControlError::Denied(Box::new(denied));
    assert_eq!(status(denied, &caller).code(), Code::PermissionDenied);
}
