use super::*;
use crate::adapters::input::field_error::FieldProblem;

#[test]
fn every_refusal_has_its_status_and_says_what_to_do() {
    let cases = [
        (
            GrpcRejection::Invalid(FieldError::new("a.b", FieldProblem::Missing)),
            Code::InvalidArgument,
            "`a.b` is required",
        ),
        (
            GrpcRejection::Unauthenticated(authenticate::AuthenticationError::NotBearer),
            Code::Unauthenticated,
            "the `authorization` header is not `Bearer <token>`",
        ),
        (
            GrpcRejection::NotAllowed {
                caller: "edge".into(),
                rpc: Rpc::Authorize,
            },
            Code::PermissionDenied,
            "caller `edge` has no right to use `Authorize`: add it to `rights.rpcs`",
        ),
        (
            GrpcRejection::NotReady,
            Code::Unavailable,
            "no policies are loaded",
        ),
        (
            GrpcRejection::TooManyStreams { limit: 3 },
            Code::ResourceExhausted,
            "3 streams are open, as many as `limits.open_streams` allows: try again later",
        ),
        (
            GrpcRejection::TooManyRequests { limit: 4 },
            Code::ResourceExhausted,
            "4 requests are under way, as many as `limits.concurrent_requests` allows: try again later",
        ),
        (
            GrpcRejection::TooLarge { limit: 5 },
            Code::ResourceExhausted,
            "the message has more than 5 bytes, as many as `limits.message_bytes` allows",
        ),
        (
            GrpcRejection::DeadlineExceeded,
            Code::DeadlineExceeded,
            "no answer within the deadline",
        ),
        (
            GrpcRejection::Draining,
            Code::Unavailable,
            "the server is stopping: ask again on a new connection",
        ),
        (
            GrpcRejection::Panicked,
            Code::Internal,
            "the answer failed inside the server",
        ),
    ];
    for (refusal, code, message) in cases {
        let status = Status::from(refusal);
        assert_eq!((status.code(), status.message()), (code, message));
    }
}
