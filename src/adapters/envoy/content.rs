//! What a response carries, as its headers say.

use crate::adapters::input::media_type::{MediaError, MediaType};
use crate::adapters::mcp::request::mirrored_headers::HeaderFields;

/// What a response carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResponseContent {
    /// One message of MCP.
    Message,
    /// A stream of them.
    Events,
    /// Nothing that a client takes for MCP: no body, or the text of an error.
    Other,
    /// Something that must not be read: a success in no form that MCP has, or nobody says in which.
    Nothing,
}

/// What a response carries, or why readers could disagree about it. The text is safe to send.
pub(super) fn of(
    status: u16,
    headers: &HeaderFields,
    is_all: bool,
) -> Result<ResponseContent, &'static str> {
    const TYPE: &str = "the server does not say clearly what it answers with";
    if is_all {
        return Ok(ResponseContent::Other);
    }
    let Some(named) = headers.get("content-type").map_err(|_| TYPE)? else {
        return Ok(ResponseContent::Nothing);
    };
    let content = match MediaType::read(named) {
        Ok(MediaType::Json | MediaType::OtherJson) => ResponseContent::Message,
        Ok(MediaType::Events) => ResponseContent::Events,
        Err(MediaError::Unclear) => return Err(TYPE),
        Err(MediaError::Charset) => return Err("the server does not answer in UTF-8"),
        Err(MediaError::Other) if (200..300).contains(&status) => {
            return Ok(ResponseContent::Nothing);
        }
        Err(MediaError::Other) => return Ok(ResponseContent::Other),
    };
    let encoding = headers.get("content-encoding").map_err(|_| TYPE)?;
    match encoding.is_some_and(|encoding| encoding != "identity") {
        true => Err("the server compresses its answer, which was not asked for"),
        false => Ok(content),
    }
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
