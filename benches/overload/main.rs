//! What strangers cost a running server: `cargo bench --bench overload`.
//!
//! One `callgate serve` is attacked in every way that `tests/it/hold/attack.rs` knows, one after the other, while a
//! gateway asks about calls over the connection that it has and over new ones. What counts is the smallest part of the
//! gateway's calls that was answered, and the most that the process came to occupy beyond what it had before.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

#[path = "../../tests/it/hold/attack.rs"]
mod attack;

use attack::{NAMES, SETTINGS, Target, begin, gateway, resident_kib};
use tonic::transport::Channel;

/// Why nothing could be measured.
type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Calls that the gateway asks about during one attack.
const CALLS: usize = 400;

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
    "list_notes": {"effect": "read", "status": "confirmed", "yields": [], "egress": false, "sensitivity": "internal"}
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
    runtime.block_on(measure())
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
    let target = Target {
        grpc: free_address()?,
        http: free_address()?,
    };
    let child = Command::new(env!("CARGO_BIN_EXE_callgate"))
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
