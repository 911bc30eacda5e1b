//! From one call to one decision, in order: verify evidence, gather facts, ask Cedar for everyone
//! involved, put the answers together.

use std::time::SystemTime;

use cedar_policy_core::ast::EntityUID;
use smol_str::SmolStr;

use crate::call::answer;
use crate::call::claims::{self, Asserted};
use crate::call::context::CallContext;
use crate::call::decision::{Decision, Reason, ReasonCode};
use crate::call::evidence;
use crate::call::facts::{self, Facts, OwnFacts};
use crate::call::model::{self, TYPES};
use crate::call::plan::{self, Plan};
use crate::config::claims::ClaimMapping;
use crate::engine::context::ContextSource;
use crate::engine::evaluate::{Overlay, Query};
use crate::engine::request::RequestFault;
use crate::engine::snapshot::Snapshot;
use crate::identity::caller::Caller;

/// Facts that depend on arguments, which nobody has while tools are merely listed.
const UNKNOWN_WHEN_LISTING: [&str; 3] = ["arguments", "input", "target"];

/// Who asks, and how its claims are read.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The enforcement point.
    pub caller: &'a Caller,
    /// Which of the claims it passes on become facts.
    pub claims: &'a ClaimMapping,
}

/// Decides one call. Pure: the same inputs give the same decision.
pub fn decide(
    snapshot: &Snapshot,
    call: &CallContext,
    asker: Asker<'_>,
    now: SystemTime,
) -> Decision {
    try_decide(snapshot, call, asker, now).unwrap_or_else(Decision::deny)
}

/// The error is the reason of a deny that no policy was asked about.
fn try_decide(
    snapshot: &Snapshot,
    call: &CallContext,
    asker: Asker<'_>,
    now: SystemTime,
) -> Result<Decision, Reason> {
    evidence::verify_call(snapshot, call, &asker.caller.rights, now)?;
    let plan = plan::of_call(snapshot, call, asker.caller)?;
    let scene = Scene::of(snapshot, call, asker)?;
    let principals = evidence::principals(call);
    check_scopes(snapshot, &principals, &plan)?;
    let overlays = [scene.overlays.as_slice(), &plan.overlays].concat();
    let mut evaluated = Vec::with_capacity(principals.len());
    // Without a target there is still one question to ask.
    let targets = plan.targets.iter().map(Some);
    for target in targets.chain(plan.targets.is_empty().then_some(None)) {
        let facts = Facts::new(scene.ground(call, now), &plan.own, target);
        if plan.is_declared {
            let context = facts.to_context();
            snapshot
                .check_context(&plan.action, &context)
                .map_err(reason_of_fault)?;
        }
        let query = Query {
            action: &plan.action,
            resource: &plan.resource,
            context: &facts,
            overlays: &overlays,
            unknown: &[],
        };
        let evaluations = snapshot.evaluate_each(&query, &principals);
        evaluated.extend(principals.iter().map(|&uid| uid.clone()).zip(evaluations));
    }
    Ok(answer::combine(&call.subject.entity, &plan, evaluated))
}

/// Which of a server's tools the subject may call with some arguments or other.
///
/// The error is the reason why it may call none.
pub fn filter_tools(
    snapshot: &Snapshot,
    call: &CallContext,
    tools: &[SmolStr],
    asker: Asker<'_>,
    now: SystemTime,
) -> Result<Vec<ToolVerdict>, Reason> {
    evidence::verify_call(snapshot, call, &asker.caller.rights, now)?;
    let scene = Scene::of(snapshot, call, asker)?;
    let facts = Facts::new(scene.ground(call, now), &OwnFacts::Nothing, None);
    let principals = evidence::principals(call);
    let verdict = |tool: &SmolStr| -> Result<(), ReasonCode> {
        let plan =
            plan::of_listing(snapshot, &call.operation, tool).map_err(|reason| reason.code)?;
        check_scopes(snapshot, &principals, &plan).map_err(|reason| reason.code)?;
        let query = Query {
            action: &plan.action,
            resource: &plan.resource,
            context: &facts,
            overlays: &scene.overlays,
            unknown: &UNKNOWN_WHEN_LISTING,
        };
        let evaluations = snapshot.evaluate_each(&query, &principals);
        for (principal, evaluation) in principals.iter().zip(evaluations) {
            if !evaluation.may_allow() {
                return Err(answer::code_of(
                    &evaluation,
                    *principal == &call.subject.entity,
                ));
            }
        }
        Ok(())
    };
    let verdicts = tools
        .iter()
        .map(|tool| ToolVerdict {
            tool: tool.clone(),
            hidden: verdict(tool).err(),
        })
        .collect();
    Ok(verdicts)
}

