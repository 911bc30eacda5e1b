//! What strangers cost a running server, and what more than it can answer does: `cargo bench --bench overload`.
//!
//! One `callgate serve` is attacked in every way that `tests/it/hold/attack.rs` knows, one after the other, while a
//! gateway asks about calls over the connection that it has and over new ones. What counts is the smallest part of the
//! gateway's calls that was answered, and the most that the process came to occupy beyond what it had before. At the end:
//! how long a `forbid` takes to be in force while connections hold all descriptors that they can get.
//!
//! Then one is held to a fifth of a CPU and asked at two, four and eight times the rate that it can answer, each call
//! with a deadline, and whether or not earlier ones are answered. What counts is the goodput: the calls that are answered
//! within their deadline in a second, over those that the same server answers within it when it is just saturated, which
//! is measured before each. The first second, in which the server notices, is told apart.
//!
//! Then a gateway's calls while another caller writes, lists and reads the status as fast as it can, over what they take
//! alone: the 99th percentiles of both, in turns. At last a server starts with a million sessions in its store.
//!
//! `CALLGATE_BENCH_ONLY` is one of `strangers`, `flood`, `starvation` and `sessions`.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[path = "../../tests/it/hold/attack.rs"]
mod attack;

mod sessions;
mod starvation;

#[path = "../../tests/it/hold/flood.rs"]
mod flood;

use attack::{NAMES, SETTINGS, Target, begin, gateway, resident_kib};
use flood::{HeldDown, Outcome, channels, flood, saturate};
use tonic::transport::Channel;

/// Why nothing could be measured.
type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Open files of the server whose connections take all that they can get.
const OPEN_FILES: u32 = 256;

const FORBID: &str = "@id(\"stop\") forbid (principal, action, resource);\n";

/// Calls that the gateway asks about during one attack.
const CALLS: usize = 400;

/// The gateway's connections, and its calls under way while it is found out what the server can answer.
const CONNECTIONS: usize = 8;
const AT_ONCE: usize = 32;

/// The part of a CPU that the server has.
const PERCENT: u64 = 20;

/// How long a call may take under overload.
const DEADLINE: Duration = Duration::from_millis(500);

/// How long the server is asked before anything is measured, and for each measurement.
const WARMS_UP: Duration = Duration::from_secs(2);
const TOOK: Duration = Duration::from_secs(6);
/// How long the server may take to notice that it is asked too much. What becomes of those calls is told apart.
const NOTICES: Duration = Duration::from_secs(1);

const POLICY: &str = r#"
@id("notes.read") @owner("notes-team")
permit (principal, action in Mcp::Action::"call_read", resource in Mcp::Server::"notes");
"#;

const ENTITIES: &str = r#"[
  {"uid": {"type": "Mcp::User", "id": "alice"}, "attrs": {"active": true}, "parents": []},
  {"uid": {"type": "Mcp::Agent", "id": "helper"},
   "attrs": {"active": true, "owner": {"__entity": {"type": "Mcp::User", "id": "alice"}}}, "parents": []}
]"#;

const TOOLS: &str = r#"{
  "server": {"name": "notes", "owner": "alice"},
  "tools": {
    "list_notes": {"access": "read", "status": "confirmed", "yields": [], "egress": false, "sensitivity": "internal"}
  }
}"#;

/// The attacked process. Dropping it ends it.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let only = std::env::var("CALLGATE_BENCH_ONLY").ok();
    let is_wanted = |name: &str| only.as_ref().is_none_or(|it| it == name);
    // The machine may have other things to do.
    println!(
        "# load {}",
        std::fs::read_to_string("/proc/loadavg")?.trim()
    );
    if is_wanted("strangers") {
        runtime.block_on(measure())?;
    }
    if is_wanted("flood") {
        runtime.block_on(measure_flood())?;
    }
    if is_wanted("starvation") {
        runtime.block_on(starvation::measure())?;
    }
    if is_wanted("sessions") {
        runtime.block_on(sessions::measure())?;
    }
    println!(
        "# load {}",
        std::fs::read_to_string("/proc/loadavg")?.trim()
    );
    Ok(())
}

async fn measure() -> Result<(), Fault> {
    let folder = tempfile::tempdir()?;
    write(folder.path())?;
    let (mut success, mut most_mib) = (1.0_f64, 0.0_f64);
    for name in NAMES {
        let (_server, pid, target) = start(folder.path())?;
        let connection = first(&target).await?;
        let before = resident_kib(pid);
        let held = begin(name, &target).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let fared = gateway(&target, &connection, CALLS).await;
        let added = resident_kib(pid).saturating_sub(before) as f64 / 1_024.0;
        drop(held);
        metric(
            &format!("anonymous.{name}.success"),
            fared.success(),
            "of 1",
        );
        metric(&format!("anonymous.{name}.memory"), added, "MiB");
        success = success.min(fared.success());
        most_mib = most_mib.max(added);
    }
    metric("anonymous.entitled_success", success, "of 1");
    metric("memory.anonymous_max_mib", most_mib, "MiB");
    kill_switch(folder.path()).await
}

