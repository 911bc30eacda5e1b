//! Holds what was told of a call's end against what was decided. Whoever may report outcomes can report one for any id:
//! the server does not remember its decisions, but the log does.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use uuid::Uuid;

use crate::audit::json;
use crate::audit::record::Record;
use crate::audit::record::schema::outcome::Status;
use crate::audit::record::schema::{Decision, Outcome, Verdict, notice, record};
use crate::audit::record_time::{self, SLACK};

/// The most decisions that are remembered, the last ones: outcomes follow soon.
const REMEMBERED: usize = 65_536;

/// Why an outcome does not fit its decision. The text completes "…, although ".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutcomeDoubt {
    /// The call was denied, so there was nothing to become of it.
    Denied,
    /// It was a dry run, and no call.
    DryRun,
    /// Another caller had asked for the decision.
    OtherCaller(String),
    /// The caller who asked for it told something else of the same call before.
    Contradiction(String),
    /// No decision has its id, although it would have been read.
    Unknown,
}

impl OutcomeDoubt {
    /// The word in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::DryRun => "dry_run",
            Self::OtherCaller(_) => "other_caller",
            Self::Contradiction(_) => "contradiction",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for OutcomeDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => f.write_str("the call was denied"),
            Self::DryRun => f.write_str("it was a dry run"),
            Self::OtherCaller(asked) => write!(f, "{asked} had asked for it"),
            Self::Contradiction(before) => write!(f, "{before} was told before"),
            Self::Unknown => f.write_str("the log has no such decision"),
        }
    }
}

/// The decisions of a log as far as it was read, and what the caller who asked for each told of it first.
#[derive(Debug, Default)]
pub struct OutcomeCheck {
    decisions: HashMap<DecisionId, Known>,
    order: VecDeque<DecisionId>,
    /// From when on all decisions are known, in nanoseconds since 1970; `None` before the first record.
    known_since: Option<u64>,
}

type DecisionId = [u8; 16];

#[derive(Debug)]
struct Known {
    caller: String,
    /// Why no call came of it.
    no_call: Option<OutcomeDoubt>,
    first: Option<Told>,
}

/// What an outcome says.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    status: Status,
    size: u64,
    labels: Vec<String>,
}

impl OutcomeCheck {
    /// Takes the next record of the log, and says what is odd about it: nothing, if it is no outcome, or its decision is
    /// not among those that were read.
    pub fn note(&mut self, record: &Record) -> Vec<OutcomeDoubt> {
        let is_first = record.index == Some(0);
        let since = if is_first { 0 } else { record.at };
        self.known_since.get_or_insert(since);
        match &record.kind {
            Some(record::Kind::Decision(it)) => self.remember(it),
            Some(record::Kind::Outcome(it)) => return self.doubts(it),
            // Decisions before it, which may not have been read, are of times up to there.
            Some(record::Kind::Notice(it)) if it.kind() == notice::Kind::ClockSetBack => {
                let partly = self.known_since.filter(|since| *since > 0);
                self.known_since = partly.map(|since| since.max(it.since)).or(self.known_since);
            }
            _ => {}
        }
        Vec::new()
    }

    fn remember(&mut self, it: &Decision) {
        let Ok(id) = DecisionId::try_from(&it.id[..]) else {
            return;
        };
        let no_call = match it.verdict() {
            _ if it.is_dry_run => Some(OutcomeDoubt::DryRun),
            Verdict::Deny if !it.is_observed => Some(OutcomeDoubt::Denied),
            _ => None,
        };
        let known = Known {
            caller: it.caller.clone(),
            no_call,
            first: None,
        };
        if self.decisions.insert(id, known).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.decisions.remove(&oldest);
            self.known_since = self
                .known_since
                .max(record_time::of_id(Uuid::from_bytes(oldest)));
        }
    }

    fn doubts(&mut self, it: &Outcome) -> Vec<OutcomeDoubt> {
        let Some(known) = self.decisions.get_mut(&it.decision_id[..]) else {
            return match self.would_be_known(&it.decision_id) {
                true => vec![OutcomeDoubt::Unknown],
                false => Vec::new(),
            };
        };
        // What another caller tells is held against nothing, and nothing against it.
        if known.caller != it.caller {
            let other = OutcomeDoubt::OtherCaller(known.caller.clone());
            return known.no_call.clone().into_iter().chain([other]).collect();
        }
        let told = Told {
            status: it.status(),
            size: it.size,
            labels: it.labels.clone(),
        };
        let before = known.first.as_ref().filter(|before| **before != told);
        let contradiction = before.map(|before| {
            let status = json::status(before.status);
            OutcomeDoubt::Contradiction(match before.status == told.status {
                true => format!("another {status}"),
                false => status,
            })
        });
        known.first.get_or_insert(told);
        known
            .no_call
            .clone()
            .into_iter()
            .chain(contradiction)
            .collect()
    }

    /// Whether a decision with this id would be among those that were read: the time in it lies well after the first of them.
    fn would_be_known(&self, id: &[u8]) -> bool {
        let at = Uuid::from_slice(id).ok().and_then(record_time::of_id);
        let since = self.known_since.map(|it| match it {
            0 => 0,
            since => since.saturating_add(SLACK),
        });
        since.zip(at).is_some_and(|(since, at)| at >= since)
    }
}

#[cfg(test)]
#[path = "outcome_check_tests.rs"]
mod tests;
