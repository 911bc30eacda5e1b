//! Client responses: data that a client sends to a server on the server's request.
//!
//! Protocol revision 2026-07-28 sends them with the repeated call (`inputResponses`), revision 2025-11-25 as
//! separate responses. Neither states what it responds to, so the kind is determined from the shape. Whatever in a
//! response has not the shape that the protocol gives its kind, or is a key that is no identifier, may hold any text: it counts as a text of a model,
//! [`SAMPLING`], whatever the kind, and is searched for secrets.

use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::domain::request::canonical;
use crate::domain::request::elicitation::MAX_FIELDS;
use crate::domain::request::secrets::{names_secret, names_secret_field};
use crate::domain::request::target::MAX_TARGET_BYTES;
use crate::domain::request::target::text::decoded;

/// The kind of a text that a model wrote, or may have written.
const SAMPLING: &str = "sampling";

/// The kind of an error that has more to say than a code and a short message.
const ERROR: &str = "error";

/// The kind of what a client brings back for a server beside its responses: `requestState`. Whether that is what the server gave
/// it, nobody has seen.
pub const STATE: &str = "state";

/// The kind of a response with metadata (`_meta`).
const METADATA: &str = "metadata";

/// The member of metadata that names the task a response belongs to (revision 2025-11-25).
const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";

/// The maximum length of a key in `inputResponses`, in bytes.
const MAX_KEY: usize = 64;
/// The most bytes of all keys together; beyond, they count as texts as well.
const MAX_KEYS: usize = 256;

/// The maximum length of a task's id in [`RELATED_TASK`], in bytes.
const MAX_TASK_ID: usize = 256;

/// Client responses of one call, combined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientResponses {
    /// `sampling`, `elicitation`, `roots`, `error` or `metadata`, each once.
    pub kinds: Vec<SmolStr>,
    /// The names of completed form fields.
    pub field_names: Vec<SmolStr>,
    /// The names of form fields that look like secrets, and of other members with a text that names one.
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
        let mut length = 0_usize;
        for (key, response) in responses {
            length = length.saturating_add(key.len());
            if !is_identifier(key) || length > MAX_KEYS {
                answers.add_undefined(key, &Json::Null);
            }
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
        let [model, action, roots] = ["model", "action", "roots"].map(|name| result.get(name));
        match (model, action, roots) {
            (Some(Json::String(_)), None, None) => self.add_kind(SAMPLING),
            (None, Some(Json::String(action)), None) => {
                self.add_kind("elicitation");
                self.add_action(action, result.get("content"))?;
            }
            (None, None, Some(Json::Array(roots))) => {
                self.add_kind("roots");
                for root in roots.iter().filter(|root| !is_plain_root(root)) {
                    self.add_undefined("roots", root);
                }
            }
            _ => return Err(ClientResponseError),
        }
        let defined: &[&str] = match (model, action) {
            (Some(_), _) => &["model", "role", "content", "stopReason"],
            (None, Some(_)) => &["action", "content"],
            (None, None) => &["roots"],
        };
        for (name, value) in result {
            match name.as_str() {
                "_meta" => self.add_metadata(value),
                "resultType" if value == "complete" => {}
                name if defined.contains(&name) => {}
                name => self.add_undefined(name, value),
            }
        }
        Ok(())
    }

    /// Adds the metadata of a response (`_meta`).
    pub fn add_metadata(&mut self, metadata: &Json) {
        if metadata.as_object().is_some_and(Map::is_empty) {
            return;
        }
        self.add_kind(METADATA);
        if !is_plain_metadata(metadata) {
            self.add_undefined("_meta", metadata);
        }
    }

    /// Adds the error of a JSON-RPC response.
    pub fn add_error(&mut self, error: &Map<String, Json>) {
        self.add_kind(ERROR);
        for (name, value) in error {
            self.add_undefined(name, value);
        }
    }

    /// Adds what a user did with a form or a page.
    fn add_action(
        &mut self,
        action: &str,
        content: Option<&Json>,
    ) -> Result<(), ClientResponseError> {
        let no_fields = Map::new();
        let fields = match content {
            None | Some(Json::Null) => &no_fields,
            Some(Json::Object(fields)) => fields,
            Some(_) => return Err(ClientResponseError),
        };
        match action {
            "accept" => self.add_fields(fields),
            // There is no form that was filled in.
            "decline" | "cancel" => {
                for (name, value) in fields {
                    self.add_undefined(name, value);
                }
                Ok(())
            }
            _ => Err(ClientResponseError),
        }
    }

    fn add_fields(&mut self, fields: &Map<String, Json>) -> Result<(), ClientResponseError> {
        for (name, value) in fields {
            if self.field_names.len() == MAX_FIELDS {
                return Err(ClientResponseError);
            }
            if names_secret_field(name) {
                self.add_secret(name);
            }
            if !is_field_value(value) {
                self.add_undefined(name, value);
            }
            self.field_names.push(SmolStr::new(name));
        }
        Ok(())
    }

    fn add_kind(&mut self, kind: &'static str) {
        if !self.kinds.iter().any(|known| known == kind) {
            self.kinds.push(SmolStr::new_static(kind));
        }
    }

    /// Adds a member that the protocol does not define, or gives another shape.
    fn add_undefined(&mut self, name: &str, value: &Json) {
        self.add_kind(SAMPLING);
        if names_secret_field(name) {
            self.add_secret(name);
        }
        self.search(name, value);
    }

    /// Searches a value, the member `name`, for texts that name a secret.
    fn search(&mut self, name: &str, value: &Json) {
        match value {
            Json::String(text) if names_secret(text) => self.add_secret(name),
            Json::Array(items) => items.iter().for_each(|item| self.search(name, item)),
            Json::Object(members) => {
                for (inner, value) in members {
                    if names_secret_field(inner) {
                        self.add_secret(inner);
                    }
                    self.search(inner, value);
                }
            }
            Json::String(_) | Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }

    /// Adds the name of a secret. More than there may be fields would say no more.
    fn add_secret(&mut self, name: &str) {
        if self.secret_fields.len() < MAX_FIELDS {
            self.secret_fields.push(SmolStr::new(name));
        }
    }
}

