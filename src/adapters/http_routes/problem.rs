//! The problem document (RFC 9457) that a client of plain HTTP gets in place of a response.

use http::StatusCode;
use serde_json::{Value as Json, json};

use crate::adapters::mcp::response::json_rpc_error;
use crate::domain::decide::verdict::{ReasonCode, Verdict};

/// The media type of a problem document.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// The document of a deny. `decision_id` finds the decision in traces and logs.
pub(crate) fn denied(decision: &Verdict, decision_id: &str) -> Json {
    let first = decision.reasons.first();
    let said = first.map_or("the call is denied", |reason| reason.message.as_str());
    let mut document = rejection(403, said);
    let code = first.map_or(ReasonCode::Internal, |reason| reason.code);
    document["reason"] = code.as_str().into();
    document["decision_id"] = decision_id.into();
    if let Some(challenge) = &decision.challenge {
        let expires_at = json_rpc_error::seconds(challenge.expires_at);
        document["approval"] =
            json!({"digest": challenge.digest.as_str(), "expires_at": expires_at});
    }
    document
}

/// The document of a request that was rejected before a decision.
pub(crate) fn rejection(status: u16, said: &str) -> Json {
    let known = StatusCode::from_u16(status).ok();
    let title = known.and_then(|it| it.canonical_reason());
    json!({
        "type": "about:blank", "title": title.unwrap_or("Refused"), "status": status, "detail": said,
    })
}
