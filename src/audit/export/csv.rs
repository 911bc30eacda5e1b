//! Comma-separated values (RFC 4180), safe to open in a spreadsheet.

use std::io::{self, Write};

use crate::audit::export::columns::{self, COLUMNS, Cell, Type};
use crate::audit::json;
use crate::audit::record::Record;
use crate::domain::request::visible::escaped;

/// Writes the names of the columns.
///
/// # Errors
///
/// If the output cannot be written.
pub fn header(out: &mut impl Write) -> io::Result<()> {
    let names: Vec<_> = COLUMNS.iter().map(|(name, _)| *name).collect();
    write!(out, "{}\r\n", names.join(","))
}

/// Writes a record as one line.
///
/// # Errors
///
/// If the output cannot be written.
pub fn row(out: &mut impl Write, record: &Record) -> io::Result<()> {
    let cells = columns::row(record);
    let fields = cells
        .iter()
        .zip(COLUMNS)
        .map(|(cell, (_, kind))| match (cell, kind) {
            (Cell::Empty, _) => String::new(),
            (Cell::Text(text), _) => field(text),
            (Cell::Number(at), Type::Time) => json::time(*at),
            (Cell::Number(number), _) => number.to_string(),
        });
    let fields: Vec<_> = fields.collect();
    write!(out, "{}\r\n", fields.join(","))
}

/// A text as a field. Invisible characters are escaped, so a record is one line. A text that a spreadsheet would take for
/// a formula gets an apostrophe before it (OWASP, CSV injection).
fn field(text: &str) -> String {
    let shown = escaped(text);
    let is_formula = shown.starts_with(['=', '+', '-', '@']);
    let shown = match is_formula {
        true => format!("'{shown}"),
        false => shown.into_owned(),
    };
    match shown.contains([',', '"']) {
        true => format!("\"{}\"", shown.replace('"', "\"\"")),
        false => shown,
    }
}
