//! What a decision costs through each door, and what Envoy takes longer with Callgate: `cargo bench --bench doors`.
//!
//! One `callgate serve` with the shipped policies, a thousand more, ten thousand entities and every span exported
//! is asked the same question through every door, as far as the door can say it, in turns. What counts is the CPU
//! time of its process per decision, over that of the native `Authorize`. Then Envoy in front of a server that
//! only answers, with and without Callgate's filter.
//!
//! `CALLGATE_BENCH_ONLY` is one door, e.g. `ext_proc`, which is measured without the others and without Envoy.

use std::path::Path;

use tonic::transport::Channel;

mod asked;
mod envoy;
#[path = "../served/mod.rs"]
mod served;
mod web;
#[path = "../../tests/it/support/wire.rs"]
mod wire;

use asked::Exchange;
use served::load::{Ask, Load};
use served::process::{Server, free_port};
use served::turns::{self, Side};
use served::{Fault, bundle, calls, collector, metric};
use web::Web;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Calls in one round of CPU time.
const CALLS: usize = 10_000;

fn main() -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(measure())
}

async fn measure() -> Result<(), Fault> {
    let folder = tempfile::tempdir()?;
    // Its database lies beside it.
    let dir = folder.path().join("policies");
    bundle::write(Path::new(env!("CARGO_MANIFEST_DIR")), &dir)?;
    asked::configure(&dir)?;
    let collector = collector::start().await?;
    let http_port = free_port()?;
    let callgate = Server::callgate(&dir, Some(&collector.endpoint), http_port)?;
    let channel = callgate.connect().await?;
    cpu(&callgate, channel, http_port).await?;
    assert!(
        collector.spans().await > 0,
        "every decision was to be traced"
    );
    match only() {
        Some(_) => Ok(()),
        None => envoy::measure(callgate.port()).await,
    }
}

/// The door that is asked for.
fn only() -> Option<String> {
    std::env::var("CALLGATE_BENCH_ONLY").ok()
}

/// One way to ask.
#[derive(Clone)]
enum Door {
    Grpc(Load),
    Exchange(Box<Exchange>),
    Web(Web),
}

impl Ask for Door {
    async fn ask(&mut self) -> Result<(), Fault> {
        match self {
            Self::Grpc(load) => load.ask().await,
            Self::Exchange(exchange) => exchange.ask().await,
            Self::Web(web) => web.ask().await,
        }
    }
}

async fn cpu(callgate: &Server, channel: Channel, http_port: u16) -> Result<(), Fault> {
    asked::assert_allowed(channel.clone()).await?;
    let ext_proc = Box::new(asked::ext_proc(channel.clone()));
    let doors = [
        ("native", Door::Grpc(asked::native(channel.clone()))),
        ("ext_authz", Door::Grpc(asked::ext_authz(channel.clone()))),
        ("ext_proc", Door::Exchange(ext_proc)),
        ("ext_mcp", Door::Grpc(asked::ext_mcp(channel))),
        ("authzen", Door::Web(asked::authzen(http_port))),
        ("toolhive", Door::Web(asked::toolhive(http_port))),
    ];
    let (names, sides): (Vec<_>, Vec<_>) = doors
        .into_iter()
        .filter(|(name, _)| *name == "native" || only().is_none_or(|only| only == *name))
        .map(|(name, asker)| {
            let side = Side {
                server: callgate,
                asker,
                calls: calls(CALLS),
            };
            (name, side)
        })
        .unzip();
    let costs = turns::cpu_per_call(&sides).await?;
    for (at, (name, of_door)) in names.iter().zip(&costs).enumerate() {
        metric(&format!("door.{name}.cpu"), of_door.median(), "us");
        if at > 0 {
            let ratio = of_door.over(&costs[0]);
            metric(&format!("door.{name}.cpu_vs_native"), ratio, "ratio");
        }
    }
    Ok(())
}
