//! Requests of the write side that cannot be used: the error names the field.

use callgate::proto::v1;
use tonic::Code;

use crate::control::{World, assert_refused, by, person, scope};
use crate::support::in_process::{call_for, entity};

/// Changes a good request and names the field that is then refused.
type Spoil<M> = (fn(&mut M), &'static str);

const GRANTS: &[Spoil<v1::GrantDelegationRequest>] = &[
    (|it| it.actor = None, "`actor` is required"),
    (
        |it| it.actor.as_mut().unwrap().entity = None,
        "`actor.entity` is required",
    ),
    (
        |it| it.actor.as_mut().unwrap().entity = entity("no type", "x"),
        "`actor.entity.type` `no type` is not an entity type",
    ),
    (
        |it| it.actor.as_mut().unwrap().identity.as_mut().unwrap().method = "a\nb".into(),
        "`actor.identity.method` holds a control character",
    ),
    (
        |it| {
            let nothing = prost_types::Value { kind: None };
            it.actor.as_mut().unwrap().claims = Some(prost_types::Struct {
                fields: [("groups".to_owned(), nothing)].into(),
            });
        },
        "`actor.claims` holds a value without a kind",
    ),
    (
        |it| it.idempotency_key = "k".repeat(129),
        "`idempotency_key` has 129 bytes, but at most 128 are allowed",
    ),
    (
        |it| it.idempotency_key = "a\u{0}".into(),
        "`idempotency_key` holds a control character",
    ),
    (|it| it.to = None, "`to` is required"),
    (|it| it.to = entity("Agent", ""), "`to.id` is required"),
    (|it| it.scope = None, "`scope` is required"),
    (
        |it| it.scope.as_mut().unwrap().access = 0,
        "`scope.access` is required",
    ),
    (
        |it| it.scope.as_mut().unwrap().access = 9,
        "`scope.access` is not a value that is known here: 9",
    ),
    (
        |it| it.scope.as_mut().unwrap().tools = vec!["git/log".into(), "log".into()],
        "`scope.tools[1]` `log` is not `<server>/<tool>`",
    ),
    (
        |it| it.scope.as_mut().unwrap().groups = vec![String::new()],
        "`scope.groups[0]` is required",
    ),
    (
        |it| it.scope.as_mut().unwrap().servers = vec!["git".into(); 257],
        "`scope.servers` has 257 items, but at most 256 are allowed",
    ),
    (
        |it| {
            let scope = it.scope.as_mut().unwrap();
            scope.servers = vec!["git".into(); 128];
            scope.groups = vec!["reading".into(); 129];
        },
        "`scope` has 257 items, but at most 256 are allowed",
    ),
    (
        |it| it.scope.as_mut().unwrap().targets = vec!["/srv".into(), "/srv/../etc".into()],
        "`scope.targets[1]` `/srv/../etc` is not a place: it contains a `..` segment",
    ),
    (
        |it| it.scope.as_mut().unwrap().targets = vec!["somewhere".into()],
        "`scope.targets[0]` `somewhere` is not a place: it is neither",
    ),
    (|it| it.expires_at = None, "`expires_at` is required"),
    (
        |it| it.expires_at.as_mut().unwrap().nanos = -1,
        "`expires_at.nanos` must be a number from 0 to 999,999,999",
    ),
    (
        |it| {
            it.not_before = Some(prost_types::Timestamp {
                seconds: i64::MAX,
                nanos: 0,
            })
        },
        "`not_before` is not a time",
    ),
    (
        |it| it.task_id = "t".repeat(1_025),
        "`task_id` has 1025 bytes, but at most 1024 are allowed",
    ),
    (
        |it| it.parent_id = "a\tb".into(),
        "`parent_id` holds a control character",
    ),
];

const TASKS: &[Spoil<v1::OpenTaskRequest>] = &[
    (
        |it| it.deadline.as_mut().unwrap().nanos = 1_000_000_000,
        "`deadline.nanos` must be a number from 0 to 999,999,999",
    ),
    (
        |it| {
            let values = |json: &str| v1::ArgumentValues {
                argument: "path".into(),
                values_json: vec![json.into()],
            };
            it.tool_uses = vec![v1::ToolUse {
                tool: "git/log".into(),
                arguments: vec![values("1"), values("2")],
                ..Default::default()
            }];
        },
        "`tool_uses[0].arguments[1].argument` `path` is named twice",
    ),
    (|it| it.actor = None, "`actor` is required"),
    (|it| it.agent = None, "`agent` is required"),
    (|it| it.person = None, "`person` is required"),
    (|it| it.purpose.clear(), "`purpose` is required"),
    (
        |it| it.purpose = "p".repeat(16_385),
        "`purpose` has 16385 bytes, but at most 16384 are allowed",
    ),
    (|it| it.deadline = None, "`deadline` is required"),
    (|it| it.steps[1].name.clear(), "`steps[1].name` is required"),
    (
        |it| it.steps[0].scope = None,
        "`steps[0].scope` is required",
    ),
    (
        |it| it.steps[0].scope.as_mut().unwrap().access = 0,
        "`steps[0].scope.access` is required",
    ),
    (
        |it| it.steps = vec![it.steps[0].clone(); 65],
        "`steps` has 65 items, but at most 64 are allowed",
    ),
];

#[tokio::test]
async fn every_error_names_its_field() {
    let mut world = World::start().await;
    for (spoil, said) in GRANTS {
        let mut request = world.grant();
        spoil(&mut request);
        let answer = world.client.grant_delegation(by("edge", request)).await;
        assert_refused(answer, Code::InvalidArgument, said);
    }
    for (spoil, said) in TASKS {
        let mut request = world.task();
        spoil(&mut request);
        let answer = world.client.open_task(by("edge", request)).await;
        assert_refused(answer, Code::InvalidArgument, said);
    }
}

#[tokio::test]
async fn what_every_request_needs_is_asked_for() {
    let mut world = World::start().await;
    macro_rules! refused {
        ($($rpc:ident: $message:expr => $said:literal;)+) => {
            $(
                let answer = world.client.$rpc(by("edge", $message)).await;
                assert_refused(answer.map(|_| ()), Code::InvalidArgument, $said);
            )+
        };
    }
    let actor = person("sec");
    refused! {
        put_entity: v1::PutEntityRequest { actor: actor.clone(), ..Default::default() } => "`entity` is required";
        put_entity: v1::PutEntityRequest::default() => "`actor` is required";
        put_entity: v1::PutEntityRequest { actor: actor.clone(), entity: Some(v1::Entity {
            uid: entity("Agent", "a"), parents: vec![entity("Group", "").unwrap()], ..Default::default()
        }), ..Default::default() } => "`entity.parents[0].id` is required";
        get_entity: v1::GetEntityRequest::default() => "`uid` is required";
        delete_entity: v1::DeleteEntityRequest { actor: actor.clone(), ..Default::default() } => "`uid` is required";
        register_tool: v1::RegisterToolRequest { actor: actor.clone(), ..Default::default() } => "`server` is required";
        register_tool: v1::RegisterToolRequest { actor: actor.clone(), server: "git".into(), tool: "t".into(),
            ..Default::default() } => "`access` is required";
        pin_tool: v1::PinToolRequest { actor: actor.clone(), ..Default::default() } => "`definition_json` is required";
        narrow_delegation: v1::NarrowDelegationRequest { actor: actor.clone(), ..Default::default() } => "`id` is required";
        narrow_delegation: v1::NarrowDelegationRequest { actor: actor.clone(), id: "g".into(),
            scope: scope(&[], v1::AccessLevel::Unspecified), ..Default::default() } => "`scope.access` is required";
        revoke_delegation: v1::RevokeDelegationRequest { actor: actor.clone(), ..Default::default() } => "`id` is required";
        list_delegations: v1::ListDelegationsRequest { status: 99, ..Default::default() } => "`status` is not a value that is known here: 99";
        list_delegations: v1::ListDelegationsRequest { from: entity("", "x"), ..Default::default() } => "`from.type` is required";
        advance_task: v1::AdvanceTaskRequest { actor: actor.clone(), ..Default::default() } => "`id` is required";
        close_task: v1::CloseTaskRequest { actor: actor.clone(), ..Default::default() } => "`id` is required";
        list_tasks: v1::ListTasksRequest { status: 99, ..Default::default() } => "`status` is not a value that is known here: 99";
        approve_call: v1::ApproveCallRequest { actor: actor.clone(), ..Default::default() } => "`id` is required";
        reject_call: v1::RejectCallRequest { actor: actor.clone(), ..Default::default() } => "`id` is required";
        list_approvals: v1::ListApprovalsRequest { status: 99, ..Default::default() } => "`status` is not a value that is known here: 99";
        list_approvals: v1::ListApprovalsRequest { page_token: "a".repeat(16_385), ..Default::default() } => "`page_token` has 16385 bytes";
        watch_approvals: v1::WatchApprovalsRequest { status: 99, ..Default::default() } => "`status` is not a value that is known here: 99";
        end_session: v1::EndSessionRequest { actor: actor.clone(), ..Default::default() } => "`session_id` is required";
        stop_entity: v1::StopEntityRequest { actor: actor.clone(), ..Default::default() } => "`uid` is required";
        stop_entity: v1::StopEntityRequest { actor: actor.clone(), uid: entity("Agent", "helper"), ..Default::default() } => "`reason` is required";
        stop_entity: v1::StopEntityRequest { actor: actor.clone(), uid: entity("Group", "staff"), reason: "x".into(), ..Default::default() } => "`uid` is none of those that can be stopped";
        resume_entity: v1::ResumeEntityRequest { actor: actor.clone(), ..Default::default() } => "`uid` is required";
        repair_clock: v1::RepairClockRequest { actor: actor.clone(), ..Default::default() } => "`reason` is required";
        publish_bundle: v1::PublishBundleRequest { actor: actor.clone(), ..Default::default() } => "`archive` is required";
        rollback_bundle: v1::RollbackBundleRequest { actor: actor.clone(), ..Default::default() } => "`to_revision` is required";
    }
}

#[tokio::test]
async fn a_challenge_ends_with_a_whole_second() {
    let mut world = World::start().await;
    let end = world.after(60).expect("a time");
    let asked = |nanos| v1::RequestApprovalRequest {
        call_context: call_for("commit", "sam").call_context.map(|call| *call),
        challenge: Some(v1::ApprovalChallenge {
            digest: format!("sha256:{}", "0".repeat(64)),
            expires_at: Some(prost_types::Timestamp { nanos, ..end }),
            ..Default::default()
        }),
        ..Default::default()
    };
    for (nanos, said) in [
        (1, "`challenge.expires_at.nanos` must be 0"),
        (999_999_999, "`challenge.expires_at.nanos` must be 0"),
        (-1, "`challenge.expires_at.nanos` must be 0"),
    ] {
        let answer = world
            .client
            .request_approval(by("edge", asked(nanos)))
            .await;
        assert_refused(answer, Code::InvalidArgument, said);
    }
}
