//! Policy in Amazon Bedrock AgentCore: the vocabulary of its developer guide.
//!
//! An action is `AgentCore::Action::"Target___tool"`, the resource a gateway, arguments are in `context.input`, and claims are tags
//! of the principal, each one text.

use serde_json::Value as Json;

use crate::analysis::dialect::condition::{
    self, Conditions, Safe, attribute_of_context, comparison, tag_is, tag_matches, text,
};
use crate::analysis::dialect::names::Names;
use crate::analysis::dialect::translate::Target;

/// The type of its resource.
pub const GATEWAY: &str = "AgentCore::Gateway";
/// The type of its users.
pub const USER: &str = "AgentCore::OAuthUser";
/// The type of its actions.
const ACTION: &str = "AgentCore::Action";
/// What stands between target and tool.
const BETWEEN: &str = "___";

/// What an action means.
pub fn target(names: &Names<'_>, ty: &str, id: &str) -> Result<Target, String> {
    match id.split_once(BETWEEN) {
        _ if ty != ACTION => Err(format!("`{ty}::\"{id}\"` is no action of AgentCore")),
        Some((target, tool)) if !target.is_empty() && !tool.is_empty() => Ok(Target::Tool {
            server: names.server_of_target(target),
            tool: tool.to_owned(),
        }),
        _ if matches!(id, "Mcp" | "CallTool") => Ok(Target::AnyCall),
        _ => Err(format!(
            "the action `{id}` names no tool: a call is `Target___tool`"
        )),
    }
}

/// Arguments, the id of the user, and claims.
pub fn leaf(
    conditions: &Conditions<'_, '_>,
    expr: &Json,
    safe: Safe,
) -> Option<Result<Json, String>> {
    if attribute_of_context(expr, "input") {
        conditions.reads_input();
        return Some(Ok(expr.clone()));
    }
    if let Some(tag) = condition::has_tag(expr) {
        return Some(conditions.tag(tag).map(|()| expr.clone()));
    }
    if let Some((left, pattern)) = condition::like(expr) {
        let tag = condition::get_tag(left)?;
        return Some(tag_matches(conditions, tag, pattern, safe));
    }
    let (operator, left, right) = comparison(expr)?;
    let (is_negated, right) = (operator == "!=", text(right)?);
    let safe = if is_negated { safe.flipped() } else { safe };
    let same = if condition::attribute(left) == Some(("principal", vec!["id"])) {
        Ok(condition::principal_is("Mcp::User", right))
    } else {
        tag_is(conditions, condition::get_tag(left)?, right, safe)
    };
    Some(same.map(|it| if is_negated { condition::not(it) } else { it }))
}
