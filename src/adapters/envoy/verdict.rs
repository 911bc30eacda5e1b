//! What becomes of a request: the service decides, and what Envoy is told is written here, whichever of its
//! filters asked.

use prost_types::Struct;

use crate::adapters::envoy::problem;
use crate::adapters::envoy::reading::Question;
use crate::adapters::envoy::refused::{Refused, Stopped};
use crate::adapters::mcp::denial;
use crate::adapters::mcp::message::Id;
use crate::adapters::told::{self, quotable};
use crate::call::decision::{Decision, ReasonCode};
use crate::service::decisions::{Answer, Ask, NotReady, Service};

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
        Some(denied) if question.is_plain => Verdict::TurnedAway(
            TurnedAway {
                body: problem::denied(&denied.value, &denied.decision_id.to_string()).to_string(),
                ..self::denied(None, denied, 403)
            }
            .with_problem(),
        ),
        // What wants no answer gets none that looks like one.
        Some(denied) => Verdict::TurnedAway(self::denied(id, denied, id.map_or(403, |_| usual))),
    })
}

/// All answers allow.
fn allowed(answers: &[Answer<Decision>]) -> Passes {
    let (headers, without) = told::headers(answers);
    Passes {
        headers,
        without,
        metadata: told::metadata(answers),
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
        metadata: Some(told::metadata(answers)),
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

    /// The same with a body that is a problem document.
    fn with_problem(mut self) -> Self {
        let is_type = |header: &Header| header.0 == json().0;
        self.headers.retain(|header| !is_type(header));
        self.headers
            .push((json().0, problem::MEDIA_TYPE.to_owned()));
        self
    }
}

impl From<Stopped> for Verdict {
    fn from(stopped: Stopped) -> Self {
        let turned = TurnedAway::of(stopped.id.as_ref(), &stopped.refused);
        if !stopped.is_plain {
            return Self::TurnedAway(turned);
        }
        let Refused {
            status, message, ..
        } = stopped.refused;
        Self::TurnedAway(
            TurnedAway {
                body: problem::refused(status, &message).to_string(),
                ..turned
            }
            .with_problem(),
        )
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
    (told::DECISION_ID, answer.decision_id.to_string())
}

fn json() -> Header {
    ("content-type", "application/json".to_owned())
}

#[cfg(test)]
mod tests;
