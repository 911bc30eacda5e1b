use std::sync::Arc;
use std::time::{Duration, SystemTime};

use smol_str::{SmolStr, format_smolstr};

use crate::domain::authority::approval::{
    Approval, ApprovalContext, ApprovalDecision, ApprovedCall,
};
use crate::domain::authority::approval_index::ApprovalIndex;
use crate::domain::request::call_context::Initiator;
use crate::domain::schema::{self, TYPES};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn call(agent: &str, arguments: &str) -> ApprovedCall {
    ApprovedCall {
        subject: schema::entity_uid(&TYPES.agent, SmolStr::new(agent)),
        root: None,
        actors: Vec::new(),
        initiator: Initiator::Client,
        server: "notes".into(),
        tool: "create".into(),
        definition: None,
        arguments: arguments.to_owned(),
        responses: None,
        request_state: None,
        target: None,
        task: None,
    }
}

fn approval(id: &str, call: ApprovedCall, from: u64, until: u64) -> Arc<Approval> {
    Arc::new(Approval {
        id: id.into(),
        digest: call.digest(at(until)),
        call,
        circumstances: ApprovalContext::default(),
        requested_at: at(from),
        expires_at: at(until),
        word: None,
    })
}

fn with_word(approval: &Approval, uses: u32, seconds: u64) -> Arc<Approval> {
    Arc::new(Approval {
        word: Some(ApprovalDecision {
            by: schema::entity_uid(&TYPES.user, "alice"),
            at: at(seconds),
            uses,
            comment: None,
            claims: Default::default(),
            identity: None,
        }),
        ..approval.clone()
    })
}

#[test]
fn a_call_finds_what_it_waits_for_until_that_is_over_or_decided() {
    let mut approvals = ApprovalIndex::default();
    let first = approval("a", call("bot", "{}"), 1, 10);
    approvals.insert_mut(Arc::clone(&first));
    approvals.insert_mut(approval("b", call("bot", "{\"x\":1}"), 1, 10));
    let waits = |approvals: &ApprovalIndex, now| {
        let found = approvals.pending_for(&call("bot", "{}"), at(now), |_| true);
        found.map(|it| it.id.clone())
    };
    assert_eq!(waits(&approvals, 9), Some("a".into()));
    assert_eq!(waits(&approvals, 10), None);
    approvals.insert_mut(with_word(&first, 1, 2));
    assert_eq!(waits(&approvals, 9), None);
    assert_eq!(approvals.undecided(at(9)), 1);
    let of_digest: Vec<_> = approvals.of_digest(&first.digest).collect();
    assert_eq!(of_digest.len(), 1);
    assert!(of_digest[0].word.is_some());
}

#[test]
fn only_an_agents_own_count_against_its_share() {
    let mut approvals = ApprovalIndex::default();
    for number in 0..10 {
        let arguments = format!("{{\"n\":{number}}}");
        let agent = if number % 2 == 0 { "bot" } else { "other" };
        let id = format_smolstr!("a{number}");
        approvals.insert_mut(approval(&id, call(agent, &arguments), 1, 10 + number));
    }
    let bot = schema::entity_uid(&TYPES.agent, "bot");
    assert_eq!(approvals.pending_of(&bot, at(5)).count(), 5);
    assert_eq!(approvals.pending_of(&bot, at(14)).count(), 2);
    assert_eq!(approvals.undecided(at(14)), 5);
}

#[test]
fn what_has_expired_leaves_the_undecided_and_stays_on_record() {
    let mut approvals = ApprovalIndex::default();
    for number in 0..100_u64 {
        let arguments = format!("{{\"n\":{number}}}");
        let id = format_smolstr!("a{number}");
        approvals.insert_mut(approval(&id, call("bot", &arguments), number, number + 2));
    }
    assert_eq!(approvals.size(), 100);
    assert!(
        approvals.undecided.size() <= 3,
        "{}",
        approvals.undecided.size()
    );
    assert_eq!(approvals.by_call.size(), approvals.undecided.size());
    assert_eq!(approvals.by_agent.size(), approvals.undecided.size());
    for number in 0..100 {
        approvals.remove_mut(&format!("a{number}").into());
    }
    assert!(approvals.is_empty() && approvals.by_digest.is_empty());
    assert!(approvals.by_call.is_empty() && approvals.by_agent.is_empty());
}
