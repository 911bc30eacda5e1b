//! What comes out differently: grouped by direction, reason and policies, with counts and examples.

use std::collections::BTreeMap;

use serde::Serialize;
use smol_str::SmolStr;

use crate::analysis::replay::candidate::{Candidate, Obstacle, ReplayedAnswer};
use crate::analysis::replay::entries::ReplayedEntry;
pub use crate::analysis::replay::outcome::OutcomeKey;
use crate::analysis::replay::outcome::parties;
use crate::analysis::replay::{RecordedDecision, Replayed};
use crate::audit::capsule_content::{Capsule, CapsuleRequest};
use crate::domain::request::operation::OperationKind;

/// Examples in each group.
const EXAMPLES: usize = 3;
/// Parties and things that a group lists; the most frequent ones.
const LISTED: usize = 10;

/// The result of a replay.
#[derive(Debug, Clone, Serialize)]
pub struct ReplayReport {
    /// The digest of the candidate, `sha256:<hex>`.
    pub candidate: String,
    /// Records that were read.
    pub records: u64,
    /// Records of which the decisions were made again.
    pub replayed: u64,
    /// Lists and searches among them. Below, each of their entries counts in their place.
    pub lists: u64,
    /// The entries of these lists, and the candidates of these searches.
    pub entries: u64,
    /// Those with the same decision for the same reason.
    pub same: u64,
    /// Those with the same decision for another reason.
    pub other_reason: u64,
    /// Those with the other decision.
    pub flipped: u64,
    /// Those with the same decision that holds less: without an obligation, or a deny that is only observed.
    pub weakened: u64,
    /// Those with the same decision that holds more.
    pub strengthened: u64,
    /// Those made with the candidate itself.
    pub same_bundle: u64,
    /// Records that were not replayed, by why.
    pub not_replayed: NotReplayed,
    /// The flips, the largest group first.
    pub flips: Vec<FlipGroup>,
    /// What is weakened, in the same way.
    pub weakenings: Vec<FlipGroup>,
    /// What is strengthened, in the same way.
    pub strengthenings: Vec<FlipGroup>,
}

/// Records that were not replayed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NotReplayed {
    /// Their capsule is gone, or none was written.
    pub no_capsule: u64,
    /// They are about lists and searches, and have none: it would have been too large, or it was not written then.
    pub lists: u64,
    /// They were denied without an evaluation: stale, overloaded, store unavailable, failed.
    pub not_evaluated: u64,
    /// Their capsule lacks what the candidate reads, by what it is.
    pub incomplete: BTreeMap<String, u64>,
    /// Their capsule is damaged or missing, or they could not be decided.
    pub failed: u64,
    /// Those of `failed` whose capsule does not open: there is no key, it was encrypted under another one, or it is damaged.
    pub sealed: u64,
}

/// Answers that change in one direction for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FlipGroup {
    /// As it was decided.
    pub was: OutcomeKey,
    /// As the candidate decides.
    pub becomes: OutcomeKey,
    /// How many.
    pub count: u64,
    /// Who acts and for whom, with counts, the most frequent first.
    pub parties: Vec<(String, u64)>,
    /// How many parties there are.
    pub parties_total: usize,
    /// What was called, with counts, the most frequent first.
    pub operations: Vec<(String, u64)>,
    /// How many operations there are.
    pub operations_total: usize,
    /// Ids of decisions, the earliest in the log.
    pub examples: Vec<String>,
}

/// Counts under construction.
#[derive(Debug, Default)]
pub(in crate::analysis::replay) struct Tally {
    records: u64,
    replayed: u64,
    lists: u64,
    entries: u64,
    same: u64,
    other_reason: u64,
    same_bundle: BTreeMap<SmolStr, u64>,
    not_replayed: NotReplayed,
    groups: BTreeMap<(OutcomeKey, OutcomeKey), Group>,
}

/// How an answer differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Flip,
    Weaker,
    Stronger,
    OtherReason,
}

