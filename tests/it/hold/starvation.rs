//! The write side never starves a decision: what it stores is bounded, by agent and in all, what is asked again changes
//! nothing, and what looks through much of it does so apart and in pieces.

use std::sync::Arc;
use std::time::{Duration, Instant};

use callgate::domain::authority::approval::{Approval, ApprovalContext, ApprovedCall};
use callgate::domain::authority::change::{Change, ChangeOrigin};
use callgate::domain::ids::SessionId;
use callgate::domain::request::call_context::Initiator;
use callgate::domain::schema::{self, TYPES};
use callgate::proto::v1;
use callgate::service::generation::Generation;
use callgate::service::ledger::PlannedChange;
use smol_str::{SmolStr, format_smolstr};
use tonic::Code;

use crate::control::{World, actor, assert_refused, by, person};
use crate::support::in_process::{call_for, context, entity};

/// An agent calls a tool for `sam`.
fn question(agent: &str, tool: &str, number: u32) -> v1::AuthorizeRequest {
    let mut request = call_for(tool, "sam");
    let call = context(&mut request);
    call.subject = Some(v1::Subject {
        entity: entity("Agent", agent),
        identity: actor("Agent", agent).unwrap().identity,
        claims: None,
    });
    let operation = call.operation.as_mut().expect("an operation");
    if let Some(v1::operation::Kind::CallTool(tool)) = &mut operation.kind {
        let arguments = format!("{{\"n\":{number}}}");
        tool.input = Some(v1::call_tool::Input::ArgumentsJson(arguments.into()));
    }
    request
}

fn asked(agent: &str, number: u32) -> v1::RequestApprovalRequest {
    v1::RequestApprovalRequest {
        call_context: question(agent, "commit", number)
            .call_context
            .as_deref()
            .cloned(),
        ..Default::default()
    }
}

/// An approval that waits, of an agent that nothing else is known of.
fn waiting(world: &World, number: u32) -> Approval {
    let now = world.server.service.now();
    let call = ApprovedCall {
        subject: schema::entity_uid(&TYPES.agent, format_smolstr!("agent-{}", number % 100)),
        root: Some(schema::entity_uid(&TYPES.user, "sam")),
        actors: Vec::new(),
        initiator: Initiator::Client,
        server: "git".into(),
        tool: "commit".into(),
        definition: None,
        arguments: format!("{{\"n\":{number}}}"),
        responses: None,
        request_state: None,
        target: None,
        task: None,
    };
    let expires_at = now + Duration::from_secs(600);
    Approval {
        id: format!("appr-{number:0>9}").into(),
        digest: call.digest(expires_at),
        call,
        circumstances: ApprovalContext::default(),
        requested_at: now,
        expires_at,
        word: None,
    }
}

/// Writes a change past the front door.
async fn write(world: &World, id: SmolStr, change: Change) {
    let asked = ChangeOrigin {
        caller: "test".into(),
        principal: None,
        key: None,
    };
    let plan = |_: &Generation| -> Result<PlannedChange, ()> {
        Ok(PlannedChange {
            verb: "Test",
            id: id.clone(),
            change: change.clone(),
        })
    };
    let service = &world.server.service;
    let written = service.ledger().write(asked, service.now(), plan).await;
    written.expect("written");
}

/// How long calls take, the shortest first.
async fn took(world: &World, calls: u32) -> Vec<Duration> {
    let mut client = world.server.client().await;
    let mut took = Vec::new();
    for number in 0..calls {
        let clock = Instant::now();
        let answer = client
            .authorize(by("edge", question("helper", "log", number)))
            .await;
        answer.expect("an answer");
        took.push(clock.elapsed());
    }
    took.sort();
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_that_wait_and_many_that_ask_again_do_not_hold_up_calls() {
    let mut world = World::start().await;
    for number in 0..10_000 {
        let approval = waiting(&world, number);
        write(
            &world,
            approval.id.text().clone(),
            Change::Approval(Arc::new(approval)),
        )
        .await;
    }
    let granted = world.granted(world.grant()).await;
    let mut pushing = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let mut client = world.client.clone();
        pushing.spawn(async move {
            loop {
                let answer = client
                    .request_approval(by("edge", asked("worker", 7)))
                    .await;
                answer.expect("the one that waits");
            }
        });
    }
    let loaded = took(&world, 200).await;
    let revoke = v1::RevokeDelegationRequest {
        actor: person("sam"),
        id: granted.id,
        ..Default::default()
    };
    let clock = Instant::now();
    let revoked = world.client.revoke_delegation(by("edge", revoke)).await;
    let revoked_in = clock.elapsed();
    revoked.expect("revoked");
    pushing.abort_all();
    // Looking through all that wait took a hundred times as long for each that asked.
    assert!(
        loaded[100] < Duration::from_millis(150),
        "{:?}",
        loaded[100]
    );
    assert!(revoked_in < Duration::from_millis(500), "{revoked_in:?}");
}

