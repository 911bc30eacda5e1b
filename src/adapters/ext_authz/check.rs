//! `Check`: one HTTP request, decided.

use std::sync::Arc;

use arc_swap::ArcSwap;
use smol_str::SmolStr;
use tonic::{Request, Response, Status};

use crate::adapters::ext_authz::agreement::{self, Disagreement};
use crate::adapters::ext_authz::identity::{self, Evidence, Known};
use crate::adapters::ext_authz::reply::{self, Refused};
use crate::adapters::ext_authz::wire::{self, Headers, Unfit};
use crate::adapters::grpc::authorization::with_evidence;
use crate::adapters::grpc::refusal::Refusal;
use crate::adapters::invalid::{Invalid, Problem};
use crate::adapters::json;
use crate::adapters::mcp::answers;
use crate::adapters::mcp::denial;
use crate::adapters::mcp::message::{self, Id, Message, Unreadable};
use crate::adapters::mcp::methods::{self, Sender};
use crate::adapters::mcp::operations::{self, Asked, Undecided};
use crate::call::context::{
    CallContext, Delegation, Environment, Operation, TraceContext, Workflow,
};
use crate::config::ext_authz::{Body, ExtAuthz};
use crate::config::limits::Limits;
use crate::identity::caller::{Caller, Rpc};
use crate::identity::doorkeeper::Doorkeeper;
use crate::proto::envoy::auth::authorization_server::Authorization;
use crate::proto::envoy::auth::{AttributeContext, CheckRequest, CheckResponse, HttpRequest};
use crate::service::decisions::{Ask, Service};

/// How this front door is called in traces.
pub const ADAPTER: &str = "ext_authz";

/// Where Envoy's MCP filter keeps what it has found.
const MCP_NAMESPACE: &str = "envoy.filters.http.mcp";

/// `envoy.service.auth.v3.Authorization`. Cloning is cheap.
#[derive(Clone)]
pub struct Check {
    service: Arc<Service>,
    doorkeeper: Arc<Doorkeeper>,
    limits: Arc<ArcSwap<Limits>>,
    settings: Arc<ArcSwap<ExtAuthz>>,
}

/// What a request asks for: the calls that all have to be allowed, and the id that an error goes back with.
struct Question {
    id: Option<Id>,
    calls: Vec<CallContext>,
}

/// Why there is nothing to decide, and the id that the error goes back with.
struct TurnedAway {
    id: Option<Id>,
    refused: Refused,
}

impl Check {
    /// The RPC over a service.
    pub fn new(
        service: Arc<Service>,
        doorkeeper: Arc<Doorkeeper>,
        limits: Arc<ArcSwap<Limits>>,
        settings: Arc<ArcSwap<ExtAuthz>>,
    ) -> Self {
        Self {
            service,
            doorkeeper,
            limits,
            settings,
        }
    }

    async fn answer(
        &self,
        caller: &Caller,
        attributes: AttributeContext,
    ) -> Result<CheckResponse, Refusal> {
        let limits = self.limits.load_full();
        let settings = self.settings.load_full();
        let reading = Reading {
            caller,
            limits: &limits,
            settings: &settings,
        };
        let question = match reading.question(attributes)? {
            Ok(question) => question,
            Err(TurnedAway { id, refused }) => return Ok(reply::refused(id.as_ref(), &refused)),
        };
        let ask = Ask {
            caller,
            adapter: ADAPTER,
            at_least_revision: 0,
            is_dry_run: false,
        };
        let asks: Vec<_> = question.calls.into_iter().map(|call| (ask, call)).collect();
        let answers = self.service.authorize_batch(&asks).await?;
        let denied = answers.iter().find(|answer| !answer.value.is_allow());
        Ok(match denied {
            None if !answers.is_empty() => reply::allowed(&answers),
            None => reply::refused(question.id.as_ref(), &turned(403, "nothing was decided")),
            // What wants no answer gets none that looks like one.
            Some(denied) => {
                let usual = question.id.as_ref().map_or(403, |_| settings.denied_status);
                reply::denied(question.id.as_ref(), denied, usual)
            }
        })
    }
}

/// What a request is read with.
struct Reading<'a> {
    caller: &'a Caller,
    limits: &'a Limits,
    settings: &'a ExtAuthz,
}

