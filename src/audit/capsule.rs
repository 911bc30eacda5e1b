//! Capsules at rest: compressed and encrypted in groups, bound to their records.
//!
//! A capsule is what a record was decided from, as bytes; nothing here looks into it. Capsules of records that were written
//! at once are much alike, so they are compressed together. A frame of a capsule file is the index of the first record of
//! that batch and the number of its records (u64 each, little endian), a salt of 16 bytes, a counter (u64, little endian),
//! and the ciphertext of a group of its capsules ([`BatchCapsules`]) compressed with zstd. The cipher is AES-256-GCM. Its key
//! comes from the key file and the salt by HKDF-SHA-256 (RFC 5869); a salt is drawn for each opened file, and the counter,
//! which is the nonce, never repeats below one salt, also if a write fails. Index and number are the associated data, so a
//! group cannot be moved to other records.
//!
//! In files of before there was a capsule in each frame: its index, salt, counter and ciphertext, and the index was the
//! associated data. They are read ([`SealedCapsules`]) and no longer written.
//!
//! The record holds SHA-256 of the frame that its capsule is in ([`frame_digest`]), which reveals nothing of the capsule, and by
//! which the right one is known. Records of before hold HMAC-SHA-256 of the capsule's plaintext under a key of its own.
//!
//! [`BatchCapsules`]: crate::audit::batch::BatchCapsules

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::{digest, hkdf, hmac};
use zstd::zstd_safe::CParameter;

use crate::audit::batch::{self, DIGEST};
use crate::audit::envelope::unhex;
use crate::audit::frame::{Contents, MAX_CAPSULES};
use crate::audit::record::Record;
use crate::audit::record::schema::record::Kind;
use crate::audit::tree::key_file::{KeyError, check_mode};
use crate::audit::tree::tile_dir::read_text;
use crate::domain::request::canonical::hex;

/// Bytes of a frame's payload before the salt.
const RANGE: usize = 16;
/// Bytes of a frame's payload before the ciphertext.
const HEAD: usize = RANGE + SALT + COUNTER;
const SALT: usize = 16;
const COUNTER: usize = 8;
const TAG: usize = 16;
/// What a group may decompress to at most, in bytes.
const MAX_PLAINTEXT: usize = 16 << 20;
/// Fast, as a group is compressed before its responses leave. Negative levels find the same repetitions, which is what there is
/// in capsules that are much alike, and leave out the entropy coding of what does not repeat.
const LEVEL: i32 = -1;
/// The table of what was seen has 2^10 entries, which fit into the cache of a processor that has been at other things between
/// one group and the next. A larger one finds little more in a group of usual size.
const HASH_LOG: u32 = 10;

/// Why there is no key, or no capsule.
#[derive(Debug, thiserror::Error)]
pub enum CapsuleError {
    /// The key file cannot be read or made.
    #[error("the capsule key `{path}`: {error}", path = path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// Others can read the key file.
    #[error(transparent)]
    Mode(#[from] KeyError),
    /// The key file does not hold 64 hexadecimal digits.
    #[error("the capsule key `{}` is not 64 hexadecimal digits", .0.display())]
    NoKey(PathBuf),
    /// No random bytes.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
    /// The capsules are too large.
    #[error("capsules of {0} bytes do not fit into a frame")]
    TooLarge(usize),
    /// It was encrypted under another key, for another record, or is damaged.
    #[error("the capsule of record {0} does not open with this key")]
    DoesNotOpen(u64),
    /// They cannot be compressed.
    #[error("capsules cannot be compressed: {0}")]
    Compression(io::Error),
    /// A file of capsules cannot be read.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
}

/// The key of all capsules.
#[derive(Clone)]
pub struct CapsuleKey {
    encryption: hkdf::Prk,
    digest: hmac::Key,
    id: [u8; 8],
    bytes: [u8; 32],
}

impl std::fmt::Debug for CapsuleKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("CapsuleKey").field(&self.id).finish()
    }
}

