//! Tasks: opened, moved on, closed, and what cannot be opened.

use std::time::Duration;

use callgate::proto::v1;
use callgate::proto::v1::TaskStatus;
use tonic::Code;

use crate::control::{World, assert_refused, by, person, scope};
use crate::support::in_process::{call, context, entity};

fn advance(id: &str, step: &str) -> v1::AdvanceTaskRequest {
    v1::AdvanceTaskRequest {
        actor: person("sam"),
        id: id.into(),
        step: step.into(),
        ..Default::default()
    }
}

fn close(id: &str) -> v1::CloseTaskRequest {
    v1::CloseTaskRequest {
        actor: person("sam"),
        id: id.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_task_is_as_it_was_asked_for() {
    let mut world = World::start().await;
    let request = v1::OpenTaskRequest {
        call_budget: Some(7),
        ..world.task()
    };
    let task = world.opened(request.clone()).await;
    assert!(task.id.starts_with("task-"), "{}", task.id);
    let expected = v1::Task {
        id: task.id.clone(),
        agent: entity("Mcp::Agent", "helper"),
        person: entity("Mcp::User", "sam"),
        purpose: "release 1.2".into(),
        scope: request.scope,
        call_budget: Some(7),
        calls_left: Some(7),
        steps: request.steps,
        step: "look".into(),
        opened_at: world.after(0),
        deadline: request.deadline,
        closed_at: None,
        status: TaskStatus::Open.into(),
        tool_uses: Vec::new(),
        places: Vec::new(),
    };
    assert_eq!(task, expected);
    world.clock.pass(Duration::from_secs(3_600));
    let filter = v1::ListTasksRequest {
        status: TaskStatus::Overdue.into(),
        agent: entity("Agent", "helper"),
        person: entity("User", "sam"),
        ..Default::default()
    };
    let found = world
        .client
        .list_tasks(by("edge", filter))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(found.tasks[0].id, task.id);
    let answer = world.client.close_task(by("edge", close(&task.id))).await;
    assert_refused(answer, Code::FailedPrecondition, "is past its deadline");
}

#[tokio::test]
async fn steps_go_forwards_and_a_task_is_closed_once() {
    let mut world = World::start().await;
    let mut request = world.task();
    request.steps.push(v1::TaskStep {
        name: "tell".into(),
        scope: scope(&["git"], v1::AccessLevel::Read),
    });
    let id = world.opened(request).await.id;
    let answer = world
        .client
        .advance_task(by("edge", advance(&id, "")))
        .await;
    assert_eq!(
        answer.expect("moved on").into_inner().task.unwrap().step,
        "change"
    );
    for (step, code, said) in [
        (
            "look",
            Code::FailedPrecondition,
            "does not go back to `look`",
        ),
        ("change", Code::FailedPrecondition, "is at step `change`"),
        (
            "jump",
            Code::InvalidArgument,
            "`step` `jump` is no step of task",
        ),
    ] {
        let answer = world
            .client
            .advance_task(by("edge", advance(&id, step)))
            .await;
        assert_refused(answer, code, said);
    }
    let other = v1::AdvanceTaskRequest {
        actor: person("ana"),
        ..advance(&id, "")
    };
    let answer = world.client.advance_task(by("edge", other)).await;
    assert_refused(answer, Code::PermissionDenied, "");
    let answer = world
        .client
        .advance_task(by("edge", advance(&id, "tell")))
        .await;
    assert_eq!(
        answer.expect("moved on").into_inner().task.unwrap().step,
        "tell"
    );
    let answer = world
        .client
        .advance_task(by("edge", advance(&id, "")))
        .await;
    assert_refused(answer, Code::FailedPrecondition, "is at its last step");

    let other = v1::CloseTaskRequest {
        actor: person("ana"),
        ..close(&id)
    };
    let answer = world.client.close_task(by("edge", other)).await;
    assert_refused(answer, Code::PermissionDenied, "");
    let closed = world.client.close_task(by("edge", close(&id))).await;
    let closed = closed.expect("closed").into_inner().task.unwrap();
    assert_eq!(closed.status(), TaskStatus::Closed);
    assert_eq!(closed.closed_at, world.after(0));
    let answer = world.client.close_task(by("edge", close(&id))).await;
    assert_refused(answer, Code::FailedPrecondition, "is closed");
    let answer = world
        .client
        .advance_task(by("edge", advance(&id, "")))
        .await;
    assert_refused(answer, Code::FailedPrecondition, "is closed");
    let answer = world.client.close_task(by("edge", close("task-0"))).await;
    assert_refused(answer, Code::NotFound, "task `task-0` is not known");
    let answer = world
        .client
        .advance_task(by("edge", advance("task-0", "")))
        .await;
    assert_refused(answer, Code::NotFound, "task `task-0` is not known");
}

/// Changes a good request, and says how it is then refused.
type Spoil = (fn(&World, &mut v1::OpenTaskRequest), Code, &'static str);

const SPOILS: &[Spoil] = &[
    (
        |_, it| it.agent = entity("User", "ana"),
        Code::InvalidArgument,
        "`agent` is not an agent",
    ),
    (
        |_, it| it.agent = entity("Agent", "unheard-of"),
        Code::InvalidArgument,
        "`agent` names agent `unheard-of`",
    ),
    (
        |_, it| it.person = entity("Agent", "worker"),
        Code::InvalidArgument,
        "`person` is not a user",
    ),
    (
        |_, it| it.person = entity("User", "ana"),
        Code::PermissionDenied,
        "",
    ),
    (
        |_, it| it.call_budget = Some(0),
        Code::InvalidArgument,
        "`call_budget` is 0",
    ),
    (
        |world, it| it.deadline = world.after(0),
        Code::InvalidArgument,
        "`deadline` is over already",
    ),
    (
        |world, it| it.deadline = world.after(169 * 3_600),
        Code::InvalidArgument,
        "`deadline` is more than 168 hours from now",
    ),
    (
        |_, it| it.scope = scope(&["svn"], v1::AccessLevel::Write),
        Code::InvalidArgument,
        "`scope.servers[0]` `svn` is not a registered server",
    ),
    (
        |_, it| it.steps[1].name = "look".into(),
        Code::InvalidArgument,
        "`steps[1].name` `look` names an earlier step",
    ),
    (
        |_, it| it.steps[1].scope = scope(&["git"], v1::AccessLevel::Admin),
        Code::InvalidArgument,
        "`steps[1].scope` is wider than the task's: that does not cover calls that administer",
    ),
    (
        |_, it| it.steps[0].scope = scope(&[], v1::AccessLevel::Read),
        Code::InvalidArgument,
        "`steps[0].scope` names no tool",
    ),
];

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let mut world = World::start().await;
    for (spoil, code, said) in SPOILS {
        let mut request = world.task();
        spoil(&world, &mut request);
        let answer = world.client.open_task(by("edge", request)).await;
        assert_refused(answer, *code, said);
    }
    let without_steps = v1::OpenTaskRequest {
        steps: Vec::new(),
        scope: None,
        ..world.task()
    };
    let id = world.opened(without_steps).await.id;
    let answer = world
        .client
        .advance_task(by("edge", advance(&id, "")))
        .await;
    assert_refused(answer, Code::FailedPrecondition, "has no steps");
    let all = world
        .client
        .list_tasks(by("edge", v1::ListTasksRequest::default()))
        .await;
    assert_eq!(all.unwrap().into_inner().tasks.len(), 1);
}

#[tokio::test]
async fn a_step_without_its_task_is_refused() {
    let world = World::start().await;
    let mut question = call("log");
    let asked = context(&mut question);
    asked.subject.get_or_insert_default().entity = entity("Agent", "helper");
    asked.workflow = Some(v1::Workflow {
        step: "look".into(),
        ..Default::default()
    });
    let mut asking = world.server.client().await;
    let answer = asking.authorize(by("edge", question)).await;
    let answer = answer.expect("a decision").into_inner();
    assert_eq!(answer.decision(), v1::Decision::Deny);
    assert_eq!(answer.reasons[0].code(), v1::ReasonCode::ContextMissing);
    assert_eq!(answer.reasons[0].missing, ["task"]);
}
