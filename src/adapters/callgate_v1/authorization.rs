//! What the six RPCs of `callgate.v1.Authorization` do: parse, ask the service, encode.
//!
//! Start at `AuthorizationState::authorize_now`. `rpcs` admits the requests, and `stream` answers many of them on one stream.

use std::sync::Arc;

use arc_swap::ArcSwap;
use smol_str::SmolStr;
use tokio_util::sync::CancellationToken;

use crate::adapters::callgate_v1::encode::{self, Disclosure};
use crate::adapters::callgate_v1::explainer::CallExplainer;
use crate::adapters::callgate_v1::parse::{MessageParser, at_item};
use crate::adapters::input::entity_types::EntityTypeCache;
use crate::adapters::input::field_error::{FieldError, FieldProblem};
use crate::adapters::input::ids;
use crate::adapters::input::limits::check_count;
use crate::adapters::input::wire_text::text;
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::adapters::transport::grpc_rpc::{AdmittedRpc, request_meta};
use crate::audit::outcome_record::{OutcomeRecord, Status as OutcomeStatus};
use crate::authn::caller::Caller;
use crate::authn::capacity::UsageCount;
use crate::config::limits::Limits;
use crate::domain::decide::listing::ListedItem;
use crate::domain::request::call_context::CallContext;
use crate::domain::request::trace_context::TraceContext;
use crate::proto::codec::EncodedMessage;
use crate::proto::{served, v1};
use crate::service::Service;
use crate::service::deadline::Deadline;
use crate::service::off_thread::off_thread;
use crate::service::pending::{PendingResponse, Progress, UnrecordedCall};
use crate::service::request::RequestMeta;

/// The name of this adapter in metrics, logs and traces.
pub const ADAPTER: &str = "grpc";

/// The state that all requests share.
pub(super) struct AuthorizationState {
    service: Arc<Service>,
    pub(super) limits: Arc<ArcSwap<Limits>>,
    types: EntityTypeCache,
    explainer: CallExplainer,
    pub(super) draining: CancellationToken,
    pub(super) open_streams: UsageCount,
}

impl AuthorizationState {
    /// State of which nothing is in use yet. Streams end once `draining` is cancelled.
    pub(super) fn new(
        service: Arc<Service>,
        limits: Arc<ArcSwap<Limits>>,
        draining: CancellationToken,
    ) -> Self {
        Self {
            service,
            limits,
            types: EntityTypeCache::default(),
            explainer: CallExplainer::default(),
            draining,
            open_streams: UsageCount::default(),
        }
    }

    /// Counts and logs a request of a stream that is rejected: its response is one of many, in which nobody else sees it.
    pub(super) fn note_rejection(&self, refusal: &GrpcRejection) {
        let recorder = self.service.recorder();
        recorder.rejection(ADAPTER, refusal.kind(), &refusal.to_string());
    }
}

