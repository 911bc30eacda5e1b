//! A bundle as one file: `manifest.json` with the digest of every file, the signature over it, and the files.
//!
//! Start at [`pack`] and [`open`]. The form is a tar archive (POSIX ustar) within one zstd frame: `manifest.json`, then
//! `manifest.sig` if it is signed (Ed25519, RFC 8032: 64 bytes over the manifest's bytes), then the files below `bundle/` in
//! the order of their paths. Times, owners and modes are fixed, so the same files give the same bytes.
//!
//! A bundle holds what decides: policies, schema, template links, entities and registrations. The configuration
//! (`callgate.toml`) is not part of it, since it says who may call, and which keys may sign.
//!
//! Invariant: nothing of an archive is used before its signature is verified, where keys are given; then its form, and the
//! digest of every file. An archive has one reading: no file twice, no link, no path that leads elsewhere, nothing behind
//! its end.

mod manifest;
pub mod signature;
mod unpack;

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use tar::{Builder, EntryType, Header};

use crate::bundle::archive::manifest::ArchiveManifest;
use crate::bundle::archive::signature::{SigningKey, VerifyingKeys};
use crate::bundle::diagnostic::{BundleDiagnostic, BundleError};
use crate::bundle::files::{BundleFiles, FileKind};

/// Bytes of an archive.
pub const MAX_ARCHIVE_BYTES: u64 = 64 << 20;

/// The first file of an archive.
const MANIFEST: &str = "manifest.json";
/// The second file of an archive that is signed.
const SIGNATURE: &str = "manifest.sig";
/// What the paths of all others begin with.
const FILES: &str = "bundle/";
/// Bytes of the path of a file.
const MAX_PATH_BYTES: usize = 200;
/// The level of compression.
const LEVEL: i32 = 12;

/// A bundle from an archive whose digests, and signature if keys were given, are verified.
#[derive(Debug, Clone)]
pub struct OpenedArchive {
    /// The files.
    pub files: BundleFiles,
    /// Increases from one bundle to the next.
    pub version: u64,
    /// SHA-256 of the manifest, which stands for the whole archive.
    pub manifest_digest: [u8; 32],
    /// The fingerprint of the key whose signature was verified, `sha256:<hex>`; `None` if no keys were given.
    pub signed_by: Option<Arc<str>>,
    /// Whether there is a signature, verified or not.
    pub is_signed: bool,
}

/// Packs the files of the directory `root`, without its configuration, and signs the manifest if there is a key.
///
/// # Errors
///
/// If a file is not below `root`, a path is too long for an archive, or the archive would exceed [`MAX_ARCHIVE_BYTES`].
pub fn pack(
    files: &BundleFiles,
    root: &Path,
    version: u64,
    key: Option<&SigningKey>,
) -> Result<Vec<u8>, BundleError> {
    let fault = |file: &Arc<str>, message: String| {
        BundleError::single(BundleDiagnostic::for_file(file, message))
    };
    let mut contents = Vec::new();
    let packed = files
        .sources
        .iter()
        .filter(|source| source.kind != FileKind::Config);
    for source in packed {
        let name = Path::new(&*source.file).strip_prefix(root);
        let name = name.ok().and_then(Path::to_str);
        let name = name.filter(|name| name.len() <= MAX_PATH_BYTES);
        let Some(name) = name else {
            let message = format!("its path in the bundle is longer than {MAX_PATH_BYTES} bytes");
            return Err(fault(&source.file, message));
        };
        contents.push((name, &*source.text));
    }
    contents.sort_unstable();
    let manifest = ArchiveManifest::new(version, &contents).to_bytes();
    let signature = key.map(|key| key.sign(&manifest));
    write(&manifest, signature.as_ref(), &contents).map_err(|error| {
        let message = format!("the bundle cannot be packed: {error}");
        fault(&Arc::from(root.display().to_string()), message)
    })
}

/// Opens an archive. `shown` is its path or address for messages. With keys it must be signed by one of them.
///
/// # Errors
///
/// If the signature is missing or does not verify, or the archive does not have the form or the digests that it should.
pub fn open(
    bytes: &[u8],
    keys: Option<&VerifyingKeys>,
    shown: &str,
) -> Result<OpenedArchive, BundleError> {
    unpack::unpack(bytes, keys, shown).map_err(|message| {
        BundleError::single(BundleDiagnostic::for_file(&Arc::from(shown), message))
    })
}

fn write(
    manifest: &[u8],
    signature: Option<&[u8; 64]>,
    contents: &[(&str, &str)],
) -> std::io::Result<Vec<u8>> {
    let encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    let mut tar = Builder::new(encoder);
    append(&mut tar, MANIFEST, manifest)?;
    if let Some(signature) = signature {
        append(&mut tar, SIGNATURE, signature)?;
    }
    for (name, text) in contents {
        append(&mut tar, &format!("{FILES}{name}"), text.as_bytes())?;
    }
    let mut encoder = tar.into_inner()?;
    encoder.flush()?;
    let bytes = encoder.finish()?;
    if bytes.len() as u64 > MAX_ARCHIVE_BYTES {
        let message = format!("it is larger than {MAX_ARCHIVE_BYTES} bytes");
        return Err(std::io::Error::other(message));
    }
    Ok(bytes)
}

fn append(tar: &mut Builder<impl std::io::Write>, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_path(Path::new(name))?;
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(bytes.len() as u64);
    header.set_cksum();
    tar.append(&header, bytes)
}

#[cfg(test)]
mod tests;
