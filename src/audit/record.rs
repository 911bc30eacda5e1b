//! The record of the decision log on disk: an envelope, encoded as `callgate.audit.v1.Record`.
//!
//! Invariant: an envelope is kept and handed on as the bytes that were stored. Digests are made of those.

use prost::Message;

use crate::audit::frame::MAX_RECORD;
use crate::audit::left_out::fill_in;
use crate::audit::record::schema::record::Kind;
use crate::audit::record::schema::{Decision, Notice};
use crate::domain::request::canonical::hex;
use crate::domain::schema::AccessLevel;

pub use crate::proto::audit as schema;
pub use crate::proto::audit::Record;

/// The tag before the index: field 1, 64 bits.
pub const INDEX_TAG: u8 = 0x09;

/// A record as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its position in the log.
    pub index: u64,
    /// The envelope: the leaf of the Merkle tree is made of these bytes.
    pub bytes: Vec<u8>,
}

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// They do not decode.
    #[error("a record does not decode: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// They do not begin with an index.
    #[error("a record does not begin with its index")]
    NoIndex,
    /// There are too many of them.
    #[error("a record has {0} bytes, and at most {MAX_RECORD} are possible")]
    TooLong(usize),
}

/// The number of an access level in a record.
pub(super) fn access_number(access: AccessLevel) -> u64 {
    match access {
        AccessLevel::Read => 1,
        AccessLevel::Write => 2,
        AccessLevel::Admin => 3,
    }
}

impl StoredRecord {
    /// Takes the index from an envelope.
    ///
    /// # Errors
    ///
    /// [`RecordError::NoIndex`] or [`RecordError::TooLong`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, RecordError> {
        if bytes.len() > MAX_RECORD {
            return Err(RecordError::TooLong(bytes.len()));
        }
        let index = index_of(&bytes).ok_or(RecordError::NoIndex)?;
        Ok(Self { index, bytes })
    }

    /// Encodes a record. The writer of the log does not use this: it encodes without building a message first.
    ///
    /// # Errors
    ///
    /// As [`StoredRecord::from_bytes`].
    pub fn from_message(record: &Record) -> Result<Self, RecordError> {
        Self::from_bytes(record.encode_to_vec())
    }

    /// The record as a message, with what it leaves out because it is said before.
    ///
    /// # Errors
    ///
    /// [`RecordError::Malformed`].
    pub fn decode(&self) -> Result<Record, RecordError> {
        let mut record = Record::decode(&*self.bytes)?;
        if let Some(Kind::Decision(decision)) = &mut record.kind {
            name_digests(decision);
            fill_in(decision);
        }
        Ok(record)
    }

    /// The notice in it, if it is one. Costs next to nothing if it is none.
    pub fn notice(&self) -> Option<Notice> {
        if !may_be_notice(&self.bytes) {
            return None;
        }
        match Record::decode(&*self.bytes).ok()?.kind {
            Some(Kind::Notice(notice)) => Some(notice),
            _ => None,
        }
    }
}

/// Whether the field after index and time is that of a notice; `is_cut` may stand between.
fn may_be_notice(bytes: &[u8]) -> bool {
    const NOTICE_TAG: u8 = 0x3a;
    const AFTER_TIME: usize = 18;
    [0, 2]
        .iter()
        .any(|at| bytes.get(AFTER_TIME + at) == Some(&NOTICE_TAG))
}

/// Puts digests in hexadecimal where readers find them, as they were written before they were bytes.
fn name_digests(decision: &mut Decision) {
    let digests = [
        (&mut decision.purpose_hmac, &mut decision.purpose_digest),
        (&mut decision.address_hmac, &mut decision.address_digest),
        (&mut decision.uri_hmac, &mut decision.uri_digest),
    ];
    let targets = decision.targets.iter_mut();
    let targets = targets.map(|it| (&mut it.name_hmac, &mut it.name_digest));
    for (text, bytes) in digests.into_iter().chain(targets) {
        if !bytes.is_empty() {
            *text = hex(&std::mem::take(bytes));
        }
    }
}

/// The time of an envelope, in nanoseconds since 1970; `None` if that does not follow its index.
pub fn time_of(bytes: &[u8]) -> Option<u64> {
    const TIME_TAG: u8 = 0x11;
    let (tag, rest) = bytes.get(9..)?.split_first()?;
    let time = rest.first_chunk::<8>()?;
    (*tag == TIME_TAG).then(|| u64::from_le_bytes(*time))
}

/// The index of an envelope.
pub fn index_of(bytes: &[u8]) -> Option<u64> {
    let (tag, rest) = bytes.split_first()?;
    let index = rest.first_chunk::<8>()?;
    (*tag == INDEX_TAG).then(|| u64::from_le_bytes(*index))
}
