//! Which revisions were given out before a store turned back, in its table `meta`.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::store::backend::StoreError;
use crate::store::sqlite::marker::StoreMark;
use crate::store::sqlite::read::TURNED_BACK;
use crate::store::sqlite::{StoreProgress, read, write_error};
use crate::store::turned_back::TurnedBack;
use crate::store::writer::GROUP;

/// Notes that the store has turned back: its revisions go on from there.
pub(super) fn note(connection: &Connection, turned: &TurnedBack) -> Result<(), StoreError> {
    let text = serde_json::to_string(turned).map_err(|it| StoreError::Write(it.to_string()))?;
    let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2)
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    connection
        .execute(sql, [TURNED_BACK, &text])
        .map_err(write_error)?;
    Ok(())
}

/// The last revision that the store has given out that a marker is of, by what can be read of it. No server has it open.
pub(super) fn given_out(database: &Path, mark: Option<&StoreMark>) -> u64 {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(database, flags).ok();
    let read = opened.and_then(|it| {
        let id = read::meta_value(&it, "store_id").ok()?;
        Some((read::reached(&it).ok()?, id))
    });
    let (has, id) = read.unwrap_or_default();
    match mark {
        Some(mark) => has.revision.max(most_given_out(has, id.as_deref(), mark)),
        None => has.revision,
    }
}

/// The last revision that was given out at most by the store that a marker is of, where another state of it was found, or another
/// store: for each commit that is not there as many as one commit holds.
pub(super) fn most_given_out(has: StoreProgress, id: Option<&str>, mark: &StoreMark) -> u64 {
    let has = match id == Some(&mark.id) {
        true => has,
        false => StoreProgress::default(),
    };
    let lost = mark.commits.saturating_sub(has.commits);
    has.revision
        .saturating_add(lost.saturating_mul(GROUP as u64))
}