/// A request after its first, synchronous step.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all wait for their record, and that is the large one"
)]
pub(super) enum Outcome<'c> {
    /// Decided and on record.
    Decided(EncodedMessage<v1::AuthorizeResponse>),
    /// Decided, and waiting for its record alone.
    Unrecorded(UnrecordedCall<'c, Box<CallContext>>, Disclosure),
    /// Waiting for a write, a session or a revision.
    Undecided(Box<Waiting<PendingResponse<'c>>>),
    /// To be explained before it is decided.
    Unexplained(RequestMeta<'c>, Box<Waiting<()>>),
}

/// A call whose response waits.
pub(super) struct Waiting<R> {
    response: R,
    detail: Disclosure,
    call: Box<CallContext>,
}

impl AuthorizationState {
    fn parser<'a>(&'a self, limits: &'a Limits, asking: RpcContext<'a>) -> MessageParser<'a> {
        MessageParser {
            limits,
            types: &self.types,
            transport_trace: asking.trace,
            vouches_sessions: asking.caller.rights.vouch_sessions,
        }
    }

    /// Waits for the record of a response, until the deadline.
    pub(super) async fn recorded(
        &self,
        mut response: UnrecordedCall<'_, Box<CallContext>>,
        detail: Disclosure,
        deadline: Deadline,
    ) -> Result<EncodedMessage<v1::AuthorizeResponse>, GrpcRejection> {
        deadline.within(response.written()).await?;
        let answer = self.service.respond_recorded(response);
        Ok(encode::authorize(&answer, detail))
    }

    /// Waits for what a response waits for, until the deadline. To be put into a box: it is rare and large.
    pub(super) async fn finish(
        &self,
        waiting: Box<Waiting<PendingResponse<'_>>>,
        deadline: Deadline,
    ) -> Result<EncodedMessage<v1::AuthorizeResponse>, GrpcRejection> {
        let Waiting {
            response: later,
            detail,
            call,
        } = *waiting;
        let answer = deadline.within(self.service.finish(later, &call)).await??;
        Ok(encode::authorize(&answer, detail))
    }

    /// Explains a call and decides it, until the deadline. To be put into a box: it is rare and large.
    pub(super) async fn explained(
        &self,
        ask: RequestMeta<'_>,
        waiting: Box<Waiting<()>>,
        deadline: Deadline,
    ) -> Result<EncodedMessage<v1::AuthorizeResponse>, GrpcRejection> {
        let Waiting { detail, call, .. } = *waiting;
        // An allow changes what the next decision is made from, so the explanation comes first.
        let explained_and_decided = async {
            self.service.have_session(&ask, &call).await;
            let explained = self.explainer.explain(&self.service, ask, &call);
            let explained = off_thread(explained).await;
            let answer = self.service.authorize(ask, &call).await?;
            Ok::<_, GrpcRejection>((explained, answer))
        };
        let (explained, answer) = deadline.within(explained_and_decided).await??;
        let encoded = encode::authorize(&answer, detail);
        Ok(match encoded.message() {
            Ok(mut response) => {
                explained.add_to(&mut response);
                EncodedMessage::from(&response)
            }
            // Cannot happen. The answer holds without its explanation.
            Err(_) => encoded,
        })
    }

    /// Decides one `AuthorizeRequest` without waiting, unless it is to be explained.
    pub(super) fn authorize_now<'c>(
        &'c self,
        asking: RpcContext<'c>,
        request: served::AuthorizeRequest,
    ) -> Result<Outcome<'c>, GrpcRejection> {
        let limits = self.limits.load();
        let (ask, detail) = asking.authorize(&request);
        let parser = self.parser(&limits, asking);
        // In a box, as it is large, and goes from here to whoever waits.
        let call = Box::new(parser.call_context(request.call_context)?);
        if detail.is_entitled && detail.is_wanted {
            let waiting = Waiting {
                response: (),
                detail,
                call,
            };
            return Ok(Outcome::Unexplained(ask, Box::new(waiting)));
        }
        Ok(match self.service.authorize_now(ask, &call)? {
            Progress::Ready(answer) => Outcome::Decided(encode::authorize(&answer, detail)),
            Progress::Unrecorded(response) => {
                Outcome::Unrecorded(response.to(&self.service, call), detail)
            }
            Progress::Pending(response) => Outcome::Undecided(Box::new(Waiting {
                response,
                detail,
                call,
            })),
        })
    }

    pub(super) async fn authorize_batch(
        &self,
        asking: RpcContext<'_>,
        requests: Vec<served::AuthorizeRequest>,
    ) -> Result<EncodedMessage<v1::AuthorizeBatchResponse>, GrpcRejection> {
        let limits = self.limits.load_full();
        check_count(requests.len(), limits.batch, "requests")?;
        let parser = self.parser(&limits, asking);
        let mut asks: Vec<(RequestMeta<'_>, CallContext)> = Vec::with_capacity(requests.len());
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
        Ok(encode::authorize_batch(answers.iter().zip(details)))
    }

    pub(super) async fn filter_tools(
        &self,
        asking: RpcContext<'_>,
        request: served::FilterToolsRequest,
    ) -> Result<EncodedMessage<v1::FilterToolsResponse>, GrpcRejection> {
        let ask = asking.from(request.at_least_revision);
        let limits = self.limits.load_full();
        let filter = self.parser(&limits, asking).filter(request)?;
        let offered: Vec<_> = filter.tools.iter().cloned().map(named_tool).collect();
        let answer = self.service.filter(ask, &filter.call, &offered).await?;
        Ok(encode::filter_tools(&filter.tools, &answer))
    }

    pub(super) async fn is_authorized(
        &self,
        asking: RpcContext<'_>,
        request: served::IsAuthorizedRequest,
    ) -> Result<EncodedMessage<v1::IsAuthorizedResponse>, GrpcRejection> {
        let ask = asking.from(request.at_least_revision);
        let detail = Disclosure {
            is_entitled: asking.caller.rights.explain,
            is_wanted: request.explain,
        };
        let question = {
            let limits = self.limits.load();
            let live = self.service.live();
            let schema = live
                .as_ref()
                .and_then(|generation| generation.snapshot.schema());
            self.parser(&limits, asking)
                .cedar_question(request, schema.map(Arc::as_ref))?
        };
        let answer = self.service.is_authorized(ask, question).await?;
        Ok(encode::is_authorized(&answer, detail))
    }

    pub(super) async fn report_outcome(
        &self,
        asking: RpcContext<'_>,
        request: served::ReportOutcomeRequest,
    ) -> Result<v1::ReportOutcomeResponse, GrpcRejection> {
        let limits = self.limits.load_full();
        let status = outcome_status(request.status)?;
        let parser = self.parser(&limits, asking);
        let labels: Vec<SmolStr> = parser.ids(request.labels, limits.list_items, "labels")?;
        let decision_id = text(&request.decision_id, "decision_id")?;
        let decision_id = ids::past_decision(decision_id, self.service.now(), "decision_id")?;
        let outcome = OutcomeRecord {
            decision_id: Some(decision_id),
            status,
            size: request.size,
            labels: &labels,
            caller: &asking.caller.id,
            adapter: ADAPTER,
            about: None,
            at: self.service.clock().source_now(),
        };
        let recorded = self.service.recorder().append_outcome(&outcome).recorded();
        let recorded = asking.deadline.within(off_thread(recorded)).await?;
        recorded.map_err(|_| GrpcRejection::NotRecorded)?;
        Ok(v1::ReportOutcomeResponse {})
    }
}

