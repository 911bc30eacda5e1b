//! `callgate fmt`: formats policies.

use std::path::PathBuf;

use serde_json::json;

use crate::analysis::format::{self, Formatted};
use crate::cli::file;
use crate::cli::output::{Exit, Output};
use crate::cli::render::{count, printable};

/// Formats policies as Cedar's formatter does
///
/// Every `*.cedar` of a directory, `proofs/` included, or one file. Comments stay. A file is replaced only if the formatted
/// text holds the same policies.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A directory or a file
    #[arg(default_value = "./policies")]
    pub path: PathBuf,
    /// Change nothing, and fail if something is not formatted
    #[arg(long)]
    pub check: bool,
    /// Characters of a line
    #[arg(long, value_name = "CHARS", default_value_t = 80, value_parser = clap::value_parser!(u16).range(20..=400))]
    pub line_width: u16,
    /// Spaces of one step of indentation
    #[arg(long, value_name = "SPACES", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=16))]
    pub indent: u8,
    /// How to answer
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

const EXAMPLES: &str = "\
Examples:
  callgate fmt                    format ./policies
  callgate fmt --check            for a pipeline: is everything formatted?

Exit codes: 0 formatted, 1 error, 2 with `--check`: something is not formatted, 3 a file has faults.";

/// Formats, and prints which files were changed.
///
/// # Errors
///
/// If a file cannot be written.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let style = format::Style {
        line_width: args.line_width.into(),
        indent: args.indent.into(),
    };
    let files = match format::format(&args.path, style) {
        Ok(files) => files,
        Err(faults) => return args.output.faults(&faults),
    };
    let changed: Vec<&Formatted> = files.iter().filter(|it| it.is_changed()).collect();
    let mut text = String::new();
    for it in &changed {
        if !args.check {
            file::replace(&it.path, &it.text)?;
        }
        let said = match args.check {
            true => "not formatted",
            false => "formatted",
        };
        let path = it.path.display().to_string();
        text.push_str(&format!("{said}  {}\n", printable(&path)));
    }
    let all = count(files.len(), "file");
    text.push_str(&match args.check {
        true => format!("{} of {all} not formatted\n", changed.len()),
        false => format!("{} of {all} changed\n", changed.len()),
    });
    let names: Vec<String> = changed
        .iter()
        .map(|it| it.path.display().to_string())
        .collect();
    let json = json!({"files": files.len(), "changed": names, "written": !args.check});
    args.output.answer(&text, &json)?;
    Ok(match args.check && !changed.is_empty() {
        true => Exit::Denied,
        false => Exit::Done,
    })
}
