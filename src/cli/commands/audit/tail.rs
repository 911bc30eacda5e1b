//! `callgate audit tail`: the last records, and each as it is written.

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::time::Duration;

use crate::audit::filter::Filter;
use crate::audit::find::{self, FoundRecord};
use crate::audit::log_files::{self, SEGMENTS};
use crate::audit::outcome_check::OutcomeCheck;
use crate::audit::reader::LogError;
use crate::cli::commands::audit::args::{FilterArgs, LogArgs, warn_of};
use crate::cli::commands::audit::line::Paint;
use crate::cli::commands::audit::query::print;
use crate::cli::output::{Exit, Output};

/// The most faults of a file that are told.
const MAX_FAULTS: usize = 100;
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

Exit codes: 0 done, 1 error; an interrupted -f ends by the signal.";

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
    args.filter.check(&args.log)?;
    let filter = args.filter.filter();
    let mut last = last(&args.log, &filter, args.last as usize)?;
    let mut check = last.check(&args.log)?;
    warn_of(&last.faults);
    for found in &last.kept {
        if !print(output, paint, found)? {
            return Ok(Exit::Done);
        }
    }
    if !args.follow {
        return Ok(Exit::Done);
    }
    let mut records = args.log.open()?.iter_from(last.next);
    loop {
        match records.next() {
            Some(Ok(stored)) => {
                let message = match stored.decode() {
                    Ok(message) => message,
                    Err(error) => {
                        warn_of(&[error.into()]);
                        continue;
                    }
                };
                let doubts = check.note(&message);
                let found = FoundRecord {
                    doubts,
                    ..FoundRecord::new(stored, message)
                };
                if filter.matches(&found.message) && !print(output, paint, &found)? {
                    return Ok(Exit::Done);
                }
            }
            Some(Err(error @ LogError::Io { .. })) => return Err(error.into()),
            Some(Err(error)) => warn_of(&[error]),
            None => std::thread::sleep(INTERVAL),
        }
    }
}

/// The end of a log.
#[derive(Default)]
struct Last {
    /// The last records that match, in order.
    kept: VecDeque<FoundRecord>,
    /// Where reading began.
    start: u64,
    /// The index after the last record.
    next: u64,
    /// What could not be read.
    faults: Vec<LogError>,
}

impl Last {
    /// Holds the outcomes among the last records against the decisions before them, from where reading began. What comes
    /// after them can be held against the same decisions.
    fn check(&mut self, log: &LogArgs) -> anyhow::Result<OutcomeCheck> {
        let mut check = OutcomeCheck::default();
        for item in log.open()?.iter_from(self.start) {
            let stored = match item {
                Ok(stored) if stored.index >= self.next => break,
                Ok(stored) => stored,
                Err(error @ LogError::Io { .. }) => return Err(error.into()),
                // It is among the faults.
                Err(_) => continue,
            };
            let Ok(message) = stored.decode() else {
                continue;
            };
            let doubts = check.note(&message);
            let place = self
                .kept
                .binary_search_by_key(&stored.index, |it| it.stored.index);
            if let Some(found) = place.ok().and_then(|at| self.kept.get_mut(at)) {
                found.doubts = doubts;
            }
        }
        Ok(check)
    }
}

/// Reads a log from its end, file by file, until enough records match.
fn last(log: &LogArgs, filter: &Filter, count: usize) -> anyhow::Result<Last> {
    let reader = log.open()?;
    let mut last = Last::default();
    let mut end = u64::MAX;
    let files = log_files::list(&log.directory.join(SEGMENTS))?;
    for file in files.iter().rev() {
        let mut found = VecDeque::new();
        last.next = last.next.max(file.first);
        last.start = file.first;
        for item in reader.iter_from(file.first) {
            match item {
                Ok(stored) if stored.index >= end => break,
                Ok(stored) => {
                    last.next = last.next.max(stored.index + 1);
                    match stored.decode() {
                        Ok(message) if filter.matches(&message) => {
                            found.push_back(FoundRecord::new(stored, message));
                            if found.len() + last.kept.len() > count {
                                found.pop_front();
                            }
                        }
                        Ok(_) => {}
                        Err(error) => last.faults.push(error.into()),
                    }
                }
                Err(error) => {
                    last.faults.push(error);
                    if last.faults.len() >= MAX_FAULTS {
                        break;
                    }
                }
            }
        }
        end = file.first;
        found.append(&mut last.kept);
        last.kept = found;
        if last.kept.len() >= count {
            return Ok(last);
        }
    }
    last.faults.extend(find::missing_before(&log.directory)?);
    Ok(last)
}
