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

/// Filters one message. If it is the response to the awaited request, says what became of that.
pub(super) async fn filter(
    filter: &MessageFilter<'_>,
    awaited: Option<&PendingRequest>,
    text: &[u8],
) -> Result<(MessageAction, Option<Status>), ServiceError> {
    let message = match message::read_server(text, filter.limits) {
        Ok(message) => message,
        Err(unreadable) => {
            let id = unreadable.id.as_ref();
            let is_awaited = awaited.is_some_and(|it| id.is_none_or(|id| it.id == *id));
            let outcome = is_awaited.then_some(Status::Withheld);
            return Ok((action_for_unreadable(unreadable, awaited), outcome));
        }
    };
    match message {
        ServerMessage::Result { id, result } => {
            let awaited = awaited.filter(|awaited| awaited.id == id);
            let method = awaited.map(|awaited| awaited.method.as_str());
            let filtered = filter.result(method, &result).await?;
            let is_tool_error = result.get("isError") == Some("true");
            let outcome = awaited.map(|_| outcome::status_of(&filtered, is_tool_error));
            Ok((action_for_reply(Some(&id), filtered), outcome))
        }
        ServerMessage::Error { id, error } => {
            let filtered = self::error(filter, error).await?;
            let is_awaited = awaited.is_some_and(|it| id.as_ref().is_none_or(|id| it.id == *id));
            let outcome = is_awaited.then(|| match outcome::status_of(&filtered, false) {
                Status::Withheld => Status::Withheld,
                _ => Status::Error,
            });
            Ok((action_for_reply(id.as_ref(), filtered), outcome))
        }
        request => Ok((server_initiated(filter, request).await?, None)),
    }
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

/// An unreadable message is replaced by an error under its own id, or under that of the request it came in
/// response to, so that the client does not wait forever.
fn action_for_unreadable(
    unreadable: MessageRejection,
    awaited: Option<&PendingRequest>,
) -> MessageAction {
    let MessageRejection { id, fault } = unreadable;
    match id.as_ref().or(awaited.map(|awaited| &awaited.id)) {
        Some(id) => {
            let said = format!("what the server sent cannot be read: {fault}");
            let error = json_rpc_error::rejection(Some(id), json_rpc_error::DENIED, &said);
            MessageAction::Instead(error.to_string())
        }
        None => MessageAction::Dropped(fault.to_string()),
    }
}

fn action_for_reply(id: Option<&JsonRpcId>, filtered: Filtered) -> MessageAction {
    match filtered {
        Filtered::Unchanged => MessageAction::Passes,
        Filtered::Rewritten(result) => {
            let id = id.map_or(Json::Null, JsonRpcId::to_json);
            MessageAction::Instead(format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#
            ))
        }
        other => MessageAction::Instead(error_for(id, other).to_string()),
    }
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
