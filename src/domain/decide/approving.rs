//! The question whether somebody may approve a call.
//!
//! It is asked three times: when a call is denied (who could?), when somebody approves or rejects it, and when it is
//! made with the approval (may they still?). It is the same Cedar request each time, and made here: the principal is
//! the approver, the resource is the tool, `context.identity` and `context.environment` are the approver's, and all
//! other facts are the call's.

use std::time::SystemTime;

use callgate_engine::cedar::{EntityUID, Value};
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::config::claims::ClaimMapping;
use crate::domain::authority::approval::ApprovalDecision;
use crate::domain::authority::stated_identity::StatedIdentity;
use crate::domain::decide::cedar_request::CedarRequest;
use crate::domain::decide::described_call;
use crate::domain::decide::evaluate::{
    ClaimedParties, PrincipalEvaluations, RequestEntities, RequestEvaluator, check_scopes,
};
use crate::domain::decide::inputs::DecisionInputs;
use crate::domain::decide::verify::VerifiedEvidence;
use crate::domain::reason::Reason;
use crate::domain::request::call_context::CallContext;
use crate::domain::schema;

/// The facts of an approver that nobody knows before they approve.
const UNKNOWN_OF_APPROVER: [&str; 2] = ["environment", "identity"];

/// A call, and whether it may be approved.
pub struct ApproveQuestion<'a> {
    inputs: DecisionInputs<'a>,
    call: &'a CallContext,
    evidence: &'a VerifiedEvidence<'a>,
    request: CedarRequest,
    mapping: &'a ClaimMapping,
    now: SystemTime,
}

/// Somebody who approves, has approved, or might.
#[derive(Debug, Clone)]
pub struct Approver<'a> {
    uid: &'a EntityUID,
    claims: Option<&'a Map<String, Json>>,
    /// `None` if nobody knows it.
    identity: Option<StatedIdentity>,
    /// The groups that a hypothetical approver is assumed to be in.
    stands_for: &'a [EntityUID],
}

/// Whether an approver may still approve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StillApproves {
    /// They may.
    Yes,
    /// They may not.
    No,
    /// It depends on an identity that was not recorded.
    Unknown,
}

impl<'a> Approver<'a> {
    /// Somebody who approves with this identity and these claims.
    pub fn known(
        uid: &'a EntityUID,
        claims: &'a Map<String, Json>,
        identity: StatedIdentity,
    ) -> Self {
        Self {
            claims: Some(claims),
            identity: Some(identity),
            ..Self::candidate(uid, &[])
        }
    }

    /// Somebody who has approved, as they were then.
    fn of_decision(word: &'a ApprovalDecision) -> Self {
        Self {
            claims: Some(&word.claims),
            identity: word.identity.clone(),
            ..Self::candidate(&word.by, &[])
        }
    }

    /// Somebody who might approve, and is assumed to be in these groups.
    pub fn candidate(uid: &'a EntityUID, stands_for: &'a [EntityUID]) -> Self {
        Self {
            uid,
            claims: None,
            identity: None,
            stands_for,
        }
    }
}

impl<'a> ApproveQuestion<'a> {
    /// The question about a call, of which this is the Cedar request.
    pub fn new(
        inputs: &DecisionInputs<'a>,
        (call, evidence): (&'a CallContext, &'a VerifiedEvidence<'a>),
        request: &CedarRequest,
        mapping: &'a ClaimMapping,
        now: SystemTime,
    ) -> Self {
        Self {
            inputs: *inputs,
            call,
            evidence,
            request: CedarRequest {
                overlays: request.overlays.clone(),
                targets: request.targets.clone(),
                ..CedarRequest::new(schema::action_uid("approve_call"), request.resource.clone())
            },
            mapping,
            now,
        }
    }

    /// The question about the call that is evaluated. It is not shown to an observer.
    pub fn of_call(evaluator: &RequestEvaluator<'a>, mapping: &'a ClaimMapping) -> Self {
        let RequestEvaluator {
            inputs,
            call,
            evidence,
            request,
            now,
            ..
        } = *evaluator;
        let inputs = DecisionInputs {
            observer: None,
            ..*inputs
        };
        Self::new(&inputs, (call, evidence), request, mapping, now)
    }

    /// Whether a candidate may approve the call, with whatever identity.
    pub fn could(&self, candidate: &Approver<'_>) -> bool {
        let might = |_: &CedarRequest, all: PrincipalEvaluations<'_>| {
            all.iter().all(|(_, evaluation)| evaluation.may_allow())
        };
        self.evaluate(candidate, might).unwrap_or(false)
    }

