//! `callgate audit query`: the records that meet some conditions.

use std::collections::VecDeque;

use crate::audit::find::FoundRecord;
use crate::cli::commands::audit::args::{FilterArgs, LogArgs, warn_of};
use crate::cli::commands::audit::line::Paint;
use crate::cli::output::{Exit, Output, note};

/// Lists the records that meet all conditions, oldest first
///
/// One line a record. With `--output json` each is a JSON object on a line of its own.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    log: LogArgs,
    /// The most records, counted from the first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Only the last ones, at most 100,000
    #[arg(long, value_name = "N", conflicts_with = "limit", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    last: Option<u32>,
    /// How to answer
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

const EXAMPLES: &str = "\
Examples:
  callgate audit query --agent support --decision deny --since 24h
  callgate audit query --policy test.hostile --control SOC2-CC6.1 --last 20
  callgate audit query --shadow --since 7d
  callgate audit query --user sam --tool github/create_issue --output json

Exit codes: 0 done, 1 error.";

/// Prints the records.
///
/// # Errors
///
/// If the log cannot be read.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let paint = Paint::for_stdout();
    let mut kept: VecDeque<FoundRecord> = VecDeque::new();
    let mut count = 0_u64;
    let faults = args.filter.each(&args.log, |found| {
        if args.limit == Some(count) {
            return Ok(false);
        }
        count += 1;
        match args.last {
            Some(last) => {
                if kept.len() as u64 >= u64::from(last) {
                    kept.pop_front();
                }
                kept.push_back(found);
                Ok(true)
            }
            None => print(args.output, paint, &found),
        }
    })?;
    for found in &kept {
        if !print(args.output, paint, found)? {
            break;
        }
    }
    if count == 0 {
        note(format_args!(
            "nothing on record meets these conditions: {}",
            args.filter.why_nothing()
        ));
    }
    warn_of(&faults);
    Ok(Exit::Done)
}

/// Prints a record. Returns `false` once the reader has closed the pipe.
///
/// # Errors
///
/// If standard output cannot be written.
pub fn print(output: Output, paint: Paint, found: &FoundRecord) -> anyhow::Result<bool> {
    match output {
        Output::Text => output.painted(&paint.found(found)),
        Output::Json => output.next(&"", &found.json()),
    }
}
