//! The JSON-RPC error that a client gets in place of a response. It contains reason codes and messages, and
//! never a policy.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value as Json, json};

use crate::adapters::mcp::message::JsonRpcId;
use crate::domain::decide::verdict::{ReasonCode, Verdict};
use crate::domain::request::visible::escaped_lines;

/// The code of a deny, from the range that the protocol leaves to implementations.
pub const DENIED: i64 = -32001;
/// The code for headers that do not match the body.
pub const HEADER_MISMATCH: i64 = -32020;

/// The error of a denied request. `decision_id` finds the decision in traces and logs.
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

/// The error of a request that was rejected before a decision.
pub fn rejection(id: Option<&JsonRpcId>, code: i64, message: &str) -> Json {
    error(id, code, message, None)
}

fn error(id: Option<&JsonRpcId>, code: i64, message: &str, data: Option<Json>) -> Json {
    let mut error = json!({ "code": code, "message": escaped_lines(message) });
    if let Some(data) = data {
        error["data"] = data;
    }
    json!({ "jsonrpc": "2.0", "id": id.map_or(Json::Null, JsonRpcId::to_json), "error": error })
}

/// Seconds since the Unix epoch.
pub(in crate::adapters) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
#[path = "json_rpc_error_tests.rs"]
mod tests;
