//! A store whose commits can be held up or fail.

use callgate::domain::authority::change::ChangeRecord;
use callgate::domain::ids::SessionId;
use callgate::store::backend::{
    Pruned, Retention, Store, StoreError, StoreWrite, StoredSession, StoredState,
};
use callgate::store::turned_back::TurnedBack;

type BeforeCommit = Box<dyn FnMut(&[StoreWrite]) -> Result<(), StoreError> + Send>;

/// A store, and what is done before it commits anything. If that fails, nothing is committed.
pub struct WatchedStore {
    store: Box<dyn Store>,
    before_commit: BeforeCommit,
}

impl WatchedStore {
    pub fn new(
        store: impl Into<Box<dyn Store>>,
        before_commit: impl FnMut(&[StoreWrite]) -> Result<(), StoreError> + Send + 'static,
    ) -> Self {
        Self {
            store: store.into(),
            before_commit: Box::new(before_commit),
        }
    }
}

impl Store for WatchedStore {
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
        (self.before_commit)(writes)?;
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
