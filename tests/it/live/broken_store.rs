//! A store that fails while the service runs: a full disk, a file that is gone or can only be read.
//!
//! What cannot be written is not in service and not allowed. What needs no writing goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use callgate::control::approvals::{ApprovalFilter, ApprovalRequest, CallApproval, CallRejection};
use callgate::control::delegations::NewDelegation;
use callgate::control::error::ControlError;
use callgate::control::page::PageRequest;
use callgate::control::tasks::NewTask;
use callgate::domain::authority::approval::ApprovalStatus;
use callgate::domain::authority::change::IdempotencyKey;
use callgate::domain::decide::verdict::{ReasonCode, Verdict};
use callgate::domain::ids::{ApprovalId, DelegationId};
use callgate::domain::schema::AccessLevel;
use callgate::store::backend::{Store, StoreError};
use callgate::store::sqlite::SqliteStore;

use crate::live::office::{self, agent, call, for_person, from_delegation_ids, person, tools};
use crate::support::direct::Direct;
use crate::support::watched_store::WatchedStore;

const HOUR: Duration = Duration::from_secs(3_600);

fn office() -> (Direct, Arc<AtomicBool>) {
    let is_full = Arc::new(AtomicBool::new(false));
    let full = Arc::clone(&is_full);
    let store = Box::new(SqliteStore::in_memory().unwrap());
    let store = WatchedStore::new(store as Box<dyn Store>, move |_| {
        match full.load(Ordering::SeqCst) {
            true => Err(StoreError::Write("database or disk is full".to_owned())),
            false => Ok(()),
        }
    });
    (office::over(Box::new(store)), is_full)
}

fn new_delegation(office: &Direct) -> NewDelegation {
    NewDelegation {
        to: agent("one"),
        scope: tools(&["mail/list"], AccessLevel::Read),
        task: None,
        parent: None,
        max_redelegations: 0,
        not_before: None,
        expires_at: office.now() + HOUR,
    }
}

async fn delegate(office: &Direct) -> Result<DelegationId, ControlError> {
    let author = office.author(&person("ana"));
    let delegated = office
        .control
        .grant_delegation(&author, new_delegation(office));
    Ok(delegated.await?.value.delegation.id.clone())
}

fn is_unwritten(decision: &Verdict) -> bool {
    !decision.is_allow() && decision.reasons[0].code == ReasonCode::StoreUnavailable
}

#[tokio::test]
async fn a_change_that_is_not_written_is_not_in_service() {
    let (office, is_full) = office();
    let kept = delegate(&office).await.unwrap();
    let made = from_delegation_ids(
        call(&agent("one"), "mail/list"),
        std::slice::from_ref(&kept),
    );
    let before = office.service.live().unwrap();
    let mut changes = office.service.ledger().changes();
    is_full.store(true, Ordering::SeqCst);
    let author = office.author(&person("ana"));
    for _ in 0..3 {
        let refused = delegate(&office).await.unwrap_err();
        assert!(matches!(refused, ControlError::Unavailable), "{refused:?}");
    }
    let live = office.service.live().unwrap();
    assert_eq!(live.revision(), before.revision());
    assert_eq!(live.authority.delegations.size(), 1);
    assert!(live.authority.delegations[&kept].revoked_at.is_none());
    assert!(changes.try_recv().is_err(), "nothing is told");
    assert!(office.decide(&made).await.is_allow(), "calls go on");

    is_full.store(false, Ordering::SeqCst);
    let next = delegate(&office).await.unwrap();
    assert_eq!(changes.try_recv().unwrap().revision, before.revision() + 1);
    let revoked = office
        .control
        .revoke_delegation(&author, kept.clone())
        .await
        .unwrap();
    assert_eq!(revoked.revision, before.revision() + 2);
    assert!(revoked.is_durable);
    let denied = office.decide(&made).await;
    assert_eq!(denied.reasons[0].code, ReasonCode::DelegationRevoked);
    let made = from_delegation_ids(call(&agent("one"), "mail/list"), &[next]);
    assert!(office.decide(&made).await.is_allow());
}

