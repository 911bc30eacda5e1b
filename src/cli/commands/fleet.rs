//! `callgate fleet status`: the servers on one database.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;

use crate::cli::output::{Exit, Output};
use crate::config::Config;
use crate::store::postgres::status::{self, FleetStatus, ReplicaStatus};

/// Tells of the servers that share one database
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Status(StatusArgs),
}

/// Tells which servers there are, and how far each has come
///
/// Asks the database itself, so it answers when no server does. The database is the one in `callgate.toml`, or the one
/// that `--state` names.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct StatusArgs {
    /// The directory with `callgate.toml`
    #[arg(default_value = "./policies")]
    pub dir: PathBuf,
    /// Read the configuration from this file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The database, in place of what the configuration says
    #[arg(long, value_name = "URL")]
    pub state: Option<String>,
    /// End with 1 if there are fewer servers than this that decide: one that was lost is in no list after a while
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub expect: usize,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

const EXAMPLES: &str = "\
Examples:
  callgate fleet status
  callgate fleet status --state postgres://callgate@db.example.com/callgate?sslrootcert=ca.pem --output json
  callgate fleet status --expect 3                    end with 1 if there are fewer than three

Exit codes: 0 every server is confirmed and has the newest revision, 1 error, one is not or has not, two have one name, or
there are too few.";

impl Args {
    /// How to print errors.
    pub fn output(&self) -> Output {
        let Verb::Status(args) = &self.verb;
        args.output
    }
}

/// Asks the database and prints the answer.
///
/// # Errors
///
/// If no database is named, or it does not answer.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let Verb::Status(args) = &args.verb;
    let file = args
        .config
        .clone()
        .unwrap_or_else(|| args.dir.join(Config::FILE_NAME));
    let base = file.parent().unwrap_or(&args.dir).to_owned();
    let (url, password_file) = match &args.state {
        Some(url) => (url.clone(), None),
        None => {
            let text = std::fs::read_to_string(&file).with_context(|| {
                format!(
                    "`{}` cannot be read; or name the database with `--state`",
                    file.display()
                )
            })?;
            let config = Config::from_toml(&text, &file.display().to_string());
            let state = config
                .map_err(|_| {
                    anyhow::anyhow!(
                        "`{}` has faults: `callgate check` tells them",
                        file.display()
                    )
                })?
                .state;
            let url = state.url.with_context(|| {
                format!(
                    "`{}` names no `state.url`: this server has its store to itself",
                    file.display()
                )
            })?;
            (url, state.password_file)
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let fleet = runtime.block_on(status::fleet(&url, &base, password_file.as_deref()))?;
    args.output.answer(&text(&fleet), &fleet)?;
    Ok(match is_well(&fleet, args.expect) {
        true => Exit::Done,
        false => Exit::Error,
    })
}

/// Whether there are as many replicas as expected, under as many names, and each decides by all that is in force. One that has just come has no bundle yet and decides nothing.
fn is_well(fleet: &FleetStatus, expected: usize) -> bool {
    let is_ready = |it: &ReplicaStatus| {
        it.is_live() && it.revision == fleet.revision && !it.bundle_digest.is_empty()
    };
    let names: HashSet<&str> = fleet.replicas.iter().map(|it| it.name.as_str()).collect();
    names.len() >= expected.max(1)
        && names.len() == fleet.replicas.len()
        && fleet.replicas.iter().all(is_ready)
}

fn text(fleet: &FleetStatus) -> String {
    let mut lines = vec![
        format!("revision  {}", fleet.revision),
        format!(
            "bundle    {}",
            fleet.bundle_digest.as_deref().unwrap_or("none")
        ),
        format!("database  {}", fleet.history),
    ];
    if fleet.replicas.is_empty() {
        lines.push("no replica".to_owned());
    }
    for it in &fleet.replicas {
        let behind = fleet.revision.saturating_sub(it.revision);
        let lease = match it.is_live() {
            false if it.clock_differs() => {
                "NONE: its clock is not believed, it decides nothing".to_owned()
            }
            true => format!(
                "confirmed {:.0} ms ago, decides for {} ms",
                it.confirmed_ms_ago, it.max_staleness_ms
            ),
            false => format!(
                "NOT CONFIRMED for {:.1} s: it decides nothing",
                it.confirmed_ms_ago / 1_000.0
            ),
        };
        let is_twin = |other: &ReplicaStatus| other.name == it.name && other.id != it.id;
        let twin = match fleet.replicas.iter().any(is_twin) {
            true => "  (ANOTHER ONE HAS THIS NAME)",
            false => "",
        };
        lines.push(format!("{}  {}{twin}", it.name, it.version));
        lines.push(format!("  revision  {}, {behind} behind", it.revision));
        lines.push(format!("  lease     {lease}"));
        if it.clock_differs() {
            let (seconds, how) = match it.clock_ahead_ms {
                ahead @ 0.. => (ahead / 1_000, "AHEAD OF"),
                behind => (behind / -1_000, "BEHIND"),
            };
            lines.push(format!("  clock     {seconds} s {how} THE DATABASE'S"));
        }
        let other = match Some(&it.bundle_digest) == fleet.bundle_digest.as_ref() {
            true => "",
            false => "  (NOT THE ONE PUT INTO SERVICE LAST)",
        };
        let bundle = match it.bundle_digest.as_str() {
            "" => "none",
            digest => digest,
        };
        lines.push(format!("  bundle    {bundle}{other}"));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
#[path = "fleet_tests.rs"]
mod tests;
