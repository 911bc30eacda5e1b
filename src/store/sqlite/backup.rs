//! Copies of a store: taken while a server has it open, checked, and put back.
//!
//! A server keeps its store locked, so the copy is made from its files. While the write-ahead log is not begun anew, SQLite
//! only appends to it, and moves to the main file only what the log still holds. So the main file is copied first, then the
//! log, and both are consistent if the header of the log (its salts change each time it is begun) is the same before and
//! after. Pages of the main file that were half written meanwhile are whole in the log, whose frames have checksums (SQLite,
//! "Write-Ahead Logging" and "Database File Format", section 4). What is put back is copied in the same way, whether it is a
//! copy that was made so or the files that a server has left.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use uuid::Uuid;

use crate::domain::authority::form;
use crate::store::backend::StoreError;
use crate::store::sqlite::marker::{self, MarkerFile, StoreMark, beside};
use crate::store::sqlite::{content_digest, explain, read, schema, turned_back};
use crate::store::turned_back::{TurnedBack, TurnedBackHow};

/// How often a copy is begun again because the server began its log anew meanwhile.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(50);
/// The logs of SQLite: what is in them belongs to the store.
const LOGS: [&str; 2] = ["-wal", "-journal"];
/// The length of what begins a log anew.
const LOG_HEADER: usize = 32;
/// How much is copied at once.
const CHUNK: usize = 1 << 20;

/// The first bytes of each of [`LOGS`]; `None` of one that is not there or holds nothing.
type LogHeaders = [Option<[u8; LOG_HEADER]>; LOGS.len()];

/// What a copy holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSummary {
    /// The last revision in it.
    pub revision: u64,
    /// The number of commits it holds.
    pub commits: u64,
    /// The id of the store; `None` if no server has opened it yet.
    pub store_id: Option<String>,
    /// The version of its tables.
    pub schema_version: u32,
    /// Its size.
    pub bytes: u64,
    /// The digest of what it holds, which was found to be true; `None` of what was not made by [`backup`], or by an older
    /// program, so that no changed value would be noticed.
    pub content_digest: Option<String>,
}

/// What was put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreSummary {
    /// What the copy holds.
    pub backup: BackupSummary,
    /// Commits that the replaced store had and the copy has not; `None` without a replaced store, or if it was another one.
    pub lost_commits: Option<u64>,
    /// Whether the replaced store was another one than the copy is of.
    pub replaced_other: bool,
    /// The revision that its state has from now on: above all that were given out before, as far as the files say.
    pub goes_on_at: u64,
    /// Where the files of the replaced store are now.
    pub set_aside: Vec<PathBuf>,
}

/// A copy cannot be made or put back. Nothing was changed, unless the message says so.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is a file already.
    #[error("`{}` is there already: name a file that is not", .0.display())]
    Exists(PathBuf),
    /// There is a store already.
    #[error("`{}` is a store already: `--replace` sets it aside", .0.display())]
    StoreExists(PathBuf),
    /// There is no such file.
    #[error("there is no `{}`", .0.display())]
    Missing(PathBuf),
    /// The copy is the store itself.
    #[error("`{}` is the copy itself: name the store that it is to be put in place of", .0.display())]
    Same(PathBuf),
    /// A file cannot be read or written.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The server began its log anew during every try.
    #[error("the store changes too fast to be copied; try again")]
    Busy,
    /// The copy is damaged.
    #[error("the copy is not whole: {0}")]
    Damaged(String),
    /// The files lack what their store had acknowledged.
    #[error(
        "`{}` {what}, as `{}` says: what was taken away since could be allowed again. Its `-wal` belongs beside it; move the \
         `.id` away to take it as it is",
        store.display(), marker.display()
    )]
    Lacking {
        /// The store.
        store: PathBuf,
        /// Its marker.
        marker: PathBuf,
        /// What it lacks.
        what: String,
    },
    /// The content cannot be read, or another process has it open.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Copies a store to a new file that only its owner may read, and checks the copy: SQLite's integrity check, then
