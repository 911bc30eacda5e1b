//! Value parsers for the command line: `user:sam`, `github/get_issue`, `repo=shop`.

use std::borrow::Cow;
use std::sync::Arc;

use callgate_engine::cedar::EntityUID;
use serde_json::Value as Json;

use crate::bundle::diagnostic::SourceText;
use crate::bundle::parse::json;
use crate::proto::v1::EntityRef;

/// Short names of entity types.
const KINDS: [(&str, &str); 9] = [
    ("user", "Mcp::User"),
    ("agent", "Mcp::Agent"),
    ("group", "Mcp::Group"),
    ("server", "Mcp::Server"),
    ("tool", "Mcp::Tool"),
    ("resource", "Mcp::Resource"),
    ("prompt", "Mcp::Prompt"),
    ("task", "Mcp::Task"),
    ("gateway", "Mcp::Gateway"),
];

/// An entity reference.
pub fn entity_ref(of_type: &str, id: &str) -> EntityRef {
    EntityRef {
        r#type: of_type.to_owned(),
        id: id.to_owned(),
    }
}

/// Parses `user:sam`, `agent:support`, `group:staff` … or a uid `Mcp::User::"sam"`.
///
/// # Errors
///
/// If the text has neither form.
pub fn entity(text: &str) -> Result<EntityRef, String> {
    let said = || {
        format!(
            "`{text}` is neither a short name such as `user:sam` or `agent:support` nor a whole one such as `Mcp::User::\"sam\"`"
        )
    };
    match recognised(text) {
        Some(found) => found.ok_or_else(said),
        None => Err(said()),
    }
}

/// The short name of an entity as Cedar writes it: `agent:support` for `Mcp::Agent::"support"`. Others stay as they are, and
/// so do those whose id could be taken for more than one name: in quotes it cannot.
pub fn short_name(uid: &str) -> Cow<'_, str> {
    let short = KINDS.iter().find_map(|(short, whole)| {
        let id = uid
            .strip_prefix(whole)?
            .strip_prefix("::\"")?
            .strip_suffix('"')?;
        is_plain_name(id).then(|| format!("{short}:{id}"))
    });
    short.map_or(Cow::Borrowed(uid), Cow::Owned)
}

/// Whether a name can be told from the words around it without quotes: it has letters, digits and some signs, and no blanks.
pub fn is_plain_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || "-_.@:/+~#=*".contains(c);
    !name.is_empty() && name.chars().all(is_plain)
}

/// Parses an agent: its id, or any form that [`entity`] accepts.
///
/// # Errors
///
/// If the text is empty, or has a type but is invalid.
pub fn agent(text: &str) -> Result<EntityRef, String> {
    or_id(text, "Mcp::Agent")
}

/// Parses a user: the id, or any form that [`entity`] accepts.
///
/// # Errors
///
/// If the text is empty, or has a type but is invalid.
pub fn user(text: &str) -> Result<EntityRef, String> {
    or_id(text, "Mcp::User")
}

/// Parses an entity type: a short name such as `user`, or the full name.
///
/// # Errors
///
/// Never: an unknown type is left to the server.
pub fn kind(text: &str) -> Result<String, String> {
    let known = KINDS.iter().find(|(short, _)| *short == text);
    Ok(known.map_or(text, |(_, whole)| whole).to_owned())
}

/// Parses `<server>/<tool>`.
///
/// # Errors
///
/// If the text does not have that form.
pub fn tool(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((server, tool)) if !server.is_empty() && !tool.is_empty() => {
            Ok((server.to_owned(), tool.to_owned()))
        }
        _ => Err(format!(
            "`{text}` is not SERVER/TOOL, such as `github/get_issue`"
        )),
    }
}

/// Parses `NAME=VALUE`; the value is JSON, or else a string.
///
/// # Errors
///
/// If the text does not have that form.
pub fn with_value(text: &str) -> Result<(String, Json), String> {
    let (name, value) = in_two(text)?;
    Ok((name.to_owned(), json_or_text(value)?))
}

/// Reads a value that is JSON, or else a string.
///
/// # Errors
///
/// If it is JSON with a key that occurs twice: nobody can tell which of the two is meant.
pub fn json_or_text(text: &str) -> Result<Json, String> {
    match serde_json::from_str::<Json>(text) {
        Ok(_) => strict_json("", text),
        Err(_) => Ok(Json::String(text.to_owned())),
    }
}

/// Reads JSON. `name` is where the text comes from.
///
/// # Errors
///
/// If it is not JSON, or a key occurs twice.
pub fn strict_json(name: &str, text: &str) -> Result<Json, String> {
    let file: Arc<str> = Arc::from(name);
    let origin = SourceText { file: &file, text };
    json::parse(origin).map_err(|fault| fault.message)
}

/// Parses `NAME=VALUE`; the value is a string.
///
/// # Errors
///
/// If the text does not have that form.
pub fn with_text(text: &str) -> Result<(String, String), String> {
    let (name, value) = in_two(text)?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Parses `NAME=ENTITY`.
///
/// # Errors
///
/// If the text does not have that form.
pub fn with_entity(text: &str) -> Result<(String, EntityRef), String> {
    let (name, value) = in_two(text)?;
    Ok((name.to_owned(), entity(value)?))
}

fn in_two(text: &str) -> Result<(&str, &str), String> {
    let (name, value) = text.split_once('=').ok_or("it must be NAME=VALUE")?;
    if name.is_empty() {
        return Err("the name is empty".to_owned());
    }
    Ok((name, value))
}

/// Parses a typed name. `None` if the text has no type; `Some(None)` if it has one but is invalid.
fn recognised(text: &str) -> Option<Option<EntityRef>> {
    if let Some((kind, id)) = text.split_once(':')
        && let Some((_, whole)) = KINDS.iter().find(|(short, _)| *short == kind)
    {
        return Some((!id.is_empty()).then(|| entity_ref(whole, id)));
    }
    if !text.contains("::\"") {
        return None;
    }
    let uid = text.parse::<EntityUID>().ok();
    Some(uid.map(|uid| entity_ref(&uid.entity_type().to_string(), uid.eid().as_ref())))
}

fn or_id(text: &str, whole: &str) -> Result<EntityRef, String> {
    match recognised(text) {
        Some(_) => entity(text),
        None if text.is_empty() => Err("the id is empty".to_owned()),
        None => Ok(entity_ref(whole, text)),
    }
}

#[cfg(test)]
#[path = "value_parser_tests.rs"]
mod tests;
