//! One JSON-RPC message, read as strictly as the strictest server would.
//!
//! A client's message is read whole ([`read`]): the server acts on all of it. Of a server's message ([`from_server`]) only
//! what it asks for is; what it answers is cut into parts, and passes as it was written.

use serde_json::{Map, Value as Json};

use crate::adapters::invalid::{Invalid, Problem, Shown};
use crate::adapters::json::{self, Names, RawObject};
use crate::config::limits::Limits;

/// Levels around the arguments of a call: the message and its `params`. The limit counts from there.
const LEVELS_AROUND: u32 = 2;

/// The id of a request, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// It wants an answer.
    Request {
        /// Comes back with the answer.
        id: Id,
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
        id: Id,
        /// What it tells: the members of its result, none if it is an error. `None` if a gateway has seen
        /// that there is a reply and not what is in it.
        result: Option<Map<String, Json>>,
    },
}

/// One message of a server. What it tells is as it was written.
#[derive(Debug, Clone)]
pub enum FromServer<'t> {
    /// It wants an answer.
    Request {
        /// Comes back with the answer.
        id: Id,
        /// What is asked for, e.g. `elicitation/create`.
        method: String,
        /// With what, or why that cannot be read.
        params: Result<Map<String, Json>, Invalid>,
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
        id: Id,
        /// Its members.
        result: RawObject<'t>,
    },
    /// What came of a request instead; without an id of one that the server could not read.
    Error {
        /// The id of that request.
        id: Option<Id>,
        /// The object, as it is written.
        error: &'t str,
    },
}

/// Why something is not a message. The text is safe to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not JSON, or JSON beyond a limit.
    #[error("{0}")]
    Json(Invalid),
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
    Member(Shown),
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
pub struct Unreadable {
    /// The id, for the error that goes back.
    pub id: Option<Id>,
    /// What is wrong.
    pub fault: Fault,
}

impl Id {
    /// As JSON.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Text(text) => Json::from(text.as_str()),
            Self::Number(number) => Json::from(*number),
        }
    }

    fn read(json: Json, limit: u32) -> Result<Self, Fault> {
        match json {
            Json::String(text) if text.len() <= limit as usize => Ok(Self::Text(text)),
            Json::Number(number) => number.as_i64().map(Self::Number).ok_or(Fault::Id(limit)),
            _ => Err(Fault::Id(limit)),
        }
    }
}

impl Fault {
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
pub fn read(text: &[u8], limits: &Limits) -> Result<Message, Unreadable> {
    let anonymous = |fault| Unreadable { id: None, fault };
    let depth = limits.json_depth.saturating_add(LEVELS_AROUND);
    let value = json::value(text, depth, Names::Protocol, "body");
    let value = value.map_err(|it| anonymous(Fault::Json(it)))?;
    let mut members = match value {
        Json::Object(members) => members,
        Json::Array(_) => return Err(anonymous(Fault::Batch)),
        _ => return Err(anonymous(Fault::NotAnObject)),
    };
    let id = members
        .remove("id")
        .map(|id| Id::read(id, limits.id_bytes))
        .transpose()
        .map_err(anonymous)?;
    of_members(members, id.clone()).map_err(|fault| Unreadable { id, fault })
}

/// Reads parameters that come without their message, as strictly as [`read`]. `field` names them in errors.
pub fn members(
    text: &[u8],
    limits: &Limits,
    field: &'static str,
) -> Result<Map<String, Json>, Invalid> {
    // One level of the message is not there.
    let depth = limits.json_depth.saturating_add(LEVELS_AROUND - 1);
    match json::value(text, depth, Names::Protocol, field)? {
        Json::Object(members) => Ok(members),
        _ => Err(Invalid::new(field, Problem::NotOfShape("an object"))),
    }
}

/// Reads one message of a server.
pub fn from_server<'t>(text: &'t [u8], limits: &Limits) -> Result<FromServer<'t>, Unreadable> {
    let anonymous = |fault| Unreadable { id: None, fault };
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'[') {
        return Err(anonymous(Fault::Batch));
    }
    let members = RawObject::read(text, "body").map_err(|it| anonymous(Fault::Json(it)))?;
    let id = members.get("id").filter(|id| *id != "null");
    let id = id.map(|id| {
        let id = json::value(id.as_bytes(), 0, Names::Distinct, "id").map_err(Fault::Json)?;
        Id::read(id, limits.id_bytes)
    });
    let id = id.transpose().map_err(anonymous)?;
    // A server counts its own requests: their ids are nobody's to answer on the client's side.
    let answered = id.clone().filter(|_| members.get("method").is_none());
    of_raw(&members, id, limits).map_err(|fault| Unreadable {
        id: answered,
        fault,
    })
}

