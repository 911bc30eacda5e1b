//! `CheckRequest` and `CheckResponse`.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Response, Status};

use crate::adapters::agentgateway::identity::MetadataEvidence;
use crate::adapters::agentgateway::reply;
use crate::adapters::agentgateway::request::{self, AgentgatewayRejection};
use crate::adapters::callgate_v1::authorization::deadline;
use crate::adapters::callgate_v1::parse::transport_trace;
use crate::adapters::input::field_error::TextExcerpt;
use crate::adapters::input::json::RawObject;
use crate::adapters::mcp::methods::{self, Sender};
use crate::adapters::mcp::request::operations::{self, MessageIntent, OperationError};
use crate::adapters::mcp::response::filter::{Filtered, MessageFilter};
use crate::adapters::mcp::server_set::ServerSet;
use crate::adapters::subject::conversation::Conversation;
use crate::adapters::transport::grpc_admission::{AdmittedCaller, take_admission};
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::authn::caller::Rpc;
use crate::config::agentgateway::AgentgatewayConfig as Settings;
use crate::config::limits::Limits;
use crate::domain::decide::verdict::Verdict;
use crate::domain::request::call_context::TraceContext;
use crate::proto::agentgateway::ext_mcp::ext_mcp_server::ExtMcp as Wire;
use crate::proto::agentgateway::ext_mcp::{
    McpRequest, McpRequestResult, McpResponse, McpResponseResult,
};
use crate::service::deadline::{Deadline, ServiceError};
use crate::service::decisions::Service;
use crate::service::request::{RequestMeta, Response as ServiceResponse};

/// How this front door is called in traces.
pub const ADAPTER: &str = "ext_mcp";

/// What the gateway may ask about on the way back alone, depending on its version: the server has then answered already,
/// and nobody has seen the parameters. What can be decided without them is.
const LATE: [&str; 9] = [
    COMPLETE,
    "resources/subscribe",
    "resources/unsubscribe",
    "subscriptions/listen",
    "tasks/cancel",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tasks/update",
];

const COMPLETE: &str = "completion/complete";

/// What tells of servers as they meet a client, with instructions that models read.
const GREETINGS: [&str; 2] = ["initialize", "server/discover"];

/// `agentgateway.dev.ext_mcp.ExtMcp`. Cloning is cheap.
#[derive(Clone)]
pub struct ExtMcp {
    service: Arc<Service>,
    limits: Arc<ArcSwap<Limits>>,
    settings: Arc<ArcSwap<Settings>>,
}

impl ExtMcp {
    /// The service over Callgate's.
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

    fn admit(
        &self,
        metadata: &MetadataMap,
        mut extensions: Extensions,
    ) -> Result<Admitted, GrpcRejection> {
        Ok(Admitted {
            entrance: take_admission(&mut extensions, Rpc::ExtMcpCheck)?,
            trace: transport_trace(metadata),
            deadline: deadline(&extensions),
            limits: self.limits.load_full(),
            settings: self.settings.load_full(),
        })
    }

