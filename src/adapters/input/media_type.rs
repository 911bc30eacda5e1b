//! Media types of bodies, for requests and responses: JSON in UTF-8, or events that carry it.
//!
//! A reader that assumes another character set sees another message: `+AG4-ame` is `name` in UTF-7. So only
//! UTF-8 is accepted, and a type that readers could understand differently is an error.

/// A media type that carries messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::adapters) enum MediaType {
    /// JSON: `application/json`.
    Json,
    /// JSON under another name: `text/json`, `application/problem+json`. Requests do not use it; some clients
    /// accept it in responses.
    OtherJson,
    /// `text/event-stream`.
    Events,
}

/// Why a media type is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::adapters) enum MediaError {
    /// It is another type.
    Other,
    /// It is written so that readers could disagree.
    Unclear,
    /// Its character set is not UTF-8.
    Charset,
}

impl MediaType {
    /// Parses a `content-type` header (RFC 9110, 8.3.1). The only parameter is `charset=utf-8`, the only
    /// character set of JSON (RFC 8259, 8.1) and event streams.
    pub(in crate::adapters) fn read(value: &str) -> Result<Self, MediaError> {
        let value = value.to_ascii_lowercase();
        let (essence, parameters) = match value.split_once(';') {
            Some((essence, parameters)) => (essence.trim(), Some(parameters.trim())),
            None => (value.trim(), None),
        };
        let media = match essence {
            "application/json" => Self::Json,
            "text/event-stream" => Self::Events,
            essence if essence == "text/json" || essence.ends_with("+json") => Self::OtherJson,
            _ if value.contains("json") || value.contains("event-stream") => {
                return Err(MediaError::Unclear);
            }
            _ => return Err(MediaError::Other),
        };
        match parameters {
            None | Some("" | "charset=utf-8" | "charset=\"utf-8\"") => Ok(media),
            Some(other) if other.starts_with("charset") => Err(MediaError::Charset),
            Some(_) => Err(MediaError::Unclear),
        }
    }
}

/// Whether the bytes of ASCII are its letters in a body of this `content-type`: it names no character set, or only such as
/// extend ASCII byte by byte.
pub(in crate::adapters) fn extends_ascii(value: &str) -> bool {
    const SETS: [&str; 5] = ["utf-8", "utf8", "us-ascii", "ascii", "latin1"];
    const FAMILIES: [&str; 2] = ["iso-8859-", "windows-125"];
    let value = value.to_ascii_lowercase();
    value.split("charset").skip(1).all(|rest| {
        let named = rest.trim_start().strip_prefix('=').unwrap_or_default();
        let named = named.split([';', ',']).next().unwrap_or_default();
        let named = named.trim_matches([' ', '\t', '"', '\'']);
        SETS.contains(&named) || FAMILIES.iter().any(|family| named.starts_with(family))
    })
}

#[cfg(test)]
#[path = "media_type_tests.rs"]
mod tests;
