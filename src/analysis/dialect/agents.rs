//! cedar-for-agents: policies over the schema that its generator makes of a server's tools. One namespace, of any name; an action
//! for each tool, with its arguments in `context.input`; whatever stands in the stub for principal and resource.

use serde_json::Value as Json;

use crate::analysis::dialect::condition::{Conditions, Safe, Vocabulary};
use crate::analysis::dialect::expression::attribute_of_context;
use crate::analysis::dialect::names::{Names, entity};
use crate::analysis::dialect::target::Target;

/// The group of all tools' actions in the generator's examples.
const ALL: &str = "call_tool";

/// What an action means.
pub fn target(names: &Names<'_>, ty: &str, id: &str) -> Result<Target, String> {
    let server = names.server().to_owned();
    match ty.rsplit("::").next() {
        Some("Action") if id == ALL => Ok(Target::Server { server }),
        Some("Action") => Ok(Target::Tool {
            server,
            tool: id.to_owned(),
        }),
        _ => Err(format!("`{ty}::\"{id}\"` is no action of a tool")),
    }
}

/// The type here of a type of principals: agents are agents, all others are users.
fn principal_type(ty: &str) -> &'static str {
    match ty.rsplit("::").next() {
        Some("Agent") => "Mcp::Agent",
        _ => "Mcp::User",
    }
}

/// The words of cedar-for-agents.
pub struct AgentsVocabulary;

impl Vocabulary for AgentsVocabulary {
    /// `context.input` means the same here.
    fn leaf(
        &self,
        conditions: &Conditions<'_, '_>,
        expr: &Json,
        _: Safe,
    ) -> Option<Result<Json, String>> {
        attribute_of_context(expr, "input").then(|| {
            conditions.reads_input();
            Ok(expr.clone())
        })
    }

    fn principal_type(&self, ty: &str) -> Option<&'static str> {
        Some(principal_type(ty))
    }

    /// Users, agents and clients are principals; all else is a group.
    fn entity(
        &self,
        conditions: &Conditions<'_, '_>,
        ty: &str,
        id: &str,
    ) -> Option<Result<Json, String>> {
        Some(match ty.rsplit("::").next() {
            Some("User" | "Agent" | "Client") => Ok(entity(principal_type(ty), id)),
            _ => conditions.group(id),
        })
    }
}
