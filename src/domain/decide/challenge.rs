//! Approvals: whether one would turn a deny into an allow, and for exactly which call it has to be.
//!
//! Nothing in a policy marks it as one that an approval satisfies. A denied call is asked about again
//! with an approval *assumed*, of everybody who might give it and may.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callgate_engine::cedar::{EntityUID, Literal, Value, ValueKind};
use callgate_engine::{Overlay, PolicyInfo, Snapshot};
use serde::Serialize;
use smol_str::SmolStr;

use crate::domain::authority::approval::{Approval, ApprovalContext, ApprovalPolicy, ApprovedCall};
use crate::domain::authority::chain::DelegationChain;
use crate::domain::authority::form;
use crate::domain::decide::call::Requester;
use crate::domain::decide::cedar_request::CedarRequest;
use crate::domain::decide::evaluate::{
    PrincipalEvaluations, RequestEntities, RequestEvaluator, check_scopes,
};
use crate::domain::decide::facts::live::ApprovalFacts;
use crate::domain::decide::inputs::DecisionInputs;
use crate::domain::decide::verdict::{Challenge, Reason};
use crate::domain::request::call_context::{CallContext, OperationKind};
use crate::domain::request::canonical;
use crate::domain::request::target::Target;
use crate::domain::schema::{self, TYPES};

/// How long a challenge is good for where nothing else is said.
pub const DEFAULT_VALIDITY: Duration = Duration::from_secs(900);

/// The fact that an approval becomes.
const APPROVAL: [&str; 1] = ["approval"];
/// How an approver will be known cannot be said before there is one.
const UNKNOWN_OF_APPROVER: [&str; 1] = ["identity"];

/// What is digested: a change of any part makes it another call.
#[derive(Serialize)]
struct Digested<'a> {
    call: &'a ApprovedCall,
    /// Seconds since the Unix epoch.
    expires_at: u64,
}

/// The digest of a call and an expiry: `sha256:<hex>` over [`canonical`] JSON.
pub fn digest(call: &ApprovedCall, expires_at: SystemTime) -> SmolStr {
    let digested = Digested {
        call,
        expires_at: form::millis(expires_at) / 1000,
    };
    // Texts, lists and one whole number: there is nothing in it that JSON cannot say.
    canonical::digest(&digested).unwrap_or_default().into()
}

/// Whether an approval is for exactly this call.
pub fn fits(approval: &Approval, call: &ApprovedCall) -> bool {
    !approval.digest.is_empty() && approval.digest == digest(call, approval.expires_at)
}

/// What of a call an approval is bound to; `None` for anything but a tool call.
pub fn describe(
    world: &DecisionInputs<'_>,
    call: &CallContext,
    chain: Option<&DelegationChain<'_>>,
    plan: &CedarRequest,
) -> Option<ApprovedCall> {
    let OperationKind::CallTool(tool) = &call.operation.kind else {
        return None;
    };
    let operation = &call.operation;
    Some(ApprovedCall {
        subject: call.subject.entity.clone(),
        root: chain.map(|chain| EntityUID::clone(&chain.root)),
        actors: chain.map_or_else(Vec::new, |chain| chain.actors.to_vec()),
        initiator: operation.initiator,
        server: operation.server.clone(),
        tool: tool.tool.clone(),
        definition: world
            .tool(&plan.resource)
            .and_then(|tool| tool.digest.clone()),
        arguments: canonical::object_text(&tool.arguments),
        responses: operation.answers.as_ref().map(|it| it.text.clone()),
        request_state: operation.request_state.as_deref().map(str::to_owned),
        target: tool.target.clone(),
        task: call.workflow.task_id.clone(),
    })
}

