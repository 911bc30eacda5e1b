//! Request bodies: how many bytes of them there are in the whole server, and how long one message may take.
//!
//! Bytes count from their arrival. Those of one message alone count until it is answered, those of a stream of messages
//! until the message they belong to is complete and the next bytes are asked for.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;

use crate::adapters::transport::grpc_admission::over_share;
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::authn::caller::Caller;
use crate::authn::capacity::{CapacityError, CapacityLimit, CapacityPermit};
use crate::config::limits::Limits;
use crate::service::server_load::ServerLoad;

/// What a message of gRPC begins with: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// How the bytes of a body make messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// All of them are one.
    Whole,
    /// Messages of gRPC, one after the other.
    Messages,
}

/// Where the bytes of a body are held that is one message: the body puts them here once it is read.
pub type BodyPermitSlot = Arc<OnceLock<CapacityPermit>>;

/// A request body whose bytes are counted and whose messages have their time.
pub struct LimitedBody {
    inner: Body,
    caller: Arc<Caller>,
    limits: Arc<ArcSwap<Limits>>,
    load: Arc<ServerLoad>,
    framing: Framing,
    position: StreamPosition,
    taken: Option<CapacityPermit>,
    kept: BodyPermitSlot,
    /// When the message under way began.
    begun: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// Where a stream of messages stands.
#[derive(Debug, Clone, Copy, Default)]
struct StreamPosition {
    /// Bytes of the prefix that have come, and the length that they tell.
    prefix: usize,
    length: usize,
    /// Bytes of the message that are still to come.
    missing: usize,
    /// Bytes of the message that is not complete, its prefix included.
    partial: usize,
}

impl StreamPosition {
    fn advance(&mut self, mut data: &[u8]) {
        while let Some((first, rest)) = data.split_first() {
            self.partial += 1;
            if self.prefix == PREFIX_BYTES {
                let there = self.missing.min(data.len());
                self.partial += there - 1;
                self.missing -= there;
                data = &data[there..];
            } else {
                // The first byte says how it is compressed.
                if self.prefix > 0 {
                    self.length = self.length << 8 | usize::from(*first);
                }
                self.prefix += 1;
                self.missing = self.length;
                data = rest;
            }
            if self.prefix == PREFIX_BYTES && self.missing == 0 {
                *self = Self::default();
            }
        }
    }
}

impl LimitedBody {
    /// Counts a body of this caller.
    pub fn new(
        inner: Body,
        caller: Arc<Caller>,
        limits: &Arc<ArcSwap<Limits>>,
        load: &Arc<ServerLoad>,
        framing: Framing,
    ) -> (Self, BodyPermitSlot) {
        let kept = BodyPermitSlot::default();
        let taken = CapacityPermit::none(&load.body_bytes, &caller.held.bytes);
        let this = Self {
            inner,
            caller,
            limits: Arc::clone(limits),
            load: Arc::clone(load),
            framing,
            position: StreamPosition::default(),
            taken: Some(taken),
            kept: Arc::clone(&kept),
            begun: (framing == Framing::Whole).then(Instant::now),
            timer: None,
        };
        (this, kept)
    }

    /// Takes room for bytes that have come.
    fn take(&mut self, data: &[u8]) -> Result<(), GrpcRejection> {
        let limits = self.limits.load();
        let limit = limits.body_bytes();
        let bound = CapacityLimit::new(limit, limits.caller_share_percent, &self.caller.held);
        let taken = self.taken.as_mut().map(|it| it.grow(data.len(), bound));
        match taken {
            None | Some(Ok(())) => {}
            Some(Err(full)) => {
                self.load.bodies_refused.add();
                return Err(match full {
                    CapacityError::All => GrpcRejection::TooManyBytes {
                        limit: limits.bodies_mib,
                    },
                    CapacityError::Share => {
                        let mib = limits.bodies_mib as usize;
                        over_share(&self.caller, &limits, mib, "bodies_mib")
                    }
                });
            }
        }
        if self.framing == Framing::Messages {
            self.position.advance(data);
            match self.position.partial {
                0 => self.begun = None,
                _ => self.begun = self.begun.or_else(|| Some(Instant::now())),
            }
        }
        Ok(())
    }

    /// Whether the message under way takes too long. Wakes the task once it does.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<GrpcRejection> {
        let Some(begun) = self.begun else {
            return Poll::Pending;
        };
        let limit = self.limits.load().body_ms;
        let end = begun + Duration::from_millis(limit.into());
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        if timer.deadline() != end {
            timer.as_mut().reset(end);
        }
        match timer.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                self.load.bodies_late.add();
                Poll::Ready(GrpcRejection::LateBody { limit })
            }
        }
    }
}

impl http_body::Body for LimitedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.framing == Framing::Messages {
            // Whoever asks for more has read all messages that were complete.
            let partial = this.position.partial;
            if let Some(taken) = &mut this.taken {
                taken.shrink_to(partial);
            }
        }
        match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let taken = frame.data_ref().map_or(Ok(()), |data| this.take(data));
                // What dribbles is never waited for in the middle of a message for long.
                if let (Ok(()), Poll::Ready(late)) = (&taken, this.poll_late(context)) {
                    return Poll::Ready(Some(Err(late.into())));
                }
                Poll::Ready(Some(taken.map(|()| frame).map_err(Status::from)))
            }
            Poll::Ready(end) => Poll::Ready(end),
            Poll::Pending => this.poll_late(context).map(|late| Some(Err(late.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for LimitedBody {
    fn drop(&mut self) {
        if let (Framing::Whole, Some(taken)) = (self.framing, self.taken.take()) {
            // It is set nowhere else.
            let _ = self.kept.set(taken);
        }
    }
}

#[cfg(test)]
#[path = "limited_body_tests.rs"]
mod tests;
