//! The tables and functions of the store in PostgreSQL, and their migrations.

use std::time::Duration;

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};

use crate::store::backend::StoreError;
use crate::store::postgres::errors;

/// The statements that make each version from the one before. A released one is never changed.
const MIGRATIONS: [&str; 5] = [
    include_str!("1.sql"),
    include_str!("2.sql"),
    include_str!("3.sql"),
    include_str!("4.sql"),
    include_str!("5.sql"),
];
/// Held by the server that migrates, for the length of its transaction: `Clgt`.
const LOCK: i64 = 0x436c_6774;
/// Time limit of a migration, waiting for another server's included.
pub(super) const LIMIT: Duration = Duration::from_secs(60);
/// The oldest version of PostgreSQL, as `server_version_num`.
const OLDEST: i32 = 150_000;

/// Applies the missing migrations in one transaction, one server at a time, and gives the id of the store. Where one is
/// `known`, no other one is touched and none is begun.
///
/// # Errors
///
/// [`StoreError::Away`] if it ends meanwhile, [`StoreError::Open`] if the database is too old or may not be
/// written, [`StoreError::TooNew`] if a newer program wrote it.
pub(super) async fn migrate(
    mut client: Client,
    place: &str,
    known: Option<&str>,
) -> Result<String, StoreError> {
    let fail = |error: tokio_postgres::Error| match errors::is_away(&error) {
        true => StoreError::Away {
            place: place.to_owned(),
            why: errors::text(&error),
        },
        false => open_error(place, errors::text(&error)),
    };
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
    let newest = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    let Some(missing) = usize::try_from(done)
        .ok()
        .and_then(|done| MIGRATIONS.get(done..))
    else {
        return Err(StoreError::TooNew {
            place: place.to_owned(),
            found: done.cast_unsigned(),
            known: newest,
        });
    };
    let found = match done {
        0 => None,
        _ => Some(store_id(&transaction, place).await?),
    };
    check_known(place, known, found.as_deref())?;
    if let Some(found) = found.filter(|_| missing.is_empty()) {
        return Ok(found);
    }
    if done == 0 {
        tracing::warn!(
            database = place,
            "there is no store in this database, and none is known here: a new one begins"
        );
        let begin = "CREATE SCHEMA IF NOT EXISTS callgate; CREATE TABLE callgate.version (number int4 NOT NULL);
            INSERT INTO callgate.version VALUES (0);";
        transaction.batch_execute(begin).await.map_err(fail)?;
    }
    for sql in missing {
        transaction.batch_execute(sql).await.map_err(fail)?;
    }
    let note = format!("UPDATE callgate.version SET number = {newest}");
    transaction.batch_execute(&note).await.map_err(fail)?;
    let id = store_id(&transaction, place).await?;
    transaction.commit().await.map_err(fail)?;
    Ok(id)
}

async fn store_id(transaction: &Transaction<'_>, place: &str) -> Result<String, StoreError> {
    let sql = "SELECT store_id FROM callgate.head";
    let rows = transaction.query_typed(sql, &[]).await;
    let rows = rows.map_err(|error| open_error(place, errors::text(&error)))?;
    first(&rows, place)
}

/// Fails if a store is known, and the database holds another one or none.
fn check_known(place: &str, known: Option<&str>, found: Option<&str>) -> Result<(), StoreError> {
    let what = match (known, found) {
        (None, _) => return Ok(()),
        (Some(known), Some(found)) if known == found => return Ok(()),
        (Some(_), Some(_)) => "it holds another store than this replica has decided from",
        (Some(_), None) => "it is empty, and this replica has decided from a store in it",
    };
    let why = format!(
        "{what}: what was revoked or stopped could be allowed again. Restore the database; or, to go on with what is there, start \
         once with `--new-store`"
    );
    Err(open_error(place, why))
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

#[cfg(test)]
mod tests {
    use super::check_known;

    #[test]
    fn another_store_or_none_is_refused_where_one_is_known() {
        for (known, found, is_refused) in [
            (None, None, false),
            (None, Some("a"), false),
            (Some("a"), Some("a"), false),
            (Some("a"), Some("b"), true),
            (Some("a"), None, true),
        ] {
            let said = check_known("here", known, found);
            assert_eq!(said.is_err(), is_refused, "{known:?} {found:?}");
        }
    }
}
