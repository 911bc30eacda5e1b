//! Stops: what is stopped takes part in nothing from the next call on, whoever defines it, until the stop is lifted.

use callgate::proto::v1;
use callgate::proto::v1::ReasonCode;
use callgate::proto::v1::watch_changes_response::Change;
use tonic::Code;

use crate::control::{World, assert_refused, by, person, scope};
use crate::support::in_process::{call, context, entity};

fn stop(actor: &str, of_type: &str, id: &str) -> v1::StopEntityRequest {
    v1::StopEntityRequest {
        actor: person(actor),
        uid: entity(of_type, id),
        reason: "it sends data out".into(),
        ..Default::default()
    }
}

fn resume(actor: &str, of_type: &str, id: &str) -> v1::ResumeEntityRequest {
    v1::ResumeEntityRequest {
        actor: person(actor),
        uid: entity(of_type, id),
        ..Default::default()
    }
}

/// `git/log`, called by `agent` for `root` through `actors`.
fn called(agent: &str, root: &str, actors: &[&str]) -> v1::AuthorizeRequest {
    let mut question = call("log");
    let it = context(&mut question);
    it.subject.get_or_insert_default().entity = entity("Agent", agent);
    it.delegation = Some(v1::Delegation {
        root: entity("User", root),
        actors: actors.iter().filter_map(|id| entity("Agent", id)).collect(),
        verified: true,
        ..Default::default()
    });
    question
}

impl World {
    async fn why(&mut self, question: v1::AuthorizeRequest) -> Vec<v1::Reason> {
        let mut asking = self.server.client().await;
        let answer = asking.authorize(by("edge", question)).await;
        answer.expect("an answer").into_inner().reasons
    }

    pub(super) async fn stop(&mut self, of_type: &str, id: &str) -> u64 {
        let answer = self
            .client
            .stop_entity(by("edge", stop("sec", of_type, id)));
        answer.await.expect("stopped").into_inner().revision
    }

    pub(super) async fn resume(&mut self, of_type: &str, id: &str) -> u64 {
        let request = resume("sec", of_type, id);
        let answer = self.client.resume_entity(by("edge", request)).await;
        answer.expect("resumed").into_inner().revision
    }
}

#[tokio::test]
async fn whatever_is_stopped_denies_at_once_in_whichever_part() {
    let mut world = World::start().await;
    let question = called("helper", "sam", &["worker"]);
    assert!(world.why(question.clone()).await.is_empty());
    // Every one of them is defined by the directory.
    let parts = [
        ("Agent", "helper", true),
        ("Agent", "worker", true),
        ("User", "sam", true),
        ("Server", "git", false),
        ("Tool", "git/log", false),
    ];
    for (of_type, id, is_principal) in parts {
        world.stop(of_type, id).await;
        let reasons = world.why(question.clone()).await;
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        let reason = &reasons[0];
        assert_eq!(reason.code(), ReasonCode::Stopped);
        let uid = entity(&format!("Mcp::{of_type}"), id);
        let said = format!("`Mcp::{of_type}::\"{id}\"` is stopped: it sends data out");
        assert_eq!(reason.message, said);
        assert_eq!(reason.principal, uid.filter(|_| is_principal));
        world.resume(of_type, id).await;
        assert!(world.why(question.clone()).await.is_empty(), "{id}");
    }
    // A person whom nobody has stored can be stopped as well.
    let stranger = called("helper", "kim", &[]);
    assert!(world.why(stranger.clone()).await.is_empty());
    world.stop("User", "kim").await;
    assert_eq!(world.why(stranger).await[0].code(), ReasonCode::Stopped);
}

#[tokio::test]
async fn what_was_delegated_by_or_to_who_is_stopped_is_worth_nothing() {
    let mut world = World::start().await;
    let delegated = world.granted(world.grant()).await;
    let further = v1::GrantDelegationRequest {
        actor: crate::control::actor("Agent", "helper"),
        to: entity("Agent", "worker"),
        scope: scope(&["git"], v1::AccessLevel::Read),
        parent_id: delegated.id.clone(),
        max_redelegations: 0,
        ..world.grant()
    };
    let further = world.granted(further).await;
    let mut question = call("log");
    let it = context(&mut question);
    it.subject.get_or_insert_default().entity = entity("Agent", "worker");
    it.delegation = Some(v1::Delegation {
        delegation_ids: vec![further.id],
        ..Default::default()
    });
    assert!(world.why(question.clone()).await.is_empty());
    for (of_type, id) in [("Agent", "helper"), ("User", "sam"), ("Agent", "worker")] {
        world.stop(of_type, id).await;
        let reasons = world.why(question.clone()).await;
        assert_eq!(reasons[0].code(), ReasonCode::Stopped, "{id}");
        world.resume(of_type, id).await;
    }
    assert!(world.why(question).await.is_empty());
}