/// How long a `forbid` takes to be in force while idle connections hold every descriptor that they can get.
async fn kill_switch(folder: &Path) -> Result<(), Fault> {
    let (_server, _, target) = start_with(folder, Some(OPEN_FILES))?;
    let connection = first(&target).await?;
    let held = attack::silent(&target.grpc, 1_104, b"").await;
    let begun = Instant::now();
    std::fs::write(folder.join("policies/stop.cedar"), FORBID)?;
    if !attack::denied(&connection).await {
        return Err("the forbid did not come into force".into());
    }
    let took = begun.elapsed().as_secs_f64() * 1_000.0;
    drop(held);
    metric("reload.kill_switch_ms", took, "ms");
    Ok(())
}

/// How much a server answers in time of more than it can answer.
async fn measure_flood() -> Result<(), Fault> {
    let folder = tempfile::tempdir()?;
    write(folder.path())?;
    let (_server, pid, target) = start(folder.path())?;
    first(&target).await?;
    let channels = channels(&target.grpc, CONNECTIONS).await;
    let _held = HeldDown::to(pid, PERCENT);
    saturate(&channels, AT_ONCE, WARMS_UP, DEADLINE).await;
    for times in [2, 4, 8] {
        // Before each, as the machine may have other things to do.
        let capacity = saturate(&channels, AT_ONCE, TOOK, DEADLINE)
            .await
            .rate(TOOK);
        let rate = f64::from(times) * capacity;
        let flooded = flood(&channels, rate, (NOTICES, TOOK), DEADLINE).await;
        let outcome = flooded.then;
        let name = |what: &str| format!("overload.{what}_{times}x");
        let percent = 100.0 * outcome.rate(TOOK) / capacity;
        metric(&name("capacity"), capacity, "calls/s");
        metric(&name("goodput"), percent, "%");
        let p99 = outcome.percentile(99).unwrap_or(DEADLINE * 2);
        metric(&name("p99"), p99.as_secs_f64() * 1e3, "ms");
        let part = |of: &Outcome, count: usize| 100.0 * count as f64 / of.asked.max(1) as f64;
        metric(&name("shed"), part(&outcome, outcome.shed), "% of calls");
        metric(&name("late"), part(&outcome, outcome.late), "% of calls");
        let failed = outcome.failed.len() + flooded.at_first.failed.len();
        metric(&name("failed"), part(&outcome, failed), "% of calls");
        let first = &flooded.at_first;
        metric(
            &name("at_first.late"),
            part(first, first.late),
            "% of calls",
        );
        let goodput = 100.0 * first.rate(NOTICES) / capacity;
        metric(&name("at_first.goodput"), goodput, "%");
    }
    Ok(())
}

fn metric(name: &str, value: f64, unit: &str) {
    println!("METRIC {name} {value:.3} {unit}");
}

fn write(folder: &Path) -> std::io::Result<()> {
    let dir = folder.join("policies");
    for (path, text) in [
        ("notes.cedar", POLICY),
        ("entities/people.json", ENTITIES),
        ("tools/notes.json", TOOLS),
        ("callgate.toml", SETTINGS),
    ] {
        let path = dir.join(path);
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(path, text)?;
    }
    Ok(())
}

fn free_address() -> std::io::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn start(folder: &Path) -> Result<(Server, u32, Target), Fault> {
    start_with(folder, None)
}

/// A server that may have so many open files at most; as many as it wants if nothing is said.
fn start_with(folder: &Path, open_files: Option<u32>) -> Result<(Server, u32, Target), Fault> {
    let target = Target {
        grpc: free_address()?,
        http: free_address()?,
    };
    let bound = open_files.map(|most| format!("ulimit -n {most}; "));
    let script = format!("{}exec \"$0\" \"$@\"", bound.unwrap_or_default());
    let child = Command::new("sh")
        .args(["-c", &script])
        .arg(env!("CARGO_BIN_EXE_callgate"))
        .args(["serve", "policies"])
        .args(["--listen", &target.grpc, "--http", &target.http])
        .current_dir(folder)
        .env("RUST_LOG", "error")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()?;
    let pid = child.id();
    Ok((Server(child), pid, target))
}

/// A connection that has asked once, as soon as the server answers.
async fn first(target: &Target) -> Result<Channel, Fault> {
    for _ in 0..300 {
        if tokio::net::TcpStream::connect(&target.grpc).await.is_ok() {
            return Ok(attack::connected(target).await);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err("the server does not accept connections".into())
}
