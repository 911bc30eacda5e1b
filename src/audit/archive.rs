//! What happens to files of the log that are no longer written: they are compressed, and removed when they are too old or
//! too many.
//!
//! Start at [`run`]. The newest file of a folder is the one that is written, and is never touched.
//!
//! Invariant: a file is removed only once its compressed form is on the disk and reads as the same bytes, or because of
//! its age or size as configured, and then a notice has said so before: what is gone without one was taken away.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, SystemTime};

use crate::audit::log_files::{self, CAPSULES, LogFile, SEGMENTS, TREE};
use crate::audit::record::schema::Notice;
use crate::audit::record::schema::notice::Kind;
use crate::audit::segment::{self, sync_folder};
use crate::audit::steady_clock::SteadyClock;
use crate::audit::tree::tile_dir::TileDir;
use crate::config::audit::AuditConfig;

/// How often it is looked for files.
const INTERVAL: Duration = Duration::from_secs(5);
/// Records compress about as well at higher levels, which take twice the time.
const LEVEL: i32 = 1;
/// What is compressed at once, in bytes: each such piece is a zstd frame of its own.
const PIECE: usize = 1 << 20;

/// How long files are kept, and how many bytes of them.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Age and bytes of records.
    pub records: (Duration, u64),
    /// Age and bytes of capsules.
    pub capsules: (Duration, u64),
}

impl Retention {
    /// As configured.
    pub fn from_config(config: &AuditConfig) -> Self {
        Self {
            records: config.keep(),
            capsules: config.keep_capsules(),
        }
    }
}

/// The log whose files these are.
pub trait WrittenLog {
    /// The index after its last record; `None` if this process does not write it any more.
    fn end(&self) -> Option<u64>;

    /// Has a notice written, and waits until a checkpoint covers it, unless the log or its tree is broken. Returns whether the
    /// log goes on: `false` once the sender of `done` is dropped.
    fn tell(&self, notice: Notice, done: &Receiver<()>) -> bool;
}

/// Looks after the files until the sender of `done` is dropped. As often, and once more at the end, for the next start, `also` is
/// called.
pub fn run(
    directory: &Path,
    retention: Retention,
    also: &mut dyn FnMut(),
    done: &Receiver<()>,
    log: &dyn WrittenLog,
) {
    let clock = SteadyClock::start();
    let mut is_failing = false;
    let told = RefCell::new(Vec::<Notice>::new());
    let tell = |notice: Notice| {
        // Files that could not be removed are told of once.
        if told.borrow().contains(&notice) {
            return true;
        }
        told.borrow_mut().retain(|it| it.text != notice.text);
        told.borrow_mut().push(notice.clone());
        log.tell(notice, done)
    };
    while let Err(RecvTimeoutError::Timeout) = done.recv_timeout(INTERVAL) {
        also();
        let Some(end) = log.end() else {
            continue;
        };
        let is_over = || done.try_recv() == Err(TryRecvError::Disconnected);
        match look(directory, retention, clock.now(), end, (&tell, &is_over)) {
            Ok(()) => is_failing = false,
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::error!(%error, "files of the decision log are neither compressed nor removed");
                }
            }
        }
    }
    also();
}

/// The text of the notice that records were removed, rather than capsules.
pub const REMOVED_RECORDS: &str = "records";

/// Compresses and removes what is due. `end` is the index after the last record: a file that begins after it is none of the log's.
/// Whatever is removed is told first, and stays if `tell` says so. No further file is compressed once `is_over` says so.
///
/// # Errors
///
/// Those of the file system. Files that were not reached are for the next time.
pub fn look(
    directory: &Path,
    retention: Retention,
    now: SystemTime,
    end: u64,
    (tell, is_over): (&dyn Fn(Notice) -> bool, &dyn Fn() -> bool),
) -> io::Result<()> {
    let (segments, capsules) = (directory.join(SEGMENTS), directory.join(CAPSULES));
    let files = written(&capsules, end)?;
    let count = due(&files, retention.capsules, now, |_| Ok(false))?;
    remove(&files, count, |first, last| {
        tell(removed("capsules", first, last))
    })?;
    let tree = TileDir::new(directory.join(TREE));
    let is_needed = |end| Ok(end > tree.needs_records_from(now)?);
    let files = written(&segments, end)?;
    let count = due(&files, retention.records, now, is_needed)?;
    remove(&files, count, |first, last| {
        tell(removed(REMOVED_RECORDS, first, last))
    })?;
    let files = written(&segments, end)?;
    let Some((_, closed)) = files.split_last() else {
        return Ok(());
    };
    for file in closed.iter().filter(|file| !file.is_compressed) {
        if is_over() {
            break;
        }
        compress(&segments, file)?;
    }
    Ok(())
}

