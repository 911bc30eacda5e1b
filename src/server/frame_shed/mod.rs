//! Refuses decision requests below HTTP/2, frame by frame, while the server is overloaded.
//!
//! Under overload most of the time goes into requests that are not answered, so what counts is what a refusal costs. Here it
//! costs the reading of one frame: the request is never decoded, no stream is made of it, and no task. The answer is a
//! prepared header block: RESOURCE_EXHAUSTED with `grpc-retry-pushback-ms`, as everywhere else.
//!
//! Start at [`FrameShed`], which stands between a connection and the HTTP/2 implementation. `inbound` follows the frames
//! of the client and leaves out requests, `outbound` puts answers between the frames of the server, `block` and
//! `paths` read a header block as far as `:path`; `room` says how many requests may pass.
//!
//! Under overload a connection is also read in turns, a few milliseconds apart: what came meanwhile is read, decided and refused at
//! once, which costs a fraction of doing so one by one. And what has passed here and has not begun counts as in flight, for all
//! connections: otherwise each would let in as many as there are places.
//!
//! Only requests of RPCs with one message that may be shed are refused, and only on a connection on which a known caller
//! has asked before. Everything else passes, also what cannot be read: what is malformed is up to the HTTP/2
//! implementation. While the server is not overloaded every byte passes as it is, unless many requests have come at once on the
//! connection of a busy server: then it is prepared for an overload, and no more pass than there are places.

mod block;
mod frame;
mod inbound;
mod outbound;
mod paths;
mod room;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::has_budget_remaining;
use tokio::time::Sleep;
use tonic::Status;

use crate::adapters::callgate_v1::authorization::ADAPTER;
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::authn::certificate::Peer;
use crate::authn::connection::ConnectionState;
use crate::server::frame_shed::inbound::{Choice, Inbound, Phase};
use crate::server::frame_shed::outbound::Outbound;
use crate::server::frame_shed::room::Room;
pub use crate::server::frame_shed::room::ShedContext;
use crate::server::listen::HasPeer;

/// Bytes that are read at once, and those that wait for the HTTP/2 implementation, at most.
const BUFFER: usize = 32 << 10;
/// Reads in a row before other connections have a turn.
const READS: usize = 16;
/// Requests that arrive at once on a connection when a busy server falls behind.
const MANY: usize = 32;
/// After how long a request that passed has begun or never will.
const PASSED_FOR: Duration = Duration::from_millis(100);
/// How long the server must not have been overloaded until a client may keep a header table again.
const CALM: Duration = Duration::from_secs(5);

