//! The five RPCs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwap;
use smol_str::SmolStr;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TlsConnectInfo;
use tonic::{Extensions, Request, Response, Status, Streaming};

use crate::adapters::grpc::encode::{self, Detail};
use crate::adapters::grpc::parse::{EntityTypes, Parser, at_item, check_count, transport_trace};
use crate::adapters::grpc::refusal::Refusal;
use crate::adapters::grpc::stream::{self, AnswerStream};
use crate::call::context::{CallContext, TraceContext};
use crate::call::listing::Offered;
use crate::config::limits::Limits;
use crate::identity::authenticate::Evidence;
use crate::identity::caller::{Caller, Rpc};
use crate::identity::certificate::Peer;
use crate::identity::doorkeeper::Doorkeeper;
use crate::proto::v1;
use crate::proto::v1::authorization_server;
use crate::service::deadline::Deadline;
use crate::service::decisions::{Ask, Later, Now, Service};

/// How this front door is called in traces.
pub const ADAPTER: &str = "grpc";

/// `callgate.v1.Authorization`. Cloning is cheap.
#[derive(Clone)]
pub struct Authorization {
    pub(super) shared: Arc<Shared>,
}

/// What all requests share.
pub(super) struct Shared {
    service: Arc<Service>,
    pub(super) doorkeeper: Arc<Doorkeeper>,
    pub(super) limits: Arc<ArcSwap<Limits>>,
    types: EntityTypes,
    pub(super) draining: CancellationToken,
    pub(super) open_streams: AtomicU32,
}

impl Authorization {
    /// The RPCs over a service. Streams end once `draining` is cancelled.
    pub fn new(
        service: Arc<Service>,
        doorkeeper: Arc<Doorkeeper>,
        limits: Arc<ArcSwap<Limits>>,
        draining: CancellationToken,
    ) -> Self {
        let types = EntityTypes::default();
        let open_streams = AtomicU32::new(0);
        Self {
            shared: Arc::new(Shared {
                service,
                doorkeeper,
                limits,
                types,
                draining,
                open_streams,
            }),
        }
    }
}

/// What became of a request at first sight.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every request is decided at once, and its answer moves on from here"
)]
enum Outcome<'c> {
    Decided(v1::AuthorizeResponse),
    Waiting(Box<Waiting<'c>>),
}

/// A call whose answer waits.
struct Waiting<'c> {
    later: Later<'c>,
    detail: Detail,
    call: CallContext,
}

impl Shared {
    /// Who asks, if it may use this RPC.
    pub(super) fn admit(&self, evidence: Evidence<'_>, rpc: Rpc) -> Result<Arc<Caller>, Refusal> {
        admitted(&self.doorkeeper, evidence, rpc)
    }

    /// Answers one `AuthorizeRequest`.
    pub(super) async fn authorize(
        &self,
        asking: Asking<'_>,
        request: v1::AuthorizeRequest,
    ) -> Result<v1::AuthorizeResponse, Refusal> {
        match self.authorize_now(asking, request)? {
            Outcome::Decided(response) => Ok(response),
            Outcome::Waiting(waiting) => {
                let Waiting {
                    later,
                    detail,
                    call,
                } = *waiting;
                let waited = Box::pin(self.service.finish(later, &call));
                let answer = asking.deadline.within(waited).await??;
                Ok(encode::authorize(answer, detail))
            }
        }
    }