/// What an approval would have to answer, if one would turn this deny into an allow.
pub fn find(asking: &RequestEvaluator<'_>, principals: &[&EntityUID]) -> Option<Challenge> {
    let RequestEvaluator { world, plan, .. } = asking;
    if !world.snapshot.reads_context(APPROVAL[0]) {
        return None;
    }
    let call = describe(world, asking.call, asking.evidence.chain.as_ref(), plan)?;
    // Cheap, and true of most denies: no approval by anybody would help.
    let open = asking.ask(principals, None, &APPROVAL).ok()?;
    if !open.iter().all(|(_, evaluation)| evaluation.may_allow()) {
        return None;
    }
    let answers_with = |approver: &Approver| {
        let approval = ApprovalFacts {
            approver: &approver.uid,
            age_seconds: 0,
        };
        let scene = approver.joined(asking.scene);
        let assumed = RequestEvaluator {
            scene: &scene,
            ..*asking
        };
        let evaluated = assumed.ask(principals, Some(approval), &[]).ok()?;
        let is_allow = evaluated
            .iter()
            .all(|(_, evaluation)| evaluation.is_allow());
        (is_allow && may_approve(&assumed, &approver.uid)).then_some(evaluated)
    };
    let with = candidates(asking).iter().find_map(answers_with)?;
    let without = asking.ask(principals, None, &[]).ok()?;
    let expires_at = whole_seconds(asking.now + world.valid_for);
    Some(Challenge {
        digest: digest(&call, expires_at),
        expires_at,
        valid_for: expires_at.duration_since(asking.now).unwrap_or_default(),
        call,
        circumstances: circumstances(asking, asking_policies(&without, &with)),
    })
}

/// What a person has to know to decide, beside the call itself.
fn circumstances(asking: &RequestEvaluator<'_>, policies: Vec<ApprovalPolicy>) -> ApprovalContext {
    let RequestEvaluator {
        world, call, plan, ..
    } = asking;
    let tool = world.tool(&plan.resource);
    let argument_order = match (&call.operation.kind, &tool) {
        (OperationKind::CallTool(made), Some(tool)) => {
            tool.arrange(made.arguments.keys().map(String::as_str))
        }
        _ => Vec::new(),
    };
    ApprovalContext {
        policies,
        labels: asking.labels().items().to_vec(),
        purpose: call.workflow.purpose.clone(),
        targets: plan.targets.iter().map(|it| it.uid().clone()).collect(),
        access: tool.map(|tool| tool.access),
        argument_order,
    }
}

/// The policies whose word turns with an approval, for whoever was denied without one: forbids that would not apply
/// any more, then permits that would. Both lists are of the same principals and targets, in the same order.
fn asking_policies(
    without: &PrincipalEvaluations,
    with: &PrincipalEvaluations,
) -> Vec<ApprovalPolicy> {
    let denied = || {
        let pairs = without.iter().zip(with);
        pairs.filter(|((_, without), _)| !without.is_allow())
    };
    let forbids =
        denied().flat_map(|((_, without), (_, with))| new_in(&without.forbids, &with.forbids));
    let permits =
        denied().flat_map(|((_, without), (_, with))| new_in(&with.permits, &without.permits));
    let mut asking: Vec<ApprovalPolicy> = Vec::new();
    for policy in forbids.chain(permits) {
        if !asking.iter().any(|known| known.id == policy.id) {
            asking.push(ApprovalPolicy {
                id: policy.id.clone(),
                owner: policy.owner.clone(),
                reason: policy.reason.clone(),
            });
        }
    }
    asking
}

/// The policies that are in one list and not in the other.
fn new_in<'p>(
    these: &'p [Arc<PolicyInfo>],
    others: &'p [Arc<PolicyInfo>],
) -> impl Iterator<Item = &'p Arc<PolicyInfo>> {
    these
        .iter()
        .filter(|policy| !others.iter().any(|other| Arc::ptr_eq(other, policy)))
}

