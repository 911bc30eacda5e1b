//! Challenges: whether an approval would turn a deny into an allow, and what exactly it would have to cover.
//!
//! No annotation marks a policy as satisfied by an approval. A denied call is evaluated again with an
//! approval *assumed*, by each candidate approver in turn.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callgate_engine::cedar::{EntityUID, Value};
use callgate_engine::{Overlay, PolicyEvaluation, PolicyInfo};
use smol_str::SmolStr;

use crate::domain::authority::approval::{ApprovalContext, ApprovalPolicy, ApprovedCall};
use crate::domain::authority::chain::DelegationChain;
use crate::domain::authority::ownership;
use crate::domain::decide::approving::{ApproveQuestion, Approver};
use crate::domain::decide::cedar_request::CedarRequest;
use crate::domain::decide::described_call;
use crate::domain::decide::evaluate::{PrincipalEvaluations, RequestEntities, RequestEvaluator};
use crate::domain::decide::facts::approval::{APPROVAL, ApprovalFacts};
use crate::domain::decide::inputs::{DecisionInputs, Requester};
use crate::domain::decide::verdict::Challenge;
use crate::domain::request::call_context::CallContext;
use crate::domain::request::canonical;
use crate::domain::request::target::Target;
use crate::domain::schema::{self, TYPES};

/// The part of a call that an approval is bound to; `None` unless it is a tool call.
pub fn describe(
    call: &CallContext,
    chain: Option<&DelegationChain<'_>>,
    request: &CedarRequest,
) -> Option<ApprovedCall> {
    let operation = &call.operation;
    let tool = operation.kind.tool_call()?;
    Some(ApprovedCall {
        subject: call.subject.entity.clone(),
        root: chain.map(|chain| EntityUID::clone(&chain.root)),
        actors: chain.map_or_else(Vec::new, |chain| chain.actors.to_vec()),
        initiator: operation.initiator,
        server: operation.server.clone(),
        tool: tool.tool.clone(),
        definition: request
            .registered_tool
            .as_ref()
            .and_then(|tool| tool.digest.clone()),
        arguments: canonical::object_text(&tool.arguments),
        responses: operation.answers.as_ref().map(|it| it.text.clone()),
        request_state: operation.request_state.as_deref().map(str::to_owned),
        target: tool.target.clone(),
        task: call.workflow.task_id.clone(),
    })
}

/// The challenge of a denied call, if an approval would turn the deny into an allow. `denied` is the evaluation
/// without one, by [`RequestEvaluator::evaluate_open_to_approval`].
pub fn find(
    evaluator: &RequestEvaluator<'_>,
    principals: &[&EntityUID],
    denied: &PrincipalEvaluations<'_>,
    requester: Requester<'_>,
) -> Option<Challenge> {
    // What is only tried out is not shown.
    let inputs = unobserved(evaluator.inputs);
    let evaluator = &RequestEvaluator {
        inputs: &inputs,
        ..*evaluator
    };
    let RequestEvaluator {
        inputs, request, ..
    } = evaluator;
    // Settles most denies: with the approval unknown, nothing allows.
    let might_help = |(_, evaluation): (_, &PolicyEvaluation)| evaluation.may_allow_otherwise;
    if !inputs.snapshot.reads_context(APPROVAL) || !denied.iter().all(might_help) {
        return None;
    }
    let call = describe(evaluator.call, evaluator.evidence.chain.as_ref(), request)?;
    let question = ApproveQuestion::of_call(evaluator, requester.claims);
    let answers_with = |approver: &CandidateApprover| {
        let approval = ApprovalFacts {
            approver: &approver.uid,
            age_seconds: 0,
        };
        let entities = approver.with_entities(evaluator.entities);
        let assumed = RequestEvaluator {
            entities: &entities,
            ..*evaluator
        };
        let evaluated = assumed.evaluate(principals, Some(approval), &[]).ok()?;
        let candidate = Approver::candidate(&approver.uid, &approver.stands_for);
        (evaluated.is_allow() && question.could(&candidate)).then_some(evaluated)
    };
    let with = candidates(evaluator).iter().find_map(answers_with)?;
    let expires_at = whole_seconds(evaluator.now + inputs.valid_for);
    Some(Challenge {
        digest: call.digest(expires_at),
        expires_at,
        valid_for: expires_at.duration_since(evaluator.now).unwrap_or_default(),
        call,
        circumstances: ApprovalContext {
            facts: Some(Arc::new(described_call::facts(evaluator, requester.claims))),
            ..circumstances(evaluator, approval_policies(denied, &with))
        },
    })
}

fn unobserved<'w>(inputs: &DecisionInputs<'w>) -> DecisionInputs<'w> {
    DecisionInputs {
        observer: None,
        ..*inputs
    }
}

