//! What is the same request under one idempotency key.

use callgate::proto::v1;
use tonic::Code;

use crate::control::{World, assert_refused, by};
use crate::support::in_process::{call_for, entity};

#[tokio::test]
async fn an_attempt_in_another_trace_is_the_same_request() {
    let mut world = World::start().await;
    let request = |trace: &str, request_id: &str, argument: &str| {
        let mut call = *call_for("commit", "sam").call_context.expect("a call");
        call.subject.get_or_insert_default().entity = entity("Agent", "helper");
        call.trace = (!trace.is_empty()).then(|| v1::TraceContext {
            traceparent: trace.into(),
            ..Default::default()
        });
        if !request_id.is_empty() {
            call.workflow.get_or_insert_default().request_id = request_id.into();
        }
        if !argument.is_empty() {
            call.workflow.get_or_insert_default().purpose = argument.into();
        }
        v1::RequestApprovalRequest {
            call_context: Some(call),
            idempotency_key: "once".into(),
            challenge: None,
        }
    };
    let mut made = Vec::new();
    for (trace, id) in [
        ("", ""),
        (
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "",
        ),
        (
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b8-01",
            "2",
        ),
    ] {
        let answer = world
            .client
            .request_approval(by("edge", request(trace, id, "")));
        made.push(answer.await.expect("an approval").into_inner());
    }
    assert!(made.iter().all(|it| it == &made[0]), "{made:?}");
    let other = world
        .client
        .request_approval(by("edge", request("", "", "another purpose")));
    assert_refused(other.await, Code::AlreadyExists, "another request");
}

#[tokio::test]
async fn a_type_with_its_namespace_is_the_same_type() {
    let mut world = World::start().await;
    let request = |prefix: &str| {
        let mut request = world.grant();
        let of_type = |name: &str| format!("{prefix}{name}");
        request.actor.as_mut().expect("an actor").entity = entity(&of_type("User"), "sam");
        request.to = entity(&of_type("Agent"), "helper");
        request.idempotency_key = "once".into();
        request
    };
    let (short, whole) = (request(""), request("Mcp::"));
    let once = world.client.grant_delegation(by("edge", short)).await;
    let again = world.client.grant_delegation(by("edge", whole)).await;
    let (once, again) = (once.expect("made").into_inner(), again.expect("the same"));
    assert_eq!(once, again.into_inner());
}
