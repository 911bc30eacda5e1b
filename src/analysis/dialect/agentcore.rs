//! Policy in Amazon Bedrock AgentCore: the vocabulary of its developer guide.
//!
//! An action is `AgentCore::Action::"Target___tool"`, the resource a gateway, arguments are in `context.input`, and claims are tags
//! of the principal, each one text.

use serde_json::Value as Json;

use crate::analysis::dialect::condition::{Conditions, Safe, Vocabulary, tag_is, tag_matches};
use crate::analysis::dialect::expression::{self, attribute_of_context, comparison, text};
use crate::analysis::dialect::names::{BETWEEN, Names, entity};
use crate::analysis::dialect::target::Target;

/// The type of its users.
const USER: &str = "AgentCore::OAuthUser";
/// The type of its actions.
const ACTION: &str = "AgentCore::Action";

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

/// The words of AgentCore.
pub struct AgentcoreVocabulary;

impl Vocabulary for AgentcoreVocabulary {
    /// Arguments, the id of the user, and claims.
    fn leaf(
        &self,
        conditions: &Conditions<'_, '_>,
        expr: &Json,
        safe: Safe,
    ) -> Option<Result<Json, String>> {
        if attribute_of_context(expr, "input") {
            conditions.reads_input();
            return Some(Ok(expr.clone()));
        }
        if let Some(tag) = expression::has_tag(expr) {
            return Some(conditions.tag(tag).map(|()| expr.clone()));
        }
        if let Some((left, pattern)) = expression::like(expr) {
            let tag = expression::get_tag(left)?;
            return Some(tag_matches(conditions, tag, pattern, safe));
        }
        let (operator, left, right) = comparison(expr)?;
        let (is_negated, right) = (operator == "!=", text(right)?);
        let safe = if is_negated { safe.flipped() } else { safe };
        let same = if expression::attribute(left) == Some(("principal", vec!["id"])) {
            Ok(expression::principal_is("Mcp::User", right))
        } else {
            tag_is(conditions, expression::get_tag(left)?, right, safe)
        };
        Some(same.map(|it| if is_negated { expression::not(it) } else { it }))
    }

    fn principal_type(&self, ty: &str) -> Option<&'static str> {
        (ty == USER).then_some("Mcp::User")
    }

    fn entity(&self, _: &Conditions<'_, '_>, ty: &str, id: &str) -> Option<Result<Json, String>> {
        (ty == USER).then(|| Ok(entity("Mcp::User", id)))
    }
}
