//! What the last process left behind: which records there are, and what is to be repaired before the next one is written.

use std::io;
use std::path::Path;

use crate::audit::frame::Contents;
use crate::audit::log_files::{self, CAPSULES, SEGMENTS, TREE};
use crate::audit::log_output::{LOCK, LogOutput, OpenError};
use crate::audit::reader::{LogError, LogReader};
use crate::audit::record::schema::notice::Kind;
use crate::audit::segment::{Repair, Segment};

/// Warns, before a log is opened, if what begins anew is not the first of its kind here.
pub fn warn_of_what_is_gone(directory: &Path, key_file: &Path, has_capsules: bool) {
    let is_there = |name: &str| directory.join(name).exists();
    if is_there(LOCK) && !is_there(SEGMENTS) && !is_there(TREE) {
        tracing::warn!(
            directory = %directory.display(),
            "the records of the decision log and their tree are gone: a new log begins"
        );
    }
    let capsules = log_files::list(&directory.join(CAPSULES)).unwrap_or_default();
    if has_capsules && !key_file.exists() && !capsules.is_empty() {
        tracing::warn!(
            file = %key_file.display(),
            "the capsule key is gone, and another is made: decisions recorded before cannot be replayed without it"
        );
    }
}

impl LogOutput {
    pub(super) fn recover_segments(&mut self) -> Result<(), OpenError> {
        let failed = |error| OpenError::Io {
            path: self.directory.clone(),
            error,
        };
        let files = log_files::list(&self.segments.folder).map_err(failed)?;
        let Some(last) = files.last() else {
            return Ok(());
        };
        self.first = files.first().map_or(0, |file| file.first);
        self.next = last.first;
        if last.is_compressed {
            for record in LogReader::open(&self.directory)?.iter_from(last.first) {
                match record {
                    Ok(record) => self.next = record.index + 1,
                    Err(LogError::Lost { last, .. }) => self.next = last + 1,
                    Err(error) => tracing::error!(%error, "a damaged file of the decision log"),
                }
            }
            return Ok(());
        }
        let opened = Segment::inspect(&last.path, Contents::Records, last.first);
        let (segment, repair) = opened.map_err(failed)?;
        self.next = repair.next;
        match repair.is_header_damaged {
            true => self.closed.push(segment),
            false => self.segments.current = Some(segment),
        }
        self.report(&last.path.clone(), &repair);
        Ok(())
    }

    fn report(&mut self, path: &Path, repair: &Repair) {
        if repair.cut > 0 {
            tracing::warn!(
                file = %path.display(),
                bytes = repair.cut,
                "an incomplete end of the decision log is cut off"
            );
            self.notice_of(Kind::RepairedTail, "", repair.cut, (0, 0));
        }
        for range in &repair.lost {
            tracing::error!(
                file = %path.display(),
                first = range.0,
                last = range.1,
                "records of the decision log are damaged"
            );
            self.notice_of(Kind::Lost, "damaged", 0, *range);
        }
        if repair.is_header_damaged {
            tracing::error!(file = %path.display(), "the header of a file of the decision log is damaged");
            self.notice_of(
                Kind::RepairedTail,
                "the header of a file is damaged",
                0,
                (0, 0),
            );
        }
    }

    pub(super) fn recover_capsules(&mut self) -> io::Result<()> {
        let files = log_files::list(&self.capsules.folder)?;
        let Some(last) = files.last().filter(|file| !file.is_compressed) else {
            return Ok(());
        };
        let (file, repair) = Segment::inspect(&last.path, Contents::CapsuleGroups, last.first)?;
        if repair.cut > 0 {
            tracing::warn!(
                file = %last.path.display(),
                bytes = repair.cut,
                "an incomplete end of a file of capsules is cut off"
            );
        }
        // A file whose index is that of a later record would be found before that record's own.
        match !repair.is_header_damaged && last.first <= self.next {
            true => self.capsules.current = Some(file),
            false => self.closed.push(file),
        }
        Ok(())
    }
}
