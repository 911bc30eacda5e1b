//! Who writes the decision log.
//!
//! In mode `written` whoever waits for a record writes it, and with it what others have queued: [`SharedWriter::write_here`].
//! The thread writes what takes longer than to append to a file, and everything in the other modes: [`SharedWriter::run`].
//!
//! Invariant: batches are taken by whoever has the writer, so records are in the log in the order in which they were queued.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant, SystemTime};

use crate::audit::envelope::nanos;
use crate::audit::log_output::{LogOutput, WriteError};
use crate::audit::log_queue::{Batch, Failure, Shared};
use crate::audit::record::schema::Notice;
use crate::audit::record::schema::notice::Kind;
use crate::supervision::caught;

/// A write that took longer was slow: those who decide do no other for a while, and the thread writes.
const SLOW: Duration = Duration::from_millis(5);
/// How long the thread writes after a slow write: so many times as long as that took, and this at most. Who was slow
/// because others had the processor waits for the thread only shortly.
const TIMES_AFTER_SLOW: u32 = 20;
const AFTER_SLOW: Duration = Duration::from_secs(1);
/// How long after the last failure a record has to be written until nobody waits for it again in mode `async`.
const TRUSTED_AFTER: Duration = Duration::from_secs(5);
/// Batches that one of those who wait writes, before it leaves the others' to the thread.
const MOST_BATCHES: usize = 4;

/// Writes what is queued; for whoever has it.
pub(super) struct LogWriter {
    output: LogOutput,
    /// What is taken from the queue; its buffers are kept.
    batch: Batch,
    /// Requests without a record that no notice tells yet, and when the first was.
    untold: Option<(u64, SystemTime)>,
    /// Notices that were taken from the queue, and are not written yet.
    unwritten: u64,
    /// Until when only the thread writes.
    pub(super) slow_until: Option<Instant>,
    /// When the log could not be written, unless that is long ago.
    failed_at: Option<Instant>,
}

/// The writer of a log, for whoever writes next.
#[derive(Debug)]
pub(super) struct SharedWriter {
    shared: Arc<Shared>,
    /// `None` before the start and after the end.
    writer: Mutex<Option<LogWriter>>,
}

