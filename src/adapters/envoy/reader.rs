//! Parses an HTTP request into the query that is decided: operations, server and conversation.

use smol_str::SmolStr;

use crate::adapters::envoy::consistency;
use crate::adapters::envoy::identity::{self, EnvoyEvidence};
use crate::adapters::envoy::rejection::{self, EnvoyRejection, REPLIES, RejectedRequest};
use crate::adapters::envoy::request::HttpRequest;
use crate::adapters::http_routes::matcher;
use crate::adapters::input::field_error::FieldProblem;
use crate::adapters::input::ids;
use crate::adapters::input::json::{self, KeyPolicy};
use crate::adapters::mcp::message::{self, ClientMessage, JsonRpcId};
use crate::adapters::mcp::methods::{self, Sender};
use crate::adapters::mcp::request::client_responses;
use crate::adapters::mcp::request::mirrored_headers::HeaderFields;
use crate::adapters::mcp::request::operations::{self, MessageIntent};
use crate::adapters::subject::conversation::{self, Conversation};
use crate::adapters::subject::token_claims::ResolvedSubject;
use crate::authn::caller::Caller;
use crate::config::envoy::{BodyRequirement, EnvoyConfig};
use crate::config::limits::Limits;
use crate::domain::request::call_context::{Environment, Operation, TraceContext, Workflow};

/// The namespace of the dynamic metadata of Envoy's MCP filter.
const MCP_NAMESPACE: &str = "envoy.filters.http.mcp";

/// The inputs of parsing besides the request.
#[derive(Clone, Copy)]
pub(super) struct RequestReader<'a> {
    pub(super) caller: &'a Caller,
    pub(super) limits: &'a Limits,
    pub(super) settings: &'a EnvoyConfig,
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
struct Wanted {
    id: Option<JsonRpcId>,
    method: Option<String>,
    asked: MessageIntent,
}

impl Wanted {
    fn without_answer(asked: MessageIntent) -> Self {
        Self {
            id: None,
            method: None,
            asked,
        }
    }
}

