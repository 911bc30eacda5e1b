//! Opens a store and checks whether it has lost something since it was last open.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rusqlite::Connection;
use uuid::Uuid;

use crate::domain::authority::form;
use crate::store::backend::{Store, StoreError};
use crate::store::sqlite::guard::FileGuard;
use crate::store::sqlite::marker::{StoreMark, beside, file_of, files_of, path_of};
use crate::store::sqlite::{OnLoss, SqliteStore, explain, read, turned_back, write_error};
use crate::store::turned_back::{TurnedBack, TurnedBackHow};

/// A check that takes longer is logged.
const LONG: Duration = Duration::from_secs(1);

/// Opens a store, unless its marker names another store or more commits.
pub(super) fn open(path: &Path, on_loss: OnLoss) -> Result<SqliteStore, StoreError> {
    let fail = |error: io::Error| open_error(path, error.to_string());
    let mark = match StoreMark::read(path) {
        Ok(mark) => mark,
        Err(error) if on_loss == OnLoss::Refuse => return Err(fail(error)),
        Err(error) => {
            tracing::warn!(%error, "the marker of the store is written anew");
            None
        }
    };
    match look(path, mark.as_ref(), on_loss) {
        Ok(store) => begin(store, path),
        Err(lost) if on_loss == OnLoss::StartFresh && lost.is_loss => {
            let last = turned_back::given_out(&file_of(path), mark.as_ref());
            set_aside(path).map_err(fail)?;
            tracing::warn!(
                store = %path.display(),
                why = %lost.error,
                "a new store begins: nothing of what was delegated, approved, labelled, ended or stopped before is known"
            );
            let mut store = SqliteStore::open_file(path)?;
            if last > 0 {
                store.go_on_above(&TurnedBack {
                    how: TurnedBackHow::NewStore,
                    from: 0,
                    last,
                })?;
            }
            begin(store, path)
        }
        Err(lost) => Err(lost.error),
    }
}

/// Why a store is not opened.
struct StartError {
    error: StoreError,
    /// Whether its content is lost, at least in part. Otherwise it is only unreachable.
    is_loss: bool,
}

fn look(path: &Path, mark: Option<&StoreMark>, on_loss: OnLoss) -> Result<SqliteStore, StartError> {
    let lost = |why: String| StartError {
        error: open_error(path, why),
        is_loss: true,
    };
    let is_there = path.try_exists().unwrap_or(true);
    let marker = path_of(path);
    match mark {
        Some(_) if !is_there => {
            return Err(lost(format!(
                "it is gone, but `{}` says that there was one. Put it back; or, to begin with nothing, start once with \
                 `--new-store`",
                marker.display()
            )));
        }
        None if !is_there => {
            tracing::warn!(store = %path.display(), "there is no store and no marker of one: a new one begins");
        }
        _ => {}
    }
    let mut store = SqliteStore::open_file(path).map_err(|error| StartError {
        is_loss: is_damaged(&error) && (mark.is_some() || matches!(error, StoreError::Damaged(_))),
        error,
    })?;
    let id = read::meta_value(&store.connection, "store_id").map_err(|error| StartError {
        error,
        is_loss: true,
    })?;
    let Some(mark) = mark else {
        // One without an id has just been made.
        if id.is_some() {
            tracing::warn!(
                store = %path.display(),
                commits = store.reached.commits,
                "the marker of the store is gone and written anew: whether the store lacks something, or is an older copy, is not known"
            );
        }
        return Ok(store);
    };
    let has = store.reached.commits;
    let what = if id.as_deref() != Some(&mark.id) {
        format!("it is not the one that `{}` is for", marker.display())
    } else if has < mark.commits {
        let count = mark.commits - has;
        format!(
            "the last {count} of {} commits that it had acknowledged are lost",
            mark.commits
        )
    } else {
        return Ok(store);
    };
    if on_loss == OnLoss::Continue {
        tracing::warn!(store = %path.display(), what, "STORE_LOST: the store is taken as it is");
        let from = store.reached.revision;
        let noted = store.go_on_above(&TurnedBack {
            how: TurnedBackHow::AsItIs,
            from,
            last: from.max(turned_back::most_given_out(
                store.reached,
                id.as_deref(),
                mark,
            )),
        });
        return noted.map(|()| store).map_err(|error| StartError {
            error,
            is_loss: false,
        });
    }
    Err(lost(format!(
        "{what}: what was taken away since could be allowed again. Put back the newest copy with its `-wal`; or start \
         once with `--store-as-it-is` to go on with it, or with `--new-store` to begin with nothing"
    )))
}

/// Gives the store an id if it has none, and starts to watch its files.
fn begin(mut store: SqliteStore, path: &Path) -> Result<SqliteStore, StoreError> {
    let known = read::meta_value(&store.connection, "store_id")?;
    let id = match known {
        Some(id) => id.to_string(),
        None => {
            let id = Uuid::now_v7().to_string();
            let sql = "INSERT INTO meta (name, value) VALUES ('store_id', ?1)";
            store.connection.execute(sql, [&id]).map_err(write_error)?;
            id
        }
    };
    let mark = StoreMark {
        id,
        commits: store.reached.commits,
    };
    let guard = FileGuard::start(path, &mark);
    store.guard = Some(guard.map_err(|error| open_error(path, error.to_string()))?);
    store.check()?;
    Ok(store)
}

/// SQLite reports the same for a foreign file and for a store whose first page is lost.
fn is_damaged(error: &StoreError) -> bool {
    match error {
        StoreError::Damaged(_) => true,
        StoreError::Open { why, .. } => why.contains("damaged"),
        _ => false,
    }
}

/// Checks the file for damage before anything is read from it.
pub(super) fn quick_check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let begun = Instant::now();
    let found: rusqlite::Result<String> =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    let took = begun.elapsed();
    if took > LONG {
        let bytes = fs::metadata(path).map(|it| it.len()).unwrap_or_default();
        tracing::info!(store = %path.display(), bytes, millis = took.as_millis(), "the store was checked for damage");
    }
    let why = match found {
        Ok(said) if said == "ok" => return Ok(()),
        Ok(said) => said,
        Err(error) => explain(&error),
    };
    Err(StoreError::Damaged(format!(
        "{}: {why}. Put back a copy; or, to begin with nothing, start once with `--new-store`",
        path.display()
    )))
}

/// Renames the files of a store. Nothing is deleted.
fn set_aside(path: &Path) -> io::Result<()> {
    let now = form::millis(SystemTime::now());
    // The marker is written anew.
    let files = files_of(path)
        .into_iter()
        .filter(|(_, part)| *part != ".id");
    for (name, part) in files {
        let from = beside(&name, part);
        let to = beside(&name, &format!(".lost-{now}{part}"));
        match fs::rename(&from, &to) {
            Ok(()) => tracing::warn!(file = %from.display(), to = %to.display(), "set aside"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn open_error(path: &Path, why: String) -> StoreError {
    StoreError::Open {
        place: path.display().to_string(),
        why,
    }
}
