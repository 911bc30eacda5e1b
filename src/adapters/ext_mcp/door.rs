//! `CheckRequest` and `CheckResponse`.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Response, Status};

use crate::adapters::ext_mcp::identity::Evidence;
use crate::adapters::ext_mcp::reply;
use crate::adapters::ext_mcp::request::{self, Refused};
use crate::adapters::grpc::authorization::deadline;
use crate::adapters::grpc::entrance::{Entrance, entered};
use crate::adapters::grpc::parse::transport_trace;
use crate::adapters::grpc::refusal::Refusal;
use crate::adapters::invalid::Shown;
use crate::adapters::json::RawObject;
use crate::adapters::mcp::conversation::Conversation;
use crate::adapters::mcp::judge::{Judge, Passage};
use crate::adapters::mcp::methods::{self, Sender};
use crate::adapters::mcp::operations::{self, Asked, Undecided};
use crate::adapters::mcp::origins::Origins;
use crate::call::context::TraceContext;
use crate::call::decision::Decision;
use crate::config::ext_mcp::ExtMcp as Settings;
use crate::config::limits::Limits;
use crate::identity::caller::Rpc;
use crate::proto::agentgateway::ext_mcp::ext_mcp_server::ExtMcp as Wire;
use crate::proto::agentgateway::ext_mcp::{
    McpRequest, McpRequestResult, McpResponse, McpResponseResult,
};
use crate::service::deadline::{Deadline, Unanswered};
use crate::service::decisions::{Answer, Ask, Service};

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
    ) -> Result<Admitted, Refusal> {
        Ok(Admitted {
            entrance: entered(&mut extensions, Rpc::ExtMcpCheck)?,
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
    ) -> Result<McpRequestResult, Unanswered> {
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
            None => reply::refused(Refused::denied("nothing was decided")),
        })
    }

    fn note(&self, refused: &Refused) {
        let recorder = self.service.recorder();
        recorder.refusal(ADAPTER, refused.kind(), &refused.logged());
    }

    /// Judges an answer.
    async fn on_response(
        &self,
        admitted: &Admitted,
        mut response: McpResponse,
    ) -> Result<McpResponseResult, Unanswered> {
        let metadata = response.metadata_context.take();
        let read = || {
            let limits = &admitted.limits;
            let servers = request::servers(&response.service_names, limits)?;
            let method = methods::request(Sender::Client, &response.method);
            let method = method.map(|known| known.name);
            let method = method.ok_or_else(|| Undecided::Unknown(Shown::new(&response.method)))?;
            check_late(method, &admitted.settings)?;
            let result = RawObject::read(&response.mcp_response, "mcp_response");
            let result = result.map_err(Undecided::Invalid)?;
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
                return Ok(reply::passage(Ok(Passage::Denied(Box::new(denied)))));
            }
        }
        if is_told_less {
            result.remove("instructions");
        }
        let judge = Judge {
            service: &self.service,
            ask: admitted.ask(),
            conversation: &conversation,
            origins: &origins,
            limits: &admitted.limits,
        };
        Ok(reply::passage(Ok(
            match judge.result(Some(method), &result).await? {
                Passage::AsItIs if is_told_less => Passage::Changed(result.with(|_| None)),
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
        origins: &Origins,
        method: &'static str,
    ) -> Result<Option<Answer<Decision>>, Unanswered> {
        let mut asks = Vec::new();
        for server in origins.servers() {
            if let Asked::Decide(operations) = operations::upkeep(server, method) {
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
fn check_late(method: &str, settings: &Settings) -> Result<(), Refused> {
    match method {
        COMPLETE if !settings.pass_completions => Err(Refused::denied(request::COMPLETED_LATE)),
        "resources/subscribe" | "subscriptions/listen" if !settings.pass_subscriptions => {
            Err(Refused::denied(request::SUBSCRIBED_LATE))
        }
        _ => Ok(()),
    }
}

/// A caller that may ask, and what its question is read with.
struct Admitted {
    entrance: Entrance,
    trace: TraceContext,
    deadline: Deadline,
    limits: Arc<Limits>,
    settings: Arc<Settings>,
}

impl Admitted {
    fn ask(&self) -> Ask<'_> {
        Ask {
            caller: self.entrance.caller(),
            adapter: ADAPTER,
            at_least_revision: 0,
            is_dry_run: false,
            deadline: self.deadline,
            request_id: None,
        }
    }

    fn evidence(&self) -> Evidence<'_> {
        Evidence {
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
        Ok(Response::new(result.map_err(Refusal::from)?))
    }

    async fn check_response(
        &self,
        request: Request<McpResponse>,
    ) -> Result<Response<McpResponseResult>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let admitted = self.admit(&metadata, extensions)?;
        let result = self.on_response(&admitted, message).await;
        Ok(Response::new(result.map_err(Refusal::from)?))
    }
}
