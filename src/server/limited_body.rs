//! Limits on request bodies: bytes held in the whole server, bytes of a gRPC message, and the time in which a message has
//! to arrive.
//!
//! Bytes count from their arrival. Those of a unary request count until it is answered, those of a stream until their
//! message is complete and the next bytes are polled.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::codegen::StdError;

use crate::adapters::transport::grpc_admission::over_share;
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::adapters::transport::request::{CountedBody, PermitSlot};
use crate::authn::caller::Caller;
use crate::authn::capacity::{CapacityError, CapacityLimit, CapacityPermit};
use crate::config::limits::Limits;
use crate::service::server_load::ServerLoad;

/// Length of the prefix of a gRPC message, in bytes: the compression flag and the message's length.
const PREFIX_BYTES: usize = 5;

/// How a body is divided into messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// The whole body is one message, whose length its reader limits.
    Whole,
    /// One gRPC message.
    Message {
        /// The most bytes of it.
        most: u32,
    },
    /// A stream of gRPC messages.
    Messages {
        /// The most bytes of each.
        most: u32,
    },
}

impl Framing {
    fn is_stream(self) -> bool {
        matches!(self, Self::Messages { .. })
    }

    /// The most bytes of a gRPC message.
    fn most(self) -> Option<u32> {
        match self {
            Self::Whole => None,
            Self::Message { most } | Self::Messages { most } => Some(most),
        }
    }
}

/// A body as it comes over a connection.
pub trait ReceivedBody:
    http_body::Body<Data = Bytes, Error: Into<StdError>> + Unpin + Send + 'static
{
}

impl<B> ReceivedBody for B where
    B: http_body::Body<Data = Bytes, Error: Into<StdError>> + Unpin + Send + 'static
{
}

/// A request body with a limit on its bytes and on the time of each message.
pub struct LimitedBody<B> {
    inner: B,
    caller: Arc<Caller>,
    limits: Arc<ArcSwap<Limits>>,
    load: Arc<ServerLoad>,
    framing: Framing,
    position: StreamPosition,
    permit: Option<CapacityPermit>,
    /// Where the permit goes once this is gone, if somebody holds it until the answer.
    permit_slot: Option<PermitSlot>,
    /// When the current message began.
    begun: Option<Instant>,
    /// Whether more of it was waited for.
    has_waited: bool,
    timer: Option<Pin<Box<Sleep>>>,
    /// The rejection that comes after what has been passed on.
    refused: Option<GrpcRejection>,
}

/// The position in a stream of messages.
#[derive(Debug, Clone, Copy, Default)]
struct StreamPosition {
    /// Bytes of the prefix read so far, and the message's length by them.
    prefix: usize,
    length: usize,
    /// Bytes of the message still missing.
    missing: usize,
    /// Bytes read of the incomplete message, its prefix included.
    partial: usize,
    /// Complete messages.
    complete: usize,
}

impl StreamPosition {
    /// Follows the messages in these bytes. Of a message with more than `most` bytes, returns where it begins in them.
    fn advance(&mut self, all: &[u8], most: usize) -> Option<usize> {
        let mut data = all;
        let mut begin = 0;
        while let Some((first, rest)) = data.split_first() {
            if self.partial == 0 {
                begin = all.len() - data.len();
            }
            self.partial += 1;
            if self.prefix == PREFIX_BYTES {
                let there = self.missing.min(data.len());
                self.partial += there - 1;
                self.missing -= there;
                data = &data[there..];
            } else {
                // The first byte is the compression flag.
                if self.prefix > 0 {
                    self.length = self.length << 8 | usize::from(*first);
                }
                self.prefix += 1;
                self.missing = self.length;
                data = rest;
                if self.prefix == PREFIX_BYTES && self.length > most {
                    return Some(begin);
                }
            }
            if self.prefix == PREFIX_BYTES && self.missing == 0 {
                *self = Self {
                    complete: self.complete.saturating_add(1),
                    ..Self::default()
                };
            }
        }
        None
    }

    /// Whether more than one message has begun.
    fn is_beyond_one(&self) -> bool {
        self.complete > 1 || self.complete == 1 && self.partial > 0
    }
}

impl<B> LimitedBody<B> {
    /// Limits a body of this caller whose head came at that moment.
    pub fn new(
        (inner, arrived): (B, Instant),
        caller: Arc<Caller>,
        limits: &Arc<ArcSwap<Limits>>,
        load: &Arc<ServerLoad>,
        framing: Framing,
    ) -> Self {
        let permit = CapacityPermit::none(&load.body_bytes, &caller.held.bytes);
        Self {
            inner,
            caller,
            limits: Arc::clone(limits),
            load: Arc::clone(load),
            framing,
            position: StreamPosition::default(),
            permit: Some(permit),
            permit_slot: None,
            begun: (!framing.is_stream()).then_some(arrived),
            has_waited: false,
            timer: None,
            refused: None,
        }
    }