/// everything in it is read as a start reads it. The server may run meanwhile. Blocks on the disk.
///
/// # Errors
///
/// [`BackupError`]; there is no file then.
pub fn backup(database: &Path, to: &Path) -> Result<BackupSummary, BackupError> {
    if !exists(database)? {
        return Err(BackupError::Missing(database.to_owned()));
    }
    // Logs and a marker beside it would be taken for parts of it.
    for (name, part) in marker::files_of(to) {
        let file = beside(&name, part);
        if exists(&file)? {
            return Err(BackupError::Exists(file));
        }
    }
    check_folder(to)?;
    let partial = temporary(to);
    let made = copy_whole(database, &partial, true).and_then(|summary| {
        // A link, unlike a rename, never replaces a file that has come meanwhile.
        match fs::hard_link(&partial, to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(BackupError::Exists(to.to_owned()));
            }
            linked => io_at(to, linked)?,
        }
        io_at(to, marker::sync_folder(to))?;
        Ok(summary)
    });
    remove_parts(&partial);
    made
}

/// Puts a copy in place of a store that no server has open, with what the logs beside it hold. A store that is there is set
/// aside, if `may_replace`.
///
/// # Errors
///
/// [`BackupError`]. If putting the copy in place fails, the replaced store is where it was set aside.
pub fn restore(
    from: &Path,
    database: &Path,
    may_replace: bool,
) -> Result<RestoreSummary, BackupError> {
    if !exists(from)? {
        return Err(BackupError::Missing(from.to_owned()));
    }
    if is_same(from, database)? {
        return Err(BackupError::Same(from.to_owned()));
    }
    let target = marker::file_of(database);
    let is_there = exists(&target)? || exists(&marker::path_of(database))?;
    if is_there && !may_replace {
        return Err(BackupError::StoreExists(database.to_owned()));
    }
    if exists(&target)? {
        check_unused(&target)?;
    }
    check_folder(&target)?;
    let partial = temporary(&target);
    let placed = copy_whole(from, &partial, false).and_then(|backup| {
        let mark = StoreMark::read(database).ok().flatten();
        let turned = TurnedBack {
            how: TurnedBackHow::Restored,
            from: backup.revision,
            last: turned_back::given_out(&target, mark.as_ref()).max(backup.revision),
        };
        unseal(&partial, &turned)?;
        place(&partial, database, (backup, &turned))
    });
    remove_parts(&partial);
    placed
}

/// Copies a store with its logs, moves them into the main file, and checks that it is whole. If it `is_new`, it gets a digest.
fn copy_whole(from: &Path, to: &Path, is_new: bool) -> Result<BackupSummary, BackupError> {
    // Before anything is copied: a running server goes on.
    let mark = io_at(&marker::path_of(from), StoreMark::read(from))?;
    copy_consistent(&marker::file_of(from), to)?;
    settle(to, is_new)?;
    let summary = check(to, from)?;
    let what = match mark {
        Some(mark) if summary.store_id.as_ref() != Some(&mark.id) => {
            "is of another store".to_owned()
        }
        Some(mark) if summary.commits < mark.commits => format!(
            "lacks the last {} of {} commits",
            mark.commits - summary.commits,
            mark.commits
        ),
        _ => return Ok(summary),
    };
    Err(BackupError::Lacking {
        store: from.to_owned(),
        marker: marker::path_of(from),
        what,
    })
}

/// A name beside a file that nobody else uses.
fn temporary(file: &Path) -> PathBuf {
    beside(file, &format!(".partial-{}", Uuid::now_v7().simple()))
}

/// Whether both are one file, by whatever names.
fn is_same(from: &Path, database: &Path) -> Result<bool, BackupError> {
    let found = match fs::metadata(database) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        found => io_at(database, found)?,
    };
    let copy = io_at(from, fs::metadata(from))?;
    Ok((copy.dev(), copy.ino()) == (found.dev(), found.ino()))
}

