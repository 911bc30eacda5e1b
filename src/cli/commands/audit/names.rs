//! Names that others have chosen, written so that they can be told from the words around them: one that has blanks, arrows or
//! quotes is in quotes itself.

use crate::cli::render::printable;
use crate::cli::value_parser::{is_plain_name, short_name};

/// A name or an id; nothing of an empty one.
pub fn name(text: &str) -> String {
    match text.is_empty() || is_plain_name(text) {
        true => printable(text),
        false => quoted(text),
    }
}

/// Several names, with commas between them.
pub fn names<T: AsRef<str>>(texts: &[T]) -> String {
    let one = |text: &T| match text.as_ref() {
        "" => quoted(""),
        text => name(text),
    };
    texts.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// An entity, as short as it can be: `user:sam`, or as Cedar writes it, with its id in quotes.
pub fn entity(uid: &str) -> String {
    object(&short_name(uid))
}

/// An id, or an entity as Cedar writes it.
pub fn object(text: &str) -> String {
    match is_entity(text) {
        true => printable(text),
        false => name(text),
    }
}

/// Whether a text is a type and an id in quotes that end where it ends. One that was cut is not.
fn is_entity(text: &str) -> bool {
    let Some((of_type, rest)) = text.split_once("::\"") else {
        return false;
    };
    let Some(id) = rest.strip_suffix('"') else {
        return false;
    };
    let mut is_escaped = false;
    let has_quote = id.chars().any(|c| {
        let is_end = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_end
    });
    let is_type = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    of_type.chars().all(is_type) && !has_quote && !is_escaped
}

fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", printable(&text))
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
