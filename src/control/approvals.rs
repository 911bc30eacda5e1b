//! Approvals: request, approve, reject, list.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callgate_engine::cedar::EntityUID;
use smol_str::SmolStr;

use crate::control::error::ControlError;
use crate::control::live_view::{ApprovalView, LiveView};
use crate::control::page::{ListPage, PageRequest};
use crate::control::requester::WriteRequester;
use crate::control::write::{Control, WriteReceipt};
use crate::control::write_context::WriteContext;
use crate::domain::authority::approval::{
    Approval, ApprovalDecision, ApprovalStatus, ApprovedCall,
};
use crate::domain::authority::change::Change;
use crate::domain::authority::indexed::Part;
use crate::domain::decide::govern::ApproverWish;
use crate::domain::decide::verdict::{Challenge, Reason, ReasonCode, Verdict};
use crate::domain::ids::{ApprovalId, CallDigest, TaskId};
use crate::domain::request::call_context::CallContext;
use crate::domain::request::claims;
use crate::domain::schema::TYPES;
use crate::service::ledger::PlannedChange;

#[cfg(test)]
#[path = "approvals_tests.rs"]
mod tests;

/// A request for approval of a call, with the challenge of its deny.
#[derive(Debug, Clone)]
pub struct ApprovalRequest {
    /// The call as it was decided. Its subject requests the approval.
    pub call: CallContext,
    /// The challenge; `None` makes a new one.
    pub challenge: Option<PresentedChallenge>,
}

/// A challenge that a client presents.
#[derive(Debug, Clone)]
pub struct PresentedChallenge {
    /// `sha256:<hex>` over the call and its expiry.
    pub digest: CallDigest,
    /// When the challenge expires.
    pub expires_at: SystemTime,
}

/// The approval of a call by a person.
#[derive(Debug, Clone)]
pub struct CallApproval {
    /// The id of the approval.
    pub id: ApprovalId,
    /// The digest of what the approver has seen.
    pub digest: CallDigest,
    /// How often the call may be made; 0 for once.
    pub uses: u32,
    /// The approver's comment.
    pub comment: Option<SmolStr>,
}

/// The rejection of a call by a person.
#[derive(Debug, Clone)]
pub struct CallRejection {
    /// The id of the approval.
    pub id: ApprovalId,
    /// The approver's comment.
    pub comment: Option<SmolStr>,
}

/// A filter of approvals. All fields that are given must match.
#[derive(Debug, Clone, Default)]
pub struct ApprovalFilter {
    /// The id.
    pub id: Option<ApprovalId>,
    /// The subject of the call.
    pub subject: Option<EntityUID>,
    /// The root of its authority.
    pub root: Option<EntityUID>,
    /// The task it belongs to.
    pub task: Option<TaskId>,
    /// The status.
    pub status: Option<ApprovalStatus>,
}

impl Control {
    /// Requests a person's approval of a call that was denied with `APPROVAL_REQUIRED`. A call with a pending approval
    /// gets no second one.
    ///
    /// # Errors
    ///
    /// [`ControlError::Precondition`] if the call needs no approval, [`ControlError::Denied`] if no approval would
    /// allow it, [`ControlError::Undecided`] if that is not known now, and the errors of a write.
    pub async fn request_approval(
        &self,
        author: &WriteRequester,
        request: ApprovalRequest,
    ) -> Result<WriteReceipt<ApprovalView>, ControlError> {
        // Decided before the write is planned, so that other writes do not wait for it.
        let decided = self.service.decide_dry_run(&author.caller, &request.call);
        let decided = decided.await.map_err(|_| ControlError::NotReady);
        let plan = move |context: &WriteContext<'_>| plan_request(context, &request, decided?);
        let written = self.write("RequestApproval", author, plan).await?;
        self.receipt::<Approval>(written)
    }