impl RequestReader<'_> {
    /// Parses a request, or returns why it is rejected.
    pub(super) fn question(
        &self,
        http: &HttpRequest,
    ) -> Result<AuthorizationQuery, RejectedRequest> {
        let Some(server) = http.server(self.settings) else {
            return self.plain(http);
        };
        let server = SmolStr::new(server);
        matcher::has_one_reading(http).map_err(|odd| EnvoyRejection::new(400, &odd.to_string()))?;
        let Wanted { id, method, asked } = match http.method.as_str() {
            "POST" => self.wanted(self.message(http)?, &server)?,
            method @ ("GET" | "DELETE") => stream(method, &http.headers, &server)?,
            _ => {
                return Err(
                    EnvoyRejection::new(405, "MCP has no requests of this HTTP method").into(),
                );
            }
        };
        let MessageIntent::Authorize(operations) = asked else {
            let refused = EnvoyRejection::new(403, "only servers send this");
            return Err(RejectedRequest::with_id(id, refused));
        };
        let conversation = self.who(&server, id.as_ref(), http);
        match conversation {
            Ok(conversation) => Ok(AuthorizationQuery {
                id,
                is_plain: false,
                method,
                server,
                conversation,
                operations,
            }),
            Err(refused) => Err(RejectedRequest::with_id(id, refused)),
        }
    }

    /// Parses a request of plain HTTP.
    fn plain(&self, http: &HttpRequest) -> Result<AuthorizationQuery, RejectedRequest> {
        let routes = &self.settings.routes;
        let unknown = || EnvoyRejection::new(403, rejection::NO_SERVER);
        if routes.is_empty() {
            return Err(unknown().into());
        }
        let operation = matcher::operation(http, routes, self.limits)
            .map_err(|odd| RejectedRequest::plainly(EnvoyRejection::new(400, &odd.to_string())))?
            .ok_or_else(|| RejectedRequest::plainly(unknown()))?;
        let conversation = self
            .who(&operation.server, None, http)
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

    /// Resolves the conversation of a request.
    fn who(
        &self,
        server: &SmolStr,
        id: Option<&JsonRpcId>,
        http: &HttpRequest,
    ) -> Result<Conversation, EnvoyRejection> {
        let evidence = EnvoyEvidence {
            caller: self.caller,
            http,
            limits: self.limits,
        };
        let known = identity::of(&evidence, &self.settings.identity)
            .map_err(|said| EnvoyRejection::new(403, said))?
            .ok_or_else(|| EnvoyRejection::new(401, rejection::NOBODY))?;
        self.conversation(known, server, id, http)
    }

    /// Parses the message, and checks that headers and metadata agree with it.
    fn message(&self, http: &HttpRequest) -> Result<ClientMessage, RejectedRequest> {
        http.check_content_type().map_err(EnvoyRejection::from)?;
        let found = http.metadata.get(MCP_NAMESPACE);
        let body = http.plain_body().map_err(EnvoyRejection::from)?;
        let message = match (body.is_empty(), found) {
            (false, _) => message::read(body, self.limits)?,
            (true, Some(found)) if self.settings.body == BodyRequirement::Optional => {
                let depth = self.limits.json_depth.saturating_add(2);
                let unusable =
                    || EnvoyRejection::new(400, "what the MCP filter has read cannot be used");
                let found = json::from_struct(found.clone(), depth, KeyPolicy::Protocol, "mcp");
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
        agreed.map_err(|disagreement| {
            RejectedRequest::with_id(id_of(&message), disagreement.into())
        })?;
        Ok(message)
    }

    fn wanted(&self, message: ClientMessage, server: &SmolStr) -> Result<Wanted, RejectedRequest> {
        match message {
            ClientMessage::Request { id, method, params } => {
                let asked =
                    operations::from_request(Sender::Client, server, &method, params, self.limits);
                match asked {
                    Ok(asked) => Ok(Wanted {
                        id: Some(id),
                        method: Some(method),
                        asked,
                    }),
                    Err(undecided) => {
                        let usual = self.settings.denied_status;
                        let refused = EnvoyRejection::undecided(usual, &undecided);
                        Err(RejectedRequest::with_id(Some(id), refused))
                    }
                }
            }
            ClientMessage::Notification { method, .. } => {
                let asked = operations::from_notification(Sender::Client, server, &method);
                let asked =
                    asked.map_err(|undecided| EnvoyRejection::undecided(403, &undecided))?;
                Ok(Wanted::without_answer(asked))
            }
            // With external authorization the server's request was not seen, so a setting decides beside the
            // policies.
            ClientMessage::Reply {
                result: Some(result),
                ..
            } if result.is_empty() || self.sees_servers || self.settings.pass_replies => {
                let asked = client_responses::of_reply(server, &result);
                let asked =
                    asked.map_err(|undecided| EnvoyRejection::undecided(403, &undecided))?;
                Ok(Wanted::without_answer(asked))
            }
            ClientMessage::Reply { .. } => Err(EnvoyRejection::new(403, REPLIES).into()),
        }
    }

    fn conversation(
        &self,
        known: ResolvedSubject,
        server: &SmolStr,
        id: Option<&JsonRpcId>,
        http: &HttpRequest,
    ) -> Result<Conversation, EnvoyRejection> {
        let settings = self.settings;
        let headers = &http.headers;
        let delegation_ids = self.names(headers, settings.delegation_header.as_deref())?;
        let ResolvedSubject {
            subject,
            delegation,
            until,
        } = known.with_delegations(delegation_ids);
        let workflow = Workflow {
            session_id: self.session(headers, &settings.session_header)?,
            is_session_vouched: settings.session_vouched,
            task_id: self.name(headers, settings.task_header.as_deref())?,
            request_id: id.and_then(|id| traceable(id, self.limits)),
            ..Workflow::default()
        };
        let is_verified = settings.verified_servers.iter().any(|it| it == server);
        // A trace is not evidence: an unusable one is ignored.
        let of_trace = |name| {
            let value = headers.get(name).ok().flatten()?;
            (value.len() <= self.limits.text_bytes as usize).then(|| value.to_owned())
        };
        Ok(Conversation {
            subject,
            delegation,
            workflow,
            approval_ids: self.names(headers, settings.approval_header.as_deref())?,
            environment: Environment {
                source_address: http.source.clone()?,
            },
            trace: TraceContext {
                traceparent: of_trace("traceparent"),
                tracestate: of_trace("tracestate"),
            },
            peer: conversation::peer(is_verified),
            until,
        })
    }

    fn session(
        &self,
        headers: &HeaderFields,
        header: &str,
    ) -> Result<Option<SmolStr>, EnvoyRejection> {
        let Some(value) = headers.get(header)? else {
            return Ok(None);
        };
        let session = ids::session(value, self.limits, header);
        session.map_err(|invalid| {
            EnvoyRejection::new(400, &format!("the header `{header}` {}", invalid.problem()))
        })
    }

    /// Reads a name from a header.
    fn name(
        &self,
        headers: &HeaderFields,
        header: Option<&str>,
    ) -> Result<Option<SmolStr>, EnvoyRejection> {
        let Some(header) = header else {
            return Ok(None);
        };
        let Some(value) = headers.get(header)? else {
            return Ok(None);
        };
        ids::optional(value, self.limits.id_bytes, header)
            .map_err(|invalid| unfit(header, invalid.problem()))
    }

    /// Reads names separated by commas from a header.
    fn names(
        &self,
        headers: &HeaderFields,
        header: Option<&str>,
    ) -> Result<Vec<SmolStr>, EnvoyRejection> {
        let Some(header) = header else {
            return Ok(Vec::new());
        };
        let Some(value) = headers.get(header)? else {
            return Ok(Vec::new());
        };
        let names: Vec<_> = value.split(',').map(str::trim).collect();
        let (items, limit) = (names.len(), self.limits.list_items);
        if items > limit as usize {
            let problem = FieldProblem::TooMany { items, limit };
            let said = format!("the header `{header}` {problem} (`limits.list_items`)");
            return Err(EnvoyRejection::new(400, &said));
        }
        let name = |name| {
            let name = ids::required(name, self.limits.id_bytes, header);
            name.map_err(|invalid| unfit(header, invalid.problem()))
        };
        names.into_iter().map(name).collect()
    }
}

fn unfit(header: &str, problem: &FieldProblem) -> EnvoyRejection {
    let said = ids::said(problem);
    EnvoyRejection::new(400, &format!("the header `{header}` {said}"))
}

/// `GET` opens the stream of a session and `DELETE` ends the session; both must name it.
fn stream(
    method: &str,
    headers: &HeaderFields,
    server: &SmolStr,
) -> Result<Wanted, RejectedRequest> {
    let session = headers
        .get("mcp-session-id")
        .map_err(EnvoyRejection::from)?;
    if session.is_none_or(str::is_empty) {
        let said = "only a session has a stream: send `Mcp-Session-Id`";
        return Err(EnvoyRejection::new(405, said).into());
    }
    let known = methods::STREAM.into_iter().find(|known| *known == method);
    let asked = operations::upkeep(server, known.unwrap_or(methods::REPLY));
    Ok(Wanted::without_answer(asked))
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
