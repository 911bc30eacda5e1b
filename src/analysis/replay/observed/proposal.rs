//! What is proposed, and what is said with it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::bundle::diagnostic::{BundleDiagnostic, BundleError};

/// Operations and messages listed for each reason of what is left.
pub(super) const LISTED: usize = 10;

/// A proposal.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Proposal {
    /// Decisions that were read.
    pub records: u64,
    /// Observed calls that would have been denied when they were made.
    pub would_be_denied: u64,
    /// Observed lists that showed entries which would have been hidden, of which nothing is proposed.
    pub lists: u64,
    /// These entries.
    pub shown_entries: u64,
    /// Those of the calls that the directory as it is would allow.
    pub allowed_already: u64,
    /// Those that the directory with the proposal allows.
    pub allowed: u64,
    /// Those for which the directory with the proposal asks for an approval.
    pub asks_for_approval: u64,
    /// Those that could not be replayed.
    pub not_replayed: u64,
    /// Those of them whose capsule is damaged or missing, or does not open.
    pub unreadable: u64,
    /// Why not, with counts.
    pub why_not_replayed: BTreeMap<String, u64>,
    /// The files to register tools with, by their name in the directory.
    pub registrations: BTreeMap<String, String>,
    /// How many tools they add.
    pub tools: usize,
    /// The permits, as Cedar text; empty if none is needed.
    pub policies: String,
    /// The name of their file: one that the directory does not have.
    pub policy_file: String,
    /// How many permits.
    pub permits: usize,
    /// What is left to a person, by the code of the reason.
    pub left: BTreeMap<String, Left>,
    /// What is there and would have to be changed by hand.
    pub by_hand: Vec<ByHand>,
    /// What `callgate check` would warn about in the directory with the proposal, and not without.
    pub warnings: Vec<BundleDiagnostic>,
    /// Whether warnings are faults by the configuration of the directory (`bundle.strict`).
    pub is_strict: bool,
}

/// Calls that the proposal does not allow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Left {
    /// How many.
    pub count: u64,
    /// What was called, with counts, the first by name.
    pub operations: BTreeMap<String, u64>,
    /// Why, with counts, the first by text.
    pub why: BTreeMap<String, u64>,
}

/// Something that is there, and keeps calls from being allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ByHand {
    /// What it is and where: ``policy `notes.read` (policies/notes.cedar:3)``.
    pub what: String,
    /// What about it.
    pub why: String,
    /// How many calls.
    pub count: u64,
}

/// Why there is no proposal.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// The records cannot be read.
    #[error("{0}")]
    Records(String),
    /// The proposal does not compile with the directory.
    #[error("the proposal does not fit the directory")]
    Bundle(BundleError),
    /// A registration does not serialize.
    #[error("a registration cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

impl From<BundleError> for ProposeError {
    fn from(faults: BundleError) -> Self {
        Self::Bundle(faults)
    }
}

impl Left {
    /// Counts one call.
    pub(super) fn add(&mut self, operation: String, why: &str) {
        self.count += 1;
        count_listed(&mut self.operations, operation, 1);
        count_listed(&mut self.why, why.to_owned(), 1);
    }

    /// Adds the calls of another worker.
    pub(super) fn merge(&mut self, other: Self) {
        self.count += other.count;
        for (operation, count) in other.operations {
            count_listed(&mut self.operations, operation, count);
        }
        for (why, count) in other.why {
            count_listed(&mut self.why, why, count);
        }
    }
}

/// Counts what is listed already, or for what there is room.
fn count_listed(counts: &mut BTreeMap<String, u64>, of: String, count: u64) {
    if counts.len() < LISTED || counts.contains_key(&of) {
        *counts.entry(of).or_default() += count;
    }
}
