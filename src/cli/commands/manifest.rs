//! `callgate manifest`: writes `manifest.sha256`, so that an incomplete copy is never loaded.

use std::path::PathBuf;

use crate::analysis::manifest;
use crate::bundle::files::manifest::NAME;
use crate::cli::file;
use crate::cli::output::{Exit, Output};
use crate::cli::render::{Details, count};

/// Writes `manifest.sha256` into a directory: what it has to hold, file by file
///
/// A directory with a manifest is loaded only while every file in it is listed and as listed, and nothing listed is
/// missing. So a copy that is half done is a fault, and the last good directory stays in service. The manifest has the
/// form of `sha256sum`; write it anew after every change.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The directory
    #[arg(default_value = "./policies")]
    pub dir: PathBuf,
    /// How to answer
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

const EXAMPLES: &str = "\
Examples:
  callgate manifest policies               write policies/manifest.sha256
  callgate check policies                  is everything as listed?

Exit codes: 0 written, 1 error, 3 the directory has faults.";

/// Writes the manifest and prints a summary.
///
/// # Errors
///
/// If the manifest cannot be written.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let made = match manifest::build(&args.dir) {
        Ok(made) => made,
        Err(faults) => return args.output.faults(&faults),
    };
    let path = args.dir.join(NAME);
    file::replace(&path, &made.text)?;
    let listed = count(made.files, "file");
    let text = Details::new(format!("{}: {listed} listed", path.display()));
    args.output.answer(&text, &made)?;
    Ok(Exit::Done)
}
