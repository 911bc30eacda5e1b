//! Parses an HTTP request into the query that is decided: operations, server and conversation.

use smol_str::SmolStr;

use crate::adapters::envoy::consistency;
use crate::adapters::envoy::identity::{self, RequestAttributes};
use crate::adapters::envoy::rejection::{self, EnvoyRejection, REPLIES, RejectedRequest};
use crate::adapters::envoy::request::{HttpRequest, RequestError};
use crate::adapters::http_routes::matcher;
use crate::adapters::input::ids;
use crate::adapters::input::json::{self, BeyondDouble, KeyPolicy};
use crate::adapters::mcp::message::{self, ClientMessage, JsonRpcId};
use crate::adapters::mcp::methods::{self, Sender};
use crate::adapters::mcp::request::client_responses;
use crate::adapters::mcp::request::intent::{MessageIntent, OperationError};
use crate::adapters::mcp::request::mirrored_headers::HeaderFields;
use crate::adapters::mcp::request::operations;
use crate::adapters::subject::conversation::Conversation;
use crate::adapters::subject::resolver::Resolver;
use crate::authn::caller::Caller;
use crate::config::envoy::{BodyRequirement, EnvoyConfig};
use crate::config::limits::Limits;
use crate::domain::request::call_context::{Operation, Told};
use crate::domain::request::operation::RESUME;
use crate::domain::request::trace_context::TraceContext;

/// The namespace of the dynamic metadata of Envoy's MCP filter.
const MCP_NAMESPACE: &str = "envoy.filters.http.mcp";

/// Envoy's settings with which it passes bytes rather than text.
const SHOWS_PATH: &str = "encode_raw_headers";
const SHOWS_BODY: &str = "pack_as_bytes";

/// The header by which a client says up to where it has had a stream.
const LAST_EVENT: &str = "last-event-id";

/// The inputs of parsing besides the request.
#[derive(Clone, Copy)]
pub(super) struct RequestReader<'a> {
    pub(super) caller: &'a Caller,
    pub(super) limits: &'a Limits,
    pub(super) settings: &'a EnvoyConfig,
    /// The trace context of Envoy's RPC, for requests that have none of their own.
    pub(super) transport_trace: &'a TraceContext,
    /// Whether requests of servers are filtered, so that policies alone decide which replies to them pass.
    pub(super) sees_servers: bool,
}

/// What a request asks for.
#[derive(Debug)]
pub(super) struct AuthorizationQuery {
    /// The JSON-RPC id of the request.
    pub(super) id: Option<JsonRpcId>,
    /// Whether the request is plain HTTP rather than MCP.
    pub(super) is_plain: bool,
    /// The MCP method, if it is a request.
    pub(super) method: Option<String>,
    /// The server that receives it.
    pub(super) server: SmolStr,
    /// The conversation it belongs to.
    pub(super) conversation: Conversation,
    /// The operations, all of which must be allowed.
    pub(super) operations: Vec<Operation>,
}

/// What a message asks for.
struct MessageQuery {
    id: Option<JsonRpcId>,
    method: Option<String>,
    intent: MessageIntent,
}

impl MessageQuery {
    fn without_id(intent: MessageIntent) -> Self {
        Self {
            id: None,
            method: None,
            intent,
        }
    }
}

