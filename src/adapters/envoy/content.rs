//! What a response carries, as its headers say.

use crate::adapters::mcp::repeated::Headers;

/// What a response carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// One message of MCP.
    Message,
    /// A stream of them.
    Events,
    /// Nothing that a client takes for MCP: no body, or the text of an error.
    Other,
    /// Something that must not be read: a success in no form that MCP has, or nobody says in which.
    Nothing,
}

const MESSAGES: [&str; 2] = ["application/json", "text/json"];
const EVENTS: &str = "text/event-stream";

/// What a response carries, or why readers could disagree about it. The text is safe to send.
pub(super) fn of(status: u16, headers: &Headers, is_all: bool) -> Result<Content, &'static str> {
    const TYPE: &str = "the server does not say clearly what it answers with";
    if is_all {
        return Ok(Content::Other);
    }
    let Some(named) = headers.get("content-type").map_err(|_| TYPE)? else {
        return Ok(Content::Nothing);
    };
    let named = named.to_ascii_lowercase();
    let mut parameters = named.split(';').map(str::trim);
    let essence = parameters.next().unwrap_or_default();
    let content = match essence {
        EVENTS => Content::Events,
        essence if MESSAGES.contains(&essence) || essence.ends_with("+json") => Content::Message,
        _ if named.contains("json") || named.contains("event-stream") => return Err(TYPE),
        _ if (200..300).contains(&status) => return Ok(Content::Nothing),
        _ => return Ok(Content::Other),
    };
    let charsets = parameters.filter_map(|it| it.strip_prefix("charset"));
    let mut charsets = charsets.map(|it| it.trim_start_matches(['=', ' ']).trim_matches('"'));
    if charsets.any(|charset| charset != "utf-8" && charset != "us-ascii") {
        return Err("the server does not answer in UTF-8");
    }
    let encoding = headers.get("content-encoding").map_err(|_| TYPE)?;
    match encoding.is_some_and(|encoding| encoding != "identity") {
        true => Err("the server compresses its answer, which was not asked for"),
        false => Ok(content),
    }
}

#[cfg(test)]
mod tests;
