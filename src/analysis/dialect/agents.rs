//! cedar-for-agents: policies over the schema that its generator makes of a server's tools. One namespace, of any name; an action
//! for each tool, with its arguments in `context.input`; `User` and `Agent` for principals, and one resource, whatever the stub calls it.

use serde_json::Value as Json;

use crate::analysis::dialect::condition::{Conditions, Safe, Vocabulary};
use crate::analysis::dialect::expression::input_of_context;
use crate::analysis::dialect::merged;
use crate::analysis::dialect::names::{Names, entity};
use crate::analysis::dialect::target::{Target, Within};

/// The group of all tools' actions in the generator's examples.
const ALL: &str = "call_tool";

/// What an action means.
pub fn target(names: &Names<'_>, (ty, id): (&str, &str), within: Within) -> Result<Target, String> {
    let server = names.server().to_owned();
    match ty.rsplit("::").next() {
        Some("Action") if id == ALL && !within.may_be_in => Err(format!(
            "the action is the group `{ALL}` itself, which no call is: write `in`"
        )),
        Some("Action") if id == ALL => Ok(Target::Server { server }),
        Some("Action") => Ok(Target::Tool {
            server,
            tool: id.to_owned(),
        }),
        _ => Err(format!("`{ty}::\"{id}\"` is no action of a tool")),
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
        let read = input_of_context(expr)?;
        let there = conditions.argument(&read.path, read.is_tested);
        Some(there.map(|()| expr.clone()))
    }

    fn principal_type(&self, ty: &str) -> Option<&'static str> {
        merged::principal_type(ty)
    }

    /// Users and agents are principals; all else is a group.
    fn entity(
        &self,
        conditions: &Conditions<'_, '_>,
        (ty, id): (&str, &str),
        safe: Safe,
    ) -> Option<Result<Json, String>> {
        Some(match merged::principal_type(ty) {
            Some(ty) => Ok(entity(ty, id)),
            None => conditions.group(id, safe),
        })
    }
}
