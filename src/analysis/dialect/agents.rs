//! cedar-for-agents: policies over the schema that its generator makes of a server's tools. One namespace, of any name; an action
//! for each tool, with its arguments in `context.input`; whatever stands in the stub for principal and resource.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use crate::analysis::dialect::condition::{Conditions, Safe, attribute_of_context};
use crate::analysis::dialect::names::Names;
use crate::analysis::dialect::translate::Target;

/// The group of all tools' actions in the generator's examples.
const ALL: &str = "call_tool";

/// The namespaces of the actions among entities.
pub fn namespaces(uids: &BTreeSet<(String, String)>) -> BTreeSet<String> {
    let actions = uids.iter().filter_map(|(ty, _)| ty.strip_suffix("Action"));
    actions
        .map(|it| it.trim_end_matches("::").to_owned())
        .collect()
}

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
pub fn principal_type(ty: &str) -> &'static str {
    match ty.rsplit("::").next() {
        Some("Agent") => "Mcp::Agent",
        _ => "Mcp::User",
    }
}

/// `context.input` means the same here.
pub fn leaf(conditions: &Conditions<'_, '_>, expr: &Json, _: Safe) -> Option<Result<Json, String>> {
    attribute_of_context(expr, "input").then(|| {
        conditions.reads_input();
        Ok(expr.clone())
    })
}
