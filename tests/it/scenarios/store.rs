//! A store that fails when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use callgate::domain::authority::change::ChangeRecord;
use callgate::domain::ids::SessionId;
use callgate::store::backend::{
    Pruned, Retention, Store, StoreError, StoreWrite, StoredSession, StoredState,
};
use callgate::store::turned_back::TurnedBack;

/// A store, and whether it fails.
pub struct Moody {
    pub store: Box<dyn Store>,
    pub fails: Arc<AtomicBool>,
}

impl Store for Moody {
    fn load(&mut self) -> Result<StoredState, StoreError> {
        self.store.load()
    }

    fn session_ids(&mut self, each: &mut dyn FnMut(&str)) -> Result<(), StoreError> {
        self.store.session_ids(each)
    }

    fn session(&mut self, id: &SessionId) -> Result<Option<StoredSession>, StoreError> {
        self.store.session(id)
    }

    fn commit(&mut self, writes: &[StoreWrite]) -> Result<(), StoreError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::Write("the disk is full".to_owned()));
        }
        self.store.commit(writes)
    }

    fn go_on_above(&mut self, turned: &TurnedBack) -> Result<(), StoreError> {
        self.store.go_on_above(turned)
    }

    fn entries_after(
        &mut self,
        revision: u64,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>, StoreError> {
        self.store.entries_after(revision, limit)
    }

    fn prune(&mut self, before: &Retention) -> Result<Pruned, StoreError> {
        self.store.prune(before)
    }
}
