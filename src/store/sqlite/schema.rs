//! The tables of the store and their migrations.

use rusqlite::{Connection, TransactionBehavior};

use crate::store::backend::StoreError;
use crate::store::sqlite::explain;

/// The statements that make each version from the one before. A released one is never changed.
const MIGRATIONS: [&str; 2] = [include_str!("1.sql"), include_str!("2.sql")];

/// The version that this program writes.
pub(super) const VERSION: u32 = MIGRATIONS.len() as u32;

/// The application id in the file's header, which marks a store of Callgate: `Clgt`.
const APPLICATION_ID: i32 = 0x436c_6774;

const OF_ANOTHER: &str = "it is a database of another program";

/// Applies the missing migrations.
///
/// # Errors
///
/// [`StoreError::Open`] if the file is of another program or cannot be written, [`StoreError::TooNew`] if a newer
/// program wrote it.
pub(super) fn migrate(connection: &mut Connection, place: &str) -> Result<(), StoreError> {
    let done = checked(connection, place)?;
    for (step, sql) in (1..).zip(MIGRATIONS).skip(done as usize) {
        apply(connection, step, sql).map_err(|error| unusable(place, explain(&error)))?;
    }
    Ok(())
}

/// The version of the tables, which are not changed; 0 of a database that holds nothing yet.
///
/// # Errors
///
/// [`StoreError::Open`] if the file is of another program, [`StoreError::TooNew`] if a newer program wrote it.
pub(super) fn checked(connection: &Connection, place: &str) -> Result<u32, StoreError> {
    let failed = |error: rusqlite::Error| unusable(place, explain(&error));
    let version = pragma(connection, "user_version").map_err(failed)?;
    let application = pragma(connection, "application_id").map_err(failed)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    let is_new = version == 0 && application == 0 && tables == 0;
    if !is_new && application != APPLICATION_ID {
        return Err(unusable(place, OF_ANOTHER.to_owned()));
    }
    let version = version.cast_unsigned();
    if version > VERSION {
        return Err(StoreError::TooNew {
            place: place.to_owned(),
            found: version,
            known: VERSION,
        });
    }
    Ok(version)
}

/// The version of the tables of a store that holds something, which is not changed.
///
/// # Errors
///
/// As [`checked`]; [`StoreError::Open`] also for a database that holds nothing.
pub(super) fn version(connection: &Connection, place: &str) -> Result<u32, StoreError> {
    match checked(connection, place)? {
        0 => Err(unusable(place, OF_ANOTHER.to_owned())),
        version => Ok(version),
    }
}

fn unusable(place: &str, why: String) -> StoreError {
    StoreError::Open {
        place: place.to_owned(),
        why,
    }
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// Applies one migration in a transaction.
fn apply(connection: &mut Connection, version: i32, sql: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(sql)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()
}
