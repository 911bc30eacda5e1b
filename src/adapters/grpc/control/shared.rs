//! What every RPC of `callgate.v1.Control` begins with: who asks, and what.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use crate::adapters::grpc::control::author::{self, Acted};
use crate::adapters::grpc::entrance::entered;
use crate::adapters::grpc::parse::{EntityTypes, Parser, transport_trace};
use crate::adapters::grpc::refusal::Refusal;
use crate::adapters::invalid::Invalid;
use crate::call::context::TraceContext;
use crate::config::limits::Limits;
use crate::control::author::Author;
use crate::control::write::Control;
use crate::identity::caller::{Caller, Rpc};
use crate::identity::places::Count;
use crate::service::load::Load;

/// What all requests share.
pub(super) struct Shared {
    pub(super) control: Arc<Control>,
    pub(super) limits: Arc<ArcSwap<Limits>>,
    pub(super) types: EntityTypes,
    pub(super) draining: CancellationToken,
    pub(super) watchers: Count,
    pub(super) load: Arc<Load>,
}

/// The caller and the trace of one unary request, and its message.
pub(super) struct Admitted<T> {
    pub(super) caller: Arc<Caller>,
    pub(super) trace: TraceContext,
    pub(super) message: T,
}

impl Shared {
    pub(super) fn admit_unary<T>(request: Request<T>, rpc: Rpc) -> Result<Admitted<T>, Refusal> {
        let (metadata, mut extensions, message) = request.into_parts();
        let entrance = entered(&mut extensions, rpc)?;
        Ok(Admitted {
            caller: Arc::clone(entrance.caller()),
            trace: transport_trace(&metadata),
            message,
        })
    }

    pub(super) fn parsing<T>(
        &self,
        caller: &Caller,
        trace: &TraceContext,
        parse: impl FnOnce(&Parser<'_>) -> Result<T, Invalid>,
    ) -> Result<T, Refusal> {
        let limits = self.limits.load();
        Ok(parse(&Parser {
            limits: &limits,
            types: &self.types,
            transport_trace: trace,
            vouches_sessions: caller.rights.vouch_sessions,
        })?)
    }

    /// The author and the request of a write.
    pub(super) fn write<M: Acted, T>(
        &self,
        request: Request<M>,
        rpc: Rpc,
        parse: impl FnOnce(&Parser<'_>, M) -> Result<T, Invalid>,
    ) -> Result<(Author, T), Refusal> {
        let mut admitted = Self::admit_unary(request, rpc)?;
        let (caller, trace) = (Arc::clone(&admitted.caller), admitted.trace.clone());
        self.parsing(&caller, &trace, |parser| {
            let author = author::of(parser, rpc, &mut admitted)?;
            Ok((author, parse(parser, admitted.message)?))
        })
    }

    /// The caller and the request of a read.
    pub(super) fn read<M, T>(
        &self,
        request: Request<M>,
        rpc: Rpc,
        parse: impl FnOnce(&Parser<'_>, M) -> Result<T, Invalid>,
    ) -> Result<(Arc<Caller>, T), Refusal> {
        let admitted = Self::admit_unary(request, rpc)?;
        let parsed = self.parsing(&admitted.caller, &admitted.trace, |parser| {
            parse(parser, admitted.message)
        })?;
        Ok((admitted.caller, parsed))
    }
}
