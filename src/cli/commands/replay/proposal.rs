//! `callgate replay --observed`: proposes what to register and permit, and writes it.
//!
//! Start at [`propose`]. Nothing is written where it would be in force at once.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::analysis::replay::log::LogSource;
use crate::analysis::replay::observed::{self, Proposal, ProposeError};
use crate::bundle::files::BundleFiles;
use crate::cli::file;
use crate::cli::output::{Exit, Output, note};
use crate::cli::render::{count, printable};
use crate::config::Config;

/// What is asked for.
pub(super) struct ProposalArgs<'a> {
    /// The directory to decide with.
    pub dir: &'a Path,
    /// Where to write the proposal.
    pub out: Option<&'a Path>,
    /// How to answer.
    pub output: Output,
}

/// Proposes, prints, and writes.
///
/// # Errors
///
/// If `--out` may not be written to, or the log cannot be read.
pub(super) fn propose(
    args: &ProposalArgs<'_>,
    files: &BundleFiles,
    source: &LogSource,
    workers: usize,
) -> anyhow::Result<Exit> {
    args.out.map_or(Ok(()), |out| check_out(out, args.dir))?;
    let proposal = match observed::propose(files, || source.decisions(), workers) {
        Ok(proposal) => proposal,
        Err(ProposeError::Bundle(faults)) => return args.output.faults(&faults),
        Err(error) => return Err(error.into()),
    };
    if let Some(out) = args.out {
        write(out, &proposal).with_context(|| format!("`{}`", out.display()))?;
    }
    let out = args.out.map(|out| out.display().to_string());
    let shown = ShownProposal {
        proposal: &proposal,
        out,
    };
    args.output.answer(&shown, &proposal)?;
    Ok(outcome_of(&proposal, source.faults()))
}

/// The exit code of a proposal, with a note if it is not known that it is all there is to propose.
fn outcome_of(proposal: &Proposal, faults: u64) -> Exit {
    let calls = proposal.would_be_denied;
    if calls > 0 && proposal.not_replayed == calls {
        note("error: none of the observed calls could be replayed");
        return Exit::Error;
    }
    if faults > 0 {
        note(
            "error: not all of the log could be read, so there may be more to propose: see `callgate audit verify`",
        );
    }
    if proposal.unreadable > 0 {
        note("error: not all capsules could be read, so there may be more to propose");
    }
    match faults + proposal.unreadable {
        0 => Exit::Done,
        _ => Exit::Error,
    }
}

/// Refuses a place for a proposal where it would be in force at once, or where something is.
fn check_out(out: &Path, dir: &Path) -> anyhow::Result<()> {
    file::check_name(out)?;
    if out.symlink_metadata().is_ok() {
        // What is there may have been edited since, or be in service.
        anyhow::bail!(
            "`{}` is there already: name a directory that is not",
            out.display()
        );
    }
    let place = file::resolve(out).with_context(|| format!("--out `{}`", out.display()))?;
    let is_bundle = |above: &&Path| above.join(Config::FILE_NAME).exists();
    let dir = dir.canonicalize().ok();
    let within = dir.as_deref().filter(|dir| place.starts_with(dir));
    let above = place.ancestors().skip(1);
    if let Some(served) = within.or_else(|| above.into_iter().find(is_bundle)) {
        anyhow::bail!(
            "--out `{}` is in the directory of policies `{}`, where it would be in force at once: name a directory elsewhere",
            out.display(),
            served.display()
        );
    }
    Ok(())
}

fn write(out: &Path, proposal: &Proposal) -> anyhow::Result<()> {
    fs::create_dir_all(out.join("tools"))?;
    for (name, text) in &proposal.registrations {
        let path = out.join(name);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, text)?;
    }
    if !proposal.policies.is_empty() {
        fs::write(out.join(&proposal.policy_file), &proposal.policies)?;
    }
    Ok(())
}

struct ShownProposal<'a> {
    proposal: &'a Proposal,
    out: Option<String>,
}

