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

/// Whoever repeats the same words repeats the same request, and the end is that of the first.
#[tokio::test]
async fn what_lasts_so_long_is_the_same_request_whenever_it_is_sent() {
    let mut world = World::start().await;
    let lasts = Some(prost_types::Duration {
        seconds: 3_600,
        nanos: 0,
    });
    let grant = v1::GrantDelegationRequest {
        expires_at: None,
        lasts,
        idempotency_key: "grant".into(),
        ..world.grant()
    };
    let task = v1::OpenTaskRequest {
        deadline: None,
        lasts,
        idempotency_key: "task".into(),
        ..world.task()
    };
    let end = world.after(3_600);
    let granted = world.granted(grant.clone()).await;
    assert_eq!(granted.expires_at, end);
    let opened = world.opened(task.clone()).await;
    assert_eq!(opened.deadline, end);
    let narrow = v1::NarrowDelegationRequest {
        actor: grant.actor.clone(),
        idempotency_key: "narrow".into(),
        id: granted.id.clone(),
        lasts: Some(prost_types::Duration {
            seconds: 60,
            nanos: 0,
        }),
        ..Default::default()
    };
    let sooner = world.after(60);
    for _ in 0..2 {
        let narrowed = world.client.narrow_delegation(by("edge", narrow.clone()));
        let narrowed = narrowed.await.expect("narrowed").into_inner();
        assert_eq!(narrowed.delegation.expect("one").expires_at, sooner);
        world.clock.pass(std::time::Duration::from_secs(3));
    }
    assert_eq!(world.granted(grant).await.id, granted.id);
    assert_eq!(world.opened(task).await.id, opened.id);
    let both = v1::GrantDelegationRequest {
        lasts,
        ..world.grant()
    };
    let both = world.client.grant_delegation(by("edge", both)).await;
    assert_refused(both, Code::InvalidArgument, "`lasts` is there beside");
    let neither = v1::GrantDelegationRequest {
        expires_at: None,
        ..world.grant()
    };
    let neither = world.client.grant_delegation(by("edge", neither)).await;
    assert_refused(neither, Code::InvalidArgument, "`expires_at` is required");
}
