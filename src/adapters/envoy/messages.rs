//! Filters one message of a server on its way to the client.

use serde_json::{Value as Json, json};

use crate::adapters::input::field_error::{FieldError, FieldProblem, TextExcerpt};
use crate::adapters::input::json::{self, KeyPolicy};
use crate::adapters::input::limits::check_count;
use crate::adapters::mcp::member_spelling::{names_of, reject_misspelled};
use crate::adapters::mcp::message::{self, JsonRpcId, MessageRejection, ServerMessage};
use crate::adapters::mcp::request::intent::OperationError;
use crate::adapters::mcp::response::filter::{Filtered, MessageFilter};
use crate::adapters::mcp::response::json_rpc_error;
use crate::adapters::outcome;
use crate::audit::outcome_record::Status;
use crate::domain::request::json_text::tolerant;
use crate::service::deadline::ServiceError;

/// A method that no client implements, so that the client answers the server's request with an error.
const DENIED: &str = "callgate/denied";

/// The JSON-RPC error code by which a server asks the user to visit a URL (revision 2025-11-25).
const VISIT_FIRST: f64 = -32042.0;
const VISITS: &str = "error.data.elicitations";
/// Members of a JSON-RPC error that decide what a client does with it.
const DECISIVE: [&str; 3] = ["code", "data", "elicitations"];

/// The request whose response is awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PendingRequest {
    pub(super) id: JsonRpcId,
    pub(super) method: String,
}

/// What a message of a server may be the reply to. Where a request is awaited, one that names another does not pass: clients
/// differ in whether they take it for theirs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Awaited<'a> {
    /// To whatever it names, as on the stream of a session, which may go on with one that broke off.
    Any,
    /// To this request, also if it names none: it is all that the server answers with.
    ByWhole(&'a PendingRequest),
    /// To this request if it names it: it is one of several events.
    ByEvent(&'a PendingRequest),
    /// To none, as this one has its reply.
    Answered(&'a PendingRequest),
}

/// What happens to a message.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum MessageAction {
    /// It is forwarded unchanged.
    Passes,
    /// This JSON replaces it.
    Instead(String),
    /// It is dropped, for this reason.
    Dropped(String),
}

/// What a message says of the awaited request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settles {
    /// Nothing.
    Nothing,
    /// This became of it.
    Awaited(Status),
    /// This became of it, unless a message that names it says something else.
    UnlessNamed(Status),
}

impl<'a> Awaited<'a> {
    /// The awaited request if a reply under this id is the one to it, or why the reply is to none.
    fn by(self, id: Option<&JsonRpcId>) -> Result<Option<&'a PendingRequest>, &'static str> {
        let (Self::ByWhole(request) | Self::ByEvent(request) | Self::Answered(request)) = self
        else {
            return Ok(None);
        };
        match (self, id) {
            (Self::ByWhole(_), None) => Ok(Some(request)),
            (_, None) => Ok(None),
            (_, Some(id)) if !request.id.may_be_taken_for(id) => {
                Err("it answers another request than the one that it comes in response to")
            }
            (Self::Answered(_), Some(_)) => Err("its request has been answered before"),
            (_, Some(_)) => Ok(Some(request)),
        }
    }
}

/// Filters one message, and says what became of the awaited request by it.
pub(super) async fn filter(
    filter: &MessageFilter<'_>,
    awaited: Awaited<'_>,
    text: &[u8],
) -> Result<(MessageAction, Settles), ServiceError> {
    let message = match message::read_server(text, filter.limits) {
        Ok(message) => message,
        Err(unreadable) => return Ok(action_for_unreadable(&unreadable, awaited)),
    };
    match message {
        ServerMessage::Result { id, result } => {
            let awaited = match awaited.by(Some(&id)) {
                Ok(awaited) => awaited,
                Err(why) => return Ok(withheld(why)),
            };
            let method = awaited.map(|awaited| awaited.method.as_str());
            let filtered = filter.result(method, &result).await?;
            let is_tool_error = result.get("isError") == Some("true");
            let settles = awaited.map_or(Settles::Nothing, |_| {
                Settles::Awaited(outcome::status_of(&filtered, is_tool_error))
            });
            let action = action_for_reply(awaited, Some(&id), filtered, || {
                ("result", result.with(|_| None))
            });
            Ok((action, settles))
        }
        ServerMessage::Error { id, error } => {
            // An error that is the whole answer may have an id of its own, as of a server that has read no request.
            let is_whole = matches!(awaited, Awaited::ByWhole(_));
            let asked = match awaited.by(id.as_ref().filter(|_| !is_whole)) {
                Ok(asked) => asked,
                Err(why) => return Ok(withheld(why)),
            };
            let filtered = self::error(filter, error).await?;
            let status = match outcome::status_of(&filtered, false) {
                Status::Withheld => Status::Withheld,
                _ => Status::Error,
            };
            let settles = match (asked, &id) {
                (Some(_), _) => Settles::Awaited(status),
                (None, None) => Settles::UnlessNamed(status),
                (None, Some(_)) => Settles::Nothing,
            };
            let action =
                action_for_reply(asked, id.as_ref(), filtered, || ("error", error.to_owned()));
            Ok((action, settles))
        }
        request => Ok((server_initiated(filter, request).await?, Settles::Nothing)),
    }
}

/// A reply that does not pass, and that nothing replaces as yet.
fn withheld(why: impl ToString) -> (MessageAction, Settles) {
    let settles = Settles::UnlessNamed(Status::Withheld);
    (MessageAction::Dropped(why.to_string()), settles)
}

