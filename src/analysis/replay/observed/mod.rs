//! What to register and permit, so that calls that observe mode let through are allowed.
//!
//! Start at [`propose`]. Three passes over the observed calls that would have been denied: which tools are not
//! registered; with those registered, which permits are missing; with both, what is allowed. [`findings`] is one pass,
//! [`lack`] says what a denied request lacks, [`circumstances`] what a permit says of the calls beside principal, action and
//! resource, [`permits`] writes the permits, [`registrations`] the registrations, and [`proposal`] is what is told.
//!
//! A call that a forbid, an error or its evidence denies is left to a person. So is one for which a permit is there whose
//! conditions did not hold: another permit would take these out of force. Where policies ask for an approval, so does what is
//! proposed.
//!
//! Invariant: the directory with the proposal allows no call of another principal, action, resource, server or direction than
//! were observed, for another party, on another target, or without a circumstance that all of them had, that it did not allow
//! before. What is proposed compiles with the directory, and its effect is measured by replay before it is shown.

mod circumstances;
mod context_values;
mod findings;
mod lack;
mod permits;
mod proposal;
mod registrations;

use std::cell::Cell;
use std::collections::BTreeSet;

use smol_str::SmolStr;

use crate::analysis::replay::candidate::Candidate;
use crate::analysis::replay::observed::findings::{Findings, KeptBack, KeptBackBy, decide_again};
use crate::analysis::replay::observed::lack::Lacks;
use crate::analysis::replay::observed::permits::{OBSERVED, ProposedPermit, file_text};
use crate::analysis::replay::observed::registrations::{is_at, register, registration_of};
use crate::analysis::replay::{RecordedDecision, for_each};
use crate::bundle::diagnostic::BundleError;
use crate::bundle::files::{BundleFiles, FileKind, SourceFile};
use crate::bundle::{self, Bundle};
use crate::domain::schema;

pub use crate::analysis::replay::observed::proposal::{ByHand, Left, Proposal, ProposeError};

/// Proposes for the observed calls among the records; `records` is called for each pass.
///
/// # Errors
///
/// [`ProposeError`].
pub fn propose<I: Iterator<Item = RecordedDecision>>(
    files: &BundleFiles,
    records: impl Fn() -> Result<I, String>,
    workers: usize,
) -> Result<Proposal, ProposeError> {
    let (read, lists) = (Cell::new(0), Cell::new((0, 0)));
    let pass = |bundle: &Bundle| {
        read.set(0);
        lists.set((0, 0));
        let records = records().map_err(ProposeError::Records)?;
        let records = records.inspect(|record| {
            read.set(read.get() + 1);
            let (count, entries) = lists.get();
            if record.shown > 0 {
                lists.set((count + 1, entries + record.shown));
            }
        });
        Ok::<_, ProposeError>(pass(bundle, records, workers))
    };
    let bundle = bundle::compile(files)?;
    let first = pass(&bundle)?;
    let mut proposal = Proposal {
        would_be_denied: first.seen,
        allowed_already: first.allowed,
        is_strict: bundle.config.bundle.strict,
        ..Proposal::default()
    };
    let mut proposed = files.clone();
    let is_registered = |server: &SmolStr| bundle.snapshot.contains(&schema::server_uid(server));
    register(
        &first.unregistered,
        is_registered,
        &mut proposed,
        &mut proposal,
    )?;
    let second = pass(&bundle::compile_leniently(&proposed)?)?;
    permit(&second, &bundle, &mut proposed, &mut proposal)?;
    let with_all = bundle::compile_leniently(&proposed)?;
    let last = pass(&with_all)?;
    proposal.records = read.get();
    (proposal.lists, proposal.shown_entries) = lists.get();
    let left_out = first.unregistered.left_out + second.missing.left_out;
    if left_out > 0 {
        let what = "what was observed".to_owned();
        let why = "is more than one proposal holds: adopt it, and ask again".to_owned();
        proposal.by_hand.push(ByHand {
            what,
            why,
            count: left_out,
        });
    }
    let is_new = |it: &&_| !bundle.warnings.contains(it);
    let warnings = with_all.warnings.iter().filter(is_new);
    proposal.warnings = warnings.cloned().collect();
    tell(last, &with_all, files, &mut proposal);
    Ok(proposal)
}

/// Decides the observed calls among the records again.
fn pass(
    bundle: &Bundle,
    records: impl Iterator<Item = RecordedDecision>,
    workers: usize,
) -> Findings {
    let candidate = Candidate::from_bundle(bundle);
    let snapshot = candidate.snapshot();
    let lacks = Lacks::new(snapshot);
    let observed = records.filter(|record| !record.is_enforced && !record.is_allow);
    let mut found = Findings::default();
    for_each(
        &candidate,
        observed,
        workers,
        |replayer, record, own: &mut Findings| {
            own.add(decide_again(replayer, &lacks, record), snapshot);
        },
        &mut |_| {},
        &mut found,
        Findings::merge,
    );
    found
}