#[tokio::test]
async fn what_is_taken_away_takes_force_at_once_and_is_written_when_it_can_be() {
    let (office, is_full) = office();
    let author = office.author(&person("ana"));
    let delegated = [
        delegate(&office).await.unwrap(),
        delegate(&office).await.unwrap(),
    ];
    let made = delegated
        .clone()
        .map(|id| from_delegation_ids(call(&agent("one"), "mail/list"), &[id]));
    let mut in_session = for_person(call(&agent("two"), "mail/list"), &person("ana"));
    in_session.workflow.session_id = Some("s".into());
    let before = office.service.live().unwrap().revision();
    let mut changes = office.service.ledger().changes();
    is_full.store(true, Ordering::SeqCst);
    for (id, made) in delegated.iter().zip(&made) {
        assert!(office.decide(made).await.is_allow());
        let revoked = office.control.revoke_delegation(&author, id.clone());
        let revoked = revoked.await.unwrap();
        assert!(!revoked.is_durable, "and it says so");
        let denied = office.decide(made).await;
        assert_eq!(denied.reasons[0].code, ReasonCode::DelegationRevoked);
        let refused = delegate(&office).await.unwrap_err();
        assert!(matches!(refused, ControlError::Unavailable), "{refused:?}");
    }
    let ended = office.control.end_session(&author, "s".into()).await;
    assert!(!ended.unwrap().is_durable);
    let denied = office.decide(&in_session).await;
    assert_eq!(denied.reasons[0].code, ReasonCode::SessionEnded);
    let stopped = office
        .control
        .stop_entity(&author, agent("three"), "leaks".into());
    assert!(!stopped.await.unwrap().is_durable);
    let status = office.control.status().await.unwrap();
    assert_eq!((status.unwritten, status.stopped.len()), (4, 1));
    let fault = status.store_fault.unwrap();
    assert!(
        fault.contains("4 changes are in force and not written"),
        "{fault}"
    );
    office.service.flush();
    assert!(changes.try_recv().is_err(), "still nothing is written");

    is_full.store(false, Ordering::SeqCst);
    office.service.flush();
    for (step, verb) in [
        "RevokeDelegation",
        "RevokeDelegation",
        "EndSession",
        "StopEntity",
    ]
    .into_iter()
    .enumerate()
    {
        let told = loop {
            // An attempt that began while the disk was full may still be under way, and then no other is begun.
            match tokio::time::timeout(Duration::from_millis(100), changes.recv()).await {
                Ok(told) => break told.unwrap(),
                Err(_) => office.service.flush(),
            }
        };
        assert_eq!(told.revision, before + 1 + step as u64);
        assert_eq!(told.verb, verb, "in the order in which it was taken away");
    }
    let live = office.service.live().unwrap();
    assert_eq!(live.revision(), before + 4);
    let status = office.control.status().await.unwrap();
    assert_eq!((status.unwritten, status.store_fault), (0, None));
    delegate(&office).await.unwrap();
    for made in &made {
        let denied = office.decide(made).await;
        assert_eq!(denied.reasons[0].code, ReasonCode::DelegationRevoked);
    }
}

#[tokio::test]
async fn asked_again_under_its_key_it_is_the_same_change_before_it_is_written_and_after() {
    let (office, is_full) = office();
    let mut author = office.author(&person("ana"));
    author.key = Some(IdempotencyKey {
        text: "stop three".into(),
        request: [1; 32],
    });
    let stop = async |author| {
        let stopped = office
            .control
            .stop_entity(author, agent("three"), "leaks".into());
        stopped.await
    };
    let counts = async || {
        let status = office.control.status().await.unwrap();
        (status.unwritten, status.stopped.len())
    };
    is_full.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        assert!(!stop(&author).await.unwrap().is_durable);
        assert_eq!(counts().await, (1, 1), "one change waits");
    }
    let mut other = author.clone();
    other.key.as_mut().unwrap().request = [2; 32];
    let refused = stop(&other).await.unwrap_err();
    assert!(!matches!(refused, ControlError::Unavailable), "{refused:?}");
    is_full.store(false, Ordering::SeqCst);
    office.service.flush();
    assert_eq!(counts().await, (0, 1));
    let written = office.service.live().unwrap().revision();
    let again = stop(&author).await.unwrap();
    assert!(again.is_durable);
    assert_eq!(
        again.revision, written,
        "the revision that it was written under"
    );
    // What was undone since is not done again by the retry.
    let plain = office.author(&person("ana"));
    let resumed = office.control.resume_entity(&plain, agent("three"));
    resumed.await.unwrap();
    assert!(stop(&author).await.unwrap().is_durable);
    assert_eq!(counts().await, (0, 0), "it stays resumed");
    assert!(stop(&other).await.is_err());
}

#[tokio::test]
async fn many_changes_at_once_fail_together_and_come_back_together() {
    let (office, is_full) = office();
    let office = Arc::new(office);
    let before = office.service.live().unwrap().revision();
    is_full.store(true, Ordering::SeqCst);
    let delegate_all = || {
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let office = Arc::clone(&office);
            all.spawn(async move { delegate(&office).await.is_ok() });
        }
        all.join_all()
    };
    assert!(
        delegate_all()
            .await
            .iter()
            .all(|is_delegated| !is_delegated)
    );
    assert_eq!(office.service.live().unwrap().revision(), before);
    is_full.store(false, Ordering::SeqCst);
    assert!(
        delegate_all()
            .await
            .iter()
            .all(|is_delegated| *is_delegated)
    );
    let live = office.service.live().unwrap();
    assert_eq!(live.revision(), before + 50);
    assert_eq!(live.authority.delegations.size(), 50);
}

