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

/// Writes a record of a log with this origin as one line.
///
/// # Errors
///
/// If the output cannot be written.
pub fn row(out: &mut impl Write, record: &Record, log: &str) -> io::Result<()> {
    let cells = columns::row(record, log);
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

/// What a formula begins with, in full width too.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

/// A text as a field. Invisible characters are escaped, so a record is one line. Where a spreadsheet would take it for a
/// formula, at its beginning and, as some take `;` for the separator, after each `;`, it gets an apostrophe (OWASP, CSV
/// injection). Blanks and quotes do not end a beginning: a reader leaves them out. An apostrophe there gets one, too: without
/// the first apostrophe of each such place it is the text as it was.
fn field(text: &str) -> String {
    let escaped = escaped(text);
    let mut shown = String::with_capacity(escaped.len());
    let mut is_beginning = true;
    for char in escaped.chars() {
        if is_beginning && (char == '\'' || FORMULA.contains(&char)) {
            shown.push('\'');
        }
        shown.push(char);
        is_beginning = char == ';' || is_beginning && matches!(char, '"' | ' ');
    }
    match shown.contains([',', ';', '"']) {
        true => format!("\"{}\"", shown.replace('"', "\"\"")),
        false => shown,
    }
}

#[cfg(test)]
#[path = "csv_tests.rs"]
mod tests;