/// The status of an outcome, which has the same numbers on record.
fn outcome_status(wire: i32) -> Result<OutcomeStatus, FieldError> {
    let problem = match OutcomeStatus::try_from(wire) {
        Ok(OutcomeStatus::Unspecified) => FieldProblem::Missing,
        Ok(status) => return Ok(status),
        Err(_) => FieldProblem::UnknownValue(wire),
    };
    Err(FieldError::new("status", problem))
}

/// A tool of which the caller gives only the name.
fn named_tool(name: SmolStr) -> ListedItem {
    ListedItem::Tool {
        name,
        definition: None,
    }
}

/// The caller, the trace and the deadline of a request.
#[derive(Clone, Copy)]
pub(super) struct RpcContext<'a> {
    pub(super) caller: &'a Caller,
    /// The trace context of the transport.
    pub(super) trace: &'a TraceContext,
    pub(super) deadline: Deadline,
}

impl<'a> RpcContext<'a> {
    fn from(self, at_least_revision: u64) -> RequestMeta<'a> {
        RequestMeta {
            at_least_revision,
            ..request_meta(self.caller, ADAPTER, self.deadline)
        }
    }

    fn authorize(self, request: &served::AuthorizeRequest) -> (RequestMeta<'a>, Disclosure) {
        let ask = RequestMeta {
            is_dry_run: request.dry_run,
            ..self.from(request.at_least_revision)
        };
        let detail = Disclosure {
            is_entitled: self.caller.rights.explain,
            is_wanted: request.explain,
        };
        (ask, detail)
    }
}

impl AdmittedRpc {
    pub(super) fn context(&self) -> RpcContext<'_> {
        RpcContext {
            caller: self.admitted.caller(),
            trace: &self.trace,
            deadline: self.deadline,
        }
    }
}
