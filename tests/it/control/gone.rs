//! What was delegated to an agent, opened for it, or asked for of a tool that is gone: it is in force for nobody else of that name,
//! and can be taken away.

use std::sync::Arc;
use std::time::Duration;

use callgate::proto::v1;
use callgate::proto::v1::control_client::ControlClient;
use callgate::proto::v1::{ApprovalStatus, DelegationStatus, ReasonCode, TaskStatus};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use tonic::Code;

use crate::control::{World, actor, assert_refused, by, callers, directory, person, reasons};
use crate::support::clock::HandClock;
use crate::support::in_process::{call, call_for, context, entity};

/// Policies that read of an agent and of a tool what only is there as long as they are.
const OF_OWNERS: &str = r#"
@id("owner-revokes")
permit (principal, action == Mcp::Action::"revoke_delegation", resource) when { resource.owner == principal };

@id("owner-closes")
permit (principal, action == Mcp::Action::"close_task", resource) when { resource.agent.owner == principal };

@id("owner-approves")
permit (principal, action == Mcp::Action::"approve_call", resource) when { resource.owner == principal };
"#;

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn text(text: &str) -> Value {
    value(Kind::StringValue(text.into()))
}

fn owner(id: &str) -> (String, Value) {
    let fields = [("type", text("Mcp::User")), ("id", text(id))];
    let fields = fields.map(|(name, value)| (name.to_owned(), value)).into();
    (
        "owner".to_owned(),
        value(Kind::StructValue(Struct { fields })),
    )
}

impl World {
    async fn with_owners() -> Self {
        let clock = Arc::new(HandClock::new());
        let directory = directory().file("owners.cedar", OF_OWNERS);
        let server = directory.start_at(&callers(), clock.clone()).await;
        let client = ControlClient::new(server.channel().await);
        Self {
            server,
            client,
            clock,
        }
    }

    async fn put(
        &mut self,
        uid: Option<v1::EntityRef>,
        parent: &str,
        fields: Vec<(String, Value)>,
    ) {
        let (of_type, id) = parent.split_once(':').expect("a type and an id");
        let request = v1::PutEntityRequest {
            actor: person("sec"),
            entity: Some(v1::Entity {
                uid,
                attributes: Some(Struct {
                    fields: fields.into_iter().collect(),
                }),
                parents: entity(&format!("Mcp::{of_type}"), id).into_iter().collect(),
                tags: None,
                source: 0,
            }),
            ..Default::default()
        };
        let answer = self.client.put_entity(by("edge", request)).await;
        answer.expect("put");
    }

    /// The agent `bot` of a person.
    async fn put_bot(&mut self, of: &str) {
        let active = ("active".to_owned(), value(Kind::BoolValue(true)));
        let uid = entity("Mcp::Agent", "bot");
        self.put(uid, "Group:reading", vec![owner(of), active])
            .await;
    }

    /// The tool `git/tag`, which writes.
    async fn put_tool(&mut self) {
        let nothing = ListValue { values: Vec::new() };
        let fields = [
            ("access", text("write")),
            ("sensitivity", text("internal")),
            ("confirmed", value(Kind::BoolValue(true))),
            ("egress", value(Kind::BoolValue(false))),
            ("yields", value(Kind::ListValue(nothing))),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value));
        let fields = fields.into_iter().chain([owner("ana")]).collect();
        self.put(entity("Mcp::Tool", "git/tag"), "Server:git", fields)
            .await;
    }

    async fn delete(&mut self, of_type: &str, id: &str) {
        let request = v1::DeleteEntityRequest {
            actor: person("sec"),
            uid: entity(&format!("Mcp::{of_type}"), id),
            ..Default::default()
        };
        let answer = self.client.delete_entity(by("edge", request)).await;
        answer.expect("deleted");
    }

    async fn status(&mut self, id: &str) -> DelegationStatus {
        let filter = v1::ListDelegationsRequest {
            id: id.into(),
            ..Default::default()
        };
        let listed = self.client.list_delegations(by("edge", filter)).await;
        listed.expect("a list").into_inner().delegations[0].status()
    }

    async fn revoke(&mut self, by_whom: &str, id: &str) -> Result<DelegationStatus, tonic::Status> {
        let request = v1::RevokeDelegationRequest {
            actor: person(by_whom),
            id: id.into(),
            ..Default::default()
        };
        let answer = self.client.revoke_delegation(by("edge", request)).await;
        answer.map(|it| it.into_inner().delegation.expect("it").status())
    }

    async fn why_not(&mut self, question: v1::AuthorizeRequest) -> Option<ReasonCode> {
        let mut asking = self.server.client().await;
        let answer = asking.authorize(by("edge", question)).await;
        let answer = answer.expect("an answer").into_inner();
        answer.reasons.first().map(v1::Reason::code)
    }
}

