//! Parameters of Python functions without a type annotation, as the official SDK for Python advertises them.
//!
//! It says of one that it is a text, `{"title": "path", "type": "string"}`, and takes anything for it: a text is parsed with
//! `json.loads` first. A parameter that is annotated as a text stays the text that was sent, and its title is made of its name:
//! `Path` of `path`.

use serde_json::Value as Json;

/// What the title of all arguments of a tool ends with in schemas of that SDK: the name of the function comes before.
const WHOLE: &str = "Arguments";

/// The names of such parameters in the input schema of a tool. One whose name is the title that an annotated one would have
/// (`Path`, `A`) is left out, as nothing tells the two apart.
pub fn unannotated(schema: &Json) -> impl Iterator<Item = &str> {
    let whole = schema.get("title").and_then(Json::as_str);
    let is_of_sdk = whole.is_some_and(|title| title.ends_with(WHOLE));
    let properties = schema.get("properties").filter(|_| is_of_sdk);
    let properties = properties.and_then(Json::as_object).into_iter().flatten();
    properties.filter_map(|(name, property)| {
        let title = property.get("title").and_then(Json::as_str);
        let is_text = property.get("type").is_some_and(|it| it == "string");
        (is_text && title == Some(name) && !is_title(name)).then_some(name.as_str())
    })
}

/// Whether a name is its own title: pydantic makes a space of `_`, and of the letters of a word the first a capital and the others
/// small.
fn is_title(name: &str) -> bool {
    let mut is_within_word = false;
    let mut fits = |sign: char| {
        let is_wrong = match is_within_word {
            true => sign.is_uppercase(),
            false => sign.is_lowercase(),
        };
        is_within_word = sign.is_uppercase() || sign.is_lowercase();
        !is_wrong
    };
    !name.contains('_') && name.chars().all(&mut fits)
}

#[cfg(test)]
#[path = "unannotated_tests.rs"]
mod tests;
