//! Evidence: whether what the call claims about itself holds. What does not hold denies, and no policy
//! can override that.

use std::time::SystemTime;

use cedar_policy_core::ast::{EntityUID, Literal, Value, ValueKind};
use smol_str::SmolStr;

use crate::call::context::{CallContext, Delegation, ToolCall};
use crate::call::decision::{Reason, ReasonCode};
use crate::call::model::{self, Effect, TYPES};
use crate::engine::snapshot::{Snapshot, Stored};
use crate::identity::caller::Rights;

/// Most links from the root of a delegation to the subject.
pub const MAX_DELEGATION_DEPTH: usize = 16;

/// Verifies everything about a call that does not depend on what it wants to do.
pub fn verify_call(
    snapshot: &Snapshot,
    call: &CallContext,
    rights: &Rights,
    now: SystemTime,
) -> Result<(), Reason> {
    verify_caller(call, rights)?;
    verify_known(snapshot, &call.subject.entity)?;
    if let Some(delegation) = &call.delegation {
        verify_delegation(snapshot, delegation, &call.subject.entity, now)?;
    }
    if let Some(task) = &call.workflow.task_id {
        return Err(Reason::new(
            ReasonCode::TaskClosed,
            format!("task `{task}` is not open"),
        ));
    }
    if let Some(approval) = call.approval_ids.first() {
        let message = format!("approval `{approval}` is not valid for this call");
        return Err(Reason::new(ReasonCode::ApprovalInvalid, message));
    }
    verify_server(snapshot, &call.operation.server)
}

fn verify_server(snapshot: &Snapshot, name: &SmolStr) -> Result<(), Reason> {
    let unknown = |message: String| Err(Reason::new(ReasonCode::ServerUnknown, message));
    match snapshot.entity(&model::server(name)) {
        None => unknown(format!("server `{name}` is not registered")),
        Some(server) if flag(server, "active") == Some(false) => {
            unknown(format!("server `{name}` is out of service"))
        }
        Some(_) => Ok(()),
    }
}

/// The caller's word counts only as far as its configuration says.
fn verify_caller(call: &CallContext, rights: &Rights) -> Result<(), Reason> {
    let untrusted = |what: &str| {
        let message = format!("the gateway is not trusted to state {what}");
        Err(Reason::new(ReasonCode::CallerNotTrusted, message))
    };
    if !rights.assert_identity {
        return untrusted("who is calling");
    }
    if call.delegation.is_some() && !rights.assert_delegation {
        return untrusted("for whom a call is made");
    }
    if !call.subject.claims.is_empty() && !rights.assert_claims {
        return untrusted("claims about the subject");
    }
    Ok(())
}

/// A person may be known to the identity provider alone; everybody else has to be stored.
fn verify_known(snapshot: &Snapshot, uid: &EntityUID) -> Result<(), Reason> {
    if *uid.entity_type() == TYPES.user || snapshot.contains(uid) {
        return Ok(());
    }
    let mut reason = Reason::new(ReasonCode::SubjectUnknown, format!("`{uid}` is not known"));
    reason.principal = Some(uid.clone());
    Err(reason)
}

fn verify_delegation(
    snapshot: &Snapshot,
    delegation: &Delegation,
    subject: &EntityUID,
    now: SystemTime,
) -> Result<(), Reason> {
    let broken = |message: String, link: &EntityUID| {
        let mut reason = Reason::new(ReasonCode::DelegationChainBroken, message);
        reason.principal = Some(link.clone());
        Err(reason)
    };
    if let Some(grant) = delegation.grant_ids.first() {
        return broken(format!("grant `{grant}` is not known"), &delegation.root);
    }
    if delegation.expires_at.is_some_and(|end| end <= now) {
        let message = "the authority this call relies on has expired";
        return Err(Reason::new(ReasonCode::DelegationExpired, message));
    }
    if delegation.actors.len() + 1 > MAX_DELEGATION_DEPTH {
        let message = format!("the delegation has more than {MAX_DELEGATION_DEPTH} links");
        return broken(message, &delegation.root);
    }
    let root_type = delegation.root.entity_type();
    if *root_type != TYPES.user && *root_type != TYPES.agent {
        let message = format!("`{}` is neither a user nor an agent", delegation.root);
        return broken(message, &delegation.root);
    }
    verify_known(snapshot, &delegation.root)?;
    let mut seen = vec![subject, &delegation.root];
    if subject == &delegation.root {
        return broken(format!("`{subject}` cannot act for itself"), subject);
    }
    for actor in &delegation.actors {
        if *actor.entity_type() != TYPES.agent {
            return broken(format!("`{actor}` is not an agent"), actor);
        }
        if seen.contains(&actor) {
            return broken(format!("`{actor}` appears twice in the delegation"), actor);
        }
        verify_known(snapshot, actor)?;
        seen.push(actor);
    }
    Ok(())
}

