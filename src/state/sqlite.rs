//! The embedded store: one SQLite file, one server.
//!
//! The file is locked as long as it is open, so a second server finds out when it starts. Writes go to
//! the log beside it (`-wal`) and are on the disk when a commit returns; SQLite moves them into the file
//! by itself.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::call::live::change::Entry;
use crate::call::live::form;
use crate::state::store::{Loaded, Pruned, Retention, Store, StoreError, Write};

mod prune;
mod read;
mod schema;
mod write;

#[cfg(test)]
mod tests;

/// A store in one SQLite file, or in memory.
#[derive(Debug)]
pub struct Sqlite {
    connection: Connection,
    /// How far the file has come, so that a commit need not ask.
    reached: Reached,
}

/// How far a store has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Reached {
    revision: u64,
    clock: Option<SystemTime>,
}

impl Sqlite {
    /// Opens the file, creates it if there is none (readable by its owner only, as is what SQLite puts
    /// beside it), and brings its tables up to date.
    ///
    /// Fails at once if another process has it open, if it is no store of Callgate, or if a newer program
    /// wrote it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
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
        })
    }
}

impl Store for Sqlite {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        read::load(&self.connection, self.reached)
    }

    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(write_error)?;
        let reached = write::all(&transaction, writes, self.reached)?;
        transaction.commit().map_err(write_error)?;
        self.reached = reached;
        Ok(())
    }

    fn entries_after(&mut self, revision: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
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
    // A new name is on the disk once its folder is.
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
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