/// The id of the store that is there, by its marker or else by what is in it; `None` if neither says.
fn id_of(database: &Path) -> Option<String> {
    let mark = StoreMark::read(database).ok().flatten();
    mark.map(|mark| mark.id).or_else(|| {
        let connection = open(database, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        let id = read::meta_value(&connection, "store_id").ok()??;
        Some(id.to_string())
    })
}

/// Checks that there is a folder for this file.
fn check_folder(file: &Path) -> Result<(), BackupError> {
    let folder = marker::folder_of(file);
    match exists(folder)? {
        true => Ok(()),
        false => Err(BackupError::Missing(folder.to_owned())),
    }
}

/// Moves a checked copy to where the store belongs, with a marker of its own.
fn place(
    partial: &Path,
    database: &Path,
    (backup, turned): (BackupSummary, &TurnedBack),
) -> Result<RestoreSummary, BackupError> {
    let before = id_of(database);
    let is_other = |id: &String| Some(id) != backup.store_id.as_ref();
    let replaced_other = before.as_ref().is_some_and(is_other);
    let mark = StoreMark::read(database).ok().flatten();
    let mark = mark.filter(|mark| Some(&mark.id) == backup.store_id.as_ref());
    let set_aside = set_aside(database)?;
    let file = marker::file_of(database);
    io_at(&file, fs::rename(partial, &file))?;
    io_at(&file, marker::sync_folder(&file))?;
    if let Some(id) = backup.store_id.clone() {
        let commits = backup.commits;
        io_at(
            &marker::path_of(database),
            MarkerFile::put(database, &StoreMark { id, commits }),
        )?;
    }
    Ok(RestoreSummary {
        lost_commits: mark.map(|mark| mark.commits.saturating_sub(backup.commits)),
        replaced_other,
        goes_on_at: turned.revision(),
        backup,
        set_aside,
    })
}

/// Copies main file and logs as of one moment.
fn copy_consistent(database: &Path, to: &Path) -> Result<(), BackupError> {
    for _ in 0..TRIES {
        remove_parts(to);
        let before = log_headers(database)?;
        copy_file(database, to)?;
        for (part, _) in LOGS
            .iter()
            .zip(before)
            .filter(|(_, header)| header.is_some())
        {
            let log = beside(database, part);
            match copy_file(&log, &beside(to, part)) {
                // It is found below to have changed.
                Err(BackupError::Io { path, source })
                    if path == log && source.kind() == io::ErrorKind::NotFound => {}
                copied => copied?,
            }
        }
        if log_headers(database)? == before {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    Err(BackupError::Busy)
}

fn log_headers(database: &Path) -> Result<LogHeaders, BackupError> {
    let mut headers = LogHeaders::default();
    for (header, part) in headers.iter_mut().zip(LOGS) {
        let log = beside(database, part);
        *header = io_at(&log, log_header(&log))?;
    }
    Ok(headers)
}

/// What begins a log; `None` if it holds nothing.
fn log_header(log: &Path) -> io::Result<Option<[u8; LOG_HEADER]>> {
    let mut header = [0; LOG_HEADER];
    let read = File::open(log).and_then(|mut file| file.read_exact(&mut header));
    match read {
        Ok(()) => Ok(Some(header)),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => Ok(None),
            _ => Err(error),
        },
    }
}

/// Moves the logs of a copy into its main file, which is then the whole store. If it `is_new`, it gets a digest of its content.
fn settle(copy: &Path, is_new: bool) -> Result<(), BackupError> {
    let failed = |error: rusqlite::Error| unsettled(copy, &error);
    let connection = open(copy, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0))
        .map_err(failed)?;
    if mode != "delete" {
        return Err(BackupError::Damaged(format!("its journal mode is {mode}")));
    }
    // Tables of another program have no place for it.
    let is_store = schema::version(&connection, &copy.display().to_string()).is_ok();
    if is_new && is_store {
        content_digest::seal(&connection).map_err(failed)?;
    }
    connection.close().map_err(|(_, error)| failed(error))?;
    io_at(copy, File::open(copy).and_then(|file| file.sync_all()))
}

/// Removes the digest of a copy that becomes a store, which is written to; its revisions go on above those of the one before.
fn unseal(copy: &Path, turned: &TurnedBack) -> Result<(), BackupError> {
    let failed = |error: rusqlite::Error| unsettled(copy, &error);
    let connection = open(copy, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    content_digest::forget(&connection).map_err(failed)?;
    turned_back::note(&connection, turned)?;
    connection.close().map_err(|(_, error)| failed(error))?;
    io_at(copy, File::open(copy).and_then(|file| file.sync_all()))
}

/// Whether a copy cannot be written, or is damaged.
fn unsettled(copy: &Path, error: &rusqlite::Error) -> BackupError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::ReadOnly) => {
            BackupError::Io {
                path: copy.to_owned(),
                source: io::Error::other(explain(error)),
            }
        }
        _ => BackupError::Damaged(explain(error)),
    }
}