    /// The permit, if it counts until the answer.
    fn of_whole(&mut self) -> Option<CapacityPermit> {
        self.permit.take_if(|_| !self.framing.is_stream())
    }

    /// A message begins, or none is under way.
    fn begin(&mut self, at: Option<Instant>) {
        self.begun = at;
        self.has_waited = false;
    }

    /// Takes permits for bytes that arrived.
    fn take_permits(&mut self, data: &[u8]) -> Result<(), GrpcRejection> {
        let limits = self.limits.load();
        let limit = limits.body_bytes();
        let bound = CapacityLimit::new(limit, limits.caller_share_percent, &self.caller.held);
        let permit = self.permit.as_mut().map(|it| it.grow(data.len(), bound));
        match permit {
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
        Ok(())
    }

    /// Passes on a frame up to a message that is too long. That is rejected as soon as its length is known, after
    /// whatever came before it.
    fn pass(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, GrpcRejection> {
        let (Some(most), Some(data)) = (self.framing.most(), frame.data_ref()) else {
            return Ok(frame);
        };
        let too_long_from = self.position.advance(data, most as usize);
        if self.framing.is_stream() {
            match self.position.partial {
                0 => self.begin(None),
                _ if self.begun.is_none() => self.begin(Some(Instant::now())),
                _ => {}
            }
        } else if self.position.is_beyond_one() {
            return Err(GrpcRejection::SecondMessage);
        }
        let rejection = GrpcRejection::TooLarge { limit: most };
        match too_long_from {
            None => Ok(frame),
            Some(0) => Err(rejection),
            Some(begin) => {
                let before = data.slice(..begin);
                self.refused = Some(rejection);
                Ok(Frame::data(before))
            }
        }
    }

    /// When the message under way has to be there, and the milliseconds that it has. `None` if none is under way.
    fn message_end(&self) -> Option<(Instant, u32)> {
        let begun = self.begun?;
        let limit = self.limits.load().body_ms;
        Some((begun + Duration::from_millis(limit.into()), limit))
    }

    /// The rejection of a message that has taken too long, now that bytes of it are there. If none of it was waited
    /// for, it was not the client that took the time.
    fn late(&self) -> Option<GrpcRejection> {
        if !self.has_waited {
            return None;
        }
        let (_, limit) = self
            .message_end()
            .filter(|(end, _)| *end <= Instant::now())?;
        self.load.bodies_late.add();
        Some(GrpcRejection::LateBody { limit })
    }

    /// Whether the message under way takes too long. Wakes the task once it does.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<GrpcRejection> {
        let Some((end, limit)) = self.message_end() else {
            return Poll::Pending;
        };
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

impl<B: ReceivedBody> http_body::Body for LimitedBody<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if let Some(refused) = this.refused.take() {
            return Poll::Ready(Some(Err(refused.into())));
        }
        if this.framing.is_stream() {
            // Asking for more bytes means that all complete messages have been read.
            let partial = this.position.partial;
            if let Some(permit) = &mut this.permit {
                permit.shrink_to(partial);
            }
        }
        match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let permit = frame
                    .data_ref()
                    .map_or(Ok(()), |data| this.take_permits(data));
                let passed = permit.and_then(|()| this.pass(frame));
                // A slow sender does not extend the time of a message by sending more bytes. Most messages are there when
                // they are asked for, and need no timer.
                if let (Ok(_), Some(late)) = (&passed, this.late()) {
                    return Poll::Ready(Some(Err(late.into())));
                }
                Poll::Ready(Some(passed.map_err(Status::from)))
            }
            Poll::Ready(Some(Err(error))) => {
                Poll::Ready(Some(Err(Status::from_error(error.into()))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                this.has_waited = this.begun.is_some();
                this.poll_late(context).map(|late| Some(Err(late.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.refused.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B: ReceivedBody> CountedBody for LimitedBody<B> {
    fn into_permit(mut self) -> Option<CapacityPermit> {
        self.of_whole()
    }

    fn permit_slot(&mut self) -> PermitSlot {
        Arc::clone(self.permit_slot.get_or_insert_default())
    }
}

impl<B> Drop for LimitedBody<B> {
    fn drop(&mut self) {
        if let (Some(slot), Some(permit)) = (self.permit_slot.take(), self.of_whole()) {
            // Nothing else sets it.
            let _ = slot.set(permit);
        }
    }
}

#[cfg(test)]
#[path = "limited_body_tests.rs"]
mod tests;
