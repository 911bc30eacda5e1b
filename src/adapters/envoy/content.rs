//! Which kind of content a response carries, by its headers.

use crate::adapters::input::media_type::{self, MediaError, MediaType};
use crate::adapters::mcp::request::mirrored_headers::HeaderFields;

/// How the names of headers begin that only Callgate sends.
const OWN_HEADERS: &str = "x-callgate-";

/// The header that says how a body is compressed; of a body that is dropped it would say what is not so.
pub(super) const ENCODING: &str = "content-encoding";

/// The kind of content of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResponseContent {
    /// One JSON-RPC message.
    Message,
    /// A stream of server-sent events.
    Events,
    /// The body of an error under another media type, such as a page. Some clients read a message in it all the same.
    ErrorText,
    /// No body.
    Empty,
    /// A body that is dropped: a success of another media type than MCP has, one of none, or a text in a character set whose
    /// letters are other bytes than those of ASCII.
    Dropped,
    /// The body of an error that is dropped unread, for this reason: it is compressed, or readers could disagree about its type.
    /// Status and headers say enough of an error (whether to authenticate, to begin a session anew, to wait).
    Unread(&'static str),
}

/// Which replies clients read in a response, by its HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RepliesRead {
    /// Results and errors.
    All,
    /// Errors alone: the request has failed.
    Errors,
    /// None: the message is accepted, and that is all there is to say.
    None,
}

impl RepliesRead {
    pub(super) fn under(status: u16) -> Self {
        match status {
            202 | 204 | 205 => Self::None,
            200..300 => Self::All,
            _ => Self::Errors,
        }
    }
}

/// Classifies a response. An error means that it is no response of an error, and that its body cannot be read, or readers could
/// disagree about it; its text is safe to send.
pub(super) fn from_headers(
    status: u16,
    headers: &HeaderFields,
    is_all: bool,
) -> Result<ResponseContent, &'static str> {
    if is_all {
        return Ok(ResponseContent::Empty);
    }
    match of_body(status, headers) {
        Err(why) if status >= 400 => Ok(ResponseContent::Unread(why)),
        content => content,
    }
}

fn of_body(status: u16, headers: &HeaderFields) -> Result<ResponseContent, &'static str> {
    const TYPE: &str = "the server does not say clearly what it answers with";
    const COMPRESSED: &str = "the server compresses its answer though no `accept-encoding` reaches it: switch that off at the server, or have \
         what is in front of it decompress";
    let Some(named) = headers.get("content-type").map_err(|_| TYPE)? else {
        return Ok(ResponseContent::Dropped);
    };
    let is_error = !(200..300).contains(&status);
    let content = match MediaType::read(named) {
        Ok(MediaType::Json | MediaType::OtherJson) => ResponseContent::Message,
        Ok(MediaType::Events) => ResponseContent::Events,
        Err(MediaError::Unclear) => return Err(TYPE),
        Err(MediaError::Charset) => return Err("the server does not answer in UTF-8"),
        Err(MediaError::Other) if is_error && media_type::extends_ascii(named) => {
            ResponseContent::ErrorText
        }
        Err(MediaError::Other) => return Ok(ResponseContent::Dropped),
    };
    let encoding = headers.get(ENCODING).map_err(|_| TYPE)?;
    match encoding.is_some_and(|encoding| encoding != "identity") {
        true => Err(COMPRESSED),
        false => Ok(content),
    }
}

/// The headers of a server's response that only Callgate sends. Some clients read `_` in a header's name as `-`.
pub(super) fn own_headers(headers: &HeaderFields) -> Vec<String> {
    let names = headers.iter().map(|(name, _)| name);
    let own = names.filter(|name| name.replace('_', "-").starts_with(OWN_HEADERS));
    let mut own: Vec<_> = own.map(str::to_owned).collect();
    own.dedup();
    own
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
