//! The way of log lines to standard error: a bounded queue, and a thread that writes.
//!
//! Start at [`Sink::start`]. Whoever logs never waits. A reader that stalls, or a disk that is full, stops the thread
//! alone: it tries again until the line is written, so no line is torn and none is lost there. What finds the queue full
//! is counted in [`Losses`](crate::telemetry::export::losses::Losses).
//!
//! Invariant: a line that was promised a place ([`Sink::promise`]) is never dropped while the program runs, and is written
//! before lines that were not.

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

use crate::telemetry::export::losses::{LossReason, LostSignal, RecordKind};
use crate::telemetry::record::metrics::LiveGauges;

/// What is written at once.
const BATCH_BYTES: usize = 64 << 10;
/// Between attempts to write what could not be written.
const RETRY: Duration = Duration::from_millis(100);

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// Lines without a promise.
    pub lines: usize,
    /// Their bytes.
    pub bytes: usize,
    /// More of both, in parts of a hundred, for what is neither a decision, a refusal nor an entry of a list: a flood of
    /// those leaves room for it.
    pub spare_percent: usize,
    /// Lines that are promised a place, those that wait and those still to come.
    pub promised: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            lines: 16_384,
            bytes: 8 << 20,
            spare_percent: 10,
            promised: 4_096,
        }
    }
}

/// Takes lines. Cloning is cheap.
#[derive(Clone)]
pub struct LogQueue(Arc<LogQueueInner>);

struct LogQueueInner {
    queue: Mutex<QueuedLines>,
    /// There is something to write.
    filled: Condvar,
    /// There is nothing left to write.
    emptied: Condvar,
    /// There may be room for another promise.
    kept: Notify,
    room: QueueLimits,
    live: Arc<LiveGauges>,
}

#[derive(Default)]
struct QueuedLines {
    /// Lines that were promised a place, and those that tell of losses.
    first: VecDeque<LogLine>,
    rest: VecDeque<LogLine>,
    rest_bytes: usize,
    /// What the thread is writing.
    in_hand: Vec<LogLine>,
    /// Promises whose line is still to come.
    promises: usize,
    /// Lines that tell of losses and are not written yet.
    reports: usize,
}

struct LogLine {
    bytes: Vec<u8>,
    place: LineClass,
    /// How many records it stands for.
    stands_for: u64,
}

/// What a line is about, by the target it was logged with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineClass {
    Of(RecordKind),
    /// It tells of losses.
    Report,
}

