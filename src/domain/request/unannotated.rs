//! Parameters of Python functions without a type annotation, as the official SDK for Python advertises them.
//!
//! It says of one that it is a text, `{"title": "path", "type": "string"}`, and takes anything for it: a text is parsed with
//! `json.loads` first. A parameter that is annotated as a text stays the text that was sent, and its title is made of its name:
//! `Path` of `path`.

use serde_json::Value as Json;

/// What the title of all arguments of a tool ends with in schemas of that SDK: the name of the function comes before.
const WHOLE: &str = "Arguments";

/// The names of such parameters in the input schema of a tool. Some names are their own titles (`Path`, `A`): nothing tells whether
/// those are annotated, since all else that the SDK says of a parameter may come with a default, so they count as not.
pub fn unannotated(schema: &Json) -> impl Iterator<Item = &str> {
    let whole = schema.get("title").and_then(Json::as_str);
    let is_of_sdk = whole.is_some_and(|title| title.ends_with(WHOLE));
    let properties = schema.get("properties").filter(|_| is_of_sdk);
    let properties = properties.and_then(Json::as_object).into_iter().flatten();
    properties.filter_map(|(name, property)| {
        let title = property.get("title").and_then(Json::as_str);
        let is_text = property.get("type").is_some_and(|it| it == "string");
        (is_text && title == Some(name)).then_some(name.as_str())
    })
}

#[cfg(test)]
#[path = "unannotated_tests.rs"]
mod tests;
