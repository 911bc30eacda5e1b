//! What the service costs over gRPC: `cargo bench --bench grpc`.
//!
//! Both servers run as processes of their own, `callgate serve` with the shipped policies, a thousand
//! more, ten thousand entities and every span exported, and a tonic server that answers with as many
//! bytes and does nothing else. They are asked alternately by the same client, and what counts is the
//! CPU time that each process used per call. [`unary`] is one call at a time against the echo, [`stream`]
//! the same over one bidirectional stream, and [`mix`] other kinds of calls against the typical read.
//!
//! `CALLGATE_BENCH_ONLY` is one of `cpu`, `latency`, `stream` and `mix`. `CALLGATE_BENCH_AGAINST` names another build of
//! `callgate`, whose calls of each kind are measured in turns with those of this one, and nothing else.

use std::path::Path;

use callgate::proto::v1;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use prost::Message;
use tonic::transport::Channel;

mod authority;
mod echo;
mod mix;
mod questions;
#[path = "../served/mod.rs"]
mod served;
mod stream;
mod unary;
mod world;

use served::process::{Server, free_port};
use served::{Fault, bundle, collector};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The method that decides one call.
const AUTHORIZE: &str = "/callgate.v1.Authorization/Authorize";

/// The server that is measured, and the typical call.
struct Served {
    server: Server,
    channel: Channel,
    request: v1::AuthorizeRequest,
    /// How many bytes its answer has.
    answer_bytes: usize,
    /// What it serves, until it has ended.
    _folder: tempfile::TempDir,
}

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
    if let Some(other) = std::env::var_os("CALLGATE_BENCH_AGAINST") {
        let other = Path::new(&other).canonicalize();
        let other = other.map_err(|error| format!("`CALLGATE_BENCH_AGAINST`: {error}"))?;
        return measure_against(&other).await;
    }
    let only = std::env::var("CALLGATE_BENCH_ONLY").ok();
    let is_wanted = |part: &str| only.as_ref().is_none_or(|it| it == part);
    let collector = collector::start().await?;
    let served = Served::start(None, &collector.endpoint).await?;
    if is_wanted("cpu") {
        unary::cpu(&served).await?;
    }
    if is_wanted("latency") {
        unary::latency(&served).await?;
    }
    if is_wanted("stream") {
        stream::measure(&served).await?;
    }
    if is_wanted("mix") {
        mix::measure(&served).await?;
    }
    let exported = collector.spans().await;
    println!("spans exported while measuring: {exported}");
    assert!(exported > 0, "every call was to be traced");
    Ok(())
}

/// Measures this build and another.
async fn measure_against(other: &Path) -> Result<(), Fault> {
    let collector = collector::start().await?;
    let served = Served::start(None, &collector.endpoint).await?;
    let other = Served::start(Some(other), &collector.endpoint).await?;
    mix::against(&served, &other).await
}

impl Served {
    /// Starts this build, or another.
    async fn start(program: Option<&Path>, collector: &str) -> Result<Self, Fault> {
        let folder = tempfile::tempdir()?;
        // Its database lies beside it.
        let dir = folder.path().join("policies");
        bundle::write(Path::new(env!("CARGO_MANIFEST_DIR")), &dir)?;
        world::furnish(&dir)?;
        let server = match program {
            None => Server::callgate(&dir, Some(collector), free_port()?)?,
            Some(program) => Server::of_build(program, &dir, Some(collector), free_port()?)?,
        };
        let channel = server.connect().await?;
        let request = bundle::typical_call();
        let answer = AuthorizationClient::new(channel.clone())
            .authorize(request.clone())
            .await?
            .into_inner();
        assert_eq!(answer.decision(), v1::Decision::Allow, "{answer:?}");
        println!(
            "request {} bytes, answer {} bytes",
            request.encoded_len(),
            answer.encoded_len()
        );
        Ok(Self {
            server,
            channel,
            answer_bytes: answer.encoded_len(),
            request,
            _folder: folder,
        })
    }
}