impl CapsuleKey {
    /// The key from these bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        let derived =
            |purpose: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, bytes), purpose);
        let mut id = [0; 8];
        id.copy_from_slice(&derived(b"callgate capsule key id").as_ref()[..8]);
        Self {
            encryption: hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, bytes),
            digest: hmac::Key::new(
                hmac::HMAC_SHA256,
                derived(b"callgate capsule digest").as_ref(),
            ),
            id,
            bytes: *bytes,
        }
    }

    /// Reads the key file.
    ///
    /// # Errors
    ///
    /// [`CapsuleError::KeyFile`] or [`CapsuleError::NoKey`].
    pub fn read(path: &Path) -> Result<Self, CapsuleError> {
        let text = read_text(path)
            .and_then(|text| text.ok_or_else(|| io::ErrorKind::NotFound.into()))
            .map_err(|error| key_file(path, error))?;
        let bytes = unhex(text.trim()).ok_or_else(|| CapsuleError::NoKey(path.to_owned()))?;
        Ok(Self::new(&bytes))
    }

    /// Reads the key file, which others may not read.
    ///
    /// # Errors
    ///
    /// As [`CapsuleKey::read`], and [`CapsuleError::Mode`].
    pub fn read_own(path: &Path) -> Result<Self, CapsuleError> {
        check_mode(path)?;
        Self::read(path)
    }

    /// Reads the key file, or makes it, readable by its owner alone, if it is not there.
    ///
    /// # Errors
    ///
    /// As [`CapsuleKey::read_own`], and [`CapsuleError::Random`].
    pub fn read_or_create(path: &Path) -> Result<Self, CapsuleError> {
        if fs::exists(path).map_err(|error| key_file(path, error))? {
            return Self::read_own(path);
        }
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(CapsuleError::Random)?;
        let key = Self::new(&bytes);
        let mut options = OpenOptions::new();
        let created = options.write(true).create_new(true).mode(0o600).open(path);
        let written = created.and_then(|mut file: File| {
            file.write_all(key.to_text().as_bytes())?;
            file.sync_all()
        });
        written.map_err(|error| key_file(path, error))?;
        Ok(key)
    }

    /// What the key file holds.
    pub fn to_text(&self) -> String {
        format!("{}\n", hex(&self.bytes))
    }

    /// What identifies the key, and reveals nothing of it.
    pub fn id(&self) -> String {
        self.id.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The digest of a capsule, as records of before hold it.
    fn digest(&self, plaintext: &[u8]) -> [u8; 32] {
        let mut digest = [0; 32];
        digest.copy_from_slice(hmac::sign(&self.digest, plaintext).as_ref());
        digest
    }

    fn cipher(&self, salt: &[u8]) -> Option<LessSafeKey> {
        let parts = [b"callgate capsule".as_slice(), salt];
        let derived = self.encryption.expand(&parts, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(derived)))
    }

    /// Opens that one of a record's capsules that the record means: there is more than one if a write was repeated.
    /// `None` if none of them is it.
    ///
    /// # Errors
    ///
    /// [`CapsuleError`]; a group that does not open, or is not the one that was written, is an error if no other holds the one.
    pub fn open_one_of(
        &self,
        groups: &[Arc<SealedCapsules>],
        index: u64,
        link: &CapsuleLink,
    ) -> Result<Option<Vec<u8>>, CapsuleError> {
        let mut failed = None;
        for group in groups {
            if matches!(link, CapsuleLink::Frame(digest) if *digest != group.digest()[..]) {
                failed = Some(CapsuleError::DoesNotOpen(index));
                continue;
            }
            let is_meant = |plain: &[u8]| match link {
                CapsuleLink::Frame(_) => true,
                CapsuleLink::Capsule(digest) => *digest == self.digest(plain)[..],
            };
            match group.capsule(self, index) {
                Ok(Some(plain)) if is_meant(plain) => return Ok(Some(plain.to_vec())),
                Ok(_) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(None), Err)
    }
}

/// By what a record knows its capsule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CapsuleLink {
    /// By the digest of the frame that it is in.
    Frame(Bytes),
    /// By the digest of its plaintext, as records of before.
    Capsule(Bytes),
}

impl CapsuleLink {
    /// That of a record; `None` if it has no capsule.
    pub fn from_record(record: &Record) -> Option<Self> {
        if !record.capsule_frame_digest.is_empty() {
            return Some(Self::Frame(record.capsule_frame_digest.clone()));
        }
        match &record.kind {
            Some(Kind::Decision(decision)) if !decision.capsule_digest.is_empty() => {
                Some(Self::Capsule(decision.capsule_digest.clone()))
            }
            _ => None,
        }
    }
}

/// The digest of a frame of capsules, from its payload.
pub fn frame_digest(payload: &[u8]) -> [u8; DIGEST] {
    let mut digest = [0; DIGEST];
    digest.copy_from_slice(digest::digest(&digest::SHA256, payload).as_ref());
    digest
}

/// The capsules of one frame, decrypted when the first of them is wanted.
#[derive(Debug)]
pub struct SealedCapsules {
    contents: Contents,
    payload: Vec<u8>,
    digest: OnceLock<[u8; DIGEST]>,
    opened: OnceLock<Option<Vec<u8>>>,
}

impl SealedCapsules {
    /// The payload of a frame in a file of these contents; `None` if it is too short to be one.
    pub fn new(contents: Contents, payload: Vec<u8>) -> Option<Self> {
        let sealed = Self {
            contents,
            payload,
            digest: OnceLock::new(),
            opened: OnceLock::new(),
        };
        (sealed.payload.len() >= sealed.range_bytes() + SALT + COUNTER + TAG).then_some(sealed)
    }

    /// The indices of the records that may have a capsule here.
    pub fn indices(&self) -> Range<u64> {
        let first = first_index(&self.payload).unwrap_or_default();
        let count = match self.contents {
            Contents::Records => 1,
            Contents::CapsuleGroups => number(&self.payload[8..]).unwrap_or_default(),
        };
        first..first.saturating_add(count)
    }

    /// The digest of the frame.
    pub fn digest(&self) -> &[u8; DIGEST] {
        self.digest.get_or_init(|| frame_digest(&self.payload))
    }