impl fmt::Display for ShownProposal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proposal = self.proposal;
        writeln!(
            f,
            "observed calls that would have been denied  {}",
            proposal.would_be_denied
        )?;
        if proposal.lists > 0 {
            let entries = count(proposal.shown_entries, "entry");
            writeln!(
                f,
                "observed lists that would have been shorter  {}, by {}: permit what they show that clients need",
                proposal.lists, entries
            )?;
        }
        writeln!(
            f,
            "  allowed by the directory as it is  {}",
            proposal.allowed_already
        )?;
        writeln!(
            f,
            "  allowed with what is proposed      {}",
            proposal.allowed
        )?;
        if proposal.asks_for_approval > 0 {
            writeln!(
                f,
                "  asked for an approval              {}",
                proposal.asks_for_approval
            )?;
        }
        if proposal.not_replayed > 0 {
            writeln!(
                f,
                "  not replayed                       {}",
                proposal.not_replayed
            )?;
            for (why, number) in &proposal.why_not_replayed {
                writeln!(f, "    {number}: {}", printable(why))?;
            }
        }
        self.left(f)?;
        self.by_hand(f)?;
        writeln!(
            f,
            "proposed: {} in {}, {}",
            count(proposal.tools, "tool"),
            count(proposal.registrations.len(), "registration"),
            count(proposal.permits, "permit"),
        )?;
        if let Some(why) = why_nothing(proposal) {
            return writeln!(f, "nothing is proposed: {why}");
        }
        self.warnings(f)?;
        match &self.out {
            Some(out) => writeln!(f, "written to {}", printable(out)),
            None => {
                for (name, text) in &proposal.registrations {
                    write!(f, "\n# {name}\n{text}")?;
                }
                match proposal.policies.is_empty() {
                    true => Ok(()),
                    false => write!(f, "\n# {}\n{}", proposal.policy_file, proposal.policies),
                }
            }
        }
    }
}

impl ShownProposal<'_> {
    fn left(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.proposal.left.values();
        let number: u64 = all.map(|left| left.count).sum();
        writeln!(f, "  left to you                        {number}")?;
        for (code, left) in &self.proposal.left {
            writeln!(f, "    {code} {}", left.count)?;
            for (why, number) in &left.why {
                writeln!(f, "      {number}: {}", printable(why))?;
            }
            for (operation, number) in &left.operations {
                writeln!(f, "      {} {number}", printable(operation))?;
            }
        }
        Ok(())
    }

    fn by_hand(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.proposal.by_hand.is_empty() {
            return Ok(());
        }
        writeln!(f, "to be changed by hand, if these calls are meant")?;
        for it in &self.proposal.by_hand {
            write!(f, "  {}: {}", printable(&it.what), printable(&it.why))?;
            match it.count {
                0 => writeln!(f)?,
                number => writeln!(f, " ({number})")?,
            }
        }
        Ok(())
    }

    fn warnings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proposal = self.proposal;
        if proposal.warnings.is_empty() {
            return Ok(());
        }
        let what = match proposal.is_strict {
            true => "faults with `[bundle] strict`, to be settled before it is served",
            false => "warnings of `callgate check` with what is proposed",
        };
        writeln!(f, "{what}")?;
        for warning in &proposal.warnings {
            let (file, line) = (printable(&warning.file), warning.line.unwrap_or(1));
            writeln!(f, "  {file}:{line}: {}", printable(&warning.message))?;
        }
        Ok(())
    }
}

/// Why a proposal has nothing.
fn why_nothing(proposal: &Proposal) -> Option<&'static str> {
    if proposal.tools + proposal.permits + proposal.registrations.len() > 0 {
        return None;
    }
    Some(match proposal {
        Proposal { records: 0, .. } => "the decision log has no decision",
        Proposal {
            would_be_denied: 0, ..
        } => "no decision in the log was observed and would have been denied",
        it if it.not_replayed == it.would_be_denied => "none of these calls could be replayed",
        it if it.allowed == it.would_be_denied => "all of these calls are allowed already",
        it if it.allowed + it.asks_for_approval == it.would_be_denied => {
            "what is not allowed already needs an approval, which the policies ask for"
        }
        _ => "no permit and no registration alone would allow what is left",
    })
}

#[cfg(test)]
#[path = "proposal_tests.rs"]
mod tests;
