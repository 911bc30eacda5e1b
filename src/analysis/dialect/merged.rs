//! What policies of cedar-for-agents tell apart and would be one here: namespaces, resources, and types of groups.
//!
//! There is one server, one type of users and one of groups. Policies about several of them would allow of one what they allow of
//! another, so they are imported one by one.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use crate::analysis::dialect::expression::{is_principal, single};

/// Checks that nothing would be merged.
///
/// # Errors
///
/// What would, and what to do.
pub fn check(policies: &[Json]) -> Result<(), String> {
    let mut named = Named::default();
    for policy in policies {
        named.policy(policy);
    }
    let several = |names: &BTreeSet<String>| (names.len() > 1).then(|| listed(names));
    let spaces = named.types.iter().map(|ty| match ty.rsplit_once("::") {
        Some((space, _)) => space.to_owned(),
        None => String::new(),
    });
    if let Some(all) = several(&spaces.collect()) {
        return Err(format!(
            "what they name is of several namespaces, {all}: import them one by one"
        ));
    }
    if let Some(all) = several(&named.resources).or_else(|| several(&named.resource_types)) {
        return Err(format!(
            "these policies are about several servers, {all}: put those about each into a file, and import each with its `--server`"
        ));
    }
    if let Some(all) = several(&named.groups) {
        return Err(format!(
            "groups are of several types, {all}: put the policies about each type into a file, and import each with its own `--group-prefix`"
        ));
    }
    Ok(())
}

fn listed(names: &BTreeSet<String>) -> String {
    let quoted = names.iter().map(|it| format!("`{it}`"));
    quoted.collect::<Vec<_>>().join(", ")
}

/// What the policies name.
#[derive(Default)]
struct Named {
    /// Types of any entities.
    types: BTreeSet<String>,
    /// Resources of scopes.
    resources: BTreeSet<String>,
    /// Types of resources of scopes.
    resource_types: BTreeSet<String>,
    /// Types of whatever principals are in, except principals.
    groups: BTreeSet<String>,
}

impl Named {
    fn policy(&mut self, policy: &Json) {
        types(policy, &mut self.types);
        let resource = &policy["resource"];
        let uid = &resource["entity"];
        if let (Some(ty), Some(id)) = (uid["type"].as_str(), uid["id"].as_str()) {
            self.resources.insert(format!("{ty}::{id:?}"));
            self.resource_types.insert(ty.to_owned());
        }
        if let Some(ty) = resource["entity_type"].as_str() {
            self.resource_types.insert(ty.to_owned());
        }
        let principal = &policy["principal"];
        if principal["op"] == "in" {
            self.group(&principal["entity"]);
        }
        self.group(&principal["in"]);
        self.condition(&policy["conditions"]);
    }

    fn condition(&mut self, expr: &Json) {
        if let Some(("in" | "is", operands)) = single(expr)
            && is_principal(&operands["left"])
        {
            self.group(&operands["right"]);
            self.group(&operands["in"]);
        }
        match expr {
            Json::Object(members) => members.values().for_each(|it| self.condition(it)),
            Json::Array(items) => items.iter().for_each(|it| self.condition(it)),
            _ => {}
        }
    }

    /// The types of groups in what a principal is in.
    fn group(&mut self, expr: &Json) {
        let mut found = BTreeSet::new();
        types(expr, &mut found);
        found.retain(|ty| principal_type(ty).is_none());
        self.groups.append(&mut found);
    }
}

/// All types of entities within.
fn types(json: &Json, found: &mut BTreeSet<String>) {
    match json {
        Json::Object(members) => {
            let text = |name: &str| members.get(name).and_then(Json::as_str);
            if let (Some(ty), Some(_)) = (text("type"), text("id")) {
                found.insert(ty.to_owned());
            }
            found.extend(text("entity_type").map(str::to_owned));
            members.values().for_each(|it| types(it, found));
        }
        Json::Array(items) => items.iter().for_each(|it| types(it, found)),
        _ => {}
    }
}

/// The type here of a type of principals: there are users and agents, and others are nobody here.
pub fn principal_type(ty: &str) -> Option<&'static str> {
    match ty.rsplit("::").next() {
        Some("User") => Some("Mcp::User"),
        Some("Agent") => Some("Mcp::Agent"),
        _ => None,
    }
}
