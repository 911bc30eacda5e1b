//! Policy in Amazon Bedrock AgentCore: the vocabulary of its developer guide.
//!
//! An action is `AgentCore::Action::"Target___tool"`, the resource a gateway, arguments are in `context.input`, and claims are tags
//! of the principal, each one text.

use serde_json::Value as Json;

use crate::analysis::dialect::condition::{Conditions, Safe, Vocabulary};
use crate::analysis::dialect::expression::{self, comparison, text};
use crate::analysis::dialect::names::{ACTION, BETWEEN, CALLS, Names, entity};
use crate::analysis::dialect::tags::{tag_is, tag_matches};
use crate::analysis::dialect::target::{Target, Within};
use crate::config::claims::ClaimKind;

/// The type of its users.
const USER: &str = "AgentCore::OAuthUser";

/// What an action means. Calls are in `CallTool`, which with all else is in `Mcp`; neither is a call itself.
pub fn target(names: &Names<'_>, (ty, id): (&str, &str), within: Within) -> Result<Target, String> {
    match id.split_once(BETWEEN) {
        _ if ty != ACTION => Err(format!("`{ty}::\"{id}\"` is no action of AgentCore")),
        Some((target, tool)) if !target.is_empty() && !tool.is_empty() => Ok(Target::Tool {
            server: names.server_of_target(target),
            tool: tool.to_owned(),
        }),
        _ if !CALLS.contains(&id) => Err(format!(
            "the action `{id}` names no tool: a call is `Target___tool`"
        )),
        _ if !within.may_be_in => Err(format!(
            "the action is `{id}` itself, which no call is: write `in`"
        )),
        _ if id == "Mcp" && within.is_forbid => Ok(Target::Anything),
        _ => Ok(Target::AnyCall),
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
        if let Some(read) = expression::input_of_context(expr) {
            let there = conditions.argument(&read.path, read.is_tested);
            return Some(there.map(|()| expr.clone()));
        }
        if let Some(tag) = expression::has_tag(expr) {
            // Tags are texts there.
            let there = conditions.tag(tag, &[ClaimKind::Text], safe);
            return Some(there.map(|()| expr.clone()));
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

    fn entity(
        &self,
        _: &Conditions<'_, '_>,
        (ty, id): (&str, &str),
        _: Safe,
    ) -> Option<Result<Json, String>> {
        (ty == USER).then(|| Ok(entity("Mcp::User", id)))
    }
}