/// A registered tool, as far as decisions need it.
#[derive(Debug, Clone)]
pub struct RegisteredTool {
    /// `Mcp::Tool::"<server>/<tool>"`.
    pub uid: EntityUID,
    /// What it can do; admin while nobody has confirmed what it does.
    pub effect: Effect,
    /// The arguments that name what it acts upon.
    pub target_arguments: Vec<SmolStr>,
}

/// Looks a tool up and holds its definition against the pinned one.
pub fn verify_tool(
    snapshot: &Snapshot,
    server: &str,
    call: &ToolCall,
) -> Result<RegisteredTool, Reason> {
    let (tool, stored) = find_tool(snapshot, server, &call.tool)?;
    if let Some(seen) = &call.definition_digest {
        let pinned = stored.attribute("digest");
        if pinned
            .as_ref()
            .and_then(text_of)
            .is_some_and(|pinned| pinned != seen)
        {
            let message = format!("the definition of tool `{}` has changed", call.tool);
            return Err(Reason::new(ReasonCode::ToolChanged, message));
        }
    }
    Ok(tool)
}

/// Looks a tool up.
pub fn registered_tool(
    snapshot: &Snapshot,
    server: &str,
    name: &str,
) -> Result<RegisteredTool, Reason> {
    find_tool(snapshot, server, name).map(|(tool, _)| tool)
}

fn find_tool<'s>(
    snapshot: &'s Snapshot,
    server: &str,
    name: &str,
) -> Result<(RegisteredTool, Stored<'s>), Reason> {
    let uid = model::tool(server, name);
    let Some(stored) = snapshot.entity(&uid) else {
        let message = format!("tool `{name}` is not registered for server `{server}`");
        return Err(Reason::new(ReasonCode::ToolUnknown, message));
    };
    let is_confirmed = flag(stored, "confirmed") == Some(true);
    let effect = stored.attribute("effect").filter(|_| is_confirmed);
    let effect = effect
        .as_ref()
        .and_then(text_of)
        .and_then(|name| Effect::from_name(name));
    let target_arguments = match stored
        .attribute("target_arguments")
        .map(|value| value.value)
    {
        Some(ValueKind::Set(names)) => names.iter().filter_map(text_of).cloned().collect(),
        _ => Vec::new(),
    };
    let tool = RegisteredTool {
        uid,
        effect: effect.unwrap_or(Effect::Admin),
        target_arguments,
    };
    Ok((tool, stored))
}

fn flag(entity: Stored<'_>, name: &str) -> Option<bool> {
    match entity.attribute(name)?.value {
        ValueKind::Lit(Literal::Bool(value)) => Some(value),
        _ => None,
    }
}

fn text_of(value: &Value) -> Option<&SmolStr> {
    match &value.value {
        ValueKind::Lit(Literal::String(text)) => Some(text),
        _ => None,
    }
}

/// The principals whose permission the call needs: the subject first, then everyone it acts for up to
/// the root. What only a server asks for is asked in the server's own name.
pub fn principals(call: &CallContext) -> Vec<&EntityUID> {
    let mut principals = vec![&call.subject.entity];
    let is_own_request = call.operation.kind.is_server_only();
    if let Some(delegation) = call.delegation.as_ref().filter(|_| !is_own_request) {
        principals.extend(delegation.actors.iter().rev());
        principals.push(&delegation.root);
    }
    principals
}