/// A connection whose requests may be refused before they are requests.
pub struct FrameShed<C> {
    io: C,
    connection: Arc<ConnectionState>,
    context: ShedContext,
    inbound: Inbound,
    outbound: Outbound,
    /// Bytes that were read and are not dealt with, while frames are filtered.
    held: Vec<u8>,
    /// Bytes that pass, and how many of them were taken.
    passing: Vec<u8>,
    taken: usize,
    /// Requests that passed and have not begun, when the last of them passed, and how many had begun on the connection.
    passed: usize,
    passed_at: Option<Instant>,
    begun: usize,
    /// The prepared answer, and the limit that it tells.
    answer: (usize, Vec<u8>),
    overloaded_at: Option<Instant>,
    /// Whether many requests were read at once.
    has_many: bool,
    /// Whether anything was read since the last pause.
    has_read: bool,
    /// Until when nothing is read, under overload, and what waits for that.
    paused_until: Option<tokio::time::Instant>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> FrameShed<C> {
    /// Stands before this connection.
    pub fn new(io: C, connection: Arc<ConnectionState>, context: ShedContext) -> Self {
        Self {
            io,
            connection,
            context,
            inbound: Inbound::default(),
            outbound: Outbound::default(),
            held: Vec::new(),
            passing: Vec::new(),
            taken: 0,
            passed: 0,
            passed_at: None,
            begun: 0,
            answer: (0, Vec::new()),
            overloaded_at: None,
            has_many: false,
            has_read: false,
            paused_until: None,
            pause: None,
        }
    }

    /// Whether bytes pass as they are.
    fn is_open(&self) -> bool {
        !self.inbound.is_filtering() && self.held.is_empty() && self.passing.is_empty()
    }

    /// Whether so many requests at once are a reason to be prepared for an overload.
    fn is_prepared_for(&self, came: usize) -> bool {
        came >= MANY && self.context.is_busy()
    }

    /// Asks the client to keep no header table when the server is overloaded or may soon be, as nothing can be refused
    /// here before the client has agreed; and allows it one once that is over.
    fn follow_overload(&mut self, is_overloaded: bool) {
        if is_overloaded || self.has_many {
            if self.inbound.may_ask() {
                self.outbound.set_table_size(self.inbound.ask());
            }
            self.overloaded_at = Some(Instant::now());
            return;
        }
        let is_calm = self.overloaded_at.is_none_or(|at| at.elapsed() > CALM);
        if is_calm && self.inbound.phase() == Phase::Independent {
            self.outbound.set_table_size(self.inbound.restore());
        }
    }

    /// Waits for the end of a pause.
    fn poll_pause(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.paused_until else {
            return Poll::Ready(());
        };
        if tokio::time::Instant::now() < until {
            let new = || Box::pin(tokio::time::sleep_until(until));
            let pause = self.pause.get_or_insert_with(new);
            if pause.deadline() != until {
                pause.as_mut().reset(until);
            }
            ready!(pause.as_mut().poll(context));
        }
        self.paused_until = None;
        Poll::Ready(())
    }

    /// Reads nothing for a while, so that what comes meanwhile is read and refused at once. What is read then may have waited
    /// since now, and longer than the pause where the thread had other things to do.
    fn begin_pause(&mut self) {
        self.connection.note_read();
        self.paused_until = tokio::time::Instant::now().checked_add(self.context.pause());
    }

    /// Reads without a look at what it is, and follows the frames.
    fn poll_open(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.held.capacity() > 0 {
            // The overload is over, and most connections never see another.
            (self.held, self.passing) = (Vec::new(), Vec::new());
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        let came = self.inbound.scan(read);
        self.has_many = self.is_prepared_for(came) && !self.connection.is_unauthenticated();
        Poll::Ready(Ok(()))
    }

    /// Reads what passes.
    fn poll_filtered(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        room: Option<Room>,
    ) -> Poll<io::Result<()>> {
        for _ in 0..READS {
            if self.passing.is_empty() {
                self.filter(room);
            }
            if !self.passing.is_empty() {
                self.hand_over(buffer);
                return Poll::Ready(Ok(()));
            }
            let inserted = self.poll_inserted(context)?;
            if inserted.is_pending() && self.outbound.is_full() {
                return Poll::Pending;
            }
            ready!(self.poll_pause(context));
            let read = self.poll_hold(context)?;
            let is_overloaded = room.is_some_and(|room| room.is_overloaded);
            if read.is_pending() && has_budget_remaining() {
                if is_overloaded && std::mem::take(&mut self.has_read) {
                    self.begin_pause();
                    // Woken at its end also if nothing comes: then nothing has waited.
                    ready!(self.poll_pause(context));
                } else {
                    self.connection.note_all_read();
                }
            }
            if ready!(read) == 0 {
                // The end of the connection: half a frame is none.
                return Poll::Ready(Ok(()));
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Forgets the requests that passed and have begun: they are among those in flight. One that was cancelled before
    /// never begins.
    fn forget_begun(&mut self) {
        let begun = self.connection.begun();
        let count = begun.wrapping_sub(std::mem::replace(&mut self.begun, begun));
        let is_old = |at: Instant| at.elapsed() > PASSED_FOR;
        let count = match self.passed_at.is_some_and(is_old) {
            true => self.passed,
            false => self.passed.min(count),
        };
        self.passed -= count;
        self.context.load.passed_on.sub(count);
    }

    /// Filters what is held.
    fn filter(&mut self, room: Option<Room>) {
        let passed = &mut self.passed;
        let (before, mut chosen) = (*passed, 0_usize);
        let choose = || {
            chosen += 1;
            match room {
                Some(room) if *passed >= room.left => Choice::Refuse,
                _ => {
                    *passed += 1;
                    Choice::Pass
                }
            }
        };
        let filtered = self
            .inbound
            .filter(&self.held, &mut self.passing, BUFFER, choose);
        self.has_many = self.is_prepared_for(chosen);
        self.held.drain(..filtered.consumed);
        if self.passed > before {
            self.context.load.passed_on.add(self.passed - before);
            self.passed_at = Some(Instant::now());
        }
        if let Some(room) = room.filter(|_| !filtered.refused.is_empty()) {
            self.refuse(&filtered.refused, room);
        }
        if let Some(owed) = self.inbound.take_owed() {
            self.outbound.return_window(owed);
        }
    }

    fn refuse(&mut self, streams: &[u32], room: Room) {
        let Room {
            limit,
            is_overloaded,
            ..
        } = room;
        if self.answer.0 != limit || self.answer.1.is_empty() {
            self.answer = (limit, header_block(GrpcRejection::Overloaded { limit }));
        }
        for stream in streams {
            self.outbound.answer(*stream, &self.answer.1);
        }
        let count = streams.len() as u64;
        self.context.load.pressure.shed.add_many(count);
        if !is_overloaded {
            self.context.load.pressure.note_full(limit);
        }
        self.context.recorder.overloaded(ADAPTER, count);
        self.connection.note_answered();
    }

    fn hand_over(&mut self, buffer: &mut ReadBuf<'_>) {
        let rest = self.passing.get(self.taken..).unwrap_or_default();
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        self.taken += count;
        if self.taken >= self.passing.len() {
            self.passing.clear();
            self.taken = 0;
        }
    }

    /// Reads more to filter. Returns the number of bytes; 0 at the end of the connection.
    fn poll_hold(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let before = self.held.len();
        self.held.resize(BUFFER.max(before), 0);
        let mut space = ReadBuf::new(self.held.get_mut(before..).unwrap_or_default());
        let read = Pin::new(&mut self.io).poll_read(context, &mut space);
        let count = space.filled().len();
        self.held.truncate(before + count);
        ready!(read)?;
        self.has_read = true;
        Poll::Ready(Ok(count))
    }

    /// Writes our own frames as far as they may be written now. Pending if some of them have to wait for the socket.
    fn poll_inserted(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut has_written = false;
        loop {
            let waiting = self.outbound.insertable();
            if waiting.is_empty() {
                break;
            }
            let count = ready!(Pin::new(&mut self.io).poll_write(context, waiting))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outbound.note_inserted(count);
            has_written = true;
        }
        match has_written {
            // TLS keeps what it has encrypted until it is flushed.
            true => Pin::new(&mut self.io).poll_flush(context),
            false => Poll::Ready(Ok(())),
        }
    }
}

impl<C> Drop for FrameShed<C> {
    fn drop(&mut self) {
        self.context.load.passed_on.sub(self.passed);
    }
}

/// A header block that says this and needs no table: literal fields that are not to be indexed (RFC 7541, section 6.2.2).
fn header_block(rejection: GrpcRejection) -> Vec<u8> {
    let response = Status::from(rejection).into_http::<tonic::body::Body>();
    // `:status: 200`, the eighth entry of the static table.
    let mut block = vec![0x88];
    for (name, value) in response.headers() {
        // A field that is not indexed, with a name of its own.
        block.push(0);
        block::push_string(&mut block, name.as_str().as_bytes());
        block::push_string(&mut block, value.as_bytes());
    }
    block
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncRead for FrameShed<C> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.forget_begun();
        let is_filtering = this.inbound.is_filtering();
        let room = this
            .context
            .room(&this.connection, this.passed, is_filtering);
        this.follow_overload(room.is_some_and(|room| room.is_overloaded));
        let read = match this.is_open() {
            true => this.poll_open(context, buffer),
            false => this.poll_filtered(context, buffer, room),
        };
        if read.is_pending() {
            // Also what was to be said to the client in the last read.
            if let Poll::Ready(Err(error)) = this.poll_inserted(context) {
                return Poll::Ready(Err(error));
            }
        }
        read
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncWrite for FrameShed<C> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_inserted(context))?;
        let count = ready!(Pin::new(&mut this.io).poll_write(context, bytes))?;
        this.outbound
            .note_written(bytes.get(..count).unwrap_or_default());
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_inserted(context))?;
        let count = ready!(Pin::new(&mut this.io).poll_write_vectored(context, slices))?;
        let mut left = count;
        for slice in slices {
            let part = slice.len().min(left);
            this.outbound
                .note_written(slice.get(..part).unwrap_or_default());
            left -= part;
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_inserted(context))?;
        Pin::new(&mut this.io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}

impl<C: HasPeer> HasPeer for FrameShed<C> {
    fn peer(&self) -> Peer {
        self.io.peer()
    }
}

#[cfg(test)]
#[path = "mod_tests.rs"]
mod tests;
