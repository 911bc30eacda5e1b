//! A store whose test says what becomes of commits and reads.

use crate::domain::authority::change::{Change, ChangeRecord};
use crate::domain::ids::SessionId;
use crate::store::backend::{
    Pruned, Retention, Store, StoreError, StoreWrite, StoredSession, StoredState,
};
use crate::store::sqlite::SqliteStore;
use crate::store::turned_back::TurnedBack;

/// What is asked before something is done; its error is returned instead.
type Before<T> = Box<dyn FnMut(&T) -> Result<(), StoreError> + Send>;

/// A store that asks before each commit and each read of a session.
pub(crate) struct AskingStore {
    inner: SqliteStore,
    commit: Before<[StoreWrite]>,
    session: Before<SessionId>,
}

impl AskingStore {
    /// Asks before each commit.
    pub(crate) fn commits(
        inner: SqliteStore,
        ask: impl FnMut(&[StoreWrite]) -> Result<(), StoreError> + Send + 'static,
    ) -> Box<Self> {
        Box::new(Self {
            inner,
            commit: Box::new(ask),
            session: Box::new(|_| Ok(())),
        })
    }

    /// Asks before each commit of a change, except of a bundle.
    pub(crate) fn changes(
        inner: SqliteStore,
        mut ask: impl FnMut() -> Result<(), StoreError> + Send + 'static,
    ) -> Box<Self> {
        let is_change = |write: &StoreWrite| match write {
            StoreWrite::Entry { entry, .. } => !matches!(entry.change, Change::Bundle { .. }),
            _ => false,
        };
        Self::commits(inner, move |writes| match writes.iter().any(is_change) {
            true => ask(),
            false => Ok(()),
        })
    }

    /// Asks before each read of a session.
    pub(crate) fn sessions(
        inner: SqliteStore,
        ask: impl FnMut(&SessionId) -> Result<(), StoreError> + Send + 'static,
    ) -> Box<Self> {
        Box::new(Self {
            inner,
            commit: Box::new(|_| Ok(())),
            session: Box::new(ask),
        })
    }
}

impl Store for AskingStore {
    fn load(&mut self) -> Result<StoredState, StoreError> {
        self.inner.load()
    }

    fn session_ids(&mut self, each: &mut dyn FnMut(&str)) -> Result<(), StoreError> {
        self.inner.session_ids(each)
    }

    fn session(&mut self, id: &SessionId) -> Result<Option<StoredSession>, StoreError> {
        (self.session)(id)?;
        self.inner.session(id)
    }

    fn commit(&mut self, writes: &[StoreWrite]) -> Result<(), StoreError> {
        (self.commit)(writes)?;
        self.inner.commit(writes)
    }

    fn go_on_above(&mut self, turned: &TurnedBack) -> Result<(), StoreError> {
        self.inner.go_on_above(turned)
    }

    fn entries_after(
        &mut self,
        revision: u64,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>, StoreError> {
        self.inner.entries_after(revision, limit)
    }

    fn prune(&mut self, before: &Retention) -> Result<Pruned, StoreError> {
        self.inner.prune(before)
    }
}