fn of_raw<'t>(
    members: &RawObject<'t>,
    id: Option<Id>,
    limits: &Limits,
) -> Result<FromServer<'t>, Fault> {
    const MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
    let text = |name| {
        let text = members.get(name).map(serde_json::from_str::<String>);
        text.transpose().ok()
    };
    if text("jsonrpc") != Some(Some("2.0".to_owned())) {
        return Err(Fault::Version);
    }
    if let Some((other, _)) = members.iter().find(|(name, _)| !MEMBERS.contains(name)) {
        return Err(Fault::Member(Shown::new(other)));
    }
    let method = text("method").ok_or(Fault::Method)?;
    let params = members.get("params").filter(|params| *params != "null");
    let [result, error] = ["result", "error"].map(|name| members.get(name));
    let is_object = |text: &str| text.starts_with('{');
    match (method, id, result, error) {
        (Some(_), _, None, None) if !params.is_none_or(is_object) => Err(Fault::Params),
        (Some(method), Some(id), None, None) => {
            let params = params.map(|text| self::members(text.as_bytes(), limits, "params"));
            let params = params.transpose().map(Option::unwrap_or_default);
            Ok(FromServer::Request { id, method, params })
        }
        (Some(method), None, None, None) if !members.iter().any(|(name, _)| name == "id") => {
            let params = params.map(|text| RawObject::read(text.as_bytes(), "params"));
            let params = params.transpose().map_err(Fault::Json)?;
            Ok(FromServer::Notification { method, params })
        }
        (None, Some(id), Some(result), None) if params.is_none() && is_object(result) => {
            let result = RawObject::read(result.as_bytes(), "result").map_err(Fault::Json)?;
            Ok(FromServer::Result { id, result })
        }
        (None, id, None, Some(error)) if params.is_none() && (id.is_some() || is_object(error)) => {
            Ok(FromServer::Error { id, error })
        }
        _ => Err(Fault::Shape),
    }
}

fn of_members(mut members: Map<String, Json>, id: Option<Id>) -> Result<Message, Fault> {
    if members.remove("jsonrpc") != Some(Json::from("2.0")) {
        return Err(Fault::Version);
    }
    let method = members.remove("method");
    let params = members.remove("params");
    let result = members.remove("result");
    let error = members.remove("error");
    if let Some(other) = members.keys().next() {
        return Err(Fault::Member(Shown::new(other)));
    }
    match (method, id, result, error) {
        (Some(method), id, None, None) => {
            let Json::String(method) = method else {
                return Err(Fault::Method);
            };
            let params = match params {
                None => Map::new(),
                Some(Json::Object(params)) => params,
                Some(_) => return Err(Fault::Params),
            };
            Ok(match id {
                Some(id) => Message::Request { id, method, params },
                None => Message::Notification { method, params },
            })
        }
        (None, Some(id), Some(Json::Object(result)), None) if params.is_none() => {
            let result = Some(result);
            Ok(Message::Reply { id, result })
        }
        (None, Some(id), None, Some(_)) if params.is_none() => {
            let result = Some(Map::new());
            Ok(Message::Reply { id, result })
        }
        _ => Err(Fault::Shape),
    }
}

#[cfg(test)]
mod tests;
