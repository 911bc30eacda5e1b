//! `callgate replay`: makes recorded decisions again with a directory.
//!
//! Start at [`run`]; `proposal` is `--observed`.

mod proposal;

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write as _};
use std::num::NonZero;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use smol_str::SmolStr;

use crate::analysis::replay::candidate::Candidate;
use crate::analysis::replay::log::LogSource;
use crate::analysis::replay::replay;
use crate::analysis::replay::report::{FlipGroup, OutcomeKey, ReplayReport};
use crate::bundle;
use crate::bundle::files;
use crate::cli::commands::replay::proposal::{ProposalArgs, propose};
use crate::cli::log_place::LogPlace;
use crate::cli::output::{Exit, Output, note};
use crate::cli::render::{count, printable};
use crate::config::Config;

/// How often the progress bar moves.
const REDRAW_EVERY: Duration = Duration::from_millis(200);
/// Characters of the progress bar.
const BAR: usize = 30;

/// Makes recorded decisions again with a directory, and says which come out differently
///
/// Reads the decision log, whose capsules hold what each decision was made from: the call, the caller, the time, what
/// had happened, delegations, tasks, approvals, stops and entities that were put over the API. Policies, schema,
/// registrations, entities and the mapping of claims are those of the directory. The directory that decided flips
/// nothing. A record without its capsule, or without a fact that a policy reads, is counted and not guessed.
///
/// With `--observed`, it proposes what to register and permit for calls that observe mode let through.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The directory to decide with
    #[arg(default_value = "./policies")]
    pub dir: PathBuf,
    /// Read the configuration from this file rather than from `callgate.toml` in the directory
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The decision log, in place of the one that the configuration says
    #[arg(long, value_name = "DIRECTORY")]
    pub log: Option<PathBuf>,
    /// The key of the capsules, in place of the one that the configuration says
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Only decisions from this time on: a time in UTC such as `2030-01-31T15:00:00Z`, or how long ago (`24h`, `7d`)
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub since: Option<SystemTime>,
    /// Only this share of them, above 0 and up to 1; the same ones each time
    #[arg(long, value_name = "SHARE", value_parser = share, default_value = "1")]
    pub sample: f64,
    /// Propose what to register and permit for what was observed and would have been denied
    #[arg(long)]
    pub observed: bool,
    /// Write what is proposed into this directory, which is made, must not exist yet, and may not be within a directory of policies
    #[arg(long, value_name = "DIRECTORY", requires = "observed")]
    pub out: Option<PathBuf>,
    /// How to answer
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

const EXAMPLES: &str = "\
Examples:
  callgate replay candidate --log /var/lib/callgate/audit --since 7d   what would change?
  callgate replay candidate --sample 0.1 --output json                 for a pipeline
  callgate replay --observed --out proposed                            from observing to enforcing

Exit codes: 0 nothing flips or is weakened, 1 error, or nothing could be replayed, or nothing flips and it is not known that nothing does: a part of the
log or a capsule could not be read, or lacks what the candidate reads. 3 the directory has faults, 4 some decision flips or is weakened:
it has an obligation less, or a deny is only observed.
With --observed: 0 done, 1 error, or none of the calls could be replayed, or a part of the log or a capsule could not be read, 3 the directory
has faults.";

fn moment(text: &str) -> Result<SystemTime, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        let since = SystemTime::now().checked_sub(ago);
        return since.ok_or_else(|| "is too long ago".to_owned());
    }
    humantime::parse_rfc3339_weak(text).map_err(|_| {
        "is neither a time in UTC such as `2030-01-31T15:00:00Z` nor a duration such as `24h`"
            .to_owned()
    })
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("is not a number above 0 and up to 1".to_owned()),
    }
}

