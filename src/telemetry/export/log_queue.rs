//! The queue of log lines before standard error: bounded, with a thread that writes.
//!
//! Start at [`LogQueue::start`]. Logging never waits. A stalled reader or a full disk stops only the thread, which
//! retries until the line is written, so no line is torn or lost there. A line that finds the queue full is
//! counted in [`Losses`](crate::telemetry::export::losses::Losses).
//!
//! Invariant: a line with a reservation ([`LogQueue::reserve`]) is never dropped while the process runs, and is
//! written before other lines.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use crate::supervision::kept_up;
use crate::telemetry::export::live_gauges::LiveGauges;
use crate::telemetry::export::losses::{LossReason, LostSignal, RecordKind};

/// Size of one write, in bytes.
const BATCH_BYTES: usize = 64 << 10;
/// Pause before a failed write is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// The limits of the queue.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// Waiting lines without a reservation.
    pub lines: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Percentage of both that is added for lines about anything but decisions, rejections and filtered entries, so that a
    /// flood of those leaves room.
    pub spare_percent: usize,
    /// Reservations, and waiting lines that had one.
    pub reserved: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            lines: 16_384,
            bytes: 8 << 20,
            spare_percent: 10,
            reserved: 4_096,
        }
    }
}

/// The queue. Cloning is cheap.
#[derive(Clone)]
pub struct LogQueue(Arc<LogQueueInner>);

struct LogQueueInner {
    queue: Mutex<QueuedLines>,
    /// Signals lines to write.
    filled: Condvar,
    /// Signals that all lines are written.
    emptied: Condvar,
    /// Signals that a reservation may be free.
    kept: Notify,
    room: QueueLimits,
    live: Arc<LiveGauges>,
}

#[derive(Default)]
struct QueuedLines {
    /// Lines with a reservation, and reports of losses.
    first: VecDeque<LogLine>,
    rest: VecDeque<LogLine>,
    rest_bytes: usize,
    /// The lines that the thread is writing.
    in_hand: Vec<LogLine>,
    /// Reservations whose line has not arrived.
    reservations: usize,
    /// Reports of losses that are not written yet.
    reports: usize,
}

struct LogLine {
    bytes: Vec<u8>,
    place: LineClass,
    /// The number of records that it stands for.
    stands_for: u64,
}

/// The class of a line, by its log target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineClass {
    Of(RecordKind),
    /// A report of losses.
    Report,
}

impl LineClass {
    fn from_target(target: &str) -> Self {
        match target {
            "callgate::decision" => Self::Of(RecordKind::Decision),
            "callgate::control" => Self::Of(RecordKind::Control),
            "callgate::rejection" => Self::Of(RecordKind::Rejection),
            "callgate::list" => Self::Of(RecordKind::List),
            "callgate::losses" => Self::Report,
            _ => Self::Of(RecordKind::Other),
        }
    }

    fn kind(self) -> RecordKind {
        match self {
            Self::Of(kind) => kind,
            Self::Report => RecordKind::Other,
        }
    }

    fn has_priority(self) -> bool {
        matches!(self, Self::Report | Self::Of(RecordKind::Control))
    }
}

impl LogQueue {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    ///
    /// The error of the system if the thread cannot start.
    pub fn start(
        mut out: impl Write + Send + 'static,
        room: QueueLimits,
        live: Arc<LiveGauges>,
    ) -> io::Result<Self> {
        let sink = Self(Arc::new(LogQueueInner {
            queue: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            kept: Notify::new(),
            room,
            live,
        }));
        let shared = Arc::clone(&sink.0);
        thread::Builder::new()
            .name("callgate-log".to_owned())
            .spawn(move || kept_up("log lines", || shared.write_all(&mut out)))?;
        Ok(sink)
    }

    /// Reserves room for one line about a write. `None` if there is none within this time.
    pub async fn reserve(&self, within: Duration) -> Option<LineReservation> {
        let kept = async {
            loop {
                let mut notified = pin!(self.0.kept.notified());
                // Enabled before the check, so that no notification is missed.
                notified.as_mut().enable();
                if let Some(reservation) = self.try_reserve() {
                    return reservation;
                }
                notified.await;
            }
        };
        tokio::time::timeout(within, kept).await.ok()
    }

    fn try_reserve(&self) -> Option<LineReservation> {
        let mut queue = self.0.lock();
        if queue.reserved_count() >= self.0.room.reserved {
            return None;
        }
        queue.reservations += 1;
        Some(LineReservation(self.clone()))
    }

    /// Whether a report of losses is still waiting. Another one would be redundant.
    pub(crate) fn is_reporting(&self) -> bool {
        self.0.lock().reports > 0
    }

    /// Waits until all lines are written, for no longer than `within`; then drops the rest, counts it as lost, and returns
    /// the number of dropped lines.
    pub fn drain(&self, within: Duration) -> usize {
        let until = Instant::now() + within;
        let mut queue = self.0.lock();
        while !queue.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return self.0.discard_all(&mut queue);
            }
            let waited = self.0.emptied.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        0
    }
}

impl QueuedLines {
    fn is_empty(&self) -> bool {
        self.first.is_empty() && self.rest.is_empty() && self.in_hand.is_empty()
    }

    /// The number of reservations in use.
    fn reserved_count(&self) -> usize {
        let written = self.in_hand.iter().filter(|line| line.place.has_priority());
        self.reservations + self.first.len() + written.count()
    }