    /// Approves a call.
    ///
    /// # Errors
    ///
    /// [`ControlError::Denied`] if Cedar does not let the actor approve it, [`ControlError::Precondition`] if it is
    /// not pending, and the errors of a write.
    pub async fn approve_call(
        &self,
        author: &WriteRequester,
        yes: CallApproval,
    ) -> Result<WriteReceipt<ApprovalView>, ControlError> {
        let plan = move |context: &WriteContext<'_>| {
            context.set_object(yes.id.as_str());
            let limit = context.limits.approval_uses;
            if yes.uses > limit {
                let message = format!("is {}, but at most {limit} are allowed", yes.uses);
                return Err(ControlError::invalid("uses", message));
            }
            let approval = context.approval(&yes.id)?;
            if approval.digest != yes.digest {
                let message = "is not the digest of this approval: it is for another call";
                return Err(ControlError::invalid("digest", message));
            }
            let word = authorize_decision(context, approval, yes.uses.max(1), yes.comment)?;
            Ok(planned("ApproveCall", with_decision(approval, word)))
        };
        let written = self.write("ApproveCall", author, plan).await?;
        self.receipt::<Approval>(written)
    }

    /// Rejects a call, also one that was approved, is used up or is over, and whatever has become of its tool: as far as it
    /// was not made, it may not be made any more.
    ///
    /// # Errors
    ///
    /// As [`Control::approve_call`].
    pub async fn reject_call(
        &self,
        author: &WriteRequester,
        no: CallRejection,
    ) -> Result<WriteReceipt<ApprovalView>, ControlError> {
        let plan = move |context: &WriteContext<'_>| {
            context.set_object(no.id.as_str());
            let approval = context.approval(&no.id)?;
            let word = authorize_decision(context, approval, 0, no.comment)?;
            Ok(planned("RejectCall", with_decision(approval, word)))
        };
        let written = self.write("RejectCall", author, plan).await?;
        self.receipt::<Approval>(written)
    }

    /// Lists approvals in the order of their requests.
    ///
    /// # Errors
    ///
    /// [`ControlError::Invalid`] for a page size beyond the limit, [`ControlError::NotReady`] before the first
    /// load.
    pub fn list_approvals(
        &self,
        filter: &ApprovalFilter,
        page: &PageRequest,
    ) -> Result<ListPage<ApprovalView>, ControlError> {
        self.list::<Approval>(filter.id.as_ref(), filter.part(), page, |live, approval| {
            filter.pick(live, approval)
        })
    }
}

impl ApprovalFilter {
    /// The part to look up by, the rarest first.
    fn part(&self) -> Option<Part> {
        let task = self.task.clone().map(Part::Task);
        let root = || self.root.clone().map(Part::Behind);
        task.or_else(root)
            .or_else(|| self.subject.clone().map(Part::Acts))
    }

    /// Whether the call matches, whatever the status.
    pub(super) fn fits(&self, call: &ApprovedCall) -> bool {
        self.subject
            .as_ref()
            .is_none_or(|subject| call.subject == *subject)
            && (self.root.is_none() || call.root == self.root)
            && (self.task.is_none() || call.task == self.task)
    }

    fn pick(&self, view: &LiveView<'_>, approval: &Arc<Approval>) -> Option<ApprovalView> {
        let found = self.fits(&approval.call).then(|| view.approval(approval))?;
        let wanted = self.status.unwrap_or(found.status);
        (found.status == wanted).then_some(found)
    }
}

fn plan_request(
    context: &WriteContext<'_>,
    request: &ApprovalRequest,
    decided: Verdict,
) -> Result<PlannedChange, ControlError> {
    let challenge = challenge_of(context, decided)?;
    let (digest, expires_at) = match &request.challenge {
        None => (challenge.digest, challenge.expires_at),
        Some(given) => {
            check_challenge(context, given, &challenge.call)?;
            (given.digest.clone(), given.expires_at)
        }
    };
    if let Some(same) = find_pending(context, request, &digest, &challenge.call)? {
        return Ok(planned("RequestApproval", Approval::clone(same)));
    }
    check_room(context, &challenge.call.subject)?;
    let approval = Approval {
        id: context.next_id("appr").into(),
        digest,
        call: challenge.call,
        circumstances: challenge.circumstances,
        requested_at: context.now,
        expires_at,
        word: None,
    };
    Ok(planned("RequestApproval", approval))
}

/// Only a call that an approval would allow can be approved.
fn challenge_of(context: &WriteContext<'_>, decision: Verdict) -> Result<Challenge, ControlError> {
    if decision.is_allow() {
        let message = "the call is allowed as it is: it needs no approval";
        return Err(ControlError::Precondition(message.to_owned()));
    }
    let undecided = |it: &&Reason| ReasonCode::NOT_EVALUATED.contains(&it.code);
    if let Some(reason) = decision.reasons.first().filter(undecided) {
        return Err(ControlError::Undecided(reason.message.clone()));
    }
    let is_required = |decision: &Verdict| {
        let first = decision.reasons.first();
        first.is_some_and(|reason| reason.code == ReasonCode::ApprovalRequired)
    };
    match decision
        .challenge
        .clone()
        .filter(|_| is_required(&decision))
    {
        Some(challenge) => {
            context.note(decision);
            Ok(*challenge)
        }
        None => Err(ControlError::denied(decision)),
    }
}

fn check_challenge(
    context: &WriteContext<'_>,
    given: &PresentedChallenge,
    call: &ApprovedCall,
) -> Result<(), ControlError> {
    if given.expires_at <= context.now {
        let message = "is over: ask for a decision again";
        return Err(ControlError::invalid("challenge.expires_at", message));
    }
    let minutes = context.limits.approval_minutes;
    let longest = Duration::from_secs(u64::from(minutes) * 60);
    if context
        .now
        .checked_add(longest)
        .is_some_and(|last| given.expires_at > last)
    {
        let message = format!(
            "is more than {minutes} minutes from now, which `limits.approval_minutes` allows"
        );
        return Err(ControlError::invalid("challenge.expires_at", message));
    }
    if call.digest(given.expires_at) != given.digest {
        let message = "is not the digest of this call and `expires_at`";
        return Err(ControlError::invalid("challenge.digest", message));
    }
    Ok(())
}

