//! The RPCs `CheckRequest` and `CheckResponse`.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use prost_types::Struct;
use prost_types::value::Kind;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::adapters::agentgateway::identity::MetadataReader;
use crate::adapters::agentgateway::reply;
use crate::adapters::agentgateway::request::{self, AgentgatewayRejection};
use crate::adapters::input::field_error::{FieldError, FieldProblem, TextExcerpt};
use crate::adapters::input::ids;
use crate::adapters::input::json::RawObject;
use crate::adapters::mcp::member_spelling::resembles;
use crate::adapters::mcp::methods::{self, Method, MethodKind, Routing, Sender};
use crate::adapters::mcp::request::intent::{MessageIntent, OperationError};
use crate::adapters::mcp::request::operations;
use crate::adapters::mcp::response::filter::{Filtered, MessageFilter, is_tool_error};
use crate::adapters::mcp::server_set::ServerSet;
use crate::adapters::outcome;
use crate::adapters::subject::conversation::Conversation;
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::adapters::transport::grpc_rpc::AdmittedRpc;
use crate::adapters::transport::grpc_unary::UnaryRpcs;
use crate::audit::outcome_record::{OutcomeOf, OutcomeRecord, Status as OutcomeStatus};
use crate::authn::caller::Rpc;
use crate::config::agentgateway::AgentgatewayConfig as Settings;
use crate::config::limits::Limits;
use crate::domain::decide::verdict::Verdict;
use crate::domain::request::operation::{self, OperationType, ResourceOperation};
use crate::proto::agentgateway::ext_mcp::ext_mcp_server::ExtMcp as Wire;
use crate::proto::agentgateway::ext_mcp::{
    McpRequest, McpRequestResult, McpResponse, McpResponseResult,
};
use crate::proto::codec::{self, EncodedMessage};
use crate::service::Service;
use crate::service::deadline::ServiceError;
use crate::service::request::{RequestMeta, Response as ServiceResponse};

/// The name of this adapter in metrics, logs and traces.
pub const ADAPTER: &str = "ext_mcp";

/// `agentgateway.dev.ext_mcp.ExtMcp`. Cloning is cheap.
#[derive(Clone)]
pub struct ExtMcp {
    service: Arc<Service>,
    limits: Arc<ArcSwap<Limits>>,
    settings: Arc<ArcSwap<Settings>>,
}

impl ExtMcp {
    /// Creates the adapter.
    pub fn new(
        service: Arc<Service>,
        limits: Arc<ArcSwap<Limits>>,
        settings: Arc<ArcSwap<Settings>>,
    ) -> Self {
        Self {
            service,
            limits,
            settings,
        }
    }

    fn admit<T>(&self, request: Request<T>) -> Result<(AdmittedCheck, T), GrpcRejection> {
        let (rpc, message) = AdmittedRpc::take(request, Rpc::ExtMcpCheck)?;
        Ok((self.admitted(rpc), message))
    }

    fn admitted(&self, rpc: AdmittedRpc) -> AdmittedCheck {
        AdmittedCheck {
            rpc,
            limits: self.limits.load_full(),
            settings: self.settings.load_full(),
        }
    }

    /// Decides a request. A request to several servers passes if at least one of them may be asked; the
    /// entries of the others are removed from the response.
    async fn on_request(
        &self,
        admitted: &AdmittedCheck,
        mut request: McpRequest,
    ) -> Result<McpRequestResult, ServiceError> {
        let metadata = request.metadata_context.take();
        let read = || {
            let limits = &admitted.limits;
            let servers = request::servers(&request.service_names, limits)?;
            let asked = request::asked(&request, &servers, limits)?;
            let conversation = admitted
                .metadata_reader()
                .conversation(metadata, only(&servers))?;
            Ok((asked, conversation))
        };
        let (asked, conversation) = match read() {
            Ok(read) => read,
            Err(rejection) => {
                self.note(&rejection);
                return Ok(reply::rejected(rejection));
            }
        };
        let mut sizes: Vec<_> = asked.iter().map(Vec::len).collect();
        let call = |operation| (admitted.request_meta(), conversation.call(operation));
        let asks: Vec<_> = asked.into_iter().flatten().map(call).collect();
        let answers = match sizes.as_slice() {
            [_] => self.service.authorize_message(&asks).await?,
            _ => self.service.authorize_batch(&asks).await?,
        };
        if let [size] = sizes.as_mut_slice() {
            *size = answers.len();
        }
        let mut rest = answers.as_slice();
        let mut denied = None;
        for size in sizes {
            let (of_server, others) = rest.split_at(size);
            rest = others;
            match of_server.iter().find(|answer| !answer.value.is_allow()) {
                None if !of_server.is_empty() => return Ok(reply::allowed(of_server)),
                found => denied = denied.or(found),
            }
        }
        Ok(match denied {
            Some(denied) => reply::denied(denied),
            None => reply::rejected(AgentgatewayRejection::denied("nothing was decided")),
        })
    }

    fn note(&self, rejection: &AgentgatewayRejection) {
        let recorder = self.service.recorder();
        recorder.rejection(ADAPTER, rejection.kind(), &rejection.logged());
    }

