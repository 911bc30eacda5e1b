//! Explains a recorded decision: from its capsule, with the policies of a directory.

use smol_str::SmolStr;

use crate::analysis::explain::limits::ExplainLimits;
use crate::analysis::explain::{self, Explanation};
use crate::analysis::replay::candidate::{Candidate, Obstacle, Replayer};
use crate::analysis::replay::{RecordedDecision, Replayed, open_capsule};
use crate::audit::capsule_content::CapsuleRequest;

/// The explanation of a recorded decision.
///
/// History, delegations, tasks, approvals and stops are those of the record, and so are the entities that were stored
/// over the API, as far as the call could reach them: a proposed change names no other stored entity.
#[derive(Debug)]
pub struct RecordedExplanation {
    /// What the directory decides on the recorded call, and why.
    pub explanation: Explanation,
    /// The digest of the bundle that decided, `sha256:<hex>`.
    pub policy_set_digest: SmolStr,
    /// Whether the directory is that bundle.
    pub is_same_bundle: bool,
    /// Whether the directory comes to the recorded decision, for the same first reason.
    pub is_same_decision: bool,
}

/// Why a recorded decision is not explained.
#[derive(Debug, thiserror::Error)]
pub enum NotExplained {
    /// It was not made from policies and facts.
    #[error("it was denied without an evaluation: {0}")]
    NotEvaluated(SmolStr),
    /// There is no capsule.
    #[error(
        "its capsule is not there: none was written, it was removed, or the key that opens it is missing"
    )]
    NoCapsule,
    /// It is about a list or a search.
    #[error("it is about a list or a search; only calls are explained")]
    List,
    /// It is about Cedar's own request.
    #[error("it is about a principal, action and resource of Cedar; only calls are explained")]
    CedarRequest,
    /// The capsule cannot be used.
    #[error(transparent)]
    Obstacle(#[from] Obstacle),
}

/// Explains a recorded decision.
///
/// # Errors
///
/// [`NotExplained`] if it is not about a call, or if what it was made from is not there.
pub fn explain(
    candidate: &Candidate,
    record: &RecordedDecision,
    limits: ExplainLimits,
) -> Result<RecordedExplanation, NotExplained> {
    let capsule = open_capsule(record).map_err(|nothing| match nothing {
        Replayed::NotEvaluated => {
            NotExplained::NotEvaluated(record.codes.first().cloned().unwrap_or_default())
        }
        Replayed::List => NotExplained::List,
        Replayed::Obstacle(obstacle) => obstacle.into(),
        Replayed::Gone | Replayed::Answer(..) | Replayed::Entries(..) => NotExplained::NoCapsule,
    })?;
    let (call, history) = match &capsule.request {
        CapsuleRequest::Call(call, history) => (call, history),
        CapsuleRequest::Cedar(_) => return Err(NotExplained::CedarRequest),
        CapsuleRequest::List(..) | CapsuleRequest::Search(_) => return Err(NotExplained::List),
    };
    let mut replayer = Replayer::new(candidate);
    let explanation = replayer.inspect(&capsule, history, |inputs, requester| {
        explain::explain(inputs, call, requester, capsule.now, limits)
    })?;
    let verdict = &explanation.verdict;
    let first = verdict.reasons.first().map(|it| it.code.as_str());
    Ok(RecordedExplanation {
        is_same_bundle: capsule.policy_set_digest == candidate.digest(),
        is_same_decision: verdict.is_allow() == record.is_allow
            && first == record.codes.first().map(SmolStr::as_str),
        policy_set_digest: capsule.policy_set_digest.clone(),
        explanation,
    })
}
