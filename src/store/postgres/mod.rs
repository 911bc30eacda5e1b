//! The store that several servers share: PostgreSQL 15 or later.
//!
//! Start at [`PostgresStore`], the [`Store`], and at [`membership::Membership`], what a server needs beyond that when
//! there are others. All of both is a few functions in the database (`1.sql` and its successors), each called in one round trip with texts:
//! a commit is one statement, so no client that stops in the middle keeps a lock, and nothing depends on the state of a
//! database session, so a pooler in transaction mode may stand between.
//!
//! [`connection`] makes connections and makes them again; [`read`] and [`write`] are the rows.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::runtime::{Handle, Runtime};

use crate::domain::authority::change::ChangeRecord;
use crate::domain::authority::form;
use crate::domain::ids::{BudgetId, BundleId, MemberId, SessionId};
use crate::store::backend::{
    PUBLISHED_KEPT, Pruned, PublishedRevision, Retention, Store, StoreError, StoreWrite,
    StoredSession, StoredState,
};
use crate::store::turned_back::TurnedBack;

pub mod connection;
mod errors;
pub mod marker;
pub mod membership;
mod prune;
mod published;
mod read;
mod schema;
pub mod status;
mod write;

use connection::{Address, PgConnection};

/// How far a server's clock and that of the database may be apart. Beyond it neither is believed. The functions of the
/// database have the same bound (`callgate.latest_moment`).
pub const MAX_DIFFERENCE: Duration = Duration::from_secs(10);
/// Time limit of a commit, waiting for those of other servers included.
const COMMIT: Duration = Duration::from_secs(5);
/// Time limit of reading everything.
const LOAD: Duration = Duration::from_secs(300);
/// Time limit of another statement.
const STATEMENT: Duration = Duration::from_secs(10);
/// How much longer than a statement may take its answer is waited for: a connection may have to be made first.
const MARGIN: Duration = Duration::from_secs(5);
/// Threads of the runtime that drives the connections.
const THREADS: usize = 2;

/// A store in PostgreSQL.
#[derive(Debug)]
pub struct PostgresStore {
    runtime: Arc<Driver>,
    writes: PgConnection,
    /// The id under which this server is a member; `None` if it is alone.
    me: Arc<Mutex<Option<MemberId>>>,
    progress: Arc<Progress>,
    id: String,
}

/// How far the writes of this server have come: at least what it has committed itself.
#[derive(Debug, Default)]
pub struct Progress {
    facts: AtomicU64,
    /// The last budgets that were reserved from: the calls spent, and the number of the fact.
    spent: Mutex<Vec<(BudgetId, u64, u64)>>,
}

impl Progress {
    /// The number of the last fact that this server has seen at a commit.
    pub fn facts(&self) -> u64 {
        self.facts.load(Ordering::Acquire)
    }

    /// What the last commit has left spent of the budgets that it took from, with the number of the fact. To be asked
    /// for in the callback of that commit.
    pub fn spent(&self) -> Vec<(BudgetId, u64, u64)> {
        lock(&self.spent).clone()
    }
}

/// The runtime that drives the connections, apart from the one that answers requests.
#[derive(Debug)]
struct Driver(Option<Runtime>);

/// The answer of `callgate.commit`.
#[derive(Debug, Deserialize)]
struct Committed {
    facts: u64,
    spent: Option<Vec<(BudgetId, u64)>>,
}

impl Driver {
    fn start() -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("callgate-postgres")
            .enable_all()
            .build();
        let failed = |error: std::io::Error| schema::open_error("in PostgreSQL", error.to_string());
        runtime.map(|it| Self(Some(it))).map_err(failed)
    }

    fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(Runtime::handle)
    }

    /// Waits for a future on this thread, which may belong to another runtime.
    fn wait<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (done, answer) = mpsc::sync_channel(1);
        let handle = self.handle().ok_or(StoreError::Closed)?;
        handle.spawn(async move {
            // The receiver is gone only if it has given up.
            let _ = done.send(work.await);
        });
        let late = |_| StoreError::OutcomeUnknown("no answer in time".to_owned());
        answer.recv_timeout(limit + MARGIN).map_err(late)?
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may be dropped on a thread of another runtime, which must not wait.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Each change is made in one step, so it is whole also after a panic.
fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PostgresStore {
    /// Connects, and brings the tables up to date. See [`Address::parse`] for the URL.
    ///
    /// # Errors
    ///
    /// [`StoreError::Away`] if it may be reached a moment later, [`StoreError::Open`] if it cannot be reached or used,
    /// [`StoreError::TooNew`] if a newer program wrote it.
    pub fn open(url: &str, base: &Path, password_file: Option<&Path>) -> Result<Self, StoreError> {
        Self::open_known(url, base, password_file, None)
    }

    /// The same where the store is known by its id: no other one is opened, and none is begun.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::open`], and [`StoreError::Open`] if the database holds another store or none.
    pub fn open_known(
        url: &str,
        base: &Path,
        password_file: Option<&Path>,
        known: Option<&str>,
    ) -> Result<Self, StoreError> {
        let address = Address::parse(url, base, password_file)?;
        let place = address.place();
        let runtime = Arc::new(Driver::start()?);
        let writes = PgConnection::new(address);
        let first = writes.clone();
        let id = runtime
            .wait(schema::LIMIT, {
                let (place, known) = (place.clone(), known.map(str::to_owned));
                async move {
                    let connected = first.address().connect().await;
                    let client = connected.map_err(|error| match error.is_away {
                        true => StoreError::Away {
                            place: place.clone(),
                            why: error.why,
                        },
                        false => schema::open_error(&place, error.why),
                    })?;
                    schema::migrate(client, &place, known.as_deref()).await
                }
            })
            .map_err(|error| match error {
                StoreError::Read(why)
                | StoreError::Write(why)
                | StoreError::OutcomeUnknown(why) => schema::open_error(&place, why),
                other => other,
            })?;
        Ok(Self {
            runtime,
            writes,
            me: Arc::default(),
            progress: Arc::default(),
            id,
        })
    }

    /// Where it is, for messages.
    pub fn place(&self) -> String {
        self.writes.address().place()
    }

    /// The id of the store, chosen when it was begun.
    pub fn store_id(&self) -> &str {
        &self.id
    }

    /// What it has committed.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    fn call(
        &self,
        sql: &'static str,
        values: Vec<Option<String>>,
        limit: Duration,
    ) -> Result<String, StoreError> {
        let connection = self.writes.clone();
        self.runtime.wait(
            limit,
            async move { connection.call(sql, &values, limit).await },
        )
    }
}

