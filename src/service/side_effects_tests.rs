use std::sync::Arc;

use super::*;
use crate::domain::ids::{ApprovalId, BudgetId};
use crate::domain::shared_list::SharedList;
use crate::service::settings::ServiceSettings;
use crate::store::backend::{StoreError, StoredState};

const APPROVAL: ApprovalId = ApprovalId::new_static("a");
const BUDGET: BudgetId = BudgetId::new_static("t");
const MOST: u64 = 64;

/// An approval for one call, and a budget in blocks of 4.
fn effects() -> SideEffects {
    SideEffects {
        approval: Some((APPROVAL, 1)),
        budget: Some((BUDGET, MOST)),
        ..SideEffects::default()
    }
}

/// Uses all of it up once, and lets the write fail.
fn denied(facts: &LiveFacts, error: &StoreError) -> (u32, u64) {
    let effects = effects();
    let written = facts.use_approval(&effects);
    let written: Vec<_> = written.ok().flatten().into_iter().collect();
    assert!(facts.spend(&BUDGET, MOST).is_ok());
    facts.release(&used_up(&effects), &written, error);
    (
        facts.quotas.approval_uses(&APPROVAL),
        facts.calls_left(&BUDGET, MOST),
    )
}

fn facts() -> LiveFacts {
    let (settings, mut nothing) = (ServiceSettings::default(), StoredState::default());
    LiveFacts::restore(&settings, &mut nothing, None).expect("nothing to read")
}

#[test]
fn what_the_store_has_refused_is_given_back() {
    let facts = facts();
    for error in [StoreError::Write("full".to_owned()), StoreError::Busy] {
        assert_eq!(denied(&facts, &error), (0, MOST), "{error}");
    }
    // Also a call of a block that is written already.
    assert!(facts.spend(&BUDGET, MOST).is_ok());
    facts.quotas.mark_written(&BUDGET, 4);
    let refused = StoreError::Write("full".to_owned());
    assert_eq!(denied(&facts, &refused), (0, MOST - 1));
}

#[test]
fn what_may_be_written_stays_used_up() {
    for error in [
        StoreError::OutcomeUnknown("no answer in time".to_owned()),
        StoreError::Closed,
    ] {
        let facts = facts();
        assert_eq!(denied(&facts, &error), (1, MOST - 1), "{error}");
    }
}

#[test]
fn what_stays_of_a_call_whose_write_is_refused_is_known() {
    let labels: SharedList<SmolStr> = ["untrusted".into()].into();
    let left = LeftBehind {
        approval: Some(APPROVAL),
        budget: Some(BUDGET),
        tool_budget: Some(BudgetId::new_static("t/tool")),
        added_labels: labels.clone(),
        ..LeftBehind::default()
    };
    let writes = [StoreWrite::BudgetTaken {
        id: BUDGET,
        calls: 4,
        most: MOST,
    }];
    let alone = after_refusal(&left, &writes, false);
    assert_eq!(alone.added_labels, labels);
    assert_eq!(
        (alone.approval, alone.budget, alone.tool_budget),
        (None, None, None)
    );
    // With others, a call of what this server had is not given back.
    let shared = after_refusal(&left, &writes, true);
    assert_eq!((shared.approval, shared.budget), (None, None));
    assert_eq!(shared.tool_budget, left.tool_budget);
}

#[test]
fn what_several_attempts_leave_behind_is_all_of_it() {
    let before = LeftBehind {
        budget: Some(BUDGET),
        added_labels: ["private".into(), "untrusted".into()].into(),
        target_labels: Some(Arc::new(Labels::new(vec!["private".into()]))),
        ..LeftBehind::default()
    };
    let last = LeftBehind {
        approval: Some(APPROVAL),
        added_labels: ["untrusted".into()].into(),
        ..LeftBehind::default()
    };
    let all = last.and(&before);
    assert_eq!(*all.added_labels, ["untrusted", "private"]);
    assert_eq!((all.approval, all.budget), (Some(APPROVAL), Some(BUDGET)));
    assert_eq!(all.target_labels.unwrap().items(), ["private"]);
}