/// Replays, and prints the report.
///
/// # Errors
///
/// If the log cannot be read or nothing in it can be replayed.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let files = match files::read_with(&args.dir, args.config.as_deref()) {
        Ok(files) => files,
        Err(faults) => return args.output.faults(&faults),
    };
    let bundle = match bundle::compile(&files) {
        Ok(bundle) => bundle,
        Err(faults) => return args.output.faults(&faults),
    };
    let source = args.source(&bundle.config)?;
    if !source.has_key() {
        note(
            "warning: there is no capsule key, so no decision can be replayed: name it with `--key`",
        );
    }
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    if args.observed {
        let args = ProposalArgs {
            dir: &args.dir,
            out: args.out.as_deref(),
            output: args.output,
        };
        return propose(&args, &files, &source, workers);
    }
    let candidate = Candidate::from_bundle(&bundle);
    let records = source.decisions().map_err(anyhow::Error::msg)?;
    let mut progress = ProgressBar::new(&source);
    let begun = Instant::now();
    let report = replay(&candidate, records, workers, |done| progress.show(done));
    progress.clear();
    let took = begun.elapsed();
    let dir = args.dir.display().to_string();
    let shown = ShownReplay {
        dir: &dir,
        report: &report,
        unreadable: source.faults(),
        took_ms: took.as_millis(),
    };
    args.output.answer(&shown, &shown)?;
    if report.replayed == 0 {
        note("error: no decision could be replayed");
        return Ok(Exit::Error);
    }
    Ok(outcome_of(&report, source.faults()))
}

/// The exit code of a report, with a note if it is not known that nothing flips.
fn outcome_of(report: &ReplayReport, faults: u64) -> Exit {
    if report.flipped > 0 || report.weakened > 0 {
        return Exit::Flips;
    }
    let out = &report.not_replayed;
    let incomplete = out.incomplete.values().sum::<u64>();
    if faults > 0 {
        note(
            "error: nothing of what was read flips, but not all of the log could be read: see `callgate audit verify`",
        );
    }
    if out.failed > 0 {
        note("error: nothing of what was replayed flips, but not all capsules could be read");
    }
    if incomplete > 0 {
        note(
            "error: nothing of what was replayed flips, but some capsules lack what the candidate reads",
        );
    }
    match faults + out.failed + incomplete {
        0 => Exit::Done,
        _ => Exit::Error,
    }
}

impl Args {
    fn source(&self, config: &Config) -> anyhow::Result<LogSource> {
        let place = LogPlace {
            directory: &self.dir,
            config: self.config.as_deref(),
            log: self.log.as_deref(),
            key: self.key.as_deref(),
        };
        let source = place.source(config)?;
        Ok(source.since(self.since).sample(self.sample))
    }
}

/// A bar on stderr, if that is a terminal.
struct ProgressBar {
    total: u64,
    begun: Instant,
    drawn: Option<Instant>,
    is_terminal: bool,
}

impl ProgressBar {
    fn new(source: &LogSource) -> Self {
        let is_terminal = io::stderr().is_terminal();
        Self {
            total: if is_terminal { source.estimate() } else { 0 },
            begun: Instant::now(),
            drawn: None,
            is_terminal,
        }
    }

    fn show(&mut self, done: u64) {
        let is_due = self.drawn.is_none_or(|at| at.elapsed() >= REDRAW_EVERY);
        if !self.is_terminal || !is_due {
            return;
        }
        self.drawn = Some(Instant::now());
        let rate = done as f64 / self.begun.elapsed().as_secs_f64().max(0.001);
        let line = bar(done, self.total, rate);
        // A progress bar that cannot be drawn is no error.
        let _ = write!(io::stderr(), "\r{line}");
        let _ = io::stderr().flush();
    }

    fn clear(&self) {
        if self.drawn.is_some() {
            let _ = write!(io::stderr(), "\r{:80}\r", "");
        }
    }
}

/// `[##########                    ]  33%  12000 of about 36000, 51000/s`.
fn bar(done: u64, total: u64, rate: f64) -> String {
    let share = (done as f64 / total.max(1) as f64).min(1.0);
    let full = (share * BAR as f64) as usize;
    let (full, empty) = ("#".repeat(full), " ".repeat(BAR - full));
    let percent = (share * 100.0) as u64;
    format!("[{full}{empty}] {percent:3}%  {done} of about {total}, {rate:.0}/s ")
}

#[derive(Serialize)]
struct ShownReplay<'a> {
    #[serde(skip)]
    dir: &'a str,
    #[serde(flatten)]
    report: &'a ReplayReport,
    /// Places in the log that could not be read.
    unreadable: u64,
    took_ms: u128,
}