/// `bot` reads under a delegation.
fn under(delegation: &str) -> v1::AuthorizeRequest {
    let mut question = call("log");
    let it = context(&mut question);
    it.subject.get_or_insert_default().entity = entity("Agent", "bot");
    it.delegation = Some(v1::Delegation {
        delegation_ids: vec![delegation.into()],
        ..Default::default()
    });
    question
}

#[tokio::test]
async fn what_was_delegated_to_an_agent_that_is_gone_is_in_force_for_no_other_of_its_name() {
    let mut world = World::with_owners().await;
    world.put_bot("bob").await;
    let request = v1::GrantDelegationRequest {
        to: entity("Agent", "bot"),
        ..world.grant()
    };
    let id = world.granted(request).await.id;
    assert_eq!(world.why_not(under(&id)).await, None);
    world.delete("Agent", "bot").await;
    assert_eq!(world.status(&id).await, DelegationStatus::AgentGone);
    let gone = world.why_not(under(&id)).await;
    assert_eq!(gone, Some(ReasonCode::SubjectUnknown));

    world.put_bot("ana").await;
    assert_eq!(world.status(&id).await, DelegationStatus::AgentGone);
    let anothers = world.why_not(under(&id)).await;
    assert_eq!(anothers, Some(ReasonCode::DelegationRevoked));
    // Nor is anything redelegated by the other.
    let further = v1::GrantDelegationRequest {
        actor: actor("Agent", "bot"),
        to: entity("Agent", "worker"),
        parent_id: id.clone(),
        max_redelegations: 0,
        ..world.grant()
    };
    let answer = world.client.grant_delegation(by("edge", further)).await;
    assert_refused(
        answer,
        Code::FailedPrecondition,
        "has an agent that is gone, or belongs to somebody else by now",
    );
    let filter = v1::ListDelegationsRequest {
        status: DelegationStatus::AgentGone.into(),
        ..Default::default()
    };
    let listed = world.client.list_delegations(by("edge", filter)).await;
    assert_eq!(listed.expect("a list").into_inner().delegations.len(), 1);

    // The agent for which it was granted, and whose it was, is that agent again.
    world.put_bot("bob").await;
    assert_eq!(world.status(&id).await, DelegationStatus::Active);
    assert_eq!(world.why_not(under(&id)).await, None);
}

#[tokio::test]
async fn what_was_delegated_to_an_agent_that_is_gone_can_be_taken_away() {
    let mut world = World::with_owners().await;
    world.put_bot("bob").await;
    let request = v1::GrantDelegationRequest {
        to: entity("Agent", "bot"),
        ..world.grant()
    };
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(world.granted(request.clone()).await.id);
    }
    world.delete("Agent", "bot").await;

    // Narrowed and revoked by who delegated it, revoked by the security team and by whose the agent was, and by nobody else.
    let narrowing = v1::NarrowDelegationRequest {
        actor: person("sam"),
        id: ids[0].clone(),
        max_redelegations: Some(1),
        ..Default::default()
    };
    let narrowed = world.client.narrow_delegation(by("edge", narrowing)).await;
    let narrowed = narrowed.expect("narrowed").into_inner().delegation;
    let narrowed = narrowed.expect("a delegation");
    assert_eq!(narrowed.max_redelegations, 1);
    assert_eq!(narrowed.status(), DelegationStatus::AgentGone);
    for (id, who) in ids.iter().zip(["sam", "sec", "bob"]) {
        let refused = world
            .revoke("ana", id)
            .await
            .expect_err("of nobody's concern");
        assert_eq!(reasons(&refused)[0].code(), ReasonCode::NoPermit);
        let revoked = world.revoke(who, id).await;
        assert_eq!(revoked.expect(who), DelegationStatus::Revoked);
    }
    // And the name can be stopped before it is back.
    let stop = v1::StopEntityRequest {
        actor: person("sec"),
        uid: entity("Agent", "bot"),
        reason: "it sends data out".into(),
        ..Default::default()
    };
    let stopped = world.client.stop_entity(by("edge", stop.clone())).await;
    stopped.expect("stopped");
    let unheard_of = v1::StopEntityRequest {
        uid: entity("Agent", "bott"),
        ..stop
    };
    let refused = world.client.stop_entity(by("edge", unheard_of)).await;
    assert_refused(refused, Code::NotFound, "is not known");

    world.put_bot("bob").await;
    let resume = v1::ResumeEntityRequest {
        actor: person("sec"),
        uid: entity("Agent", "bot"),
        ..Default::default()
    };
    let mut alone = under(&ids[0]);
    context(&mut alone).delegation = None;
    let code = world.why_not(alone).await;
    assert_eq!(code, Some(ReasonCode::Stopped));
    let resumed = world.client.resume_entity(by("edge", resume)).await;
    resumed.expect("resumed");
    for id in &ids {
        let code = world.why_not(under(id)).await;
        assert_eq!(code, Some(ReasonCode::DelegationRevoked));
    }
}