    /// Filters a response, and puts on record what became of the request.
    async fn on_response(
        &self,
        admitted: &AdmittedCheck,
        mut response: McpResponse,
    ) -> Result<McpResponseResult, ServiceError> {
        let metadata = response.metadata_context.take();
        let decision_id = metadata.as_ref().and_then(decision_id);
        let asked = match AskedBefore::new(admitted, &response, metadata) {
            Ok(asked) => asked,
            Err(rejection) => {
                self.note(&rejection);
                self.record_refused(admitted, &response, decision_id);
                return Ok(reply::filtered(Err(rejection)));
            }
        };
        let (filtered, is_tool_error) = match result_alone(&response.mcp_response) {
            Ok(result) => {
                let is_tool_error = is_tool_error(&result);
                (self.filter(admitted, &asked, result).await, is_tool_error)
            }
            Err(invalid) => {
                let error = OperationError::Invalid(invalid);
                self.note(&error.clone().into());
                (Ok(Filtered::Rejected(error)), false)
            }
        };
        // What could not be judged does not pass either.
        let status = filtered
            .as_ref()
            .map_or(OutcomeStatus::Withheld, |filtered| {
                outcome::status_of(filtered, is_tool_error)
            });
        let about = OutcomeOf {
            operation: asked.method.name,
            servers: asked.origins.servers(),
            session_id: asked.conversation.workflow.session_id.as_ref(),
        };
        self.record_outcome(admitted, &response, decision_id, (status, Some(about)));
        Ok(reply::filtered(Ok(filtered?)))
    }

    /// Puts on record that a response was withheld before it was known whose it is, with what is known of it.
    fn record_refused(
        &self,
        admitted: &AdmittedCheck,
        response: &McpResponse,
        decision_id: Option<Uuid>,
    ) {
        let servers = request::servers(&response.service_names, &admitted.limits);
        let servers = servers.unwrap_or_default();
        let method = methods::request(Sender::Client, &response.method);
        let about = method.map(|method| OutcomeOf {
            operation: method.name,
            servers: &servers,
            session_id: None,
        });
        if decision_id.is_some() || about.is_some() {
            let withheld = (OutcomeStatus::Withheld, about);
            self.record_outcome(admitted, response, decision_id, withheld);
        }
    }

    /// Puts on record what became of a request. `about` is the request, where its decision is not known.
    fn record_outcome(
        &self,
        admitted: &AdmittedCheck,
        response: &McpResponse,
        decision_id: Option<Uuid>,
        (status, about): (OutcomeStatus, Option<OutcomeOf<'_>>),
    ) {
        outcome::record(
            &self.service,
            &OutcomeRecord {
                decision_id,
                status,
                size: response.mcp_response.len() as u64,
                labels: &[],
                caller: &admitted.rpc.admitted.caller().id,
                adapter: ADAPTER,
                about: about.filter(|_| decision_id.is_none()),
                at: self.service.clock().source_now(),
            },
        );
    }

    async fn filter(
        &self,
        admitted: &AdmittedCheck,
        asked: &AskedBefore,
        mut result: RawObject<'_>,
    ) -> Result<Filtered, ServiceError> {
        let AskedBefore {
            method,
            conversation,
            origins,
        } = asked;
        let denial = || self.connection_denial(admitted, conversation, origins, method.name);
        let hides_instructions = method.has_instructions
            && result.get("instructions").is_some()
            && origins.only().is_none()
            && denial().await?.is_some();
        if method.routing == Routing::ResponseOnly
            && let Some(denied) = denial().await?
        {
            return Ok(Filtered::Denied(denied));
        }
        if hides_instructions {
            result.remove("instructions");
        }
        let filter = MessageFilter {
            service: &self.service,
            ask: admitted.request_meta(),
            conversation,
            origins,
            limits: &admitted.limits,
        };
        Ok(match filter.result(Some(method.name), &result).await? {
            Filtered::Unchanged if hides_instructions => Filtered::Rewritten(result.with(|_| None)),
            filtered => filtered,
        })
    }

    /// Returns the first denial to connect to one of the servers, or `None` if all are allowed. The gateway
    /// merges the instructions of several servers into one text.
    async fn connection_denial(
        &self,
        admitted: &AdmittedCheck,
        conversation: &Conversation,
        origins: &ServerSet,
        method: &'static str,
    ) -> Result<Option<ServiceResponse<Box<Verdict>>>, ServiceError> {
        let mut asks = Vec::new();
        // Which subscriptions there are is not told: they may be to tasks.
        let of_tasks = (method == operation::SUBSCRIBE).then_some("tasks/get");
        let methods = || std::iter::once(method).chain(of_tasks);
        let servers = origins.servers().iter();
        for (server, method) in servers.flat_map(|it| methods().map(move |method| (it, method))) {
            if let MessageIntent::Authorize(operations) = operations::connect(server, method) {
                let call = |operation| (admitted.request_meta(), conversation.call(operation));
                asks.extend(operations.into_iter().map(call));
            }
        }
        let answers = self.service.authorize_batch(&asks).await?;
        let mut answers = answers.into_iter();
        Ok(answers.find(|answer| !answer.value.is_allow()))
    }
}

/// Parses a result. A gateway that passed the message around it, too, would have nothing in it judged.
fn result_alone(text: &[u8]) -> Result<RawObject<'_>, FieldError> {
    const FIELD: &str = "mcp_response";
    let result = RawObject::read(text, FIELD)?;
    let is_message = result.names().any(|name| resembles(name, "jsonrpc"));
    match is_message {
        true => Err(FieldError::new(
            FIELD,
            FieldProblem::NotOfShape("the result of a message, without the message"),
        )),
        false => Ok(result),
    }
}

