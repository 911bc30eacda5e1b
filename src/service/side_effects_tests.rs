use super::*;
use crate::domain::ids::{ApprovalId, BudgetId};
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
