//! A digest of everything that a store holds, which a copy of it carries.
//!
//! SQLite's integrity check finds torn pages, and no changed byte within a value. So a copy says in `meta` what the digest of
//! its content was when it was made. It travels with the file, whatever that is called. A store that is opened to be
//! written to forgets it first: from then on it would not be true.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, params};
use sha2::{Digest as _, Sha256};

use crate::domain::request::canonical;

/// The name of the digest in `meta`.
const NAME: &str = "content_digest";

/// Writes the digest of the content into it.
pub(super) fn seal(connection: &Connection) -> rusqlite::Result<()> {
    let digest = of_content(connection)?;
    connection.execute(
        "INSERT INTO meta (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        params![NAME, digest],
    )?;
    Ok(())
}

/// The digest that it carries; `None` if it carries none.
pub(super) fn sealed(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT value FROM meta WHERE name = ?1";
    connection
        .query_row(sql, [NAME], |row| row.get(0))
        .optional()
}

/// Removes the digest of a store that is to be written to.
pub(super) fn forget(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM meta WHERE name = ?1", [NAME])?;
    Ok(())
}

/// The digest of the content, `sha256:<hex>`: every value of every row, and the statements that made the tables.
pub(super) fn of_content(connection: &Connection) -> rusqlite::Result<String> {
    let mut digest = Sha256::new();
    digest.update(b"callgate store content 1");
    for name in ["application_id", "user_version"] {
        let number: i64 = connection.pragma_query_value(None, name, |row| row.get(0))?;
        digest.update(number.to_le_bytes());
    }
    let made = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name";
    add_rows(&mut digest, connection, made)?;
    let mut tables =
        connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")?;
    let tables: Vec<String> = tables
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for table in tables {
        let others = match table.as_str() {
            "meta" => format!(" WHERE name <> '{NAME}'"),
            _ => String::new(),
        };
        // In the order of the table itself, which `NOT INDEXED` asks for.
        let name = table.replace('"', "\"\"");
        let rows = format!("SELECT * FROM \"{name}\" NOT INDEXED{others}");
        add_rows(&mut digest, connection, &rows)?;
    }
    Ok(format!("sha256:{}", canonical::hex(&digest.finalize())))
}

/// Every value of every row, each with its type and length.
fn add_rows(digest: &mut Sha256, connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    let mut count: u64 = 0;
    while let Some(row) = rows.next()? {
        count += 1;
        for column in 0..columns {
            add(digest, row.get_ref(column)?);
        }
    }
    digest.update([b'#']);
    digest.update(count.to_le_bytes());
    Ok(())
}

fn add(digest: &mut Sha256, value: ValueRef<'_>) {
    let mut long = |kind: u8, bytes: &[u8]| {
        digest.update([kind]);
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    };
    match value {
        ValueRef::Null => long(b'n', &[]),
        ValueRef::Integer(number) => long(b'i', &number.to_le_bytes()),
        ValueRef::Real(number) => long(b'r', &number.to_le_bytes()),
        ValueRef::Text(bytes) => long(b't', bytes),
        ValueRef::Blob(bytes) => long(b'b', bytes),
    }
}
