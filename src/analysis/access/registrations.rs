//! What a change of registrations changes that no cell shows: which checks a call gets before policies are asked, and what its
//! result brings to its session.
//!
//! Start at [`compare`]. A call with fewer targets, fewer required arguments or without a pin is held against less, and one of a
//! lower access level or without egress fits more delegations, tasks and policies, so that is wider; the opposite is narrower. What
//! else changes has to be looked at.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use callgate_engine::Snapshot;
use callgate_engine::cedar::{Entity, EntityUID, Literal, PartialValue, Value, ValueKind};
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::analysis::access::AccessReport;
use crate::analysis::access::diff::Direction;
use crate::domain::registration::RegisteredTools;
use crate::domain::request::target::argument::TargetArgumentForm;
use crate::domain::schema::{self, AccessLevel, TYPES};

/// What the resources and prompts of a server bring where its registration does not say, besides what its tools yield.
const UNSAID_YIELDS: &str = "untrusted";

/// A changed part of a registration.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RegistrationChange {
    /// The tool, `<server>/<tool>`, or the server.
    pub of: String,
    /// Which part: `access`, `status`, `egress`, `yields`, `target_arguments`, `file_contents`, `input_schema` or `digest`.
    pub part: &'static str,
    /// What that means for calls.
    pub direction: Direction,
    /// The part before; `null` if there was none.
    pub before: Json,
    /// The part now.
    pub after: Json,
}

/// Compares the registrations of the tools that both reports are about, and of their servers.
pub fn compare(
    (before, after): (&Snapshot, &Snapshot),
    (old, new): (&AccessReport, &AccessReport),
) -> Vec<RegistrationChange> {
    let mut changes = Vec::new();
    let tools = old.tools.iter().filter(|tool| new.tools.contains(tool));
    let tools: BTreeSet<&str> = tools.map(String::as_str).collect();
    let servers = tools.iter().filter_map(|tool| tool.split_once('/'));
    let servers: BTreeSet<&str> = servers.map(|(server, _)| server).collect();
    for server in servers {
        let uid = schema::entity_uid(&TYPES.server, server);
        if let Some((old, new)) = both(before, after, &uid) {
            let old = server_labels(before, server, &old);
            let new = server_labels(after, server, &new);
            let found = of_sets(&old, &new);
            let change = |direction| RegistrationChange {
                of: server.to_owned(),
                part: "yields",
                direction,
                before: json!(old),
                after: json!(new),
            };
            changes.extend(found.map(change));
        }
    }
    for tool in tools {
        let uid = schema::entity_uid(&TYPES.tool, tool);
        if let Some((old, new)) = both(before, after, &uid) {
            of_tool(tool, &old, &new, &mut changes);
        }
    }
    changes
}

/// What resources and prompts of a server yield: what it says, or `untrusted` and whatever its tools yield.
fn server_labels(snapshot: &Snapshot, server: &str, entity: &Entity) -> BTreeSet<String> {
    if entity.get("yields").is_some() {
        return texts(entity, "yields");
    }
    let tools = RegisteredTools::from_snapshot(snapshot);
    let of_tools = tools.labels_of_server(server).iter();
    let of_tools = of_tools.map(ToString::to_string);
    of_tools.chain([UNSAID_YIELDS.to_owned()]).collect()
}

fn both(before: &Snapshot, after: &Snapshot, uid: &EntityUID) -> Option<(Entity, Entity)> {
    Some((before.cedar_entity(uid)?, after.cedar_entity(uid)?))
}

fn of_tool(tool: &str, old: &Entity, new: &Entity, changes: &mut Vec<RegistrationChange>) {
    let mut add = |part, direction: Option<Direction>, before: Json, after: Json| {
        changes.extend(direction.map(|direction| RegistrationChange {
            of: tool.to_owned(),
            part,
            direction,
            before,
            after,
        }));
    };
    let access = |of: &Entity| texts(of, "access").pop_first();
    let (before, after) = (access(old), access(new));
    let level = |of: &Option<String>| of.as_deref().and_then(AccessLevel::from_name);
    let direction = of_order(level(&before), level(&after));
    add("access", direction, json!(before), json!(after));
    // What nobody has confirmed counts as admin.
    let (before, after) = (flag(old, "confirmed"), flag(new, "confirmed"));
    let status = |is_confirmed: bool| match is_confirmed {
        true => "confirmed",
        false => "proposed",
    };
    let direction = of_order(!before, !after);
    add(
        "status",
        direction,
        json!(status(before)),
        json!(status(after)),
    );
    let (before, after) = (flag(old, "egress"), flag(new, "egress"));
    add(
        "egress",
        of_order(before, after),
        json!(before),
        json!(after),
    );
    let (before, after) = (texts(old, "yields"), texts(new, "yields"));
    let direction = of_sets(&before, &after);
    add("yields", direction, json!(before), json!(after));
    let (before, after) = (targets(old), targets(new));
    let direction = of_targets(&before, &after);
    let list = |of: &BTreeMap<String, TargetArgumentForm>| json!(of.values().collect::<Vec<_>>());
    add("target_arguments", direction, list(&before), list(&after));
    let (before, after) = (texts(old, "file_contents"), texts(new, "file_contents"));
    // Less counts as a link in them.
    let direction = of_sets(&after, &before);
    add("file_contents", direction, json!(before), json!(after));
    let (before, after) = (schema_of(old), schema_of(new));
    let direction = of_schemas(&before, &after);
    add("input_schema", direction, before, after);
    let digest = |of: &Entity| texts(of, "digest").pop_first();
    let (before, after) = (digest(old), digest(new));
    let direction = match (&before, &after) {
        (before, after) if before == after => None,
        (Some(_), None) => Some(Direction::Wider),
        (None, _) => Some(Direction::Narrower),
        _ => Some(Direction::Different),
    };
    add("digest", direction, json!(before), json!(after));
}

