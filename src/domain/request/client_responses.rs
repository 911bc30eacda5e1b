//! Client responses: data that a client sends to a server on the server's request.
//!
//! Protocol revision 2026-07-28 sends them with the repeated call (`inputResponses`), revision 2025-11-25 as
//! separate responses. Neither states what it responds to, so the kind is determined from the shape.

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::domain::request::canonical;
use crate::domain::request::elicitation::MAX_FIELDS;
use crate::domain::request::secrets::names_secret;

/// The kind of an error that has more to say than a code and a short message.
pub const ERROR: SmolStr = SmolStr::new_static("error");

/// The kind of a result of metadata (`_meta`) alone.
pub const METADATA: SmolStr = SmolStr::new_static("metadata");

/// Client responses of one call, combined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientResponses {
    /// `sampling`, `elicitation` or `roots`, each once; [`ERROR`] or [`METADATA`] of a JSON-RPC response that is neither.
    pub kinds: Vec<SmolStr>,
    /// The names of completed form fields.
    pub field_names: Vec<SmolStr>,
    /// The names of form fields that look like secrets.
    pub secret_fields: Vec<SmolStr>,
    /// All responses as canonical JSON, for approvals. Not a fact for policies and never in telemetry.
    pub text: String,
}

/// A response that has no known shape, or several at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not the result of sampling (`model`), elicitation (`action`) or a look at roots (`roots`)"
)]
pub struct ClientResponseError;

impl ClientResponses {
    /// Reads `inputResponses`; `None` if it is empty.
    ///
    /// # Errors
    ///
    /// [`ClientResponseError`] if a response has no known shape.
    pub fn from_json(responses: &Map<String, Json>) -> Result<Option<Self>, ClientResponseError> {
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

    /// Adds one response: the `result` of a JSON-RPC response, or one of `inputResponses`.
    ///
    /// # Errors
    ///
    /// [`ClientResponseError`] if it has no known shape.
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
