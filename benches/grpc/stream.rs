//! The typical call over one bidirectional stream, against an echo of the same messages.

use std::time::Instant;

use bytes::Bytes;
use callgate::proto::v1;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use callgate::proto::v1::authorize_stream_response::Outcome;
use http::uri::PathAndQuery;
use prost::Message;
use tokio_stream::StreamExt;
use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::Channel;

use crate::served::load::RawCodec;
use crate::served::{Fault, ROUNDS, calls, median, metric};
use crate::{Served, echo};

/// The method that decides the calls of a stream.
const PATH: &str = "/callgate.v1.Authorization/AuthorizeStream";

/// Messages in one measurement, and those before all of them whose answers are looked at.
const CALLS: usize = 20_000;
const LOOKED_AT: usize = 200;

/// Prints decisions per second, the same over messages per second of the echo, and decisions per CPU second.
pub async fn measure(served: &Served) -> Result<(), Fault> {
    let answer_bytes = look(served.channel.clone(), &served.request).await?;
    let echo = echo::spawn(answer_bytes)?;
    let echo_channel = echo.connect().await?;
    let request = v1::AuthorizeStreamRequest {
        correlation_id: String::new(),
        request: Some(served.request.clone()),
    };
    let request = Bytes::from(request.encode_to_vec());
    let calls = calls(CALLS);
    run(&served.channel, PATH, &request, calls / 4).await?;
    run(&echo_channel, echo::STREAM_PATH, &request, calls / 4).await?;
    let (mut rates, mut ratios, mut per_cpu) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = served.server.cpu_seconds()?;
        let ours = run(&served.channel, PATH, &request, calls).await?;
        per_cpu.push(calls as f64 / (served.server.cpu_seconds()? - before));
        let theirs = run(&echo_channel, echo::STREAM_PATH, &request, calls).await?;
        rates.push(ours);
        ratios.push(ours / theirs);
    }
    metric("grpc.stream_per_s", median(rates), "decisions/s");
    metric("grpc.stream_vs_echo", median(ratios), "ratio");
    metric(
        "grpc.stream_per_cpu_s",
        median(per_cpu),
        "decisions per CPU second",
    );
    Ok(())
}

/// Sees to it that every call is allowed and that answers come in order. How many bytes an answer has.
async fn look(channel: Channel, request: &v1::AuthorizeRequest) -> Result<usize, Fault> {
    let request = request.clone();
    let requests = (0..LOOKED_AT).map(move |number| v1::AuthorizeStreamRequest {
        correlation_id: number.to_string(),
        request: Some(request.clone()),
    });
    let mut answers = AuthorizationClient::new(channel)
        .authorize_stream(tokio_stream::iter(requests))
        .await?
        .into_inner();
    let (mut answered, mut bytes) = (0, 0);
    while let Some(answer) = answers.next().await {
        let answer = answer?;
        assert_eq!(
            answer.correlation_id,
            answered.to_string(),
            "answers come in order"
        );
        bytes = answer.encoded_len();
        let Some(Outcome::Response(response)) = answer.outcome else {
            return Err("a call was not decided".into());
        };
        assert_eq!(response.decision(), v1::Decision::Allow, "{response:?}");
        answered += 1;
    }
    assert_eq!(answered, LOOKED_AT, "every request is answered");
    Ok(bytes)
}

/// Messages per second over one stream. The client does not read the answers, it counts them.
async fn run(
    channel: &Channel,
    path: &'static str,
    request: &Bytes,
    calls: usize,
) -> Result<f64, Fault> {
    let request = request.clone();
    let numbered = move |number: usize| {
        let name = v1::AuthorizeStreamRequest {
            correlation_id: number.to_string(),
            request: None,
        };
        // One message after the other is both in one.
        Bytes::from([&name.encode_to_vec()[..], &request[..]].concat())
    };
    let requests = tokio_stream::iter((0..calls).map(numbered));
    let start = Instant::now();
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await?;
    let mut answers = grpc
        .streaming(
            Request::new(requests),
            PathAndQuery::from_static(path),
            RawCodec,
        )
        .await?
        .into_inner();
    let mut answered = 0;
    while let Some(answer) = answers.next().await {
        answer?;
        answered += 1;
    }
    assert_eq!(answered, calls, "every request is answered");
    Ok(calls as f64 / start.elapsed().as_secs_f64())
}
