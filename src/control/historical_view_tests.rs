use std::time::Duration;

use smol_str::SmolStr;

use super::*;
use crate::domain::authority::scope::Scope;
use crate::domain::schema::{self, AccessLevel, TYPES};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn grant(id: &str, parent: Option<&str>, task: Option<&str>) -> Delegation {
    Delegation {
        id: id.into(),
        from: schema::entity_uid(&TYPES.user, SmolStr::new("sam")),
        to: schema::entity_uid(&TYPES.agent, SmolStr::new("helper")),
        scope: Scope {
            tools: Vec::new(),
            servers: Vec::new(),
            groups: Vec::new(),
            access: AccessLevel::Read,
            targets: Vec::new(),
        },
        task: task.map(Into::into),
        parent: parent.map(Into::into),
        max_redelegations: 0,
        not_before: at(10),
        expires_at: at(1_000),
        revoked_at: None,
        created_at: at(10),
        owners: Default::default(),
    }
}

fn task(closed_at: Option<SystemTime>) -> Task {
    Task {
        id: "t".into(),
        agent: schema::entity_uid(&TYPES.agent, SmolStr::new("helper")),
        agent_owner: None,
        person: schema::entity_uid(&TYPES.user, SmolStr::new("sam")),
        purpose: "triage".into(),
        scope: None,
        terms: Default::default(),
        call_budget: Some(5),
        steps: Vec::new(),
        at_step: 0,
        opened_at: at(10),
        deadline: at(2_000),
        closed_at,
    }
}

#[test]
fn a_delegation_is_told_as_its_parents_and_its_task_were_then() {
    let mut authority = Authority::default();
    let parent = Delegation {
        revoked_at: Some(at(50)),
        max_redelegations: 0,
        ..grant("p", None, None)
    };
    authority.delegations.insert_mut(Arc::new(parent));
    let closed = Arc::new(task(Some(at(60))));
    authority.tasks.insert_mut(closed);
    let status = |seconds, delegation: &Delegation| {
        let past = HistoricalView {
            at: at(seconds),
            authority: &authority,
        };
        past.delegation(&Arc::new(delegation.clone())).status
    };
    let redelegated = grant("g", Some("p"), None);
    assert_eq!(status(20, &redelegated), DelegationStatus::Active);
    assert_eq!(status(55, &redelegated), DelegationStatus::Revoked);
    let for_task = grant("h", None, Some("t"));
    assert_eq!(status(20, &for_task), DelegationStatus::Active);
    assert_eq!(status(61, &for_task), DelegationStatus::TaskEnded);
    let later = |delegation| Delegation {
        not_before: at(500),
        ..delegation
    };
    assert_eq!(
        status(20, &later(redelegated.clone())),
        DelegationStatus::NotYetValid
    );
    assert_eq!(
        status(55, &later(redelegated.clone())),
        DelegationStatus::Revoked
    );
    assert_eq!(status(61, &later(for_task)), DelegationStatus::TaskEnded);
    // What is forgotten by now held then.
    assert_eq!(
        status(20, &grant("i", Some("gone"), Some("gone"))),
        DelegationStatus::Active
    );
    assert_eq!(status(1_001, &redelegated), DelegationStatus::Expired);
    let revoked = Delegation {
        revoked_at: Some(at(20)),
        ..grant("j", None, None)
    };
    assert_eq!(status(20, &revoked), DelegationStatus::Revoked);
}

#[test]
fn a_task_is_told_as_it_was_and_its_budget_when_it_was_opened() {
    let authority = Authority::default();
    let past = HistoricalView {
        at: at(20),
        authority: &authority,
    };
    let opened = past.task(&Arc::new(task(None)), true);
    assert_eq!(
        (opened.status, opened.calls_left),
        (crate::domain::authority::task::TaskStatus::Open, Some(5))
    );
    assert_eq!(past.task(&Arc::new(task(None)), false).calls_left, None);
}
