//! What agentgateway is told.

use std::collections::BTreeMap;

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as WireValue};
use serde_json::Value as Json;

use crate::adapters::ext_mcp::request::Refused;
use crate::adapters::mcp::denial;
use crate::adapters::mcp::judge::Passage;
use crate::call::decision::{Decision, ReasonCode};
use crate::proto::agentgateway::ext_mcp::authorization_error::Code;
use crate::proto::agentgateway::ext_mcp::mcp_request_result::Result as OfRequest;
use crate::proto::agentgateway::ext_mcp::mcp_response_result::Result as OfResponse;
use crate::proto::agentgateway::ext_mcp::{
    AuthorizationError, HeaderMutation, McpHeader, McpRequestResult, McpResponseResult, Pass,
};
use crate::service::decisions::Answer;

const DECISION_ID: &str = "x-callgate-decision-id";
const OBLIGATIONS: &str = "x-callgate-obligations";

/// A request passes by these answers, of which there is at least one.
pub(super) fn allowed(answers: &[Answer<Decision>]) -> McpRequestResult {
    let obligations = obligations(answers);
    let mut set = Vec::new();
    let mut remove = Vec::new();
    let ids = answers.first().map(|it| it.decision_id.to_string());
    let joined = (!obligations.is_empty()).then(|| obligations.join(","));
    // What a client sends under these names never gets through.
    for (name, value) in [(DECISION_ID, ids), (OBLIGATIONS, joined)] {
        match value {
            Some(value) => set.push(McpHeader {
                key: name.to_owned(),
                value: value.into(),
            }),
            None => remove.push(name.to_owned()),
        }
    }
    McpRequestResult {
        result: Some(OfRequest::Pass(Pass {})),
        header_mutation: Some(HeaderMutation { set, remove }),
        metadata: Some(metadata(answers, &obligations)),
    }
}

/// A request does not pass because of this answer.
pub(super) fn denied(answer: &Answer<Decision>) -> McpRequestResult {
    let answers = std::slice::from_ref(answer);
    McpRequestResult {
        result: Some(OfRequest::Error(error(answer))),
        header_mutation: None,
        metadata: Some(metadata(answers, &obligations(answers))),
    }
}

/// Nothing was decided about a request.
pub(super) fn refused(refused: Refused) -> McpRequestResult {
    McpRequestResult {
        result: Some(OfRequest::Error(refused.into())),
        ..McpRequestResult::default()
    }
}

/// What becomes of an answer on its way back.
pub(super) fn passage(passage: Result<Passage, Refused>) -> McpResponseResult {
    let result = match passage {
        Ok(Passage::AsItIs) => OfResponse::Pass(Pass {}),
        Ok(Passage::Changed(result)) => {
            OfResponse::Mutated(Json::Object(result).to_string().into())
        }
        Ok(Passage::Denied(answer)) => OfResponse::Error(error(&answer)),
        Ok(Passage::Refused(undecided)) => OfResponse::Error(Refused::from(undecided).into()),
        Err(refused) => OfResponse::Error(refused.into()),
    };
    McpResponseResult {
        result: Some(result),
    }
}

impl From<Refused> for AuthorizationError {
    fn from(refused: Refused) -> Self {
        Self {
            code: refused.code.into(),
            reason: refused.reason,
            mcp_error: None,
        }
    }
}

/// The gateway makes a JSON-RPC error of it: its code from `code`, its message from `reason`, its data from
/// `mcp_error`.
fn error(answer: &Answer<Decision>) -> AuthorizationError {
    let decision_id = answer.decision_id.to_string();
    let mut shown = denial::denied(None, &answer.value, &decision_id);
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

/// Text as it may stand between quotes in a header.
fn quotable(text: &str) -> String {
    let is_plain = |c: char| (' '..='~').contains(&c) && c != '"' && c != '\\';
    text.chars()
        .map(|c| if is_plain(c) { c } else { '\'' })
        .collect()
}

/// What an allow does not hold without, each once.
fn obligations(answers: &[Answer<Decision>]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let policies = answers.iter().flat_map(|answer| &answer.value.determining);
    for obligation in policies.flat_map(|policy| policy.obligations.iter()) {
        let obligation = quotable(obligation);
        if !all.contains(&obligation) {
            all.push(obligation);
        }
    }
    all
}

/// For expressions in the gateway's configuration, as `mcpGuardrails.<field>`.
fn metadata(answers: &[Answer<Decision>], obligations: &[String]) -> Struct {
    let text = |text: &str| WireValue {
        kind: Some(Kind::StringValue(text.to_owned())),
    };
    let list = |values: Vec<WireValue>| WireValue {
        kind: Some(Kind::ListValue(ListValue { values })),
    };
    let is_allow = answers.iter().all(|answer| answer.value.is_allow());
    let reasons = answers.iter().flat_map(|answer| &answer.value.reasons);
    let mut fields = BTreeMap::from([
        (
            "decision".to_owned(),
            text(if is_allow { "allow" } else { "deny" }),
        ),
        (
            "reasons".to_owned(),
            list(reasons.map(|it| text(it.code.as_str())).collect()),
        ),
        (
            "obligations".to_owned(),
            list(obligations.iter().map(|it| text(it)).collect()),
        ),
    ]);
    if let Some(answer) = answers.first() {
        // Revisions count up from 1: a double holds them for longer than anything runs.
        let revision = answer.revision.to_string().parse().unwrap_or_default();
        let kind = Some(Kind::NumberValue(revision));
        fields.insert("revision".to_owned(), WireValue { kind });
        let id = text(&answer.decision_id.to_string());
        fields.insert("decision_id".to_owned(), id);
    }
    Struct {
        fields: fields.into_iter().collect(),
    }
}
