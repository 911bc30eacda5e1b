//! Validation of scopes.

use crate::config::limits::Limits;
use crate::control::error::ControlError;
use crate::domain::authority::scope::Scope;
use crate::domain::request::visible::shown;
use callgate_engine::Snapshot;

/// Checks the shape of a scope: what does not depend on registrations.
pub(super) fn check_shape(scope: &Scope, limits: &Limits, field: &str) -> Result<(), ControlError> {
    let Scope {
        tools,
        servers,
        groups,
        access: _,
        targets,
    } = scope;
    if tools.is_empty() && servers.is_empty() && groups.is_empty() {
        let message = "names no tool, no server and no group";
        return Err(ControlError::invalid(field, message));
    }
    let items = tools.len() + servers.len() + groups.len() + targets.len();
    let limit = limits.scope_items;
    if items > limit as usize {
        let message = format!("has {items} items, but at most {limit} are allowed");
        return Err(ControlError::invalid(field, message));
    }
    Ok(())
}

/// Checks that the tools and servers of a scope are registered. Groups need no entity: one without members covers
/// nothing.
pub(super) fn check_known(
    scope: &Scope,
    snapshot: &Snapshot,
    field: &str,
) -> Result<(), ControlError> {
    let lists = [
        ("tools", "a registered tool", &scope.tools),
        ("servers", "a registered server", &scope.servers),
    ];
    for (list, what, uids) in lists {
        if let Some(index) = uids.iter().position(|uid| !snapshot.contains(uid)) {
            let name: &str = uids[index].eid().as_ref();
            let message = format!("`{}` is not {what}", shown(name));
            return Err(ControlError::invalid(
                format!("{field}.{list}[{index}]"),
                message,
            ));
        }
    }
    Ok(())
}
