//! What agentgateway is told.

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

/// A request passes by these answers, of which there is at least one.
pub(super) fn allowed(answers: &[Response<Verdict>]) -> McpRequestResult {
    let passes = decision_metadata::passes(answers);
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

/// A request does not pass because of this answer.
pub(super) fn denied(answer: &Response<Verdict>) -> McpRequestResult {
    let answers = std::slice::from_ref(answer);
    McpRequestResult {
        result: Some(OfRequest::Error(error(answer))),
        header_mutation: None,
        metadata: Some(named(decision_metadata::metadata(answers), answers)),
    }
}

/// For expressions in the gateway's configuration, as `mcpGuardrails.<field>`. There a single text is easier to
/// use than a list.
fn named(mut metadata: Struct, answers: &[Response<Verdict>]) -> Struct {
    if let Some(answer) = answers.first() {
        let kind = Some(Kind::StringValue(answer.decision_id.to_string()));
        let id = WireValue { kind };
        metadata.fields.insert("decision_id".to_owned(), id);
    }
    metadata
}

/// Nothing was decided about a request.
pub(super) fn refused(refused: AgentgatewayRejection) -> McpRequestResult {
    McpRequestResult {
        result: Some(OfRequest::Error(refused.into())),
        ..McpRequestResult::default()
    }
}

/// What becomes of an answer on its way back.
pub(super) fn passage(passage: Result<Filtered, AgentgatewayRejection>) -> McpResponseResult {
    let result = match passage {
        Ok(Filtered::Unchanged) => OfResponse::Pass(Pass {}),
        Ok(Filtered::Rewritten(result)) => OfResponse::Mutated(result.into()),
        Ok(Filtered::Denied(answer)) => OfResponse::Error(error(&answer)),
        Ok(Filtered::Rejected(undecided)) => {
            OfResponse::Error(AgentgatewayRejection::from(undecided).into())
        }
        Err(refused) => OfResponse::Error(refused.into()),
    };
    McpResponseResult {
        result: Some(result),
    }
}

impl From<AgentgatewayRejection> for AuthorizationError {
    fn from(refused: AgentgatewayRejection) -> Self {
        Self {
            code: refused.code.into(),
            reason: refused.reason,
            mcp_error: None,
        }
    }
}

/// The gateway makes a JSON-RPC error of it: its code from `code`, its message from `reason`, its data from
/// `mcp_error`.
fn error(answer: &Response<Verdict>) -> AuthorizationError {
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
