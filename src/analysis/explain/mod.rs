//! Why a call was decided as it was, and the smallest changes that would allow it.
//!
//! Start at [`explain`]. The call is decided by `domain::decide`, which shows every Cedar request it makes: [`policies`]
//! says of each policy that could apply what it came to and which condition decided. [`search`] finds changes and checks
//! each by deciding the changed call; [`change`] is what can be changed, `changed_entity` what becomes of an entity, [`atoms`] what is worth trying. [`for_agent`] is
//! the part that an agent may hear.

pub mod atoms;
pub mod change;
mod changed_entity;
pub mod for_agent;
pub mod limits;
pub mod policies;
pub mod search;
pub mod values;

use std::cell::RefCell;
use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use serde_json::Value as Json;

use crate::analysis::explain::change::Change;
use crate::analysis::explain::limits::ExplainLimits;
use crate::analysis::explain::policies::PolicyExplanation;
use crate::domain::decide::call;
use crate::domain::decide::inputs::{DecisionInputs, Requester};
use crate::domain::decide::observer::{EvaluationObserver, ObservedEvaluation};
use crate::domain::decide::verdict::{Decision, Verdict};
use crate::domain::ids::DelegationId;
use crate::domain::request::call_context::CallContext;

/// Why a call was decided as it was.
#[derive(Debug)]
pub struct Explanation {
    /// The verdict. Its side effects are not applied.
    pub verdict: Verdict,
    /// The parties of the call, from the one for whom it is made to the subject.
    pub chain: Vec<Link>,
    /// Every Cedar request: for each target, the subject first, then its delegators. Empty if evidence denied.
    pub requests: Vec<RequestExplanation>,
    /// The facts that policies may read, for the first target; `None` if evidence denied.
    pub facts: Option<Json>,
    /// For a deny: the smallest sets of changes that would allow the call, each checked by deciding the changed call, and
    /// denied without any of its parts.
    pub proposals: Vec<Vec<Change>>,
    /// Whether all changes that were worth trying were tried.
    pub is_exhaustive: bool,
    /// Whether the search for changes was cut short because its time was up.
    pub is_out_of_time: bool,
    /// What the agent may hear of it.
    pub for_agent: String,
}

/// One party of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The party.
    pub entity: EntityUID,
    /// `root`, `actor` or `subject`.
    pub role: &'static str,
    /// The stored delegation by which it acts for the one before it, if there is one.
    pub delegation: Option<DelegationId>,
    /// How that is known: `asserted`, or the status of the stored delegation: `active`, or what is wrong with it. Empty
    /// for the root.
    pub status: String,
}

/// One Cedar request of a decision.
#[derive(Debug)]
pub struct RequestExplanation {
    /// The principal.
    pub principal: EntityUID,
    /// The action.
    pub action: EntityUID,
    /// The resource.
    pub resource: EntityUID,
    /// The target, if the call has any.
    pub target: Option<String>,
    /// Whether this request is allowed.
    pub decision: Decision,
    /// The policies: those that decide first, then those that could apply, then permits that miss by their scope.
    pub policies: Vec<PolicyExplanation>,
    /// How many more there are.
    pub left_out: usize,
}

/// Explains the decision on a call.
pub fn explain(
    inputs: &DecisionInputs<'_>,
    call: &CallContext,
    requester: Requester<'_>,
    now: SystemTime,
    limits: ExplainLimits,
) -> Explanation {
    let watch = Observation {
        limits,
        requests: RefCell::default(),
        facts: RefCell::default(),
    };
    let observed = DecisionInputs {
        observer: Some(&watch),
        ..*inputs
    };
    let verdict = call::decide(observed, call, requester, now);
    let found = match verdict.is_allow() {
        true => search::Found {
            is_exhaustive: true,
            ..search::Found::default()
        },
        false => search::search(inputs, call, requester, now, limits),
    };
    let for_agent = for_agent::text(&verdict, &found.proposals);
    Explanation {
        chain: chain(inputs, call, now),
        requests: watch.requests.into_inner(),
        facts: watch.facts.into_inner(),
        proposals: found.proposals,
        is_exhaustive: found.is_exhaustive,
        is_out_of_time: found.is_out_of_time,
        for_agent,
        verdict,
    }
}