impl LineClass {
    fn of(target: &str) -> Self {
        match target {
            "callgate::decision" => Self::Of(RecordKind::Decision),
            "callgate::control" => Self::Of(RecordKind::Control),
            "callgate::rejection" => Self::Of(RecordKind::Refusal),
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

    fn is_first(self) -> bool {
        matches!(self, Self::Report | Self::Of(RecordKind::Control))
    }
}

impl LogQueue {
    /// Starts the thread that writes.
    pub fn start(
        out: impl Write + Send + 'static,
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
            .spawn(move || shared.write_all(out))?;
        Ok(sink)
    }

    /// A place for one line about a write, as soon as there is one. `None` if there is none within this time.
    pub async fn promise(&self, within: Duration) -> Option<LineReservation> {
        let kept = async {
            loop {
                let mut notified = pin!(self.0.kept.notified());
                // Before looking, so that nothing that happens meanwhile is missed.
                notified.as_mut().enable();
                if let Some(promise) = self.try_reserve() {
                    return promise;
                }
                notified.await;
            }
        };
        tokio::time::timeout(within, kept).await.ok()
    }

    fn try_reserve(&self) -> Option<LineReservation> {
        let mut queue = self.0.lock();
        if queue.promised() >= self.0.room.promised {
            return None;
        }
        queue.promises += 1;
        Some(LineReservation(self.clone()))
    }

    /// Whether a line that tells of losses still waits. Another one would say the same later.
    pub(crate) fn is_reporting(&self) -> bool {
        self.0.lock().reports > 0
    }

    /// Waits until everything is written, for no longer than `within`; then gives up what is not, counts it as lost, and
    /// says how many lines that were.
    pub fn drain(&self, within: Duration) -> usize {
        let until = Instant::now() + within;
        let mut queue = self.0.lock();
        while !queue.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return self.0.give_up(&mut queue);
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

    /// Promises that hold a place.
    fn promised(&self) -> usize {
        let written = self.in_hand.iter().filter(|line| line.place.is_first());
        self.promises + self.first.len() + written.count()
    }

    fn has_room(&self, line: &LogLine, room: QueueLimits) -> bool {
        let with_spare = |limit: usize| limit.saturating_add(limit * room.spare_percent / 100);
        let (lines, bytes) = match line.place.kind() {
            RecordKind::Decision | RecordKind::Refusal | RecordKind::List => {
                (room.lines, room.bytes)
            }
            RecordKind::Control | RecordKind::Other => {
                (with_spare(room.lines), with_spare(room.bytes))
            }
        };
        self.rest.len() < lines && self.rest_bytes.saturating_add(line.bytes.len()) <= bytes
    }

    /// Takes what is written next.
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
        if line.place.is_first() {
            queue.reports += usize::from(line.place == LineClass::Report);
            queue.first.push_back(line);
        } else if queue.has_room(&line, self.room) {
            queue.rest_bytes += line.bytes.len();
            queue.rest.push_back(line);
        } else {
            drop(queue);
            self.lose(&line, LossReason::QueueFull);
            return;
        }
        drop(queue);
        self.filled.notify_one();
    }

    fn lose(&self, line: &LogLine, reason: LossReason) {
        let losses = &self.live.losses;
        losses.add(LostSignal::Log, line.place.kind(), reason, line.stands_for);
    }

    fn give_up(&self, queue: &mut QueuedLines) -> usize {
        let in_hand = std::mem::take(&mut queue.in_hand);
        let waiting = queue.first.drain(..).chain(queue.rest.drain(..));
        let given_up: Vec<_> = in_hand.into_iter().chain(waiting).collect();
        (queue.rest_bytes, queue.reports) = (0, 0);
        for line in &given_up {
            self.lose(line, LossReason::Shutdown);
        }
        given_up.len()
    }

    /// Writes for as long as the program runs.
    fn write_all(&self, mut out: impl Write) {
        loop {
            let mut queue = self.lock();
            while queue.first.is_empty() && queue.rest.is_empty() {
                let waited = self.filled.wait(queue);
                queue = waited.unwrap_or_else(PoisonError::into_inner);
            }
            let text = queue.take();
            drop(queue);
            write_until_done(&mut out, &text);
            self.written();
        }
    }

    fn written(&self) {
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

/// Writes it all, however often that has to be tried.
fn write_until_done(out: &mut impl Write, mut text: &[u8]) {
    while !text.is_empty() {
        match out.write(text) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => thread::sleep(RETRY),
            Ok(written) => text = text.get(written..).unwrap_or_default(),
        }
    }
    // Standard error has no buffer of its own, and nobody could be told of a failure.
    let _ = out.flush();
}

impl fmt::Debug for LogQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("room", &self.0.room)
            .finish_non_exhaustive()
    }
}

/// A place in the queue for a line about a write, until this is dropped: the line is to be logged before.
#[derive(Debug)]
#[must_use = "the place is given up when this is dropped"]
pub struct LineReservation(LogQueue);

impl Drop for LineReservation {
    fn drop(&mut self) {
        let shared = &self.0.0;
        let mut queue = shared.lock();
        queue.promises = queue.promises.saturating_sub(1);
        drop(queue);
        shared.kept.notify_waiters();
    }
}

thread_local! {
    /// How many records the line that this thread logs stands for.
    static STANDS_FOR: Cell<u64> = const { Cell::new(1) };
}

/// Logs a line that stands for so many records: if it is lost, they are.
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

/// Takes one line.
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
            place: LineClass::of(line.target()),
        }
    }
}

#[cfg(test)]
#[path = "log_queue_tests.rs"]
mod tests;
