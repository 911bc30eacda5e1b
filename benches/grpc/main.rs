//! What the service costs over gRPC, against a bare echo: `cargo bench --bench grpc`.
//!
//! Both servers run as processes of their own, `callgate serve` with the shipped policies, a thousand
//! more, ten thousand entities and every span exported, and a tonic server that answers with as many
//! bytes and does nothing else. They are asked alternately by the same client, and what counts is the
//! CPU time that each process used per call.

use std::path::Path;
use std::time::Instant;

use callgate::proto::v1;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use prost::Message;
use tokio_stream::StreamExt;
use tonic::transport::Channel;

mod echo;
#[path = "../served/mod.rs"]
mod served;

use served::load::{self, Load};
use served::process::{Server, free_port};
use served::{Fault, IN_FLIGHT, QUIET_IN_FLIGHT, ROUNDS, bundle, calls, collector, median, metric};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Calls in one measurement of CPU time, and in one of latency.
const CALLS: usize = 20_000;
const QUIET_CALLS: usize = 5_000;

fn main() -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    match std::env::var(echo::BYTES) {
        Ok(bytes) => runtime.block_on(echo::serve(bytes.parse()?)),
        Err(_) => runtime.block_on(measure()),
    }
}

async fn measure() -> Result<(), Fault> {
    let folder = tempfile::tempdir()?;
    // Its database lies beside it.
    let dir = folder.path().join("policies");
    bundle::write(Path::new(env!("CARGO_MANIFEST_DIR")), &dir)?;
    let collector = collector::start().await?;
    let callgate = Server::callgate(&dir, Some(&collector.endpoint), free_port()?)?;
    let channel = callgate.connect().await?;
    let request = bundle::typical_call();
    let answer = AuthorizationClient::new(channel.clone())
        .authorize(request.clone())
        .await?
        .into_inner();
    assert_eq!(answer.decision(), v1::Decision::Allow, "{answer:?}");

    let echo = echo::spawn(answer.encoded_len())?;
    let echo_channel = echo.connect().await?;
    let authorize = Load::new(
        channel.clone(),
        "/callgate.v1.Authorization/Authorize",
        request.encode_to_vec(),
    );
    let bare = Load::new(echo_channel, echo::PATH, request.encode_to_vec());
    println!(
        "request {} bytes, answer {} bytes",
        request.encoded_len(),
        answer.encoded_len()
    );

    cpu(&callgate, &echo, &authorize, &bare).await?;
    latency(&authorize, &bare).await?;
    streaming(channel, request).await?;
    let exported = collector.spans().await;
    println!("spans exported while measuring: {exported}");
    assert!(exported > 0, "every call was to be traced");
    Ok(())
}

async fn cpu(callgate: &Server, echo: &Server, authorize: &Load, bare: &Load) -> Result<(), Fault> {
    let calls = calls(CALLS);
    load::run(authorize, calls / 4, IN_FLIGHT).await?;
    load::run(bare, calls / 4, IN_FLIGHT).await?;
    let (mut ratios, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = callgate.cpu_seconds()?;
        load::run(authorize, calls, IN_FLIGHT).await?;
        let per_call = (callgate.cpu_seconds()? - before) / calls as f64;
        let before = echo.cpu_seconds()?;
        load::run(bare, calls, IN_FLIGHT).await?;
        let per_echo = (echo.cpu_seconds()? - before) / calls as f64;
        ours.push(per_call * 1e6);
        theirs.push(per_echo * 1e6);
        ratios.push(per_call / per_echo);
    }
    metric("grpc.cpu_per_authorize", median(ours), "us");
    metric("grpc.cpu_per_echo", median(theirs), "us");
    metric("grpc.cpu_vs_echo", median(ratios), "ratio");
    Ok(())
}

async fn latency(authorize: &Load, bare: &Load) -> Result<(), Fault> {
    let (mut ratios, mut p50s, mut p99s) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let ours = load::run(authorize, calls(QUIET_CALLS), QUIET_IN_FLIGHT).await?;
        let theirs = load::run(bare, calls(QUIET_CALLS), QUIET_IN_FLIGHT).await?;
        p50s.push(ours.percentile(50).as_secs_f64() * 1e6);
        p99s.push(ours.percentile(99).as_secs_f64() * 1e6);
        ratios.push(ours.percentile(99).as_secs_f64() / theirs.percentile(99).as_secs_f64());
    }
    metric("grpc.p50", median(p50s), "us");
    metric("grpc.p99", median(p99s), "us");
    metric("grpc.p99_vs_echo", median(ratios), "ratio");
    Ok(())
}

async fn streaming(channel: Channel, request: v1::AuthorizeRequest) -> Result<(), Fault> {
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        rates.push(stream(channel.clone(), &request, calls(CALLS)).await?);
    }
    metric("grpc.stream_per_s", median(rates), "decisions/s");
    Ok(())
}

/// Decisions per second over one bidirectional stream.
async fn stream(
    channel: Channel,
    request: &v1::AuthorizeRequest,
    calls: usize,
) -> Result<f64, Fault> {
    let request = request.clone();
    let requests = tokio_stream::iter((0..calls).map(move |number| v1::AuthorizeStreamRequest {
        correlation_id: number.to_string(),
        request: Some(request.clone()),
    }));
    let start = Instant::now();
    let mut answers = AuthorizationClient::new(channel)
        .authorize_stream(requests)
        .await?
        .into_inner();
    let mut answered = 0;
    while let Some(answer) = answers.next().await {
        assert_eq!(
            answer?.correlation_id,
            answered.to_string(),
            "answers come in order"
        );
        answered += 1;
    }
    assert_eq!(answered, calls, "every request is answered");
    Ok(calls as f64 / start.elapsed().as_secs_f64())
}