/// Collects what a decision shows.
#[derive(Debug)]
struct Observation {
    limits: ExplainLimits,
    requests: RefCell<Vec<RequestExplanation>>,
    facts: RefCell<Option<Json>>,
}

impl EvaluationObserver for Observation {
    fn evaluated(&self, evaluation: ObservedEvaluation<'_>) {
        let ObservedEvaluation {
            query,
            principal,
            result,
            ..
        } = evaluation;
        let mut facts = self.facts.borrow_mut();
        if facts.is_none() {
            let mut shown = values::context_json(&query.context.to_context());
            // The words of the texts are nearly the texts, and may be as many.
            if let Some(Json::Object(arguments)) = shown.get_mut("arguments") {
                arguments.remove("words");
            }
            *facts = Some(shown);
        }
        let (policies, left_out) = policies::explain(&evaluation, self.limits.policies);
        let target = query.context.attribute("target");
        self.requests.borrow_mut().push(RequestExplanation {
            principal: principal.clone(),
            action: query.action.clone(),
            resource: query.resource.clone(),
            target: target.map(|it| values::text(&it.to_value())),
            decision: match result.is_allow() {
                true => Decision::Allow,
                false => Decision::Deny,
            },
            policies,
            left_out,
        });
    }
}

/// The parties of a call as it names them, and what holds each to the one before.
fn chain(inputs: &DecisionInputs<'_>, call: &CallContext, now: SystemTime) -> Vec<Link> {
    let mut links = Vec::new();
    let link = |entity: &EntityUID, role, status: &str| Link {
        entity: entity.clone(),
        role,
        delegation: None,
        status: status.to_owned(),
    };
    let subject = &call.subject.entity;
    let Some(delegation) = &call.actor_chain else {
        return vec![link(subject, "subject", "")];
    };
    let stored = stored_links(inputs, &delegation.delegation_ids);
    if let Some((_, first)) = stored.first()
        && let Some(first) = first
    {
        links.push(link(&first.from, "root", ""));
    }
    for (id, stored) in &stored {
        let status = match stored {
            None => "unknown",
            Some(it) => inputs
                .authority
                .delegation_status(inputs.snapshot, it, now)
                .fault()
                .unwrap_or("active"),
        };
        let to = stored.as_ref().map_or(subject, |it| &it.to);
        let role = if to == subject { "subject" } else { "actor" };
        links.push(Link {
            delegation: Some(id.clone()),
            ..link(to, role, status)
        });
    }
    if links.is_empty() {
        links.extend(delegation.root.iter().map(|root| link(root, "root", "")));
        let how = match delegation.verified {
            true => "asserted and verified by the gateway",
            false => "asserted, not verified",
        };
        let actors = delegation.actors.iter();
        links.extend(actors.map(|actor| link(actor, "actor", how)));
        links.push(link(subject, "subject", how));
    }
    links
}

type StoredLink = (
    DelegationId,
    Option<std::sync::Arc<crate::domain::authority::delegation::Delegation>>,
);

/// The stored delegations of a chain, from the root on. A single id stands for the last of its chain.
fn stored_links(inputs: &DecisionInputs<'_>, ids: &[DelegationId]) -> Vec<StoredLink> {
    let get = |id: &DelegationId| inputs.authority.delegations.get(id).cloned();
    let mut links: Vec<StoredLink> = ids.iter().map(|id| (id.clone(), get(id))).collect();
    if let [(_, Some(last))] = links.as_slice() {
        let mut parent = last.parent.clone();
        // A stored chain is acyclic; the limit is one that no chain reaches.
        while let Some(id) = parent.filter(|_| links.len() < 64) {
            let found = get(&id);
            parent = found.as_ref().and_then(|it| it.parent.clone());
            links.insert(0, (id, found));
        }
    }
    links
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
