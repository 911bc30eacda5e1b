//! Answers as they go over the wire, and how they are shown.

use callgate::proto::{json, v1};
use prost::Message;
use serde_json::Value as Json;
use tonic::Status;

/// An answer as JSON. What no story can know is left out: its name, and how many policies there were. The parts that explain
/// policy by policy are held by the tests of `explain`.
pub fn shown(answer: &v1::AuthorizeResponse) -> Json {
    let mut answer = answer.clone();
    answer.decision_id.clear();
    if let Some(explanation) = &mut answer.explanation {
        for principal in &mut explanation.principals {
            principal.policies_evaluated = 0;
            principal.policies_total = 0;
        }
        explanation.chain.clear();
        explanation.facts = None;
        explanation.requests.clear();
        explanation.proposals.clear();
        explanation.proposals_exhaustive = false;
        explanation.proposals_out_of_time = false;
        explanation.for_agent.clear();
    }
    json::write("AuthorizeResponse", &answer).expect("JSON")
}

/// The codes of the reasons, without their prefix.
pub fn codes(reasons: &[v1::Reason]) -> Vec<String> {
    reasons
        .iter()
        .map(|reason| reason.code().as_str_name())
        .map(|name| name.trim_start_matches("REASON_CODE_").to_owned())
        .collect()
}

/// The reasons that came with the deny of a write; `None` if it was not denied but refused.
pub fn reasons(status: &Status) -> Option<Vec<v1::Reason>> {
    let details = tonic_types::pb::Status::decode(status.details()).ok()?;
    let reasons = details.details.iter();
    let reasons: Vec<_> = reasons
        .filter_map(|any| v1::Reason::decode(&*any.value).ok())
        .collect();
    (!reasons.is_empty()).then_some(reasons)
}

/// What is expected and what came, one below the other.
pub fn differ<T: std::fmt::Display>(expected: T, came: T) -> String {
    format!("  expected {expected}\n  came     {came}")
}

/// Fails unless the two are the same.
pub fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    expected: &T,
    came: &T,
) -> Result<(), String> {
    if expected == came {
        return Ok(());
    }
    Err(differ(
        format!("{what} {expected:?}"),
        format!("{what} {came:?}"),
    ))
}