    /// Decides about a request. What goes to several servers passes if one of them may be asked: what the
    /// others answer is taken out on the way back.
    async fn on_request(
        &self,
        admitted: &Admitted,
        mut request: McpRequest,
    ) -> Result<McpRequestResult, ServiceError> {
        let metadata = request.metadata_context.take();
        let read = || {
            let limits = &admitted.limits;
            let servers = request::servers(&request.service_names, limits)?;
            let asked = request::asked(&request, &servers, limits)?;
            let conversation = admitted.evidence().conversation(metadata, only(&servers))?;
            Ok((asked, conversation))
        };
        let (asked, conversation) = match read() {
            Ok(read) => read,
            Err(refused) => {
                self.note(&refused);
                return Ok(reply::refused(refused));
            }
        };
        let sizes: Vec<_> = asked.iter().map(Vec::len).collect();
        let call = |operation| (admitted.ask(), conversation.call(operation));
        let asks: Vec<_> = asked.into_iter().flatten().map(call).collect();
        let answers = self.service.authorize_batch(&asks).await?;
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
            None => reply::refused(AgentgatewayRejection::denied("nothing was decided")),
        })
    }

    fn note(&self, refused: &AgentgatewayRejection) {
        let recorder = self.service.recorder();
        recorder.refusal(ADAPTER, refused.kind(), &refused.logged());
    }

    /// Judges an answer.
    async fn on_response(
        &self,
        admitted: &Admitted,
        mut response: McpResponse,
    ) -> Result<McpResponseResult, ServiceError> {
        let metadata = response.metadata_context.take();
        let read = || {
            let limits = &admitted.limits;
            let servers = request::servers(&response.service_names, limits)?;
            let method = methods::request(Sender::Client, &response.method);
            let method = method.map(|known| known.name);
            let method = method
                .ok_or_else(|| OperationError::UnknownMethod(TextExcerpt::new(&response.method)))?;
            check_late(method, &admitted.settings)?;
            let result = RawObject::read(&response.mcp_response, "mcp_response");
            let result = result.map_err(OperationError::Invalid)?;
            let conversation = admitted.evidence().conversation(metadata, only(&servers))?;
            let origins = request::origins(servers, admitted.settings.prefix_mode);
            Ok((method, result, conversation, origins))
        };
        let (method, mut result, conversation, origins) = match read() {
            Ok(read) => read,
            Err(refused) => {
                self.note(&refused);
                return Ok(reply::passage(Err(refused)));
            }
        };
        let is_told_less = GREETINGS.contains(&method)
            && result.get("instructions").is_some()
            && origins.only().is_none()
            && self
                .refuses_to_meet(admitted, &conversation, &origins, method)
                .await?
                .is_some();
        if let Some(method) = LATE.into_iter().find(|late| *late == method) {
            let denied = self.refuses_to_meet(admitted, &conversation, &origins, method);
            if let Some(denied) = denied.await? {
                return Ok(reply::passage(Ok(Filtered::Denied(Box::new(denied)))));
            }
        }
        if is_told_less {
            result.remove("instructions");
        }
        let judge = MessageFilter {
            service: &self.service,
            ask: admitted.ask(),
            conversation: &conversation,
            origins: &origins,
            limits: &admitted.limits,
        };
        Ok(reply::passage(Ok(
            match judge.result(Some(method), &result).await? {
                Filtered::Unchanged if is_told_less => Filtered::Rewritten(result.with(|_| None)),
                passage => passage,
            },
        )))
    }

    /// Why the client may not meet one of the servers; `None` if it may meet all. The gateway writes the instructions of
    /// several into one text.
    async fn refuses_to_meet(
        &self,
        admitted: &Admitted,
        conversation: &Conversation,
        origins: &ServerSet,
        method: &'static str,
    ) -> Result<Option<ServiceResponse<Verdict>>, ServiceError> {
        let mut asks = Vec::new();
        for server in origins.servers() {
            if let MessageIntent::Authorize(operations) = operations::upkeep(server, method) {
                let call = |operation| (admitted.ask(), conversation.call(operation));
                asks.extend(operations.into_iter().map(call));
            }
        }
        let answers = self.service.authorize_batch(&asks).await?;
        let mut answers = answers.into_iter();
        Ok(answers.find(|answer| !answer.value.is_allow()))
    }
}

/// What cannot be decided without its parameters is refused on the way back, unless the configuration says that the
/// gateway has asked before or that it may pass all the same.
fn check_late(method: &str, settings: &Settings) -> Result<(), AgentgatewayRejection> {
    match method {
        COMPLETE if !settings.pass_completions => {
            Err(AgentgatewayRejection::denied(request::COMPLETED_LATE))
        }
        "resources/subscribe" | "subscriptions/listen" if !settings.pass_subscriptions => {
            Err(AgentgatewayRejection::denied(request::SUBSCRIBED_LATE))
        }
        _ => Ok(()),
    }
}

/// A caller that may ask, and what its question is read with.
struct Admitted {
    entrance: AdmittedCaller,
    trace: TraceContext,
    deadline: Deadline,
    limits: Arc<Limits>,
    settings: Arc<Settings>,
}

impl Admitted {
    fn ask(&self) -> RequestMeta<'_> {
        RequestMeta {
            caller: self.entrance.caller(),
            adapter: ADAPTER,
            at_least_revision: 0,
            is_dry_run: false,
            deadline: self.deadline,
            request_id: None,
        }
    }

    fn evidence(&self) -> MetadataEvidence<'_> {
        MetadataEvidence {
            caller: self.entrance.caller(),
            limits: &self.limits,
            settings: &self.settings,
            trace: &self.trace,
        }
    }
}

fn only<T>(several: &[T]) -> Option<&T> {
    match several {
        [one] => Some(one),
        _ => None,
    }
}

#[tonic::async_trait]
impl Wire for ExtMcp {
    async fn check_request(
        &self,
        request: Request<McpRequest>,
    ) -> Result<Response<McpRequestResult>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let admitted = self.admit(&metadata, extensions)?;
        let result = self.on_request(&admitted, message).await;
        Ok(Response::new(result.map_err(GrpcRejection::from)?))
    }

    async fn check_response(
        &self,
        request: Request<McpResponse>,
    ) -> Result<Response<McpResponseResult>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let admitted = self.admit(&metadata, extensions)?;
        let result = self.on_response(&admitted, message).await;
        Ok(Response::new(result.map_err(GrpcRejection::from)?))
    }
}
