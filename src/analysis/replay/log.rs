//! The decisions of a decision log, with their capsules.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use smol_str::SmolStr;
use uuid::Uuid;

use crate::analysis::replay::{CutLists, RecordedCapsule, RecordedDecision, SealedCapsule};
use crate::audit::capsule::{CapsuleKey, CapsuleLink};
use crate::audit::capsule_reader::CapsuleReader;
use crate::audit::envelope::nanos;
use crate::audit::find::{self, FoundRecord, SearchScope};
use crate::audit::log_files::{self, SEGMENTS};
use crate::audit::reader::{LogError, LogReader, Records};
use crate::audit::record::StoredRecord;
use crate::audit::record::schema::record::Kind;
use crate::audit::record::schema::{Decision, Record, Verdict};
use crate::audit::verify;
use crate::audit::wire::may_have_had_more;

/// Faults in a row after which reading ends: a folder that is gone gives one each time.
const MAX_FAULTS_IN_A_ROW: u32 = 100;

/// A decision log, and which of its decisions are wanted.
#[derive(Debug, Clone)]
pub struct LogSource {
    reader: LogReader,
    directory: PathBuf,
    key: Option<Arc<CapsuleKey>>,
    since: Option<SystemTime>,
    /// Of all hashes of an index, those up to this one are wanted.
    sample: u64,
    faults: Arc<AtomicU64>,
}

impl LogSource {
    /// The log in a directory. `key_file` opens the capsules; without the file there are none.
    ///
    /// # Errors
    ///
    /// Why the log or the key cannot be read.
    pub fn open(directory: &Path, key_file: &Path) -> Result<Self, String> {
        let key = match key_file.exists() {
            true => Some(CapsuleKey::read(key_file).map_err(|error| error.to_string())?),
            false => None,
        };
        Self::with_key(directory, key)
    }

    /// The log in a directory, with the key of its capsules.
    ///
    /// # Errors
    ///
    /// Why the log cannot be read.
    pub fn with_key(directory: &Path, key: Option<CapsuleKey>) -> Result<Self, String> {
        let reader = LogReader::open(directory).map_err(|error| error.to_string())?;
        Ok(Self {
            reader,
            directory: directory.to_owned(),
            key: key.map(Arc::new),
            since: None,
            sample: u64::MAX,
            faults: Arc::default(),
        })
    }

    /// Whether there is a key for the capsules.
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Only decisions from this time on.
    pub fn since(mut self, since: Option<SystemTime>) -> Self {
        self.since = since;
        self
    }

    /// Only this share of the decisions, from 0 to 1: the same ones each time.
    pub fn sample(mut self, share: f64) -> Self {
        // The cast saturates.
        self.sample = (share.clamp(0.0, 1.0) * u64::MAX as f64) as u64;
        self
    }

    /// Places in the log that could not be read so far.
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// About how many records there are, for a progress bar.
    pub fn estimate(&self) -> u64 {
        let files = log_files::list(&self.directory.join(SEGMENTS)).unwrap_or_default();
        let first = files.first().map_or(0, |file| file.first);
        let Some(last) = files.last() else { return 0 };
        let records = self.reader.iter_from(last.first).map_while(Result::ok);
        let end = records.last().map_or(last.first, |record| record.index + 1);
        end.saturating_sub(first)
    }

    /// The decisions.
    ///
    /// # Errors
    ///
    /// Why the capsules cannot be read.
    pub fn decisions(&self) -> Result<LogDecisions, String> {
        let text = |error: LogError| error.to_string();
        let start = match self.since {
            Some(since) => find::start_at(&self.directory, nanos(since)).map_err(text)?,
            None => 0,
        };
        let mut decisions = self.decisions_from(start)?;
        if start <= self.reader.first_index().map_err(text)?
            && find::missing_before(&self.directory)
                .map_err(text)?
                .is_some()
        {
            self.add_fault();
        }
        // Before the log is read, which may grow meanwhile.
        decisions.signed = verify::signed(&self.directory);
        Ok(decisions)
    }

