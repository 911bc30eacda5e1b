//! The gRPC status of each error of the write side.

use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};

use crate::adapters::callgate_v1::encode::{self, Disclosure};
use crate::authn::caller::Caller;
use crate::control::error::ControlError;
use crate::control::watch::WatchError;
use crate::domain::decide::verdict::Verdict;

/// `google.rpc.Status`, as far as its details need it.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;

/// The status of an error. Only callers with the right `explain` see the policies behind a deny.
pub(super) fn status(error: ControlError, caller: &Caller) -> Status {
    let code = match &error {
        ControlError::Invalid { .. } => Code::InvalidArgument,
        ControlError::Denied(_) => Code::PermissionDenied,
        ControlError::NotFound(_) => Code::NotFound,
        ControlError::Precondition(_) => Code::FailedPrecondition,
        ControlError::KeyReused => Code::AlreadyExists,
        ControlError::LimitExceeded(_) => Code::ResourceExhausted,
        ControlError::NotReady
        | ControlError::Internal
        | ControlError::Undecided(_)
        | ControlError::AuditUnavailable
        | ControlError::NotRecorded(_)
        | ControlError::Unavailable
        | ControlError::OutcomeUnknown
        | ControlError::UnderWay(_)
        | ControlError::StoreLost(_) => Code::Unavailable,
    };
    let message = error.to_string();
    match error {
        ControlError::Denied(decision) => denied(message, *decision, caller),
        _ => Status::new(code, message),
    }
}

/// Maps errors to the status for this caller.
pub(super) fn status_for(caller: &Caller) -> impl Fn(ControlError) -> Status {
    move |error| status(error, caller)
}

/// The status that ends a watch.
pub(super) fn end_of_watch(end: WatchError, caller: &Caller) -> Status {
    let message = end.to_string();
    match end {
        WatchError::Lagged => Status::aborted(message),
        WatchError::Pruned { .. } | WatchError::TurnedBack { .. } => Status::out_of_range(message),
        WatchError::Ahead { .. } => Status::unavailable(message),
        WatchError::Control(error) => status(error, caller),
    }
}

/// The status of a deny, with one `callgate.v1.Reason` for each reason.
fn denied(message: String, decision: Verdict, caller: &Caller) -> Status {
    let detail = Disclosure {
        is_entitled: caller.rights.explain,
        is_wanted: true,
    };
    let reasons = decision.reasons.into_iter().map(|reason| {
        let mut value = Vec::new();
        encode::write_reason(&mut value, &reason, detail);
        Any {
            type_url: "type.googleapis.com/callgate.v1.Reason".to_owned(),
            value,
        }
    });
    let details = RpcStatus {
        code: Code::PermissionDenied as i32,
        message: message.clone(),
        details: reasons.collect(),
    };
    Status::with_details(
        Code::PermissionDenied,
        message,
        details.encode_to_vec().into(),
    )
}