#[tokio::test]
async fn who_is_stopped_changes_nothing_either_and_cedars_own_question_knows() {
    let mut world = World::start().await;
    let question = v1::IsAuthorizedRequest {
        principal: entity("Mcp::Agent", "helper"),
        action: entity("Mcp::Action", "call_read"),
        resource: entity("Mcp::Tool", "git/log"),
        ..Default::default()
    };
    world.stop("User", "sam").await;
    let delegation = world.grant();
    let refused = world.client.grant_delegation(by("edge", delegation)).await;
    assert_refused(refused, Code::PermissionDenied, "");
    for (of_type, id) in [("Server", "git"), ("Agent", "helper"), ("Tool", "git/log")] {
        world.stop(of_type, id).await;
        let mut asking = world.server.client().await;
        let answer = asking.is_authorized(by("edge", question.clone())).await;
        let answer = answer.expect("an answer").into_inner();
        assert_eq!(answer.reasons[0].code(), ReasonCode::Stopped, "{id}");
        world.resume(of_type, id).await;
    }
}

#[tokio::test]
async fn cedars_own_question_knows_whoever_the_contexts_delegation_names() {
    let mut world = World::start().await;
    let agent = |id: &str| serde_json::json!({"type": "Mcp::Agent", "id": id});
    let context = |named: serde_json::Value| {
        let mut context = serde_json::json!({
            "initiator": "client",
            "identity": {"verified": true, "method": "test", "asserted_groups": [], "asserted_attributes": []},
            "environment": {"now": "2026-01-01", "gateway": {"type": "Mcp::Gateway", "id": "edge"}},
            "arguments": {"names": [], "untyped": [], "undeclared": []},
            "labels": [],
            "delegation": {"actors": [], "depth": 1, "scopes": [], "verified": true, "source": "asserted"},
        });
        let named = named.as_object().into_iter().flatten();
        for (name, value) in named {
            context["delegation"][name] = value.clone();
        }
        context.to_string().into_bytes().into()
    };
    let named = [
        (
            "User",
            "sam",
            serde_json::json!({"root": {"type": "Mcp::User", "id": "sam"}}),
        ),
        (
            "Agent",
            "one",
            serde_json::json!({"root_agent": agent("one")}),
        ),
        (
            "Agent",
            "two",
            serde_json::json!({"actors": [agent("one"), agent("two")]}),
        ),
        (
            "Agent",
            "three",
            serde_json::json!({"last": agent("three")}),
        ),
    ];
    for (of_type, id, delegation) in named {
        let question = v1::IsAuthorizedRequest {
            principal: entity("Mcp::Agent", "helper"),
            action: entity("Mcp::Action", "call_read"),
            resource: entity("Mcp::Tool", "git/log"),
            context_form: Some(v1::is_authorized_request::ContextForm::ContextJson(
                context(delegation),
            )),
            ..Default::default()
        };
        let mut asking = world.server.client().await;
        let answer = asking.is_authorized(by("edge", question.clone())).await;
        let answer = answer.expect("an answer").into_inner();
        let code = answer.reasons.first().map(v1::Reason::code);
        assert_ne!(code, Some(ReasonCode::Stopped), "{id}");
        world.stop(of_type, id).await;
        let answer = asking.is_authorized(by("edge", question)).await;
        let answer = answer.expect("an answer").into_inner();
        assert_eq!(answer.reasons[0].code(), ReasonCode::Stopped, "{id}");
        world.resume(of_type, id).await;
    }
}

