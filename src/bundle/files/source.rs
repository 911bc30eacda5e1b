//! One file of a bundle: its kind and its text, read within limits.
//!
//! Start at [`SourceFile`] and [`BundleFiles`].

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bundle::diagnostic::{BundleDiagnostic, SourceText};
use crate::bundle::files::manifest::FileDigests;
use crate::config::Config;
use crate::domain::request::canonical;

/// The directory at the top with properties of the policies, for `callgate prove`.
pub const PROOFS_DIR: &str = "proofs";
/// Bytes of a file from which on its two digests are computed in parallel.
const SHARED_OUT_BYTES: usize = 256 << 10;
/// Bytes of one file.
pub const MAX_FILE_BYTES: u64 = 64 << 20;

/// The kind of a file, by its name and directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// `*.cedarschema`
    Schema,
    /// `*.cedar`, but for `proofs/`
    Policies,
    /// `links/*.json` and `*.links.json`
    Links,
    /// `entities/*.json`
    Entities,
    /// `tools/<server>.json`
    Registration,
    /// `callgate.toml`
    Config,
}

/// One file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SourceFile {
    /// What it holds.
    pub kind: FileKind,
    /// Its path as given on the command line.
    pub file: Arc<str>,
    /// Its name without directory and extension.
    pub stem: Arc<str>,
    /// Its content.
    pub text: Arc<str>,
    /// The SHA-256 digest of its content, if whoever read it computed it. Another process computes none.
    #[serde(skip)]
    pub digest: Option<[u8; 32]>,
}

/// Everything read from a directory.
#[derive(Debug, Clone, Default)]
pub struct BundleFiles {
    /// The files, ordered by path.
    pub sources: Vec<SourceFile>,
    /// Faults of files that could not be read.
    pub faults: Vec<BundleDiagnostic>,
    /// Warnings about files that are not read but look as if they should be.
    pub warnings: Vec<BundleDiagnostic>,
    /// Directories below that have their own configuration, so that nothing in them is read, by their paths.
    pub apart: Vec<String>,
    /// `sha256:<hex>` over names and contents of all files.
    pub digest: Arc<str>,
    /// Digest of each file that is read, by its path in the directory.
    pub digests: FileDigests,
}

impl FileKind {
    /// The kind of a file, by its path in the directory; `None` if it is not part of a bundle.
    pub(crate) fn from_path(relative: &Path) -> Option<Self> {
        let name = relative.file_name()?.to_str()?;
        let room = relative
            .parent()
            .and_then(|parent| parent.iter().next())
            .and_then(|room| room.to_str());
        match (Path::new(name).extension()?.to_str()?, room) {
            ("cedarschema", _) => Some(Self::Schema),
            // Properties to be proved of the policies: they decide nothing.
            ("cedar", Some(PROOFS_DIR)) => None,
            ("cedar", _) => Some(Self::Policies),
            ("json", _) if name.ends_with(".links.json") => Some(Self::Links),
            ("json", Some("links")) => Some(Self::Links),
            ("json", Some("entities")) => Some(Self::Entities),
            ("json", Some("tools")) => Some(Self::Registration),
            ("toml", None) if name == Config::FILE_NAME => Some(Self::Config),
            _ => None,
        }
    }
}

/// Collects files into a bundle, in the order of their paths.
pub(crate) struct FilesBuilder {
    shown_root: PathBuf,
    digest: Sha256,
    found: BundleFiles,
}

impl FilesBuilder {
    /// A builder for the files of the directory or the archive with this path.
    pub(crate) fn new(shown_root: &Path) -> Self {
        Self {
            shown_root: shown_root.to_owned(),
            digest: Sha256::new(),
            found: BundleFiles::default(),
        }
    }

    /// The number of files.
    pub(crate) fn len(&self) -> usize {
        self.found.digests.len()
    }

    /// Adds a file by its path in the bundle. One that is no text is a fault.
    pub(crate) fn add(&mut self, name: &str, kind: FileKind, bytes: Vec<u8>) {
        let path = Path::new(name);
        let digest = &mut self.digest;
        let own = beside(
            bytes.len(),
            || Sha256::digest(&bytes).into(),
            || {
                // Length prefixes make the digest's input unambiguous.
                for part in [name.as_bytes(), &bytes] {
                    digest.update((part.len() as u64).to_be_bytes());
                    digest.update(part);
                }
            },
        );
        self.found.digests.insert(Arc::from(name), own);
        let file = Arc::from(self.shown_root.join(path).display().to_string());
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        match as_text(&file, bytes) {
            Ok(text) => self.found.sources.push(SourceFile {
                kind,
                file,
                stem: Arc::from(stem),
                text: Arc::from(text),
                digest: Some(own),
            }),
            Err(fault) => self.found.faults.push(fault),
        }
    }

    /// Lets the path of a file that is not read count towards the digest.
    pub(crate) fn not_read(&mut self, name: &str) {
        self.digest.update(b"not read");
        self.digest.update((name.len() as u64).to_be_bytes());
        self.digest.update(name);
    }

    /// The files and their digest.
    pub(crate) fn finish(self) -> BundleFiles {
        let digest = canonical::hex(&self.digest.finalize());
        BundleFiles {
            digest: Arc::from(format!("sha256:{digest}")),
            ..self.found
        }
    }
}