/// One tool that [`filter_tools`] was asked about.
#[derive(Debug, Clone)]
pub struct ToolVerdict {
    /// The tool's name on its server.
    pub tool: SmolStr,
    /// `None` if some call of it would be allowed, else why none would.
    pub hidden: Option<ReasonCode>,
}

/// What holds for every question about one call.
struct Scene {
    asserted: Asserted,
    gateway: EntityUID,
    /// What the call adds to the entities, whatever it does.
    overlays: Vec<Overlay>,
}

impl Scene {
    fn of(snapshot: &Snapshot, call: &CallContext, asker: Asker<'_>) -> Result<Self, Reason> {
        let asserted = claims::read(&call.subject.claims, asker.claims)
            .map_err(|fault| Reason::new(ReasonCode::ContextInvalid, fault.to_string()))?;
        let gateway = model::entity(&TYPES.gateway, SmolStr::new(&asker.caller.id));
        let mut overlays = Vec::new();
        let root = call.delegation.as_ref().map(|delegation| &delegation.root);
        // People whom only the identity provider knows, and the gateway, need not be stored.
        for uid in [Some(&call.subject.entity), root, Some(&gateway)]
            .into_iter()
            .flatten()
        {
            if !snapshot.contains(uid) {
                overlays.push(Overlay::bare(uid.clone()));
            }
        }
        if !asserted.groups.is_empty() || !asserted.tags.is_empty() {
            overlays.retain(|overlay| overlay.uid != call.subject.entity);
            overlays.push(Overlay {
                parents: asserted.groups.clone(),
                tags: asserted.tags.clone(),
                ..Overlay::bare(call.subject.entity.clone())
            });
        }
        Ok(Self {
            asserted,
            gateway,
            overlays,
        })
    }

    fn ground<'s>(&'s self, call: &'s CallContext, now: SystemTime) -> facts::Ground<'s> {
        facts::Ground {
            call,
            asserted: &self.asserted,
            gateway: &self.gateway,
            now,
        }
    }
}

/// Everyone involved must be somebody the action can be asked about.
fn check_scopes(snapshot: &Snapshot, principals: &[&EntityUID], plan: &Plan) -> Result<(), Reason> {
    for principal in principals {
        snapshot
            .check_scope(principal, &plan.action, &plan.resource)
            .map_err(|fault| {
                let mut reason = reason_of_fault(fault);
                reason.principal = Some(EntityUID::clone(principal));
                reason
            })?;
    }
    Ok(())
}

fn reason_of_fault(fault: RequestFault) -> Reason {
    match fault {
        RequestFault::ContextMissing(missing) => {
            let message = format!("the call lacks {}", missing.join(", "));
            let mut reason = Reason::new(ReasonCode::ContextMissing, message);
            reason.missing = missing;
            reason
        }
        RequestFault::Invalid(message) => {
            let mut reason = Reason::new(
                ReasonCode::ContextInvalid,
                "the call does not fit the action's schema",
            );
            reason.detail = Some(message);
            reason
        }
    }
}

#[cfg(test)]
mod tests;