#[tokio::test]
async fn a_label_that_is_not_written_is_a_call_that_is_not_made() {
    let (office, is_full) = office();
    let in_session = |tool: &str, session: &str| {
        let mut made = for_person(call(&agent("one"), tool), &person("ana"));
        made.workflow.session_id = Some(session.into());
        made
    };
    assert!(
        office
            .decide(&in_session("files/read", "old"))
            .await
            .is_allow()
    );
    is_full.store(true, Ordering::SeqCst);
    let read = office.decide(&in_session("files/read", "old")).await;
    assert!(read.is_allow(), "its label was written before: {read:?}");
    let plain = office.decide(&in_session("mail/list", "new")).await;
    assert!(plain.is_allow(), "it brings no label: {plain:?}");
    for _ in 0..3 {
        let read = office.decide(&in_session("files/read", "new")).await;
        assert!(is_unwritten(&read), "{read:?}");
    }
    is_full.store(false, Ordering::SeqCst);
    assert!(
        office
            .decide(&in_session("files/read", "new"))
            .await
            .is_allow()
    );
    let sent = office.decide(&in_session("mail/send", "new")).await;
    assert_eq!(sent.reasons[0].code, ReasonCode::Forbidden);
}

#[tokio::test]
async fn a_budget_that_is_not_written_is_not_spent_on_an_allow() {
    let (office, is_full) = office();
    let task = NewTask {
        agent: agent("one"),
        person: person("ana"),
        purpose: "to list".into(),
        scope: None,
        terms: Default::default(),
        call_budget: Some(10),
        steps: Vec::new(),
        deadline: office.now() + HOUR,
    };
    let author = office.author(&person("ana"));
    let opened = office.control.open_task(&author, task).await.unwrap();
    let mut made = for_person(call(&agent("one"), "mail/list"), &person("ana"));
    made.workflow.task_id = Some(opened.value.task.id.clone());
    let mut allowed = u32::from(office.decide(&made).await.is_allow());
    is_full.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let decision = office.decide(&made).await;
        assert!(is_unwritten(&decision), "{decision:?}");
    }
    is_full.store(false, Ordering::SeqCst);
    loop {
        let decision = office.decide(&made).await;
        if !decision.is_allow() {
            assert_eq!(decision.reasons[0].code, ReasonCode::TaskBudgetSpent);
            break;
        }
        allowed += 1;
    }
    assert_eq!(allowed, 10, "calls that were not made are not spent");
}

#[tokio::test]
async fn a_use_that_is_not_written_is_not_allowed() {
    let (office, is_full) = office();
    let mut made = for_person(call(&agent("one"), "files/format"), &person("ana"));
    let request = ApprovalRequest {
        call: made.clone(),
        challenge: None,
    };
    let author = office.author(&agent("one"));
    let asked = office
        .control
        .request_approval(&author, request)
        .await
        .unwrap();
    let approval = &asked.value.approval;
    let yes = CallApproval {
        id: approval.id.clone(),
        digest: approval.digest.clone(),
        uses: 1,
        comment: None,
    };
    let author = office.author(&person("bob"));
    office.control.approve_call(&author, yes).await.unwrap();
    made.approval_ids = vec![approval.id.clone()];
    is_full.store(true, Ordering::SeqCst);
    let decision = office.decide(&made).await;
    assert!(is_unwritten(&decision), "{decision:?}");
    is_full.store(false, Ordering::SeqCst);
    assert_eq!(status(&office, &approval.id), (ApprovalStatus::Approved, 0));
    let mut allowed = 0;
    for _ in 0..3 {
        allowed += u32::from(office.decide(&made).await.is_allow());
    }
    assert_eq!(allowed, 1, "the call was not made");
    assert_eq!(status(&office, &approval.id), (ApprovalStatus::Used, 1));
    // Also what is used up can be taken away.
    let no = CallRejection {
        id: approval.id.clone(),
        comment: None,
    };
    office.control.reject_call(&author, no).await.unwrap();
    assert_eq!(status(&office, &approval.id), (ApprovalStatus::Rejected, 1));
}

/// The status of an approval, and how often it is used.
fn status(office: &Direct, id: &ApprovalId) -> (ApprovalStatus, u32) {
    let filter = ApprovalFilter {
        id: Some(id.clone()),
        ..ApprovalFilter::default()
    };
    let listed = office
        .control
        .list_approvals(&filter, &PageRequest::default());
    let listed = listed.unwrap().items.remove(0);
    (listed.status, listed.used)
}
