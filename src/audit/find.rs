//! Finds where in a log to begin: by time, and by the id of a decision, which holds its time.

use std::ops::Range;
use std::path::Path;

use serde_json::Value;
use uuid::Uuid;

use crate::audit::json;
use crate::audit::log_files::{self, LogFile, SEGMENTS};
use crate::audit::outcome_check::OutcomeDoubt;
use crate::audit::reader::{self, LogError, LogReader};
use crate::audit::record::schema::{notice, record};
use crate::audit::record::{Record, StoredRecord};
use crate::audit::record_time::{self, SLACK};
use crate::audit::removals::Removals;
use crate::audit::verify;

/// The most faults that are kept.
const MAX_FAULTS: usize = 100;

/// A record, and its message.
#[derive(Debug, Clone)]
pub struct FoundRecord {
    /// As it is stored.
    pub stored: StoredRecord,
    /// Decoded.
    pub message: Record,
    /// Of an outcome, or of a decision that is said to follow from another: why it does not fit that decision, as far as that
    /// was read.
    pub doubts: Vec<OutcomeDoubt>,
}

impl FoundRecord {
    /// A record of which nothing else is known.
    pub fn new(stored: StoredRecord, message: Record) -> Self {
        Self {
            stored,
            message,
            doubts: Vec::new(),
        }
    }

    /// The record as JSON, with why it does not fit as `doubts`, if it does not.
    pub fn json(&self) -> Value {
        let mut value = json::record(&self.message);
        if !self.doubts.is_empty() {
            let words = self.doubts.iter().map(OutcomeDoubt::word);
            value["doubts"] = words.collect::<Vec<_>>().into();
        }
        value
    }
}

/// Where to look for a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchScope {
    /// Where the time in its id says, and then everywhere.
    WholeLog,
    /// Only where the time in its id says, in files of ten minutes before to ten minutes after it, and where a clock may have
    /// been set back to it: in the newest file, and in those that tell so. A question that costs little, however long the log
    /// is.
    ByItsTime,
}

/// The index to read from for all records at or after a time, in nanoseconds since 1970: that of the first file that may have one,
/// by what the file after it begins with. Later files may have none, where a clock was set back.
///
/// # Errors
///
/// If the folder cannot be read.
pub fn start_at(directory: &Path, time: u64) -> Result<u64, LogError> {
    let files = files(directory)?;
    let followers = files.iter().skip(1);
    let passed = followers.take_while(|file| latest_before(file).is_some_and(|it| it < time));
    Ok(files.get(passed.count()).map_or(0, |file| file.first))
}

/// The latest time that a record before this file may have, by what it begins with: nearly ten minutes more than that of the first
/// record, unless that one tells of a later one. `None` if it does not begin with a record.
pub(super) fn latest_before(file: &LogFile) -> Option<u64> {
    let first = reader::first_record(file)?.decode().ok()?;
    Some(match &first.kind {
        Some(record::Kind::Notice(it)) if it.kind() == notice::Kind::ClockSetBack => it.since,
        _ => first.at.saturating_add(SLACK - 1),
    })
}

/// The index from which a record of a time lies as a rule: that of the last file before which there are only earlier ones. Files
/// whose first record cannot be read are passed over.
fn start_in(files: &[LogFile], time: u64) -> u64 {
    let is_start = |file: &&LogFile| latest_before(file).is_some_and(|it| it < time);
    let start = files.iter().rev().find(is_start);
    start.or(files.first()).map_or(0, |file| file.first)
}

/// The index before which a record of a time lies as a rule: that of the first file whose first record is ten minutes or more
/// after it.
fn end_in(files: &[LogFile], time: u64) -> u64 {
    let is_after =
        |file: &&LogFile| time_of(file).is_some_and(|at| at >= time.saturating_add(SLACK));
    // Times hardly go back in a log, so what is after lies at its end.
    let after = files.iter().rev().take_while(is_after).last();
    after.map_or(u64::MAX, |file| file.first)
}