fn removed(what: &str, first: u64, last: u64) -> Notice {
    tracing::info!(
        what,
        first,
        last,
        "the oldest files of the decision log are removed"
    );
    Notice {
        kind: Kind::Removed.into(),
        text: what.to_owned(),
        first,
        last,
        ..Notice::default()
    }
}

/// The files of records up to `end`. The last one is that which is written.
fn written(folder: &Path, end: u64) -> io::Result<Vec<LogFile>> {
    let mut files = log_files::list(folder)?;
    files.retain(|file| file.first <= end);
    Ok(files)
}

/// How many of the oldest files are too old or too many, up to one that is still needed, of which `is_needed` is told the index
/// after its last.
fn due(
    files: &[LogFile],
    (age, bytes): (Duration, u64),
    now: SystemTime,
    is_needed: impl Fn(u64) -> io::Result<bool>,
) -> io::Result<usize> {
    let mut sizes = Vec::with_capacity(files.len());
    for file in files {
        let found = file.path.metadata()?;
        sizes.push((found.len(), found.modified()?));
    }
    let mut total: u64 = sizes.iter().map(|(size, _)| size).sum();
    let mut due = 0;
    for (pair, (size, modified)) in files.windows(2).zip(&sizes) {
        let is_old = now.duration_since(*modified).is_ok_and(|it| it > age);
        if !is_old && total <= bytes || is_needed(pair[1].first)? {
            break;
        }
        total -= size;
        due += 1;
    }
    Ok(due)
}

/// Removes the first files, if whoever is told the first and the last index agrees.
fn remove(files: &[LogFile], due: usize, agrees: impl Fn(u64, u64) -> bool) -> io::Result<()> {
    let (Some(first), Some(after)) = (files.first(), files.get(due)) else {
        return Ok(());
    };
    if due == 0 || !agrees(first.first, after.first.saturating_sub(1)) {
        return Ok(());
    }
    files[..due]
        .iter()
        .try_for_each(|file| fs::remove_file(&file.path))
}

/// Replaces a file by its compressed form.
fn compress(folder: &Path, file: &LogFile) -> io::Result<()> {
    let target = folder.join(log_files::compressed_name(file.first));
    let partial = PathBuf::from(format!("{}.tmp", target.display()));
    let source = File::open(&file.path)?;
    // What was acknowledged as written becomes durable before its other form is made.
    source.sync_all()?;
    let modified = source.metadata()?.modified()?;
    let out = segment::create_partial(&partial)?;
    compress_pieces(&source, &out)?;
    out.set_modified(modified)?;
    out.sync_all()?;
    let plain = BufReader::new(File::open(&file.path)?);
    if !is_same(
        plain,
        zstd::stream::read::Decoder::new(File::open(&partial)?)?,
    )? {
        fs::remove_file(&partial)?;
        return Err(io::Error::other(
            "a compressed file does not read as it was",
        ));
    }
    fs::rename(&partial, &target)?;
    sync_folder(folder)?;
    fs::remove_file(&file.path)
}

/// Writes what it reads as zstd frames, one at least.
fn compress_pieces(mut source: impl Read, mut out: impl Write) -> io::Result<()> {
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    compressor.include_checksum(true)?;
    let mut piece = Vec::with_capacity(PIECE);
    loop {
        piece.clear();
        source.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
        out.write_all(&compressor.compress(&piece)?)?;
        if piece.len() < PIECE {
            return Ok(());
        }
    }
}

fn is_same(mut one: impl Read, mut other: impl Read) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let read = one.read(&mut left)?;
        if read == 0 {
            return Ok(other.read(&mut right[..1])? == 0);
        }
        match other.read_exact(&mut right[..read]) {
            Ok(()) if left[..read] == right[..read] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
