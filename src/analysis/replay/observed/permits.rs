//! The permits that are proposed: one for each principal, action and kind of call, with the circumstances that all of these
//! calls had.
//!
//! Start at [`MissingPermits::add`] and [`MissingPermits::to_permits`].
//!
//! Invariant: a permit names principal, action and resources one by one. Only of a tool that nobody has confirmed it names
//! the group `call_tool`, since its access level is not known yet.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use callgate_engine::cedar::{EntityType, EntityUID};

use crate::analysis::replay::observed::circumstances::{CallKind, Circumstances, is_among};
use crate::domain::schema::{self, TYPES};

/// What the names of proposed files of policies and the ids of proposed policies begin with.
pub(super) const OBSERVED: &str = "observed";
/// The most resources and targets that all permits name together.
const MAX_NAMED: usize = 10_000;
/// The most targets that one permit names.
const MAX_TARGETS: usize = 1_000;

/// The action of a permit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PermittedAction {
    /// `action in Mcp::Action::"call_tool"`, so that the permit stays when somebody confirms another access level.
    CallTool,
    /// `action == …`.
    Is(EntityUID),
}

/// Whose calls are permitted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PermitKey {
    /// The principal.
    pub principal: EntityUID,
    /// The action.
    pub action: PermittedAction,
    /// Resources of two types are in two permits.
    pub resource_type: EntityType,
    /// What else makes calls different ones.
    pub kind: CallKind,
}

/// Permits that are missing: by whose calls, the resources with the circumstances of their calls.
#[derive(Debug, Default)]
pub(super) struct MissingPermits {
    missing: BTreeMap<PermitKey, BTreeMap<EntityUID, Circumstances>>,
    /// Resources so far, and targets.
    named: usize,
    /// Calls for which there was no room.
    pub left_out: u64,
}

/// One proposed permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProposedPermit {
    /// Its id.
    pub id: String,
    /// Its text.
    pub text: String,
}

impl MissingPermits {
    /// Adds a request that lacks a permit.
    pub(super) fn add(
        &mut self,
        key: PermitKey,
        resource: EntityUID,
        circumstances: Circumstances,
    ) {
        if self.named >= MAX_NAMED {
            self.left_out += 1;
            return;
        }
        let resources = self.missing.entry(key).or_default();
        match resources.get_mut(&resource) {
            Some(known) => {
                let before = known.target_count();
                known.meet(circumstances);
                self.named += known.target_count() - before;
            }
            None => {
                self.named += 1 + circumstances.target_count();
                resources.insert(resource, circumstances);
            }
        }
    }

    /// Adds those of another worker.
    pub(super) fn merge(&mut self, other: Self) {
        self.left_out += other.left_out;
        for (key, resources) in other.missing {
            for (resource, circumstances) in resources {
                self.add(key.clone(), resource, circumstances);
            }
        }
    }

    /// The permits, numbered from `first` on, and the resources whose calls act upon more than a permit may name.
    pub(super) fn to_permits(&self, first: usize) -> (Vec<ProposedPermit>, Vec<&EntityUID>) {
        let (mut permits, mut too_many) = (Vec::new(), Vec::new());
        for (key, resources) in &self.missing {
            // Resources with the same circumstances are in one permit.
            let mut alike: BTreeMap<&Circumstances, BTreeSet<&EntityUID>> = BTreeMap::new();
            for (resource, circumstances) in resources {
                match circumstances.target_count() > MAX_TARGETS {
                    true => too_many.push(resource),
                    false => drop(alike.entry(circumstances).or_default().insert(resource)),
                }
            }
            let other = PermitKey {
                kind: key.kind.with_or_without_target(),
                ..key.clone()
            };
            // Of one that nobody has confirmed, what it acts upon may be known only after that, and is permitted only then.
            let is_of_tool = key.resource_type == TYPES.tool;
            let is_told = is_of_tool || self.missing.contains_key(&other);
            for (circumstances, resources) in alike {
                let id = format!("{OBSERVED}.{:04}", first + permits.len());
                let conditions = [key.kind.conditions(is_told), circumstances.conditions()];
                let text = key.text(&id, &resources, &conditions.concat(), circumstances);
                permits.push(ProposedPermit { id, text });
            }
        }
        (permits, too_many)
    }
}

impl PermitKey {
    fn text(
        &self,
        id: &str,
        resources: &BTreeSet<&EntityUID>,
        conditions: &[String],
        circumstances: &Circumstances,
    ) -> String {
        let principal = &self.principal;
        let action = match &self.action {
            PermittedAction::CallTool => format!("in {}", schema::action_uid("call_tool")),
            PermittedAction::Is(action) => format!("== {action}"),
        };
        let named = is_among(resources.iter().copied(), "resource");
        let (scope, list) = match resources.len() {
            1 => (named, None),
            _ => ("resource".to_owned(), Some(named)),
        };
        let mut text = String::from("\n");
        if let Some(place) = circumstances.common_place() {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "// All of these targets are in {place}.");
        }
        let _ = write!(
            text,
            "@id(\"{id}\")\npermit (\n  principal == {principal},\n  action {action},\n  {scope}\n)"
        );
        for condition in list.iter().chain(conditions) {
            let _ = match condition.contains('\n') {
                true => write!(text, "\nwhen {{\n  {condition}\n}}"),
                false => write!(text, "\nwhen {{ {condition} }}"),
            };
        }
        text.push_str(";\n");
        text
    }
}

/// The text of the file of permits; empty without any.
pub(super) fn file_text(permits: &[ProposedPermit]) -> String {
    if permits.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "// Proposed from calls that were observed and would have been denied for lack of a permit.\n\
         // Whoever observed them did not judge them: read each one before it goes into service.\n",
    );
    text.extend(permits.iter().map(|it| it.text.as_str()));
    text
}

#[cfg(test)]
#[path = "permits_tests.rs"]
mod tests;
