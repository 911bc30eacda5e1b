//! `callgate audit show`: one decision as a story.

use serde_json::json;
use uuid::Uuid;

use crate::audit::filter::{is_write_about_approval, is_write_about_delegation};
use crate::audit::find::{self, FoundRecord, SearchScope};
use crate::audit::json as records;
use crate::audit::outcome_check::{OutcomeCheck, OutcomeDoubt};
use crate::audit::reader::LogError;
use crate::audit::record::schema::{Decision, Stop, record};
use crate::audit::verify;
use crate::audit::verify::coverage::{self, Coverage};
use crate::cli::commands::audit::args::{LogArgs, RecordId, record_id, warn_of};
use crate::cli::commands::audit::story::{Damage, Story, stop_of};
use crate::cli::output::{Exit, Output, note};

/// Tells one decision as a story: the chain, each principal's verdict, what it used up, its outcome
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The id of the decision, or the index of a record of any kind
    #[arg(value_name = "ID", value_parser = record_id)]
    id: RecordId,
    #[command(flatten)]
    log: LogArgs,
    /// How to answer
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
}

const EXAMPLES: &str = "\
Examples:
  callgate audit show 0190a9c2-7d9b-7c51-8a64-3c5d8c1c9f11
  callgate audit show 17 --log /var/lib/callgate/audit --output json

Exit codes: 0 done, 1 error, 3 a record that is told is not the one that was signed.";

/// Finds what belongs together and prints it.
///
/// # Errors
///
/// If the log does not have the record, or cannot be read.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    // Before the log is read, which may grow meanwhile.
    let signed = verify::signed(&args.log.directory);
    let record = args.id.find(&args.log)?;
    let coverage = coverage::of(&args.log.directory, &record.stored);
    let mut found = Belonging::default();
    if let Some(record::Kind::Decision(decision)) = &record.message.kind {
        found.look_before(&args.log, &record, decision)?;
        found.look_after(&args.log, &record, decision, signed)?;
    }
    let forged = forged(&args.log, std::iter::once(&record).chain(found.records()));
    let faults = found.faults().map(ToString::to_string);
    let faults: Vec<_> = faults.chain(forged.iter().cloned()).collect();
    let json = json!({
        "record": records::record(&record.message),
        "checkpoint": { "coverage": coverage.word(), "size": coverage.size() },
        "parent": found.parent.as_ref().map(|it| records::record(&it.message)),
        "approvals": found.approvals.iter().map(FoundRecord::json).collect::<Vec<_>>(),
        "stops": found.stop.iter().map(FoundRecord::json).collect::<Vec<_>>(),
        "delegations": found.delegations.iter().map(FoundRecord::json).collect::<Vec<_>>(),
        "later": found.later.iter().map(FoundRecord::json).collect::<Vec<_>>(),
        "faults": faults,
    });
    let story = Story {
        record: &record,
        parent: found.parent.as_ref(),
        approvals: &found.approvals,
        delegations: &found.delegations,
        stop: found.stop.as_ref(),
        later: &found.later,
        damage: Damage {
            is_before: !found.faults_before.is_empty(),
            is_after: !found.faults_after.is_empty(),
        },
        coverage,
    };
    args.output.answer(&story.text(), &json)?;
    warn_of(found.faults());
    for fault in &forged {
        note(format_args!(
            "warning: {fault}; see `callgate audit verify`"
        ));
    }
    Ok(match forged.is_empty() {
        true => Exit::Done,
        false => Exit::Faults,
    })
}

/// Whether a record is a write that asked for a stop, at first or again under its key.
fn has_made(record: &FoundRecord, stop: &Stop) -> bool {
    matches!(&record.message.kind, Some(record::Kind::Write(it))
        if it.verb == "StopEntity"
            && ["done", "repeated"].contains(&it.outcome.as_str())
            && (&it.id, &it.actor, &it.stop_reason) == (&stop.entity, &stop.actor, &stop.reason))
}

/// Which of the records are not those that were signed, a sentence each.
fn forged<'r>(log: &LogArgs, records: impl Iterator<Item = &'r FoundRecord>) -> Vec<String> {
    let told = records.filter_map(|FoundRecord { stored, .. }| {
        let why = match coverage::of(&log.directory, stored) {
            Coverage::Other(_) => "is NOT the one that was signed: it was changed",
            Coverage::Unproven(_) => "is not proven by the tree, which is damaged",
            _ => return None,
        };
        Some(format!("record {} {why}", stored.index))
    });
    told.collect()
}

