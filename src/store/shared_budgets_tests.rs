use proptest::prelude::*;

use super::{SharedBudgets, SharedSpend};
use crate::domain::ids::BudgetId;
use crate::store::backend::StoreWrite;

/// What the store would say to a block, and what it holds afterwards.
fn take(store: &mut u64, calls: u64, budget: u64) -> bool {
    let fits = *store + calls <= budget;
    if fits {
        *store += calls;
    }
    fits
}

proptest! {
    /// However calls are spread over servers that come and go, no budget is overspent; and of a server that stays nothing
    /// is lost.
    #[test]
    fn a_budget_that_several_spend_is_never_overspent(
        budget in 1_u64..200,
        calls in proptest::collection::vec((0_usize..3, any::<u8>()), 0..600),
    ) {
        let id = BudgetId::from("task");
        let mut servers = [(); 3].map(|()| SharedBudgets::new());
        let (mut store, mut allowed, mut lost) = (0, 0, 0);
        for (fact, (server, dice)) in calls.into_iter().enumerate() {
            if dice == 0 {
                // A crash.
                lost += servers[server].release().iter().map(|write| match write {
                    StoreWrite::BudgetReturned { calls, .. } => *calls,
                    _ => 0,
                }).sum::<u64>();
                servers[server] = SharedBudgets::new();
                servers[server].restore(&[(id.clone(), store)], fact as u64);
                continue;
            }
            match servers[server].spend(&id, budget) {
                SharedSpend::Spent => allowed += 1,
                SharedSpend::Take { calls } if take(&mut store, calls, budget) => {
                    servers[server].taken(&id, calls);
                    servers[server].learn(&id, store, fact as u64);
                    allowed += 1;
                }
                SharedSpend::Take { .. } => servers[server].learn_at_least(&id, store),
                SharedSpend::Exhausted => {}
            }
            prop_assert!(allowed <= budget);
        }
        for server in &servers {
            for write in server.release() {
                if let StoreWrite::BudgetReturned { calls, .. } = write {
                    store -= calls;
                }
            }
            prop_assert_eq!(server.spend(&id, budget), SharedSpend::Exhausted);
        }
        prop_assert_eq!(store, allowed + lost);
    }
}

#[test]
fn what_a_fact_told_is_not_replaced_by_an_earlier_one() {
    let (budgets, id) = (SharedBudgets::new(), BudgetId::from("task"));
    budgets.learn(&id, 7, 5);
    budgets.learn(&id, 3, 4);
    assert_eq!(budgets.calls_left(&"task".into(), 10), 3);
    budgets.learn(&id, 6, 6);
    assert_eq!(budgets.calls_left(&"task".into(), 10), 4);
    budgets.learn_at_least(&id, 9);
    assert_eq!(budgets.calls_left(&"task".into(), 10), 1);
}
