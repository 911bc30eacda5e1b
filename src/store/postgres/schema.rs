//! The tables and functions of the store in PostgreSQL, and their migrations.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::store::backend::StoreError;
use crate::store::postgres::errors;

/// The statements that make each version from the one before. A released one is never changed.
const MIGRATIONS: [&str; 2] = [include_str!("1.sql"), include_str!("2.sql")];
/// Held by the server that migrates, for the length of its transaction: `Clgt`.
const LOCK: i64 = 0x436c_6774;
/// Time limit of a migration, waiting for another server's included.
pub(super) const LIMIT: Duration = Duration::from_secs(60);
/// The oldest version of PostgreSQL, as `server_version_num`.
const OLDEST: i32 = 150_000;

/// Applies the missing migrations in one transaction, one server at a time.
///
/// # Errors
///
/// [`StoreError::Open`] if the database is too old or may not be written, [`StoreError::TooNew`] if a newer program wrote
/// it.
pub(super) async fn migrate(mut client: Client, place: &str) -> Result<(), StoreError> {
    let fail = |error: tokio_postgres::Error| open_error(place, errors::text(&error));
    let transaction = client.transaction().await.map_err(fail)?;
    let found = transaction
        .query_typed("SELECT current_setting('server_version_num')::int4", &[])
        .await
        .map_err(fail)?;
    let version: i32 = first(&found, place)?;
    if version < OLDEST {
        let why = format!(
            "it is PostgreSQL {}; Callgate needs 15 or later",
            version / 10_000
        );
        return Err(open_error(place, why));
    }
    transaction
        .query_typed("SELECT pg_advisory_xact_lock($1)", &[(&LOCK, Type::INT8)])
        .await
        .map_err(fail)?;
    let there = transaction
        .query_typed("SELECT to_regclass('callgate.version') IS NOT NULL", &[])
        .await
        .map_err(fail)?;
    let done: i32 = match first(&there, place)? {
        false => 0,
        true => {
            let rows = transaction
                .query_typed("SELECT number FROM callgate.version", &[])
                .await
                .map_err(fail)?;
            first(&rows, place)?
        }
    };
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    let Some(missing) = usize::try_from(done)
        .ok()
        .and_then(|done| MIGRATIONS.get(done..))
    else {
        return Err(StoreError::TooNew {
            place: place.to_owned(),
            found: done.cast_unsigned(),
            known,
        });
    };
    if missing.is_empty() {
        return Ok(());
    }
    if done == 0 {
        let begin = "CREATE SCHEMA IF NOT EXISTS callgate; CREATE TABLE callgate.version (number int4 NOT NULL);
            INSERT INTO callgate.version VALUES (0);";
        transaction.batch_execute(begin).await.map_err(fail)?;
    }
    for sql in missing {
        transaction.batch_execute(sql).await.map_err(fail)?;
    }
    let note = format!("UPDATE callgate.version SET number = {known}");
    transaction.batch_execute(&note).await.map_err(fail)?;
    transaction.commit().await.map_err(fail)
}

fn first<'r, T: tokio_postgres::types::FromSql<'r>>(
    rows: &'r [tokio_postgres::Row],
    place: &str,
) -> Result<T, StoreError> {
    let row = rows
        .first()
        .ok_or_else(|| open_error(place, "no row".to_owned()))?;
    row.try_get(0)
        .map_err(|error| open_error(place, errors::text(&error)))
}

pub(super) fn open_error(place: &str, why: String) -> StoreError {
    StoreError::Open {
        place: place.to_owned(),
        why,
    }
}