/// Checks a copy without changing it. Errors name what it is a copy of.
fn check(copy: &Path, of: &Path) -> Result<BackupSummary, BackupError> {
    let damaged = |error: rusqlite::Error| BackupError::Damaged(explain(&error));
    let connection = open(copy, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let said: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(damaged)?;
    if said != "ok" {
        return Err(BackupError::Damaged(said));
    }
    let schema_version = schema::version(&connection, &of.display().to_string())?;
    let sealed = content_digest::sealed(&connection).map_err(damaged)?;
    let found = content_digest::of_content(&connection).map_err(damaged)?;
    if sealed.as_ref().is_some_and(|sealed| *sealed != found) {
        let what = "what it holds has changed since it was made (its digest is another)";
        return Err(BackupError::Damaged(what.to_owned()));
    }
    let reached = read::reached(&connection)?;
    let store_id = read::meta_value(&connection, "store_id")?;
    if schema_version == schema::VERSION {
        // Tables of an older version are read once a server has brought them up to date.
        read::load(&connection, reached)?;
    }
    Ok(BackupSummary {
        revision: reached.revision,
        commits: reached.commits,
        store_id: store_id.map(|id| id.to_string()),
        schema_version,
        bytes: io_at(copy, fs::metadata(copy))?.len(),
        content_digest: sealed,
    })
}

/// Fails if a server has the store open. It is locked and unlocked again, and not changed.
fn check_unused(database: &Path) -> Result<(), BackupError> {
    let connection = open(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let locked = connection
        .busy_timeout(Duration::ZERO)
        .and_then(|()| connection.pragma_update(None, "locking_mode", "EXCLUSIVE"))
        .and_then(|()| connection.execute_batch("BEGIN EXCLUSIVE; ROLLBACK"));
    match locked {
        Err(error) if is_busy(&error) => Err(BackupError::Store(StoreError::Open {
            place: database.display().to_string(),
            why: explain(&error),
        })),
        // A store that is damaged is one to be replaced.
        _ => Ok(()),
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(
        code,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

fn open(path: &Path, access: OpenFlags) -> Result<Connection, BackupError> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags);
    let connection = opened.map_err(|error| BackupError::Damaged(explain(&error)))?;
    let set = connection
        .pragma_update(None, "trusted_schema", false)
        .and_then(|()| connection.pragma_update(None, "cell_size_check", true));
    set.map_err(|error| BackupError::Damaged(explain(&error)))?;
    Ok(connection)
}

/// Copies a file to a new one that only its owner may read, and syncs it. Errors name the file that they are of.
fn copy_file(from: &Path, to: &Path) -> Result<(), BackupError> {
    let mut source = io_at(from, File::open(from))?;
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let mut copy = io_at(to, options.open(to))?;
    let mut chunk = vec![0; CHUNK];
    loop {
        match source.read(&mut chunk) {
            Ok(0) => return io_at(to, copy.sync_all()),
            Ok(length) => io_at(to, copy.write_all(&chunk[..length]))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return io_at(from, Err(error)),
        }
    }
}

/// Renames the files of a store. Nothing is deleted.
fn set_aside(database: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let now = form::millis(SystemTime::now());
    let aside = format!(".replaced-{now}");
    let mut moved = Vec::new();
    for (name, part) in marker::files_of(database) {
        let (from, to) = (
            beside(&name, part),
            beside(&name, &format!("{aside}{part}")),
        );
        match fs::rename(&from, &to) {
            Ok(()) => moved.push(to),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(BackupError::Io { path: from, source }),
        }
    }
    Ok(moved)
}

/// Removes what an unfinished copy leaves.
fn remove_parts(copy: &Path) {
    for part in ["", "-wal", "-shm", "-journal"] {
        let _ = fs::remove_file(beside(copy, part));
    }
}

fn exists(path: &Path) -> Result<bool, BackupError> {
    io_at(path, path.try_exists())
}

fn io_at<T>(path: &Path, result: io::Result<T>) -> Result<T, BackupError> {
    result.map_err(|source| BackupError::Io {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
#[path = "backup_tests.rs"]
mod tests;
