//! What differs between the answers of two directories where both decide the same: obligations, and what is only observed.
//!
//! Start at [`compare`]. Policies are compared by their ids and by what they say, not by what they mean.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use callgate_engine::PolicyInfo;
use callgate_engine::obligation::Obligation;
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::analysis::access::diff::Direction;
use crate::bundle::Bundle;
use crate::config::observe::ObserveConfig;

/// A part of answers before and after.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnswerChange {
    /// The policy; `None` for the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// `obligations` or `mode` of the policy, or `observe` of the configuration.
    pub part: &'static str,
    /// What holds less is wider, what holds more is narrower.
    pub direction: Direction,
    /// What it was; `null` if the policy was not there. An obligation is its id, or, where both sides have one of that id and
    /// these differ, `{"id", "type", "properties"}`.
    pub before: Json,
    /// What it is now, in the same form; `null` if the policy is not there.
    pub after: Json,
}

/// The enforced policies of a bundle that has them, by id.
type Policies<'b> = BTreeMap<&'b str, &'b PolicyInfo>;

/// Compares the answers of two bundles. Modes of policies are compared if either observes anything: elsewhere every forbid
/// is enforced.
pub fn compare(before: &Bundle, after: &Bundle) -> Vec<AnswerChange> {
    let (old, new) = (&before.config.observe, &after.config.observe);
    let mut changes = Vec::from_iter(of_observing(old, new));
    let is_observed = !old.is_off() || !new.is_off();
    let (before, after) = (enforced(before), enforced(after));
    let ids: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
    for id in ids {
        let (old, new) = (before.get(id).copied(), after.get(id).copied());
        changes.extend(of_obligations(id, old, new));
        if is_observed {
            changes.extend(of_mode(id, old, new));
        }
    }
    changes
}

fn enforced(bundle: &Bundle) -> Policies<'_> {
    let policies = bundle.snapshot.policies().map(|it| it.info);
    let enforced = policies.filter(|it| !it.is_shadow);
    enforced.map(|it| (it.id.as_str(), &**it)).collect()
}

fn of_observing(old: &ObserveConfig, new: &ObserveConfig) -> Option<AnswerChange> {
    let direction = match (old.is_within(new), new.is_within(old)) {
        (true, true) => return None,
        (true, false) => Direction::Wider,
        (false, true) => Direction::Narrower,
        (false, false) => Direction::Different,
    };
    Some(AnswerChange {
        policy: None,
        part: "observe",
        direction,
        before: json!(old.summary()),
        after: json!(new.summary()),
    })
}

fn of_obligations(
    id: &str,
    old: Option<&PolicyInfo>,
    new: Option<&PolicyInfo>,
) -> Option<AnswerChange> {
    let obligations = |of: Option<&PolicyInfo>| of.map_or(&[][..], |it| &it.obligations).to_vec();
    let (before, after) = (obligations(old), obligations(new));
    let lost = before.iter().any(|it| !after.contains(it));
    let gained = after.iter().any(|it| !before.contains(it));
    let direction = match (lost, gained, old.is_some() && new.is_some()) {
        (false, false, _) => return None,
        (true, false, true) => Direction::Wider,
        (false, true, true) => Direction::Narrower,
        // With the policy goes what it decides.
        _ => Direction::Different,
    };
    let shown = |of: Option<&PolicyInfo>, others: &[Arc<Obligation>]| {
        of.map_or(Json::Null, |it| {
            it.obligations.iter().map(|it| of_one(it, others)).collect()
        })
    };
    Some(AnswerChange {
        policy: Some(id.to_owned()),
        part: "obligations",
        direction,
        before: shown(old, &after),
        after: shown(new, &before),
    })
}

/// An obligation by its id; as a whole where the other side has another one with that id.
fn of_one(it: &Obligation, others: &[Arc<Obligation>]) -> Json {
    let is_another = |other: &Arc<Obligation>| other.id == it.id && **other != *it;
    match others.iter().any(is_another) {
        true => json!({ "id": it.id, "type": it.kind, "properties": it.written_properties() }),
        false => json!(it.id),
    }
}

fn of_mode(id: &str, old: Option<&PolicyInfo>, new: Option<&PolicyInfo>) -> Option<AnswerChange> {
    let is_held =
        |of: Option<&PolicyInfo>| of.is_some_and(|it| it.is_forbid && it.is_always_enforced);
    let direction = match (is_held(old), is_held(new)) {
        (true, false) => Direction::Wider,
        (false, true) => Direction::Narrower,
        _ => return None,
    };
    let mode = |of: Option<&PolicyInfo>| match (of, is_held(of)) {
        (None, _) => Json::Null,
        (Some(_), true) => json!("enforce"),
        (Some(_), false) => json!("observed"),
    };
    Some(AnswerChange {
        policy: Some(id.to_owned()),
        part: "mode",
        direction,
        before: mode(old),
        after: mode(new),
    })
}

#[cfg(test)]
#[path = "answer_changes_tests.rs"]
mod tests;
