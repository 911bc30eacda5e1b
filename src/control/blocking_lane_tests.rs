use std::sync::mpsc;

use super::*;

#[tokio::test]
async fn work_that_nobody_waits_for_keeps_its_turn() {
    let lane = BlockingLane::default();
    let (go, gone) = mpsc::channel::<()>();
    let (begin, begun) = tokio::sync::oneshot::channel();
    let first = tokio::spawn({
        let lane = lane.clone();
        async move {
            let work = move || {
                begin.send(()).expect("somebody waits");
                gone.recv().expect("the sender is there");
            };
            lane.run(work).await
        }
    });
    begun.await.expect("it begins");
    first.abort();
    assert!(first.await.expect_err("it was aborted").is_cancelled());
    assert_eq!(lane.0.available_permits(), 0);
    go.send(()).expect("it still runs");
    assert_eq!(lane.run(|| 2).await.expect("its turn comes"), 2);
}

#[tokio::test]
async fn a_panic_is_an_error_and_ends_the_turn() {
    let lane = BlockingLane::default();
    let fails = lane.run(|| panic!("it fails")).await;
    assert!(matches!(fails, Err::<(), _>(ControlError::Internal)));
    assert_eq!(lane.run(|| 1).await.expect("its turn comes"), 1);
}
