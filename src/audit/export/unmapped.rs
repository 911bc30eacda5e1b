//! What of a record has no place in the schema of OCSF, below `unmapped` of its event, as JSON lines have it.

use serde_json::{Map, Value, json};

use crate::audit::json;
use crate::audit::record::schema::{ControlWrite, Decision};
use crate::domain::request::canonical::hex;

/// An object whose members with `null`, an empty text, list or object are left out.
pub(super) fn object(members: Value) -> Value {
    let Value::Object(members) = members else {
        return members;
    };
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    let kept = members.into_iter().filter(|(_, value)| !is_empty(value));
    Value::Object(kept.collect::<Map<_, _>>())
}

/// Of a decision. `agent` is the agent that acts, in a version of the schema that has no place for it.
pub(super) fn of_decision(it: &Decision, agent: Option<&Value>) -> Value {
    let codes: Vec<_> = it.reasons.iter().map(|it| it.code.as_str()).collect();
    let delegations = it.chain.as_ref().map(|chain| &chain.delegation_ids);
    let shadow: Vec<_> = it.shadow_policies.iter().map(|it| it.id.as_str()).collect();
    let parent = (!it.parent_decision_id.is_empty()).then(|| json::uuid(&it.parent_decision_id));
    let counts = json::counts(it).unzip();
    let asked = json!({
        "ai_agent": agent,
        "is_dry_run": it.is_dry_run.then_some(true),
        "is_observed": it.is_observed.then_some(true),
        "reason_codes": codes,
        "reasons": json::reasons(&it.reasons),
        "policies": json::policies(&it.determining_policies),
        "revision": it.revision,
        "policy_set_digest": hex(&it.policy_set_digest),
        "chain": json::chain(it),
        "delegation_ids": delegations,
        "parent_decision_id": parent,
        "task_id": it.task_id,
        "step": it.step,
        "shadow_policies": shadow,
        "obligations": it.obligations,
        "initiator": it.initiator,
        "jsonrpc_id": it.jsonrpc_id,
        "approval_ids": it.approval_ids,
        "side_effects": json::side_effects(it.side_effects.as_ref()),
        "would_use": json::side_effects(it.would_use.as_ref()),
        "cedar_action": it.cedar_action,
        "cedar_resource": it.cedar_resource,
        "sought": it.sought,
        "kept": counts.0,
        "hidden": counts.1,
        "shown": (it.shown > 0).then_some(it.shown),
    });
    object(asked)
}

/// Of a control write.
pub(super) fn of_write(it: &ControlWrite) -> Value {
    object(json!({
        "revision": it.revision,
        "adapter": it.adapter,
        "stop_reason": it.stop_reason,
        "reasons": json::reasons(&it.reasons),
        "policies": json::policies(&it.determining_policies),
    }))
}