#[tokio::test]
async fn a_task_is_for_no_other_agent_of_the_name_and_is_closed_without_its_agent() {
    let mut world = World::with_owners().await;
    world.put_bot("bob").await;
    let request = v1::OpenTaskRequest {
        agent: entity("Agent", "bot"),
        ..world.task()
    };
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(world.opened(request.clone()).await.id);
    }
    let mut question = call_for("log", "sam");
    let it = context(&mut question);
    it.subject.get_or_insert_default().entity = entity("Agent", "bot");
    it.workflow.get_or_insert_default().task_id = ids[0].clone();
    assert_eq!(world.why_not(question.clone()).await, None);
    world.delete("Agent", "bot").await;
    world.put_bot("ana").await;
    let code = world.why_not(question).await;
    assert_eq!(code, Some(ReasonCode::TaskOutOfScope));

    world.delete("Agent", "bot").await;
    let mut close = async |who: &str, id: &str| {
        let request = v1::CloseTaskRequest {
            actor: person(who),
            id: id.into(),
            ..Default::default()
        };
        world.client.close_task(by("edge", request)).await
    };
    let refused = close("ana", &ids[0])
        .await
        .expect_err("of nobody's concern");
    assert_eq!(reasons(&refused)[0].code(), ReasonCode::NoPermit);
    close("sam", &ids[0])
        .await
        .expect("closed by whom it is for");
    close("bob", &ids[1])
        .await
        .expect("closed by whose the agent was");
}

/// `helper` calls a tool for `sam`.
fn question(tool: &str) -> v1::AuthorizeRequest {
    let mut request = call_for(tool, "sam");
    context(&mut request).subject.get_or_insert_default().entity = entity("Agent", "helper");
    request
}

/// `bot` calls a tool for `sam`.
fn by_bot(tool: &str) -> v1::AuthorizeRequest {
    let mut request = question(tool);
    context(&mut request).subject.get_or_insert_default().entity = entity("Agent", "bot");
    request
}

impl World {
    async fn asked_for(&mut self, tool: &str) -> v1::Approval {
        self.asked_about(question(tool)).await
    }

    async fn asked_about(&mut self, question: v1::AuthorizeRequest) -> v1::Approval {
        let request = v1::RequestApprovalRequest {
            call_context: question.call_context.map(|it| *it),
            ..Default::default()
        };
        let answer = self.client.request_approval(by("edge", request)).await;
        answer.expect("an approval").into_inner().approval.unwrap()
    }

    async fn approve(&mut self, approval: &v1::Approval) -> Result<(), tonic::Status> {
        let request = v1::ApproveCallRequest {
            actor: person("sam"),
            id: approval.id.clone(),
            digest: approval.digest.clone(),
            ..Default::default()
        };
        let answer = self.client.approve_call(by("edge", request)).await;
        answer.map(drop)
    }

    async fn reject(
        &mut self,
        who: &str,
        approval: &v1::Approval,
    ) -> Result<ApprovalStatus, tonic::Status> {
        let request = v1::RejectCallRequest {
            actor: person(who),
            id: approval.id.clone(),
            ..Default::default()
        };
        let answer = self.client.reject_call(by("edge", request)).await;
        answer.map(|it| it.into_inner().approval.expect("it").status())
    }
}

#[tokio::test]
async fn a_call_is_rejected_whatever_is_stopped_and_approved_only_if_nothing_is() {
    let mut world = World::with_owners().await;
    for (of_type, id) in [
        ("Tool", "git/commit"),
        ("Server", "git"),
        ("Agent", "helper"),
    ] {
        let pending = world.asked_for("commit").await;
        world.stop(of_type, id).await;
        let refused = world.approve(&pending).await.expect_err(id);
        assert_eq!(reasons(&refused)[0].code(), ReasonCode::Stopped, "{id}");
        let refused = world.reject("bob", &pending).await.expect_err(id);
        assert_eq!(reasons(&refused)[0].code(), ReasonCode::NoPermit, "{id}");
        let rejected = world.reject("sam", &pending).await;
        assert_eq!(rejected.expect(id), ApprovalStatus::Rejected);
        world.resume(of_type, id).await;
        world.clock.pass(Duration::from_secs(1));
    }
    // One that was given, by another than who rejects it: the owner of the tool.
    let given = world.asked_for("commit").await;
    world.approve(&given).await.expect("approved");
    world.stop("Tool", "git/commit").await;
    let rejected = world.reject("ana", &given).await;
    assert_eq!(rejected.expect("rejected"), ApprovalStatus::Rejected);
    world.resume("Tool", "git/commit").await;
    let mut with_it = question("commit");
    context(&mut with_it).approval_ids = vec![given.id];
    let code = world.why_not(with_it).await;
    assert_eq!(code, Some(ReasonCode::ApprovalInvalid));
}