/// What the approver sees beside the call.
fn circumstances(
    evaluator: &RequestEvaluator<'_>,
    policies: Vec<ApprovalPolicy>,
) -> ApprovalContext {
    let RequestEvaluator { call, request, .. } = evaluator;
    let tool = request.registered_tool.as_ref();
    let argument_order = match (call.operation.arguments(), &tool) {
        (Some(arguments), Some(tool)) => tool.arrange(arguments.keys().map(String::as_str)),
        _ => Vec::new(),
    };
    ApprovalContext {
        policies,
        labels: evaluator.labels().items().to_vec(),
        purpose: call.workflow.purpose.clone(),
        targets: request.targets.iter().map(|it| it.uid().clone()).collect(),
        access: tool.map(|tool| tool.access),
        agent_owner: ownership::owner_of_agent(evaluator.inputs.snapshot, &call.subject.entity),
        argument_order,
        facts: None,
    }
}

/// The policies that an approval satisfies, for principals denied without it: forbids that no longer apply,
/// then permits that apply now. Both lists have the same principals and targets in the same order.
fn approval_policies(
    without: &PrincipalEvaluations<'_>,
    with: &PrincipalEvaluations<'_>,
) -> Vec<ApprovalPolicy> {
    let denied = || {
        let pairs = without.iter().zip(with.iter());
        pairs.filter(|((_, without), _)| !without.is_allow())
    };
    let forbids =
        denied().flat_map(|((_, without), (_, with))| new_in(&without.forbids, &with.forbids));
    let permits =
        denied().flat_map(|((_, without), (_, with))| new_in(&with.permits, &without.permits));
    let mut evaluator: Vec<ApprovalPolicy> = Vec::new();
    for policy in forbids.chain(permits) {
        if !evaluator.iter().any(|known| known.id == policy.id) {
            evaluator.push(ApprovalPolicy {
                id: policy.id.clone(),
                owner: policy.owner.clone(),
                reason: policy.reason.clone(),
            });
        }
    }
    evaluator
}

/// The policies in `these` that are not in `others`.
fn new_in<'p>(
    these: &'p [Arc<PolicyInfo>],
    others: &'p [Arc<PolicyInfo>],
) -> impl Iterator<Item = &'p Arc<PolicyInfo>> {
    these
        .iter()
        .filter(|policy| !others.iter().any(|other| Arc::ptr_eq(other, policy)))
}

/// Truncates to whole seconds, which every wire format represents exactly.
pub fn whole_seconds(at: SystemTime) -> SystemTime {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// A user that may be able to approve the call.
struct CandidateApprover {
    uid: EntityUID,
    /// The groups a hypothetical approver is assumed to be in.
    stands_for: Vec<EntityUID>,
}

impl CandidateApprover {
    fn with_entities(&self, entities: &RequestEntities) -> RequestEntities {
        let mut overlays = entities.overlays.clone();
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
            asserted: entities.asserted.clone(),
            through_agent: entities.through_agent,
            gateway: entities.gateway.clone(),
            overlays,
        }
    }
}

/// The candidates: the delegating user, the owners of the tool and targets, the users that approval policies
/// name, and a hypothetical member of the groups that they name.
fn candidates(evaluator: &RequestEvaluator<'_>) -> Vec<CandidateApprover> {
    let snapshot = evaluator.inputs.snapshot;
    let root = evaluator.evidence.chain.as_ref().map(|chain| &*chain.root);
    let targets = evaluator.request.targets.iter().map(Target::uid);
    let things = std::iter::once(&evaluator.request.resource).chain(targets);
    let owners = things.filter_map(|thing| ownership::owner(snapshot, thing));
    let named = evaluator.inputs.named_approvers;
    let (people, groups): (Vec<_>, Vec<_>) = named
        .iter()
        .filter(|uid| [&TYPES.user, &TYPES.group].contains(&uid.entity_type()))
        .cloned()
        .partition(|uid| *uid.entity_type() == TYPES.user);
    let mut approvers: Vec<CandidateApprover> = Vec::new();
    let everyone = root.cloned().into_iter().chain(owners).chain(people);
    for uid in everyone.filter(|uid| is_eligible(evaluator.call, uid)) {
        if !approvers.iter().any(|known| known.uid == uid) {
            approvers.push(CandidateApprover {
                uid,
                stands_for: Vec::new(),
            });
        }
    }
    if !groups.is_empty() {
        approvers.push(CandidateApprover {
            uid: schema::entity_uid(&TYPES.user, "(a member of the groups that policies name)"),
            stands_for: groups,
        });
    }
    approvers
}

/// Only users approve, and not their own calls.
fn is_eligible(call: &CallContext, uid: &EntityUID) -> bool {
    *uid.entity_type() == TYPES.user && *uid != call.subject.entity
}

#[cfg(test)]
#[path = "challenge_tests.rs"]
mod tests;
