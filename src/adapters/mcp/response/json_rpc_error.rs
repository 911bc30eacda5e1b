//! The JSON-RPC error that a client sees instead of an answer. It names codes and sentences that an agent may
//! see, and never a policy.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value as Json, json};

use crate::adapters::mcp::message::JsonRpcId;
use crate::domain::decide::verdict::{ReasonCode, Verdict};
use crate::domain::request::visible::escaped_lines;

/// A deny, from the range that the protocol leaves to implementations.
pub const DENIED: i64 = -32001;
/// Headers and body disagree.
pub const HEADER_MISMATCH: i64 = -32020;

/// The error of a request that was denied. `decision_id` finds the decision in traces and logs.
pub fn denied(id: Option<&JsonRpcId>, decision: &Verdict, decision_id: &str) -> Json {
    let first = decision.reasons.first();
    let reasons = decision.reasons.iter().map(|reason| {
        let mut shown = Map::new();
        shown.insert("code".to_owned(), reason.code.as_str().into());
        shown.insert("message".to_owned(), reason.message.as_str().into());
        if !reason.missing.is_empty() {
            shown.insert("missing".to_owned(), reason.missing.clone().into());
        }
        Json::Object(shown)
    });
    let mut authorization = json!({
        "reason": first.map_or(ReasonCode::Internal, |reason| reason.code).as_str(),
        "authorizationContextId": decision_id,
        "reasons": reasons.collect::<Vec<_>>(),
    });
    if let Some(challenge) = &decision.challenge {
        authorization["remediationHints"] = json!([{
            "type": "approval",
            "digest": challenge.digest.as_str(),
            "expiresAt": seconds(challenge.expires_at),
        }]);
    }
    let message = first.map_or("the call is denied", |reason| reason.message.as_str());
    error(
        id,
        DENIED,
        message,
        Some(json!({ "authorization": authorization })),
    )
}

/// The error of something that cannot be decided.
pub fn refused(id: Option<&JsonRpcId>, code: i64, message: &str) -> Json {
    error(id, code, message, None)
}

fn error(id: Option<&JsonRpcId>, code: i64, message: &str, data: Option<Json>) -> Json {
    let mut error = json!({ "code": code, "message": escaped_lines(message) });
    if let Some(data) = data {
        error["data"] = data;
    }
    json!({ "jsonrpc": "2.0", "id": id.map_or(Json::Null, JsonRpcId::to_json), "error": error })
}

/// Seconds since 1970.
pub(in crate::adapters) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
#[path = "json_rpc_error_tests.rs"]
mod tests;
