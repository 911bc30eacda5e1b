//! Reads the decision log of a server, as anybody may who has its files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use callgate::audit::reader::{LogError, LogReader};
use callgate::audit::record::schema::notice::Kind as NoticeKind;
use callgate::audit::record::schema::record::Kind;
use callgate::audit::record::schema::{ControlWrite, Decision, Notice, Outcome};
use uuid::Uuid;

use crate::support::process::Bundle;

/// Everything that is in a log.
#[derive(Debug, Default)]
pub struct Contents {
    /// Decisions by their id, each with its index.
    pub decisions: BTreeMap<String, (u64, Decision)>,
    /// The ids of those that have a capsule.
    pub with_capsule: BTreeSet<String>,
    pub writes: Vec<ControlWrite>,
    pub outcomes: Vec<Outcome>,
    pub notices: Vec<(NoticeKind, Notice)>,
    /// Ranges of records that are not there.
    pub lost: Vec<(u64, u64)>,
    /// The index after the last record.
    pub next: u64,
}

/// The directory of the log, unless the configuration says otherwise.
pub fn directory(bundle: &Bundle) -> PathBuf {
    bundle.folder().join("audit")
}

impl Contents {
    /// Reads the log in a directory. The indices must be dense but for what is reported.
    pub fn read(directory: &Path) -> Self {
        let mut contents = Self::default();
        let log = LogReader::open(directory).unwrap();
        contents.next = log.first_index().unwrap();
        for item in log.iter_from(0) {
            let record = match item {
                Ok(record) => record,
                Err(LogError::Lost { first, last }) => {
                    assert_eq!(first, contents.next, "a silent gap");
                    contents.next = last + 1;
                    contents.lost.push((first, last));
                    continue;
                }
                Err(LogError::Damaged { .. }) => continue,
                Err(error) => panic!("{error}"),
            };
            assert_eq!(record.index, contents.next, "a silent gap");
            contents.next = record.index + 1;
            let message = record.decode().unwrap();
            match message.kind.unwrap() {
                Kind::Decision(decision) => {
                    let id = Uuid::from_slice(&decision.id).unwrap().to_string();
                    if message.capsule_frame_digest.len() == 32 {
                        contents.with_capsule.insert(id.clone());
                    }
                    let again = contents.decisions.insert(id, (record.index, decision));
                    assert!(again.is_none(), "{again:?} is there twice");
                }
                Kind::Write(write) => contents.writes.push(write),
                Kind::Outcome(outcome) => contents.outcomes.push(outcome),
                Kind::Notice(notice) => contents.notices.push((notice.kind(), notice)),
            }
        }
        contents
    }

    /// The notices of a kind.
    pub fn told(&self, kind: NoticeKind) -> Vec<&Notice> {
        let told = self.notices.iter().filter(|(it, _)| *it == kind);
        told.map(|(_, notice)| notice).collect()
    }

    /// The record of a decision.
    pub fn decision(&self, id: &str) -> &Decision {
        let found = self.decisions.get(id);
        &found.unwrap_or_else(|| panic!("{id} is not on record")).1
    }
}