#[tokio::test]
async fn a_call_of_a_tool_that_is_gone_is_rejected() {
    let mut world = World::with_owners().await;
    world.put_tool().await;
    let pending = world.asked_for("tag").await;
    world.delete("Tool", "git/tag").await;
    let refused = world.approve(&pending).await.expect_err("it is gone");
    assert_eq!(reasons(&refused)[0].code(), ReasonCode::ToolUnknown);
    // Whose the tool was nobody knows any more, and that keeps nobody else from it.
    let refused = world.reject("ana", &pending).await.expect_err("nobody's");
    assert_eq!(reasons(&refused)[0].code(), ReasonCode::NoPermit);
    let rejected = world.reject("sam", &pending).await;
    assert_eq!(rejected.expect("rejected"), ApprovalStatus::Rejected);
    world.put_tool().await;
    let mut with_it = question("tag");
    context(&mut with_it).approval_ids = vec![pending.id];
    let code = world.why_not(with_it).await;
    assert_eq!(code, Some(ReasonCode::ApprovalInvalid));
}

impl World {
    /// The approvals and the tasks that stand so.
    async fn standing(
        &mut self,
        approval: ApprovalStatus,
        task: TaskStatus,
    ) -> (Vec<String>, Vec<String>) {
        let approvals = v1::ListApprovalsRequest {
            status: approval.into(),
            ..Default::default()
        };
        let tasks = v1::ListTasksRequest {
            status: task.into(),
            ..Default::default()
        };
        let approvals = self.client.list_approvals(by("edge", approvals)).await;
        let tasks = self.client.list_tasks(by("edge", tasks)).await;
        let approvals = approvals.expect("a list").into_inner().approvals;
        let tasks = tasks.expect("a list").into_inner().tasks;
        (
            approvals.into_iter().map(|it| it.id).collect(),
            tasks.into_iter().map(|it| it.id).collect(),
        )
    }

    async fn advance(&mut self, task: &str) -> Result<(), tonic::Status> {
        let request = v1::AdvanceTaskRequest {
            actor: person("sam"),
            id: task.into(),
            ..Default::default()
        };
        let answer = self.client.advance_task(by("edge", request)).await;
        answer.map(drop)
    }
}

#[tokio::test]
async fn nothing_is_approved_or_moved_on_for_an_agent_that_is_gone_or_has_another_owner() {
    const WHOSE: &str = "an agent that is gone, or belongs to somebody else by now";
    let mut world = World::with_owners().await;
    world.put_bot("bob").await;
    let request = v1::OpenTaskRequest {
        agent: entity("Agent", "bot"),
        ..world.task()
    };
    let task = world.opened(request).await.id;
    let pending = world.asked_about(by_bot("commit")).await;
    let ids = (vec![pending.id.clone()], vec![task.clone()]);
    for owner in [None, Some("ana")] {
        match owner {
            None => world.delete("Agent", "bot").await,
            Some(owner) => world.put_bot(owner).await,
        }
        let gone = world.standing(ApprovalStatus::AgentGone, TaskStatus::AgentGone);
        assert_eq!(gone.await, ids, "{owner:?}");
        let open = world.standing(ApprovalStatus::Pending, TaskStatus::Open);
        assert_eq!(open.await, (Vec::new(), Vec::new()), "{owner:?}");
        let refused = world.approve(&pending).await;
        assert_refused(refused, Code::FailedPrecondition, WHOSE);
        let refused = world.advance(&task).await;
        assert_refused(refused, Code::FailedPrecondition, WHOSE);
    }
    // The other agent of the name gets an approval of its own.
    let others = world.asked_about(by_bot("commit")).await;
    assert_ne!(others.id, pending.id);

    world.put_bot("bob").await;
    let back = world.standing(ApprovalStatus::Pending, TaskStatus::Open);
    assert_eq!(back.await, ids);
    world.approve(&pending).await.expect("approved");
    world.advance(&task).await.expect("moved on");
    world.put_bot("ana").await;
    let mut with_it = by_bot("commit");
    context(&mut with_it).approval_ids = vec![pending.id.clone()];
    let code = world.why_not(with_it).await;
    assert_eq!(code, Some(ReasonCode::ApprovalInvalid));
    // What was given can be taken away all the while.
    let rejected = world.reject("sam", &pending).await;
    assert_eq!(rejected.expect("rejected"), ApprovalStatus::Rejected);
    let close = v1::CloseTaskRequest {
        actor: person("sam"),
        id: task,
        ..Default::default()
    };
    let closed = world.client.close_task(by("edge", close)).await;
    let closed = closed.expect("closed").into_inner().task.expect("a task");
    assert_eq!(closed.status(), TaskStatus::Closed);
}
