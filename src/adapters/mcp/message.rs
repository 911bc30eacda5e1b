//! Parses JSON-RPC messages as strictly as the strictest server.
//!
//! A client's message is parsed whole ([`read`]), because the server acts on all of it. Of a server's message
//! ([`read_server`]) only its requests are; its results are split into raw parts, which pass unchanged.

use serde::de::IgnoredAny;
use serde_json::{Map, Value as Json};

use crate::adapters::input::field_error::{FieldError, FieldProblem, TextExcerpt};
use crate::adapters::input::json::{self, KeyPolicy, RawObject};
use crate::adapters::mcp::member_spelling::resembles;
use crate::config::limits::Limits;

/// JSON levels around the arguments of a call, which `limits.json_depth` bounds: the message and its
/// `params`.
const LEVELS_AROUND: u32 = 2;

/// The JSON-RPC error code of parameters that cannot be used.
pub const INVALID_PARAMS: i64 = -32602;

/// The most bytes of an error's message that tell a server no more than that something did not work.
const MAX_PLAIN_MESSAGE: usize = 256;

/// The id of a JSON-RPC request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonRpcId {
    /// A string.
    Text(String),
    /// An integer.
    Number(i64),
}

/// A message of a client.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientMessage {
    /// A request.
    Request {
        /// Its id.
        id: JsonRpcId,
        /// Its method, e.g. `tools/call`.
        method: String,
        /// Its parameters; empty if absent.
        params: Map<String, Json>,
    },
    /// A notification.
    Notification {
        /// Its method, e.g. `notifications/cancelled`.
        method: String,
        /// Its parameters; empty if absent.
        params: Map<String, Json>,
    },
    /// A response to a request of the server.
    Reply {
        /// The id of that request.
        id: JsonRpcId,
        /// What it says. `None` if a gateway reports the response without its content.
        content: Option<ReplyContent>,
    },
}

/// What a client's response says.
#[derive(Debug, Clone, PartialEq)]
pub enum ReplyContent {
    /// The members of its result.
    Result(Map<String, Json>),
    /// The members of its error: `code`, `message` and perhaps `data`.
    Error(Map<String, Json>),
}

/// A message of a server, with its results as raw text.
#[derive(Debug, Clone)]
pub enum ServerMessage<'t> {
    /// A request.
    Request {
        /// Its id.
        id: JsonRpcId,
        /// Its method, e.g. `elicitation/create`.
        method: String,
        /// Its parameters, or why they cannot be parsed.
        params: Result<Map<String, Json>, FieldError>,
    },
    /// A notification.
    Notification {
        /// Its method.
        method: String,
        /// Its parameters, if any.
        params: Option<RawObject<'t>>,
    },
    /// The result of a client's request.
    Result {
        /// The id of that request.
        id: JsonRpcId,
        /// Whether all clients read the id alike: a text, or a whole number in its digits, not `7.0` or `7e0`.
        is_id_plain: bool,
        /// The members of the result.
        result: RawObject<'t>,
    },
    /// The error of a client's request; without an id if the server could not read the request.
    Error {
        /// The id of that request.
        id: Option<JsonRpcId>,
        /// As of a result.
        is_id_plain: bool,
        /// The raw error object.
        error: &'t str,
    },
}

