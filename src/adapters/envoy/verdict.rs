//! What becomes of a request: the service decides, and what Envoy is told is written here, whichever of its
//! filters asked.

use prost_types::Struct;
use serde_json::Value as Json;

use crate::adapters::envoy::problem;
use crate::adapters::envoy::reading::Question;
use crate::adapters::envoy::refused::{Refused, Stopped};
use crate::adapters::mcp::denial;
use crate::adapters::mcp::message::Id;
use crate::adapters::told::{self, Passes, quotable};
use crate::call::decision::{Decision, ReasonCode};
use crate::service::deadline::Unanswered;
use crate::service::decisions::{Answer, Ask, Service};

/// Whether a request passes.
#[derive(Debug)]
pub(super) enum Verdict {
    Passes(Passes),
    TurnedAway(TurnedAway),
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
) -> Result<Verdict, Unanswered> {
    let id = question.id.as_ref();
    let call = |operation| (ask, question.conversation.call(operation));
    let asks: Vec<_> = question.operations.iter().cloned().map(call).collect();
    let answers = service.authorize_batch(&asks).await?;
    let denied = answers.iter().find(|answer| !answer.value.is_allow());
    Ok(match denied {
        None if !answers.is_empty() => Verdict::Passes(told::passes(&answers)),
        None => {
            let refused = Refused::new(403, "nothing was decided");
            Verdict::TurnedAway(TurnedAway::of(id, &refused))
        }
        Some(denied) => {
            let decision_id = denied.decision_id.to_string();
            Verdict::TurnedAway(match question.is_plain {
                true => {
                    let body = problem::denied(&denied.value, &decision_id);
                    self::denied(denied, 403, Body::problem(&body))
                }
                false => {
                    let body = denial::denied(id, &denied.value, &decision_id);
                    // What wants no answer gets none that looks like one.
                    self::denied(denied, id.map_or(403, |_| usual), Body::message(&body))
                }
            })
        }
    })
}

/// One answer denies.
fn denied(answer: &Answer<Decision>, usual: u16, body: Body) -> TurnedAway {
    let mut headers = vec![(told::DECISION_ID, answer.decision_id.to_string())];
    let mut status = usual;
    let first = answer.value.reasons.first();
    if let Some(reason) = first.filter(|reason| is_step_up(reason.code)) {
        status = 403;
        let said = quotable(&reason.message);
        let value = format!("Bearer error=\"insufficient_scope\", error_description=\"{said}\"");
        headers.push(("www-authenticate", value));
    }
    let metadata = told::metadata(std::slice::from_ref(answer));
    TurnedAway {
        metadata: Some(metadata),
        ..TurnedAway::with(status, headers, body)
    }
}

/// What the client reads.
struct Body {
    media_type: &'static str,
    text: String,
}

impl Body {
    /// A message of JSON-RPC.
    fn message(json: &Json) -> Self {
        Self {
            media_type: "application/json",
            text: json.to_string(),
        }
    }

    /// A problem document.
    fn problem(json: &Json) -> Self {
        Self {
            media_type: problem::MEDIA_TYPE,
            text: json.to_string(),
        }
    }
}

impl TurnedAway {
    /// Nothing was decided.
    pub(super) fn of(id: Option<&Id>, refused: &Refused) -> Self {
        let body = denial::refused(id, refused.code, &refused.message);
        Self::undecided(refused, Body::message(&body))
    }

    fn undecided(refused: &Refused, body: Body) -> Self {
        let mut headers = Vec::new();
        if refused.status == 401 {
            headers.push(("www-authenticate", "Bearer".to_owned()));
        }
        Self::with(refused.status, headers, body)
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

impl From<Stopped> for Verdict {
    fn from(stopped: Stopped) -> Self {
        let refused = &stopped.refused;
        Self::TurnedAway(match stopped.is_plain {
            true => {
                let body = problem::refused(refused.status, &refused.message);
                TurnedAway::undecided(refused, Body::problem(&body))
            }
            false => TurnedAway::of(stopped.id.as_ref(), refused),
        })
    }
}

/// What more authority, or a person's word, would turn into an allow.
fn is_step_up(code: ReasonCode) -> bool {
    matches!(
        code,
        ReasonCode::ApprovalRequired | ReasonCode::DelegationOutOfScope
    )
}

#[cfg(test)]
mod tests;
