use std::sync::atomic::AtomicU64;
use std::thread;

use proptest::prelude::*;

use super::*;

const ID: BudgetId = BudgetId::new_static("x");
const APPROVAL: ApprovalId = ApprovalId::new_static("x");

/// Runs the same on several threads at once.
fn race<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let work = &work;
    let barrier = std::sync::Barrier::new(threads);
    let barrier = &barrier;
    thread::scope(|scope| {
        let start = |number| {
            scope.spawn(move || {
                barrier.wait();
                work(number)
            })
        };
        let running: Vec<_> = (0..threads).map(start).collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

#[test]
fn of_ten_thousand_racing_uses_of_one_exactly_one_succeeds() {
    let meters = Quotas::new();
    let got = race(20, |_| {
        let uses = (0..500).filter_map(|_| meters.use_approval(&APPROVAL, 1));
        uses.collect::<Vec<_>>()
    });
    assert_eq!(got.concat(), [1]);
    assert_eq!(meters.approval_uses(&APPROVAL), 1);
}

#[test]
fn an_approval_of_several_uses_counts_each_once() {
    let meters = Quotas::new();
    let got = race(8, |_| {
        let uses = (0..50).filter_map(|_| meters.use_approval(&APPROVAL, 100));
        uses.collect::<Vec<_>>()
    });
    let mut got = got.concat();
    got.sort_unstable();
    assert!(got.into_iter().eq(1..=100));
    assert_eq!(meters.use_approval(&APPROVAL, 0), None);
}

#[test]
fn no_call_is_answered_on_a_block_that_is_not_written() {
    let meters = Quotas::new();
    // Blocks of 4.
    let budget = 64;
    let pending = BudgetSpend::Reserve { spent: 4 };
    assert_eq!(meters.spend(&ID, budget), pending);
    assert_eq!(meters.spend(&ID, budget), pending, "not yet written");
    meters.mark_written(&ID, 4);
    assert_eq!(meters.spend(&ID, budget), BudgetSpend::Spent);
    assert_eq!(meters.spend(&ID, budget), BudgetSpend::Spent);
    assert_eq!(meters.spend(&ID, budget), BudgetSpend::Reserve { spent: 8 });
    // The first block is reported again; that says nothing of the second.
    meters.mark_written(&ID, 4);
    assert_eq!(meters.spend(&ID, budget), BudgetSpend::Reserve { spent: 8 });
    assert_eq!(meters.calls_left(&ID, budget), 58);
}

#[test]
fn blocks_fit_the_budget() {
    for (budget, expected) in [(1, 1), (15, 1), (32, 2), (1_024, 64), (1_000_000, 1_024)] {
        let meters = Quotas::new();
        let first = meters.spend(&ID, budget);
        assert_eq!(first, BudgetSpend::Reserve { spent: expected }, "{budget}");
    }
    assert_eq!(Quotas::new().spend(&ID, 0), BudgetSpend::Exhausted);
}

#[test]
fn budgets_are_never_overspent_by_threads() {
    let meters = Quotas::new();
    let written = AtomicU64::new(0);
    let got = race(8, |_| {
        let mut got = 0;
        for _ in 0..500 {
            match meters.spend(&ID, 1_000) {
                BudgetSpend::Exhausted => {}
                BudgetSpend::Spent => {
                    got += 1;
                    assert!(written.load(Ordering::SeqCst) > 0);
                }
                BudgetSpend::Reserve { spent } => {
                    written.fetch_max(spent, Ordering::SeqCst);
                    meters.mark_written(&ID, spent);
                    got += 1;
                }
            }
        }
        got
    });
    assert_eq!(got.into_iter().sum::<u64>(), 1_000);
    assert_eq!(meters.calls_left(&ID, 1_000), 0);
    assert_eq!(written.into_inner(), 1_000);
}

#[test]
fn what_was_not_spent_is_given_back_at_the_end() {
    let meters = Quotas::new();
    let other = BudgetId::new_static("whole");
    meters.spend(&ID, 1_024);
    meters.spend(&other, 1);
    let mut writes = meters.release();
    assert_eq!(writes.len(), 1, "the other one has nothing to give back");
    let Some(StoreWrite::TaskSpent {
        id,
        spent: 1,
        is_exact: true,
        lost: 0,
    }) = writes.pop()
    else {
        panic!("{writes:?}");
    };
    assert_eq!(id, ID);
    // A reservation that is reported late, and a call that comes late.
    meters.mark_written(&ID, 64);
    assert_eq!(meters.spend(&ID, 1_024), BudgetSpend::Exhausted);
}

#[test]
fn a_hundred_crashes_lose_a_sixteenth_of_a_budget_at_most() {
    for budget in [1, 16, 100, 1_000, 100_000] {
        let (mut durable, mut lost, mut answered) = (0, 0, 0);
        for _ in 0..100 {
            let meters = Quotas::new();
            meters.restore(Vec::new(), vec![(ID, durable)]);
            meters.restore_lost(vec![(ID, lost)]);
            for _ in 0..2 {
                match meters.spend(&ID, budget) {
                    BudgetSpend::Spent => answered += 1,
                    BudgetSpend::Reserve { spent } => {
                        (durable, lost) = (spent, meters.at_risk(&ID));
                        meters.mark_written(&ID, spent);
                        answered += 1;
                    }
                    BudgetSpend::Exhausted => {}
                }
            }
        }
        assert!(durable - answered <= budget / 16, "{durable} {answered}");
        assert!(
            answered >= budget.min(200).saturating_sub(budget / 16),
            "{answered}"
        );
    }
}

#[test]
fn what_the_store_forgot_is_forgotten() {
    let meters = Quotas::new();
    meters.restore(vec![(APPROVAL, 3)], vec![(ID, 5)]);
    assert_eq!(
        (meters.approval_uses(&APPROVAL), meters.calls_left(&ID, 9)),
        (3, 4)
    );
    meters.forget(&[APPROVAL], &[]);
    assert_eq!(
        (meters.approval_uses(&APPROVAL), meters.calls_left(&ID, 9)),
        (0, 4)
    );
    meters.forget(&[], &["x".into()]);
    assert_eq!(meters.calls_left(&ID, 9), 9);
}

#[test]
fn the_counters_of_its_tools_go_with_a_task() {
    let meters = Quotas::new();
    let spent = ["t/git/log", "t/git", "t2/git/log", "t"].map(|id| (id.into(), 3));
    meters.restore(Vec::new(), spent.to_vec());
    meters.forget(&[], &["t".into()]);
    let left = ["t/git/log", "t/git", "t2/git/log", "t"].map(|id| meters.calls_left(&id.into(), 4));
    assert_eq!(left, [4, 4, 1, 4]);
}

/// What happens to a task: a call, the oldest write under way done, a crash, an orderly restart.
#[derive(Debug, Clone, Copy)]
enum Step {
    Call,
    Written,
    WriteFailed,
    Crash,
    Restart,
}

proptest! {
    /// A call is answered when its own write is done, in the order of the writes. A crash loses the
    /// writes under way and whatever is in memory.
    #[test]
    fn no_crash_lets_a_task_spend_more_than_its_budget(
        budget in 1..200u64,
        steps in proptest::collection::vec(prop_oneof![
            20 => Just(Step::Call),
            8 => Just(Step::Written),
            1 => Just(Step::WriteFailed),
            1 => Just(Step::Crash),
            1 => Just(Step::Restart),
        ], 0..400),
    ) {
        let mut meters = Quotas::new();
        let mut durable = 0;
        let mut under_way = std::collections::VecDeque::new();
        let mut answered = 0;
        for step in steps {
            match step {
                Step::Call => match meters.spend(&ID, budget) {
                    BudgetSpend::Spent => answered += 1,
                    BudgetSpend::Reserve { spent } => under_way.push_back(spent),
                    BudgetSpend::Exhausted => {}
                },
                Step::Written => if let Some(spent) = under_way.pop_front() {
                    durable = durable.max(spent);
                    meters.mark_written(&ID, spent);
                    answered += 1;
                },
                Step::WriteFailed => { under_way.pop_front(); },
                Step::Crash | Step::Restart => {
                    if matches!(step, Step::Restart) {
                        for spent in under_way.drain(..) {
                            durable = durable.max(spent);
                            meters.mark_written(&ID, spent);
                            answered += 1;
                        }
                        for write in meters.release() {
                            if let StoreWrite::TaskSpent { spent, .. } = write {
                                durable = spent;
                            }
                        }
                    }
                    under_way.clear();
                    meters = Quotas::new();
                    meters.restore(Vec::new(), vec![(ID, durable)]);
                }
            }
            prop_assert!(answered <= budget, "{answered} of {budget}");
            prop_assert!(answered <= durable, "answered {answered}, written {durable}");
        }
    }
}

#[test]
fn what_is_given_back_is_not_spent_and_its_block_is_written_with_the_next_call() {
    let quotas = Quotas::new();
    let pending = BudgetSpend::Reserve { spent: 1 };
    for _ in 0..3 {
        assert_eq!(quotas.spend(&ID, 2), pending);
        quotas.return_call(&ID);
        assert_eq!(quotas.calls_left(&ID, 2), 2);
    }
    assert_eq!(quotas.spend(&ID, 2), pending);
    quotas.mark_written(&ID, 1);
    assert_eq!(quotas.spend(&ID, 2), BudgetSpend::Reserve { spent: 2 });
    assert_eq!(quotas.spend(&ID, 2), BudgetSpend::Exhausted);
    quotas.return_call(&BudgetId::from("unknown"));
    assert_eq!(quotas.use_approval(&APPROVAL, 1), Some(1));
    quotas.return_approval(&APPROVAL);
    assert_eq!(quotas.use_approval(&APPROVAL, 1), Some(1));
}
