//! A start with a million sessions in the store, and what they occupy.

use std::time::Instant;

use rusqlite::{Connection, params};

use crate::attack::resident_kib;
use crate::{Fault, first, metric, start, write};

const SESSIONS: u32 = 1_000_000;

/// What a session has called.
const TOOLS: &str = r#"[{"type":"Mcp::Tool","id":"notes/list_notes"}]"#;

pub async fn measure() -> Result<(), Fault> {
    let folder = tempfile::tempdir()?;
    write(folder.path())?;
    // Makes the store.
    let (server, pid, target) = start(folder.path())?;
    first(&target).await?;
    let empty = resident_kib(pid);
    stop(server, pid)?;
    fill(&folder.path().join("callgate.db"))?;
    let begun = Instant::now();
    let (server, pid, target) = start(folder.path())?;
    first(&target).await?;
    metric("sessions.million.start", begun.elapsed().as_secs_f64(), "s");
    let added = resident_kib(pid).saturating_sub(empty) as f64 / 1_024.0;
    metric("sessions.million.memory", added, "MiB");
    stop(server, pid)
}

/// Ends a server as an operator does.
fn stop(mut server: crate::Server, pid: u32) -> Result<(), Fault> {
    let pid = pid.to_string();
    std::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status()?;
    server.0.wait()?;
    Ok(())
}

fn fill(store: &std::path::Path) -> Result<(), Fault> {
    let mut store = Connection::open(store)?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let now = i64::try_from(now.as_millis())?;
    let transaction = store.transaction()?;
    {
        let mut session = transaction.prepare(
            "INSERT INTO sessions (id, calls, tools, last, at) VALUES (?1, 3, ?2, ?2, ?3)",
        )?;
        let mut label = transaction.prepare(
            "INSERT INTO session_labels (session, label, at) VALUES (?1, 'private', ?2)",
        )?;
        for number in 0..SESSIONS {
            let id = format!("01997f6e-session-{number:08}");
            session.execute(params![id, TOOLS, now])?;
            label.execute(params![id, now])?;
        }
    }
    transaction.commit()?;
    Ok(())
}
