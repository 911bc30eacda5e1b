//! Reads an archive within limits, in one pass.

use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};
use tar::{Archive, Entry, EntryType};

use crate::bundle::archive::manifest::{ArchiveManifest, digest};
use crate::bundle::archive::signature::VerifyingKeys;
use crate::bundle::archive::{
    FILES, MANIFEST, MAX_ARCHIVE_BYTES, MAX_PATH_BYTES, OpenedArchive, SIGNATURE,
};
use crate::bundle::files::walk::{MAX_DEPTH, MAX_ENTRIES, MAX_TOTAL_BYTES};
use crate::bundle::files::{FileKind, FilesBuilder, MAX_FILE_BYTES};

/// Bytes of a manifest: more than [`MAX_ENTRIES`] files of [`MAX_PATH_BYTES`] need.
const MAX_MANIFEST_BYTES: u64 = 16 << 20;
/// Bytes of a signature.
const SIGNATURE_BYTES: u64 = 64;
/// The largest window of the compression, as its logarithm: 128 MiB.
const WINDOW_LOG: u32 = 27;
/// Bytes of a header and of what fills up the last block of a file.
const OVERHEAD: u64 = 1_024;

/// Bytes of a block of a tar archive.
const BLOCK: usize = 512;

/// One file of the archive.
struct Member {
    path: String,
    bytes: Vec<u8>,
}

/// Verifies an archive and reads its files.
pub(super) fn unpack(
    bytes: &[u8],
    keys: Option<&VerifyingKeys>,
    shown: &str,
) -> Result<OpenedArchive, String> {
    if bytes.len() as u64 > MAX_ARCHIVE_BYTES {
        return Err(format!("it is larger than {MAX_ARCHIVE_BYTES} bytes"));
    }
    let mut decoder = zstd::Decoder::with_buffer(bytes)
        .and_then(|mut decoder| decoder.window_log_max(WINDOW_LOG).map(|()| decoder))
        .map_err(no_archive)?
        .single_frame();
    let most = MAX_TOTAL_BYTES + MAX_MANIFEST_BYTES + OVERHEAD * (MAX_ENTRIES as u64 + 4);
    let mut archive = Archive::new(decoder.by_ref().take(most));
    let opened = members(&mut archive, keys, shown)?;
    // Two empty blocks end an archive, of which the first is read.
    let mut rest = Vec::new();
    let mut end = archive.into_inner().take(BLOCK as u64 + 1);
    end.read_to_end(&mut rest).map_err(no_archive)?;
    if rest != [0; BLOCK] || !decoder.finish().is_empty() {
        return Err("something follows the end of the archive".to_owned());
    }
    Ok(opened)
}

fn members(
    archive: &mut Archive<impl Read>,
    keys: Option<&VerifyingKeys>,
    shown: &str,
) -> Result<OpenedArchive, String> {
    // Raw: what extends a header of another form is an entry of its own, which is refused.
    let mut entries = archive.entries().map_err(no_archive)?.raw(true);
    let mut next = |most| match entries.next() {
        Some(entry) => Member::read(entry.map_err(no_archive)?, most).map(Some),
        None => Ok(None),
    };
    let first = next(MAX_MANIFEST_BYTES)?.filter(|member| member.path == MANIFEST);
    let manifest = first.ok_or_else(|| format!("its first file is not `{MANIFEST}`"))?;
    let mut member = next(MAX_FILE_BYTES)?;
    let signature = member.take_if(|member| member.path == SIGNATURE);
    if signature.is_some() {
        member = next(MAX_FILE_BYTES)?;
    }
    // Before anything of it is parsed.
    let signed_by = match (keys, &signature) {
        (None, _) => None,
        (Some(_), None) => {
            return Err(
                "it is not signed, and one of the keys that are named has to have signed it"
                    .to_owned(),
            );
        }
        (Some(keys), Some(signature)) => {
            let signer = keys.signer(&manifest.bytes, &signature.bytes);
            let unknown =
                "its signature is by none of the keys that are named, or it was changed since";
            Some(signer.ok_or_else(|| unknown.to_owned())?)
        }
    };
    let is_signed = signature.is_some_and(|it| it.bytes.len() as u64 == SIGNATURE_BYTES);
    let manifest_digest = Sha256::digest(&manifest.bytes).into();
    let manifest = ArchiveManifest::parse(&manifest.bytes)?;
    let mut listed = manifest.files.iter();
    let mut files = FilesBuilder::new(Path::new(shown));
    let mut total = 0;
    while let Some(Member { path, bytes }) = member {
        let name = path.strip_prefix(FILES);
        let name = name.ok_or_else(|| format!("`{path}` is not a part of a bundle"))?;
        let kind = check_name(name)?;
        let count = files.len() + 1;
        total += bytes.len() as u64;
        if count > MAX_ENTRIES || total > MAX_TOTAL_BYTES {
            return Err(format!(
                "it holds more than {MAX_ENTRIES} files or {MAX_TOTAL_BYTES} bytes"
            ));
        }
        // Both are in the order of paths, so each file stands there once.
        match listed.next() {
            Some((known, _)) if known != name => {
                return Err(format!("`{known}` is listed, and `{name}` follows instead"));
            }
            Some((_, known)) if *known != digest(&bytes) => {
                return Err(format!("`{name}` is not the file that is listed"));
            }
            Some(_) => {}
            None => return Err(format!("`{name}` is not listed")),
        }
        files.add(name, kind, bytes);
        member = next(MAX_FILE_BYTES)?;
    }
    if let Some((missing, _)) = listed.next() {
        return Err(format!("`{missing}` is listed but not there"));
    }
    Ok(OpenedArchive {
        files: files.finish(),
        version: manifest.version,
        manifest_digest,
        signed_by,
        is_signed,
    })
}

impl Member {
    fn read(mut entry: Entry<'_, impl Read>, most: u64) -> Result<Self, String> {
        let path = entry.path_bytes();
        let path = std::str::from_utf8(&path)
            .map_err(|_| "the path of a file is not UTF-8".to_owned())?
            .to_owned();
        if entry.header().entry_type() != EntryType::Regular {
            return Err(format!("`{path}` is not a regular file"));
        }
        let size = entry.header().size().map_err(no_archive)?;
        if size > most {
            return Err(format!("`{path}` is larger than {most} bytes"));
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(no_archive)?;
        if bytes.len() as u64 != size {
            return Err(format!("`{path}` is not there as a whole"));
        }
        Ok(Self { path, bytes })
    }
}

/// The kind of a file, whose path must be in its shortest form and lead nowhere else.
fn check_name(name: &str) -> Result<FileKind, String> {
    let is_inside = |part: &str| !part.is_empty() && part != "." && part != "..";
    let is_plain = name.split('/').all(is_inside) && !name.contains(['\\', '\0']);
    if !is_plain || name.len() > MAX_PATH_BYTES || name.split('/').count() > MAX_DEPTH + 1 {
        return Err(format!(
            "the path `{name}` leads out of the bundle, is not in its shortest form, or is too long"
        ));
    }
    let kind = FileKind::from_path(Path::new(name)).filter(|kind| *kind != FileKind::Config);
    kind.ok_or_else(|| format!("`{name}` is not a part of a bundle"))
}

fn no_archive(error: io::Error) -> String {
    format!("it is no archive as `callgate bundle build` writes it: {error}")
}
