//! Capsules at rest: compressed, encrypted, bound to their record.
//!
//! A capsule is what a record was decided from, as bytes; nothing here looks into it. A frame of a capsule file is the
//! record's index (u64, little endian), a salt of 16 bytes, a counter (u64, little endian), and the ciphertext of the
//! capsule compressed with zstd. The cipher is AES-256-GCM. Its key comes from the key file and the salt by HKDF-SHA-256
//! (RFC 5869); a salt is drawn for each opened file, and the counter, which is the nonce, never repeats below one salt,
//! also if a write fails. The index is the associated data, so a capsule cannot be moved to another record.
//!
//! The record holds HMAC-SHA-256 of the plaintext under a key of its own, so that it reveals nothing of the capsule, and the
//! right capsule is known by it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::{hkdf, hmac};

use crate::audit::envelope::unhex;
use crate::audit::frame::MAX_CAPSULE;

/// Bytes of a frame's payload before the ciphertext.
const HEAD: usize = 8 + SALT + 8;
const SALT: usize = 16;
const TAG: usize = 16;
/// The largest capsule, in bytes, before compression.
pub const MAX_PLAINTEXT: usize = 16 << 20;
/// Fast: a capsule is compressed before its response leaves.
const LEVEL: i32 = 1;

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
    /// The key file does not hold 64 hexadecimal digits.
    #[error("the capsule key `{}` is not 64 hexadecimal digits", .0.display())]
    NoKey(PathBuf),
    /// No random bytes.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
    /// The capsule is too large.
    #[error("a capsule has {0} bytes, and at most {MAX_PLAINTEXT} are possible")]
    TooLarge(usize),
    /// It was encrypted under another key, for another record, or is damaged.
    #[error("the capsule of record {0} does not open with this key")]
    DoesNotOpen(u64),
    /// It cannot be compressed or decompressed.
    #[error("the capsule of record {index}: {error}")]
    Compression {
        /// The record.
        index: u64,
        /// The error.
        error: io::Error,
    },
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
        }
    }

    /// Reads the key file.
    ///
    /// # Errors
    ///
    /// [`CapsuleError::KeyFile`] or [`CapsuleError::NoKey`].
    pub fn read(path: &Path) -> Result<Self, CapsuleError> {
        let text = fs::read_to_string(path).map_err(|error| key_file(path, error))?;
        let bytes = unhex(text.trim()).ok_or_else(|| CapsuleError::NoKey(path.to_owned()))?;
        Ok(Self::new(&bytes))
    }

    /// Reads the key file, or makes it, readable by its owner alone, if it is not there.
    ///
    /// # Errors
    ///
    /// As [`CapsuleKey::read`], and [`CapsuleError::Random`].
    pub fn read_or_create(path: &Path) -> Result<Self, CapsuleError> {
        if fs::exists(path).map_err(|error| key_file(path, error))? {
            return Self::read(path);
        }
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(CapsuleError::Random)?;
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut options = OpenOptions::new();
        let created = options.write(true).create_new(true).mode(0o600).open(path);
        let written = created.and_then(|mut file: File| {
            file.write_all(text.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()
        });
        written.map_err(|error| key_file(path, error))?;
        Ok(Self::new(&bytes))
    }

    /// What identifies the key, and reveals nothing of it.
    pub fn id(&self) -> String {
        self.id.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The digest of a capsule, as its record holds it.
    pub fn digest(&self, plaintext: &[u8]) -> [u8; 32] {
        let mut digest = [0; 32];
        digest.copy_from_slice(hmac::sign(&self.digest, plaintext).as_ref());
        digest
    }

    fn cipher(&self, salt: &[u8]) -> Option<LessSafeKey> {
        let parts = [b"callgate capsule".as_slice(), salt];
        let derived = self.encryption.expand(&parts, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(derived)))
    }

    /// Decrypts the payload of a frame: the index and the capsule.
    ///
    /// # Errors
    ///
    /// [`CapsuleError::DoesNotOpen`] or [`CapsuleError::Compression`].
    pub fn open(&self, payload: &[u8]) -> Result<(u64, Vec<u8>), CapsuleError> {
        let index = capsule_index(payload).unwrap_or_default();
        let failed = || CapsuleError::DoesNotOpen(index);
        let (head, ciphertext) = payload.split_at_checked(HEAD).ok_or_else(failed)?;
        let cipher = self.cipher(&head[8..8 + SALT]).ok_or_else(failed)?;
        let counter = head.last_chunk::<8>().ok_or_else(failed)?;
        let mut bytes = ciphertext.to_vec();
        let aad = Aad::from(index.to_le_bytes());
        let opened = cipher.open_in_place(nonce(*counter), aad, &mut bytes);
        let compressed = opened.map_err(|_| failed())?;
        let plain = zstd::bulk::decompress(compressed, MAX_PLAINTEXT);
        let plain = plain.map_err(|error| CapsuleError::Compression { index, error })?;
        Ok((index, plain))
    }

    /// Opens that one of a record's frames whose digest the record holds: there is more than one if a write was repeated.
    /// `None` if none of them is it.
    ///
    /// # Errors
    ///
    /// [`CapsuleError`]; a frame that does not open is an error if no other is the one.
    pub fn open_one_of(
        &self,
        frames: &[Vec<u8>],
        digest: &[u8],
    ) -> Result<Option<Vec<u8>>, CapsuleError> {
        let mut failed = None;
        for frame in frames {
            match self.open(frame) {
                Ok((_, plain)) if self.digest(&plain)[..] == *digest => return Ok(Some(plain)),
                Ok(_) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(None), Err)
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

/// The index of the record that a capsule belongs to, from the payload of its frame.
pub fn capsule_index(payload: &[u8]) -> Option<u64> {
    payload
        .first_chunk::<8>()
        .map(|index| u64::from_le_bytes(*index))
}

/// Encrypts the capsules of one file.
pub struct CapsuleSealer {
    cipher: LessSafeKey,
    salt: [u8; SALT],
    counter: u64,
    compressor: zstd::bulk::Compressor<'static>,
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
        let compressor = zstd::bulk::Compressor::new(LEVEL)
            .map_err(|error| CapsuleError::Compression { index: 0, error })?;
        Ok(Self {
            cipher,
            salt,
            counter: 0,
            compressor,
        })
    }

    /// The payload of the frame of a capsule.
    ///
    /// # Errors
    ///
    /// [`CapsuleError`].
    pub fn seal(&mut self, index: u64, plaintext: &[u8]) -> Result<Vec<u8>, CapsuleError> {
        if plaintext.len() > MAX_PLAINTEXT {
            return Err(CapsuleError::TooLarge(plaintext.len()));
        }
        let compressed = self.compressor.compress(plaintext);
        let mut bytes = compressed.map_err(|error| CapsuleError::Compression { index, error })?;
        let size = HEAD + bytes.len() + TAG;
        if size > MAX_CAPSULE {
            return Err(CapsuleError::TooLarge(plaintext.len()));
        }
        self.counter += 1;
        let counter = self.counter.to_le_bytes();
        let aad = Aad::from(index.to_le_bytes());
        let sealed = self
            .cipher
            .seal_in_place_append_tag(nonce(counter), aad, &mut bytes);
        sealed.map_err(|_| CapsuleError::TooLarge(plaintext.len()))?;
        let mut payload = Vec::with_capacity(size);
        payload.extend_from_slice(&index.to_le_bytes());
        payload.extend_from_slice(&self.salt);
        payload.extend_from_slice(&counter);
        payload.extend_from_slice(&bytes);
        Ok(payload)
    }
}

#[cfg(test)]
#[path = "capsule_tests.rs"]
mod tests;
