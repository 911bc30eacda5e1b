//! What an agent may hear of a decision: nothing about policies, groups, entities or other people.

use crate::analysis::explain::change::Change;
use crate::domain::decide::verdict::{ReasonCode, Verdict};

/// Why a call was denied and what the agent can do about it, in a few sentences. Only what the agent said itself, and
/// what does not tell how policies or entities are made.
pub fn text(verdict: &Verdict, proposals: &[Vec<Change>]) -> String {
    if verdict.is_allow() {
        return "The call is allowed.".to_owned();
    }
    let code = verdict.reasons.first().map(|it| it.code);
    let mut sentences = vec![format!("The call is denied: {}.", because(code))];
    let missing = verdict.reasons.iter().flat_map(|it| &it.missing);
    let missing: Vec<&str> = missing.map(String::as_str).collect();
    if !missing.is_empty() {
        sentences.push(format!("It lacks {}.", missing.join(", ")));
    }
    let helps = proposals.iter().find_map(|changes| {
        let each: Option<Vec<&str>> = changes.iter().map(advice).collect();
        each
    });
    sentences.push(match helps {
        Some(advice) => format!("It would be allowed if {}.", advice.join(", and ")),
        None => "Do not try it again in this form: ask the person you work for, or those who run this system.".to_owned(),
    });
    sentences.join(" ")
}

/// What an agent can ask for itself. `None` for what only others decide on.
fn advice(change: &Change) -> Option<&'static str> {
    match change {
        Change::Approve { .. } => Some("a person approved exactly this call"),
        Change::NameSession => Some("its session were named"),
        Change::StatePurpose => Some("its purpose were stated"),
        Change::Delegate { .. } => Some("it were made for a person"),
        Change::VerifyIdentity => Some("your identity were verified"),
        Change::VerifyDelegation => Some("it were verified for whom you act"),
        Change::WidenTask { .. } => Some("your task covered it"),
        Change::WidenDelegation { .. } => Some("what was delegated to you covered it"),
        Change::Resume { .. }
        | Change::AddToGroup { .. }
        | Change::RemoveFromGroup { .. }
        | Change::SetAttribute { .. }
        | Change::RegisterAccess { .. } => None,
    }
}

/// A reason in words that are the same for everyone.
fn because(code: Option<ReasonCode>) -> &'static str {
    match code {
        Some(ReasonCode::ApprovalRequired) => "a person has to approve it first",
        Some(ReasonCode::ApprovalInvalid) => "its approval is not valid for it",
        Some(ReasonCode::ContextMissing | ReasonCode::ContextInvalid) => {
            "it is not complete, or not well-formed"
        }
        Some(
            ReasonCode::DelegationExpired
            | ReasonCode::DelegationRevoked
            | ReasonCode::DelegationOutOfScope
            | ReasonCode::DelegationChainBroken,
        ) => "what was delegated to you does not cover it now",
        Some(ReasonCode::TaskClosed | ReasonCode::TaskOutOfScope | ReasonCode::TaskBudgetSpent) => {
            "your task does not cover it now"
        }
        Some(ReasonCode::SessionEnded) => "the session has ended",
        Some(ReasonCode::ToolUnknown | ReasonCode::ToolChanged | ReasonCode::ServerUnknown) => {
            "the tool is not available"
        }
        Some(ReasonCode::Overloaded | ReasonCode::StoreUnavailable | ReasonCode::Stale) => {
            "the decision could not be made in time; it may be tried again later"
        }
        _ => "it is not permitted",
    }
}

#[cfg(test)]
#[path = "for_agent_tests.rs"]
mod tests;