/// Whether a key of `inputResponses` is what a server chooses to know its question by, and no text.
fn is_identifier(key: &str) -> bool {
    let is_part = |it: u8| it.is_ascii_alphanumeric() || b"-_.:/".contains(&it);
    !key.is_empty() && key.len() <= MAX_KEY && key.bytes().all(is_part)
}

/// Whether a value is one of those that a form may have. `null` is no value.
fn is_field_value(value: &Json) -> bool {
    match value {
        Json::Array(items) => items.iter().all(Json::is_string),
        Json::Object(_) => false,
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => true,
    }
}

/// Whether a root is the URI of a folder or file, and its name, if any, that folder's own.
fn is_plain_root(root: &Json) -> bool {
    let Some(members) = root.as_object() else {
        return false;
    };
    let uri = members.get("uri").and_then(Json::as_str);
    let Some(uri) = uri.filter(|it| it.starts_with("file://") && it.len() <= MAX_TARGET_BYTES)
    else {
        return false;
    };
    let last = uri.trim_end_matches('/').rsplit('/').next();
    let own = last.and_then(|last| decoded(last).ok());
    members.iter().all(|(name, value)| match name.as_str() {
        "uri" => true,
        "name" => {
            value.is_null()
                || value
                    .as_str()
                    .is_some_and(|it| it.is_empty() || Some(it) == own.as_deref())
        }
        "_meta" => is_plain_metadata(value),
        _ => false,
    })
}

/// Whether metadata says no more than to which task a response belongs.
fn is_plain_metadata(metadata: &Json) -> bool {
    let is_task = |task: &Json| {
        let id = task.get("taskId").and_then(Json::as_str);
        let members = task.as_object().map(Map::len);
        members == Some(1) && id.is_some_and(|id| id.len() <= MAX_TASK_ID)
    };
    metadata.as_object().is_some_and(|members| {
        members
            .iter()
            .all(|(name, value)| name == RELATED_TASK && is_task(value))
    })
}

#[cfg(test)]
#[path = "client_responses_tests.rs"]
mod tests;