/// The indices of files from one on that may have records of earlier times than their first: the newest, and those during which
/// a clock was set back, as the file after them tells.
fn going_back(files: &[LogFile], from: u64) -> Vec<Range<u64>> {
    let next = files.iter().skip(1).map(Some).chain([None]);
    let later = files
        .iter()
        .zip(next)
        .filter(|(file, _)| file.first >= from);
    let back = later.filter(|(_, next)| next.is_none_or(begins_after_setting_back));
    back.map(|(file, next)| file.first..next.map_or(u64::MAX, |it| it.first))
        .collect()
}

/// Whether a file begins by telling that a clock was set back.
fn begins_after_setting_back(file: &LogFile) -> bool {
    let first = reader::first_record(file).and_then(|it| it.notice());
    first.is_some_and(|it| it.kind() == notice::Kind::ClockSetBack)
}

fn files(directory: &Path) -> Result<Vec<LogFile>, LogError> {
    let segments = directory.join(SEGMENTS);
    log_files::list(&segments).map_err(|error| LogError::Io {
        path: segments,
        error,
    })
}

fn time_of(file: &LogFile) -> Option<u64> {
    let record = reader::first_record(file)?;
    record.decode().ok().map(|it| it.at)
}

/// Finds a decision by its id; `None` if the log does not have it there.
///
/// # Errors
///
/// If a file cannot be read. What is damaged is passed over.
pub fn decision(
    directory: &Path,
    id: Uuid,
    scope: SearchScope,
) -> Result<Option<FoundRecord>, LogError> {
    let log = LogReader::open(directory)?;
    let nanos = record_time::of_id(id);
    let everything = 0..u64::MAX;
    let likely = match nanos {
        Some(time) => {
            let files = files(directory)?;
            let usual = start_in(&files, time)..end_in(&files, time);
            let others = going_back(&files, usual.end);
            [usual].into_iter().chain(others).collect()
        }
        None => Vec::new(),
    };
    let has_all = likely.first() == Some(&everything);
    let elsewhere = (scope == SearchScope::WholeLog && !has_all).then_some(everything);
    for indices in likely.into_iter().chain(elsewhere) {
        if let Some(found) = first_with(&log, indices, id)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Why a decision was not found in a whole log: it is not there, or parts of the log are not.
pub fn why_not_found(directory: &Path, log: &LogReader, id: Uuid) -> String {
    let signed = verify::signed(directory);
    let mut next = 0;
    let mut records = log.iter_from(0);
    let fault = missing_before(directory).unwrap_or_else(Some);
    let fault =
        fault.or_else(|| records.find_map(|item| item.map(|stored| next = stored.index + 1).err()));
    match fault.or_else(|| cut_off(next, signed)) {
        None => {
            let removed = match log.first_index() {
                Ok(first) if first > 0 => {
                    format!(": its records before {first} were removed by their age or size")
                }
                _ => String::new(),
            };
            format!("the decision log has no decision {id}{removed}")
        }
        Some(fault) => format!(
            "no decision {id} is in what can be read of the decision log, which is damaged: {fault}; see `callgate audit verify`"
        ),
    }
}

/// Why a log has no record with an index.
pub fn why_no_record(directory: &Path, log: &LogReader, index: u64) -> String {
    match log.first_index() {
        Ok(first) if index < first => match missing_before(directory) {
            Ok(None) => format!(
                "the log has no record {index} any more: those before {first} were removed by their age or size"
            ),
            _ => format!(
                "the log has no record {index}: those before {first} are missing, and the log does not say that it removed them; see `callgate audit verify`"
            ),
        },
        _ => format!("the log has no record {index}"),
    }
}

/// The records that are missing before the first one and that the log does not say it has removed; `None` if it removed all. What
/// it says after its last checkpoint does not count. Reads files from the last one on, up to what says so, which is near the end of a log that goes on.
///
/// # Errors
///
/// If the folder cannot be read.
pub fn missing_before(directory: &Path) -> Result<Option<LogError>, LogError> {
    let files = files(directory)?;
    let Some(first) = files.first().map(|file| file.first).filter(|it| *it > 0) else {
        return Ok(None);
    };
    let log = LogReader::open(directory)?;
    let mut removals = Removals::default();
    // A log without a tree has nothing to hold it against.
    let mut end = verify::signed(directory).unwrap_or(u64::MAX);
    for file in files.iter().rev() {
        for item in log.iter_from(file.first) {
            let record = match item {
                Ok(record) if record.index >= end => break,
                Ok(record) => record,
                Err(error @ LogError::Io { .. }) => return Err(error),
                Err(_) => continue,
            };
            if let Some(notice) = record.notice() {
                removals.note(record.index, &notice);
            }
        }
        if removals.end() >= first {
            return Ok(None);
        }
        end = end.min(file.first);
    }
    Ok(Some(LogError::Lost {
        first: removals.end(),
        last: first - 1,
    }))
}

/// The records that a checkpoint over `signed` covers from `next` on, where the log ends.
pub fn cut_off(next: u64, signed: Option<u64>) -> Option<LogError> {
    let signed = signed.filter(|signed| next < *signed)?;
    Some(LogError::Lost {
        first: next,
        last: signed - 1,
    })
}

fn first_with(
    log: &LogReader,
    indices: Range<u64>,
    id: Uuid,
) -> Result<Option<FoundRecord>, LogError> {
    let wanted = id.as_bytes();
    let is_it = |message: &Record| matches!(&message.kind, Some(record::Kind::Decision(it)) if it.id == wanted[..]);
    let mut found = None;
    each_naming(log, indices, &[wanted], |record| {
        if is_it(&record.message) {
            found = Some(record);
        }
        found.is_none()
    })?;
    Ok(found)
}

/// How far a log was read, and what of it could not be.
#[derive(Debug, Default)]
pub struct ReadPart {
    /// The index after the last record that was read.
    pub next: u64,
    /// What could not be read, at most [`MAX_FAULTS`].
    pub faults: Vec<LogError>,
}

impl ReadPart {
    fn keep(&mut self, fault: LogError) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        }
    }
}

