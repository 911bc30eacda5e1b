use super::*;
use crate::adapters::invalid::Problem;

#[test]
fn every_refusal_has_its_status_and_says_what_to_do() {
    let cases = [
        (
            Refusal::Invalid(Invalid::new("a.b", Problem::Missing)),
            Code::InvalidArgument,
            "`a.b` is required",
        ),
        (
            Refusal::Unauthenticated(authenticate::Refusal::NotBearer),
            Code::Unauthenticated,
            "the `authorization` header is not `Bearer <token>`",
        ),
        (
            Refusal::NotAllowed {
                caller: "edge".into(),
                rpc: Rpc::Authorize,
            },
            Code::PermissionDenied,
            "caller `edge` has no right to use `Authorize`: add it to `rights.rpcs`",
        ),
        (
            Refusal::NotReady,
            Code::Unavailable,
            "no policies are loaded",
        ),
        (
            Refusal::TooManyStreams { limit: 3 },
            Code::ResourceExhausted,
            "3 streams are open, as many as `limits.open_streams` allows: try again later",
        ),
        (
            Refusal::TooManyRequests { limit: 4 },
            Code::ResourceExhausted,
            "4 requests are under way, as many as `limits.concurrent_requests` allows: try again later",
        ),
        (
            Refusal::DeadlineExceeded,
            Code::DeadlineExceeded,
            "no answer within the deadline",
        ),
        (
            Refusal::Draining,
            Code::Unavailable,
            "the server is stopping: ask again on a new connection",
        ),
        (
            Refusal::Panicked,
            Code::Internal,
            "the answer failed inside the server",
        ),
    ];
    for (refusal, code, message) in cases {
        let status = Status::from(refusal);
        assert_eq!((status.code(), status.message()), (code, message));
    }
}
