//! The tree of the log that is written: continues it at the start, feeds it with what is appended, and makes records durable
//! before a checkpoint over them is signed.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use crate::audit::key_guard::{KeyFile, KeyUse};
use crate::audit::log_files::{self, SEGMENTS, TREE};
use crate::audit::log_lock::LogLock;
use crate::audit::reader::{LogError, LogReader};
use crate::audit::tree::hash::TreeHash;
use crate::audit::tree::key_file::{self, KEY_FILE, KeyError, PUBLIC_KEY_FILE};
use crate::audit::tree::note::SigningKey;
use crate::audit::tree::thread::{CHECKPOINT_INTERVAL, TreeThread, TreeWatch};
use crate::audit::tree::tile_dir::TileDir;
use crate::audit::tree::writer::{Leaves, TreeError, TreeWriter, no_record};
use crate::config::audit::AuditConfig;

/// Why the log has no tree.
#[derive(Debug, thiserror::Error)]
pub enum LogTreeError {
    /// The key that signs checkpoints.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Log and tree do not belong together.
    #[error("{0}. `callgate audit verify` says more; to begin a new log, move the directory away")]
    Tree(#[from] TreeError),
    /// No thread.
    #[error("the thread of the tree: {0}")]
    Thread(io::Error),
}

/// The tree of a log, and which record its next leaf is for.
#[derive(Debug)]
pub struct LogTree {
    thread: TreeThread,
    log: LogReader,
    next: u64,
}

/// A tree, and the files with its keys.
pub struct StartedTree {
    /// The tree.
    pub tree: LogTree,
    /// The files.
    pub keys: [KeyFile; 2],
}

impl LogTree {
    /// Tells the state of the tree.
    pub fn watch(&self) -> TreeWatch {
        self.thread.watch()
    }

    /// Whether leaves can be appended without waiting for anything.
    pub fn has_room(&self) -> bool {
        self.thread.has_room()
    }

    /// Appends the leaves of records that are written, of which the first has this index. Records before it that nobody appended,
    /// since their write seemed to have failed, are read from the log.
    ///
    /// # Errors
    ///
    /// If those cannot be read, or the thread of the tree has ended.
    pub fn append(&mut self, first: u64, leaves: &[TreeHash]) -> io::Result<()> {
        if self.next < first {
            let mut missing = Vec::new();
            let mut records = SegmentLeaves {
                log: self.log.clone(),
                first: self.next,
                end: first,
            };
            records.each_from(self.next, &mut |leaf| {
                missing.push(leaf.unwrap_or_else(no_record))
            })?;
            self.thread.append(&missing)?;
            self.next = first;
        }
        self.next += leaves.len() as u64;
        self.thread.append(leaves)
    }
}

/// Continues the tree of a log that has the records from `first` up to, not including, `next`.
///
/// # Errors
///
/// [`LogTreeError`].
pub fn start(
    directory: &Path,
    config: &AuditConfig,
    (first, next): (u64, u64),
    lock: Arc<LogLock>,
) -> Result<StartedTree, LogTreeError> {
    let tree = directory.join(TREE);
    let origin = config.origin.clone().unwrap_or_else(default_origin);
    let key = key_file::signing_key(
        &tree,
        config.signing_key_file.as_deref(),
        &origin,
        config.origin.is_some(),
    )?;
    let keys = key_files(directory, config, &key);
    let mut records = SegmentLeaves {
        log: LogReader::open(directory).map_err(|error| TreeError::Io(io::Error::other(error)))?,
        first,
        end: next,
    };
    let log = records.log.clone();
    let writer = TreeWriter::open(TileDir::new(tree), key, &mut records)?;
    let mut synced = first;
    let segments = directory.join(SEGMENTS);
    let sync = move || match lock.look() {
        true => sync_from(&segments, &mut synced),
        // Whoever has it signs what is there now.
        false => Err(io::Error::other("another process has the lock of the log")),
    };
    let thread = TreeThread::start(writer, CHECKPOINT_INTERVAL, Box::new(sync));
    let thread = thread.map_err(LogTreeError::Thread)?;
    let tree = LogTree { thread, log, next };
    Ok(StartedTree { tree, keys })
}

/// The files with the signing key and the verifying key.
fn key_files(directory: &Path, config: &AuditConfig, key: &SigningKey) -> [KeyFile; 2] {
    let tree = directory.join(TREE);
    let own = tree.join(KEY_FILE);
    let signing = config.signing_key_file.clone().unwrap_or(own);
    let (public, verifying) = (tree.join(PUBLIC_KEY_FILE), key.verifying_key().to_text());
    [
        KeyFile::new(directory, signing, KeyUse::Signing, key.to_text()),
        KeyFile::new(directory, public, KeyUse::Verifying, verifying),
    ]
}

/// Syncs the files from the one that was the last at the previous call on.
fn sync_from(segments: &Path, synced: &mut u64) -> io::Result<()> {
    let files = log_files::list(segments)?;
    for file in files.iter().filter(|file| file.first >= *synced) {
        match File::open(&file.path).and_then(|open| open.sync_data()) {
            // Compressed or removed meanwhile; both are done with what is on the disk.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    if let Some(last) = files.last() {
        *synced = last.first;
    }
    Ok(())
}

/// `callgate/<name of the host>/<eight hexadecimal digits>`: another one for each log, also for those of one host.
fn default_origin() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| fs::read_to_string("/etc/hostname"))
        .unwrap_or_default();
    let is_part = |c: &char| c.is_ascii_alphanumeric() || "-._".contains(*c);
    let name: String = name.trim().chars().filter(is_part).take(64).collect();
    let name = match name.as_str() {
        "" => "localhost",
        name => name,
    };
    // The end of such an id is random.
    let own = Uuid::now_v7().simple().to_string();
    format!("callgate/{name}/{}", own.get(24..).unwrap_or(&own))
}

/// The records in the files of a log.
struct SegmentLeaves {
    log: LogReader,
    first: u64,
    end: u64,
}

impl Leaves for SegmentLeaves {
    fn first(&self) -> u64 {
        self.first
    }

    fn end(&self) -> u64 {
        self.end
    }

    fn each_from(&mut self, start: u64, each: &mut dyn FnMut(Option<TreeHash>)) -> io::Result<()> {
        let mut expected = start;
        for item in self.log.iter_from(start) {
            let stored = match item {
                Ok(stored) => stored,
                Err(LogError::Io { error, .. } | LogError::File { error, .. }) => {
                    return Err(error);
                }
                // What is missing shows in the indices.
                Err(_) => continue,
            };
            while expected < stored.index.min(self.end) {
                each(None);
                expected += 1;
            }
            if stored.index >= self.end {
                break;
            }
            each(Some(TreeHash::leaf(&stored.bytes)));
            expected += 1;
        }
        while expected < self.end {
            each(None);
            expected += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "log_tree_tests.rs"]
mod tests;
