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

/// Applies the missing migrations.
///
/// # Errors
///
/// [`StoreError::Open`] if the file is of another program or cannot be written, [`StoreError::TooNew`] if a newer
/// program wrote it.
pub(super) fn migrate(connection: &mut Connection, place: &str) -> Result<(), StoreError> {
    let fail = |error: rusqlite::Error| StoreError::Open {
        place: place.to_owned(),
        why: explain(&error),
    };
    let version = pragma(connection, "user_version").map_err(fail)?;
    let application = pragma(connection, "application_id").map_err(fail)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(fail)?;
    let is_new = version == 0 && application == 0 && tables == 0;
    if !is_new && application != APPLICATION_ID {
        return Err(StoreError::Open {
            place: place.to_owned(),
            why: "it is a database of another program".to_owned(),
        });
    }
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    let Some(missing) = MIGRATIONS.get(done..) else {
        return Err(StoreError::TooNew {
            place: place.to_owned(),
            found: version.cast_unsigned(),
            known: VERSION,
        });
    };
    for (step, sql) in (version + 1..).zip(missing) {
        apply(connection, step, sql).map_err(fail)?;
    }
    Ok(())
}

/// Refuses a store that a newer program wrote, which is not changed.
///
/// # Errors
///
/// [`StoreError::TooNew`]; [`StoreError::Open`] if it cannot be read.
pub(super) fn refuse_newer(connection: &Connection, place: &str) -> Result<(), StoreError> {
    let read = |name: &str| {
        pragma(connection, name).map_err(|error| StoreError::Open {
            place: place.to_owned(),
            why: explain(&error),
        })
    };
    let is_ours = read("application_id")? == APPLICATION_ID;
    match read("user_version")?.cast_unsigned() {
        found if is_ours && found > VERSION => Err(StoreError::TooNew {
            place: place.to_owned(),
            found,
            known: VERSION,
        }),
        _ => Ok(()),
    }
}

/// The version of the tables of a store, which is not changed.
///
/// # Errors
///
/// [`StoreError::Open`] if the file is of another program, [`StoreError::TooNew`] if a newer program wrote it.
pub(super) fn version(connection: &Connection, place: &str) -> Result<u32, StoreError> {
    let fail = |why: String| StoreError::Open {
        place: place.to_owned(),
        why,
    };
    let read = |name: &str| pragma(connection, name).map_err(|error| fail(explain(&error)));
    if read("application_id")? != APPLICATION_ID {
        return Err(fail("it is a database of another program".to_owned()));
    }
    let version = read("user_version")?.cast_unsigned();
    if version > VERSION {
        return Err(StoreError::TooNew {
            place: place.to_owned(),
            found: version,
            known: VERSION,
        });
    }
    Ok(version)
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