#[tokio::test]
async fn no_authority_is_made_of_or_for_who_is_stopped_and_all_of_it_can_be_taken_away() {
    let mut world = World::start().await;
    let delegated = world.granted(world.grant()).await;
    let task = world.opened(world.task()).await;
    let further = v1::GrantDelegationRequest {
        actor: crate::control::actor("Agent", "helper"),
        to: entity("Agent", "worker"),
        scope: scope(&["git"], v1::AccessLevel::Read),
        parent_id: delegated.id.clone(),
        max_redelegations: 0,
        ..world.grant()
    };
    let is_stopped = |refused: Result<(), tonic::Status>, what: &str| {
        let refused = refused.expect_err(what);
        let code = crate::control::reasons(&refused)[0].code();
        assert_eq!(code, ReasonCode::Stopped, "{what}");
    };
    // The root of the chain, and the delegate.
    for (of_type, id) in [("User", "sam"), ("Agent", "worker")] {
        world.stop(of_type, id).await;
        let request = by("edge", further.clone());
        let answer = world.client.grant_delegation(request).await;
        is_stopped(answer.map(drop), id);
        world.resume(of_type, id).await;
    }
    // An actor in between.
    let passed_on = v1::GrantDelegationRequest {
        max_redelegations: 1,
        ..further.clone()
    };
    let passed_on = world.granted(passed_on).await;
    world.stop("Agent", "helper").await;
    let deeper = v1::GrantDelegationRequest {
        actor: crate::control::actor("Agent", "worker"),
        to: entity("Agent", "third"),
        parent_id: passed_on.id,
        ..further
    };
    let answer = world.client.grant_delegation(by("edge", deeper)).await;
    is_stopped(answer.map(drop), "an actor in between");
    // The agent of a task, and of one that goes on.
    let opening = world.task();
    let answer = world.client.open_task(by("edge", opening)).await;
    is_stopped(answer.map(drop), "the agent of a task");
    let advancing = v1::AdvanceTaskRequest {
        actor: person("sam"),
        id: task.id.clone(),
        ..Default::default()
    };
    let answer = world.client.advance_task(by("edge", advancing)).await;
    is_stopped(answer.map(drop), "a task that goes on");

    let closing = v1::CloseTaskRequest {
        actor: person("sam"),
        id: task.id,
        ..Default::default()
    };
    let closed = world.client.close_task(by("edge", closing)).await;
    closed.expect("closed");
    let revoking = v1::RevokeDelegationRequest {
        actor: person("sam"),
        id: delegated.id,
        ..Default::default()
    };
    let revoked = world.client.revoke_delegation(by("edge", revoking)).await;
    revoked.expect("revoked");
}

#[tokio::test]
async fn a_stop_is_governed_told_replaced_and_lifted_once() {
    let mut world = World::start().await;
    let by_sam = by("edge", stop("sam", "Agent", "helper"));
    assert_refused(
        world.client.stop_entity(by_sam).await,
        Code::PermissionDenied,
        "",
    );
    let by_sam = by("edge", resume("sam", "Agent", "helper"));
    assert_refused(
        world.client.resume_entity(by_sam).await,
        Code::PermissionDenied,
        "",
    );
    let unknown = by("edge", stop("sec", "Agent", "helpr"));
    assert_refused(
        world.client.stop_entity(unknown).await,
        Code::NotFound,
        "is not known",
    );
    let own = by("edge", stop("sec", "User", "sec"));
    let refused = world.client.stop_entity(own).await;
    assert_refused(refused, Code::FailedPrecondition, "nobody stops themselves");
    let none = by("edge", resume("sec", "Agent", "helper"));
    assert_refused(
        world.client.resume_entity(none).await,
        Code::NotFound,
        "is not known",
    );

    assert_eq!(world.stop("Agent", "helper").await, 2);
    let again = v1::StopEntityRequest {
        reason: "still".into(),
        ..stop("sec", "Agent", "helper")
    };
    world
        .client
        .stop_entity(by("edge", again))
        .await
        .expect("stopped");
    let status = world
        .client
        .get_status(by("edge", v1::GetStatusRequest {}))
        .await;
    let stopped = status.unwrap().into_inner().stopped;
    assert_eq!(stopped.len(), 1);
    assert_eq!(stopped[0].reason, "still");
    assert_eq!(stopped[0].stopped_by, entity("Mcp::User", "sec"));
    world.resume("Agent", "helper").await;
    let status = world
        .client
        .get_status(by("edge", v1::GetStatusRequest {}))
        .await;
    assert!(status.unwrap().into_inner().stopped.is_empty());

    let request = v1::WatchChangesRequest { after_revision: 1 };
    let mut changes = world
        .client
        .watch_changes(by("edge", request))
        .await
        .unwrap()
        .into_inner();
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(changes.message().await.unwrap().unwrap());
    }
    let verbs: Vec<&str> = told.iter().map(|it| it.verb.as_str()).collect();
    assert_eq!(verbs, ["StopEntity", "StopEntity", "ResumeEntity"]);
    assert!(
        matches!(&told[0].change, Some(Change::Stopped(it)) if it.reason == "it sends data out")
    );
    assert_eq!(
        told[2].change,
        Some(Change::Resumed(entity("Mcp::Agent", "helper").unwrap()))
    );
}