impl fmt::Display for ShownReplay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report;
        let decisions = count(
            usize::try_from(report.records).unwrap_or(usize::MAX),
            "decision",
        );
        let dir = printable(self.dir);
        let read = match self.unreadable {
            0 => "",
            _ => " that could be read",
        };
        writeln!(
            f,
            "replayed {} of {decisions}{read} with {dir}",
            report.replayed
        )?;
        if report.lists > 0 {
            writeln!(
                f,
                "  lists and searches among them  {}, with {}, each counted below",
                report.lists,
                count(report.entries, "entry")
            )?;
        }
        writeln!(f, "  same       {}", report.same)?;
        if report.other_reason > 0 {
            writeln!(f, "  same, for another reason  {}", report.other_reason)?;
        }
        writeln!(f, "  flipped    {}", report.flipped)?;
        for (number, how) in [
            (report.weakened, "weakened   "),
            (report.strengthened, "strengthened "),
        ] {
            if number > 0 {
                writeln!(f, "  {how}{number}")?;
            }
        }
        let left = report.records - report.replayed;
        if left > 0 {
            writeln!(f, "  not replayed  {left}")?;
            self.not_replayed(f)?;
        }
        if self.unreadable > 0 {
            writeln!(
                f,
                "  {} of the log could not be read",
                places(self.unreadable)
            )?;
        }
        writeln!(f, "  candidate  {}", report.candidate)?;
        let weakened = report.weakenings.iter().chain(&report.strengthenings);
        for group in report.flips.iter().chain(weakened) {
            write!(f, "\n{}", GroupText(group))?;
        }
        Ok(())
    }
}

impl ShownReplay<'_> {
    fn not_replayed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let out = &self.report.not_replayed;
        for (number, why) in [
            (out.no_capsule, "have no capsule"),
            (out.lists, "are lists and searches without a capsule"),
            (out.not_evaluated, "were denied without an evaluation"),
            (out.failed, "have a capsule that cannot be read or decided"),
            (
                out.sealed,
                "of these do not open: there is no key, another one encrypted them, or they are damaged",
            ),
        ] {
            if number > 0 {
                writeln!(f, "    {number} {why}")?;
            }
        }
        for (why, number) in &out.incomplete {
            writeln!(f, "    {number}: {}", printable(why))?;
        }
        Ok(())
    }
}

fn places(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "place")
}

struct GroupText<'a>(&'a FlipGroup);

impl fmt::Display for GroupText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = self.0;
        let (was, becomes) = (outcome(&group.was), outcome(&group.becomes));
        writeln!(f, "{} x  {was}  ->  {becomes}", group.count)?;
        let listed = |list: &[(String, u64)], total: usize| {
            let each = list
                .iter()
                .map(|(name, count)| format!("{} {count}", printable(name)));
            let mut text = each.collect::<Vec<_>>().join(", ");
            if total > list.len() {
                // Writing to a text cannot fail.
                let _ = write!(text, ", and {} more", total - list.len());
            }
            text
        };
        writeln!(
            f,
            "  for       {}",
            listed(&group.parties, group.parties_total)
        )?;
        writeln!(
            f,
            "  calls     {}",
            listed(&group.operations, group.operations_total)
        )?;
        writeln!(f, "  examples  {}", group.examples.join(", "))
    }
}

/// `deny FORBIDDEN by no_leaks`.
fn outcome(key: &OutcomeKey) -> String {
    let code = key.code.iter().map(SmolStr::as_str);
    let mut words: Vec<String> = std::iter::once(key.decision)
        .chain(code)
        .map(Into::into)
        .collect();
    if !key.policies.is_empty() {
        let policies: Vec<String> = key.policies.iter().map(|id| printable(id)).collect();
        words.push(format!("by {}", policies.join(", ")));
    }
    if !key.obligations.is_empty() {
        let obligations: Vec<String> = key.obligations.iter().map(|id| printable(id)).collect();
        words.push(format!("with {}", obligations.join(", ")));
    }
    if !key.enforced {
        words.push("(only observed)".to_owned());
    }
    words.join(" ")
}

#[cfg(test)]
mod tests;