impl SharedWriter {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            writer: Mutex::default(),
        }
    }

    /// Writes what waits, unless somebody does already, who then looks again. Never waits: neither for another thread, nor,
    /// beyond one slow write, for a disk.
    pub(super) fn write_here(&self) {
        let shared = &*self.shared;
        for _ in 0..MOST_BATCHES {
            match self.writer.try_lock() {
                Ok(mut writer) => {
                    let is_done = writer.as_mut().is_none_or(|it| it.append_queued(shared));
                    drop(writer);
                    if !is_done {
                        break;
                    }
                    if !shared.take_left() {
                        return;
                    }
                }
                // Who has the writer may have looked before this was left to it: it is asked for once more.
                Err(TryLockError::WouldBlock) if shared.leave() => return,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Poisoned(_)) => return shared.end_by_panic(),
            }
        }
        shared.call(&mut shared.lock());
    }

    /// The thread: writes when it is called, and what is left over, until the log is closed.
    pub(super) fn run(&self) {
        // Whatever ends this thread, nobody waits for it after that.
        match caught("decision log", || self.write_until_closed()) {
            Ok(true) => self.shared.end(),
            Ok(false) | Err(_) => self.shared.end_by_panic(),
        }
        drop(self.lock().take());
    }

    /// Returns whether that was until the log was closed, and not until a writer panicked.
    fn write_until_closed(&self) -> bool {
        let shared = &*self.shared;
        loop {
            let is_closed = shared.wait();
            let Ok(mut writer) = self.writer.lock() else {
                return false;
            };
            if is_closed {
                if let Some(writer) = writer.take() {
                    writer.finish(shared);
                }
                return true;
            }
            if let Some(writer) = writer.as_mut() {
                writer.output.look_after_lock();
                writer.write_queued(shared);
            }
            drop(writer);
            if shared.take_left() {
                shared.call(&mut shared.lock());
            }
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Option<LogWriter>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogWriter {
    pub(super) fn new(output: LogOutput) -> Self {
        Self {
            output,
            batch: Batch::default(),
            untold: None,
            unwritten: 0,
            slow_until: None,
            failed_at: None,
        }
    }

    /// Writes what is queued if it is only to be appended to a file, as it is nearly always. Returns whether it was; for
    /// anything else there is the thread.
    pub(super) fn append_queued(&mut self, shared: &Shared) -> bool {
        let begun = Instant::now();
        if self.slow_until.is_some_and(|until| begun < until) {
            return false;
        }
        let is_well = self.untold.is_none() && !shared.is_failing();
        let mut queue = shared.lock();
        if queue.batch.records == 0 {
            return true;
        }
        let is_plain =
            queue.batch.is_plain() && self.output.only_appends(&queue.batch.capsules, begun);
        if !is_well || !is_plain {
            return false;
        }
        queue.take(&mut self.batch);
        drop(queue);
        self.write_taken(shared);
        let took = begun.elapsed();
        if took >= SLOW {
            let pause = (took * TIMES_AFTER_SLOW).min(AFTER_SLOW);
            self.slow_until = Some(begun + took + pause);
        }
        true
    }

    /// Writes what is queued, and looks after the files if nothing is.
    fn write_queued(&mut self, shared: &Shared) {
        shared.lock().take(&mut self.batch);
        self.write_taken(shared);
    }

    fn write_taken(&mut self, shared: &Shared) {
        let mut batch = std::mem::take(&mut self.batch);
        // Dropped by whatever goes wrong, which tells those who wait.
        let waiting = batch.waiting.take();
        let goes_on = self.process(shared, &mut batch);
        batch.clear();
        self.batch = batch;
        shared.note_batch_done();
        if let Some(waiting) = waiting {
            waiting.tell(goes_on);
        }
    }

    /// Writes what came between the last look and the end, and a notice of the end.
    fn finish(mut self, shared: &Shared) {
        self.write_queued(shared);
        self.tell(Kind::Stop, String::new());
        self.write(shared, LogOutput::tick);
        self.output.sync();
    }

    /// Writes notices of the start, before there is a thread: whoever is told that the log is open finds them in it.
    pub(super) fn started(&mut self, shared: &Shared) {
        self.tell(Kind::Start, env!("CARGO_PKG_VERSION").to_owned());
        self.tell(Kind::Mode, shared.mode().as_str().to_owned());
        if let Some(id) = shared.key_id() {
            self.tell(Kind::Key, id);
        }
        let told_before = std::mem::take(&mut shared.lock().batch.notices);
        for (_, notice) in told_before {
            // Told before the start, and of it.
            self.output.notice(SystemTime::now(), notice);
            self.unwritten += 1;
        }
        self.write(shared, LogOutput::tick);
    }

    /// Returns whether those who wait go on.
    fn process(&mut self, shared: &Shared, batch: &mut Batch) -> bool {
        for (at, notice) in batch.notices.drain(..) {
            self.output.notice(at, notice);
            self.unwritten += 1;
        }
        if let Some(key) = batch.new_key.take() {
            self.tell(Kind::Key, key.id());
            self.output.set_key(key);
        }
        if batch.dropped > 0 {
            self.unrecorded(shared, batch.dropped);
        }
        if batch.records == 0 {
            return self.write(shared, LogOutput::tick);
        }
        let Batch {
            frames,
            records,
            capsules,
            ..
        } = batch;
        let is_written = self.write(shared, |output| output.write(frames, *records, capsules));
        match is_written {
            true => self.end_doubt(shared),
            false => self.unrecorded(shared, batch.records),
        }
        is_written || shared.goes_on()
    }

    /// Records were written: long enough after the last failure, they need not be waited for again. Notices prove nothing; a disk
    /// that is full may have room for them alone.
    fn end_doubt(&mut self, shared: &Shared) {
        let is_long_ago = |at: Instant| at.elapsed() >= TRUSTED_AFTER;
        if self.failed_at.is_some_and(is_long_ago) {
            self.failed_at = None;
            shared.trust();
        }
    }

    /// Writes, and keeps account of whether the log can be written. What is not told yet is written first, so that a log
    /// that has failed counts as mended only once something is in it.
    fn write(
        &mut self,
        shared: &Shared,
        write: impl FnOnce(&mut LogOutput) -> Result<(), WriteError>,
    ) -> bool {
        let failure = shared.failure();
        let before = self.output.notices();
        if let Some(failure) = &failure {
            let (text, since) = (failure.error.clone(), failure.since);
            self.tell_since(Kind::Degraded, text, 0, since);
        }
        if let Some((count, since)) = self.untold {
            self.tell_since(Kind::Dropped, String::new(), count, since);
        }
        let added = self.output.notices().waiting - before.waiting;
        let result = write(&mut self.output);
        let is_told = added > 0 && self.output.notices().written > before.written;
        if is_told {
            self.untold = None;
        } else if added > 0 {
            self.output.withdraw_notices(before.waiting, added);
        }
        shared.wrote(self.output.next(), self.output.lost());
        if self.unwritten > 0 && self.output.notices().waiting == 0 {
            shared.note_told(std::mem::take(&mut self.unwritten));
        }
        let Err(error) = result else {
            if failure.is_some() {
                tracing::warn!("the decision log is written again");
                shared.set_failure(None);
            }
            return true;
        };
        self.failed_at = Some(Instant::now());
        if failure.is_none() {
            tracing::error!(%error, "the decision log cannot be written");
        }
        if failure.is_none() || is_told {
            shared.set_failure(Some(Failure {
                since: SystemTime::now(),
                error: error.to_string(),
            }));
        }
        false
    }

    fn unrecorded(&mut self, shared: &Shared, count: u64) {
        shared.add_unrecorded(count);
        let (before, since) = self.untold.unwrap_or((0, SystemTime::now()));
        self.untold = Some((before + count, since));
    }

    fn tell(&mut self, kind: Kind, text: String) {
        let notice = Notice {
            kind: kind.into(),
            text,
            ..Notice::default()
        };
        self.output.notice(SystemTime::now(), notice);
    }

    fn tell_since(&mut self, kind: Kind, text: String, count: u64, since: SystemTime) {
        let notice = Notice {
            kind: kind.into(),
            text,
            count,
            since: nanos(since),
            ..Notice::default()
        };
        self.output.notice(SystemTime::now(), notice);
    }
}

impl fmt::Debug for LogWriter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LogWriter").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "log_writer_tests.rs"]
mod tests;
