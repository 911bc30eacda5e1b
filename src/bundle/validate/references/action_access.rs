//! Policies for one tool under actions that its calls never use.
//!
//! Start at [`unmatched_access`]. The registered access level selects the action: a `forbid` of `call_write` never applies to
//! a tool that is registered as `read`.

use callgate_engine::cedar::{
    ActionConstraint, EntityReference, EntityUID, PrincipalOrResourceConstraint, Template,
};

use crate::bundle::validate::references::known_entities::id_of;
use crate::bundle::validate::references::value_sources::PolicyScopes;
use crate::bundle::validate::tool_types::ToolTypes;
use crate::domain::schema::{self, TYPES};

/// The message and help for a policy that names one tool under actions that no call of that tool uses.
pub(super) fn unmatched_access(
    template: &Template,
    tools: &ToolTypes<'_>,
    scopes: &mut PolicyScopes<'_>,
) -> Option<(String, String)> {
    let tool = match template.resource_constraint().as_inner() {
        PrincipalOrResourceConstraint::Eq(EntityReference::EUID(uid))
            if *uid.entity_type() == TYPES.tool =>
        {
            uid
        }
        _ => return None,
    };
    if matches!(template.action_constraint(), ActionConstraint::Any) {
        return None;
    }
    let id = id_of(tool);
    let access = tools.access(id)?;
    let actions = scopes.scope_of(template).actions;
    let is_asked = |action: &&EntityUID| {
        let name = id_of(action);
        let ending = |start: &str| name.strip_prefix(start);
        if *action.entity_type() != TYPES.action {
            return true;
        }
        match ending("call_").or_else(|| ending("reverse_call_")) {
            Some("tool") => false,
            // A typed tool has an action of its own, which is in that one.
            Some(of) => of == access.as_str() && !tools.is_typed(id),
            // Another tool's own action does not apply either.
            None => name == id || tools.access(name).is_none(),
        }
    };
    if actions.all.is_empty() || actions.all.iter().any(is_asked) {
        return None;
    }
    let action = schema::AccessLevel::from_name(access.as_str())?.call_action();
    Some((
        format!(
            "`{id}` counts as `{access}`, and no call of it is asked about under these actions"
        ),
        format!("write `action in {action}`"),
    ))
}
