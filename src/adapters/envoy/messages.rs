//! One message of a server, on its way to the client.

use serde_json::{Value as Json, json};

use crate::adapters::invalid::{Invalid, Problem};
use crate::adapters::json;
use crate::adapters::mcp::denial;
use crate::adapters::mcp::judge::{Judge, Passage};
use crate::adapters::mcp::message::{self, Id, Message, Unreadable};
use crate::adapters::mcp::operations::Undecided;
use crate::adapters::mcp::spelling::no_look_alikes;
use crate::service::deadline::Unanswered;

/// A method that no client has, so that every client answers it with an error: nobody but the client can tell
/// a server that its request was not heard.
const DENIED: &str = "callgate/denied";

/// The error by which a server says that something has to be visited first (revision 2025-11-25).
const VISIT_FIRST: f64 = -32042.0;
const VISITS: &str = "error.data.elicitations";
/// Members of errors that decide what a client does with them.
const DECISIVE: [&str; 3] = ["code", "data", "elicitations"];

/// The request whose answer is awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Awaited {
    pub(super) id: Id,
    pub(super) method: String,
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fate {
    /// It passes as it is.
    Passes,
    /// This goes to the client in its place.
    Instead(Json),
    /// Nothing does.
    Dropped(String),
}

/// Judges one message.
pub(super) async fn judge(
    judge: &Judge<'_>,
    awaited: Option<&Awaited>,
    text: &[u8],
) -> Result<Fate, Unanswered> {
    let message = match message::read(text, judge.limits) {
        Ok(message) => message,
        Err(unreadable) if unreadable.id.is_none() && answers_nobody(judge, text) => {
            return Ok(fate_of_reply(None, error(judge, text).await?));
        }
        Err(unreadable) => return Ok(fate_of_unreadable(unreadable)),
    };
    match message {
        Message::Reply { id, result } => {
            let passage = match result.filter(|result| !result.is_empty()) {
                Some(result) => {
                    let awaited = awaited.filter(|awaited| awaited.id == id);
                    let method = awaited.map(|awaited| awaited.method.as_str());
                    judge.result(method, result).await?
                }
                None => error(judge, text).await?,
            };
            Ok(fate_of_reply(Some(&id), passage))
        }
        Message::Request { id, method, params } => {
            let passage = judge.request(&method, params).await?;
            Ok(fate_of_request(&id, passage))
        }
        Message::Notification { method, params } => {
            let passage = judge.notification(&method, params).await?;
            Ok(match passage {
                Passage::AsItIs => Fate::Passes,
                Passage::Refused(undecided) => Fate::Dropped(undecided.to_string()),
                Passage::Denied(_) | Passage::Changed(_) => {
                    Fate::Dropped(format!("`{method}` is denied"))
                }
            })
        }
    }
}

/// Whether a message is the error of a server that could not read, or find, what it was asked for.
fn answers_nobody(judge: &Judge<'_>, text: &[u8]) -> bool {
    let Ok(Json::Object(members)) = json::value(text, judge.limits.json_depth, "body") else {
        return false;
    };
    let is_error = members.get("error").is_some_and(Json::is_object);
    let is_of_nobody = members.get("id").is_none_or(Json::is_null);
    let known = ["jsonrpc", "id", "error"];
    is_error
        && is_of_nobody
        && members.get("jsonrpc").and_then(Json::as_str) == Some("2.0")
        && members.keys().all(|name| known.contains(&name.as_str()))
}

/// An error tells, and asks for nothing, but for one that says what the person has to visit.
async fn error(judge: &Judge<'_>, text: &[u8]) -> Result<Passage, Unanswered> {
    // It was read before, and strictly.
    let message: Json = serde_json::from_slice(text).unwrap_or_default();
    let error = &message["error"];
    let visits = &error["data"]["elicitations"];
    for members in [error.as_object(), error["data"].as_object()] {
        let Some(members) = members else { continue };
        if let Err(invalid) = no_look_alikes(members, &DECISIVE, "error") {
            return Ok(Passage::Refused(invalid.into()));
        }
    }
    if error["code"].as_f64() != Some(VISIT_FIRST) && visits.is_null() {
        return Ok(Passage::AsItIs);
    }
    let invalid = |problem| Passage::Refused(Invalid::new(VISITS, problem).into());
    let Some(visits) = visits.as_array() else {
        return Ok(invalid(Problem::NotOfShape("a list")));
    };
    let (items, limit) = (visits.len(), judge.limits.list_items);
    if items > limit as usize {
        return Ok(invalid(Problem::TooMany { items, limit }));
    }
    for visit in visits {
        let params = visit.as_object().cloned().unwrap_or_default();
        match judge.request("elicitation/create", params).await? {
            Passage::AsItIs => {}
            other => return Ok(other),
        }
    }
    Ok(Passage::AsItIs)
}

fn fate_of_unreadable(Unreadable { id, fault }: Unreadable) -> Fate {
    match id {
        Some(id) => {
            let said = format!("what the server sent cannot be read: {fault}");
            Fate::Instead(denial::refused(Some(&id), denial::DENIED, &said))
        }
        None => Fate::Dropped(fault.to_string()),
    }
}

fn fate_of_reply(id: Option<&Id>, passage: Passage) -> Fate {
    match passage {
        Passage::AsItIs => Fate::Passes,
        Passage::Changed(result) => {
            let id = id.map_or(Json::Null, Id::to_json);
            Fate::Instead(json!({"jsonrpc": "2.0", "id": id, "result": result}))
        }
        other => Fate::Instead(turned_away(id, other)),
    }
}

fn fate_of_request(id: &Id, passage: Passage) -> Fate {
    if matches!(passage, Passage::AsItIs) {
        return Fate::Passes;
    }
    let mut error = turned_away(Some(id), passage);
    let why = error["error"].take();
    Fate::Instead(json!({
        "jsonrpc": "2.0", "id": id.to_json(), "method": DENIED, "params": why,
    }))
}

/// The error that stands for what does not pass.
fn turned_away(id: Option<&Id>, passage: Passage) -> Json {
    match passage {
        Passage::Denied(answer) => {
            let decision_id = answer.decision_id.to_string();
            denial::denied(id, &answer.value, &decision_id)
        }
        Passage::Refused(undecided) => refused(id, &undecided),
        Passage::AsItIs | Passage::Changed(_) => {
            denial::refused(id, denial::DENIED, "the message does not pass")
        }
    }
}

fn refused(id: Option<&Id>, undecided: &Undecided) -> Json {
    let said = format!("what the server sent does not pass: {undecided}");
    denial::refused(id, undecided.code(), &said)
}