impl RequestReader<'_> {
    /// Parses a request, or returns why it is rejected.
    pub(super) fn question(
        &self,
        http: &mut HttpRequest,
    ) -> Result<AuthorizationQuery, RejectedRequest> {
        let Some(server) = http.server(self.settings) else {
            return self.plain(http);
        };
        let server = SmolStr::new(server);
        self.check_text(http.altered.path, SHOWS_PATH)?;
        matcher::check_mcp(http.target())
            .map_err(|error| EnvoyRejection::new(400, &error.to_string()))?;
        // The metadata in place of the body has what the MCP filter was told to take along, and no lists.
        let has_body = http.plain_body().is_ok_and(|body| !body.is_empty());
        let told = match has_body || !self.settings.require_arguments {
            true => Told::All,
            false => Told::Part,
        };
        let MessageQuery { id, method, intent } = match http.method.as_str() {
            "POST" => self.message_query(self.message(http)?, told, &server)?,
            method @ ("GET" | "DELETE") => self.stream(method, &http.headers, &server)?,
            _ => {
                let said = "MCP has no requests of this HTTP method";
                return Err(EnvoyRejection::method_not_allowed(said, "POST, GET, DELETE").into());
            }
        };
        let MessageIntent::Authorize(operations) = intent else {
            let rejection = EnvoyRejection::new(403, "only servers send this");
            return Err(RejectedRequest::with_id(id, rejection));
        };
        let conversation = self.conversation(&server, id.as_ref(), http);
        match conversation {
            Ok(conversation) => Ok(AuthorizationQuery {
                id,
                is_plain: false,
                method,
                server,
                conversation,
                operations,
            }),
            Err(rejection) => Err(RejectedRequest::with_id(id, rejection)),
        }
    }

    /// Parses a request of plain HTTP.
    fn plain(&self, http: &mut HttpRequest) -> Result<AuthorizationQuery, RejectedRequest> {
        let routes = &self.settings.routes;
        let unknown = || EnvoyRejection::new(403, rejection::NO_SERVER);
        if routes.is_empty() {
            return Err(unknown().into());
        }
        self.check_text(http.altered.path, SHOWS_PATH)
            .map_err(RejectedRequest::plainly)?;
        let operation = matcher::operation(http.target(), routes, self.limits)
            .map_err(|error| {
                RejectedRequest::plainly(EnvoyRejection::new(400, &error.to_string()))
            })?
            .ok_or_else(|| RejectedRequest::plainly(unknown()))?;
        let conversation = self
            .conversation(&operation.server, None, http)
            .map_err(RejectedRequest::plainly)?;
        Ok(AuthorizationQuery {
            id: None,
            is_plain: true,
            method: None,
            server: operation.server.clone(),
            conversation,
            operations: vec![operation],
        })
    }

    /// Refuses a text that may not be what the client sent. Envoy's setting would show the bytes.
    fn check_text(&self, is_altered: bool, setting: &'static str) -> Result<(), EnvoyRejection> {
        match is_altered && !self.settings.trust_text {
            true => Err(RequestError::Altered(setting).into()),
            false => Ok(()),
        }
    }

    /// Resolves the conversation of a request.
    fn conversation(
        &self,
        server: &SmolStr,
        id: Option<&JsonRpcId>,
        http: &mut HttpRequest,
    ) -> Result<Conversation, EnvoyRejection> {
        let settings = self.settings;
        let mut attributes = RequestAttributes::take(http, self.limits, self.transport_trace);
        let mut resolver = Resolver {
            attributes: &mut attributes,
            limits: self.limits,
        };
        let sources = settings.identity.iter();
        let sources = sources.filter(|it| it.counts_for(&self.caller.id));
        let is_server_verified = settings.verified_servers.iter().any(|it| it == server);
        let mut conversation = resolver.conversation(
            sources.map(identity::source),
            identity::keys(settings),
            is_server_verified,
        )?;
        conversation.workflow.request_id = id.and_then(|id| traceable(id, self.limits));
        Ok(conversation)
    }

    /// Parses the message, and checks that headers and metadata agree with it.
    fn message(&self, http: &HttpRequest) -> Result<ClientMessage, RejectedRequest> {
        http.check_content_type().map_err(EnvoyRejection::from)?;
        let found = http.metadata.get(MCP_NAMESPACE);
        let body = http.plain_body().map_err(EnvoyRejection::from)?;
        self.check_text(http.altered.body, SHOWS_BODY)?;
        let message = match (body.is_empty(), found) {
            (false, _) => message::read(body, self.limits).map_err(|rejection| {
                RejectedRequest::unreadable(rejection, self.settings.denied_status)
            })?,
            (true, Some(found)) if self.settings.body == BodyRequirement::Optional => {
                let depth = self.limits.json_depth.saturating_add(2);
                let unusable =
                    || EnvoyRejection::new(400, "what the MCP filter has read cannot be used");
                let beyond = BeyondDouble::Refused("let Envoy pass the body on");
                let reading = (KeyPolicy::Protocol, beyond);
                let found = json::from_struct(found.clone(), depth, reading, "mcp");
                let found = found.map_err(|_| unusable())?;
                consistency::message_of(found).ok_or_else(unusable)?
            }
            (true, _) => {
                let said = "the body is not here: let Envoy pass it on";
                return Err(EnvoyRejection::new(400, said).into());
            }
        };
        let agreed = consistency::with_headers(&message, &http.headers).and_then(|()| {
            found.map_or(Ok(()), |found| consistency::with_metadata(&message, found))
        });
        agreed.map_err(|mismatch| RejectedRequest::with_id(id_of(&message), mismatch.into()))?;
        Ok(message)
    }

    fn message_query(
        &self,
        message: ClientMessage,
        told: Told,
        server: &SmolStr,
    ) -> Result<MessageQuery, RejectedRequest> {
        match message {
            ClientMessage::Request { id, method, params } => {
                let limits = self.limits;
                let intent =
                    operations::from_request(Sender::Client, server, &method, params, told, limits);
                match intent {
                    Ok(intent) => Ok(MessageQuery {
                        id: Some(id),
                        method: Some(method),
                        intent,
                    }),
                    Err(error) => {
                        let usual = self.settings.denied_status;
                        let rejection = EnvoyRejection::from_operation_error(usual, &error);
                        Err(RejectedRequest::with_id(Some(id), rejection))
                    }
                }
            }
            ClientMessage::Notification { method, .. } => {
                let intent = operations::from_notification(Sender::Client, server, &method);
                let intent = intent.map_err(|error| {
                    let status = match error {
                        OperationError::NoId(_) => 400,
                        _ => 403,
                    };
                    EnvoyRejection::from_operation_error(status, &error)
                })?;
                Ok(MessageQuery::without_id(intent))
            }
            // With external authorization the server's request was not seen, so a setting decides beside the
            // policies.
            ClientMessage::Reply {
                content: Some(content),
                ..
            } if content.tells_nothing() || self.sees_servers || self.settings.pass_replies => {
                let intent = client_responses::from_reply(server, &content);
                let intent =
                    intent.map_err(|error| EnvoyRejection::from_operation_error(403, &error))?;
                Ok(MessageQuery::without_id(intent))
            }
            ClientMessage::Reply { .. } => Err(EnvoyRejection::new(403, REPLIES).into()),
        }
    }

    /// `GET` opens the stream of a session and `DELETE` ends the session; both must name it. A stream that is gone on with
    /// may bring the result of any earlier call. Where responses are filtered, that is decided when one comes.
    fn stream(
        &self,
        method: &str,
        headers: &HeaderFields,
        server: &SmolStr,
    ) -> Result<MessageQuery, RejectedRequest> {
        let session = headers
            .get("mcp-session-id")
            .map_err(EnvoyRejection::from)?;
        headers
            .single("mcp-protocol-version")
            .map_err(EnvoyRejection::from)?;
        if session.is_none_or(str::is_empty) {
            let said = "only a session has a stream: send `Mcp-Session-Id`";
            return Err(EnvoyRejection::method_not_allowed(said, "POST").into());
        }
        let known = match !self.sees_servers && resumes(method, headers) {
            true => RESUME,
            false => {
                let known = methods::STREAM.into_iter().find(|known| *known == method);
                known.unwrap_or(methods::REPLY)
            }
        };
        let intent = operations::connect(server, known);
        Ok(MessageQuery::without_id(intent))
    }
}

/// Whether a client goes on with a stream that broke off. Some servers read `_` in a header's name as `-`.
fn resumes(method: &str, headers: &HeaderFields) -> bool {
    let mut names = headers.iter().map(|(name, _)| name);
    method == "GET" && names.any(|name| name.replace('_', "-") == LAST_EVENT)
}

fn id_of(message: &ClientMessage) -> Option<JsonRpcId> {
    match message {
        ClientMessage::Request { id, .. } => Some(id.clone()),
        ClientMessage::Notification { .. } | ClientMessage::Reply { .. } => None,
    }
}

/// The JSON-RPC id as a request id in the trace, if it is a valid id.
fn traceable(id: &JsonRpcId, limits: &Limits) -> Option<SmolStr> {
    let text = match id {
        JsonRpcId::Text(text) => SmolStr::new(text),
        JsonRpcId::Number(number) => smol_str::format_smolstr!("{number}"),
    };
    Some(text).filter(|it| ids::check(it, limits.text_bytes).is_ok())
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
