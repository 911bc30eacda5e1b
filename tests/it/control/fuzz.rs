//! Whatever bytes arrive on whatever RPC of the write side: a clear error or an answer, and how things
//! stand can still be asked.

use std::time::{Duration, SystemTime};

use callgate::proto::v1;
use callgate::proto::v1::control_client::ControlClient;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use prost::Message;
use tonic::Code;

use crate::control::{directory, person, scope};
use crate::grpc::fuzz::{change, changed, send};
use crate::support::in_process::{call_for, entity};

/// The RPCs whose answers end by themselves, each with a message that is rich in fields.
fn good() -> Vec<(&'static str, Vec<u8>)> {
    let later = Some(prost_types::Timestamp::from(
        SystemTime::now() + Duration::from_secs(600),
    ));
    let reading = || scope(&["git"], v1::AccessLevel::Read);
    let key = || "key".to_owned();
    let put = v1::PutEntityRequest {
        actor: person("sec"),
        idempotency_key: key(),
        entity: Some(v1::Entity {
            uid: entity("Mcp::Group", "new"),
            parents: vec![entity("Mcp::Group", "reading").unwrap()],
            ..Default::default()
        }),
    };
    let register = v1::RegisterToolRequest {
        actor: person("sec"),
        idempotency_key: key(),
        server: "git".into(),
        tool: "blame".into(),
        access: v1::AccessLevel::Read.into(),
        yields: vec!["untrusted".into()],
        sensitivity: "internal".into(),
        owner: "ana".into(),
        definition_json: br#"{"name": "blame", "x": [1, {"y": 2}]}"#.as_slice().into(),
        ..Default::default()
    };
    let delegation = v1::GrantDelegationRequest {
        actor: person("sam"),
        idempotency_key: key(),
        to: entity("Agent", "helper"),
        scope: reading(),
        max_redelegations: 1,
        expires_at: later,
        ..Default::default()
    };
    let narrow = v1::NarrowDelegationRequest {
        actor: person("sam"),
        id: "delegation-0".into(),
        scope: reading(),
        expires_at: later,
        max_redelegations: Some(0),
        ..Default::default()
    };
    let open = v1::OpenTaskRequest {
        lasts: None,
        tool_uses: Vec::new(),
        places: Vec::new(),
        actor: person("sam"),
        idempotency_key: key(),
        agent: entity("Agent", "helper"),
        person: entity("User", "sam"),
        purpose: "release".into(),
        scope: reading(),
        call_budget: Some(3),
        steps: vec![v1::TaskStep {
            name: "look".into(),
            scope: reading(),
        }],
        deadline: later,
    };
    let request = v1::RequestApprovalRequest {
        call_context: call_for("commit", "sam").call_context.map(|call| *call),
        idempotency_key: key(),
        challenge: None,
    };
    let approve = v1::ApproveCallRequest {
        actor: person("sam"),
        id: "appr-0".into(),
        digest: format!("sha256:{}", "0".repeat(64)),
        uses: 1,
        comment: "go on".into(),
        ..Default::default()
    };
    let list = v1::ListDelegationsRequest {
        from: entity("User", "sam"),
        to: entity("Agent", "helper"),
        task_id: "task-0".into(),
        page_size: 3,
        page_token: "delegation-0".into(),
        ..Default::default()
    };
    let end = v1::EndSessionRequest {
        actor: person("sec"),
        idempotency_key: key(),
        session_id: "s".into(),
    };
    let stop = v1::StopEntityRequest {
        actor: person("sec"),
        idempotency_key: key(),
        uid: entity("Agent", "third"),
        reason: "why".into(),
    };
    vec![
        ("/callgate.v1.Control/StopEntity", stop.encode_to_vec()),
        ("/callgate.v1.Control/PutEntity", put.encode_to_vec()),
        (
            "/callgate.v1.Control/RegisterTool",
            register.encode_to_vec(),
        ),
        (
            "/callgate.v1.Control/GrantDelegation",
            delegation.encode_to_vec(),
        ),
        (
            "/callgate.v1.Control/NarrowDelegation",
            narrow.encode_to_vec(),
        ),
        ("/callgate.v1.Control/OpenTask", open.encode_to_vec()),
        (
            "/callgate.v1.Control/RequestApproval",
            request.encode_to_vec(),
        ),
        ("/callgate.v1.Control/ApproveCall", approve.encode_to_vec()),
        ("/callgate.v1.Control/ListDelegations", list.encode_to_vec()),
        ("/callgate.v1.Control/ListEntities", list.encode_to_vec()),
        ("/callgate.v1.Control/EndSession", end.encode_to_vec()),
    ]
}

#[test]
fn no_bytes_on_any_rpc_of_the_write_side_bring_the_server_down() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let server = runtime.block_on(directory().start(""));
    let channel = runtime.block_on(server.channel());
    let good = good();
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000);
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let changes = prop::collection::vec(change(), 0..6);
    let mut refused = std::cell::Cell::new(0_u32);
    runner
        .run(&(0..good.len(), changes), |(rpc, changes)| {
            let (rpc, bytes) = &good[rpc];
            let sent = runtime.block_on(send(&channel, rpc, changed(bytes.clone(), &changes)));
            if let Err(status) = sent {
                let is_clear = matches!(
                    status.code(),
                    Code::InvalidArgument
                        | Code::PermissionDenied
                        | Code::NotFound
                        | Code::FailedPrecondition
                        | Code::AlreadyExists
                );
                prop_assert!(is_clear, "{rpc}: {status:?}");
                prop_assert!(!status.message().is_empty());
                refused.set(refused.get() + 1);
            }
            let mut client = ControlClient::new(channel.clone());
            let status = runtime
                .block_on(client.get_status(v1::GetStatusRequest {}))
                .expect("how things stand")
                .into_inner();
            prop_assert!(status.revision > 0 && status.store_fault.is_empty());
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert!(
        (cases / 10..cases).contains(refused.get_mut()),
        "some are refused and some are not"
    );
}
