//! `callgate schema`: the whole schema of a directory in one file.

use std::path::PathBuf;

use crate::analysis::schema;
use crate::cli::file;
use crate::cli::output::{Exit, Output};

/// Prints the whole schema of a directory: Callgate's, the directory's, and an action for each typed tool
///
/// Cedar's editor extension and command line take it as the schema of the policies. Registrations change it, so write it
/// anew after an import. Do not put it into the directory itself: Callgate brings its own schema along.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The directory
    #[arg(default_value = "./policies")]
    pub dir: PathBuf,
    /// Write it to this file rather than to standard output (`-` is refused)
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Cedar's JSON form rather than its own syntax
    #[arg(long)]
    pub json: bool,
}

const EXAMPLES: &str = "\
Examples:
  callgate schema --out .vscode/callgate.cedarschema   for Cedar's editor extension
  callgate schema policies --json                      Cedar's JSON form

In the editor's settings: \"cedar.schemaFile\": \".vscode/callgate.cedarschema\".

Exit codes: 0 done, 1 error, 3 the directory has faults.";

/// Prints or writes the schema.
///
/// # Errors
///
/// If it cannot be written.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let whole = match schema::whole(&args.dir) {
        Ok(whole) => whole,
        Err(faults) => return Output::Text.faults(&faults),
    };
    let text = match args.json {
        true => whole.json,
        false => whole.cedar,
    };
    match &args.out {
        Some(path) => file::replace(path, &text)?,
        None => Output::Text.answer(&text, &"")?,
    }
    Ok(Exit::Done)
}
