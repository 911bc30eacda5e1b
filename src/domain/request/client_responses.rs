//! What a client sends back to a server that has asked for something: data that leaves for that server.
//!
//! The revision 2026-07-28 of the protocol has them inside the repeated call (`inputResponses`), the one of
//! 2025-11-25 in replies of their own. Neither says what it answers, so its shape has to.

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::domain::request::canonical;
use crate::domain::request::elicitation::MAX_FIELDS;
use crate::domain::request::secrets::names_secret;

/// Several answers taken together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientResponses {
    /// `sampling`, `elicitation` or `roots`, each once.
    pub kinds: Vec<SmolStr>,
    /// Names of the form fields that were filled in.
    pub field_names: Vec<SmolStr>,
    /// Those that look like they hold a secret.
    pub secret_fields: Vec<SmolStr>,
    /// Everything that goes back, as canonical JSON: what a person approves. No fact, and never in telemetry.
    pub text: String,
}

/// An answer of no known shape, or of several at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not the result of sampling (`model`), elicitation (`action`) or a look at roots (`roots`)"
)]
pub struct ClientResponseError;

impl ClientResponses {
    /// What several results say, each under a key of its own; `None` if there is none.
    pub fn of(responses: &Map<String, Json>) -> Result<Option<Self>, ClientResponseError> {
        if responses.is_empty() {
            return Ok(None);
        }
        let mut answers = Self {
            text: canonical::object_text(responses),
            ..Self::default()
        };
        for response in responses.values() {
            answers.add(response.as_object().ok_or(ClientResponseError)?)?;
        }
        Ok(Some(answers))
    }

    /// Adds one answer: the `result` of a reply, or one of `inputResponses`.
    pub fn add(&mut self, result: &Map<String, Json>) -> Result<(), ClientResponseError> {
        let model = result.get("model").filter(|it| it.is_string());
        let action = result.get("action").and_then(Json::as_str);
        let roots = result.get("roots").filter(|it| it.is_array());
        let kind = match (model, action, roots) {
            (Some(_), None, None) => "sampling",
            (None, Some("accept" | "decline" | "cancel"), None) => "elicitation",
            (None, None, Some(_)) => "roots",
            _ => return Err(ClientResponseError),
        };
        if action.is_some() {
            self.add_fields(result.get("content"))?;
        }
        if !self.kinds.iter().any(|known| known == kind) {
            self.kinds.push(SmolStr::new_static(kind));
        }
        Ok(())
    }

    fn add_fields(&mut self, content: Option<&Json>) -> Result<(), ClientResponseError> {
        let fields = match content {
            None | Some(Json::Null) => return Ok(()),
            Some(Json::Object(fields)) => fields,
            Some(_) => return Err(ClientResponseError),
        };
        for name in fields.keys() {
            if self.field_names.len() == MAX_FIELDS {
                return Err(ClientResponseError);
            }
            if names_secret(name) {
                self.secret_fields.push(SmolStr::new(name));
            }
            self.field_names.push(SmolStr::new(name));
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "client_responses_tests.rs"]
mod tests;
