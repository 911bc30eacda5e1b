//! What a call costs other servers that decide, with the same rules: `cargo bench --bench peers`.
//!
//! `callgate serve` with the shipped policies, a thousand more, ten thousand entities, its decision log and every span
//! exported; Cerbos; and OPA with its Envoy plugin. Each runs in a process of its own and is asked by the same clients
//! whether an agent may post a message for a person: Cerbos in turns with the native RPC, OPA in turns with Callgate's
//! `ext_authz`. What counts is the CPU time that each process used per call. Before, each has to allow what is measured,
//! and to deny three calls that differ in what decides.

use std::path::Path;
use std::time::{Duration, Instant};

mod cerbos;
mod opa;
mod ours;
mod question;
// Not everything that measurements share is needed here.
#[allow(dead_code)]
#[path = "../served/mod.rs"]
mod served;
#[path = "../../tests/it/support/wire.rs"]
mod wire;
#[allow(dead_code)]
#[path = "../grpc/world.rs"]
mod world;

use question::{Groups, LINK, POST, Question, READ};
use served::load::Load;
use served::process::{Server, free_port};
use served::turns::{self, Costs, Side};
use served::{Fault, bundle, calls, collector, metric};

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
    ours::configure(&dir)?;
    world::furnish(&dir)?;
    let collector = collector::start().await?;
    let since = Instant::now();
    let server = Server::callgate(&dir, Some(&collector.endpoint), free_port()?)?;
    // Allowed as long as nothing was read: then it is the session that denies it.
    let (channel, after) = ours::Native.ready(&server, since, &LINK).await?;
    started("callgate", after);
    let envoys = ours::ExtAuthz { with_labels: false };
    assert!(ours::Native.ask(&channel, &READ).await?, "{READ:?}");
    assert!(envoys.ask(&channel, &READ).await?, "{READ:?}");
    let native = ours::Native.load(&channel).await?;
    let ext_authz = envoys.load(&channel).await?;

    let groups = Groups::read(&dir)?;
    let opa_envoy = opa_envoy(&folder.path().join("opa"), &groups).await?;
    let cerbos = cerbos(&folder.path().join("cerbos"), groups).await?;
    let pairs = [
        Pair::new("cerbos", "callgate", native, cerbos),
        Pair::new("opa_envoy", "callgate.ext_authz", ext_authz, opa_envoy),
    ];
    let mut measured = Vec::with_capacity(pairs.len());
    for pair in &pairs {
        measured.push(pair.costs(&server).await?);
    }
    // Its session and its counts have moved on with every call.
    assert!(ours::Native.ask(&channel, &POST).await?, "{POST:?}");
    assert!(envoys.ask(&channel, &POST).await?, "{POST:?}");
    for (pair, costs) in pairs.iter().zip(&measured) {
        pair.tell(costs);
    }
    assert!(
        collector.spans().await > 0,
        "every decision was to be traced"
    );
    Ok(())
}

/// A peer that runs, and what it is asked.
struct Peer {
    server: Server,
    load: Load,
}

async fn cerbos(dir: &Path, groups: Groups) -> Result<Option<Peer>, Fault> {
    let Some(program) = cerbos::program() else {
        println!(
            "SKIPPED cerbos: it is not below target/bench-tools; `benches/peers/install` installs it"
        );
        return Ok(None);
    };
    let since = Instant::now();
    let server = cerbos::start(&program, dir)?;
    let question = cerbos::CheckResources { groups };
    Ok(Some(peer("cerbos", server, since, &question).await?))
}

async fn opa_envoy(dir: &Path, groups: &Groups) -> Result<Option<Peer>, Fault> {
    let Some(program) = opa::program() else {
        println!(
            "SKIPPED opa_envoy: OPA_ENVOY names no program; `benches/peers/install` says where it comes from"
        );
        return Ok(None);
    };
    let since = Instant::now();
    let server = opa::start(&program, dir, groups)?;
    let question = ours::ExtAuthz { with_labels: true };
    Ok(Some(peer("opa_envoy", server, since, &question).await?))
}

async fn peer(
    name: &str,
    server: Server,
    since: Instant,
    question: &impl Question,
) -> Result<Peer, Fault> {
    let (channel, after) = question.ready(&server, since, &POST).await?;
    started(name, after);
    let load = question.load(&channel).await?;
    Ok(Peer { server, load })
}

/// Tells how long it took from the start of the process to its first allow.
fn started(name: &str, after: Duration) {
    metric(
        &format!("peers.{name}.start"),
        after.as_secs_f64() * 1e3,
        "ms",
    );
}

/// A way to ask Callgate, and the peer that it is compared with, if there is one.
struct Pair {
    names: [&'static str; 2],
    ours: Load,
    theirs: Option<Peer>,
}

impl Pair {
    fn new(name: &'static str, our_name: &'static str, ours: Load, theirs: Option<Peer>) -> Self {
        Self {
            names: [our_name, name],
            ours,
            theirs,
        }
    }

    /// What a call costs us, and the peer if there is one.
    async fn costs(&self, callgate: &Server) -> Result<Vec<Costs>, Fault> {
        let side = |server, load: &Load| Side {
            server,
            asker: load.clone(),
            calls: calls(CALLS),
        };
        let theirs = self.theirs.as_ref();
        let theirs = theirs.map(|peer| side(&peer.server, &peer.load));
        let sides: Vec<_> = [Some(side(callgate, &self.ours)), theirs]
            .into_iter()
            .flatten()
            .collect();
        turns::cpu_per_call(&sides).await
    }

    fn tell(&self, costs: &[Costs]) {
        for (name, costs) in self.names.iter().zip(costs) {
            metric(&format!("peers.{name}.cpu"), costs.median(), "us");
        }
        if let [ours, theirs] = costs {
            let name = format!("peers.cpu_vs_{}", self.names[1]);
            metric(&name, ours.over(theirs), "ratio");
        }
    }
}
