//! What a body says it is, said once for requests and responses: JSON in UTF-8, or events that carry it.
//!
//! A reader that believes in another character set reads another message: `+AG4-ame` is `name` in UTF-7. So nothing but
//! UTF-8 is read, and a type that two readers could understand differently is none.

/// A kind of body that carries messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::adapters) enum MediaType {
    /// One JSON text: `application/json`.
    Json,
    /// One JSON text under another name: `text/json`, `application/problem+json`. No client asks so, but some read it.
    OtherJson,
    /// `text/event-stream`.
    Events,
}

/// Why a media type is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::adapters) enum MediaError {
    /// It is another one.
    Other,
    /// It is written so that readers could disagree.
    Unclear,
    /// Its character set is not UTF-8.
    Charset,
}

impl MediaType {
    /// The media type in a `content-type` header (RFC 9110, 8.3.1). Its only parameter is `charset`, and that is `utf-8`,
    /// which is all that JSON has (RFC 8259, 8.1) and all that event streams have.
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

#[cfg(test)]
#[path = "media_type_tests.rs"]
mod tests;