    fn has_room(&self, line: &LogLine, room: QueueLimits) -> bool {
        let with_spare = |limit: usize| limit.saturating_add(limit * room.spare_percent / 100);
        let (lines, bytes) = match line.place.kind() {
            RecordKind::Decision | RecordKind::Rejection | RecordKind::List => {
                (room.lines, room.bytes)
            }
            RecordKind::Control | RecordKind::Other => {
                (with_spare(room.lines), with_spare(room.bytes))
            }
        };
        self.rest.len() < lines && self.rest_bytes.saturating_add(line.bytes.len()) <= bytes
    }

    /// Takes the lines of the next write.
    fn take(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        while text.len() < BATCH_BYTES {
            let line = match self.first.pop_front() {
                Some(line) => line,
                None => match self.rest.pop_front() {
                    Some(line) => {
                        self.rest_bytes = self.rest_bytes.saturating_sub(line.bytes.len());
                        line
                    }
                    None => break,
                },
            };
            text.extend_from_slice(&line.bytes);
            self.in_hand.push(LogLine {
                bytes: Vec::new(),
                ..line
            });
        }
        text
    }
}

impl LogQueueInner {
    fn lock(&self) -> MutexGuard<'_, QueuedLines> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: LogLine) {
        let mut queue = self.lock();
        if line.place.has_priority() {
            queue.reports += usize::from(line.place == LineClass::Report);
            queue.first.push_back(line);
        } else if queue.has_room(&line, self.room) {
            queue.rest_bytes += line.bytes.len();
            queue.rest.push_back(line);
        } else {
            drop(queue);
            self.count_lost(&line, LossReason::QueueFull);
            return;
        }
        drop(queue);
        self.filled.notify_one();
    }

    fn count_lost(&self, line: &LogLine, reason: LossReason) {
        let losses = &self.live.losses;
        losses.add(LostSignal::Log, line.place.kind(), reason, line.stands_for);
    }

    fn discard_all(&self, queue: &mut QueuedLines) -> usize {
        let in_hand = std::mem::take(&mut queue.in_hand);
        let waiting = queue.first.drain(..).chain(queue.rest.drain(..));
        let given_up: Vec<_> = in_hand.into_iter().chain(waiting).collect();
        (queue.rest_bytes, queue.reports) = (0, 0);
        for line in &given_up {
            self.count_lost(line, LossReason::Shutdown);
        }
        given_up.len()
    }

    /// The writing thread. Runs until the process ends.
    fn write_all(&self, out: &mut impl Write) {
        loop {
            let mut queue = self.lock();
            while queue.first.is_empty() && queue.rest.is_empty() {
                let waited = self.filled.wait(queue);
                queue = waited.unwrap_or_else(PoisonError::into_inner);
            }
            let text = queue.take();
            drop(queue);
            write_until_done(out, &text);
            self.mark_written();
        }
    }

    fn mark_written(&self) {
        let mut queue = self.lock();
        let written = std::mem::take(&mut queue.in_hand);
        let reports = written
            .iter()
            .filter(|line| line.place == LineClass::Report);
        queue.reports = queue.reports.saturating_sub(reports.count());
        let is_empty = queue.is_empty();
        drop(queue);
        self.kept.notify_waiters();
        if is_empty {
            self.emptied.notify_all();
        }
    }
}

/// Writes all of the text, retrying without limit.
fn write_until_done(out: &mut impl Write, mut text: &[u8]) {
    while !text.is_empty() {
        match out.write(text) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => thread::sleep(RETRY),
            Ok(written) => text = text.get(written..).unwrap_or_default(),
        }
    }
    // Standard error is unbuffered, and a failure could not be reported.
    let _ = out.flush();
}

impl fmt::Debug for LogQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("room", &self.0.room)
            .finish_non_exhaustive()
    }
}

/// A reservation for a line about a write. The line has to be logged before it is dropped.
#[derive(Debug)]
#[must_use = "the place is given up when this is dropped"]
pub struct LineReservation(LogQueue);

impl Drop for LineReservation {
    fn drop(&mut self) {
        let shared = &self.0.0;
        let mut queue = shared.lock();
        queue.reservations = queue.reservations.saturating_sub(1);
        drop(queue);
        shared.kept.notify_waiters();
    }
}

thread_local! {
    /// The number of records that the line logged by this thread stands for.
    static STANDS_FOR: Cell<u64> = const { Cell::new(1) };
}

/// Logs a line that stands for `count` records, all of which are lost with it.
pub(crate) fn with_record_count(count: u64, log: impl FnOnce()) {
    struct Back(u64);
    impl Drop for Back {
        fn drop(&mut self) {
            STANDS_FOR.set(self.0);
        }
    }
    let _back = Back(STANDS_FOR.replace(count));
    log();
}

/// The number of records that the line which this thread logs stands for.
pub(super) fn record_count() -> u64 {
    STANDS_FOR.get()
}

/// What a line is about, by its log target.
pub(super) fn record_kind(target: &str) -> RecordKind {
    LineClass::from_target(target).kind()
}

/// Writes one line to the queue.
pub struct LineWriter<'a> {
    shared: &'a LogQueueInner,
    place: LineClass,
}

impl Write for LineWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.shared.push(LogLine {
            bytes: bytes.to_vec(),
            place: self.place,
            stands_for: STANDS_FOR.get(),
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter {
            shared: &self.0,
            place: LineClass::Of(RecordKind::Other),
        }
    }

    fn make_writer_for(&'a self, line: &Metadata<'_>) -> Self::Writer {
        LineWriter {
            shared: &self.0,
            place: LineClass::from_target(line.target()),
        }
    }
}

#[cfg(test)]
#[path = "log_queue_tests.rs"]
mod tests;