/// What belongs to a decision.
#[derive(Default)]
struct Belonging {
    parent: Option<FoundRecord>,
    approvals: Vec<FoundRecord>,
    delegations: Vec<FoundRecord>,
    /// Of a call that was denied for a stop, the write that made it, if it is in this log.
    stop: Option<FoundRecord>,
    later: Vec<FoundRecord>,
    /// What cannot be read before it, if something was looked for there, and after it.
    faults_before: Vec<LogError>,
    faults_after: Vec<LogError>,
}

impl Belonging {
    fn records(&self) -> impl Iterator<Item = &FoundRecord> {
        let before = self.approvals.iter().chain(&self.delegations);
        let before = self.parent.iter().chain(before).chain(&self.stop);
        before.chain(&self.later)
    }

    fn faults(&self) -> impl Iterator<Item = &LogError> {
        self.faults_before.iter().chain(&self.faults_after)
    }

    /// Finds the decision that it follows from, and the writes about approvals, delegations and what was stopped.
    fn look_before(
        &mut self,
        log: &LogArgs,
        record: &FoundRecord,
        decision: &Decision,
    ) -> anyhow::Result<()> {
        let parent = Uuid::from_slice(&decision.parent_decision_id).ok();
        if let Some(id) = parent {
            self.parent = find::decision(&log.directory, id, SearchScope::WholeLog)?;
        }
        let delegations = decision.chain.as_ref().map(|it| &it.delegation_ids[..]);
        let delegations = delegations.unwrap_or_default();
        let approvals = &decision.approval_ids;
        let stop = stop_of(decision);
        let ids = approvals.iter().chain(delegations);
        let ids = ids.chain(stop.map(|it| &it.entity));
        let ids: Vec<&[u8]> = ids.map(String::as_bytes).collect();
        if ids.is_empty() && (parent.is_none() || self.parent.is_some()) {
            return Ok(());
        }
        let read = find::each_naming(&log.open()?, 0..record.stored.index, &ids, |found| {
            if let Some(record::Kind::Write(it)) = &found.message.kind {
                if approvals.iter().any(|id| is_write_about_approval(it, id)) {
                    self.approvals.push(found);
                } else if (delegations.iter()).any(|id| is_write_about_delegation(it, id)) {
                    self.delegations.push(found);
                } else if stop.is_some_and(|stop| has_made(&found, stop)) {
                    self.stop = Some(found);
                }
            }
            true
        })?;
        self.faults_before
            .extend(find::missing_before(&log.directory)?);
        self.faults_before.extend(read.faults);
        Ok(())
    }

    /// Finds its outcomes, the decisions that follow from it, and the write about what was stopped if it was not there before: a
    /// stop is in force a moment before it is on record, and may be put on record later.
    fn look_after(
        &mut self,
        log: &LogArgs,
        record: &FoundRecord,
        decision: &Decision,
        signed: Option<u64>,
    ) -> anyhow::Result<()> {
        let Ok(id) = <[u8; 16]>::try_from(&decision.id[..]) else {
            return Ok(());
        };
        let mut check = OutcomeCheck::default();
        check.note(&record.message);
        let after = record.stored.index.saturating_add(1)..u64::MAX;
        let stop = stop_of(decision).filter(|_| self.stop.is_none());
        let ids = [&id[..]]
            .into_iter()
            .chain(stop.map(|it| it.entity.as_bytes()));
        let ids: Vec<&[u8]> = ids.collect();
        let read = find::each_naming(&log.open()?, after, &ids, |mut found| {
            match &found.message.kind {
                Some(record::Kind::Outcome(it)) if it.decision_id == id[..] => {
                    found.doubts = check.note(&found.message);
                    self.later.push(found);
                }
                Some(record::Kind::Decision(it)) if it.parent_decision_id == id[..] => {
                    if it.caller != decision.caller {
                        let asked = OutcomeDoubt::OtherCaller(decision.caller.clone());
                        found.doubts = vec![asked];
                    }
                    self.later.push(found);
                }
                _ if self.stop.is_none() && stop.is_some_and(|stop| has_made(&found, stop)) => {
                    self.stop = Some(found);
                }
                _ => {}
            }
            true
        })?;
        self.faults_after.extend(read.faults);
        self.faults_after.extend(find::cut_off(read.next, signed));
        Ok(())
    }
}