    /// The capsule of a record; `None` if it has none here.
    ///
    /// # Errors
    ///
    /// [`CapsuleError::DoesNotOpen`]: under another key, moved or damaged.
    pub fn capsule(&self, key: &CapsuleKey, index: u64) -> Result<Option<&[u8]>, CapsuleError> {
        let failed = || CapsuleError::DoesNotOpen(index);
        let opened = self.opened.get_or_init(|| self.open(key));
        let plain = opened.as_deref().ok_or_else(failed)?;
        let first = self.indices().start;
        if self.contents == Contents::Records {
            return Ok((index == first).then_some(plain));
        }
        for capsule in batch::capsules_of(plain) {
            let (position, capsule) = capsule.ok_or_else(failed)?;
            if first.checked_add(position) == Some(index) {
                return Ok(Some(capsule));
            }
        }
        Ok(None)
    }

    fn open(&self, key: &CapsuleKey) -> Option<Vec<u8>> {
        let (range, rest) = self.payload.split_at_checked(self.range_bytes())?;
        let (salt, rest) = rest.split_first_chunk::<SALT>()?;
        let (counter, ciphertext) = rest.split_first_chunk::<COUNTER>()?;
        let mut bytes = ciphertext.to_vec();
        let opened = key.cipher(salt)?;
        let opened = opened.open_in_place(nonce(*counter), Aad::from(range), &mut bytes);
        let compressed = opened.ok()?;
        // The frame says how much it holds, so no more is reserved.
        let size = zstd::zstd_safe::get_frame_content_size(compressed).ok();
        let size = size.flatten().and_then(|size| usize::try_from(size).ok());
        let size = size.unwrap_or(MAX_PLAINTEXT).min(MAX_PLAINTEXT);
        zstd::bulk::decompress(compressed, size).ok()
    }

    fn range_bytes(&self) -> usize {
        match self.contents {
            Contents::Records => 8,
            Contents::CapsuleGroups => RANGE,
        }
    }
}

fn key_file(path: &Path, error: io::Error) -> CapsuleError {
    CapsuleError::KeyFile {
        path: path.to_owned(),
        error,
    }
}

fn nonce(counter: [u8; 8]) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter);
    Nonce::assume_unique_for_key(bytes)
}

/// The index of the first record that a frame of capsules may belong to, from its payload.
pub fn first_index(payload: &[u8]) -> Option<u64> {
    number(payload)
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk::<8>().map(|it| u64::from_le_bytes(*it))
}

/// Encrypts the capsules of one file.
pub struct CapsuleSealer {
    cipher: LessSafeKey,
    salt: [u8; SALT],
    counter: u64,
    compressor: zstd::bulk::Compressor<'static>,
    /// Reused for the next group.
    payload: Vec<u8>,
}

impl CapsuleSealer {
    /// For a file that is about to be written.
    ///
    /// # Errors
    ///
    /// [`CapsuleError::Random`], and if the compressor cannot be made.
    pub fn new(key: &CapsuleKey) -> Result<Self, CapsuleError> {
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt).map_err(CapsuleError::Random)?;
        let cipher = key.cipher(&salt).ok_or(CapsuleError::DoesNotOpen(0))?;
        let mut compressor =
            zstd::bulk::Compressor::new(LEVEL).map_err(CapsuleError::Compression)?;
        let small = CParameter::HashLog(HASH_LOG);
        let set = compressor.set_parameter(small);
        set.map_err(CapsuleError::Compression)?;
        Ok(Self {
            cipher,
            salt,
            counter: 0,
            compressor,
            payload: Vec::new(),
        })
    }

    /// The payload of the frame of a group: capsules of a batch of `records` records, of which the first has index `first`.
    ///
    /// # Errors
    ///
    /// [`CapsuleError`].
    pub fn seal(&mut self, first: u64, records: u64, group: &[u8]) -> Result<&[u8], CapsuleError> {
        let too_large = || CapsuleError::TooLarge(group.len());
        let most = HEAD + zstd::zstd_safe::compress_bound(group.len()) + TAG;
        if most > MAX_CAPSULES {
            return Err(too_large());
        }
        self.payload.resize(most, 0);
        let compressed = self
            .compressor
            .compress_to_buffer(group, &mut self.payload[HEAD..]);
        let length = compressed.map_err(CapsuleError::Compression)?;
        self.payload.truncate(HEAD + length);
        self.counter += 1;
        let counter = self.counter.to_le_bytes();
        let (head, plain) = self.payload.split_at_mut(HEAD);
        let (range, rest) = head.split_at_mut(RANGE);
        range[..8].copy_from_slice(&first.to_le_bytes());
        range[8..].copy_from_slice(&records.to_le_bytes());
        rest[..SALT].copy_from_slice(&self.salt);
        rest[SALT..].copy_from_slice(&counter);
        let aad = Aad::from(&*range);
        let sealed = self
            .cipher
            .seal_in_place_separate_tag(nonce(counter), aad, plain);
        let tag = sealed.map_err(|_| too_large())?;
        self.payload.extend_from_slice(tag.as_ref());
        Ok(&self.payload)
    }
}

#[cfg(test)]
#[path = "capsule_tests.rs"]
mod tests;
