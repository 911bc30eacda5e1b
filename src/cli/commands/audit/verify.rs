//! `callgate audit verify`: whether the log is what was logged.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context;

use crate::audit::tree::tile_dir::read_text;
use crate::audit::verify::{self as verification, Report, Request};
use crate::cli::commands::audit::args::{LogArgs, verifying_key};
use crate::cli::output::{Exit, Output};
use crate::cli::render::{count, printable};

/// Finds every changed, removed, reordered or cut record, and says where
///
/// Each record is held against the tree, the tree against its last signed checkpoint. Keep a key or a checkpoint elsewhere:
/// whoever can change the log can also change the key beside it and sign everything anew, but not what you have.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    log: LogArgs,
    /// The key that signs checkpoints, or the file it is in; without it, `tree/key.pub` of the log
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// An older checkpoint, which the log must extend (may be repeated)
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// The first record to verify
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    from: u64,
    /// The last record to verify; without it, also finds what is cut off at the end
    #[arg(long, value_name = "INDEX")]
    to: Option<u64>,
    /// How to answer
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

const EXAMPLES: &str = "\
Examples:
  callgate audit verify --log /var/lib/callgate/audit
  callgate audit verify --key log.pub --checkpoint last-week.checkpoint
  callgate audit verify --from 120000 --to 130000 --output json

Exit codes: 0 the log is what was logged, 1 error, 3 it is not.";

/// Verifies and reports.
///
/// # Errors
///
/// If there is no log, or an argument cannot be read.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let directory = &args.log.directory;
    args.log.check_is_there()?;
    let key = verifying_key(args.key.as_deref(), directory)?;
    let mut older = Vec::new();
    for path in &args.checkpoint {
        let name = path.display().to_string();
        let note = read_text(path).with_context(|| format!("cannot read `{name}`"))?;
        older.push((
            name.clone(),
            note.with_context(|| format!("there is no `{name}`"))?,
        ));
    }
    let request = Request {
        directory: directory.clone(),
        key,
        older,
        from: args.from,
        to: args.to,
    };
    let report = verification::verify(&request)
        .with_context(|| format!("cannot verify `{}`", directory.display()))?;
    let mut text = text(&report);
    if args.key.is_none() && report.ok {
        text.push_str("  note: the key is the one beside the log; verify with `--key` from elsewhere to be sure\n");
    }
    args.output.answer(&text, &report)?;
    Ok(match report.ok {
        true => Exit::Done,
        false => Exit::Faults,
    })
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string is infallible.
    let mut line = |line: String| {
        let _ = writeln!(text, "{}", printable(&line));
    };
    line(match report.ok {
        true => format!("ok: {} is what was logged", report.origin),
        false => format!("NOT OK: {} is not what was logged", report.origin),
    });
    for fault in &report.faults {
        line(format!("  {fault}"));
    }
    let more = report.fault_count - report.faults.len() as u64;
    if more > 0 {
        line(format!("  and {more} more"));
    }
    let range = match (report.first, report.end) {
        (first, end) if first >= end => "no records".to_owned(),
        (first, end) => format!("records {first} to {}", end - 1),
    };
    let removed = match report.removed {
        0 => String::new(),
        removed => format!(", {removed} older ones removed"),
    };
    line(format!("  {range}{removed}"));
    line(format!(
        "  {} proven by the checkpoint over {}, root {}",
        report.proven, report.signed, report.root
    ));
    for it in &report.turned_back {
        line(format!(
            "  from record {} on the state of revision {} is in service again, as revision {} ({}): what was taken away since may be \
             allowed again",
            it.record, it.from, it.revision, it.how
        ));
    }
    if report.uncovered > 0 {
        line(format!(
            "  {} after it: no signature covers them yet",
            report.uncovered
        ));
    }
    if report.torn_bytes > 0 {
        line(format!(
            "  {} bytes at the end are no complete record: one is being written, or its write was interrupted",
            report.torn_bytes
        ));
    }
    for warning in &report.warnings {
        line(format!("  warning: {warning}"));
    }
    if report.older_checkpoints > 0 {
        let older = count(report.older_checkpoints, "older checkpoint");
        line(format!("  extends {older}"));
    }
    text
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
