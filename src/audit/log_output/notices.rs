//! Notices: what the log says of itself. They are written before the records that follow them.

use std::time::SystemTime;

use crate::audit::batch::{finish, push_unfinished};
use crate::audit::envelope;
use crate::audit::frame::FRAME_HEADER;
use crate::audit::log_output::{LogOutput, WriteError};
use crate::audit::record::schema::Notice;
use crate::audit::record::schema::notice::Kind;
use crate::audit::record::time_of;
use crate::audit::record_time::SLACK;

/// Notices that wait, and those that were written since the start.
#[derive(Debug, Clone, Copy)]
pub struct NoticeCounts {
    /// Those that the next write writes first.
    pub waiting: usize,
    /// Those that are in the log.
    pub written: u64,
}

impl LogOutput {
    /// Adds a notice that the next batch writes first.
    pub fn notice(&mut self, at: SystemTime, notice: Notice) {
        self.notices.push((at, notice));
    }

    /// How many notices wait, and how many were written since the start.
    pub fn notices(&self) -> NoticeCounts {
        NoticeCounts {
            waiting: self.notices.len(),
            written: self.notices_written,
        }
    }

    /// Removes so many notices that wait, from a position on.
    pub fn withdraw_notices(&mut self, from: usize, count: usize) {
        self.notices.drain(from..from + count);
    }

    /// Writes what is to be told before these frames.
    pub(super) fn write_notices(&mut self, next: &[u8]) -> Result<(), WriteError> {
        let set_back = self.clock_set_back(next);
        if self.notices.is_empty() && set_back.is_none() {
            return Ok(());
        }
        let mut frames = std::mem::take(&mut self.scratch);
        frames.clear();
        let mut bytes = Vec::new();
        for (at, notice) in set_back.iter().chain(&self.notices) {
            bytes.clear();
            envelope::notice(&mut bytes, *at, notice);
            push_unfinished(&mut frames, &bytes, false);
        }
        let told = self.notices.len();
        finish(&mut frames, self.next, [], &mut self.finished);
        let appended = self.append(&frames);
        self.scratch = frames;
        appended?;
        self.notices.drain(..told);
        self.notices_written += told as u64;
        Ok(())
    }

    /// At the beginning of a file: what is to be told of times before it, if notices that wait or these frames follow. So whoever
    /// looks for records since a time knows of each file by itself whether there are any before it ([`crate::audit::find::start_at`]).
    fn clock_set_back(&self, next: &[u8]) -> Option<(SystemTime, Notice)> {
        if !self.is_at_beginning() {
            return None;
        }
        let waiting = self.notices.first().map(|(at, _)| envelope::nanos(*at));
        let first = waiting.or_else(|| first_time(next))?;
        let notice = Notice {
            kind: Kind::ClockSetBack.into(),
            since: self.latest,
            ..Notice::default()
        };
        (self.latest >= first.saturating_add(SLACK)).then(|| (SystemTime::now(), notice))
    }

    /// Whether the current file has no record yet.
    fn is_at_beginning(&self) -> bool {
        let current = self.segments.current.as_ref();
        current.is_some_and(|it| it.first() == self.next)
    }

    /// Counts records as lost, and has a notice tell it.
    pub(super) fn note_lost(&mut self, why: &str, range: (u64, u64)) {
        self.lost.records += self.lost_records.add(range);
        self.notice_of(Kind::Lost, why, 0, range);
    }

    /// Has a notice tell of records.
    pub(super) fn notice_of(
        &mut self,
        kind: Kind,
        text: &str,
        count: u64,
        (first, last): (u64, u64),
    ) {
        let notice = Notice {
            kind: kind.into(),
            text: text.to_owned(),
            count,
            first,
            last,
            ..Notice::default()
        };
        self.notice(SystemTime::now(), notice);
    }
}

/// The time of the first record in frames, in nanoseconds since 1970; `None` if there is none.
fn first_time(frames: &[u8]) -> Option<u64> {
    let first = frames.get(FRAME_HEADER..)?;
    // That of before 1970 is left out.
    Some(time_of(first).unwrap_or_default())
}

#[cfg(test)]
#[path = "notices_tests.rs"]
mod tests;
