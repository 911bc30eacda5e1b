//! Decides a parsed request and builds the response that Envoy gets, the same for both filters.

use prost_types::Struct;
use serde_json::Value as Json;

use crate::adapters::decision_metadata::{self, RequestMutation, quotable};
use crate::adapters::envoy::reader::AuthorizationQuery;
use crate::adapters::envoy::rejection::{EnvoyRejection, RejectedRequest};
use crate::adapters::http_routes::problem;
use crate::adapters::mcp::message::JsonRpcId;
use crate::adapters::mcp::response::json_rpc_error;
use crate::domain::decide::verdict::{Reason, ReasonCode, Verdict};
use crate::service::Service;
use crate::service::deadline::ServiceError;
use crate::service::request::{RequestMeta, Response};

/// The result of checking a request.
#[derive(Debug)]
pub(super) enum CheckResult {
    Allowed(RequestMutation),
    Rejected(LocalReply),
}

/// The response that the client gets in place of the server's.
#[derive(Debug)]
pub(super) struct LocalReply {
    pub(super) status: u16,
    pub(super) headers: Vec<Header>,
    pub(super) body: String,
    /// Metadata for later filters and the access log; `None` if nothing was decided.
    pub(super) metadata: Option<Struct>,
}

/// A header's name and value.
pub(super) type Header = (&'static str, String);

/// Decides a query. `usual` is the HTTP status of a deny that neither a scope nor an approval would change.
pub(super) async fn check(
    service: &Service,
    ask: RequestMeta<'_>,
    question: &AuthorizationQuery,
    usual: u16,
) -> Result<CheckResult, ServiceError> {
    let id = question.id.as_ref();
    let call = |operation| (ask, question.conversation.call(operation));
    let asks: Vec<_> = question.operations.iter().cloned().map(call).collect();
    let answers = service.authorize_message(&asks).await?;
    let denied = answers.iter().find(|answer| !answer.value.is_allow());
    Ok(match denied {
        None if !answers.is_empty() => CheckResult::Allowed(decision_metadata::allowed(&answers)),
        None => {
            let rejection = EnvoyRejection::new(403, "nothing was decided");
            CheckResult::Rejected(LocalReply::rejected(id, &rejection))
        }
        Some(denied) => {
            let decision_id = denied.decision_id.to_string();
            CheckResult::Rejected(match question.is_plain {
                true => {
                    let body = problem::denied(&denied.value, &decision_id);
                    self::denied(denied, 403, Body::problem(&body))
                }
                false => {
                    let body = json_rpc_error::denied(id, &denied.value, &decision_id);
                    // A notification gets no JSON-RPC response, so its denial needs an HTTP status.
                    self::denied(denied, id.map_or(403, |_| usual), Body::message(&body))
                }
            })
        }
    })
}

/// The reply to a denied request.
fn denied(answer: &Response<Box<Verdict>>, usual: u16, body: Body) -> LocalReply {
    let mut headers = vec![(
        decision_metadata::DECISION_ID,
        answer.decision_id.to_string(),
    )];
    let mut status = usual;
    let first = answer.value.reasons.first();
    if let Some(reason) = first.filter(|reason| is_step_up(reason)) {
        status = 403;
        let said = quotable(&reason.message);
        let value = format!("Bearer error=\"insufficient_scope\", error_description=\"{said}\"");
        headers.push(("www-authenticate", value));
    }
    let metadata = decision_metadata::metadata(std::slice::from_ref(answer));
    LocalReply {
        metadata: Some(metadata),
        ..LocalReply::with(status, headers, body)
    }
}

/// The body of a local reply.
struct Body {
    media_type: &'static str,
    text: String,
}

impl Body {
    /// A JSON-RPC message.
    fn message(json: &Json) -> Self {
        Self {
            media_type: "application/json",
            text: json.to_string(),
        }
    }

    /// A problem document (RFC 9457).
    fn problem(json: &Json) -> Self {
        Self {
            media_type: problem::MEDIA_TYPE,
            text: json.to_string(),
        }
    }
}

impl LocalReply {
    /// The reply to a request that was rejected before a decision.
    pub(super) fn rejected(id: Option<&JsonRpcId>, rejection: &EnvoyRejection) -> Self {
        let body = json_rpc_error::rejection(id, rejection.code, &rejection.message);
        Self::with_rejection(rejection, Body::message(&body))
    }

    fn with_rejection(rejection: &EnvoyRejection, body: Body) -> Self {
        let mut headers = Vec::new();
        if rejection.status == 401 {
            headers.push(("www-authenticate", "Bearer".to_owned()));
        }
        if let Some(allowed) = rejection.allowed_methods {
            headers.push(("allow", allowed.to_owned()));
        }
        Self::with(rejection.status, headers, body)
    }

    fn with(status: u16, mut headers: Vec<Header>, body: Body) -> Self {
        headers.push(("content-type", body.media_type.to_owned()));
        Self {
            status,
            headers,
            body: body.text,
            metadata: None,
        }
    }
}

impl From<RejectedRequest> for CheckResult {
    fn from(stopped: RejectedRequest) -> Self {
        let rejection = &stopped.rejection;
        Self::Rejected(match stopped.is_plain {
            true => {
                let body = problem::rejection(rejection.status, &rejection.message);
                LocalReply::with_rejection(rejection, Body::problem(&body))
            }
            false => LocalReply::rejected(stopped.id.as_ref(), rejection),
        })
    }
}

/// Whether more authority or an approval could turn this reason into an allow. Neither helps where what was delegated
/// is not in force, or is for another task.
fn is_step_up(reason: &Reason) -> bool {
    reason.code == ReasonCode::ApprovalRequired || reason.lacks_scope
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
