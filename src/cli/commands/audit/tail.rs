//! `callgate audit tail`: the last records, and each as it is written.

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::time::Duration;

use crate::audit::find::FoundRecord;
use crate::audit::reader::LogError;
use crate::cli::commands::audit::args::{FilterArgs, LogArgs, warn_of};
use crate::cli::commands::audit::line::Paint;
use crate::cli::commands::audit::query::print;
use crate::cli::output::{Exit, Output};

/// How often the log is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// Shows the last records, and with -f each as it is written, until interrupted
///
/// For people on a terminal, in colours unless NO_COLOR is set; otherwise as JSON, one object a line.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    log: LogArgs,
    /// Goes on with what is written from now on
    #[arg(short, long)]
    follow: bool,
    /// How many records to begin with, at most 100,000
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    last: u32,
    /// How to answer
    #[arg(long, value_enum)]
    output: Option<Output>,
}

const EXAMPLES: &str = "\
Examples:
  callgate audit tail -f
  callgate audit tail -f --decision deny
  callgate audit tail -f --agent support | jq .reasons

Exit codes: 0 done or interrupted, 1 error.";

impl Args {
    /// How to answer.
    pub fn output(&self) -> Output {
        let is_terminal = std::io::stdout().is_terminal();
        self.output.unwrap_or(match is_terminal {
            true => Output::Text,
            false => Output::Json,
        })
    }
}

/// Prints the records.
///
/// # Errors
///
/// If the log cannot be read.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let (output, paint) = (args.output(), Paint::for_stdout());
    let filter = args.filter.filter();
    let mut kept: VecDeque<FoundRecord> = VecDeque::new();
    let mut next = args.log.open()?.first_index()?;
    // The log may begin after this was read: what follows is found by its index.
    let faults = {
        let reader = args.log.open()?;
        let mut faults = Vec::new();
        for item in reader.iter_from(next) {
            match item {
                Ok(stored) => {
                    next = stored.index + 1;
                    if let Ok(message) = stored.decode()
                        && filter.matches(&message)
                    {
                        kept.push_back(FoundRecord { stored, message });
                        if kept.len() as u64 > u64::from(args.last) {
                            kept.pop_front();
                        }
                    }
                }
                Err(error) => faults.push(error),
            }
        }
        faults
    };
    warn_of(&faults);
    for found in &kept {
        if !print(output, paint, found)? {
            return Ok(Exit::Done);
        }
    }
    let mut records = args.log.open()?.iter_from(next);
    while args.follow {
        match records.next() {
            Some(Ok(stored)) => {
                let message = stored.decode()?;
                if filter.matches(&message)
                    && !print(output, paint, &FoundRecord { stored, message })?
                {
                    break;
                }
            }
            Some(Err(error @ LogError::Io { .. })) => return Err(error.into()),
            Some(Err(error)) => warn_of(&[error]),
            None => std::thread::sleep(INTERVAL),
        }
    }
    Ok(Exit::Done)
}
