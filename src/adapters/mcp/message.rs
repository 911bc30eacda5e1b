//! One JSON-RPC message, read as strictly as the strictest server would.
//!
//! A client's message is read whole ([`read`]): the server acts on all of it. Of a server's message ([`read_server`]) only
//! what it asks for is; what it answers is cut into parts, and passes as it was written.

use serde_json::{Map, Value as Json};

use crate::adapters::input::field_error::{FieldError, FieldProblem, TextExcerpt};
use crate::adapters::input::json::{self, KeyPolicy, RawObject};
use crate::config::limits::Limits;

/// Levels around the arguments of a call: the message and its `params`. The limit counts from there.
const LEVELS_AROUND: u32 = 2;

/// The id of a request, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonRpcId {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientMessage {
    /// It wants an answer.
    Request {
        /// Comes back with the answer.
        id: JsonRpcId,
        /// What is asked for, e.g. `tools/call`.
        method: String,
        /// With what; empty if absent.
        params: Map<String, Json>,
    },
    /// It wants none.
    Notification {
        /// What has happened, e.g. `notifications/cancelled`.
        method: String,
        /// Particulars; empty if absent.
        params: Map<String, Json>,
    },
    /// It answers a request of the other side.
    Reply {
        /// The id of that request.
        id: JsonRpcId,
        /// What it tells: the members of its result, none if it is an error. `None` if a gateway has seen
        /// that there is a reply and not what is in it.
        result: Option<Map<String, Json>>,
    },
}

/// One message of a server. What it tells is as it was written.
#[derive(Debug, Clone)]
pub enum ServerMessage<'t> {
    /// It wants an answer.
    Request {
        /// Comes back with the answer.
        id: JsonRpcId,
        /// What is asked for, e.g. `elicitation/create`.
        method: String,
        /// With what, or why that cannot be read.
        params: Result<Map<String, Json>, FieldError>,
    },
    /// It wants none.
    Notification {
        /// What has happened.
        method: String,
        /// Particulars, if there are any.
        params: Option<RawObject<'t>>,
    },
    /// The result of a client's request.
    Result {
        /// The id of that request.
        id: JsonRpcId,
        /// Its members.
        result: RawObject<'t>,
    },
    /// What came of a request instead; without an id of one that the server could not read.
    Error {
        /// The id of that request.
        id: Option<JsonRpcId>,
        /// The object, as it is written.
        error: &'t str,
    },
}

/// Why something is not a message. The text is safe to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not JSON, or JSON beyond a limit.
    #[error("{0}")]
    Json(FieldError),
    /// A JSON array.
    #[error("batches are not part of the protocol: send one message a request")]
    Batch,
    /// Another JSON value.
    #[error("a message is a JSON object")]
    NotAnObject,
    /// `jsonrpc` is not `2.0`.
    #[error("`jsonrpc` must be \"2.0\"")]
    Version,
    /// A member that messages do not have.
    #[error("`{0}` is not a member of a message")]
    Member(TextExcerpt),
    /// `id` is neither a text nor a whole number, or too long.
    #[error("`id` must be a whole number of 64 bits or a text of at most {0} bytes")]
    Id(u32),
    /// `method` is not a text.
    #[error("`method` must be a text")]
    Method,
    /// `params` is not an object.
    #[error("`params` must be an object")]
    Params,
    /// Neither request nor notification nor reply, or several of them.
    #[error("a message has either `method`, or `id` with one of `result` and `error`")]
    Shape,
}

/// Something that is not a message, and its id as far as there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRejection {
    /// The id, for the error that goes back.
    pub id: Option<JsonRpcId>,
    /// What is wrong.
    pub fault: MessageError,
}

impl JsonRpcId {
    /// As JSON.
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
    /// The code of JSON-RPC.
    pub fn code(&self) -> i64 {
        match self {
            Self::Json(_) => -32700,
            Self::Params => -32602,
            _ => -32600,
        }
    }
}

/// Reads one message: no key twice at any depth, no number that would change on the way, no nesting beyond
/// the limit, no member that the protocol does not have.
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

/// Reads parameters that come without their message, as strictly as [`read`]. `field` names them in errors.
pub fn members(
    text: &[u8],
    limits: &Limits,
    field: &'static str,
) -> Result<Map<String, Json>, FieldError> {
    // One level of the message is not there.
    let depth = limits.json_depth.saturating_add(LEVELS_AROUND - 1);
    match json::value(text, depth, KeyPolicy::Protocol, field)? {
        Json::Object(members) => Ok(members),
        _ => Err(FieldError::new(
            field,
            FieldProblem::NotOfShape("an object"),
        )),
    }
}

/// Reads one message of a server.
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
    // A server counts its own requests: their ids are nobody's to answer on the client's side.
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
