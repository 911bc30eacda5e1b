//! Finds where in a log to begin: by time, and by the id of a decision, which holds its time.

use std::path::Path;

use uuid::Uuid;

use crate::audit::log_files::{self, SEGMENTS};
use crate::audit::reader::{LogError, LogReader};
use crate::audit::record::schema::record;
use crate::audit::record::{Record, StoredRecord};

/// How far the time of a record, which is that of the request's arrival, may lie from the order of the log, in
/// nanoseconds: a request may wait, and clocks are set.
const SLACK: u64 = 600 * 1_000_000_000;

/// A record, and its message.
#[derive(Debug, Clone)]
pub struct FoundRecord {
    /// As it is stored.
    pub stored: StoredRecord,
    /// Decoded.
    pub message: Record,
}

/// The index to read from for records at or after a time, in nanoseconds since 1970: that of the last file whose first
/// record is ten minutes or more before it. Files whose first record cannot be read are passed over.
///
/// # Errors
///
/// If the folder cannot be read.
pub fn start_at(directory: &Path, log: &LogReader, time: u64) -> Result<u64, LogError> {
    let segments = directory.join(SEGMENTS);
    let files = log_files::list(&segments).map_err(|error| LogError::Io {
        path: segments,
        error,
    })?;
    let is_before = |index: u64| {
        let at = log.get(index).ok().flatten();
        let at = at.and_then(|it| it.decode().ok()).map(|it| it.at);
        at.is_some_and(|at| at.saturating_add(SLACK) <= time)
    };
    let start = files.iter().rev().find(|file| is_before(file.first));
    Ok(start.or(files.first()).map_or(0, |file| file.first))
}

/// Finds a decision by its id; `None` if the log does not have it. Looks where its time says, and then everywhere.
///
/// # Errors
///
/// If a file cannot be read. What is damaged is passed over.
pub fn decision(directory: &Path, id: Uuid) -> Result<Option<FoundRecord>, LogError> {
    let log = LogReader::open(directory)?;
    let millis = id.get_timestamp().map(|at| {
        let (seconds, nanos) = at.to_unix();
        seconds
            .saturating_mul(1_000_000_000)
            .saturating_add(nanos.into())
    });
    let start = match millis {
        Some(time) => start_at(directory, &log, time)?,
        None => 0,
    };
    let found = first_with(&log, start, id)?;
    match found {
        None if start > 0 => first_with(&log, 0, id),
        found => Ok(found),
    }
}

fn first_with(log: &LogReader, start: u64, id: Uuid) -> Result<Option<FoundRecord>, LogError> {
    let wanted = id.as_bytes();
    let is_it = |message: &Record| matches!(&message.kind, Some(record::Kind::Decision(it)) if it.id == wanted[..]);
    let mut found = None;
    each_naming(log, start, wanted, |record| {
        if is_it(&record.message) {
            found = Some(record);
        }
        found.is_none()
    })?;
    Ok(found)
}

/// Passes every record from `start` on whose bytes contain an id to `each`, until it returns `false`. Only those are
/// decoded.
///
/// # Errors
///
/// If a file cannot be read. What is damaged is passed over.
pub fn each_naming(
    log: &LogReader,
    start: u64,
    id: &[u8; 16],
    mut each: impl FnMut(FoundRecord) -> bool,
) -> Result<(), LogError> {
    for item in log.iter_from(start) {
        let stored = match item {
            Ok(stored) => stored,
            Err(error @ LogError::Io { .. }) => return Err(error),
            Err(_) => continue,
        };
        let [first, ..] = id;
        let starts = stored
            .bytes
            .iter()
            .enumerate()
            .filter(|(_, byte)| *byte == first);
        let mut windows = starts.filter_map(|(at, _)| stored.bytes.get(at..at + id.len()));
        if !windows.any(|window| window == id) {
            continue;
        }
        let Ok(message) = stored.decode() else {
            continue;
        };
        if !each(FoundRecord { stored, message }) {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "find_tests.rs"]
mod tests;
