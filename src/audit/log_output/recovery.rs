//! What the last process left behind: which records there are, and what is to be repaired before the next one is written.

use std::io;
use std::path::Path;

use crate::audit::find;
use crate::audit::frame::Contents;
use crate::audit::log_files::{self, CAPSULES, LogFile, MAX_GAP, SEGMENTS, TREE};
use crate::audit::log_output::{LogOutput, OpenError, WriteError};
use crate::audit::log_tree::LogTree;
use crate::audit::reader::{LogError, LogReader};
use crate::audit::record;
use crate::audit::record::schema::notice::Kind;
use crate::audit::removals::Removals;
use crate::audit::segment::{Repair, Segment};
use crate::audit::verify;

/// Warns, before a log is opened, if what begins anew is not the first of its kind here. `was_begun` says whether there was a lock.
pub fn warn_of_what_is_gone(
    directory: &Path,
    key_file: &Path,
    was_begun: bool,
    has_capsules: bool,
) {
    let is_there = |name: &str| directory.join(name).exists();
    if was_begun && !is_there(SEGMENTS) && !is_there(TREE) {
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
        self.check_gaps(&files)?;
        self.first = files.first().map_or(0, |file| file.first);
        self.next = last.first;
        self.latest = self.find_latest(&files)?;
        if last.is_compressed {
            for record in LogReader::open(&self.directory)?.iter_from(last.first) {
                match record {
                    Ok(record) => self.next = record.index.saturating_add(1),
                    Err(LogError::Lost { last, .. }) => self.next = last.saturating_add(1),
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

    /// The latest time that a record may have: of those in the last file, and by what it begins with.
    fn find_latest(&self, files: &[LogFile]) -> Result<u64, LogError> {
        let log = LogReader::open(&self.directory)?;
        let mut latest = 0;
        for file in files.iter().rev() {
            let records = log.iter_from(file.first).flatten();
            let times = records.filter_map(|it| record::time_of(&it.bytes));
            latest = times.fold(latest, u64::max);
            if let Some(before) = find::latest_before(file) {
                return Ok(latest.max(before));
            }
        }
        Ok(latest)
    }

    /// Refuses a file that begins where no record of this log can be: all records up to there would count as lost. What the
    /// last checkpoint covers was there.
    fn check_gaps(&self, files: &[LogFile]) -> Result<(), OpenError> {
        let signed = verify::signed(&self.directory);
        let after = files.partition_point(|file| file.first <= signed.unwrap_or_default());
        // Without a tree only the last file can be told from those before it at little cost.
        let after = match signed {
            Some(_) => after,
            None => files.len().saturating_sub(1),
        };
        if after == files.len() {
            return Ok(());
        }
        let foreign = |file: &LogFile, end| {
            Err(OpenError::Foreign {
                path: file.path.clone(),
                end,
            })
        };
        let Some(before) = after.checked_sub(1).and_then(|at| files.get(at)) else {
            // The first file there is: what was before it may have been removed. Whether the tree goes on from there, it knows.
            return Ok(());
        };
        for item in LogReader::open(&self.directory)?.iter_from(before.first) {
            let Err(LogError::Lost { first, last }) = item else {
                continue;
            };
            let end = first.max(signed.unwrap_or_default());
            if last.saturating_sub(end) >= MAX_GAP
                && let Some(file) = files.iter().find(|file| file.first > last)
            {
                return foreign(file, end);
            }
        }
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
            self.note_lost("damaged", *range);
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

    /// Takes the tree, to which every record is appended from now on. Records that no checkpoint covers are in it already.
    pub fn set_tree(&mut self, tree: LogTree) {
        let signed = tree.watch().state().signed;
        self.tree = Some(tree);
        self.note_found(signed);
        if let Err(error) = self.look_for_unsigned_removal(signed) {
            tracing::error!(%error, "what the decision log says it has removed cannot be read");
        }
    }

    /// Tells of records that are gone, and were removed only by what is said after the last checkpoint.
    fn look_for_unsigned_removal(&mut self, signed: u64) -> Result<(), LogError> {
        if self.first == 0 || signed >= self.next {
            return Ok(());
        }
        let mut said = Removals::default();
        let records = LogReader::open(&self.directory)?.iter_from(signed);
        for record in records.flatten() {
            if let Some(notice) = record.notice() {
                said.note(record.index, &notice);
            }
        }
        if said.said() > 0
            && let Some(LogError::Lost { first, last }) = find::missing_before(&self.directory)?
        {
            tracing::error!(
                first,
                last,
                "records of the decision log are missing, and that they were removed was not signed"
            );
            self.note_lost("that they were removed was not signed", (first, last));
        }
        Ok(())
    }

    /// Has a notice tell of records from this index on that nobody has acknowledged, or no checkpoint covers: they are signed
    /// with it as they were found.
    fn note_found(&mut self, first: u64) {
        if first < self.next {
            self.notice_of(Kind::FoundUnsigned, "", 0, (first, self.next - 1));
        }
    }

    /// Gives up a file that is not what was written: finds out which records are gone, and leaves the file as it is.
    ///
    /// # Errors
    ///
    /// [`WriteError::Locked`] if another process writes the log, which may have changed the file.
    pub(super) fn abandon_segment(&mut self, why: &'static str) -> Result<(), WriteError> {
        if !self.lock.look() {
            return Err(WriteError::Locked);
        }
        let Some(segment) = self.segments.current.take() else {
            return Ok(());
        };
        let path = segment.path().to_owned();
        let first = segment.first();
        drop(segment);
        let found = Segment::inspect(&path, Contents::Records, first);
        let (mut lost, next) = match found {
            Ok((_, repair)) => (repair.lost, repair.next),
            Err(_) => (Vec::new(), first),
        };
        let files = log_files::list(&self.segments.folder).unwrap_or_default();
        // Another process may have written into it.
        let latest = self.find_latest(&files).unwrap_or_default();
        self.latest = self.latest.max(latest);
        let has_older = files.first().is_some_and(|file| file.first <= first);
        // Without any older file the whole folder is gone.
        let from = if has_older { next } else { self.first };
        if from < self.next {
            lost.push((from, self.next - 1));
        }
        // Records that were not acknowledged and are there nevertheless keep their indices.
        let known = self.next;
        self.next = known.max(next);
        self.note_found(known);
        tracing::error!(
            why,
            file = %path.display(),
            lost = lost.iter().map(|(first, last)| last - first + 1).sum::<u64>(),
            "a file of the decision log is given up, and a new one is begun"
        );
        for range in lost {
            self.note_lost(why, range);
        }
        if !has_older {
            self.first = self.next;
        }
        Ok(())
    }
}
