//! ToolHive's Cedar authorizer: one server, whose name the policies do not say.
//!
//! `Client::"<sub>"` calls `Action::"call_tool"` on `Tool::"<name>"`; claims are `claim_…`, arguments are `arg_…`, of the context and
//! also of the entities. A policy that reads what is not there is an error, and ToolHive denies for any error.

use serde_json::Value as Json;

use crate::analysis::dialect::condition::{Conditions, Safe, Vocabulary};
use crate::analysis::dialect::expression::{self, comparison, contains, not, text};
use crate::analysis::dialect::names::{Names, entity};
use crate::analysis::dialect::tags::{tag_is, tag_matches};
use crate::analysis::dialect::target::Target;
use crate::config::claims::ClaimKind;

/// The type of whoever calls.
const CLIENT: &str = "Client";
/// The type of groups from claims.
const GROUP: &str = "THVGroup";
/// The type of what is listed.
const FEATURE: &str = "FeatureType";

/// What an action means, for the resource of the scope.
pub fn target(
    names: &Names<'_>,
    (ty, id): (&str, &str),
    resource: Option<(&str, &str)>,
) -> Result<Target, String> {
    let server = names.server().to_owned();
    if ty != "Action" {
        return Err(format!("`{ty}::\"{id}\"` is no action of ToolHive"));
    }
    match (id, resource) {
        ("call_tool", None) => Ok(Target::Server { server }),
        ("call_tool", Some(("Tool", tool))) => Ok(Target::Tool {
            server,
            tool: tool.to_owned(),
        }),
        ("get_prompt", Some(("Prompt", prompt))) => Ok(Target::Prompt {
            server,
            prompt: prompt.to_owned(),
        }),
        ("list_tools", None | Some((FEATURE, "tool"))) => Ok(Target::List {
            server,
            action: "list_tools",
        }),
        ("list_prompts", None | Some((FEATURE, "prompt"))) => Ok(Target::List {
            server,
            action: "list_prompts",
        }),
        ("list_resources", None | Some((FEATURE, "resource"))) => Ok(Target::List {
            server,
            action: "list_resources",
        }),
        ("read_resource", _) => Err(
            "ToolHive replaces characters in URIs, so its name of a resource does not say which it is"
                .to_owned(),
        ),
        ("get_prompt", None) => Err("it is about all prompts: name one".to_owned()),
        (_, Some((ty, resource))) => Err(format!(
            "the action `{id}` on `{ty}::\"{resource}\"` has no counterpart"
        )),
        (_, None) => Err(format!("the action `{id}` has no counterpart")),
    }
}

/// The claim that an attribute of context or principal is.
fn claim(expr: &Json) -> Option<&str> {
    let (variable, path) = expression::attribute(expr)?;
    match (variable, path.as_slice()) {
        ("context" | "principal", [name]) => name.strip_prefix("claim_"),
        _ => None,
    }
}

/// The argument that an attribute of context or resource is.
fn argument(expr: &Json) -> Option<&str> {
    let (variable, path) = expression::attribute(expr)?;
    match (variable, path.as_slice()) {
        ("context" | "resource", [name]) => name.strip_prefix("arg_"),
        _ => None,
    }
}

/// The words of ToolHive.
pub struct ToolhiveVocabulary;

impl Vocabulary for ToolhiveVocabulary {
    /// Claims and arguments.
    fn leaf(
        &self,
        conditions: &Conditions<'_, '_>,
        expr: &Json,
        safe: Safe,
    ) -> Option<Result<Json, String>> {
        if let Some(name) = argument(expr) {
            let there = kept_argument(conditions, name, false);
            return Some(there.map(|()| expression::input(name)));
        }
        if let Some((variable, path, name)) = expression::has(expr) {
            return match path.is_empty() {
                true => has(conditions, variable, name, safe),
                false => None,
            };
        }
        if let Some((left, pattern)) = expression::like(expr) {
            let tag = claim(left)?;
            conditions.reads_claim(tag);
            return Some(tag_matches(conditions, tag, pattern, safe));
        }
        if let Some((left, right)) = expression::containing(expr) {
            let (tag, value) = (claim(left)?, text(right)?);
            conditions.reads_claim(tag);
            let found = conditions.tag(tag, &[ClaimKind::List], safe);
            return Some(found.map(|()| contains(tag, value)));
        }
        let (operator, left, right) = comparison(expr)?;
        let (is_negated, right) = (operator == "!=", text(right)?);
        let inner = if is_negated { safe.flipped() } else { safe };
        if expression::attribute(left) == Some(("resource", vec!["name"])) {
            return Some(match conditions.tool() {
                Some((server, tool)) if tool == right => {
                    Ok(expression::resource_is(server, tool, !is_negated))
                }
                Some((server, tool)) => Ok(expression::resource_is(server, tool, is_negated)),
                None => Err("`resource.name` is compared: name the tool in the scope".to_owned()),
            });
        }
        let same = match claim(left)? {
            "sub" => Ok(expression::principal_is("Mcp::User", right)),
            tag => {
                conditions.reads_claim(tag);
                tag_is(conditions, tag, right, inner)
            }
        };
        Some(same.map(|it| if is_negated { not(it) } else { it }))
    }

    fn tested<'e>(&self, expr: &'e Json) -> Option<&'e str> {
        let (variable, path, name) = expression::has(expr)?;
        let is_of_claims = matches!(variable, "context" | "principal") && path.is_empty();
        name.strip_prefix("claim_").filter(|_| is_of_claims)
    }

    fn principal_type(&self, ty: &str) -> Option<&'static str> {
        (ty == CLIENT).then_some("Mcp::User")
    }

    fn entity(
        &self,
        conditions: &Conditions<'_, '_>,
        (ty, id): (&str, &str),
        safe: Safe,
    ) -> Option<Result<Json, String>> {
        match ty {
            CLIENT => Some(Ok(entity("Mcp::User", id))),
            GROUP => Some(conditions.group(id, safe)),
            _ => None,
        }
    }
}

/// ToolHive keeps texts, numbers and booleans; of others it says only that they are there.
fn kept_argument(
    conditions: &Conditions<'_, '_>,
    name: &str,
    is_tested: bool,
) -> Result<(), String> {
    match name.ends_with("_present") {
        true => Err(format!(
            "`arg_{name}` tells lists and objects from texts, numbers and booleans"
        )),
        false => conditions.plain_argument(name, is_tested),
    }
}

fn has(
    conditions: &Conditions<'_, '_>,
    variable: &str,
    name: &str,
    safe: Safe,
) -> Option<Result<Json, String>> {
    match (
        variable,
        name.strip_prefix("claim_"),
        name.strip_prefix("arg_"),
    ) {
        ("context" | "principal", Some("sub"), _) => Some(Ok(serde_json::json!({"Value": true}))),
        ("context" | "principal", Some(tag), _) => {
            let there = conditions.tag(tag, &[ClaimKind::Text, ClaimKind::List], safe);
            Some(there.map(|()| expression::tagged(tag)))
        }
        ("context" | "resource", _, Some(argument)) => {
            let there = kept_argument(conditions, argument, true);
            Some(there.map(|()| expression::has_input(argument)))
        }
        _ => None,
    }
}
