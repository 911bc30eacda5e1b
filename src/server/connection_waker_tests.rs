use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use super::{ConnectionWaker, MOST_ROUNDS, Round};
use crate::audit::counted_wakes::CountedWakes;

/// Polls a task that stays pending. Returns what counts how often its runtime was asked.
fn run(round: impl FnMut(&mut Context<'_>) -> Round<()>) -> Arc<CountedWakes> {
    let runtime = Arc::new(CountedWakes::default());
    let task = Waker::from(Arc::clone(&runtime));
    let waker = Arc::<ConnectionWaker>::default();
    let ended = waker.poll(&Context::from_waker(&task), round);
    assert!(ended.is_pending());
    runtime
}

fn poll(rounds: usize) -> (usize, usize) {
    let mut polled = 0;
    let runtime = run(|context| {
        polled += 1;
        if polled < rounds {
            context.waker().wake_by_ref();
        }
        Round::Worked
    });
    (polled, runtime.get())
}

#[test]
fn a_task_that_wakes_itself_looks_again_and_asks_nobody() {
    assert_eq!(poll(1), (1, 0));
    assert_eq!(poll(3), (3, 0));
}

#[test]
fn one_that_goes_on_waking_itself_lets_others_have_their_turn() {
    assert_eq!(poll(usize::MAX), (MOST_ROUNDS, 1));
}

#[test]
fn one_that_carries_what_others_have_waits_for_its_turn() {
    let mut polled = 0;
    let runtime = run(|context| {
        polled += 1;
        context.waker().wake_by_ref();
        Round::Carried
    });
    assert_eq!((polled, runtime.get()), (1, 1));
}

#[test]
fn whoever_wakes_it_while_it_does_not_run_asks_the_runtime() {
    let mut kept = None;
    let runtime = run(|context| {
        kept = Some(context.waker().clone());
        Round::Worked
    });
    kept.expect("it was polled").wake();
    assert_eq!(runtime.get(), 1);
}

/// Many wake it from other threads while it runs and while it does not: no wake is lost.
#[test]
fn no_wake_is_lost() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("a runtime");
    let waker = Arc::<ConnectionWaker>::default();
    let sent = Arc::new(AtomicUsize::new(0));
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let (tell, sent) = (tell.clone(), Arc::clone(&sent));
            std::thread::spawn(move || {
                for _ in 0..2_000 {
                    sent.fetch_add(1, Ordering::SeqCst);
                    tell.send(()).expect("somebody listens");
                    if sent.load(Ordering::SeqCst).is_multiple_of(7) {
                        std::thread::yield_now();
                    }
                }
            })
        })
        .collect();
    drop(tell);
    let received = runtime.block_on(async move {
        let mut received = 0;
        std::future::poll_fn(|context| {
            waker.poll(context, |context| {
                // One at a time, so that what is left has to wake again.
                match told.poll_recv(context) {
                    Poll::Ready(Some(())) => {
                        received += 1;
                        context.waker().wake_by_ref();
                        match received % 2 {
                            0 => Round::Worked,
                            _ => Round::Carried,
                        }
                    }
                    Poll::Ready(None) => Round::Ended(()),
                    Poll::Pending => Round::Carried,
                }
            })
        })
        .await;
        received
    });
    for sender in senders {
        sender.join().expect("a sender");
    }
    assert_eq!(received, sent.load(Ordering::SeqCst));
}