/// Passes every record with one of these indices whose bytes contain one of these ids to `each`, until it returns `false`.
/// Only those are decoded.
///
/// # Errors
///
/// If a file cannot be read. What is damaged is passed over, and returned.
pub fn each_naming(
    log: &LogReader,
    indices: Range<u64>,
    ids: &[&[u8]],
    mut each: impl FnMut(FoundRecord) -> bool,
) -> Result<ReadPart, LogError> {
    let mut read = ReadPart {
        next: indices.start,
        ..ReadPart::default()
    };
    for item in log.iter_from(indices.start) {
        let stored = match item {
            Ok(stored) if stored.index >= indices.end => return Ok(read),
            Ok(stored) => stored,
            Err(error @ LogError::Io { .. }) => return Err(error),
            // What is missing comes after what is asked for.
            Err(LogError::Lost { first, .. }) if first >= indices.end => return Ok(read),
            Err(error) => {
                read.keep(error);
                continue;
            }
        };
        read.next = stored.index.saturating_add(1);
        if !ids.iter().any(|id| has(&stored.bytes, id)) {
            continue;
        }
        let message = match stored.decode() {
            Ok(message) => message,
            Err(error) => {
                read.keep(error.into());
                continue;
            }
        };
        if !each(FoundRecord::new(stored, message)) {
            return Ok(read);
        }
    }
    Ok(read)
}

fn has(bytes: &[u8], id: &[u8]) -> bool {
    let starts = bytes.iter().enumerate();
    let starts = starts.filter(|(_, byte)| Some(*byte) == id.first());
    let mut windows = starts.filter_map(|(at, _)| bytes.get(at..at + id.len()));
    windows.any(|window| window == id)
}

#[cfg(test)]
#[path = "find_tests.rs"]
mod tests;