/// Why a text is not a message. The text of the error is safe to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The text is not JSON.
    #[error("{0}")]
    Json(FieldError),
    /// The text is a JSON-RPC batch.
    #[error("batches are not part of the protocol: send one message a request")]
    Batch,
    /// The text is another JSON value.
    #[error("a message is a JSON object")]
    NotAnObject,
    /// `jsonrpc` is not `2.0`.
    #[error("`jsonrpc` must be \"2.0\"")]
    Version,
    /// The member does not exist in messages.
    #[error("a message has no such member: `{0}`")]
    Member(TextExcerpt),
    /// `id` is neither a string nor an integer, or too long.
    #[error("`id` must be a whole number of 64 bits or a text of at most {0} bytes")]
    Id(u32),
    /// `method` is not a string.
    #[error("`method` must be a text")]
    Method,
    /// `params` is not an object.
    #[error("`params` must be an object")]
    Params,
    /// The text is JSON, and not of a kind that every reader takes for the same.
    #[error("{0}")]
    Unusable(FieldError),
    /// As [`Self::Unusable`], because of the parameters.
    #[error("{0}")]
    UnusableParams(FieldError),
    /// `error` is no error object (JSON-RPC 2.0, 5.1).
    #[error(
        "`error` must be an object of `code`, a whole number, `message`, a text, and perhaps `data`"
    )]
    Error,
    /// The members form no request, notification or response.
    #[error("a message has either `method`, or `id` with one of `result` and `error`")]
    Shape,
}

/// An invalid message, and its id if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRejection {
    /// The id, for the error response.
    pub id: Option<JsonRpcId>,
    /// What is wrong.
    pub fault: MessageError,
}

impl JsonRpcId {
    /// The id as JSON.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Text(text) => Json::from(text.as_str()),
            Self::Number(number) => Json::from(*number),
        }
    }

    /// Whether some clients take the one for the other: a number, and the text of its digits.
    pub fn may_be_taken_for(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(text), Self::Number(number)) | (Self::Number(number), Self::Text(text)) => {
                number.to_string() == *text
            }
            _ => self == other,
        }
    }

    fn read(json: Json, limit: u32) -> Result<Self, MessageError> {
        match json {
            Json::String(text) if text.len() <= limit as usize => Ok(Self::Text(text)),
            Json::Number(number) => number
                .as_i64()
                .map(Self::Number)
                .ok_or(MessageError::Id(limit)),
            _ => Err(MessageError::Id(limit)),
        }
    }
}

impl ReplyContent {
    /// Whether the server learns nothing: an empty result, or an error of a code and a short message.
    pub fn tells_nothing(&self) -> bool {
        match self {
            Self::Result(result) => result.is_empty() || self.is_empty_metadata(),
            Self::Error(error) => {
                let message = error.get("message").and_then(Json::as_str);
                !error.contains_key("data")
                    && message.is_some_and(|it| it.len() <= MAX_PLAIN_MESSAGE)
            }
        }
    }

    /// Whether a result is empty but for metadata, of which there may be some.
    pub fn is_metadata(&self) -> bool {
        matches!(self, Self::Result(result) if result.keys().all(|name| name == "_meta"))
    }

    fn is_empty_metadata(&self) -> bool {
        let is_empty = |value: &Json| value.as_object().is_some_and(Map::is_empty);
        matches!(self, Self::Result(result) if self.is_metadata() && result.values().all(is_empty))
    }
}

impl MessageError {
    /// The JSON-RPC error code.
    pub fn code(&self) -> i64 {
        match self {
            Self::Json(_) => -32700,
            Self::Params | Self::UnusableParams(_) => INVALID_PARAMS,
            _ => -32600,
        }
    }
}

/// Parses one message of a client: no duplicate keys at any depth, no number that another reader would
/// change, no nesting beyond the limit, no unknown member.
///
/// # Errors
///
/// Returns what is wrong, with the message's id if it has one.
pub fn read(text: &[u8], limits: &Limits) -> Result<ClientMessage, MessageRejection> {
    let anonymous = |fault| MessageRejection { id: None, fault };
    let depth = limits.json_depth.saturating_add(LEVELS_AROUND);
    let value = json::value(text, depth, KeyPolicy::Protocol, "body");
    let value = value.map_err(|fault| unusable(text, depth, limits, fault))?;
    let mut members = match value {
        Json::Object(members) => members,
        Json::Array(_) => return Err(anonymous(MessageError::Batch)),
        _ => return Err(anonymous(MessageError::NotAnObject)),
    };
    let id = members
        .remove("id")
        .map(|id| JsonRpcId::read(id, limits.id_bytes))
        .transpose()
        .map_err(anonymous)?;
    of_members(members, id.clone()).map_err(|fault| MessageRejection { id, fault })
}