/// Adds the permits that are missing to the files. One that does not fit the directory, by its schema or its settings, is left to a person.
fn permit(
    found: &Findings,
    bundle: &Bundle,
    files: &mut BundleFiles,
    proposal: &mut Proposal,
) -> Result<(), ProposeError> {
    let first = last_number(bundle) as usize + 1;
    let (mut permits, too_many) = found.missing.to_permits(first);
    for resource in too_many {
        proposal.by_hand.push(ByHand {
            what: resource.to_string(),
            why: "was called with more targets than a permit should name: permit the place that they are in".to_owned(),
            count: 0,
        });
    }
    let name = policy_file(files);
    while !permits.is_empty() {
        let text = file_text(&permits);
        let mut with_permits = files.clone();
        with_permits.sources.push(SourceFile {
            kind: FileKind::Policies,
            file: name.as_str().into(),
            stem: OBSERVED.into(),
            text: text.as_str().into(),
            digest: None,
        });
        let Err(faults) = bundle::compile_leniently(&with_permits) else {
            proposal.permits = permits.len();
            proposal.policies = text;
            proposal.policy_file = name;
            *files = with_permits;
            return Ok(());
        };
        let unfit = take_unfit(&mut permits, &name, &faults);
        if unfit.is_empty() {
            return Err(faults.into());
        }
        proposal.by_hand.extend(unfit);
    }
    Ok(())
}

/// Takes away the permits that have faults.
fn take_unfit(permits: &mut Vec<ProposedPermit>, file: &str, faults: &BundleError) -> Vec<ByHand> {
    let text = file_text(permits);
    let mut unfit = Vec::new();
    let mut ids = BTreeSet::new();
    for fault in faults.iter().filter(|it| *it.file == *file) {
        let lines = fault.line.map_or(0, |line| line as usize);
        let up_to: String = text.split_inclusive('\n').take(lines).collect();
        // The last permit that begins up to there.
        let begun = |it: &&ProposedPermit| up_to.contains(&format!("@id(\"{}\")\n", it.id));
        if let Some(permit) = permits.iter().rev().find(begun)
            && ids.insert(permit.id.clone())
        {
            unfit.push(ByHand {
                what: format!("a permit that does not fit the directory:{}", permit.text),
                why: fault.message.clone(),
                count: 0,
            });
        }
    }
    permits.retain(|it| !ids.contains(&it.id));
    unfit
}

/// Tells what the directory with the proposal makes of the calls.
fn tell(last: Findings, bundle: &Bundle, files: &BundleFiles, proposal: &mut Proposal) {
    proposal.allowed = last.allowed;
    proposal.asks_for_approval = last.asks_for_approval;
    proposal.not_replayed = last.not_replayed.values().sum();
    proposal.unreadable = last.unreadable;
    proposal.why_not_replayed = last.not_replayed;
    proposal.left = last.left;
    for (id, count) in last.conditional {
        let entry = bundle.policies.iter().find(|it| it.id == *id);
        let place = entry.map_or_else(String::new, |it| format!(" ({}:{})", it.file, it.line));
        proposal.by_hand.push(ByHand {
            what: format!("policy `{id}`{place}"),
            why: "permits such calls in other circumstances: widen its conditions if these are meant too".to_owned(),
            count,
        });
    }
    for (entry, count) in last.entries {
        let KeptBack {
            server,
            tool,
            by,
            why,
        } = entry;
        let file = registration_of(files, &server);
        let file = file.map_or_else(|| "entities".to_owned(), |it| it.file.to_string());
        let tool = tool.map(|tool| format!("tool `{tool}` of server `{server}`"));
        let what = match (tool, by) {
            (None, _) => format!("server `{server}` ({file})"),
            (Some(tool), KeptBackBy::Entry) => format!("{tool} ({file})"),
            (Some(tool), KeptBackBy::Arguments) => {
                format!("calls of {tool}, or its registration ({file})")
            }
            (Some(tool), KeptBackBy::Call) => format!("calls of {tool}"),
        };
        proposal.by_hand.push(ByHand { what, why, count });
    }
}

/// The highest number of a policy of the directory that was proposed before.
fn last_number(bundle: &Bundle) -> u32 {
    let ids = bundle.policies.iter().map(|policy| policy.id.as_str());
    let numbers = ids.filter_map(|id| id.strip_prefix(OBSERVED)?.strip_prefix('.')?.parse().ok());
    numbers.max().unwrap_or(0)
}

/// A name for the file of permits that no file of the directory has.
fn policy_file(files: &BundleFiles) -> String {
    let is_free = |name: &String| files.sources.iter().all(|it| !is_at(&it.file, name));
    let others = (2..).map(|number| format!("{OBSERVED}-{number}.cedar"));
    let mut names = std::iter::once(format!("{OBSERVED}.cedar")).chain(others);
    names.find(is_free).unwrap_or_default()
}

#[cfg(test)]
mod narrow_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world_tests;
