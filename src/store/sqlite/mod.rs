//! The embedded store: one SQLite file, used by one server.
//!
//! The file stays locked while it is open, so a second server fails at its start. Writes go to the write-ahead log
//! (`-wal`) and are on disk when a commit returns; SQLite moves them into the file by itself.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::domain::authority::change::ChangeRecord;
use crate::domain::authority::form;
use crate::domain::ids::{BundleId, SessionId};
use crate::store::backend::{
    Pruned, PublishedRevision, Retention, Store, StoreError, StoreWrite, StoredSession, StoredState,
};
use crate::store::turned_back::TurnedBack;

pub mod backup;
mod content_digest;
mod guard;
mod marker;
mod prune;
mod published;
mod read;
mod rows;
mod schema;
mod start;
mod turned_back;
mod write;

#[cfg(test)]
mod tests;

/// A store in one SQLite file, or in memory.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    /// The progress of the file, so that a commit need not read it.
    reached: StoreProgress,
    /// Watches its files; `None` for a store in memory.
    guard: Option<guard::FileGuard>,
}

/// What to do if the store is missing, damaged or older than its marker says. A store that is as it was left is opened
/// in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnLoss {
    /// Do not open it.
    #[default]
    Refuse,
    /// Rename what is there and start with an empty store.
    StartFresh,
    /// Continue with what is there, if it can be read at all.
    Continue,
}

/// The progress of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct StoreProgress {
    revision: u64,
    clock: Option<SystemTime>,
    /// The number of commits.
    commits: u64,
}

impl SqliteStore {
    /// Opens the file and brings its tables up to date. A missing file is created, readable by its owner only, as are
    /// the files that SQLite puts beside it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Open`] if another process has it open or it is no store of Callgate, [`StoreError::TooNew`] if a
    /// newer program wrote it, [`StoreError::Lost`] or [`StoreError::Damaged`] if it has lost something since it was
    /// last open.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_or(path, OnLoss::Refuse)
    }

    /// As [`SqliteStore::open`], with a choice of what to do after a loss.
    ///
    /// # Errors
    ///
    /// As [`SqliteStore::open`], as far as `on_loss` does not say otherwise.
    pub fn open_or(path: &Path, on_loss: OnLoss) -> Result<Self, StoreError> {
        start::open(path, on_loss)
    }

    /// Opens the file as it is, without comparing it with its marker.
    fn open_file(path: &Path) -> Result<Self, StoreError> {
        let place = path.display().to_string();
        let fail = |why: String| StoreError::Open {
            place: place.clone(),
            why,
        };
        create(&marker::file_of(path)).map_err(|error| fail(error.to_string()))?;
        // Without `SQLITE_OPEN_URI`: a path is a path.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(path, flags).map_err(|error| fail(explain(&error)))?;
        lock(&connection).map_err(|error| fail(explain(&error)))?;
        // Before anything is written, the journal mode included.
        schema::checked(&connection, &place)?;
        let mode = set_up(&connection).map_err(|error| fail(explain(&error)))?;
        if mode != "wal" {
            return Err(fail(format!(
                "its file system cannot hold a log that is written ahead (journal mode {mode})"
            )));
        }
        start::quick_check(&connection, path)?;
        Self::start(connection, &place)
    }

    /// A store that ends with the process: for tests, and for a server that keeps nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Open`] if SQLite cannot create it.
    pub fn in_memory() -> Result<Self, StoreError> {
        let place = "in memory";
        let connection = Connection::open_in_memory().map_err(|error| StoreError::Open {
            place: place.to_owned(),
            why: explain(&error),
        })?;
        Self::start(connection, place)
    }

    fn start(mut connection: Connection, place: &str) -> Result<Self, StoreError> {
        if schema::checked(&connection, place)? > 0 {
            content_digest::forget(&connection).map_err(write_error)?;
        }
        schema::migrate(&mut connection, place)?;
        let reached = read::reached(&connection)?;
        Ok(Self {
            connection,
            reached,
            guard: None,
        })
    }
}

impl Store for SqliteStore {
    fn load(&mut self) -> Result<StoredState, StoreError> {
        read::load(&self.connection, self.reached)
    }

    fn session_ids(&mut self, each: &mut dyn FnMut(&str)) -> Result<(), StoreError> {
        read::session_ids(&self.connection, each)
    }

    fn session(&mut self, id: &SessionId) -> Result<Option<StoredSession>, StoreError> {
        read::session(&self.connection, id)
    }

    fn commit(&mut self, writes: &[StoreWrite]) -> Result<(), StoreError> {
        self.check()?;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(write_error)?;
        let reached = write::all(&transaction, writes, self.reached)?;
        transaction.commit().map_err(write_error)?;
        self.reached = reached;
        match &mut self.guard {
            Some(guard) => guard.committed(reached.commits),
            None => Ok(()),
        }
    }

    fn check(&mut self) -> Result<(), StoreError> {
        self.guard.as_mut().map_or(Ok(()), guard::FileGuard::check)
    }

    fn go_on_above(&mut self, turned: &TurnedBack) -> Result<(), StoreError> {
        self.check()?;
        turned_back::note(&self.connection, turned)?;
        self.reached.revision = self.reached.revision.max(turned.revision());
        Ok(())
    }

    fn entries_after(
        &mut self,
        revision: u64,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>, StoreError> {
        read::entries_after(&self.connection, revision, limit)
    }

    fn prune(&mut self, before: &Retention) -> Result<Pruned, StoreError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(write_error)?;
        let pruned = prune::step(&transaction, before, prune::ROWS).map_err(write_error)?;
        transaction.commit().map_err(write_error)?;
        Ok(pruned)
    }

    fn bundle(&mut self, id: &BundleId) -> Result<Option<Vec<u8>>, StoreError> {
        published::archive(&self.connection, id)
    }

    fn published(&mut self) -> Result<Vec<PublishedRevision>, StoreError> {
        published::all(&self.connection)
    }
}

/// Creates an empty file that only its owner may read, unless there is a file. Never opens an existing one: closing it
/// again would release the locks that this process holds on it.
fn create(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(file) => file.sync_all()?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error),
    }
    marker::sync_folder(path)
}

/// Keeps the file for this process from the first read on.
fn lock(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::ZERO)?;
    // Set before anything is read: otherwise SQLite would share the log with other processes through a `-shm` file.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")
}

/// Sets how the file is written, and locks it. Returns the journal mode that SQLite chose.
fn set_up(connection: &Connection) -> rusqlite::Result<String> {
    let mode = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    // Takes the lock now, which SQLite would otherwise postpone.
    connection.execute_batch("BEGIN EXCLUSIVE; COMMIT")?;
    Ok(mode)
}

/// The error in terms of what an operator can change.
fn explain(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process has it open; a store belongs to one server at a time".to_owned()
        }
        Some(ErrorCode::NotADatabase) => "it is not a SQLite database, or damaged".to_owned(),
        Some(ErrorCode::DatabaseCorrupt) => format!("it is damaged: {error}"),
        _ => error.to_string(),
    }
}

fn write_error(error: rusqlite::Error) -> StoreError {
    StoreError::Write(error.to_string())
}

/// A number as SQLite holds it. No count exceeds its range.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A moment in milliseconds since the Unix epoch.
fn moment(at: SystemTime) -> i64 {
    number(form::millis(at))
}
