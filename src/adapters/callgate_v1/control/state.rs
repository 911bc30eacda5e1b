//! What every RPC of `callgate.v1.Control` begins with: admission and parsing.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use crate::adapters::callgate_v1::control::author::{self, Acted};
use crate::adapters::callgate_v1::parse::{EntityTypeCache, MessageParser, transport_trace};
use crate::adapters::input::field_error::FieldError;
use crate::adapters::transport::grpc_admission::take_admission;
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::authn::caller::{Caller, Rpc};
use crate::authn::capacity::UsageCount;
use crate::config::limits::Limits;
use crate::control::requester::WriteRequester;
use crate::control::write::Control;
use crate::domain::request::call_context::TraceContext;
use crate::service::server_load::ServerLoad;

/// The state that all requests share.
pub(super) struct ControlState {
    pub(super) control: Arc<Control>,
    pub(super) limits: Arc<ArcSwap<Limits>>,
    pub(super) types: EntityTypeCache,
    pub(super) draining: CancellationToken,
    pub(super) watchers: UsageCount,
    pub(super) load: Arc<ServerLoad>,
}

/// An admitted unary request: caller, trace and message.
pub(super) struct AdmittedControlRpc<T> {
    pub(super) caller: Arc<Caller>,
    pub(super) trace: TraceContext,
    pub(super) message: T,
}

impl ControlState {
    pub(super) fn admit_unary<T>(
        request: Request<T>,
        rpc: Rpc,
    ) -> Result<AdmittedControlRpc<T>, GrpcRejection> {
        let (metadata, mut extensions, message) = request.into_parts();
        let entrance = take_admission(&mut extensions, rpc)?;
        Ok(AdmittedControlRpc {
            caller: Arc::clone(entrance.caller()),
            trace: transport_trace(&metadata),
            message,
        })
    }

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
    pub(super) fn write<M: Acted, T>(
        &self,
        request: Request<M>,
        rpc: Rpc,
        parse: impl FnOnce(&MessageParser<'_>, M) -> Result<T, FieldError>,
    ) -> Result<(WriteRequester, T), GrpcRejection> {
        let mut admitted = Self::admit_unary(request, rpc)?;
        let (caller, trace) = (Arc::clone(&admitted.caller), admitted.trace.clone());
        self.parsing(&caller, &trace, |parser| {
            let author = author::of(parser, rpc, &mut admitted)?;
            Ok((author, parse(parser, admitted.message)?))
        })
    }

    /// Admits and parses a read.
    pub(super) fn read<M, T>(
        &self,
        request: Request<M>,
        rpc: Rpc,
        parse: impl FnOnce(&MessageParser<'_>, M) -> Result<T, FieldError>,
    ) -> Result<(Arc<Caller>, T), GrpcRejection> {
        let admitted = Self::admit_unary(request, rpc)?;
        let parsed = self.parsing(&admitted.caller, &admitted.trace, |parser| {
            parse(parser, admitted.message)
        })?;
        Ok((admitted.caller, parsed))
    }
}
