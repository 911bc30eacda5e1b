//! What a decision costs through each door, and what Envoy takes longer with Callgate: `cargo bench --bench doors`.
//!
//! One `callgate serve` with the shipped policies, a thousand more, ten thousand entities and every span exported
//! is asked the same question through every door, as far as the door can say it, in turns. What counts is the CPU
//! time of its process per decision, over that of the native `Authorize`. Then Envoy in front of a server that
//! only answers, with and without Callgate's filter.

use std::path::Path;

use tonic::transport::Channel;

mod asked;
mod envoy;
#[path = "../served/mod.rs"]
mod served;
mod web;
#[path = "../served/wire.rs"]
mod wire;

use asked::Exchange;
use served::load::{self, Load};
use served::process::{Server, free_port};
use served::{Fault, IN_FLIGHT, ROUNDS, bundle, calls, collector, median, metric};
use web::Web;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Calls in one measurement of CPU time.
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
    envoy::measure(callgate.port()).await
}

/// One way to ask.
enum Door {
    Grpc(Load),
    Exchange(Box<Exchange>),
    Web(Web),
}

impl Door {
    async fn run(&self, calls: usize) -> Result<(), Fault> {
        match self {
            Self::Grpc(load) => load::run(load, calls, IN_FLIGHT).await?,
            Self::Exchange(exchange) => load::run(&**exchange, calls, IN_FLIGHT).await?,
            Self::Web(web) => load::run(web, calls, IN_FLIGHT).await?,
        };
        Ok(())
    }

    /// CPU microseconds of the server per call.
    async fn cost(&self, server: &Server, calls: usize) -> Result<f64, Fault> {
        let before = server.cpu_seconds()?;
        self.run(calls).await?;
        Ok((server.cpu_seconds()? - before) / calls as f64 * 1e6)
    }
}

async fn cpu(callgate: &Server, channel: Channel, http_port: u16) -> Result<(), Fault> {
    asked::assert_allowed(channel.clone()).await?;
    let native = Door::Grpc(asked::native(channel.clone()));
    let doors = [
        ("ext_authz", Door::Grpc(asked::ext_authz(channel.clone()))),
        (
            "ext_proc",
            Door::Exchange(Box::new(asked::ext_proc(channel.clone()))),
        ),
        ("ext_mcp", Door::Grpc(asked::ext_mcp(channel))),
        ("authzen", Door::Web(asked::authzen(http_port))),
        ("toolhive", Door::Web(asked::toolhive(http_port))),
    ];
    let calls = calls(CALLS);
    native.run(calls / 4).await?;
    for (_, door) in &doors {
        door.run(calls / 4).await?;
    }
    let mut natives = Vec::new();
    let mut costs = vec![Vec::new(); doors.len()];
    let mut ratios = vec![Vec::new(); doors.len()];
    for _ in 0..ROUNDS {
        let base = native.cost(callgate, calls).await?;
        natives.push(base);
        for (at, (_, door)) in doors.iter().enumerate() {
            let cost = door.cost(callgate, calls).await?;
            costs[at].push(cost);
            ratios[at].push(cost / base);
        }
    }
    metric("door.native.cpu", median(natives), "us");
    for (((name, _), costs), ratios) in doors.iter().zip(costs).zip(ratios) {
        metric(&format!("door.{name}.cpu"), median(costs), "us");
        metric(
            &format!("door.{name}.cpu_vs_native"),
            median(ratios),
            "ratio",
        );
    }
    Ok(())
}
