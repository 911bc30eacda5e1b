//! One message of a server, on its way to the client.

use serde_json::{Value as Json, json};

use crate::adapters::invalid::{Invalid, Problem, Shown};
use crate::adapters::json::{self, Names};
use crate::adapters::mcp::denial;
use crate::adapters::mcp::judge::{Judge, Passage};
use crate::adapters::mcp::message::{self, FromServer, Id, Unreadable};
use crate::adapters::mcp::operations::Undecided;
use crate::adapters::mcp::spelling::{names_of, no_look_alikes};
use crate::call::json_text::tolerant;
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
    /// This JSON goes to the client in its place.
    Instead(String),
    /// Nothing does.
    Dropped(String),
}

/// Judges one message.
pub(super) async fn judge(
    judge: &Judge<'_>,
    awaited: Option<&Awaited>,
    text: &[u8],
) -> Result<Fate, Unanswered> {
    let message = match message::from_server(text, judge.limits) {
        Ok(message) => message,
        Err(unreadable) => return Ok(fate_of_unreadable(unreadable, awaited)),
    };
    match message {
        FromServer::Result { id, result } => {
            let awaited = awaited.filter(|awaited| awaited.id == id);
            let method = awaited.map(|awaited| awaited.method.as_str());
            let passage = judge.result(method, &result).await?;
            Ok(fate_of_reply(Some(&id), passage))
        }
        FromServer::Error { id, error } => {
            let passage = self::error(judge, error).await?;
            Ok(fate_of_reply(id.as_ref(), passage))
        }
        FromServer::Request { id, method, params } => {
            let passage = match params {
                Ok(params) => judge.request(&method, params).await?,
                Err(invalid) => Passage::Refused(invalid.into()),
            };
            Ok(fate_of_request(&id, passage))
        }
        FromServer::Notification { method, params } => {
            let passage = judge.notification(&method, params.as_ref()).await?;
            Ok(match passage {
                Passage::AsItIs => Fate::Passes,
                Passage::Refused(undecided) => Fate::Dropped(undecided.to_string()),
                Passage::Denied(_) | Passage::Changed(_) => {
                    let method = Shown::new(&method);
                    Fate::Dropped(format!("`{method}` is denied"))
                }
            })
        }
    }
}

/// An error tells, and asks for nothing, but for one that says what the person has to visit.
async fn error(judge: &Judge<'_>, text: &str) -> Result<Passage, Unanswered> {
    let depth = judge.limits.json_depth;
    let read = json::value(&tolerant(text.as_bytes()), depth, Names::Protocol, "error");
    let error = match read {
        Ok(error) => error,
        Err(invalid) => return Ok(Passage::Refused(invalid.into())),
    };
    let visits = &error["data"]["elicitations"];
    for members in [error.as_object(), error["data"].as_object()] {
        let Some(members) = members else { continue };
        if let Err(invalid) = no_look_alikes(names_of(members), &DECISIVE, "error") {
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

/// What cannot be read gets an answer, if somebody waits for one: under its own id, or else under that of the request
/// whose response it came in. A client that hears nothing waits for ever.
fn fate_of_unreadable(unreadable: Unreadable, awaited: Option<&Awaited>) -> Fate {
    let Unreadable { id, fault } = unreadable;
    match id.as_ref().or(awaited.map(|awaited| &awaited.id)) {
        Some(id) => {
            let said = format!("what the server sent cannot be read: {fault}");
            let error = denial::refused(Some(id), denial::DENIED, &said);
            Fate::Instead(error.to_string())
        }
        None => Fate::Dropped(fault.to_string()),
    }
}

fn fate_of_reply(id: Option<&Id>, passage: Passage) -> Fate {
    match passage {
        Passage::AsItIs => Fate::Passes,
        Passage::Changed(result) => {
            let id = id.map_or(Json::Null, Id::to_json);
            Fate::Instead(format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#
            ))
        }
        other => Fate::Instead(turned_away(id, other).to_string()),
    }
}

fn fate_of_request(id: &Id, passage: Passage) -> Fate {
    if matches!(passage, Passage::AsItIs) {
        return Fate::Passes;
    }
    let mut error = turned_away(Some(id), passage);
    let why = error["error"].take();
    let instead = json!({"jsonrpc": "2.0", "id": id.to_json(), "method": DENIED, "params": why});
    Fate::Instead(instead.to_string())
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