/// Why the strict reader refuses a message, with the id if the text is JSON and has just one.
fn unusable(text: &[u8], depth: u32, limits: &Limits, fault: FieldError) -> MessageRejection {
    let anonymous = |fault| MessageRejection { id: None, fault };
    let is_json = serde_json::from_slice::<IgnoredAny>(text).is_ok();
    if !is_json || std::str::from_utf8(text).is_err() {
        return anonymous(MessageError::Json(fault));
    }
    let Ok(members) = RawObject::read(text, "body") else {
        return anonymous(MessageError::Unusable(fault));
    };
    let id = members.get("id");
    let id = id.and_then(|id| json::value(id.as_bytes(), 0, KeyPolicy::Distinct, "id").ok());
    let id = id.and_then(|id| JsonRpcId::read(id, limits.id_bytes).ok());
    let depth = depth.saturating_sub(1);
    let is_in_params = members.get("params").is_some_and(|params| {
        json::value(params.as_bytes(), depth, KeyPolicy::Protocol, "params").is_err()
    });
    let fault = match is_in_params {
        true => MessageError::UnusableParams(fault),
        false => MessageError::Unusable(fault),
    };
    MessageRejection { id, fault }
}

/// Parses parameters that come without their message, as strictly as [`read`]. `field` names them in errors.
///
/// # Errors
///
/// Returns an error if the text is no JSON object within the limits.
pub fn members(
    text: &[u8],
    limits: &Limits,
    field: &'static str,
) -> Result<Map<String, Json>, FieldError> {
    // The level of the message is absent.
    let depth = limits.json_depth.saturating_add(LEVELS_AROUND - 1);
    match json::value(text, depth, KeyPolicy::Protocol, field)? {
        Json::Object(members) => Ok(members),
        _ => Err(FieldError::new(
            field,
            FieldProblem::NotOfShape("an object"),
        )),
    }
}

/// Whether a text is a JSON object that no reader takes for a message, however leniently it reads names: the body of an error
/// of HTTP, such as a problem document (RFC 9457), or OAuth's, whose `error` is a text.
pub fn is_error_document(text: &[u8]) -> bool {
    const MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
    let is_of_message = |name: &str| MEMBERS.iter().any(|member| resembles(name, member));
    let is_word = |name: &str, text: &str| name == "error" && text.starts_with('"');
    RawObject::read(text, "body").is_ok_and(|members| {
        let mut members = members.iter();
        members.all(|(name, text)| !is_of_message(name) || is_word(name, text))
    })
}

/// Parses one message of a server.
///
/// # Errors
///
/// Returns what is wrong, with the id of the client's request that it answers.
pub fn read_server<'t>(
    text: &'t [u8],
    limits: &Limits,
) -> Result<ServerMessage<'t>, MessageRejection> {
    let anonymous = |fault| MessageRejection { id: None, fault };
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'[') {
        return Err(anonymous(MessageError::Batch));
    }
    let members = RawObject::read(text, "body").map_err(|it| anonymous(MessageError::Json(it)))?;
    let text = members.get("id").filter(|id| *id != "null");
    let id = text.map(|id| {
        let id =
            json::value(id.as_bytes(), 0, KeyPolicy::Distinct, "id").map_err(MessageError::Json)?;
        JsonRpcId::read(id, limits.id_bytes)
    });
    let id = id.transpose().map_err(anonymous)?;
    // The ids of a server's own requests mean nothing to the client.
    let answered = id.clone().filter(|_| members.get("method").is_none());
    let is_id_plain = match &id {
        Some(JsonRpcId::Number(number)) => text == Some(number.to_string().as_str()),
        Some(JsonRpcId::Text(_)) | None => true,
    };
    of_raw(&members, (id, is_id_plain), limits).map_err(|fault| MessageRejection {
        id: answered,
        fault,
    })
}