impl Reading<'_> {
    fn question(
        &self,
        mut attributes: AttributeContext,
    ) -> Result<Result<Question, TurnedAway>, Refusal> {
        const FIELD: &str = "attributes.request.http";
        let request = attributes.request.as_mut().and_then(|it| it.http.take());
        let http = request.ok_or_else(|| Invalid::new(FIELD, Problem::Missing))?;
        Ok(self.of_http(&attributes, http))
    }

    fn of_http(
        &self,
        attributes: &AttributeContext,
        mut http: HttpRequest,
    ) -> Result<Question, TurnedAway> {
        let headers = Headers::take(&mut http);
        let Some(server) = wire::server(attributes, &http, self.settings) else {
            return Err(turned(403, "no server is configured for this host and path").into());
        };
        let server = SmolStr::new(server);
        let (id, asked) = match http.method.as_str() {
            "POST" => {
                let message = self.message(attributes, &mut http, &headers)?;
                self.asked(message, &server)?
            }
            method @ ("GET" | "DELETE") => (None, self.stream(method, &headers, &server)?),
            _ => return Err(turned(405, "MCP has no requests of this HTTP method").into()),
        };
        let with_id = |refused: Refused| TurnedAway {
            id: id.clone(),
            refused,
        };
        let Asked::Decide(operations) = asked else {
            return Err(with_id(turned(403, "only servers send this")));
        };
        let evidence = Evidence {
            caller: self.caller,
            attributes,
            headers: &headers,
            limits: self.limits,
        };
        let known = identity::of(&evidence, &self.settings.identity)
            .map_err(|said| with_id(turned(403, said)))?
            .ok_or_else(|| with_id(turned(401, "nobody is known to make this request")))?;
        let calls = self
            .calls(known, operations, id.as_ref(), attributes, &headers)
            .map_err(with_id)?;
        Ok(Question { id, calls })
    }

    /// The message, once headers and metadata agree with it.
    fn message(
        &self,
        attributes: &AttributeContext,
        http: &mut HttpRequest,
        headers: &Headers,
    ) -> Result<Message, TurnedAway> {
        let found = identity::metadata(attributes, MCP_NAMESPACE);
        let body = wire::body(http, headers).map_err(Refused::from)?;
        let message = match (body.is_empty(), found) {
            (false, _) => message::read(&body, self.limits)?,
            (true, Some(found)) if self.settings.body == Body::Optional => {
                let depth = self.limits.json_depth.saturating_add(2);
                let unusable = || turned(400, "what the MCP filter has read cannot be used");
                let found = json::from_struct(found.clone(), depth, "mcp");
                let found = found.map_err(|_| unusable())?;
                agreement::message_of(found).ok_or_else(unusable)?
            }
            (true, _) => {
                let said = "the body is not here: set Envoy's `with_request_body`";
                return Err(turned(400, said).into());
            }
        };
        let agreed = agreement::with_headers(&message, headers)
            .and_then(|()| found.map_or(Ok(()), |found| agreement::with_metadata(&message, found)));
        agreed.map_err(|disagreement| TurnedAway {
            id: id_of(&message),
            refused: disagreement.into(),
        })?;
        Ok(message)
    }

    fn asked(&self, message: Message, server: &SmolStr) -> Result<(Option<Id>, Asked), TurnedAway> {
        match message {
            Message::Request { id, method, params } => {
                let asked =
                    operations::of_request(Sender::Client, server, &method, params, self.limits);
                match asked {
                    Ok(asked) => Ok((Some(id), asked)),
                    Err(undecided) => Err(TurnedAway {
                        id: Some(id),
                        refused: self.undecided(&undecided),
                    }),
                }
            }
            Message::Notification { method, .. } => {
                let asked = operations::of_notification(Sender::Client, server, &method);
                let asked = asked.map_err(|undecided| Refused {
                    status: 403,
                    ..self.undecided(&undecided)
                })?;
                Ok((None, asked))
            }
            // What the server asked for is not seen here, so there is a switch beside the policies.
            Message::Reply {
                result: Some(result),
                ..
            } if result.is_empty() || self.settings.pass_replies => {
                let asked = answers::of_reply(server, &result);
                let asked = asked.map_err(|undecided| Refused {
                    status: 403,
                    ..self.undecided(&undecided)
                })?;
                Ok((None, asked))
            }
            Message::Reply { .. } => {
                Err(turned(403, "replies to servers are not let through").into())
            }
        }
    }

    fn undecided(&self, undecided: &Undecided) -> Refused {
        Refused {
            status: self.settings.denied_status,
            code: undecided.code(),
            message: undecided.to_string(),
        }
    }

    /// `GET` opens the stream of a session, `DELETE` ends the session; both need to say which.
    fn stream(
        &self,
        method: &str,
        headers: &Headers,
        server: &SmolStr,
    ) -> Result<Asked, TurnedAway> {
        let session = headers.get("mcp-session-id").map_err(Refused::from)?;
        if session.is_none_or(str::is_empty) {
            return Err(turned(405, "only a session has a stream: send `Mcp-Session-Id`").into());
        }
        let known = methods::STREAM.into_iter().find(|known| *known == method);
        Ok(operations::upkeep(server, known.unwrap_or(methods::REPLY)))
    }

    fn calls(
        &self,
        known: Known,
        operations: Vec<Operation>,
        id: Option<&Id>,
        attributes: &AttributeContext,
        headers: &Headers,
    ) -> Result<Vec<CallContext>, Refused> {
        let settings = self.settings;
        let Known {
            subject,
            mut delegation,
        } = known;
        let grant_ids = self.names(headers, settings.grant_header.as_deref())?;
        if !grant_ids.is_empty() {
            delegation
                .get_or_insert_with(|| Delegation::by_grants(Vec::new()))
                .grant_ids = grant_ids;
        }
        let workflow = Workflow {
            session_id: self.name(headers, Some(&settings.session_header))?,
            task_id: self.name(headers, settings.task_header.as_deref())?,
            request_id: id.and_then(|id| self.traceable(id)),
            ..Workflow::default()
        };
        let approval_ids = self.names(headers, settings.approval_header.as_deref())?;
        let peer = attributes
            .source
            .as_ref()
            .and_then(|it| it.address.as_ref());
        let address = peer.and_then(|it| it.socket_address.as_ref());
        let environment = Environment {
            source_address: address.and_then(|it| it.address.parse().ok()),
        };
        // A trace is never evidence, so one that cannot be used is left out.
        let of_trace = |name| {
            let value = headers.get(name).ok().flatten()?;
            (value.len() <= self.limits.text_bytes as usize).then(|| value.to_owned())
        };
        let trace = TraceContext {
            traceparent: of_trace("traceparent"),
            tracestate: of_trace("tracestate"),
        };
        let call = |operation| CallContext {
            subject: subject.clone(),
            delegation: delegation.clone(),
            operation,
            workflow: workflow.clone(),
            approval_ids: approval_ids.clone(),
            environment: environment.clone(),
            trace: trace.clone(),
        };
        Ok(operations.into_iter().map(call).collect())
    }

    /// The name in a header.
    fn name(&self, headers: &Headers, header: Option<&str>) -> Result<Option<SmolStr>, Refused> {
        let Some(value) = header.map_or(Ok(None), |header| headers.get(header))? else {
            return Ok(None);
        };
        let is_name = value.len() <= self.limits.id_bytes as usize
            && !value.bytes().any(|byte| byte.is_ascii_control());
        match is_name {
            true => Ok((!value.is_empty()).then(|| SmolStr::new(value))),
            false => Err(turned(
                400,
                "a header with a name is too long or not a name",
            )),
        }
    }

    /// The names in a header, separated by commas.
    fn names(&self, headers: &Headers, header: Option<&str>) -> Result<Vec<SmolStr>, Refused> {
        let Some(value) = header.map_or(Ok(None), |header| headers.get(header))? else {
            return Ok(Vec::new());
        };
        let names: Vec<_> = value.split(',').map(str::trim).collect();
        let is_name = |name: &&str| {
            !name.is_empty()
                && name.len() <= self.limits.id_bytes as usize
                && !name.bytes().any(|byte| byte.is_ascii_control())
        };
        if names.len() > self.limits.list_items as usize || !names.iter().all(is_name) {
            return Err(turned(400, "a header with names is too long or not a list"));
        }
        Ok(names.into_iter().map(SmolStr::new).collect())
    }

    /// A request's id as it may stand in a trace.
    fn traceable(&self, id: &Id) -> Option<SmolStr> {
        let text = match id {
            Id::Text(text) => SmolStr::new(text),
            Id::Number(number) => smol_str::format_smolstr!("{number}"),
        };
        Some(text).filter(|it| !it.is_empty() && !it.bytes().any(|byte| byte.is_ascii_control()))
    }
}

