//! What must hold whatever runs at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use callgate::control::approvals::{ApprovalRequest, CallApproval, PresentedChallenge};
use callgate::control::delegations::NewDelegation;
use callgate::control::tasks::NewTask;
use callgate::domain::decide::verdict::ReasonCode;
use callgate::domain::ids::{DelegationId, SessionId, TaskId};
use callgate::domain::schema::AccessLevel;
use tokio::task::JoinSet;

use crate::live::office::{self, agent, call, for_person, from_delegation_ids, person, tools};
use crate::support::direct::Direct;

const HOUR: Duration = Duration::from_secs(3_600);

/// Runs something many times at once and counts how often it says yes.
async fn count<F, R>(workers: usize, work: F) -> usize
where
    F: Fn(usize) -> R,
    R: Future<Output = usize> + Send + 'static,
{
    let mut running: JoinSet<usize> = (0..workers).map(work).collect();
    let mut yes = 0;
    while let Some(done) = running.join_next().await {
        yes += done.unwrap();
    }
    yes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_uses_of_one_approval_are_one() {
    let office = Arc::new(office::open());
    let (one, ana, bob) = (agent("one"), person("ana"), person("bob"));
    let format = for_person(call(&one, "files/format"), &ana);
    let denied = office.decide(&format).await;
    assert_eq!(
        denied.reasons[0].code,
        ReasonCode::ApprovalRequired,
        "{denied:?}"
    );
    let challenge = denied.challenge.unwrap();
    let request = ApprovalRequest {
        call: format.clone(),
        challenge: Some(PresentedChallenge {
            digest: challenge.digest.clone(),
            expires_at: challenge.expires_at,
        }),
    };
    let author = office.author(&one);
    let asked = office.control.request_approval(&author, request);
    let id = asked.await.unwrap().value.approval.id.clone();
    let yes = CallApproval {
        id: id.clone(),
        digest: challenge.digest,
        uses: 1,
        comment: None,
    };
    office
        .control
        .approve_call(&office.author(&bob), yes)
        .await
        .unwrap();
    let mut approved = format;
    approved.approval_ids = vec![id];
    let allowed = count(8, |_| {
        let (office, approved) = (Arc::clone(&office), approved.clone());
        async move {
            let mut allowed = 0;
            for _ in 0..1_250 {
                let decision = office.decide(&approved).await;
                allowed += usize::from(decision.is_allow());
                let lost = ReasonCode::ApprovalInvalid;
                assert!(decision.is_allow() || decision.reasons[0].code == lost);
            }
            allowed
        }
    });
    assert_eq!(allowed.await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_budget_is_spent_and_never_overspent() {
    let office = Arc::new(office::open());
    let (one, ana) = (agent("one"), person("ana"));
    let task = NewTask {
        agent: one.clone(),
        person: ana.clone(),
        purpose: "to list".into(),
        scope: None,
        terms: Default::default(),
        call_budget: Some(500),
        steps: Vec::new(),
        deadline: office.now() + HOUR,
    };
    let author = office.author(&ana);
    let opened = office.control.open_task(&author, task);
    let id = opened.await.unwrap().value.task.id.clone();
    let mut list = for_person(call(&one, "mail/list"), &ana);
    list.workflow.task_id = Some(id);
    let allowed = count(8, |_| {
        let (office, list) = (Arc::clone(&office), list.clone());
        async move {
            let mut allowed = 0;
            for _ in 0..150 {
                let decision = office.decide(&list).await;
                allowed += usize::from(decision.is_allow());
                let spent = ReasonCode::TaskBudgetSpent;
                assert!(decision.is_allow() || decision.reasons[0].code == spent);
            }
            allowed
        }
    });
    assert_eq!(allowed.await, 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_calls_that_exclude_each_other_a_session_lets_one_pass() {
    let office = Arc::new(office::open());
    let one = agent("one");
    for round in 0..300 {
        let session = SessionId::new(format!("session {round}"));
        let allowed = count(4, |index| {
            let tool = ["files/read", "mail/send"][index % 2];
            let mut made = for_person(call(&one, tool), &person("ana"));
            made.workflow.session_id = Some(session.clone());
            let office = Arc::clone(&office);
            async move {
                let is_allowed = office.decide(&made).await.is_allow();
                // Which of the two it was, in one number: a session allows the one or the other.
                usize::from(is_allowed) * if tool == "files/read" { 1 } else { 10 }
            }
        })
        .await;
        assert!(allowed == 2 || allowed == 20, "round {round}: {allowed}");
    }
}

/// Calls over and over until the power behind the calls is gone, and takes it away meanwhile. A call that
/// began after the end was acknowledged must not be allowed.
async fn race_against_the_end<R: Future<Output = ()>>(
    office: &Arc<Direct>,
    made: callgate::CallContext,
    expected: ReasonCode,
    end: R,
) {
    let is_over = Arc::new(AtomicBool::new(false));
    let late = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..3 {
        let (office, made) = (Arc::clone(office), made.clone());
        let (is_over, late) = (Arc::clone(&is_over), Arc::clone(&late));
        callers.spawn(async move {
            let mut allowed = 0;
            loop {
                let was_over = is_over.load(Ordering::SeqCst);
                let decision = office.decide(&made).await;
                if was_over {
                    late.fetch_add(usize::from(decision.is_allow()), Ordering::SeqCst);
                    assert_eq!(decision.reasons[0].code, expected);
                    return allowed;
                }
                allowed += usize::from(decision.is_allow());
                tokio::task::yield_now().await;
            }
        });
    }
    end.await;
    is_over.store(true, Ordering::SeqCst);
    while let Some(done) = callers.join_next().await {
        done.unwrap();
    }
    assert_eq!(late.load(Ordering::SeqCst), 0);
}

async fn delegate(office: &Direct, task: Option<TaskId>) -> DelegationId {
    let delegation = NewDelegation {
        to: agent("one"),
        scope: tools(&["mail/list"], AccessLevel::Read),
        task,
        parent: None,
        max_redelegations: 0,
        not_before: None,
        expires_at: office.now() + HOUR / 2,
    };
    let author = office.author(&person("ana"));
    let delegated = office.control.grant_delegation(&author, delegation).await;
    delegated.unwrap().value.delegation.id.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_allowed_once_a_revocation_is_acknowledged() {
    let office = Arc::new(office::open());
    for _ in 0..100 {
        let id = delegate(&office, None).await;
        let made = from_delegation_ids(call(&agent("one"), "mail/list"), std::slice::from_ref(&id));
        assert!(office.decide(&made).await.is_allow());
        let author = office.author(&person("ana"));
        let end = async {
            office.control.revoke_delegation(&author, id).await.unwrap();
        };
        race_against_the_end(&office, made, ReasonCode::DelegationRevoked, end).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_allowed_once_the_end_of_a_task_is_acknowledged() {
    let office = Arc::new(office::open());
    let author = office.author(&person("ana"));
    for _ in 0..100 {
        let task = NewTask {
            agent: agent("one"),
            person: person("ana"),
            purpose: "to list".into(),
            scope: None,
            terms: Default::default(),
            call_budget: None,
            steps: Vec::new(),
            deadline: office.now() + HOUR,
        };
        let opened = office.control.open_task(&author, task).await.unwrap();
        let task = opened.value.task.id.clone();
        let delegation = delegate(&office, Some(task.clone())).await;
        let mut made = from_delegation_ids(call(&agent("one"), "mail/list"), &[delegation]);
        made.workflow.task_id = Some(task.clone());
        assert!(office.decide(&made).await.is_allow());
        let end = async {
            office.control.close_task(&author, task).await.unwrap();
        };
        race_against_the_end(&office, made, ReasonCode::TaskClosed, end).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writes_that_run_at_the_same_time_get_one_revision_each() {
    let office = Arc::new(office::open());
    let before = office.service.live().unwrap().revision();
    let delegated = count(8, |_| {
        let office = Arc::clone(&office);
        async move {
            let mut last = 0;
            for _ in 0..50 {
                delegate(&office, None).await;
                let now = office.service.live().unwrap().revision();
                assert!(
                    now > last,
                    "a write is in service before it is acknowledged"
                );
                last = now;
            }
            50
        }
    });
    assert_eq!(delegated.await, 400);
    let live = office.service.live().unwrap();
    assert_eq!(live.revision(), before + 400);
    assert_eq!(live.authority.delegations.size(), 400);
}
