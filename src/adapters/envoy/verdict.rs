//! What becomes of a request: the service decides, and what Envoy is told is written here, whichever of its
//! filters asked.

use std::collections::BTreeMap;

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as WireValue};

use crate::adapters::envoy::reading::Question;
use crate::adapters::envoy::refused::{Refused, Stopped};
use crate::adapters::mcp::denial;
use crate::adapters::mcp::message::Id;
use crate::call::decision::{Decision, ReasonCode};
use crate::service::decisions::{Answer, Ask, NotReady, Service};

const DECISION_ID: &str = "x-callgate-decision-id";
const OBLIGATIONS: &str = "x-callgate-obligations";

/// Whether a request passes.
#[derive(Debug)]
pub(super) enum Verdict {
    Passes(Passes),
    TurnedAway(TurnedAway),
}

/// What a request is given along.
#[derive(Debug)]
pub(super) struct Passes {
    /// Headers to set, over whatever a client sent under the same names.
    pub(super) headers: Vec<Header>,
    /// Headers of these names are taken away.
    pub(super) without: Vec<&'static str>,
    /// For filters further on and for the access log.
    pub(super) metadata: Struct,
}

/// The response that the client gets in place of the server's.
#[derive(Debug)]
pub(super) struct TurnedAway {
    pub(super) status: u16,
    pub(super) headers: Vec<Header>,
    pub(super) body: String,
    /// For filters further on and for the access log; absent if nothing was decided.
    pub(super) metadata: Option<Struct>,
}

/// A header's name and value.
pub(super) type Header = (&'static str, String);

/// Decides. `usual` is the HTTP status of a deny that no scope and no approval would turn.
pub(super) async fn of(
    service: &Service,
    ask: Ask<'_>,
    question: &Question,
    usual: u16,
) -> Result<Verdict, NotReady> {
    let id = question.id.as_ref();
    let call = |operation| (ask, question.conversation.call(operation));
    let asks: Vec<_> = question.operations.iter().cloned().map(call).collect();
    let answers = service.authorize_batch(&asks).await?;
    let denied = answers.iter().find(|answer| !answer.value.is_allow());
    Ok(match denied {
        None if !answers.is_empty() => Verdict::Passes(allowed(&answers)),
        None => {
            let refused = Refused::new(403, "nothing was decided");
            Verdict::TurnedAway(TurnedAway::of(id, &refused))
        }
        // What wants no answer gets none that looks like one.
        Some(denied) => Verdict::TurnedAway(self::denied(id, denied, id.map_or(403, |_| usual))),
    })
}

/// All answers allow.
fn allowed(answers: &[Answer<Decision>]) -> Passes {
    let obligations = obligations(answers);
    let mut headers = Vec::new();
    headers.extend(answers.first().map(decision_id));
    let mut without = Vec::new();
    match obligations.is_empty() {
        true => without.push(OBLIGATIONS),
        false => headers.push((OBLIGATIONS, obligations.join(","))),
    }
    Passes {
        headers,
        without,
        metadata: metadata(answers, &obligations),
    }
}

/// One answer denies.
fn denied(id: Option<&Id>, answer: &Answer<Decision>, usual: u16) -> TurnedAway {
    let decision_id_text = answer.decision_id.to_string();
    let mut headers = vec![decision_id(answer)];
    let mut status = usual;
    let first = answer.value.reasons.first();
    if let Some(reason) = first.filter(|reason| is_step_up(reason.code)) {
        status = 403;
        let said = quotable(&reason.message);
        let value = format!("Bearer error=\"insufficient_scope\", error_description=\"{said}\"");
        headers.push(("www-authenticate", value));
    }
    headers.push(json());
    let answers = std::slice::from_ref(answer);
    TurnedAway {
        status,
        headers,
        body: denial::denied(id, &answer.value, &decision_id_text).to_string(),
        metadata: Some(metadata(answers, &obligations(answers))),
    }
}

impl TurnedAway {
    /// Nothing was decided.
    pub(super) fn of(id: Option<&Id>, refused: &Refused) -> Self {
        let mut headers = Vec::new();
        if refused.status == 401 {
            headers.push(("www-authenticate", "Bearer".to_owned()));
        }
        headers.push(json());
        Self {
            status: refused.status,
            headers,
            body: denial::refused(id, refused.code, &refused.message).to_string(),
            metadata: None,
        }
    }
}

impl From<Stopped> for Verdict {
    fn from(stopped: Stopped) -> Self {
        Self::TurnedAway(TurnedAway::of(stopped.id.as_ref(), &stopped.refused))
    }
}

/// What more authority, or a person's word, would turn into an allow.
fn is_step_up(code: ReasonCode) -> bool {
    matches!(
        code,
        ReasonCode::ApprovalRequired | ReasonCode::DelegationOutOfScope
    )
}

fn decision_id(answer: &Answer<Decision>) -> Header {
    (DECISION_ID, answer.decision_id.to_string())
}

fn json() -> Header {
    ("content-type", "application/json".to_owned())
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
