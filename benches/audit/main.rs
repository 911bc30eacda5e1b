//! What the decision log costs: `cargo bench --bench audit`.
//!
//! `callgate serve` runs as a process of its own in each mode, with the shipped policies, a thousand more, ten thousand
//! entities and every span exported. All are asked alternately by the same client, and what counts is the CPU time that
//! each used per call, in relation to that without a log. Then the sizes of records on disk, as they are written and
//! compressed.

use std::path::{Path, PathBuf};

use callgate::audit::log_files::{self, CAPSULES, SEGMENTS};
use callgate::audit::reader::LogReader;
use callgate::proto::v1;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use prost::Message;

#[path = "../served/mod.rs"]
mod served;

use served::load::{self, Load};
use served::process::{Server, free_port};
use served::{Fault, IN_FLIGHT, QUIET_IN_FLIGHT, ROUNDS, bundle, calls, collector, median, metric};

/// Calls in one measurement of CPU time, and in one of latency.
const CALLS: usize = 20_000;
const QUIET_CALLS: usize = 2_000;
const MODES: [&str; 4] = ["off", "async", "written", "synced"];

/// A server in one mode.
struct Mode {
    name: &'static str,
    server: Server,
    load: Load,
    folder: tempfile::TempDir,
}

fn main() -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(measure())
}

async fn measure() -> Result<(), Fault> {
    let collector = collector::start().await?;
    let mut modes = Vec::new();
    for name in MODES {
        modes.push(start(name, &collector.endpoint).await?);
    }
    cpu(&modes).await?;
    latency(&modes).await?;
    println!(
        "spans exported while measuring: {}",
        collector.spans().await
    );
    sizes(&modes)
}

async fn start(name: &'static str, collector: &str) -> Result<Mode, Fault> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("policies");
    bundle::write(Path::new(env!("CARGO_MANIFEST_DIR")), &dir)?;
    // Other sections come after the first ones.
    let file = dir.join("callgate.toml");
    let before = std::fs::read_to_string(&file).unwrap_or_default();
    std::fs::write(&file, format!("{before}\n[audit]\nmode = \"{name}\"\n"))?;
    let server = Server::callgate(&dir, collector, free_port()?)?;
    let channel = server.connect().await?;
    let request = bundle::typical_call();
    let answer = AuthorizationClient::new(channel.clone())
        .authorize(request.clone())
        .await?
        .into_inner();
    assert_eq!(answer.decision(), v1::Decision::Allow, "{answer:?}");
    let load = Load::new(
        channel,
        "/callgate.v1.Authorization/Authorize",
        request.encode_to_vec(),
    );
    Ok(Mode {
        name,
        server,
        load,
        folder,
    })
}

/// CPU time in each mode, in turn so that all meet the same machine.
async fn cpu(modes: &[Mode]) -> Result<(), Fault> {
    let calls = calls(CALLS);
    for mode in modes {
        load::run(&mode.load, calls / 4, IN_FLIGHT).await?;
    }
    let mut ratios = vec![Vec::new(); modes.len()];
    let mut costs = vec![Vec::new(); modes.len()];
    for _ in 0..ROUNDS {
        let mut off = None;
        for (at, mode) in modes.iter().enumerate() {
            let before = mode.server.cpu_seconds()?;
            load::run(&mode.load, calls, IN_FLIGHT).await?;
            let per_call = (mode.server.cpu_seconds()? - before) / calls as f64;
            let off = *off.get_or_insert(per_call);
            costs[at].push(per_call * 1e6);
            ratios[at].push(per_call / off);
        }
    }
    for (at, mode) in modes.iter().enumerate() {
        let name = mode.name;
        metric(
            &format!("audit.cpu_{name}"),
            median(costs[at].clone()),
            "us",
        );
        let ratio = median(ratios[at].clone());
        metric(&format!("audit.cpu_vs_off.{name}"), ratio, "ratio");
    }
    Ok(())
}

async fn latency(modes: &[Mode]) -> Result<(), Fault> {
    for mode in modes {
        let run = load::run(&mode.load, calls(QUIET_CALLS), QUIET_IN_FLIGHT).await?;
        for percent in [50, 99] {
            let latency = run.percentile(percent).as_secs_f64() * 1e6;
            metric(&format!("audit.p{percent}.{}", mode.name), latency, "us");
        }
    }
    Ok(())
}

fn sizes(modes: &[Mode]) -> Result<(), Fault> {
    let Some(mode) = modes.iter().find(|mode| mode.name == "written") else {
        return Ok(());
    };
    let directory = mode.folder.path().join("audit");
    let mut count = 0_usize;
    let mut bytes = 0;
    for record in LogReader::open(&directory)?.iter_from(0) {
        bytes += record?.bytes.len();
        count += 1;
    }
    metric(
        "audit.bytes_per_record.envelope",
        bytes as f64 / count as f64,
        "bytes",
    );
    let mut compressed = 0;
    for path in files(&directory, SEGMENTS)? {
        compressed += zstd::bulk::compress(&std::fs::read(path)?, 3)?.len();
    }
    let per_record = compressed as f64 / count as f64;
    metric("audit.bytes_per_record.compressed", per_record, "bytes");
    let mut capsules = 0;
    for path in files(&directory, CAPSULES)? {
        capsules += std::fs::metadata(path)?.len();
    }
    let per_record = capsules as f64 / count as f64;
    metric("audit.bytes_per_record.capsule", per_record, "bytes");
    Ok(())
}

/// The files that are not compressed yet.
fn files(directory: &Path, folder: &str) -> Result<Vec<PathBuf>, Fault> {
    let files = log_files::list(&directory.join(folder))?;
    let plain = files.into_iter().filter(|file| !file.is_compressed);
    Ok(plain.map(|file| file.path).collect())
}
