//! `callgate audit prove`: the proof that a record is in the log.

use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::audit::log_files::TREE;
use crate::audit::tree::checkpoint::Checkpoint;
use crate::audit::tree::hash::TreeHash;
use crate::audit::tree::tile_dir::TileDir;
use crate::audit::tree::tlog_proof::InclusionProof;
use crate::audit::verify;
use crate::cli::commands::audit::args::{LogArgs, RecordId, record_id, verifying_key};
use crate::cli::file;
use crate::cli::output::{Exit, Output};

/// Writes the proof that a record is in the log, which anybody can check offline
///
/// The proof is of the form c2sp.org/tlog-proof: index, hashes and signed checkpoint. It brings the record along as its
/// `extra` data, unless `--without-record` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The id of the decision, or the index of a record of any kind
    #[arg(value_name = "ID", value_parser = record_id)]
    id: RecordId,
    #[command(flatten)]
    log: LogArgs,
    /// The file to write; without one, standard output (`-` is refused)
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Leaves the record out: who checks the proof has its bytes from elsewhere
    #[arg(long)]
    without_record: bool,
    /// Writes the bytes of the record to a file as well: the leaf is SHA-256 of a zero byte and these
    #[arg(long, value_name = "FILE")]
    record_to: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  callgate audit prove 0190a9c2-7d9b-7c51-8a64-3c5d8c1c9f11 --to decision.tlog-proof
  callgate audit verify-proof decision.tlog-proof --key log.pub

Exit codes: 0 done, 1 error.";

/// Makes the proof, checks it and writes it.
///
/// # Errors
///
/// If the log does not have the record, no checkpoint covers it yet, or record and tree do not belong together.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let record = args.id.find(&args.log)?.stored;
    let dir = TileDir::new(args.log.directory.join(TREE));
    let key = verifying_key(None, &args.log.directory)?;
    let note = dir.read_checkpoint()?;
    let note = note.context("the log has no checkpoint: its tree is missing")?;
    let checkpoint = Checkpoint::open(&note, &key)?;
    let (leaf, hashes) = verify::prove(&dir, checkpoint.size, record.index)?;
    if leaf != TreeHash::leaf(&record.bytes) {
        bail!(
            "record {} is not the one in the tree: see `callgate audit verify`",
            record.index
        );
    }
    let proof = InclusionProof {
        entry: (!args.without_record).then(|| record.bytes.clone()),
        index: record.index,
        hashes,
        checkpoint: note,
    };
    proof
        .verify(Some(&record.bytes), &key)
        .context("the tree is damaged: see `callgate audit verify`")?;
    if let Some(path) = &args.record_to {
        file::replace(path, &record.bytes)?;
    }
    match &args.to {
        Some(path) => file::replace(path, proof.to_text())?,
        None => Output::verbatim(&proof.to_text())?,
    }
    Ok(Exit::Done)
}
