//! `callgate audit verify-proof`: checks a proof offline.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::json;

use crate::audit::frame::MAX_RECORD;
use crate::audit::json as records;
use crate::audit::record::StoredRecord;
use crate::audit::tree::tlog_proof::{InclusionError, InclusionProof, MAX_PROOF_LEN};
use crate::cli::commands::audit::args::verifying_key;
use crate::cli::commands::audit::line::Paint;
use crate::cli::output::{Exit, Output};
use crate::cli::render::printable;

/// Checks the proof that a record is in a log: needs the key of the log and nothing else
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The proof
    #[arg(value_name = "FILE")]
    proof: PathBuf,
    /// The key of the log, or the file it is in
    #[arg(long, value_name = "KEY")]
    key: String,
    /// The bytes of the record, if the proof does not bring them along
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// How to answer
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

const EXAMPLES: &str = "\
Examples:
  callgate audit verify-proof decision.tlog-proof --key log.pub

Exit codes: 0 the record is in the log, 1 error, 3 the proof does not hold.";

/// Checks and reports.
///
/// # Errors
///
/// If a file cannot be read, or is no proof.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let key = verifying_key(Some(&args.key), Path::new("."))?;
    let text = read(&args.proof, MAX_PROOF_LEN)?;
    let text = String::from_utf8(text).context("the proof is not text")?;
    let proof = InclusionProof::from_text(&text)?;
    let given = args.record.as_deref().map(|path| read(path, MAX_RECORD));
    let given = given.transpose()?;
    let checkpoint = match proof.verify(given.as_deref(), &key) {
        Ok(checkpoint) => checkpoint,
        Err(error @ InclusionError::NoEntry) => bail!("{error} with `--record`"),
        Err(error) => {
            let message = error.to_string();
            let text = format!("NOT PROVEN: {}\n", printable(&message));
            args.output
                .answer(&text, &json!({"ok": false, "why": message}))?;
            return Ok(Exit::Faults);
        }
    };
    let bytes = given.or(proof.entry).context("there is no record")?;
    let stored = StoredRecord::from_bytes(bytes).context("the proven bytes are no record")?;
    if stored.index != proof.index {
        bail!(
            "the proven record says that it is another one: {}",
            stored.index
        );
    }
    let record = stored.decode()?;
    let text = format!(
        "ok: record {} of {} records of {}\n  {}",
        proof.index,
        checkpoint.size,
        printable(&checkpoint.origin),
        Paint::plain().line(&record)
    );
    let json = json!({
        "ok": true,
        "origin": checkpoint.origin,
        "index": proof.index,
        "size": checkpoint.size,
        "root": checkpoint.root.to_base64(),
        "record": records::record(&record),
    });
    args.output.answer(&text, &json)?;
    Ok(Exit::Done)
}

fn read(path: &Path, limit: usize) -> anyhow::Result<Vec<u8>> {
    let name = path.display();
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes));
    read.with_context(|| format!("cannot read `{name}`"))?;
    if bytes.len() > limit {
        bail!("`{name}` is too long");
    }
    Ok(bytes)
}
