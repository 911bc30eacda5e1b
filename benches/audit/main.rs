//! What the decision log costs: `cargo bench --bench audit`.
//!
//! `callgate serve` runs as a process of its own in each mode, with the shipped policies, a thousand more, ten thousand
//! entities and every span exported. All are asked alternately by the same client, and what counts is the CPU time that
//! each used per call, in relation to that without a log; and in the mode `written` in relation to a server that exports no
//! spans. Then the sizes of records on disk, as they are written and compressed, and how fast the log that was written is
//! verified and replayed. `CALLGATE_BENCH_ONLY=reading` measures these last two alone.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use callgate::analysis::replay::candidate::Candidate;
use callgate::analysis::replay::log::LogSource;
use callgate::analysis::replay::replay;
use callgate::audit::log_files::{self, CAPSULES, SEGMENTS, TREE};
use callgate::audit::reader::LogReader;
use callgate::audit::tree::key_file::{self, PUBLIC_KEY_FILE};
use callgate::audit::verify;
use callgate::bundle as policies;
use callgate::proto::v1;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use prost::Message;

#[path = "../served/mod.rs"]
mod served;

use served::load::{self, Load};
use served::process::{Server, free_port};
use served::turns::{self, Side};
use served::{Fault, IN_FLIGHT, QUIET_IN_FLIGHT, ROUNDS, bundle, calls, collector, median, metric};

/// Calls in one round of CPU time, and in one measurement of latency.
const CALLS: usize = 20_000;
const QUIET_CALLS: usize = 2_000;
/// The name of each server that is measured, and the mode of its log.
const MODES: [(&str, &str); 5] = [
    (OFF, "off"),
    ("async", "async"),
    ("written", "written"),
    ("synced", "synced"),
    (UNTRACED, "written"),
];
/// Without a log.
const OFF: &str = "off";
/// Exports nothing. All others export every span.
const UNTRACED: &str = "untraced";
/// The log that is read afterwards.
const READ: &str = "written";
/// How often the log is verified and replayed.
const READINGS: usize = 5;

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
    let reads_only = std::env::var("CALLGATE_BENCH_ONLY").is_ok_and(|only| only == "reading");
    let mut modes = Vec::new();
    for (name, mode) in MODES {
        if !reads_only || name == READ {
            modes.push(start(name, mode, &collector.endpoint).await?);
        }
    }
    if reads_only {
        for mode in &modes {
            load::run(&mode.load, calls(CALLS) * ROUNDS, IN_FLIGHT).await?;
        }
    } else {
        cpu(&modes).await?;
        latency(&modes).await?;
        println!(
            "spans exported while measuring: {}",
            collector.spans().await
        );
        sizes(&modes)?;
    }
    // The servers end, and leave their logs to be read.
    let left = modes.into_iter().find(|mode| mode.name == READ);
    let Some(Mode { server, folder, .. }) = left else {
        return Ok(());
    };
    drop(server);
    verifying(folder.path())?;
    replaying(folder.path())
}

async fn start(name: &'static str, mode: &str, collector: &str) -> Result<Mode, Fault> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("policies");
    bundle::write(Path::new(env!("CARGO_MANIFEST_DIR")), &dir)?;
    // Other sections come after the first ones.
    let file = dir.join("callgate.toml");
    let before = std::fs::read_to_string(&file).unwrap_or_default();
    std::fs::write(&file, format!("{before}\n[audit]\nmode = \"{mode}\"\n"))?;
    let collector = (name != UNTRACED).then_some(collector);
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
    let sides = modes.iter().map(|mode| Side {
        server: &mode.server,
        asker: mode.load.clone(),
        calls: calls(CALLS),
    });
    let sides: Vec<_> = sides.collect();
    let costs = turns::cpu_per_call(&sides).await?;
    let costs_of = |name: &str| {
        let place = modes.iter().position(|mode| mode.name == name);
        place.map(|at| &costs[at]).ok_or("a mode is not measured")
    };
    let off = costs_of(OFF)?;
    for (mode, costs) in modes.iter().zip(&costs) {
        let name = mode.name;
        metric(&format!("audit.cpu_{name}"), costs.median(), "us");
        if name != UNTRACED {
            metric(
                &format!("audit.cpu_vs_off.{name}"),
                costs.over(off),
                "ratio",
            );
        }
    }
    let ratio = costs_of(READ)?.over(costs_of(UNTRACED)?);
    metric("otel.cpu_vs_off", ratio, "ratio");
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
    let Some(mode) = modes.iter().find(|mode| mode.name == READ) else {
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

/// How many records are verified in a second: read, checked, hashed, held against the tree.
fn verifying(folder: &Path) -> Result<(), Fault> {
    let directory = folder.join("audit");
    let key = key_file::read_verifying_key(&directory.join(TREE).join(PUBLIC_KEY_FILE))?;
    let request = verify::Request {
        directory,
        key,
        older: Vec::new(),
        from: 0,
        to: None,
    };
    let mut rates = Vec::new();
    for _ in 0..READINGS {
        let begun = Instant::now();
        let report = verify::verify(&request)?;
        let seconds = begun.elapsed().as_secs_f64();
        assert!(report.ok && report.proven > 0, "{report:?}");
        rates.push(report.proven as f64 / seconds);
    }
    metric("audit.verify_records_per_s", median(rates), "1/s");
    Ok(())
}

/// How many decisions are replayed in a second with the policies that decided, on all processors: from the files of the
/// log, decrypted, decoded, decided and compared.
fn replaying(folder: &Path) -> Result<(), Fault> {
    let directory = folder.join("audit");
    let loaded = policies::load(&folder.join("policies")).map_err(|faults| faults.to_string())?;
    let candidate = Candidate::from_bundle(&loaded);
    let source = LogSource::open(&directory, &directory.join("capsule.key"))?;
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let mut rates = Vec::new();
    for _ in 0..READINGS {
        let begun = Instant::now();
        let report = replay(&candidate, source.decisions()?, workers, |_| {});
        let seconds = begun.elapsed().as_secs_f64();
        assert!(report.replayed > 0, "{report:?}");
        assert_eq!(
            (report.same, report.records),
            (report.replayed, report.replayed),
            "{report:?}"
        );
        rates.push(report.replayed as f64 / seconds);
    }
    metric("replay.decisions_per_s", median(rates), "1/s");
    // What of it one thread does alone: it reads the files and decodes the envelopes.
    let begun = Instant::now();
    let read = source.decisions()?.count();
    let rate = read as f64 / begun.elapsed().as_secs_f64();
    metric("replay.read_per_s", rate, "1/s");
    Ok(())
}

/// The files that are not compressed yet.
fn files(directory: &Path, folder: &str) -> Result<Vec<PathBuf>, Fault> {
    let files = log_files::list(&directory.join(folder))?;
    let plain = files.into_iter().filter(|file| !file.is_compressed);
    Ok(plain.map(|file| file.path).collect())
}