/// Challenges end at whole seconds, so that every wire form carries them unchanged.
pub fn whole_seconds(at: SystemTime) -> SystemTime {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// Whether Cedar lets somebody approve the call, however they will be known.
fn may_approve(asking: &RequestEvaluator<'_>, approver: &EntityUID) -> bool {
    let plan = approve_request(asking.plan);
    let asking = RequestEvaluator {
        plan: &plan,
        ..*asking
    };
    check_scopes(asking.world.snapshot, &[approver], &plan).is_ok()
        && asking
            .ask(&[approver], None, &UNKNOWN_OF_APPROVER)
            .is_ok_and(|all| all.iter().all(|(_, evaluation)| evaluation.may_allow()))
}

/// Whether whoever approved the call could still do so now.
pub fn may_still_approve(
    asking: &RequestEvaluator<'_>,
    approval: &Approval,
    asker: Requester<'_>,
) -> Result<bool, Reason> {
    let Some(word) = &approval.word else {
        return Ok(false);
    };
    let approver = Approver {
        uid: word.by.clone(),
        stands_for: Vec::new(),
    };
    let mut scene = approver.joined(asking.scene);
    scene.claim(&word.by, &word.claims, asker)?;
    let assumed = RequestEvaluator {
        scene: &scene,
        ..*asking
    };
    Ok(may_approve(&assumed, &word.by))
}

/// The question whether a call may be approved: the same tool and targets under another action.
pub fn approve_request(plan: &CedarRequest) -> CedarRequest {
    CedarRequest {
        overlays: plan.overlays.clone(),
        targets: plan.targets.clone(),
        ..CedarRequest::new(schema::action("approve_call"), plan.resource.clone())
    }
}

/// Somebody who might approve a call.
struct Approver {
    uid: EntityUID,
    /// The groups it is assumed to be in, if nobody in particular is meant.
    stands_for: Vec<EntityUID>,
}

impl Approver {
    fn joined(&self, scene: &RequestEntities) -> RequestEntities {
        let mut overlays = scene.overlays.clone();
        if !overlays.iter().any(|overlay| overlay.uid == self.uid) {
            let mut overlay = Overlay::bare(self.uid.clone());
            if !self.stands_for.is_empty() {
                overlay.parents.clone_from(&self.stands_for);
                let active = (SmolStr::new_static("active"), Value::new(true, None));
                overlay.attributes.push(active);
            }
            overlays.push(overlay);
        }
        RequestEntities {
            asserted: scene.asserted.clone(),
            through_agent: scene.through_agent,
            gateway: scene.gateway.clone(),
            overlays,
        }
    }
}

/// The delegating person, the owners of tool and targets, whom policies about approvals name, and
/// somebody who is in all the groups that they name.
fn candidates(asking: &RequestEvaluator<'_>) -> Vec<Approver> {
    let snapshot = asking.world.snapshot;
    let root = asking.evidence.chain.as_ref().map(|chain| &*chain.root);
    let targets = asking.plan.targets.iter().map(Target::uid);
    let things = std::iter::once(&asking.plan.resource).chain(targets);
    let owners = things.filter_map(|thing| owner_of(snapshot, thing));
    let named = asking.world.named_approvers;
    let (people, groups): (Vec<_>, Vec<_>) = named
        .iter()
        .filter(|uid| [&TYPES.user, &TYPES.group].contains(&uid.entity_type()))
        .cloned()
        .partition(|uid| *uid.entity_type() == TYPES.user);
    let mut approvers: Vec<Approver> = Vec::new();
    let everyone = root.cloned().into_iter().chain(owners).chain(people);
    for uid in everyone.filter(|uid| is_eligible(asking.call, uid)) {
        if !approvers.iter().any(|known| known.uid == uid) {
            approvers.push(Approver {
                uid,
                stands_for: Vec::new(),
            });
        }
    }
    if !groups.is_empty() {
        approvers.push(Approver {
            uid: schema::entity(&TYPES.user, "(a member of the groups that policies name)"),
            stands_for: groups,
        });
    }
    approvers
}

/// Persons approve, and nobody approves what it does itself.
fn is_eligible(call: &CallContext, uid: &EntityUID) -> bool {
    *uid.entity_type() == TYPES.user && *uid != call.subject.entity
}

fn owner_of(snapshot: &Snapshot, uid: &EntityUID) -> Option<EntityUID> {
    match snapshot.entity(uid)?.attribute("owner")?.value {
        ValueKind::Lit(Literal::EntityUID(owner)) => Some(EntityUID::clone(&owner)),
        _ => None,
    }
}

#[cfg(test)]
#[path = "challenge_tests.rs"]
mod tests;
