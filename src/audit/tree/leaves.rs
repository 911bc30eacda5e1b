//! What the tree needs of the records of a log, and why the two may not belong together.

use std::io;

use crate::audit::tree::checkpoint::CheckpointError;
use crate::audit::tree::hash::TreeHash;

/// The records of a log, as the tree needs them at the start.
pub trait Leaves {
    /// The index of the first record that is there: those before are removed by retention.
    fn first(&self) -> u64;

    /// The index after the last record.
    fn end(&self) -> u64;

    /// Passes the leaf hashes of the records from `start` on, in order, to `each`; `None` for a record that is lost.
    ///
    /// # Errors
    ///
    /// If a record cannot be read.
    fn each_from(&mut self, start: u64, each: &mut dyn FnMut(Option<TreeHash>)) -> io::Result<()>;
}

/// Why a tree cannot be continued. All but [`TreeError::Io`] mean that log and tree do not belong together: somebody
/// changed one of them, or a disk lost what it had acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A file cannot be read or written.
    #[error("the tree of the decision log cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// The log has records, but there is no checkpoint.
    #[error("the decision log has {records} records, but its tree has no checkpoint")]
    Missing {
        /// The number of records.
        records: u64,
    },
    /// The checkpoint is of no use.
    #[error("the last checkpoint of the decision log is of no use: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// Records are missing at the end.
    #[error(
        "the decision log ends after {records} records, but a checkpoint over {signed} was signed"
    )]
    Cut {
        /// The number of records.
        records: u64,
        /// The size in the checkpoint.
        signed: u64,
    },
    /// A record is not the one that was logged.
    #[error("record {index} of the decision log is not the one in the tree")]
    Record {
        /// Its index.
        index: u64,
    },
    /// Tiles are damaged, and cannot be made anew, since records are removed or are others.
    #[error("the tree of the decision log does not lead to the root of its last checkpoint{0}")]
    Root(String),
}

/// The leaf of a record that is lost before a checkpoint covers it: that of an empty entry, which no record has.
pub fn no_record() -> TreeHash {
    TreeHash::leaf(&[])
}
