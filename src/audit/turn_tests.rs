use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use super::{in_turns, others_turn, poll_noting_turns};
use crate::audit::counted_wakes::CountedWakes;

#[test]
fn one_of_several_goes_on_the_next_time_it_is_polled() {
    let counted = Arc::new(CountedWakes::default());
    let waker = Waker::from(Arc::clone(&counted));
    let mut context = Context::from_waker(&waker);
    let mut turn = pin!(others_turn());
    let mut poll =
        |turn: Pin<&mut _>| poll_noting_turns(|| in_turns(|| Future::poll(turn, &mut context)));
    assert_eq!(poll(turn.as_mut()), (Poll::Pending, true));
    assert_eq!(counted.get(), 1, "it wakes itself");
    assert_eq!(poll(turn.as_mut()), (Poll::Ready(()), false));
}

#[tokio::test]
async fn alone_it_lets_other_tasks_go_first() {
    let before = Arc::new(AtomicUsize::new(0));
    let other = Arc::clone(&before);
    tokio::spawn(async move { other.fetch_add(1, Ordering::SeqCst) });
    others_turn().await;
    assert_eq!(before.load(Ordering::SeqCst), 1);
}

#[test]
fn a_panic_ends_the_turns() {
    let panicked = std::panic::catch_unwind(|| in_turns(|| panic!("on purpose")));
    assert!(panicked.is_err());
    let mut turn = pin!(others_turn());
    let mut context = Context::from_waker(Waker::noop());
    // Outside a runtime the turn of others is over when it is asked for again.
    let polled = poll_noting_turns(|| turn.as_mut().poll(&mut context));
    assert_eq!(polled, (Poll::Pending, true));
}

#[test]
fn what_waits_for_something_else_lets_nobody_go_first() {
    let mut never = pin!(std::future::pending::<()>());
    let mut context = Context::from_waker(Waker::noop());
    let polled = poll_noting_turns(|| in_turns(|| never.as_mut().poll(&mut context)));
    assert_eq!(polled, (Poll::Pending, false));
}
