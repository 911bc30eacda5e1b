//! Reads the columns of rows, and says which column holds what it should not.

use std::collections::HashMap;
use std::time::SystemTime;

use callgate_engine::cedar::{Eid, EntityType, EntityUID};
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, ErrorCode, Params, Row};
use serde::de::DeserializeOwned;

use crate::domain::authority::form;
use crate::store::backend::StoreError;
use crate::store::columns;

/// Calls a function with every row.
pub(super) fn each(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    mut take: impl FnMut(&Row<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare(sql).map_err(read_error)?;
    let mut rows = statement.query(values).map_err(read_error)?;
    while let Some(row) = rows.next().map_err(read_error)? {
        take(row)?;
    }
    Ok(())
}

/// Reads every row into a value.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut found = Vec::new();
    each(connection, sql, [], |row| {
        found.push(read(row)?);
        Ok(())
    })?;
    Ok(found)
}

fn read_error(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged(error.to_string())
        }
        _ => StoreError::Read(error.to_string()),
    }
}

/// The error for a value that its column should not hold.
pub(super) fn invalid_column(
    row: &Row<'_>,
    column: usize,
    why: impl std::fmt::Display,
) -> StoreError {
    let name = row.as_ref().column_name(column).unwrap_or("?");
    let first = match row
        .get_ref(0)
        .map(|value| value.as_str().map(str::to_owned))
    {
        Ok(Ok(first)) => format!(" (first column `{first}`)"),
        _ => String::new(),
    };
    StoreError::Damaged(format!("column `{name}`{first}: {why}"))
}

/// A value of a row, read by a function.
pub(super) fn cell<'r, T>(
    row: &'r Row<'_>,
    column: usize,
    read: impl FnOnce(rusqlite::types::ValueRef<'r>) -> Result<T, FromSqlError>,
) -> Result<T, StoreError> {
    let value = row.get_ref(column).map_err(read_error)?;
    read(value).map_err(|error| invalid_column(row, column, error))
}

/// A text.
pub(super) fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, StoreError> {
    cell(row, column, |value| value.as_str())
}

/// A text, or nothing.
pub(super) fn optional_text<'r>(
    row: &'r Row<'_>,
    column: usize,
) -> Result<Option<&'r str>, StoreError> {
    cell(row, column, |value| value.as_str_or_null())
}

/// Bytes.
pub(super) fn bytes<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r [u8], StoreError> {
    cell(row, column, |value| value.as_blob())
}

/// A digest of 32 bytes.
pub(super) fn hash(row: &Row<'_>, column: usize) -> Result<[u8; 32], StoreError> {
    let bytes = bytes(row, column)?;
    bytes
        .try_into()
        .map_err(|_| invalid_column(row, column, "not 32 bytes"))
}

/// A number that is not negative.
pub(super) fn count(row: &Row<'_>, column: usize) -> Result<u64, StoreError> {
    let number = cell(row, column, |value| value.as_i64())?;
    u64::try_from(number).map_err(|_| invalid_column(row, column, "less than nothing"))
}

/// A moment, from milliseconds since 1970.
pub(super) fn moment(row: &Row<'_>, column: usize) -> Result<SystemTime, StoreError> {
    form::from_millis(count(row, column)?).ok_or_else(|| invalid_column(row, column, "no moment"))
}

/// A value in JSON.
pub(super) fn body<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T, StoreError> {
    serde_json::from_str(text(row, column)?).map_err(|error| invalid_column(row, column, error))
}

/// Entities, as one column holds several.
pub(super) fn uids(row: &Row<'_>, column: usize) -> Result<Vec<EntityUID>, StoreError> {
    columns::to_uids(text(row, column)?).map_err(|why| invalid_column(row, column, why))
}

/// Entity types seen so far: parsing one costs more than reading a row.
#[derive(Default)]
pub(super) struct TypeNameCache(HashMap<String, EntityType>);

impl TypeNameCache {
    /// The entity whose type is in this column and whose id is in the next one.
    pub(super) fn uid(&mut self, row: &Row<'_>, column: usize) -> Result<EntityUID, StoreError> {
        let ty = text(row, column)?;
        let ty = match self.0.get(ty) {
            Some(known) => known.clone(),
            None => {
                let parsed = EntityType::from_normalized_str(ty)
                    .map_err(|error| invalid_column(row, column, error))?;
                self.0.insert(ty.to_owned(), parsed.clone());
                parsed
            }
        };
        let id = Eid::new(text(row, column + 1)?);
        Ok(EntityUID::from_components(ty, id, None))
    }
}
