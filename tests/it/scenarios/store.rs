//! A store that fails when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use callgate::call::live::change::Entry;
use callgate::state::sqlite::Sqlite;
use callgate::state::store::{Loaded, Pruned, Retention, Store, StoreError, Write};

/// SQLite, and whether it fails.
pub struct Moody {
    pub sqlite: Sqlite,
    pub fails: Arc<AtomicBool>,
}

impl Store for Moody {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        self.sqlite.load()
    }

    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::Write("the disk is full".to_owned()));
        }
        self.sqlite.commit(writes)
    }

    fn entries_after(&mut self, revision: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.sqlite.entries_after(revision, limit)
    }

    fn prune(&mut self, before: &Retention) -> Result<Pruned, StoreError> {
        self.sqlite.prune(before)
    }
}
