//! The embedded store: one SQLite file, one server.
//!
//! The file is locked as long as it is open, so a second server finds out when it starts. Writes go to
//! the log beside it (`-wal`) and are on the disk when a commit returns; SQLite moves them into the file
//! by itself.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::domain::authority::change::ChangeRecord;
use crate::domain::authority::form;
use crate::store::store::{Pruned, Retention, Store, StoreError, StoreWrite, StoredState};

mod guard;
mod marker;
mod prune;
mod read;
mod schema;
mod start;
mod write;

#[cfg(test)]
mod tests;

/// A store in one SQLite file, or in memory.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    /// How far the file has come, so that a commit need not ask.
    reached: StoreProgress,
    /// Watches its files; `None` if it has none.
    guard: Option<guard::FileGuard>,
}

/// What to do where the store that there was is missing, damaged or older than it should be. A store that is as it was
/// left is opened, whatever this says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnLoss {
    /// Refuse to open it.
    #[default]
    Refuse,
    /// Set aside what is there and begin with nothing.
    StartFresh,
    /// Go on with what is there, if it can be read at all.
    Continue,
}

/// How far a store has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct StoreProgress {
    revision: u64,
    clock: Option<SystemTime>,
    /// How many commits were made.
    commits: u64,
}

impl SqliteStore {
    /// Opens the file, creates it if there is none (readable by its owner only, as is what SQLite puts
    /// beside it), and brings its tables up to date.
    ///
    /// Fails at once if another process has it open, if it is no store of Callgate, or if a newer program
    /// wrote it; and if it has lost something since it was open last.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_or(path, OnLoss::Refuse)
    }

    /// The same, with a word on what to do if something is lost.
    pub fn open_or(path: &Path, on_loss: OnLoss) -> Result<Self, StoreError> {
        start::open(path, on_loss)
    }

    /// Opens the file as it is.
    fn open_file(path: &Path) -> Result<Self, StoreError> {
        let place = path.display().to_string();
        let fail = |why: String| StoreError::Open {
            place: place.clone(),
            why,
        };
        create(path).map_err(|error| fail(error.to_string()))?;
        // Without `SQLITE_OPEN_URI`: a path is a path.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(path, flags).map_err(|error| fail(explain(&error)))?;
        let mode = set_up(&connection).map_err(|error| fail(explain(&error)))?;
        if mode != "wal" {
            return Err(fail(format!(
                "its file system cannot hold a log that is written ahead (journal mode {mode})"
            )));
        }
        start::quick_check(&connection, path)?;
        Self::start(connection, &place)
    }

    /// A store that is gone with the process: for tests, and for a server that is to remember nothing.
    pub fn in_memory() -> Result<Self, StoreError> {
        let place = "in memory";
        let connection = Connection::open_in_memory().map_err(|error| StoreError::Open {
            place: place.to_owned(),
            why: explain(&error),
        })?;
        Self::start(connection, place)
    }

    fn start(mut connection: Connection, place: &str) -> Result<Self, StoreError> {
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
}

/// Makes an empty file that only its owner may read, unless there is a file. Never opens one that is
/// there: closing it again would let go of the locks that this process has on it.
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

/// Locks the file and says how it is to be written. Returns the journal mode that it got.
fn set_up(connection: &Connection) -> rusqlite::Result<String> {
    connection.busy_timeout(Duration::ZERO)?;
    // Before anything is read, or SQLite would share the log with others through a `-shm` file.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let mode = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    // Takes the lock now, whatever SQLite would have put off.
    connection.execute_batch("BEGIN EXCLUSIVE; COMMIT")?;
    Ok(mode)
}

/// What an operator can do something with.
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

/// A number as SQLite holds it. Nothing that is counted gets beyond what it can hold.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A moment as it is written down.
fn moment(at: SystemTime) -> i64 {
    number(form::millis(at))
}