impl Store for PostgresStore {
    fn load(&mut self) -> Result<StoredState, StoreError> {
        let connection = self.writes.clone();
        let load = async move { read::load(connection.fresh().await?).await };
        let loaded = self.runtime.wait(LOAD, load)?;
        self.progress
            .facts
            .fetch_max(loaded.facts, Ordering::AcqRel);
        Ok(loaded)
    }

    fn session_ids(&mut self, each: &mut dyn FnMut(&str)) -> Result<(), StoreError> {
        let connection = self.writes.clone();
        let read = async move { read::session_ids(connection.fresh().await?).await };
        for id in self.runtime.wait(LOAD, read)? {
            each(id.as_str());
        }
        Ok(())
    }

    fn session(&mut self, id: &SessionId) -> Result<Option<StoredSession>, StoreError> {
        let (connection, id) = (self.writes.clone(), id.clone());
        let read = async move { read::session(connection.fresh().await?, &id).await };
        self.runtime.wait(STATEMENT, read)
    }

    fn commit(&mut self, writes: &[StoreWrite]) -> Result<(), StoreError> {
        let (at, rows) = write::all(writes)?;
        let at = at.map(|at| form::millis(at).to_string());
        let values = vec![
            lock(&self.me).as_ref().map(MemberId::to_string),
            at,
            Some(rows),
        ];
        let answer = self.call("SELECT callgate.commit($1, $2, $3)", values, COMMIT)?;
        let committed: Committed = serde_json::from_str(&answer)
            .map_err(|error| StoreError::OutcomeUnknown(format!("the answer to it: {error}")))?;
        self.progress
            .facts
            .fetch_max(committed.facts, Ordering::AcqRel);
        let spent = committed.spent.unwrap_or_default().into_iter();
        *lock(&self.progress.spent) = spent
            .map(|(id, spent)| (id, spent, committed.facts))
            .collect();
        Ok(())
    }

    fn go_on_above(&mut self, turned: &TurnedBack) -> Result<(), StoreError> {
        // Another replica may have gone on above still later ones.
        let sql =
            "WITH raised AS (UPDATE callgate.head SET revision = $1::text::bigint, turned_back = $2
            WHERE revision < $1::text::bigint RETURNING 1) SELECT count(*)::text FROM raised";
        let revision = i64::try_from(turned.revision()).unwrap_or(i64::MAX);
        let text = serde_json::to_string(turned).map_err(|it| StoreError::Write(it.to_string()))?;
        let done = self.call(sql, vec![Some(revision.to_string()), Some(text)], COMMIT);
        done.map(drop)
    }

    fn entries_after(
        &mut self,
        revision: u64,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>, StoreError> {
        let number = |it: u64| Some(i64::try_from(it).unwrap_or(i64::MAX).to_string());
        let sql = "SELECT callgate.entries_after($1::text::bigint, $2::text::bigint)::text";
        let values = vec![number(revision), number(limit as u64)];
        let answer = self.call(sql, values, STATEMENT)?;
        let rows: Vec<read::EntryForm> = serde_json::from_str(&answer)
            .map_err(|error| StoreError::Damaged(format!("a row of `change_log`: {error}")))?;
        rows.into_iter().map(|row| Ok(row.read()?.0)).collect()
    }

    fn prune(&mut self, before: &Retention) -> Result<Pruned, StoreError> {
        let me = lock(&self.me).as_ref().map(MemberId::to_string);
        let sql = "SELECT callgate.prune($1, $2, $3, $4, $5, $6)";
        prune::read(&self.call(sql, prune::arguments(me, before), STATEMENT)?)
    }

    fn bundle(&mut self, id: &BundleId) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT callgate.bundle($1)";
        published::archive(&self.call(sql, vec![Some(id.to_string())], STATEMENT)?)
    }

    fn published(&mut self) -> Result<Vec<PublishedRevision>, StoreError> {
        let sql = "SELECT callgate.published_bundles($1)";
        let most = vec![Some(PUBLISHED_KEPT.to_string())];
        published::all(&self.call(sql, most, STATEMENT)?)
    }
}
