use std::time::{Duration, SystemTime};

use callgate_engine::cedar::Entity;
use serde_json::json;

use super::*;
use crate::domain::authority::delegation::DelegationStatus;
use crate::domain::authority::ownership::AgentOwners;
use crate::domain::authority::scope::Scope;
use crate::domain::entity_json::parse_entity;
use crate::domain::fixtures::world;
use crate::domain::schema::entity_uid;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Link `number` of the chain ana → a0 → a1 …, with as many redelegations as given.
fn link(number: usize, max_redelegations: u32) -> Delegation {
    let agent = |number: usize| entity_uid(&TYPES.agent, format!("a{number}"));
    Delegation {
        id: format!("d{number}").as_str().into(),
        from: match number.checked_sub(1) {
            Some(before) => agent(before),
            None => entity_uid(&TYPES.user, "ana"),
        },
        to: agent(number),
        scope: Scope {
            tools: Vec::new(),
            servers: Vec::new(),
            groups: Vec::new(),
            access: AccessLevel::Read,
            targets: Vec::new(),
        },
        task: None,
        parent: number
            .checked_sub(1)
            .map(|it| format!("d{it}").as_str().into()),
        max_redelegations,
        not_before: at(0),
        expires_at: at(100),
        revoked_at: None,
        created_at: at(0),
        owners: Default::default(),
    }
}

fn chain_of(max_redelegations: &[u32]) -> Authority {
    let mut authority = Authority::default();
    for (number, times) in max_redelegations.iter().enumerate() {
        let delegation = Arc::new(link(number, *times));
        authority.delegations.insert_mut(delegation);
    }
    authority
}

/// The agents of the chain.
fn agents() -> Snapshot {
    world("")
        .upsert((0..5).map(|number| agent_of(number, "alice")))
        .expect("agents")
}

/// Agent `number`, of this owner.
fn agent_of(number: usize, owner: &str) -> Entity {
    let form = json!({
        "uid": { "type": "Mcp::Agent", "id": format!("a{number}") },
        "attrs": { "owner": { "__entity": { "type": "Mcp::User", "id": owner } }, "active": true },
        "parents": [],
    });
    parse_entity(None, &form.to_string()).expect("an agent")
}

/// Of each link: whether it is active, and how often it may be redelegated.
fn links(authority: &Authority) -> Vec<(bool, u32)> {
    let snapshot = &agents();
    let links = authority.delegations.values().map(|it| {
        let status = authority.delegation_status(snapshot, it, at(1));
        let is_active = status == DelegationStatus::Active;
        let chain = DelegationChain::from_delegation(authority, it);
        assert_eq!(is_active, chain.is_ok(), "status and chain of {}", it.id);
        assert!(DelegationChain::of_whatever_was_delegated(authority, it).is_ok());
        (is_active, redelegations_left(authority, it))
    });
    links.collect()
}

#[test]
fn a_parent_that_was_narrowed_narrows_what_is_below_it_and_breaks_only_what_is_deeper() {
    let (yes, no) = (true, false);
    assert_eq!(links(&chain_of(&[2, 1, 0])), [(yes, 2), (yes, 1), (yes, 0)]);
    // The root narrowed to one: what it delegates may be redelegated once, so once more is too deep.
    assert_eq!(links(&chain_of(&[1, 1, 0])), [(yes, 1), (yes, 0), (no, 0)]);
    assert_eq!(links(&chain_of(&[0, 1, 0])), [(yes, 0), (no, 0), (no, 0)]);
    // A link in between.
    assert_eq!(
        links(&chain_of(&[3, 1, 1, 0])),
        [(yes, 3), (yes, 1), (yes, 0), (no, 0)]
    );
    assert_eq!(links(&chain_of(&[4, 2, 2])), [(yes, 4), (yes, 2), (yes, 1)]);
}

#[test]
fn the_first_link_that_is_too_deep_is_named() {
    let authority = chain_of(&[1, 5, 5, 5]);
    let last = authority.delegations.values().last().expect("a link");
    let reason = DelegationChain::from_delegation(&authority, last).expect_err("too deep");
    assert_eq!(reason.code, ReasonCode::DelegationChainBroken);
    assert_eq!(
        reason.detail.as_deref(),
        Some("grant `d2` does not follow from `d1`")
    );
}

#[test]
fn the_user_behind_stored_delegations_is_known_whether_or_not_they_are_in_force() {
    // The links are deeper than the first one allows.
    let authority = chain_of(&[0, 0, 0]);
    let (ana, agent) = (
        entity_uid(&TYPES.user, "ana"),
        entity_uid(&TYPES.agent, "another"),
    );
    let of = |ids: &[&str], subject: &EntityUID| {
        let ids: Vec<_> = ids.iter().map(|id| DelegationId::from(*id)).collect();
        stored_root(&authority, &ids, subject)
    };
    let root = |ids: &[&str]| {
        let last = authority.delegations.get(*ids.last()?);
        of(ids, last.map_or(&agent, |last| &last.to))
    };
    assert_eq!(root(&["d0"]), Some((&ana, 1)));
    assert_eq!(root(&["d2"]), Some((&ana, 3)));
    assert_eq!(root(&["d0", "d1", "d2"]), Some((&ana, 3)));
    assert_eq!(root(&["unknown", "d1"]), Some((&ana, 2)));
    assert_eq!(root(&["unknown"]), None);
    // Whoever names what was delegated to another acts for nobody.
    assert_eq!(of(&["d0"], &agent), None);
    let server = entity_uid(&TYPES.server, "git");
    let ids = [DelegationId::from("d1")];
    assert_eq!(stored_root(&authority, &ids, &server), Some((&ana, 3)));
    // Where a part of the chain is gone, nobody knows whose it was.
    let mut cut = Authority::default();
    cut.delegations.insert_mut(Arc::new(link(1, 0)));
    let last = link(1, 0).to;
    assert_eq!(stored_root(&cut, &ids, &last), None);
    // Nor where it goes round.
    let mut round = link(1, 0);
    round.parent = Some("d1".into());
    cut.delegations.insert_mut(Arc::new(round));
    assert_eq!(stored_root(&cut, &ids, &last), None);
}

