//! What every RPC of `callgate.v1.Control` begins with: admission and parsing.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use crate::adapters::callgate_v1::control::author::{self, ActorRequest};
use crate::adapters::callgate_v1::parse::MessageParser;
use crate::adapters::input::entity_types::EntityTypeCache;
use crate::adapters::input::field_error::FieldError;
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::adapters::transport::grpc_rpc::AdmittedRpc;
use crate::authn::caller::{Caller, Rpc};
use crate::authn::capacity::UsageCount;
use crate::config::limits::Limits;
use crate::control::approvals::ApprovalRequest;
use crate::control::blocking_lane::BlockingLane;
use crate::control::requester::WriteRequester;
use crate::control::write::Control;
use crate::domain::request::trace_context::TraceContext;
use crate::proto::v1;
use crate::service::server_load::ServerLoad;

/// The state that all requests share.
pub(super) struct ControlState {
    pub(super) control: Arc<Control>,
    pub(super) limits: Arc<ArcSwap<Limits>>,
    pub(super) types: EntityTypeCache,
    pub(super) draining: CancellationToken,
    pub(super) watchers: UsageCount,
    /// Explanations of recorded decisions.
    pub(super) explanations: BlockingLane,
    pub(super) load: Arc<ServerLoad>,
}

impl ControlState {
    pub(super) fn parsing<T>(
        &self,
        caller: &Caller,
        trace: &TraceContext,
        parse: impl FnOnce(&MessageParser<'_>) -> Result<T, FieldError>,
    ) -> Result<T, GrpcRejection> {
        let limits = self.limits.load();
        Ok(parse(&MessageParser {
            limits: &limits,
            types: &self.types,
            transport_trace: trace,
            vouches_sessions: caller.rights.vouch_sessions,
        })?)
    }

    /// Admits and parses a write.
    pub(super) fn write<M: ActorRequest, T>(
        &self,
        request: Request<M>,
        rpc: Rpc,
        parse: impl FnOnce(&MessageParser<'_>, M) -> Result<T, FieldError>,
    ) -> Result<(WriteRequester, T), GrpcRejection> {
        let (admitted, mut message) = AdmittedRpc::take(request, rpc)?;
        self.parsing(admitted.admitted.caller(), &admitted.trace, |parser| {
            let author = author::requester(parser, rpc, &admitted, &mut message)?;
            Ok((author, parse(parser, message)?))
        })
    }

    /// Admits and parses a read.
    pub(super) fn read<M, T>(
        &self,
        request: Request<M>,
        rpc: Rpc,
        parse: impl FnOnce(&MessageParser<'_>, M) -> Result<T, FieldError>,
    ) -> Result<(Arc<Caller>, T), GrpcRejection> {
        let (admitted, message) = AdmittedRpc::take(request, rpc)?;
        let parsed = self.parsing(admitted.admitted.caller(), &admitted.trace, |parser| {
            parse(parser, message)
        })?;
        Ok((Arc::clone(admitted.admitted.caller()), parsed))
    }

    /// The requester of `RequestApproval`, which is the subject of its call.
    pub(super) fn approval_request(
        &self,
        request: Request<v1::RequestApprovalRequest>,
    ) -> Result<(WriteRequester, ApprovalRequest), GrpcRejection> {
        const RPC: Rpc = Rpc::RequestApproval;
        let (admitted, mut message) = AdmittedRpc::take(request, RPC)?;
        self.parsing(admitted.admitted.caller(), &admitted.trace, |parser| {
            let key = author::key(parser, RPC, &mut message)?;
            let request = parser.approval_request(message)?;
            let author = author::with_actor(&admitted, request.call.subject.clone(), key);
            Ok((author, request))
        })
    }
}