/// Filters a request or notification of the server.
async fn server_initiated(
    filter: &MessageFilter<'_>,
    message: ServerMessage<'_>,
) -> Result<MessageAction, ServiceError> {
    match message {
        ServerMessage::Result { .. } | ServerMessage::Error { .. } => {
            Ok(MessageAction::Dropped("a response was expected".to_owned()))
        }
        ServerMessage::Request { id, method, params } => {
            let filtered = match params {
                Ok(params) => filter.request(&method, params).await?,
                Err(invalid) => Filtered::Rejected(invalid.into()),
            };
            Ok(action_for_request(&id, filtered))
        }
        ServerMessage::Notification { method, params } => {
            let filtered = filter.notification(&method, params.as_ref()).await?;
            Ok(match filtered {
                Filtered::Unchanged => MessageAction::Passes,
                Filtered::Rejected(error) => MessageAction::Dropped(error.to_string()),
                Filtered::Denied(_) | Filtered::Rewritten(_) => {
                    let method = TextExcerpt::new(&method);
                    MessageAction::Dropped(format!("`{method}` is denied"))
                }
            })
        }
    }
}

/// A JSON-RPC error asks for nothing, except the one that names URLs to visit.
async fn error(filter: &MessageFilter<'_>, text: &str) -> Result<Filtered, ServiceError> {
    let depth = filter.limits.json_depth;
    let read = json::value(
        &tolerant(text.as_bytes()),
        depth,
        KeyPolicy::Protocol,
        "error",
    );
    let error = match read {
        Ok(error) => error,
        Err(invalid) => return Ok(Filtered::Rejected(invalid.into())),
    };
    let visits = &error["data"]["elicitations"];
    for members in [error.as_object(), error["data"].as_object()] {
        let Some(members) = members else { continue };
        if let Err(invalid) = reject_misspelled(names_of(members), &DECISIVE, "error") {
            return Ok(Filtered::Rejected(invalid.into()));
        }
    }
    if error["code"].as_f64() != Some(VISIT_FIRST) && visits.is_null() {
        return Ok(Filtered::Unchanged);
    }
    let invalid = |problem| Filtered::Rejected(FieldError::new(VISITS, problem).into());
    let Some(visits) = visits.as_array() else {
        return Ok(invalid(FieldProblem::NotOfShape("a list")));
    };
    if let Err(error) = check_count(visits.len(), filter.limits.list_items, VISITS) {
        return Ok(Filtered::Rejected(error.into()));
    }
    for visit in visits {
        let params = visit.as_object().cloned().unwrap_or_default();
        match filter.request("elicitation/create", params).await? {
            Filtered::Unchanged => {}
            other => return Ok(other),
        }
    }
    Ok(Filtered::Unchanged)
}

/// An unreadable message is replaced by an error under the id of the request that it answers, so that the client does not
/// wait forever.
fn action_for_unreadable(
    unreadable: &MessageRejection,
    awaited: Awaited<'_>,
) -> (MessageAction, Settles) {
    let MessageRejection { id, fault } = unreadable;
    let asked = match awaited.by(id.as_ref()) {
        Ok(asked) => asked,
        Err(why) => return withheld(why),
    };
    let Some(id) = asked.map(|it| &it.id).or(id.as_ref()) else {
        return withheld(fault);
    };
    let said = format!("what the server sent cannot be read: {fault}");
    let error = json_rpc_error::rejection(Some(id), json_rpc_error::DENIED, &said);
    let settles = asked.map_or(Settles::Nothing, |_| Settles::Awaited(Status::Withheld));
    (MessageAction::Instead(error.to_string()), settles)
}

/// What becomes of a reply to `asked`, or else to the request with this id. `whole` is its member, as it was written.
fn action_for_reply(
    asked: Option<&PendingRequest>,
    id: Option<&JsonRpcId>,
    filtered: Filtered,
    whole: impl FnOnce() -> (&'static str, String),
) -> MessageAction {
    // Clients differ in whether they take `"7"` for 7, so what answers the request gets the id of the request.
    let own = asked.map(|asked| &asked.id);
    let (member, text) = match filtered {
        Filtered::Unchanged if own.is_none_or(|own| Some(own) == id) => {
            return MessageAction::Passes;
        }
        Filtered::Unchanged => whole(),
        Filtered::Rewritten(result) => ("result", result),
        other => return MessageAction::Instead(error_for(own.or(id), other).to_string()),
    };
    let id = own.or(id).map_or(Json::Null, JsonRpcId::to_json);
    MessageAction::Instead(format!(
        r#"{{"jsonrpc":"2.0","id":{id},"{member}":{text}}}"#
    ))
}

fn action_for_request(id: &JsonRpcId, filtered: Filtered) -> MessageAction {
    if matches!(filtered, Filtered::Unchanged) {
        return MessageAction::Passes;
    }
    let mut error = error_for(Some(id), filtered);
    let why = error["error"].take();
    let instead = json!({"jsonrpc": "2.0", "id": id.to_json(), "method": DENIED, "params": why});
    MessageAction::Instead(instead.to_string())
}

/// The JSON-RPC error that replaces a message.
fn error_for(id: Option<&JsonRpcId>, filtered: Filtered) -> Json {
    match filtered {
        Filtered::Denied(answer) => {
            let decision_id = answer.decision_id.to_string();
            json_rpc_error::denied(id, &answer.value, &decision_id)
        }
        Filtered::Rejected(error) => rejection(id, &error),
        Filtered::Unchanged | Filtered::Rewritten(_) => {
            json_rpc_error::rejection(id, json_rpc_error::DENIED, "the message does not pass")
        }
    }
}

fn rejection(id: Option<&JsonRpcId>, error: &OperationError) -> Json {
    let said = format!("what the server sent does not pass: {error}");
    json_rpc_error::rejection(id, error.code(), &said)
}
