//! The newest revision that a decision log knows.

use std::path::Path;

use prost::Message;

use crate::audit::log_files::{self, SEGMENTS};
use crate::audit::reader::{LogError, LogReader};
use crate::audit::record::StoredRecord;
use crate::audit::record::schema::notice;

/// How many of the last records are read at least, by whole files. Of decisions that are made at once the one of a later revision
/// may be on record before the other.
const AT_LEAST: u64 = 4_096;

/// A revision that no store has ever given out: half of what one can hold is left beyond it. Whoever can write the log's files can
/// write any.
const LEAST_ABSURD: u64 = 1 << 62;

/// The fields of a record that tell a revision. Decoding skips all others.
#[derive(Clone, PartialEq, Message)]
struct Skimmed {
    #[prost(message, optional, tag = "4")]
    decision: Option<SkimmedDecision>,
    #[prost(message, optional, tag = "5")]
    write: Option<SkimmedWrite>,
}

#[derive(Clone, PartialEq, Message)]
struct SkimmedDecision {
    #[prost(uint64, tag = "3")]
    revision: u64,
}

#[derive(Clone, PartialEq, Message)]
struct SkimmedWrite {
    #[prost(uint64, optional, tag = "6")]
    revision: Option<u64>,
}

/// The newest revision that was given out according to the log in a directory; 0 if it tells of none. What is damaged is passed
/// over.
///
/// # Errors
///
/// [`LogError::Io`] if its files cannot be listed.
pub fn newest_revision(directory: &Path) -> Result<u64, LogError> {
    let reader = LogReader::open(directory)?;
    let segments = directory.join(SEGMENTS);
    let files = log_files::list(&segments).map_err(|error| LogError::Io {
        path: segments,
        error,
    })?;
    let (mut newest, mut read) = (0, 0);
    let mut end = u64::MAX;
    for file in files.iter().rev() {
        for record in reader.iter_from(file.first) {
            match record {
                Ok(record) if record.index >= end => break,
                Ok(record) => newest = newest.max(revision(&record)),
                // Nothing more can be read.
                Err(error @ LogError::Io { .. }) => return Err(error),
                Err(_) => {}
            }
            read += 1;
        }
        if newest > 0 && read >= AT_LEAST {
            break;
        }
        end = file.first;
    }
    Ok(newest)
}

/// The revision that a record tells of; 0 if it tells of none that can be.
fn revision(record: &StoredRecord) -> u64 {
    let told = told_revision(record);
    if told >= LEAST_ABSURD {
        tracing::error!(
            record = record.index,
            revision = told,
            "a record of the decision log tells of a revision that cannot be, and is passed over"
        );
        return 0;
    }
    told
}

fn told_revision(record: &StoredRecord) -> u64 {
    if let Some(notice) = record.notice() {
        return match notice.kind() {
            notice::Kind::TurnedBack => notice.last.saturating_add(1),
            _ => 0,
        };
    }
    let Ok(skimmed) = Skimmed::decode(&*record.bytes) else {
        return 0;
    };
    let decided = skimmed.decision.map(|it| it.revision);
    let made = skimmed.write.and_then(|it| it.revision);
    decided.or(made).unwrap_or_default()
}

#[cfg(test)]
#[path = "newest_revision_tests.rs"]
mod tests;
