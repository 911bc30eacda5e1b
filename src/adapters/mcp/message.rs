//! Parses JSON-RPC messages as strictly as the strictest server.
//!
//! A client's message is parsed whole ([`read`]), because the server acts on all of it. Of a server's message
//! ([`read_server`]) only its requests are; its results are split into raw parts, which pass unchanged.

use serde_json::{Map, Value as Json};

use crate::adapters::input::field_error::{FieldError, FieldProblem, TextExcerpt};
use crate::adapters::input::json::{self, KeyPolicy, RawObject};
use crate::config::limits::Limits;

/// JSON levels around the arguments of a call, which `limits.json_depth` bounds: the message and its
/// `params`.
const LEVELS_AROUND: u32 = 2;

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
        /// The members of its result; empty for an error. `None` if a gateway reports the response without
        /// its content.
        result: Option<Map<String, Json>>,
    },
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
        /// The members of the result.
        result: RawObject<'t>,
    },
    /// The error of a client's request; without an id if the server could not read the request.
    Error {
        /// The id of that request.
        id: Option<JsonRpcId>,
        /// The raw error object.
        error: &'t str,
    },
}

/// Why a text is not a message. The text of the error is safe to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The text is not JSON, or exceeds a limit of JSON.
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
    #[error("`{0}` is not a member of a message")]
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

impl MessageError {
    /// The JSON-RPC error code.
    pub fn code(&self) -> i64 {
        match self {
            Self::Json(_) => -32700,
            Self::Params => -32602,
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
    let value = value.map_err(|it| anonymous(MessageError::Json(it)))?;
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
    let id = members.get("id").filter(|id| *id != "null");
    let id = id.map(|id| {
        let id =
            json::value(id.as_bytes(), 0, KeyPolicy::Distinct, "id").map_err(MessageError::Json)?;
        JsonRpcId::read(id, limits.id_bytes)
    });
    let id = id.transpose().map_err(anonymous)?;
    // The ids of a server's own requests mean nothing to the client.
    let answered = id.clone().filter(|_| members.get("method").is_none());
    of_raw(&members, id, limits).map_err(|fault| MessageRejection {
        id: answered,
        fault,
    })
}

fn of_raw<'t>(
    members: &RawObject<'t>,
    id: Option<JsonRpcId>,
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
            Ok(ServerMessage::Result { id, result })
        }
        (None, id, None, Some(error)) if params.is_none() && (id.is_some() || is_object(error)) => {
            Ok(ServerMessage::Error { id, error })
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
            let result = Some(result);
            Ok(ClientMessage::Reply { id, result })
        }
        (None, Some(id), None, Some(_)) if params.is_none() => {
            let result = Some(Map::new());
            Ok(ClientMessage::Reply { id, result })
        }
        _ => Err(MessageError::Shape),
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
