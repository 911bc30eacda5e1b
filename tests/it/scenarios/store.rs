//! A store that fails when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use callgate::domain::authority::change::ChangeRecord;
use callgate::store::backend::{Pruned, Retention, Store, StoreError, StoreWrite, StoredState};
use callgate::store::sqlite::SqliteStore;

/// SQLite, and whether it fails.
pub struct Moody {
    pub sqlite: SqliteStore,
    pub fails: Arc<AtomicBool>,
}

impl Store for Moody {
    fn load(&mut self) -> Result<StoredState, StoreError> {
        self.sqlite.load()
    }

    fn commit(&mut self, writes: &[StoreWrite]) -> Result<(), StoreError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::Write("the disk is full".to_owned()));
        }
        self.sqlite.commit(writes)
    }

    fn entries_after(
        &mut self,
        revision: u64,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>, StoreError> {
        self.sqlite.entries_after(revision, limit)
    }

    fn prune(&mut self, before: &Retention) -> Result<Pruned, StoreError> {
        self.sqlite.prune(before)
    }
}
