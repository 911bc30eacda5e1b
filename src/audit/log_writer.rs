//! The thread that writes the decision log.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::SystemTime;

use crate::audit::envelope::nanos;
use crate::audit::log_output::{LogOutput, WriteError};
use crate::audit::log_queue::{Failure, Queue, Shared};
use crate::audit::record::schema::Notice;
use crate::audit::record::schema::notice::Kind;

/// Writes batches until the log is closed.
pub(super) struct LogWriter {
    output: LogOutput,
    shared: Arc<Shared>,
    /// Requests without a record that no notice tells yet, and when the first was.
    untold: Option<(u64, SystemTime)>,
    /// Dropped at the end, which ends the other thread.
    _done: Sender<()>,
}

impl LogWriter {
    pub(super) fn new(output: LogOutput, shared: Arc<Shared>, done: Sender<()>) -> Self {
        Self {
            output,
            shared,
            untold: None,
            _done: done,
        }
    }

    pub(super) fn run(mut self) {
        // Whatever ends this thread, nobody waits for it after that.
        let _end = EndOfLog(Arc::clone(&self.shared));
        let mut batch = Queue::default();
        loop {
            let is_closed = self.shared.take(&mut batch);
            self.process(&mut batch);
            batch.clear();
            if is_closed {
                break;
            }
        }
        // What came between the last look and the end.
        self.shared.take(&mut batch);
        self.process(&mut batch);
        self.tell(Kind::Stop, String::new());
        self.write(|output| output.tick());
        self.output.sync();
    }

    /// Writes notices of the start, before there is a thread: whoever is told that the log is open finds them in it.
    pub(super) fn started(&mut self) {
        self.tell(Kind::Start, env!("CARGO_PKG_VERSION").to_owned());
        self.tell(Kind::Mode, self.shared.mode().as_str().to_owned());
        if let Some(id) = self.shared.key_id() {
            self.tell(Kind::Key, id);
        }
        self.write(|output| output.tick());
    }

    fn process(&mut self, batch: &mut Queue) {
        for (at, notice) in batch.notices.drain(..) {
            self.output.notice(at, notice);
        }
        if batch.dropped > 0 {
            self.unrecorded(batch.dropped);
        }
        if batch.records == 0 {
            self.write(LogOutput::tick);
            return;
        }
        let (frames, capsules) = (&mut batch.frames, &batch.capsules);
        let is_written = self.write(|output| output.write(frames, capsules));
        if !is_written {
            self.unrecorded(batch.records);
        }
        let goes_on = is_written || self.shared.goes_on();
        if let Some(waiting) = batch.waiting.take() {
            waiting.tell(goes_on);
        }
    }

    /// Writes, and keeps account of whether the log can be written. What is not told yet is written first, so that a log
    /// that has failed counts as mended only once something is in it.
    fn write(&mut self, write: impl FnOnce(&mut LogOutput) -> Result<(), WriteError>) -> bool {
        let failure = self.shared.failure().clone();
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
        self.shared.wrote(self.output.next());
        let Err(error) = result else {
            if failure.is_some() {
                tracing::warn!("the decision log is written again");
                *self.shared.failure() = None;
            }
            return true;
        };
        if failure.is_none() {
            tracing::error!(%error, "the decision log cannot be written");
        }
        if failure.is_none() || is_told {
            *self.shared.failure() = Some(Failure {
                since: SystemTime::now(),
                error: error.to_string(),
            });
        }
        false
    }

    fn unrecorded(&mut self, count: u64) {
        self.shared.add_unrecorded(count);
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

struct EndOfLog(Arc<Shared>);

impl Drop for EndOfLog {
    fn drop(&mut self) {
        self.0.end();
    }
}