    /// Whether somebody who has approved the call may still do so, with the identity and the claims of that time. An
    /// identity that was not recorded helps nobody.
    ///
    /// # Errors
    ///
    /// [`CONTEXT_INVALID`](crate::domain::reason::ReasonCode::ContextInvalid) if claims are malformed.
    pub fn may_still(&self, word: &ApprovalDecision) -> Result<StillApproves, Reason> {
        let judge = |_: &CedarRequest, all: PrincipalEvaluations<'_>| match (
            all.iter().all(|(_, it)| it.is_allow_regardless()),
            all.iter().all(|(_, it)| it.may_allow()),
        ) {
            (true, _) => StillApproves::Yes,
            (false, true) => StillApproves::Unknown,
            (false, false) => StillApproves::No,
        };
        self.evaluate(&Approver::of_decision(word), judge)
    }

    /// Evaluates the policies for an approver, and reads what came of it.
    ///
    /// # Errors
    ///
    /// [`CONTEXT_INVALID`](crate::domain::reason::ReasonCode::ContextInvalid) if claims are malformed, or the action
    /// does not apply to the approver.
    pub fn evaluate<T>(
        &self,
        approver: &Approver<'_>,
        read: impl FnOnce(&CedarRequest, PrincipalEvaluations<'_>) -> T,
    ) -> Result<T, Reason> {
        let principals = [approver.uid];
        let CedarRequest {
            action, resource, ..
        } = &self.request;
        check_scopes(self.inputs.snapshot, &principals, action, resource)?;
        let (entities, unknown) = self.entities(approver)?;
        let identity = approver.identity.as_ref().map(StatedIdentity::to_identity);
        let evaluator = RequestEvaluator {
            inputs: &self.inputs,
            call: self.call,
            evidence: self.evidence,
            request: &self.request,
            entities: &entities,
            approver: Some(&identity.unwrap_or_default()),
            now: self.now,
        };
        let evaluations = evaluator.evaluate(&principals, None, unknown)?;
        Ok(read(&self.request, evaluations))
    }

    /// The entities that exist for the request, and which facts are unknown in it.
    fn entities(
        &self,
        approver: &Approver<'_>,
    ) -> Result<(RequestEntities, &'static [&'static str]), Reason> {
        let snapshot = self.inputs.snapshot;
        let parties = described_call::stated(self.call);
        let (own, others): (Vec<_>, Vec<_>) = parties.partition(|(uid, _)| *uid == approver.uid);
        // What the call says of somebody who has not approved yet is all that is known of them.
        let nothing = Map::new();
        let stated = own.first().map_or(&nothing, |(_, claims)| claims);
        let anybody = StatedIdentity {
            method: None,
            verified: false,
            through_agent: true,
            gateway: schema::entity_uid(&schema::TYPES.gateway, SmolStr::default()),
        };
        let (identity, unknown): (_, &[&str]) = match &approver.identity {
            Some(identity) => (identity, &[]),
            None => (&anybody, &UNKNOWN_OF_APPROVER),
        };
        let parties = ClaimedParties {
            root: self.evidence.chain.as_ref().map(|chain| &*chain.root),
            claims: &[],
        };
        let task = self.evidence.task;
        let mut entities = RequestEntities::seen_through(
            snapshot,
            (approver.uid, approver.claims.unwrap_or(stated)),
            parties,
            task.filter(|_| snapshot.reads_context("task")),
            identity,
            self.mapping,
        )?;
        for (uid, claims) in others {
            entities.add_claims(uid, claims, self.mapping)?;
        }
        assume_groups(&mut entities, approver);
        Ok((entities, unknown))
    }
}

/// Makes a hypothetical approver an active member of the groups that they stand for.
fn assume_groups(entities: &mut RequestEntities, approver: &Approver<'_>) {
    if approver.stands_for.is_empty() {
        return;
    }
    let mut overlays = entities.overlays.iter_mut();
    if let Some(overlay) = overlays.find(|it| it.uid == *approver.uid) {
        overlay.parents.extend_from_slice(approver.stands_for);
        let active = (SmolStr::new_static("active"), Value::new(true, None));
        overlay.attributes.push(active);
    }
}

#[cfg(test)]
#[path = "approving_tests.rs"]
mod tests;