    fn add_fault(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    /// One decision by its id; `None` if the log does not have it there.
    ///
    /// # Errors
    ///
    /// Why the log or the capsules cannot be read.
    pub fn decision(
        &self,
        id: Uuid,
        scope: SearchScope,
    ) -> Result<Option<RecordedDecision>, String> {
        let found = find::decision(&self.directory, id, scope);
        let found = found.map_err(|error| error.to_string())?;
        let Some(FoundRecord {
            stored, message, ..
        }) = found
        else {
            return Ok(None);
        };
        let link = CapsuleLink::from_record(&message);
        let Some(Kind::Decision(decision)) = &message.kind else {
            return Ok(None);
        };
        let capsule =
            self.decisions_from(stored.index)?
                .capsule(stored.index, &decision.operation, link);
        Ok(Some(recorded(&stored, &message, decision, capsule)))
    }

    /// Why a decision was not found in the whole log.
    pub fn why_not_found(&self, id: Uuid) -> String {
        find::why_not_found(&self.directory, &self.reader, id)
    }

    fn decisions_from(&self, first: u64) -> Result<LogDecisions, String> {
        let capsules = CapsuleReader::open(&self.directory, first);
        let capsules = capsules.map_err(|error| error.to_string())?;
        Ok(LogDecisions {
            records: self.reader.iter_from(first),
            capsules,
            source: self.clone(),
            faults_in_a_row: 0,
            next: first,
            signed: None,
        })
    }

    fn wants(&self, index: u64, at: SystemTime) -> bool {
        self.since.is_none_or(|since| at >= since) && hash(index) <= self.sample
    }
}

/// The decisions of a log, in order.
pub struct LogDecisions {
    records: Records,
    capsules: CapsuleReader,
    source: LogSource,
    faults_in_a_row: u32,
    /// The index after the last record that was read.
    next: u64,
    /// The size of the last checkpoint, until the end of the log is held against it.
    signed: Option<u64>,
}

impl Iterator for LogDecisions {
    type Item = RecordedDecision;

    fn next(&mut self) -> Option<RecordedDecision> {
        loop {
            let Some(read) = self.records.next() else {
                if find::cut_off(self.next, self.signed.take()).is_some() {
                    self.source.add_fault();
                }
                return None;
            };
            let decoded = read.map_err(drop);
            let decoded = decoded.and_then(|record| {
                let message = record.decode().map_err(drop)?;
                Ok((record, message))
            });
            let Ok((stored, message)) = decoded else {
                self.source.add_fault();
                self.faults_in_a_row += 1;
                if self.faults_in_a_row == MAX_FAULTS_IN_A_ROW {
                    return None;
                }
                continue;
            };
            self.faults_in_a_row = 0;
            self.next = stored.index.saturating_add(1);
            if let Some(Kind::Decision(decision)) = &message.kind
                && self.source.wants(stored.index, made_at(&message))
            {
                let link = CapsuleLink::from_record(&message);
                let capsule = self.capsule(stored.index, &decision.operation, link);
                return Some(recorded(&stored, &message, decision, capsule));
            }
        }
    }
}

impl LogDecisions {
    fn capsule(
        &mut self,
        index: u64,
        operation: &str,
        link: Option<CapsuleLink>,
    ) -> RecordedCapsule {
        let Some(link) = link else {
            let is_list = operation.ends_with("/filter") || operation == "cedar/search";
            return match is_list {
                true => RecordedCapsule::List,
                false => RecordedCapsule::Gone,
            };
        };
        let groups = self.capsules.groups_of(index);
        match (groups.is_empty(), &self.source.key) {
            (true, _) if self.capsules.was_removed(index) => RecordedCapsule::Gone,
            // Nothing but damage takes away what is not the oldest.
            (true, _) => RecordedCapsule::Lost,
            (false, None) => RecordedCapsule::NoKey,
            (false, Some(key)) => RecordedCapsule::Sealed(SealedCapsule {
                key: Arc::clone(key),
                groups,
                index,
                link,
            }),
        }
    }
}

fn made_at(message: &Record) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(message.at)
}

fn recorded(
    stored: &StoredRecord,
    message: &Record,
    decision: &Decision,
    capsule: RecordedCapsule,
) -> RecordedDecision {
    let id = Uuid::from_slice(&decision.id).unwrap_or_default();
    let policies = decision.determining_policies.iter();
    let may_lack = |entries| message.is_cut && may_have_had_more(entries, stored.bytes.len());
    RecordedDecision {
        index: stored.index,
        decision_id: id.to_string(),
        at: made_at(message),
        is_allow: decision.verdict == Verdict::Allow as i32,
        is_enforced: !decision.is_observed,
        shown: decision.shown,
        codes: decision
            .reasons
            .iter()
            .map(|it| SmolStr::new(&it.code))
            .collect(),
        policies: policies.map(|it| SmolStr::new(&it.id)).collect(),
        obligations: decision.obligations.iter().map(SmolStr::new).collect(),
        cut: CutLists {
            policies: may_lack(decision.determining_policies.len()),
            obligations: may_lack(decision.obligations.len()),
        },
        capsule,
    }
}

/// Spreads indices evenly over all numbers (the finalizer of SplitMix64).
fn hash(index: u64) -> u64 {
    let z = index.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
