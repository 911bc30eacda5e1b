//! How much an explanation for a caller looks at, and how it is encoded.

use std::time::{Duration, Instant};

use callgate_engine::cedar::{EntityUID, Value};
use serde_json::Value as Json;
use smol_str::SmolStr;
use uuid::Uuid;

use crate::adapters::callgate_v1::encode::{self, Disclosure, entity_ref, outcome};
use crate::adapters::input::json;
use crate::analysis::clauses::Truth;
use crate::analysis::explain::change::Change;
use crate::analysis::explain::limits::ExplainLimits;
use crate::analysis::explain::policies::{ConditionExplanation, PolicyExplanation, PolicyState};
use crate::analysis::explain::{Explanation, Link, RequestExplanation, values};
use crate::analysis::replay::RecordedDecision;
use crate::analysis::replay::explained::RecordedExplanation;
use crate::domain::decide::verdict::{Decision, Verdict};
use crate::proto::v1;
use crate::service::deadline::Deadline;
use crate::service::request::Response;

/// The longest that an explanation searches for changes, also for a caller that waits longer.
pub(super) const MAX_SEARCH: Duration = Duration::from_secs(10);

/// What an explanation for a caller looks at: it is made while the call waits. Half of the time until the deadline is left
/// for the decision and its record.
pub(super) fn limits(deadline: Deadline) -> ExplainLimits {
    let now = Instant::now();
    let time = deadline.left(now).map_or(MAX_SEARCH, |left| left / 2);
    ExplainLimits {
        decisions: 200,
        proposals: 8,
        policies: 256,
        until: now.checked_add(time.min(MAX_SEARCH)),
    }
}

/// A decision of the log, made again with `policies_total` policies and explained, as `ExplainDecision` answers.
pub fn of_record(
    record: &RecordedDecision,
    decision_id: Uuid,
    explained: RecordedExplanation,
    policies_total: usize,
) -> v1::ExplainDecisionResponse {
    let texts = |each: &[SmolStr]| each.iter().map(ToString::to_string).collect();
    let decision = match record.is_allow {
        true => Decision::Allow,
        false => Decision::Deny,
    };
    let recorded = v1::RecordedDecision {
        decision_id: record.decision_id.clone(),
        at: Some(record.at.into()),
        decision: outcome(decision).into(),
        observed: !record.is_enforced,
        reasons: texts(&record.codes),
        determining_policies: texts(&record.policies),
        policy_set_digest: explained.policy_set_digest.to_string(),
        same_bundle: explained.is_same_bundle,
        same_decision: explained.is_same_decision,
    };
    let policies_total = u32::try_from(policies_total).unwrap_or(u32::MAX);
    let response = response(explained.explanation, decision_id, policies_total);
    v1::ExplainDecisionResponse {
        recorded: Some(recorded),
        response: Some(response),
    }
}

/// The response of a recorded decision, made again and explained. It has no revision: that is the record's.
fn response(found: Explanation, decision_id: Uuid, policies_total: u32) -> v1::AuthorizeResponse {
    let answer = Response {
        // A challenge can only be met by who was given it, and tells of arguments that others do not see.
        value: Box::new(Verdict {
            challenge: None,
            ..found.verdict.clone()
        }),
        decision_id,
        revision: 0,
        policies_total,
        observed: None,
    };
    let detail = Disclosure {
        is_entitled: true,
        is_wanted: true,
    };
    // What was written just now is such a message.
    let mut response = encode::authorize(&answer, detail)
        .message()
        .unwrap_or_default();
    if let Some(explanation) = &mut response.explanation {
        fill(explanation, found);
    }
    response
}

/// Encodes what an explanation says beyond the verdict.
pub(super) fn fill(explanation: &mut v1::Explanation, found: Explanation) {
    let Explanation {
        verdict: _,
        chain,
        requests,
        facts,
        proposals,
        is_exhaustive,
        is_out_of_time,
        for_agent,
    } = found;
    explanation.chain = chain.iter().map(link).collect();
    explanation.facts = match facts {
        Some(Json::Object(facts)) => Some(json::to_struct(&facts)),
        _ => None,
    };
    explanation.requests = requests.into_iter().map(request).collect();
    explanation.proposals = proposals
        .iter()
        .map(|changes| v1::ProposedChanges {
            changes: changes.iter().map(change).collect(),
        })
        .collect();
    explanation.proposals_exhaustive = is_exhaustive;
    explanation.proposals_out_of_time = is_out_of_time;
    explanation.for_agent = for_agent;
}