    /// Nearly every request is answered here, in one go. A future that held the call while it waits
    /// would be moved about at its full size for all of them.
    fn authorize_now<'c>(
        &self,
        asking: Asking<'c>,
        request: v1::AuthorizeRequest,
    ) -> Result<Outcome<'c>, Refusal> {
        let limits = self.limits.load();
        let (ask, detail) = asking.authorize(&request);
        let parser = Parser {
            limits: &limits,
            types: &self.types,
            transport_trace: asking.trace,
            vouches_sessions: asking.caller.rights.vouch_sessions,
        };
        let call = parser.call_context(request.call_context)?;
        Ok(match self.service.authorize_now(ask, &call)? {
            Now::Answered(answer) => Outcome::Decided(encode::authorize(answer, detail)),
            Now::Later(later) => Outcome::Waiting(Box::new(Waiting {
                later,
                detail,
                call,
            })),
        })
    }

    async fn authorize_batch(
        &self,
        asking: Asking<'_>,
        requests: Vec<v1::AuthorizeRequest>,
    ) -> Result<v1::AuthorizeBatchResponse, Refusal> {
        let limits = self.limits.load_full();
        check_count(requests.len(), limits.batch, "requests")?;
        let parser = Parser {
            limits: &limits,
            types: &self.types,
            transport_trace: asking.trace,
            vouches_sessions: asking.caller.rights.vouch_sessions,
        };
        let mut asks: Vec<(Ask<'_>, CallContext)> = Vec::with_capacity(requests.len());
        let mut details = Vec::with_capacity(requests.len());
        for (index, request) in requests.into_iter().enumerate() {
            let (ask, detail) = asking.authorize(&request);
            let call = parser
                .call_context(request.call_context)
                .map_err(|inner| at_item(inner, "requests", index))?;
            asks.push((ask, call));
            details.push(detail);
        }
        let answers = self.service.authorize_batch(&asks).await?;
        let responses = answers
            .into_iter()
            .zip(details)
            .map(|(answer, detail)| encode::authorize(answer, detail))
            .collect();
        Ok(v1::AuthorizeBatchResponse { responses })
    }

    async fn filter_tools(
        &self,
        asking: Asking<'_>,
        request: v1::FilterToolsRequest,
    ) -> Result<v1::FilterToolsResponse, Refusal> {
        let ask = asking.from(request.at_least_revision);
        let limits = self.limits.load_full();
        let filter = Parser {
            limits: &limits,
            types: &self.types,
            transport_trace: asking.trace,
            vouches_sessions: asking.caller.rights.vouch_sessions,
        }
        .filter(request)?;
        let offered: Vec<_> = filter.tools.iter().cloned().map(named_tool).collect();
        let answer = self.service.filter(ask, &filter.call, &offered).await?;
        Ok(encode::filter_tools(filter.tools, answer))
    }

    async fn is_authorized(
        &self,
        asking: Asking<'_>,
        request: v1::IsAuthorizedRequest,
    ) -> Result<v1::IsAuthorizedResponse, Refusal> {
        let ask = asking.from(request.at_least_revision);
        let detail = Detail {
            is_entitled: asking.caller.rights.explain,
            is_wanted: request.explain,
        };
        let question = {
            let limits = self.limits.load();
            let live = self.service.live();
            let schema = live
                .as_ref()
                .and_then(|generation| generation.snapshot.schema());
            Parser {
                limits: &limits,
                types: &self.types,
                transport_trace: asking.trace,
                vouches_sessions: false,
            }
            .cedar_question(request, schema.map(Arc::as_ref))?
        };
        let answer = self.service.is_authorized(ask, question).await?;
        Ok(encode::is_authorized(answer, detail))
    }
}

/// A tool of which the gateway says no more than the name.
fn named_tool(name: SmolStr) -> Offered {
    Offered::Tool {
        name,
        definition: None,
    }
}

/// Who asks, and until when.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) caller: &'a Caller,
    /// The trace that the transport names.
    pub(super) trace: &'a TraceContext,
    pub(super) deadline: Deadline,
}

impl<'a> Asking<'a> {
    fn from(self, at_least_revision: u64) -> Ask<'a> {
        Ask {
            caller: self.caller,
            adapter: ADAPTER,
            at_least_revision,
            is_dry_run: false,
            deadline: self.deadline,
            request_id: None,
        }
    }

    fn authorize(self, request: &v1::AuthorizeRequest) -> (Ask<'a>, Detail) {
        let ask = Ask {
            is_dry_run: request.dry_run,
            ..self.from(request.at_least_revision)
        };
        let detail = Detail {
            is_entitled: self.caller.rights.explain,
            is_wanted: request.explain,
        };
        (ask, detail)
    }
}

/// When the answer to a request has to be there.
pub(in crate::adapters) fn deadline(extensions: &Extensions) -> Deadline {
    extensions.get().copied().unwrap_or_default()
}

