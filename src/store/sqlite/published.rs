//! Published bundles and their archives.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::domain::authority::change::ChangeRecord;
use crate::domain::authority::published::PublishedBundle;
use crate::domain::ids::BundleId;
use crate::store::backend::{ORPHAN_MILLIS, PUBLISHED_KEPT, PublishedRevision, StoreError};
use crate::store::columns;
use crate::store::sqlite::rows::{self, TypeNameCache};
use crate::store::sqlite::{moment, number, write_error};

/// The archive of this id.
pub(super) fn archive(
    connection: &Connection,
    id: &BundleId,
) -> Result<Option<Vec<u8>>, StoreError> {
    connection
        .query_row(
            "SELECT archive FROM bundles WHERE id = ?1",
            [id.as_str()],
            |row| row.get(0),
        )
        .optional()
        .map_err(|error| StoreError::Read(error.to_string()))
}

/// The revisions that are kept, the newest first.
pub(super) fn all(connection: &Connection) -> Result<Vec<PublishedRevision>, StoreError> {
    let mut names = TypeNameCache::default();
    let sql = "SELECT revision, at, verb, caller, principal_type, principal_id, body FROM published
        ORDER BY revision DESC";
    rows::all(connection, sql, |row| {
        let principal = match rows::optional_text(row, 4)? {
            Some(_) => Some(names.uid(row, 4)?),
            None => None,
        };
        Ok(PublishedRevision {
            revision: rows::count(row, 0)?,
            at: rows::moment(row, 1)?,
            verb: rows::text(row, 2)?.into(),
            caller: rows::text(row, 3)?.into(),
            principal,
            bundle: rows::body(row, 6)?,
        })
    })
}

/// Notes a revision, whose archive has to be there, and removes the oldest.
pub(super) fn write(
    connection: &Connection,
    entry: &ChangeRecord,
    bundle: &PublishedBundle,
) -> Result<(), StoreError> {
    if archive(connection, &bundle.id)?.is_none() {
        let why = "the archive of the bundle is not stored";
        return Err(StoreError::Write(why.to_owned()));
    }
    let asker = &entry.asker;
    let (ty, name) = asker.principal.as_ref().map(columns::of_uid).unzip();
    let at = moment(entry.at);
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
        connection.execute(sql, values).map_err(write_error)
    };
    run(
        "INSERT INTO published (revision, at, verb, caller, principal_type, principal_id, bundle, body)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            number(entry.revision),
            at,
            entry.verb.as_str(),
            asker.caller.as_str(),
            ty,
            name,
            bundle.id.as_str(),
            columns::json(bundle)?
        ],
    )?;
    run(
        "DELETE FROM published WHERE revision NOT IN
            (SELECT revision FROM published ORDER BY revision DESC LIMIT ?1)",
        params![number(PUBLISHED_KEPT as u64)],
    )?;
    run(
        "DELETE FROM bundles WHERE id NOT IN (SELECT bundle FROM published) AND at < ?1",
        params![at - number(ORPHAN_MILLIS)],
    )?;
    Ok(())
}