fn link(link: &Link) -> v1::LinkExplanation {
    v1::LinkExplanation {
        entity: Some(entity_ref(&link.entity)),
        role: link.role.to_owned(),
        delegation_id: (link.delegation.as_ref()).map_or_else(String::new, ToString::to_string),
        status: link.status.clone(),
    }
}

fn request(request: RequestExplanation) -> v1::RequestExplanation {
    v1::RequestExplanation {
        principal: Some(entity_ref(&request.principal)),
        action: Some(entity_ref(&request.action)),
        resource: Some(entity_ref(&request.resource)),
        target: request.target.unwrap_or_default(),
        decision: outcome(request.decision).into(),
        policies: request.policies.into_iter().map(policy).collect(),
        policies_left_out: u32::try_from(request.left_out).unwrap_or(u32::MAX),
    }
}

fn policy(policy: PolicyExplanation) -> v1::PolicyExplanation {
    let state = match policy.state {
        PolicyState::Satisfied => v1::PolicyState::Satisfied,
        PolicyState::Unsatisfied => v1::PolicyState::Unsatisfied,
        PolicyState::Failed => v1::PolicyState::Failed,
        PolicyState::OutOfScope => v1::PolicyState::OutOfScope,
    };
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    v1::PolicyExplanation {
        id: policy.info.id.to_string(),
        effect: if policy.info.is_forbid {
            "forbid"
        } else {
            "permit"
        }
        .to_owned(),
        owner: text(policy.info.owner.as_deref()),
        reason: text(policy.info.reason.as_deref()),
        shadow: policy.info.is_shadow,
        state: state.into(),
        scope_misses: policy.scope.iter().map(|part| (*part).to_owned()).collect(),
        condition: policy.condition.map(condition),
    }
}

fn condition(condition: ConditionExplanation) -> v1::ConditionExplanation {
    let (truth, error) = match condition.truth {
        Truth::True => ("true", String::new()),
        Truth::False => ("false", String::new()),
        Truth::Error(error) => ("error", error),
    };
    let seen = |(expression, value): (String, Result<String, String>)| {
        let (value, error) = match value {
            Ok(value) => (value, String::new()),
            Err(error) => (String::new(), error),
        };
        v1::SeenValue {
            expression,
            value,
            error,
        }
    };
    let mut encoded = v1::ConditionExplanation {
        clause: condition.clause.to_owned(),
        text: condition.text,
        truth: truth.to_owned(),
        error,
        values: condition.values.into_iter().map(seen).collect(),
        ..v1::ConditionExplanation::default()
    };
    if let Some(source) = condition.source {
        encoded.line = source.line;
        encoded.column = source.column;
        encoded.length = source.length;
        encoded.source = source.text;
    }
    encoded
}

fn change(change: &Change) -> v1::ProposedChange {
    let mut encoded = v1::ProposedChange {
        kind: change.kind().to_owned(),
        text: change.to_string(),
        ..v1::ProposedChange::default()
    };
    let entity = |uid: &EntityUID| Some(entity_ref(uid));
    let text = |value: &Value| values::json(value).to_string();
    match change {
        Change::Approve { by: uid }
        | Change::Delegate { root: uid }
        | Change::Resume { entity: uid } => encoded.entity = entity(uid),
        Change::VerifyIdentity
        | Change::VerifyDelegation
        | Change::StatePurpose
        | Change::NameSession => {}
        Change::WidenDelegation { id } => encoded.name = id.to_string(),
        Change::WidenTask { id } => encoded.name = id.to_string(),
        Change::AddToGroup { entity: uid, group }
        | Change::RemoveFromGroup { entity: uid, group } => {
            encoded.entity = entity(uid);
            encoded.group = entity(group);
        }
        Change::SetAttribute {
            entity: uid,
            attribute,
            value,
        } => {
            encoded.entity = entity(uid);
            encoded.name = attribute.to_string();
            encoded.value = text(value);
        }
        Change::RegisterAccess { tool, access } => {
            encoded.entity = entity(tool);
            encoded.value = access.as_str().to_owned();
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_for_changes_ends_before_the_deadline() {
        let now = Instant::now();
        let until = |deadline| limits(deadline).until.expect("a limit");
        let second = Duration::from_secs(1);
        let short = until(Deadline::at(now + second));
        assert!(short < now + second * 3 / 4, "{:?}", short - now);
        let long = until(Deadline::at(now + 60 * second));
        assert!(long <= Instant::now() + MAX_SEARCH);
        assert!(until(Deadline::NONE) <= Instant::now() + MAX_SEARCH);
        assert!(limits(Deadline::at(now)).is_late());
    }
}