/// Who asks over gRPC, if it may use this RPC.
pub(in crate::adapters) fn admitted(
    doorkeeper: &Doorkeeper,
    evidence: Evidence<'_>,
    rpc: Rpc,
) -> Result<Arc<Caller>, Refusal> {
    let caller = doorkeeper.current().authenticate(evidence)?;
    if caller.rights.rpcs.contains(rpc) {
        Ok(caller)
    } else {
        let caller = caller.id.to_string();
        Err(Refusal::NotAllowed { caller, rpc })
    }
}

/// Hands over what a request shows of its sender: its `authorization` header, and the names in the
/// certificate of its connection.
pub(in crate::adapters) fn with_evidence<T>(
    metadata: &tonic::metadata::MetadataMap,
    extensions: &Extensions,
    use_it: impl FnOnce(Evidence<'_>) -> T,
) -> T {
    let connection = extensions.get::<TlsConnectInfo<Peer>>();
    let chain = connection.and_then(TlsConnectInfo::peer_certs);
    let names = match (connection, &chain) {
        (Some(connection), Some(chain)) => connection.get_ref().names(chain),
        _ => &[],
    };
    let authorization = metadata
        .get("authorization")
        .map(|value| value.as_encoded_bytes());
    use_it(Evidence {
        authorization,
        names,
    })
}

/// Who asks by one unary request.
struct Admitted {
    caller: Arc<Caller>,
    trace: TraceContext,
    deadline: Deadline,
}

impl Admitted {
    fn asking(&self) -> Asking<'_> {
        Asking {
            caller: &self.caller,
            trace: &self.trace,
            deadline: self.deadline,
        }
    }
}

impl Shared {
    /// Who asks, and the message.
    fn admit_unary<T>(&self, request: Request<T>, rpc: Rpc) -> Result<(Admitted, T), Refusal> {
        let (metadata, extensions, message) = request.into_parts();
        let caller = with_evidence(&metadata, &extensions, |evidence| self.admit(evidence, rpc))?;
        let admitted = Admitted {
            caller,
            trace: transport_trace(&metadata),
            deadline: deadline(&extensions),
        };
        Ok((admitted, message))
    }

    pub(super) fn close_stream(&self) {
        self.open_streams.fetch_sub(1, Ordering::AcqRel);
    }
}

#[tonic::async_trait]
impl authorization_server::Authorization for Authorization {
    async fn authorize(
        &self,
        request: Request<v1::AuthorizeRequest>,
    ) -> Result<Response<v1::AuthorizeResponse>, Status> {
        let (admitted, message) = self.shared.admit_unary(request, Rpc::Authorize)?;
        let answer = self.shared.authorize(admitted.asking(), message).await?;
        // The connection writes out whatever is ready when it is woken. Letting other requests be
        // decided first gives it several answers to write at once, which saves more than it costs.
        tokio::task::yield_now().await;
        Ok(Response::new(answer))
    }

    async fn authorize_batch(
        &self,
        request: Request<v1::AuthorizeBatchRequest>,
    ) -> Result<Response<v1::AuthorizeBatchResponse>, Status> {
        let (admitted, message) = self.shared.admit_unary(request, Rpc::AuthorizeBatch)?;
        Ok(Response::new(
            self.shared
                .authorize_batch(admitted.asking(), message.requests)
                .await?,
        ))
    }

    type AuthorizeStreamStream = AnswerStream;

    async fn authorize_stream(
        &self,
        request: Request<Streaming<v1::AuthorizeStreamRequest>>,
    ) -> Result<Response<AnswerStream>, Status> {
        Ok(Response::new(stream::answer(self, request)?))
    }

    async fn filter_tools(
        &self,
        request: Request<v1::FilterToolsRequest>,
    ) -> Result<Response<v1::FilterToolsResponse>, Status> {
        let (admitted, message) = self.shared.admit_unary(request, Rpc::FilterTools)?;
        Ok(Response::new(
            self.shared.filter_tools(admitted.asking(), message).await?,
        ))
    }

    async fn is_authorized(
        &self,
        request: Request<v1::IsAuthorizedRequest>,
    ) -> Result<Response<v1::IsAuthorizedResponse>, Status> {
        let (admitted, message) = self.shared.admit_unary(request, Rpc::IsAuthorized)?;
        Ok(Response::new(
            self.shared
                .is_authorized(admitted.asking(), message)
                .await?,
        ))
    }
}