impl Kind {
    fn of(was: &OutcomeKey, becomes: &OutcomeKey) -> Self {
        match () {
            () if was.decision != becomes.decision => Self::Flip,
            () if becomes.is_weaker_than(was) => Self::Weaker,
            () if was.is_weaker_than(becomes) => Self::Stronger,
            () => Self::OtherReason,
        }
    }
}

#[derive(Debug, Default)]
struct Group {
    count: u64,
    parties: BTreeMap<String, u64>,
    operations: BTreeMap<String, u64>,
    /// By their place in the log.
    examples: BTreeMap<u64, String>,
}

impl Tally {
    /// Counts one record.
    pub(in crate::analysis::replay) fn add(&mut self, record: &RecordedDecision, result: Replayed) {
        self.records += 1;
        let out = &mut self.not_replayed;
        match result {
            Replayed::Answer(capsule, answer) => {
                self.count(&capsule);
                self.compare(record, &capsule, &answer);
            }
            Replayed::Entries(capsule, entries) => {
                self.count(&capsule);
                self.lists += 1;
                self.entries += entries.len() as u64;
                for entry in entries {
                    self.compare_entry(record, entry);
                }
            }
            Replayed::NotEvaluated => out.not_evaluated += 1,
            Replayed::Gone => out.no_capsule += 1,
            Replayed::List => out.lists += 1,
            Replayed::Obstacle(Obstacle::Sealed(_)) => {
                out.failed += 1;
                out.sealed += 1;
            }
            Replayed::Obstacle(Obstacle::Capsule(_) | Obstacle::Lost | Obstacle::Failed) => {
                out.failed += 1;
            }
            Replayed::Obstacle(why) => *out.incomplete.entry(why.to_string()).or_default() += 1,
        }
    }

    fn count(&mut self, capsule: &Capsule) {
        self.replayed += 1;
        let digest = capsule.policy_set_digest.clone();
        *self.same_bundle.entry(digest).or_default() += 1;
    }

    /// Compares the decision on one request.
    fn compare(&mut self, record: &RecordedDecision, capsule: &Capsule, answer: &ReplayedAnswer) {
        let was = OutcomeKey::recorded(record);
        let is_enforced = answer.is_enforced.unwrap_or(record.is_enforced);
        let becomes = OutcomeKey::of_verdict(&answer.verdict, is_enforced);
        // What flips is shown with what there is.
        let was = match was.decision == becomes.decision {
            true => was.completed(record.cut, &becomes),
            false => was,
        };
        if was == becomes {
            self.same += 1;
        } else if Kind::of(&was, &becomes) == Kind::OtherReason {
            self.other_reason += 1;
        } else {
            let about = (parties(capsule), operation(capsule));
            self.change(record, (was, becomes), about);
        }
    }

    /// Compares the decision on an entry of a list or a search.
    fn compare_entry(&mut self, record: &RecordedDecision, entry: ReplayedEntry) {
        if entry.is_same() {
            self.same += 1;
        } else if entry.was.decision == entry.becomes.decision {
            self.other_reason += 1;
        } else {
            let about = (entry.parties, entry.operation);
            self.change(record, (entry.was, entry.becomes), about);
        }
    }

    fn change(
        &mut self,
        record: &RecordedDecision,
        change: (OutcomeKey, OutcomeKey),
        (parties, operation): (String, String),
    ) {
        let group = self.groups.entry(change).or_default();
        group.count += 1;
        *group.parties.entry(parties).or_default() += 1;
        *group.operations.entry(operation).or_default() += 1;
        group
            .examples
            .insert(record.index, record.decision_id.clone());
        if group.examples.len() > EXAMPLES {
            group.examples.pop_last();
        }
    }

