//! How large the futures are that are made, and moved into a box, for each request. What is rare and large waits in a box of
//! its own.

use bytes::Bytes;

use crate::adapters::agentgateway::rpcs::ExtMcp;
use crate::adapters::authzen::endpoints::{Authzen, AuthzenRequest};
use crate::adapters::callgate_v1::rpcs::Authorization;
use crate::adapters::envoy::ext_authz::ExtAuthz;
use crate::adapters::toolhive::endpoint::{Toolhive, ToolhiveRequest};
use crate::adapters::transport::grpc_rpc::AdmittedRpc;
use crate::adapters::transport::grpc_unary::UnaryRpcs;

/// The most bytes of the future of one request.
const MOST: usize = 6 * 1024;

/// The size of the future that this makes, in bytes. None is made.
pub(in crate::adapters) fn future_size<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
    size_of::<F>()
}

/// The size of the future of one message to these RPCs.
fn answer_size<R: UnaryRpcs>() -> usize {
    future_size(|(rpcs, rpc): (&R, AdmittedRpc)| rpcs.answer("", rpc, Bytes::new()))
}

#[test]
fn the_future_of_a_request_is_small_at_every_door() {
    type Http<'a, E, R> = (&'a E, &'a R, &'a [u8]);
    let sizes = [
        ("callgate.v1", answer_size::<Authorization>()),
        ("ext_authz", answer_size::<ExtAuthz>()),
        ("ext_mcp", answer_size::<ExtMcp>()),
        (
            "authzen",
            future_size(|(door, request, body): Http<'_, Authzen, AuthzenRequest>| {
                door.answer(request, body)
            }),
        ),
        (
            "toolhive",
            future_size(
                |(door, request, body): Http<'_, Toolhive, ToolhiveRequest>| {
                    door.answer(request, body)
                },
            ),
        ),
    ];
    for (door, size) in sizes {
        assert!(size <= MOST, "{door}: {size} bytes");
    }
}
