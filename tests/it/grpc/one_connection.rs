//! Many requests on one connection: none holds the others up, whatever it waits for, and whoever answers it.

use std::time::{Duration, Instant};

use callgate::proto::v1::{Decision, ReasonCode};
use tokio::task::JoinSet;
use tonic::Code;

use crate::support::in_process::{call, start, waiting};

/// More than the task of a connection answers itself.
const MANY: usize = 200;

#[tokio::test]
async fn requests_that_wait_hold_no_others_up() {
    let server = start("[limits]\nstale_wait_ms = 1500\n").await;
    let client = server.client().await;
    let mut waiters = JoinSet::new();
    for _ in 0..MANY {
        let mut client = client.clone();
        waiters.spawn(async move { client.authorize(waiting()).await });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let asked_at = Instant::now();
    for _ in 0..20 {
        let answer = client.clone().authorize(call("log")).await;
        let answer = answer.expect("an answer").into_inner();
        assert_eq!(answer.decision(), Decision::Allow);
    }
    assert!(asked_at.elapsed() < Duration::from_secs(1));
    assert!(waiters.try_join_next().is_none(), "all of them wait");
    while let Some(answer) = waiters.join_next().await {
        let answer = answer.expect("no panic").expect("an answer").into_inner();
        assert_eq!(answer.reasons[0].code(), ReasonCode::Stale);
    }
}

#[tokio::test]
async fn each_of_many_at_once_gets_its_own_answer() {
    let server = start("").await;
    let client = server.client().await;
    let mut asked = JoinSet::new();
    for number in 0..5 * MANY {
        let mut client = client.clone();
        asked.spawn(async move {
            let (tool, expected) = match number % 3 {
                0 => ("log", Ok(Decision::Allow)),
                1 => ("no such tool", Ok(Decision::Deny)),
                _ => ("", Err(Code::InvalidArgument)),
            };
            let answer = client.authorize(call(tool)).await;
            let answer = answer.map(|it| it.into_inner().decision());
            assert_eq!(answer.map_err(|it| it.code()), expected, "{number}");
        });
    }
    while let Some(ended) = asked.join_next().await {
        ended.expect("each is as it has to be");
    }
}

/// A client that gives up takes its own request along and nothing else.
#[tokio::test]
async fn requests_that_are_given_up_end_alone() {
    let server = start("[limits]\nstale_wait_ms = 1500\nconcurrent_requests = 40\n").await;
    let client = server.client().await;
    for _ in 0..5 {
        let mut given_up = JoinSet::new();
        for _ in 0..30 {
            let mut client = client.clone();
            given_up.spawn(async move { client.authorize(waiting()).await });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        given_up.shutdown().await;
        let answer = client.clone().authorize(call("log")).await;
        let answer = answer.expect("an answer").into_inner();
        assert_eq!(answer.decision(), Decision::Allow);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