#[test]
fn a_delegation_is_to_the_agent_of_then_and_to_no_other_of_its_name() {
    let alice = || Some(entity_uid(&TYPES.user, "alice"));
    let mut authority = Authority::default();
    for number in 0..3 {
        let owners = AgentOwners {
            from: (number > 0).then(alice).flatten(),
            to: alice(),
        };
        authority.delegations.insert_mut(Arc::new(Delegation {
            owners,
            ..link(number, 5)
        }));
    }
    let statuses = |snapshot: &Snapshot| {
        let all = authority.delegations.values();
        all.map(|it| authority.delegation_status(snapshot, it, at(1)))
            .collect::<Vec<_>>()
    };
    use DelegationStatus::{Active, AgentGone};
    let there = agents();
    assert_eq!(statuses(&there), [Active; 3]);
    let second = &link(1, 0).to;
    let gone = there.remove([second]);
    assert_eq!(statuses(&gone), [Active, AgentGone, AgentGone]);
    let anothers = gone.upsert([agent_of(1, "mallory")]).expect("an agent");
    assert_eq!(statuses(&anothers), [Active, AgentGone, AgentGone]);
    let back = gone.upsert([agent_of(1, "alice")]).expect("an agent");
    assert_eq!(statuses(&back), [Active; 3]);
    let last = authority.delegations.get("d2").expect("the last");
    let chain = DelegationChain::from_delegation(&authority, last).expect("a chain");
    assert!(chain.verify_agents(&back).is_ok());
    let reason = chain.verify_agents(&anothers).expect_err("another agent");
    assert_eq!(reason.code, ReasonCode::DelegationRevoked);
    assert_eq!(reason.detail.as_deref(), Some("grant `d1`"));
    // One who delegates what is its own is looked at as well.
    let own = Delegation {
        from: second.clone(),
        parent: None,
        ..Delegation::clone(last)
    };
    assert!(own.is_between_the_same(&back) && !own.is_between_the_same(&anothers));
    // Where no owner was recorded, it counts that the agents are there.
    let bare = link(2, 0);
    assert!(bare.is_between_the_same(&anothers) && !bare.is_between_the_same(&gone));
}

#[test]
fn what_is_over_is_told_before_what_may_be_in_force_later() {
    use DelegationStatus::{AgentGone, NotYetValid, Revoked, TaskEnded};
    let (there, gone) = (agents(), agents().remove([&link(1, 0).to]));
    let with = |parent: Delegation, last: Delegation| {
        let mut authority = Authority::default();
        authority.delegations.insert_mut(Arc::new(parent));
        authority.delegations.insert_mut(Arc::new(last));
        authority
    };
    let statuses = |authority: &Authority| {
        let last = authority.delegations.get("d1").expect("the last");
        [&there, &gone].map(|snapshot| authority.delegation_status(snapshot, last, at(1)))
    };
    let later = |number| Delegation {
        not_before: at(5),
        ..link(number, 5)
    };
    let revoked = |link: Delegation| Delegation {
        revoked_at: Some(at(0)),
        ..link
    };
    assert_eq!(
        statuses(&with(link(0, 5), later(1))),
        [NotYetValid, AgentGone]
    );
    assert_eq!(
        statuses(&with(later(0), link(1, 5))),
        [NotYetValid, AgentGone]
    );
    for (parent, last) in [
        (revoked(link(0, 5)), later(1)),
        (revoked(later(0)), link(1, 5)),
        (later(0), revoked(link(1, 5))),
    ] {
        let authority = with(parent, last);
        assert_eq!(statuses(&authority), [Revoked; 2]);
        // A call hears the same.
        let links: Vec<_> = authority.delegations.values().map(Arc::as_ref).collect();
        let reason = verify_links(&authority, &links, None, at(1)).expect_err("revoked");
        assert_eq!(reason.code, ReasonCode::DelegationRevoked);
    }
    // The task is not there any more.
    let for_task = Delegation {
        task: Some("t".into()),
        ..later(1)
    };
    let authority = with(link(0, 5), for_task);
    assert_eq!(statuses(&authority), [TaskEnded; 2]);
    let last = authority.delegations.get("d1").expect("the last");
    let reason = verify_links(&authority, &[last], None, at(1)).expect_err("it is over");
    assert_eq!(reason.code, ReasonCode::TaskClosed);
}
