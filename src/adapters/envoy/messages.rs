//! Filters one message of a server on its way to the client.

use serde_json::{Value as Json, json};

use crate::adapters::envoy::content::RepliesRead;
use crate::adapters::input::field_error::TextExcerpt;
use crate::adapters::input::json::RawObject;
use crate::adapters::mcp::message::{self, JsonRpcId, MessageRejection, ServerMessage};
use crate::adapters::mcp::request::intent::OperationError;
use crate::adapters::mcp::response::filter::{Filtered, MessageFilter, is_tool_error};
use crate::adapters::mcp::response::json_rpc_error;
use crate::adapters::outcome;
use crate::audit::outcome_record::Status;
use crate::service::deadline::ServiceError;

/// A method that no client implements, so that the client answers the server's request with an error.
const DENIED: &str = "callgate/denied";

/// Why a reply does not pass in a response of this HTTP status.
const NOT_READ: &str = "no client reads such a reply in a response of this HTTP status";

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
    /// To whatever it names, as on the stream of a session, which may go on with one that broke off: a decision of its own.
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

/// The id that a reply names, and the awaited request if it is to that.
struct NamedId<'a> {
    asked: Option<&'a PendingRequest>,
    id: Option<&'a JsonRpcId>,
    /// Whether all clients read the id alike.
    is_plain: bool,
}

impl<'a> NamedId<'a> {
    /// The id of the request, or else the one that the reply names.
    fn of_request(&self) -> Option<&'a JsonRpcId> {
        self.asked.map(|asked| &asked.id).or(self.id)
    }

    /// Whether all clients find the id of the request in the reply: they differ in whether they take `"7"` or `7.0` for 7.
    fn is_exact(&self) -> bool {
        self.is_plain && self.id == self.of_request()
    }
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

/// Filters one message, and says what became of the awaited request by it. `read` says which replies clients read here.
pub(super) async fn filter(
    filter: &MessageFilter<'_>,
    awaited: Awaited<'_>,
    read: RepliesRead,
    text: &[u8],
) -> Result<(MessageAction, Settles), ServiceError> {
    let message = match message::read_server(text, filter.limits) {
        Ok(message) => message,
        Err(unreadable) => return Ok(action_for_unreadable(&unreadable, awaited)),
    };
    match message {
        ServerMessage::Result { .. } if read != RepliesRead::All => Ok(withheld(NOT_READ)),
        ServerMessage::Error { .. } if read == RepliesRead::None => Ok(withheld(NOT_READ)),
        ServerMessage::Result {
            id,
            is_id_plain,
            result,
        } => match awaited.by(Some(&id)) {
            Ok(asked) => {
                let named = NamedId {
                    asked,
                    id: Some(&id),
                    is_plain: is_id_plain,
                };
                filter_result(filter, named, &result).await
            }
            Err(why) => Ok(withheld(why)),
        },
        ServerMessage::Error {
            id,
            is_id_plain,
            error,
        } => {
            // An error that is the whole answer may have an id of its own, as of a server that has read no request.
            let is_whole = matches!(awaited, Awaited::ByWhole(_));
            match awaited.by(id.as_ref().filter(|_| !is_whole)) {
                Ok(asked) => {
                    // The error of a whole exchange is to no request of before.
                    let is_reply = matches!(awaited, Awaited::Any) && read == RepliesRead::All;
                    let named = NamedId {
                        asked,
                        id: id.as_ref(),
                        is_plain: is_id_plain,
                    };
                    filter_error(filter, named, is_reply && id.is_some(), error).await
                }
                Err(why) => Ok(withheld(why)),
            }
        }
        request => Ok((server_initiated(filter, request).await?, Settles::Nothing)),
    }
}

async fn filter_result(
    filter: &MessageFilter<'_>,
    named: NamedId<'_>,
    result: &RawObject<'_>,
) -> Result<(MessageAction, Settles), ServiceError> {
    let asked = named.asked;
    let method = asked.map(|asked| asked.method.as_str());
    let filtered = filter.result(method, result).await?;
    let filtered = or_unawaited(filter, asked.is_none(), filtered).await?;
    let settles = asked.map_or(Settles::Nothing, |_| {
        Settles::Awaited(outcome::status_of(&filtered, is_tool_error(result)))
    });
    let action = action_for_reply(named, filtered, || ("result", result.with(|_| None)));
    Ok((action, settles))
}

async fn filter_error(
    filter: &MessageFilter<'_>,
    named: NamedId<'_>,
    is_unawaited: bool,
    error: &str,
) -> Result<(MessageAction, Settles), ServiceError> {
    let filtered = filter.error(error).await?;
    let filtered = or_unawaited(filter, is_unawaited, filtered).await?;
    let status = match outcome::status_of(&filtered, false) {
        Status::Withheld => Status::Withheld,
        _ => Status::Error,
    };
    let settles = match (named.asked, named.id) {
        (Some(_), _) => Settles::Awaited(status),
        (None, None) => Settles::UnlessNamed(status),
        (None, Some(_)) => Settles::Nothing,
    };
    let action = action_for_reply(named, filtered, || ("error", error.to_owned()));
    Ok((action, settles))
}

/// Decides whether what would pass may do so, if it is a reply that nobody awaits.
async fn or_unawaited(
    filter: &MessageFilter<'_>,
    is_unawaited: bool,
    filtered: Filtered,
) -> Result<Filtered, ServiceError> {
    match filtered {
        Filtered::Unchanged | Filtered::Rewritten(_) if is_unawaited => {
            Ok(match filter.unawaited().await? {
                Filtered::Unchanged => filtered,
                other => other,
            })
        }
        filtered => Ok(filtered),
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

/// What becomes of a reply. `whole` is its member, as it was written.
fn action_for_reply(
    named: NamedId<'_>,
    filtered: Filtered,
    whole: impl FnOnce() -> (&'static str, String),
) -> MessageAction {
    let id = named.of_request();
    let (member, text) = match filtered {
        Filtered::Unchanged if named.is_exact() => return MessageAction::Passes,
        Filtered::Unchanged => whole(),
        Filtered::Rewritten(result) => ("result", result),
        other => return MessageAction::Instead(error_for(id, other).to_string()),
    };
    let id = id.map_or(Json::Null, JsonRpcId::to_json);
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