/// Something taken away is wider, something added narrower.
fn of_sets<T: Ord>(before: &BTreeSet<T>, after: &BTreeSet<T>) -> Option<Direction> {
    match (after.is_subset(before), before.is_subset(after)) {
        (true, true) => None,
        (true, false) => Some(Direction::Wider),
        (false, true) => Some(Direction::Narrower),
        (false, false) => Some(Direction::Different),
    }
}

/// Less is wider, more narrower.
fn of_order<T: Ord>(before: T, after: T) -> Option<Direction> {
    match after.cmp(&before) {
        Ordering::Equal => None,
        Ordering::Less => Some(Direction::Wider),
        Ordering::Greater => Some(Direction::Narrower),
    }
}

/// A Boolean attribute.
fn flag(of: &Entity, name: &str) -> bool {
    let Some(PartialValue::Value(value)) = of.get(name) else {
        return false;
    };
    matches!(value.value_kind(), ValueKind::Lit(Literal::Bool(true)))
}

/// Several directions as one.
fn joined(each: impl Iterator<Item = Direction>) -> Option<Direction> {
    each.reduce(|one, other| match one == other {
        true => one,
        false => Direction::Different,
    })
}

fn of_targets(
    before: &BTreeMap<String, TargetArgumentForm>,
    after: &BTreeMap<String, TargetArgumentForm>,
) -> Option<Direction> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let each = names.into_iter().filter_map(|name| {
        let (old, new) = match (before.get(name), after.get(name)) {
            (Some(old), Some(new)) => (old, new),
            (Some(_), None) => return Some(Direction::Wider),
            (None, _) => return Some(Direction::Narrower),
        };
        let as_optional_as = TargetArgumentForm {
            optional: old.optional,
            ..new.clone()
        };
        match (old == new, as_optional_as == *old, new.optional) {
            (true, ..) => None,
            (_, true, true) => Some(Direction::Wider),
            (_, true, false) => Some(Direction::Narrower),
            _ => Some(Direction::Different),
        }
    });
    joined(each)
}

/// A schema requires arguments, and says of which type they are.
fn of_schemas(before: &Json, after: &Json) -> Option<Direction> {
    let (Json::Object(old), Json::Object(new)) = (before, after) else {
        return match (before.is_null(), after.is_null()) {
            _ if before == after => None,
            (false, true) => Some(Direction::Wider),
            (true, false) => Some(Direction::Narrower),
            _ => Some(Direction::Different),
        };
    };
    let required = |of: &Map<String, Json>| -> BTreeSet<String> {
        let names = of.get("required").and_then(Json::as_array);
        let names = names.into_iter().flatten().filter_map(Json::as_str);
        names.map(str::to_owned).collect()
    };
    let rest = |of: &Map<String, Json>| {
        let mut of = of.clone();
        of.remove("required");
        of
    };
    match rest(old) == rest(new) {
        true => of_sets(&required(old), &required(new)),
        false => Some(Direction::Different),
    }
}

fn targets(of: &Entity) -> BTreeMap<String, TargetArgumentForm> {
    let Some(PartialValue::Value(value)) = of.get("target_arguments") else {
        return BTreeMap::new();
    };
    let ValueKind::Set(set) = value.value_kind() else {
        return BTreeMap::new();
    };
    let forms = set.iter().filter_map(TargetArgumentForm::of_value);
    forms.map(|it| (it.argument.clone(), it)).collect()
}

fn schema_of(of: &Entity) -> Json {
    let text = texts(of, "input_schema").pop_first();
    text.map_or(Json::Null, |text| {
        serde_json::from_str(&text).unwrap_or(Json::String(text))
    })
}

/// The texts of an attribute.
fn texts(of: &Entity, name: &str) -> BTreeSet<String> {
    fn add(value: &Value, found: &mut BTreeSet<String>) {
        match value.value_kind() {
            ValueKind::Lit(Literal::String(text)) => {
                found.insert(text.to_string());
            }
            ValueKind::Set(set) => set.iter().for_each(|it| add(it, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    if let Some(PartialValue::Value(value)) = of.get(name) {
        add(value, &mut found);
    }
    found
}

#[cfg(test)]
#[path = "registrations_tests.rs"]
mod tests;