/// What a response answers, and whose it is.
struct AskedBefore {
    method: &'static Method,
    conversation: Conversation,
    origins: ServerSet,
}

impl AskedBefore {
    fn new(
        admitted: &AdmittedCheck,
        response: &McpResponse,
        metadata: Option<Struct>,
    ) -> Result<Self, AgentgatewayRejection> {
        let servers = request::servers(&response.service_names, &admitted.limits)?;
        let method = methods::request(Sender::Client, &response.method);
        let method = method
            .ok_or_else(|| OperationError::UnknownMethod(TextExcerpt::new(&response.method)))?;
        check_late(method, &admitted.settings)?;
        let conversation = admitted
            .metadata_reader()
            .conversation(metadata, only(&servers))?;
        Ok(Self {
            method,
            conversation,
            origins: request::origins(servers, admitted.settings.prefix_mode),
        })
    }
}

const SUBSCRIBE: MethodKind =
    MethodKind::Operation(OperationType::OnResource(ResourceOperation::Subscribe));

/// A request that cannot be decided without its parameters is rejected at its response, unless the
/// configuration says that the gateway has asked before or that it may pass.
fn check_late(method: &Method, settings: &Settings) -> Result<(), AgentgatewayRejection> {
    match method.kind {
        MethodKind::Complete if !settings.pass_completions => {
            Err(AgentgatewayRejection::denied(request::COMPLETED_LATE))
        }
        SUBSCRIBE | MethodKind::Listen if !settings.pass_subscriptions => {
            Err(AgentgatewayRejection::denied(request::SUBSCRIBED_LATE))
        }
        MethodKind::Operation(_)
        | MethodKind::Complete
        | MethodKind::Listen
        | MethodKind::Elicit
        | MethodKind::Exempt
        | MethodKind::Unsupported(_) => Ok(()),
    }
}

/// An admitted RPC and the settings that apply to it.
struct AdmittedCheck {
    rpc: AdmittedRpc,
    limits: Arc<Limits>,
    settings: Arc<Settings>,
}

impl AdmittedCheck {
    fn request_meta(&self) -> RequestMeta<'_> {
        self.rpc.request_meta(ADAPTER)
    }

    fn metadata_reader(&self) -> MetadataReader<'_> {
        MetadataReader {
            caller: self.rpc.admitted.caller(),
            limits: &self.limits,
            settings: &self.settings,
            trace: &self.rpc.trace,
        }
    }
}

/// The decision on the request, if the gateway's configuration puts it into the metadata of the response as
/// `decision_id`.
fn decision_id(metadata: &Struct) -> Option<Uuid> {
    let Some(Kind::StringValue(text)) = &metadata.fields.get(reply::DECISION_ID)?.kind else {
        return None;
    };
    ids::decision(text, reply::DECISION_ID).ok()
}

fn only<T>(several: &[T]) -> Option<&T> {
    match several {
        [one] => Some(one),
        _ => None,
    }
}

impl UnaryRpcs for ExtMcp {
    fn serves(rpc: Rpc) -> bool {
        rpc == Rpc::ExtMcpCheck
    }

    async fn answer(&self, path: &str, rpc: AdmittedRpc, message: Bytes) -> Result<Bytes, Status> {
        let admitted = self.admitted(rpc);
        if path.ends_with("/CheckRequest") {
            let result = self.on_request(&admitted, codec::decode(message)?).await;
            return EncodedMessage::from(&result.map_err(GrpcRejection::from)?).into_frame();
        }
        let result = self.on_response(&admitted, codec::decode(message)?).await;
        EncodedMessage::from(&result.map_err(GrpcRejection::from)?).into_frame()
    }
}

#[tonic::async_trait]
impl Wire for ExtMcp {
    async fn check_request(
        &self,
        request: Request<McpRequest>,
    ) -> Result<Response<McpRequestResult>, Status> {
        let (admitted, message) = self.admit(request)?;
        let result = self.on_request(&admitted, message).await;
        Ok(Response::new(result.map_err(GrpcRejection::from)?))
    }

    async fn check_response(
        &self,
        request: Request<McpResponse>,
    ) -> Result<Response<McpResponseResult>, Status> {
        let (admitted, message) = self.admit(request)?;
        let result = self.on_response(&admitted, message).await;
        Ok(Response::new(result.map_err(GrpcRejection::from)?))
    }
}
