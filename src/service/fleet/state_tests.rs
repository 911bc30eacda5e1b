use std::sync::Arc;
use std::time::Duration;

use super::{Beginning, FleetState, FleetView, nanos, now_nanos, with_slack};
use crate::domain::decide::verdict::ReasonCode;
use crate::store::postgres::membership::Membership;

const TERM: Duration = Duration::from_millis(500);

fn state() -> Arc<FleetState> {
    let membership = Membership::unconnected().unwrap();
    Arc::new(FleetState::new(membership, TERM, 0))
}

fn view(revision: u64, facts: u64) -> FleetView {
    FleetView {
        asked_at: now_nanos(),
        lowest_revision: revision,
        lowest_facts: facts,
        longest_staleness: TERM,
    }
}

#[test]
fn what_is_not_confirmed_denies_and_a_confirmation_counts_from_its_beginning() {
    let state = state();
    assert_eq!(state.stale().map(|it| it.code), Some(ReasonCode::Stale));
    state.confirm(Beginning::now());
    assert!(state.is_valid());
    // The answer came in time, and the question was asked too long ago.
    state.confirm(Beginning::ago(TERM));
    assert!(!state.is_valid());
    // The machine has slept meanwhile, and the clock that nobody sets with it.
    let slept = Beginning {
        wall: Beginning::ago(TERM).wall,
        ..Beginning::now()
    };
    state.confirm(slept);
    assert!(!state.is_valid());
    state.confirm(Beginning::now());
    state.invalidate();
    assert!(!state.is_valid());
}

#[tokio::test]
async fn a_write_is_settled_once_all_others_have_applied_it() {
    let state = state();
    // What was seen before the write says nothing of who has come since.
    state.set_view(view(9, 9));
    let waiting = tokio::spawn({
        let state = Arc::clone(&state);
        async move { state.settled(7, 3).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    state.set_view(view(7, 2));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    state.set_view(view(7, 3));
    assert_eq!(waiting.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn who_does_not_apply_it_is_waited_for_as_long_as_it_may_decide() {
    let state = state();
    let begun = now_nanos();
    let waiting = tokio::spawn({
        let state = Arc::clone(&state);
        async move { state.settled(7, 0).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    state.set_view(view(6, 0));
    assert_eq!(waiting.await.unwrap(), Ok(()));
    assert!(now_nanos() - begun >= nanos(with_slack(TERM)));
}
