//! Encodes the replies to agentgateway.

use prost_types::value::Kind;
use prost_types::{Struct, Value as WireValue};
use serde_json::Value as Json;

use crate::adapters::agentgateway::request::AgentgatewayRejection;
use crate::adapters::decision_metadata;
use crate::adapters::mcp::response::filter::Filtered;
use crate::adapters::mcp::response::json_rpc_error;
use crate::domain::decide::verdict::{ReasonCode, Verdict};
use crate::proto::agentgateway::ext_mcp::authorization_error::Code;
use crate::proto::agentgateway::ext_mcp::mcp_request_result::Result as OfRequest;
use crate::proto::agentgateway::ext_mcp::mcp_response_result::Result as OfResponse;
use crate::proto::agentgateway::ext_mcp::{
    AuthorizationError, HeaderMutation, McpHeader, McpRequestResult, McpResponseResult, Pass,
};
use crate::service::request::Response;

/// The field of the metadata with the id of the decision.
pub(super) const DECISION_ID: &str = "decision_id";

/// The reply to an allowed request. There is at least one response.
pub(super) fn allowed(answers: &[Response<Box<Verdict>>]) -> McpRequestResult {
    let passes = decision_metadata::allowed(answers);
    let set = passes.headers.into_iter().map(|(name, value)| McpHeader {
        key: name.to_owned(),
        value: value.into(),
    });
    McpRequestResult {
        result: Some(OfRequest::Pass(Pass {})),
        header_mutation: Some(HeaderMutation {
            set: set.collect(),
            remove: passes.without.into_iter().map(str::to_owned).collect(),
        }),
        metadata: Some(named(passes.metadata, answers)),
    }
}

/// The reply to a denied request.
pub(super) fn denied(answer: &Response<Box<Verdict>>) -> McpRequestResult {
    let answers = std::slice::from_ref(answer);
    McpRequestResult {
        result: Some(OfRequest::Error(error(answer))),
        header_mutation: None,
        metadata: Some(named(decision_metadata::metadata(answers), answers)),
    }
}

/// Adds `decision_id`, for expressions in the gateway's configuration such as `mcpGuardrails.<field>`, where
/// a single text is easier to use than a list.
fn named(mut metadata: Struct, answers: &[Response<Box<Verdict>>]) -> Struct {
    if let Some(answer) = answers.first() {
        let kind = Some(Kind::StringValue(answer.decision_id.to_string()));
        let id = WireValue { kind };
        metadata.fields.insert(DECISION_ID.to_owned(), id);
    }
    metadata
}

/// The reply to a request that was rejected before a decision.
pub(super) fn rejected(rejection: AgentgatewayRejection) -> McpRequestResult {
    McpRequestResult {
        result: Some(OfRequest::Error(rejection.into())),
        ..McpRequestResult::default()
    }
}

/// The reply to a filtered response.
pub(super) fn filtered(filtered: Result<Filtered, AgentgatewayRejection>) -> McpResponseResult {
    let result = match filtered {
        Ok(Filtered::Unchanged) => OfResponse::Pass(Pass {}),
        Ok(Filtered::Rewritten(result)) => OfResponse::Mutated(result.into()),
        Ok(Filtered::Denied(answer)) => OfResponse::Error(error(&answer)),
        Ok(Filtered::Rejected(error)) => {
            OfResponse::Error(AgentgatewayRejection::from(error).into())
        }
        Err(rejection) => OfResponse::Error(rejection.into()),
    };
    McpResponseResult {
        result: Some(result),
    }
}

impl From<AgentgatewayRejection> for AuthorizationError {
    fn from(rejection: AgentgatewayRejection) -> Self {
        Self {
            code: rejection.code.into(),
            reason: rejection.reason,
            mcp_error: None,
        }
    }
}

/// The gateway makes a JSON-RPC error of it: the code from `code`, the message from `reason`, the data from
/// `mcp_error`.
fn error(answer: &Response<Box<Verdict>>) -> AuthorizationError {
    let decision_id = answer.decision_id.to_string();
    let mut shown = json_rpc_error::denied(None, &answer.value, &decision_id);
    let mut error = shown.get_mut("error").map(Json::take).unwrap_or_default();
    let message = error.get("message").and_then(Json::as_str);
    let reason = message.unwrap_or_default().to_owned();
    let code = match answer.value.reasons.first().map(|it| it.code) {
        Some(ReasonCode::TaskBudgetSpent | ReasonCode::Overloaded) => Code::ResourceExhausted,
        _ => Code::PermissionDenied,
    };
    let data = error.get_mut("data").map(Json::take);
    AuthorizationError {
        code: code.into(),
        reason,
        mcp_error: data.map(|data| data.to_string().into()),
    }
}
