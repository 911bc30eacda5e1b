//! An admitted RPC: its caller, trace and deadline, taken from the request in one place; and what streams share.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::Poll;

use http::HeaderMap;
use tonic::Request;

use crate::adapters::transport::grpc_admission::{Admitted, AdmittedCaller, take_admission};
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::adapters::transport::trace::trace_context;
use crate::authn::caller::{Caller, Rpc};
use crate::authn::capacity::{CapacityPermit, UsageCount};
use crate::config::limits::Limits;
use crate::domain::request::trace_context::TraceContext;
use crate::service::deadline::Deadline;
use crate::service::request::RequestMeta;

/// An admitted RPC without its message.
pub struct AdmittedRpc {
    /// The caller, with its credentials.
    pub(in crate::adapters) admitted: AdmittedCaller,
    /// What it asks for.
    pub(in crate::adapters) rpc: Rpc,
    /// The trace context of the transport.
    pub(in crate::adapters) trace: TraceContext,
    /// The deadline that the server set.
    pub(in crate::adapters) deadline: Deadline,
}

impl AdmittedRpc {
    /// The RPC that this caller is admitted to.
    pub(in crate::adapters) fn new(
        Admitted { caller, rpc }: Admitted,
        headers: &HeaderMap,
        deadline: Deadline,
    ) -> Self {
        Self {
            admitted: caller,
            rpc,
            trace: trace_context(headers),
            deadline,
        }
    }

    /// Takes the caller from a request to a generated service, if it may use the RPC. Returns the message, too.
    pub(in crate::adapters) fn take<T>(
        request: Request<T>,
        rpc: Rpc,
    ) -> Result<(Self, T), GrpcRejection> {
        let (metadata, mut extensions, message) = request.into_parts();
        let caller = take_admission(&mut extensions, rpc)?;
        let admitted = Admitted { caller, rpc };
        let deadline = extensions.get().copied().unwrap_or_default();
        Ok((Self::new(admitted, metadata.as_ref(), deadline), message))
    }

    /// The metadata of a request through an adapter that asks for one decision at the current revision.
    pub(in crate::adapters) fn request_meta(&self, adapter: &'static str) -> RequestMeta<'_> {
        request_meta(self.admitted.caller(), adapter, self.deadline)
    }
}

/// The metadata of a request that needs no particular revision and is decided for good.
pub(in crate::adapters) fn request_meta<'a>(
    caller: &'a Caller,
    adapter: &'static str,
    deadline: Deadline,
) -> RequestMeta<'a> {
    RequestMeta {
        caller,
        adapter,
        at_least_revision: 0,
        is_dry_run: false,
        deadline,
        request_id: None,
    }
}

/// Takes one of `limits.open_streams` slots.
pub(in crate::adapters) fn acquire_stream_slot(
    open: &UsageCount,
    admitted: &AdmittedCaller,
    limits: &Limits,
) -> Result<CapacityPermit, GrpcRejection> {
    let limit = limits.open_streams;
    admitted.acquire_slot(
        open,
        |held| &held.streams,
        limits,
        (limit, "open_streams"),
        GrpcRejection::TooManyStreams { limit },
    )
}

/// Runs a future to its end; `None` if it panics.
pub(in crate::adapters) async fn catch_panic<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| {
        // A future that has panicked is dropped and never polled again.
        match std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}
