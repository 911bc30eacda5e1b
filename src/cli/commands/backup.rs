//! `callgate backup` and `callgate restore`: copies of the store.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::file;
use crate::cli::output::{Exit, Output};
use crate::cli::render::Details;
use crate::cli::store;
use crate::config::store::StoreConfig;
use crate::store::sqlite::backup::{self, BackupSummary};

/// Copies the store to a file, while the server runs
///
/// The copy is one consistent moment of the database. It is checked before it gets its name: SQLite's integrity check, and
/// everything in it is read as a server reads it. It carries a digest of what it holds. Only its owner may read it. Run it on the server's machine, as its user.
/// The decision log is not in it; it lies beside the database, in `audit/`.
#[derive(Debug, clap::Args)]
#[command(after_help = BACKUP_EXAMPLES)]
pub struct BackupArgs {
    /// The copy; must not exist yet
    pub file: PathBuf,
    /// The database, as `[state] file` or `serve --state` names it
    #[arg(long, value_name = "FILE", default_value = StoreConfig::DEFAULT_FILE)]
    pub state: PathBuf,
    /// How to answer
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

/// Puts a copy of the store back, while no server runs
///
/// The copy is checked first, down to each value if it has the digest that `callgate backup` writes into it. A `-wal` beside it
/// is part of it. A store that is there is set aside, and nothing of it deleted. What was taken away after the
/// copy was made (a revoked delegation, a stop) may be allowed again: the answer says how many commits the copy lacks. Its
/// state gets a revision above all that were given out before, and the next start puts on record that it was restored.
#[derive(Debug, clap::Args)]
#[command(after_help = RESTORE_EXAMPLES)]
pub struct RestoreArgs {
    /// The copy
    pub file: PathBuf,
    /// The database to put it in place of, as `[state] file` or `serve --state` names it
    #[arg(long, value_name = "FILE", default_value = StoreConfig::DEFAULT_FILE)]
    pub state: PathBuf,
    /// Set aside the store that is there
    #[arg(long)]
    pub replace: bool,
    /// How to answer
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

const BACKUP_EXAMPLES: &str = "\
Examples:
  callgate backup callgate-monday.db
  callgate backup /backup/callgate.db --state /var/lib/callgate/state.db

Exit codes: 0 the copy is there and whole, 1 error, and there is no copy.";

const RESTORE_EXAMPLES: &str = "\
Examples:
  callgate restore callgate-monday.db
  callgate restore /backup/callgate.db --state /var/lib/callgate/state.db --replace

Exit codes: 0 the copy is in place, 1 error.";

/// Refuses the URL of a database where a file should be.
fn refuse_url(state: &Path) -> anyhow::Result<()> {
    if state.to_str().is_some_and(store::is_url) {
        anyhow::bail!(
            "a database is copied with PostgreSQL's own tools, such as `pg_dump`, and takes over nothing from a file"
        );
    }
    Ok(())
}

/// Copies the store, checks the copy, and says what is in it.
///
/// # Errors
///
/// If the copy cannot be made or is not whole.
pub fn backup(args: &BackupArgs) -> anyhow::Result<Exit> {
    refuse_url(&args.state)?;
    file::check_name(&args.file)?;
    let summary = backup::backup(&args.state, &args.file)?;
    let title = format!("{}: copied and checked", args.file.display());
    let text = with_summary(Details::new(title), &summary)
        .maybe("content", summary.content_digest.as_ref());
    args.output.answer(&text, &as_json(&summary))?;
    Ok(Exit::Done)
}

/// Puts a copy back, and says what it lacks.
///
/// # Errors
///
/// If a server has the store open, there is a store already, or the copy is not whole.
pub fn restore(args: &RestoreArgs) -> anyhow::Result<Exit> {
    refuse_url(&args.state)?;
    let restored = backup::restore(&args.file, &args.state, args.replace)?;
    let title = format!("{}: restored", args.state.display());
    let content = match &restored.backup.content_digest {
        Some(_) => "as it was copied",
        None => {
            "NOT COMPARED: it has no digest, as it was made by an older callgate or is no copy of `callgate backup`"
        }
    };
    let mut text = with_summary(Details::new(title), &restored.backup)
        .fact("content", content)
        .maybe("commits lost", restored.lost_commits)
        .fact("goes on at", format!("revision {}", restored.goes_on_at));
    if restored.replaced_other {
        text = text.fact(
            "replaced",
            "ANOTHER STORE than the copy is of: see what is set aside",
        );
    }
    for file in &restored.set_aside {
        text = text.fact("set aside", file.display());
    }
    let mut json = as_json(&restored.backup);
    json["lostCommits"] = json!(restored.lost_commits);
    json["goesOnAt"] = json!(restored.goes_on_at);
    json["replacedOther"] = json!(restored.replaced_other);
    let paths = restored.set_aside.iter().map(|it| shown(it));
    json["setAside"] = paths.collect::<Vec<_>>().into();
    args.output.answer(&text, &json)?;
    Ok(Exit::Done)
}

fn with_summary(details: Details, summary: &BackupSummary) -> Details {
    details
        .fact("revision", summary.revision)
        .fact("commits", summary.commits)
        .fact("tables", format!("version {}", summary.schema_version))
        .fact("bytes", summary.bytes)
}

fn as_json(summary: &BackupSummary) -> serde_json::Value {
    json!({
        "revision": summary.revision,
        "commits": summary.commits,
        "storeId": summary.store_id,
        "schemaVersion": summary.schema_version,
        "bytes": summary.bytes,
        "contentDigest": summary.content_digest,
    })
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
