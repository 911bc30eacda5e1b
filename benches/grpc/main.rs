//! What the service costs over gRPC, against a bare echo: `cargo bench --bench grpc`.
//!
//! Both servers run as processes of their own, `callgate serve` with the shipped policies, a thousand
//! more, ten thousand entities and every span exported, and a tonic server that answers with as many
//! bytes and does nothing else. They are asked alternately by the same client, and what counts is the
//! CPU time that each process used per call.

use std::path::{Path, PathBuf};
use std::time::Duration;

use callgate::proto::v1;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use prost::Message;
use tonic::transport::Channel;

mod bundle;
mod collector;
mod echo;
mod load;
mod process;

use load::Load;
use process::Server;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Set in the process that is the echo server: how many bytes it answers with.
const ECHO_BYTES: &str = "CALLGATE_BENCH_ECHO_BYTES";
/// Pairs of measurements, one of each server.
const ROUNDS: usize = 7;
/// Calls in one measurement of CPU time, kept in flight by `IN_FLIGHT` askers.
const CALLS: usize = 20_000;
const IN_FLIGHT: usize = 32;
/// Calls in one measurement of latency, by few askers, so that it is not queueing that is measured.
const QUIET_CALLS: usize = 5_000;
const QUIET_IN_FLIGHT: usize = 2;

type Fault = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    match std::env::var(ECHO_BYTES) {
        Ok(bytes) => runtime.block_on(echo::serve(bytes.parse()?)),
        Err(_) => runtime.block_on(measure()),
    }
}

async fn measure() -> Result<(), Fault> {
    let dir = tempfile::tempdir()?;
    bundle::write(Path::new(env!("CARGO_MANIFEST_DIR")), dir.path())?;
    let collector = collector::start().await?;
    let callgate = Server::callgate(dir.path(), &collector.endpoint)?;
    let channel = callgate.connect().await?;
    let request = bundle::typical_call();
    let answer = AuthorizationClient::new(channel.clone())
        .authorize(request.clone())
        .await?
        .into_inner();
    assert_eq!(answer.decision(), v1::Decision::Allow, "{answer:?}");

    let echo = Server::echo(answer.encoded_len())?;
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
    let exported = collector.spans();
    tokio::time::sleep(Duration::from_millis(500)).await;
    println!("spans exported while measuring: {exported}");
    assert!(exported > 0, "every call was to be traced");
    Ok(())
}

async fn cpu(callgate: &Server, echo: &Server, authorize: &Load, bare: &Load) -> Result<(), Fault> {
    authorize.run(CALLS / 4, IN_FLIGHT).await?;
    bare.run(CALLS / 4, IN_FLIGHT).await?;
    let (mut ratios, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = callgate.cpu_seconds()?;
        authorize.run(CALLS, IN_FLIGHT).await?;
        let per_call = (callgate.cpu_seconds()? - before) / CALLS as f64;
        let before = echo.cpu_seconds()?;
        bare.run(CALLS, IN_FLIGHT).await?;
        let per_echo = (echo.cpu_seconds()? - before) / CALLS as f64;
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
        let ours = authorize.run(QUIET_CALLS, QUIET_IN_FLIGHT).await?;
        let theirs = bare.run(QUIET_CALLS, QUIET_IN_FLIGHT).await?;
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
        rates.push(load::stream(channel.clone(), &request, CALLS).await?);
    }
    metric("grpc.stream_per_s", median(rates), "decisions/s");
    Ok(())
}

fn metric(name: &str, value: f64, unit: &str) {
    println!("METRIC {name} {value:.3} {unit}");
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn this_binary() -> Result<PathBuf, Fault> {
    Ok(std::env::current_exe()?)
}