fn of_raw<'t>(
    members: &RawObject<'t>,
    (id, is_id_plain): (Option<JsonRpcId>, bool),
    limits: &Limits,
) -> Result<ServerMessage<'t>, MessageError> {
    const MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
    let text = |name| {
        let text = members.get(name).map(serde_json::from_str::<String>);
        text.transpose().ok()
    };
    if text("jsonrpc") != Some(Some("2.0".to_owned())) {
        return Err(MessageError::Version);
    }
    if let Some((other, _)) = members.iter().find(|(name, _)| !MEMBERS.contains(name)) {
        return Err(MessageError::Member(TextExcerpt::new(other)));
    }
    let method = text("method").ok_or(MessageError::Method)?;
    let params = members.get("params").filter(|params| *params != "null");
    let [result, error] = ["result", "error"].map(|name| members.get(name));
    let is_object = |text: &str| text.starts_with('{');
    match (method, id, result, error) {
        (Some(_), _, None, None) if !params.is_none_or(is_object) => Err(MessageError::Params),
        (Some(method), Some(id), None, None) => {
            let params = params.map(|text| self::members(text.as_bytes(), limits, "params"));
            let params = params.transpose().map(Option::unwrap_or_default);
            Ok(ServerMessage::Request { id, method, params })
        }
        (Some(method), None, None, None) if !members.iter().any(|(name, _)| name == "id") => {
            let params = params.map(|text| RawObject::read(text.as_bytes(), "params"));
            let params = params.transpose().map_err(MessageError::Json)?;
            Ok(ServerMessage::Notification { method, params })
        }
        (None, Some(id), Some(result), None) if params.is_none() && is_object(result) => {
            let result =
                RawObject::read(result.as_bytes(), "result").map_err(MessageError::Json)?;
            Ok(ServerMessage::Result {
                id,
                is_id_plain,
                result,
            })
        }
        (None, id, None, Some(error)) if params.is_none() && (id.is_some() || is_object(error)) => {
            Ok(ServerMessage::Error {
                id,
                is_id_plain,
                error,
            })
        }
        _ => Err(MessageError::Shape),
    }
}

fn of_members(
    mut members: Map<String, Json>,
    id: Option<JsonRpcId>,
) -> Result<ClientMessage, MessageError> {
    if members.remove("jsonrpc") != Some(Json::from("2.0")) {
        return Err(MessageError::Version);
    }
    let method = members.remove("method");
    let params = members.remove("params");
    let result = members.remove("result");
    let error = members.remove("error");
    if let Some(other) = members.keys().next() {
        return Err(MessageError::Member(TextExcerpt::new(other)));
    }
    match (method, id, result, error) {
        (Some(method), id, None, None) => {
            let Json::String(method) = method else {
                return Err(MessageError::Method);
            };
            let params = match params {
                None => Map::new(),
                Some(Json::Object(params)) => params,
                Some(_) => return Err(MessageError::Params),
            };
            Ok(match id {
                Some(id) => ClientMessage::Request { id, method, params },
                None => ClientMessage::Notification { method, params },
            })
        }
        (None, Some(id), Some(Json::Object(result)), None) if params.is_none() => {
            let content = Some(ReplyContent::Result(result));
            Ok(ClientMessage::Reply { id, content })
        }
        (None, Some(id), None, Some(error)) if params.is_none() => {
            let content = Some(ReplyContent::Error(error_members(error)?));
            Ok(ClientMessage::Reply { id, content })
        }
        _ => Err(MessageError::Shape),
    }
}

/// The members of an error object.
fn error_members(error: Json) -> Result<Map<String, Json>, MessageError> {
    let Json::Object(error) = error else {
        return Err(MessageError::Error);
    };
    let is_known = |name: &String| ["code", "message", "data"].contains(&name.as_str());
    let is_error = error.get("code").is_some_and(Json::is_i64)
        && error.get("message").is_some_and(Json::is_string)
        && error.keys().all(is_known);
    match is_error {
        true => Ok(error),
        false => Err(MessageError::Error),
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