fn id_of(message: &Message) -> Option<Id> {
    match message {
        Message::Request { id, .. } => Some(id.clone()),
        Message::Notification { .. } | Message::Reply { .. } => None,
    }
}

fn turned(status: u16, message: &str) -> Refused {
    Refused {
        status,
        code: denial::DENIED,
        message: message.to_owned(),
    }
}

impl From<Refused> for TurnedAway {
    fn from(refused: Refused) -> Self {
        Self { id: None, refused }
    }
}

impl From<Unreadable> for TurnedAway {
    fn from(unreadable: Unreadable) -> Self {
        let Unreadable { id, fault } = unreadable;
        let refused = Refused {
            status: 400,
            code: fault.code(),
            message: fault.to_string(),
        };
        Self { id, refused }
    }
}

impl From<Unfit> for Refused {
    fn from(unfit: Unfit) -> Self {
        turned(400, &unfit.to_string())
    }
}

impl From<Disagreement> for Refused {
    fn from(disagreement: Disagreement) -> Self {
        Self {
            status: 400,
            code: denial::HEADER_MISMATCH,
            message: disagreement.to_string(),
        }
    }
}

#[tonic::async_trait]
impl Authorization for Check {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        const RPC: Rpc = Rpc::ExtAuthzCheck;
        let (metadata, extensions, message) = request.into_parts();
        let caller = with_evidence(&metadata, &extensions, |evidence| {
            self.doorkeeper.current().authenticate(evidence)
        })
        .map_err(Refusal::from)?;
        if !caller.rights.rpcs.contains(RPC) {
            let caller = caller.id.to_string();
            return Err(Refusal::NotAllowed { caller, rpc: RPC }.into());
        }
        let missing = || Refusal::from(Invalid::new("attributes", Problem::Missing));
        let attributes = message.attributes.ok_or_else(missing)?;
        Ok(Response::new(self.answer(&caller, attributes).await?))
    }
}