#[tokio::test]
async fn one_agent_cannot_use_up_the_room_for_approvals() {
    let mut world = World::with("[limits]\npending_approvals_per_agent = 2").await;
    let mut ids = Vec::new();
    for number in [1, 2, 1] {
        let answer = world
            .client
            .request_approval(by("edge", asked("helper", number)));
        let answer = answer.await.expect("an approval").into_inner();
        ids.push(answer.approval.expect("an approval").id);
    }
    assert_eq!(ids[0], ids[2], "asked again it is the same");
    let refused = world
        .client
        .request_approval(by("edge", asked("helper", 3)))
        .await;
    assert_refused(
        refused,
        Code::ResourceExhausted,
        "`limits.pending_approvals_per_agent`",
    );
    let other = world
        .client
        .request_approval(by("edge", asked("worker", 3)))
        .await;
    other.expect("the other agent has a share of its own");
    // What is over takes no room.
    world.clock.pass(Duration::from_secs(3_600));
    let later = world
        .client
        .request_approval(by("edge", asked("helper", 3)))
        .await;
    later.expect("room again");
}

#[tokio::test]
async fn asked_again_without_a_key_nothing_is_written() {
    let mut world = World::start().await;
    let granted = world.granted(world.grant()).await;
    let revoke = v1::RevokeDelegationRequest {
        actor: person("sam"),
        id: granted.id,
        ..Default::default()
    };
    let end = v1::EndSessionRequest {
        actor: person("sec"),
        session_id: "s-1".into(),
        ..Default::default()
    };
    let mut revisions = Vec::new();
    for _ in 0..3 {
        let revoked = world
            .client
            .revoke_delegation(by("edge", revoke.clone()))
            .await;
        let revoked = revoked.expect("revoked").into_inner();
        assert_eq!(
            revoked.delegation.expect("it").status(),
            v1::DelegationStatus::Revoked
        );
        revisions.push(revoked.revision);
    }
    assert_eq!(revisions, [revisions[0]; 3]);
    let mut revisions = Vec::new();
    for _ in 0..3 {
        let ended = world.client.end_session(by("edge", end.clone())).await;
        revisions.push(ended.expect("ended").into_inner().revision);
    }
    assert_eq!(revisions, [revisions[0]; 3]);
}

#[tokio::test]
async fn invented_sessions_have_a_part_of_the_room() {
    let mut world = World::with("[limits]\nended_unbegun_percent = 1").await;
    let service = Arc::clone(&world.server.service);
    let room = service.settings().sessions / 100;
    for number in 0..room {
        let id = SessionId::new(format!("invented-{number}"));
        service.facts().sessions.end(&id, service.now());
    }
    let end = |session: &str| v1::EndSessionRequest {
        actor: person("sec"),
        session_id: session.into(),
        ..Default::default()
    };
    let refused = world.client.end_session(by("edge", end("one-more"))).await;
    assert_refused(
        refused,
        Code::ResourceExhausted,
        "`limits.ended_unbegun_percent`",
    );
    // One in use is ended however many were invented.
    let sessions = &service.facts().sessions;
    let used = SessionId::new_static("used");
    let next = sessions.get(&used).expect("in memory").after(None, &[]);
    sessions
        .advance(&used, 0, next, service.now())
        .expect("room");
    let ended = world.client.end_session(by("edge", end("used"))).await;
    ended.expect("ended");
}

#[tokio::test]
async fn a_list_that_fits_nothing_ends_its_pages_all_the_same() {
    let mut world = World::with("[limits]\nlist_candidates = 100").await;
    for number in 0..250 {
        let approval = waiting(&world, number);
        write(
            &world,
            approval.id.text().clone(),
            Change::Approval(Arc::new(approval)),
        )
        .await;
    }
    let none_is = v1::ListApprovalsRequest {
        status: v1::ApprovalStatus::Rejected.into(),
        ..Default::default()
    };
    assert_eq!(pages(&mut world, none_is).await, [0, 0, 0]);
    // What one agent has is looked up, however much others have.
    let of_one = v1::ListApprovalsRequest {
        subject: entity("Agent", "agent-7"),
        ..Default::default()
    };
    assert_eq!(pages(&mut world, of_one).await, [3]);
}

/// How many approvals there are on each page.
async fn pages(world: &mut World, mut ask: v1::ListApprovalsRequest) -> Vec<usize> {
    let mut pages = Vec::new();
    loop {
        let page = world.client.list_approvals(by("edge", ask.clone())).await;
        let page = page.expect("a page").into_inner();
        pages.push(page.approvals.len());
        ask.page_token = page.next_page_token;
        if ask.page_token.is_empty() {
            return pages;
        }
    }
}

#[tokio::test]
async fn what_no_policy_reads_is_not_counted() {
    let world = World::start().await;
    took(&world, 5).await;
    assert!(world.server.service.facts().usage.is_empty());
}