    /// Adds the counts of another worker.
    pub(in crate::analysis::replay) fn merge(&mut self, other: Self) {
        self.records += other.records;
        self.replayed += other.replayed;
        self.lists += other.lists;
        self.entries += other.entries;
        self.same += other.same;
        self.other_reason += other.other_reason;
        add_counts(&mut self.same_bundle, other.same_bundle);
        let out = &mut self.not_replayed;
        out.no_capsule += other.not_replayed.no_capsule;
        out.lists += other.not_replayed.lists;
        out.not_evaluated += other.not_replayed.not_evaluated;
        out.failed += other.not_replayed.failed;
        out.sealed += other.not_replayed.sealed;
        add_counts(&mut out.incomplete, other.not_replayed.incomplete);
        for (key, group) in other.groups {
            let own = self.groups.entry(key).or_default();
            own.count += group.count;
            add_counts(&mut own.parties, group.parties);
            add_counts(&mut own.operations, group.operations);
            own.examples.extend(group.examples);
            while own.examples.len() > EXAMPLES {
                own.examples.pop_last();
            }
        }
    }

    /// The report.
    pub(in crate::analysis::replay) fn into_report(self, candidate: &Candidate) -> ReplayReport {
        let mut groups: Vec<FlipGroup> = self.groups.into_iter().map(FlipGroup::from).collect();
        // Groups come ordered by their keys, and a stable sort keeps that among equals.
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        let mut of = |kind: Kind| -> Vec<FlipGroup> {
            groups
                .extract_if(.., |it| Kind::of(&it.was, &it.becomes) == kind)
                .collect()
        };
        let (flips, weakenings) = (of(Kind::Flip), of(Kind::Weaker));
        let strengthenings = of(Kind::Stronger);
        let count = |of: &[FlipGroup]| of.iter().map(|group| group.count).sum();
        ReplayReport {
            candidate: candidate.digest().to_owned(),
            records: self.records,
            replayed: self.replayed,
            lists: self.lists,
            entries: self.entries,
            same: self.same,
            other_reason: self.other_reason,
            flipped: count(&flips),
            weakened: count(&weakenings),
            strengthened: count(&strengthenings),
            same_bundle: *self.same_bundle.get(candidate.digest()).unwrap_or(&0),
            not_replayed: self.not_replayed,
            flips,
            weakenings,
            strengthenings,
        }
    }
}

impl From<((OutcomeKey, OutcomeKey), Group)> for FlipGroup {
    fn from(((was, becomes), group): ((OutcomeKey, OutcomeKey), Group)) -> Self {
        Self {
            was,
            becomes,
            count: group.count,
            parties_total: group.parties.len(),
            parties: most_frequent(group.parties),
            operations_total: group.operations.len(),
            operations: most_frequent(group.operations),
            examples: group.examples.into_values().collect(),
        }
    }
}

fn add_counts<K: Ord>(all: &mut BTreeMap<K, u64>, more: BTreeMap<K, u64>) {
    for (key, count) in more {
        *all.entry(key).or_default() += count;
    }
}

fn most_frequent(counts: BTreeMap<String, u64>) -> Vec<(String, u64)> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.truncate(LISTED);
    counts
}

/// What was called: the method with its tool, prompt or resource, or Cedar's action and resource.
pub(in crate::analysis::replay) fn operation(capsule: &Capsule) -> String {
    let call = match &capsule.request {
        CapsuleRequest::Cedar(request) => {
            return format!("{} on {}", request.action, request.resource);
        }
        CapsuleRequest::Call(call, _) | CapsuleRequest::List(call, ..) => call,
        CapsuleRequest::Search(_) => return "search".to_owned(),
    };
    let (method, server) = (call.operation.kind.method(), &call.operation.server);
    match &call.operation.kind {
        OperationKind::CallTool(tool) => format!("{method} {server}/{}", tool.tool),
        OperationKind::GetPrompt { name, .. } | OperationKind::OnPrompt { name, .. } => {
            format!("{method} {server}/{name}")
        }
        // A method of connection management is not kept.
        OperationKind::Connect { .. } => format!("connect {server}"),
        OperationKind::List(_)
        | OperationKind::OnResource { .. }
        | OperationKind::Sample(_)
        | OperationKind::ElicitForm { .. }
        | OperationKind::ElicitUrl { .. }
        | OperationKind::OnClient(_) => format!("{method} {server}"),
    }
}
