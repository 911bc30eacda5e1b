//! Lints of tools and entities.

use std::collections::HashSet;

use callgate_engine::cedar::{Effect, ExprKind, Literal};
use serde_json::Value as Json;

use crate::analysis::lint::code::Code;
use crate::analysis::lint::policies::Found;
use crate::bundle::diagnostic::BundleDiagnostic;
use crate::bundle::files::{BundleFiles, FileKind, SourceFile};
use crate::bundle::parse::json::{self, Step};
use crate::bundle::parse::policies::Policies;
use crate::bundle::parse::registration::{ConfirmationStatus, Registration, ToolEntry};

/// The label of what has read a secret.
const SECRET: &str = "secret";

/// Lints of registered tools.
pub(super) fn find(
    policies: &Policies,
    registrations: &[(&SourceFile, Registration)],
) -> Vec<Found> {
    let (reads_secret, reads_egress) = forbids_read(policies);
    let mut found = Vec::new();
    for (source, registration) in registrations {
        for (name, tool) in &registration.tools {
            let path = [Step::Key("tools"), Step::Key(name)];
            let server = &registration.server.name;
            for code in of_tool(tool, reads_secret, reads_egress) {
                let said = format!("`{server}/{name}`: {}", code.title());
                let place = json::diagnostic_at(source.origin(), &path, said).narrow();
                found.push((code, place));
            }
        }
    }
    found
}

fn of_tool(tool: &ToolEntry, reads_secret: bool, reads_egress: bool) -> Vec<Code> {
    let is_confirmed = tool.status == ConfirmationStatus::Confirmed;
    let is_drifted = tool.previous_digest.is_some();
    let applies = [
        (Code::ToolDrifted, is_drifted),
        (Code::ToolUnconfirmed, !is_confirmed && !is_drifted),
        (Code::ToolUnpinned, is_confirmed && tool.digest.is_none()),
        (
            Code::SecretWithoutRule,
            !reads_secret && tool.yields.iter().any(|label| label == SECRET),
        ),
        (Code::EgressWithoutRule, !reads_egress && tool.egress),
    ];
    let applies = applies.into_iter().filter(|(_, applies)| *applies);
    applies.map(|(code, _)| code).collect()
}

/// Whether some forbid reads the label `secret`, and whether some forbid reads `egress`.
fn forbids_read(policies: &Policies) -> (bool, bool) {
    let (mut secret, mut egress) = (false, false);
    let forbids = policies.set.all_templates();
    for forbid in forbids.filter(|it| it.effect() == Effect::Forbid) {
        let condition = forbid.non_scope_constraints();
        for part in condition.into_iter().flat_map(|it| it.subexpressions()) {
            match part.expr_kind() {
                ExprKind::Lit(Literal::String(text)) => secret |= text == SECRET,
                ExprKind::GetAttr { attr, .. } => egress |= attr == "egress",
                _ => {}
            }
        }
    }
    (secret, egress)
}

/// Groups that are defined, and that no policy, entity, link or tool names.
pub(super) fn unused(files: &BundleFiles, policies: &Policies) -> Vec<Found> {
    let mut named: HashSet<String> = HashSet::new();
    for template in policies.set.all_templates() {
        for part in template.condition().subexpressions() {
            if let ExprKind::Lit(Literal::EntityUID(uid)) = part.expr_kind() {
                named.insert(uid.eid().as_ref().to_string());
            }
        }
    }
    let mut defined = Vec::new();
    for source in &files.sources {
        let kinds = [FileKind::Entities, FileKind::Links, FileKind::Registration];
        if !kinds.contains(&source.kind) {
            if source.kind == FileKind::Config {
                // Claims and callers are mapped to groups by name.
                named.extend(source.text.split('"').map(str::to_owned));
            }
            continue;
        }
        let Ok(value) = json::parse(source.origin()) else {
            continue;
        };
        match (&value, source.kind) {
            (Json::Array(list), FileKind::Entities) => {
                for (index, entity) in list.iter().enumerate() {
                    defined.extend(group(entity).map(|id| (source, index, id)));
                    for (key, value) in entity.as_object().into_iter().flatten() {
                        if key != "uid" {
                            texts(value, &mut named);
                        }
                    }
                }
            }
            _ => texts(&value, &mut named),
        }
    }
    let unused = defined.into_iter().filter(|(.., id)| !named.contains(id));
    unused
        .map(|(source, index, id)| {
            let said = format!("`Mcp::Group::\"{id}\"`: {}", Code::GroupUnused.title());
            let place: BundleDiagnostic =
                json::diagnostic_at(source.origin(), &[Step::Index(index)], said).narrow();
            (Code::GroupUnused, place)
        })
        .collect()
}

/// The id of an entity, if it is a group.
fn group(entity: &Json) -> Option<String> {
    let uid = entity.get("uid")?;
    let uid = uid.get("__entity").unwrap_or(uid);
    let is_group = uid.get("type").and_then(Json::as_str) == Some("Mcp::Group");
    let id = uid.get("id").and_then(Json::as_str)?;
    is_group.then(|| id.to_owned())
}

/// Every text in a value.
fn texts(value: &Json, named: &mut HashSet<String>) {
    match value {
        Json::String(text) => {
            named.insert(text.clone());
        }
        Json::Array(list) => list.iter().for_each(|it| texts(it, named)),
        Json::Object(members) => members.values().for_each(|it| texts(it, named)),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}
