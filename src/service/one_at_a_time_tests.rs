use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[tokio::test]
async fn of_several_one_does_it_and_the_others_see_that_it_is_done() {
    let turns = Arc::new(OneAtATime::default());
    let (done, at_work) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (turns, done, at_work) = (turns.clone(), done.clone(), at_work.clone());
        tasks.spawn(async move {
            let key = SessionId::new_static("s1");
            let is_done = || done.load(Ordering::SeqCst) > 0;
            let Some(turn) = turns.turn(&key, is_done, || true).await else {
                return;
            };
            assert_eq!(*turn.key(), "s1");
            assert_eq!(at_work.fetch_add(1, Ordering::SeqCst), 0, "alone");
            tokio::time::sleep(Duration::from_millis(20)).await;
            at_work.fetch_sub(1, Ordering::SeqCst);
            done.fetch_add(1, Ordering::SeqCst);
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no panic");
    }
    assert_eq!(done.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn who_gives_up_leaves_the_turn_to_the_next() {
    let turns = OneAtATime::default();
    let key = SessionId::new_static("s1");
    let first = turns.turn(&key, || false, || true).await.expect("free");
    let late = turns.turn(&key, || false, || true);
    let late = tokio::time::timeout(Duration::from_millis(10), late).await;
    assert!(late.is_err(), "it is taken");
    drop(first);
    assert!(turns.turn(&key, || false, || true).await.is_some());
}