/// The pending approval of the same call: under the same challenge, or any if none was presented. One lookup, however
/// many are pending.
fn find_pending<'s>(
    context: &WriteContext<'s>,
    request: &ApprovalRequest,
    digest: &CallDigest,
    call: &ApprovedCall,
) -> Result<Option<&'s Arc<Approval>>, ControlError> {
    let approvals = &context.generation.authority.approvals;
    if request.challenge.is_none() {
        let is_meant = |it: &Arc<Approval>| is_pending(context, it);
        return Ok(approvals.pending_for(call, context.now, is_meant));
    }
    // One that was asked for by another agent of the name would be worth nothing to this one.
    let snapshot = &context.generation.snapshot;
    let of_agent = |it: &&Arc<Approval>| it.is_of_the_same(snapshot);
    let mut decided = None;
    for approval in approvals.of_digest(digest).filter(of_agent) {
        if is_pending(context, approval) {
            let same = approvals.get(&approval.id);
            return Ok(same);
        }
        decided = Some(approval);
    }
    match decided {
        None => Ok(None),
        Some(approval) => {
            let message = format!(
                "approval `{}` of this challenge was decided already",
                approval.id
            );
            Err(ControlError::Precondition(message))
        }
    }
}

fn is_pending(context: &WriteContext<'_>, approval: &Arc<Approval>) -> bool {
    context.view().approval(approval).status == ApprovalStatus::Pending
}

fn check_room(context: &WriteContext<'_>, agent: &EntityUID) -> Result<(), ControlError> {
    let approvals = &context.generation.authority.approvals;
    let share = context.limits.pending_approvals_per_agent;
    let of_agent = approvals.pending_of(agent, context.now);
    let of_agent = of_agent.filter(|it| is_pending(context, it));
    if of_agent.take(share as usize).count() >= share as usize {
        let message = format!(
            "{share} approvals of this agent are pending, as many as \
             `limits.pending_approvals_per_agent` allows"
        );
        return Err(ControlError::LimitExceeded(message));
    }
    let limit = context.limits.pending_approvals;
    if approvals.undecided(context.now) >= limit as usize {
        let message =
            format!("{limit} approvals are pending, as many as `limits.pending_approvals` allows");
        return Err(ControlError::LimitExceeded(message));
    }
    Ok(())
}

/// The same right is needed to approve and to reject: that of a person whom Cedar lets approve this call.
fn authorize_decision(
    context: &WriteContext<'_>,
    approval: &Arc<Approval>,
    uses: u32,
    comment: Option<SmolStr>,
) -> Result<ApprovalDecision, ControlError> {
    let actor = context.actor();
    let is_no = uses == 0;
    if *actor.entity_type() != TYPES.user {
        let message = "is not a user: only a person decides on approvals";
        return Err(ControlError::invalid("actor.entity", message));
    }
    // An approver may withdraw the approval, also after losing the right to give it.
    let is_own = approval.word.as_ref().is_some_and(|word| word.by == *actor);
    if !is_no || !is_own {
        let wish = match is_no {
            true => ApproverWish::Reject,
            false => ApproverWish::Approve,
        };
        context.govern_approval(approval, wish)?;
    }
    let how = match context.view().approval(approval).status {
        ApprovalStatus::Rejected => Some("was refused already"),
        // What is used up or over today may not be tomorrow, as after a repair of the clock.
        _ if is_no => None,
        ApprovalStatus::Pending => None,
        ApprovalStatus::Approved | ApprovalStatus::Used => Some("was given already"),
        ApprovalStatus::Expired => Some("has expired"),
        ApprovalStatus::TaskEnded => Some("was for a task that is over"),
        ApprovalStatus::AgentGone => {
            Some("was asked for by an agent that is gone, or belongs to somebody else by now")
        }
    };
    if let Some(how) = how {
        let message = format!("approval `{}` {how}", approval.id);
        return Err(ControlError::Precondition(message));
    }
    Ok(ApprovalDecision {
        by: actor.clone(),
        at: context.now,
        uses,
        comment: comment.map(String::from),
        claims: claims::mapped(&context.author.actor.claims, &context.generation.claims),
        identity: Some(context.stated_identity()),
    })
}

fn with_decision(approval: &Approval, word: ApprovalDecision) -> Approval {
    Approval {
        word: Some(word),
        ..approval.clone()
    }
}

fn planned(verb: &'static str, approval: Approval) -> PlannedChange {
    PlannedChange {
        verb,
        id: approval.id.text().clone(),
        change: Change::Approval(Arc::new(approval)),
    }
}
