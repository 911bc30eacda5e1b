//! What Envoy is told.

use std::collections::BTreeMap;

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as WireValue};
use serde_json::Value as Json;
use tonic::Code;

use crate::adapters::mcp::denial;
use crate::adapters::mcp::message::Id;
use crate::call::decision::{Decision, ReasonCode};
use crate::proto::envoy::auth::check_response::HttpResponse;
use crate::proto::envoy::auth::{
    CheckResponse, DeniedHttpResponse, HeaderValue, HeaderValueOption, HttpStatus, OkHttpResponse,
    Status,
};
use crate::service::decisions::Answer;

const DECISION_ID: &str = "x-callgate-decision-id";
const OBLIGATIONS: &str = "x-callgate-obligations";
/// `OVERWRITE_IF_EXISTS_OR_ADD`: what a client sends under our names never gets through.
const OVERWRITE: i32 = 2;

/// A refusal before any decision.
pub(super) struct Refused {
    /// The HTTP status.
    pub(super) status: u16,
    /// The code of JSON-RPC.
    pub(super) code: i64,
    /// Safe to send.
    pub(super) message: String,
}

/// All answers allow.
pub(super) fn allowed(answers: &[Answer<Decision>]) -> CheckResponse {
    let obligations = obligations(answers);
    let mut headers = Vec::new();
    headers.extend(answers.first().map(decision_id));
    let mut headers_to_remove = Vec::new();
    match obligations.is_empty() {
        true => headers_to_remove.push(OBLIGATIONS.to_owned()),
        false => headers.push(header(OBLIGATIONS, obligations.join(","))),
    }
    if answers.is_empty() {
        headers_to_remove.push(DECISION_ID.to_owned());
    }
    CheckResponse {
        status: Some(status(Code::Ok)),
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse {
            headers,
            headers_to_remove,
        })),
        dynamic_metadata: Some(metadata(answers, &obligations)),
    }
}

/// One answer denies. `usual` is the HTTP status of a deny that no scope and no approval would turn.
pub(super) fn denied(id: Option<&Id>, answer: &Answer<Decision>, usual: u16) -> CheckResponse {
    let decision_id_text = answer.decision_id.to_string();
    let body = denial::denied(id, &answer.value, &decision_id_text);
    let mut headers = vec![decision_id(answer)];
    let mut http = usual;
    let first = answer.value.reasons.first();
    if let Some(reason) = first.filter(|reason| is_step_up(reason.code)) {
        http = 403;
        let said = quotable(&reason.message);
        let value = format!("Bearer error=\"insufficient_scope\", error_description=\"{said}\"");
        headers.push(header("www-authenticate", value));
    }
    let answers = std::slice::from_ref(answer);
    let mut response = turned_away(http, headers, &body);
    response.dynamic_metadata = Some(metadata(answers, &obligations(answers)));
    response
}

/// Nothing was decided.
pub(super) fn refused(id: Option<&Id>, refused: &Refused) -> CheckResponse {
    let body = denial::refused(id, refused.code, &refused.message);
    let mut headers = Vec::new();
    if refused.status == 401 {
        headers.push(header("www-authenticate", "Bearer".to_owned()));
    }
    turned_away(refused.status, headers, &body)
}

/// What more authority, or a person's word, would turn into an allow.
fn is_step_up(code: ReasonCode) -> bool {
    matches!(
        code,
        ReasonCode::ApprovalRequired | ReasonCode::DelegationOutOfScope
    )
}

fn turned_away(http: u16, mut headers: Vec<HeaderValueOption>, body: &Json) -> CheckResponse {
    headers.push(header("content-type", "application/json".to_owned()));
    CheckResponse {
        status: Some(status(Code::PermissionDenied)),
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus { code: http.into() }),
            headers,
            body: body.to_string(),
        })),
        dynamic_metadata: None,
    }
}

fn status(code: Code) -> Status {
    Status {
        code: code.into(),
        message: String::new(),
    }
}

fn decision_id(answer: &Answer<Decision>) -> HeaderValueOption {
    header(DECISION_ID, answer.decision_id.to_string())
}

fn header(key: &str, value: String) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: key.to_owned(),
            value,
            ..HeaderValue::default()
        }),
        append_action: OVERWRITE,
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

/// For filters further on and for the access log, in the namespace `envoy.filters.http.ext_authz`.
fn metadata(answers: &[Answer<Decision>], obligations: &[String]) -> Struct {
    let text = |text: &str| WireValue {
        kind: Some(Kind::StringValue(text.to_owned())),
    };
    let list = |values: Vec<WireValue>| WireValue {
        kind: Some(Kind::ListValue(ListValue { values })),
    };
    let is_allow = answers.iter().all(|answer| answer.value.is_allow());
    let reasons = answers.iter().flat_map(|answer| &answer.value.reasons);
    let ids = answers.iter().map(|it| text(&it.decision_id.to_string()));
    let mut fields = BTreeMap::from([
        (
            "decision".to_owned(),
            text(if is_allow { "allow" } else { "deny" }),
        ),
        ("decision_ids".to_owned(), list(ids.collect())),
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
    }
    Struct {
        fields: fields.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests;