/// Does one thing while another is done on a thread of its own, if that is worth it for so many bytes.
fn beside<T: Send>(bytes: usize, other: impl Fn() -> T + Sync, own: impl FnOnce()) -> T {
    if bytes < SHARED_OUT_BYTES {
        own();
        return other();
    }
    thread::scope(|scope| {
        let started = thread::Builder::new().spawn_scoped(scope, &other);
        own();
        // Without a free thread the current one does both.
        let done = started.map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        done.unwrap_or_else(|_| other())
    })
}

impl SourceFile {
    /// The name and text of this file, for locating diagnostics.
    pub fn origin(&self) -> SourceText<'_> {
        SourceText {
            file: &self.file,
            text: &self.text,
        }
    }
}

impl BundleFiles {
    /// Files that another process has read; without digests.
    pub fn from_sources(sources: Vec<SourceFile>) -> Self {
        Self {
            sources,
            ..Self::default()
        }
    }

    /// The files of one kind.
    pub fn of_kind(&self, kind: FileKind) -> impl Iterator<Item = &SourceFile> {
        self.sources
            .iter()
            .filter(move |source| source.kind == kind)
    }

    /// Replaces the configuration by a file that need not be in the directory. One in the directory that is another file is
    /// a warning: what it says does not count.
    pub fn with_config(mut self, path: &Path) -> Self {
        let is_same = |file: &str| {
            let real = |path: &Path| path.canonicalize().ok();
            real(Path::new(file)).is_some_and(|own| Some(own) == real(path))
        };
        self.sources.retain(|source| {
            let is_kept = source.kind != FileKind::Config;
            if !is_kept && !is_same(&source.file) {
                let said = format!(
                    "this file is not read: the configuration is `{}`",
                    path.display()
                );
                let help = "move there what it says, and take it away; or leave `--config` out";
                let warning = BundleDiagnostic::for_file(&source.file, said);
                self.warnings.push(warning.with_help(help));
            }
            is_kept
        });
        self.digests.remove(Config::FILE_NAME);
        let file: Arc<str> = Arc::from(path.display().to_string());
        let text = read_bounded(path)
            .map_err(|message| BundleDiagnostic::for_file(&file, message))
            .and_then(|bytes| as_text(&file, bytes));
        match text {
            Ok(text) => {
                let mut digest = Sha256::new();
                digest.update(self.digest.as_bytes());
                digest.update(&text);
                self.digest = Arc::from(format!("sha256:{}", canonical::hex(&digest.finalize())));
                let own: [u8; 32] = Sha256::digest(&text).into();
                self.digests.insert(Arc::clone(&file), own);
                let stem = Arc::from(path.file_stem().unwrap_or_default().to_string_lossy());
                let text = Arc::from(text);
                let kind = FileKind::Config;
                self.sources.push(SourceFile {
                    kind,
                    file,
                    stem,
                    text,
                    digest: Some(own),
                });
            }
            Err(fault) => self.faults.push(fault),
        }
        self
    }
}

/// Decodes the text of a file. A byte order mark is a fault, since parsers treat it differently.
pub(crate) fn as_text(file: &Arc<str>, bytes: Vec<u8>) -> Result<String, BundleDiagnostic> {
    let text = String::from_utf8(bytes).map_err(|error| not_text(file, error.as_bytes()))?;
    match text.strip_prefix('\u{feff}') {
        Some(rest) => {
            let origin = SourceText { file, text: rest };
            let fault =
                BundleDiagnostic::at(origin, 0, 1, "the file begins with a byte order mark");
            Err(fault.with_help("save it as UTF-8 without one"))
        }
        None => Ok(text),
    }
}

/// Reads the text of one file of at most so many bytes. What is no regular file is not waited for.
///
/// # Errors
///
/// What cannot be read, is larger, is not UTF-8 or begins with a byte order mark.
pub fn read_text(path: &Path, most: u64) -> Result<String, BundleDiagnostic> {
    let file: Arc<str> = Arc::from(path.display().to_string());
    let bytes = read_at_most(path, most);
    let bytes = bytes.map_err(|message| BundleDiagnostic::for_file(&file, message))?;
    as_text(&file, bytes)
}

pub(crate) fn read_bounded(path: &Path) -> Result<Vec<u8>, String> {
    read_at_most(path, MAX_FILE_BYTES)
}

fn read_at_most(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let cannot = |error: io::Error| format!("cannot read the file: {}", plain(&error));
    // `NONBLOCK`: opening a pipe or a device could block.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let file = file.map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    if !metadata.is_file() {
        return Err("this is not a regular file".to_owned());
    }
    // One byte more tells that the file has ended; it may be longer by now.
    let expected = metadata.len().min(most).saturating_add(1);
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
    file.take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    if bytes.len() as u64 > most {
        return Err(format!("the file is larger than {most} bytes"));
    }
    Ok(bytes)
}

pub(crate) fn not_text(file: &Arc<str>, bytes: &[u8]) -> BundleDiagnostic {
    let valid = bytes
        .utf8_chunks()
        .next()
        .map(|chunk| chunk.valid())
        .unwrap_or_default();
    let text = format!("{valid}\u{fffd}");
    let origin = SourceText { file, text: &text };
    BundleDiagnostic::at(origin, valid.len(), 1, "this byte is not UTF-8 text")
}

/// The operating system's message without the error number.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let bare = text
        .rfind(" (os error")
        .map_or(text.as_str(), |at| &text[..at]);
    bare.to_lowercase()
}
