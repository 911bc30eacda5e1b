//! What headers repeat of a message. The server acts on the body; whoever routed the request may have acted
//! on the headers, so they must say the same.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use crate::adapters::mcp::request::header_value;

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// Headers that repeat arguments begin with this.
const PARAM: &str = "mcp-param-";

/// The headers of a request, in lower case. A header that comes twice has two values.
#[derive(Debug, Default)]
pub(crate) struct HeaderFields(HashMap<String, Vec<String>>);

/// A header that was to come once has several values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the header `{0}` comes twice")]
pub(crate) struct RepeatedHeaderError(pub(in crate::adapters) String);

/// What disagrees. The text is safe to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::adapters) enum HeaderMismatchError {
    #[error("the header `{0}` and the body disagree")]
    Header(&'static str),
    #[error("a header `Mcp-Param-...` tells of an argument that the body does not have")]
    Argument,
    #[error(transparent)]
    Twice(#[from] RepeatedHeaderError),
}

/// What a body says that headers may repeat.
#[derive(Debug, Default)]
pub(in crate::adapters) struct MirroredFields<'a> {
    /// `None` for what has no method.
    pub(in crate::adapters) method: Option<&'a str>,
    /// What the name may be, in every way that it is spelled between client and server.
    pub(in crate::adapters) names: Vec<Cow<'a, str>>,
    pub(in crate::adapters) version: Option<&'a str>,
    /// Arguments of a tool, as far as there are any.
    pub(in crate::adapters) arguments: Option<&'a Map<String, Json>>,
}

impl HeaderFields {
    /// From names and values, in any order.
    pub(in crate::adapters) fn of(all: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut headers: HashMap<String, Vec<String>> = HashMap::new();
        for (name, value) in all {
            headers
                .entry(name.to_ascii_lowercase())
                .or_default()
                .push(value);
        }
        Self(headers)
    }

    /// Whether a header is there.
    pub(in crate::adapters) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The one value of a header, if it is there.
    pub(in crate::adapters) fn get(&self, name: &str) -> Result<Option<&str>, RepeatedHeaderError> {
        match self.0.get(&name.to_ascii_lowercase()).map(Vec::as_slice) {
            None | Some([]) => Ok(None),
            Some([value]) => Ok(Some(value)),
            Some(_) => Err(RepeatedHeaderError(name.to_owned())),
        }
    }
}

/// The revision of the protocol that parameters name.
pub(in crate::adapters) fn version(params: &Map<String, Json>) -> Option<&str> {
    params.get("_meta")?.get(VERSION)?.as_str()
}

/// The arguments of a call of a tool.
pub(in crate::adapters) fn arguments<'p>(
    method: &str,
    params: &'p Map<String, Json>,
) -> Option<&'p Map<String, Json>> {
    let params = (method == "tools/call").then_some(params)?;
    params.get("arguments")?.as_object()
}

/// Whether an argument, at any depth of objects, is what a header says. Which one it has to be stands in the
/// tool's schema, which its server knows.
fn repeats_one(arguments: &Map<String, Json>, value: &str) -> bool {
    arguments.values().any(|argument| match argument {
        Json::String(text) => text == value,
        Json::Bool(flag) => flag.to_string() == value,
        Json::Number(number) => {
            number.to_string() == value || value.parse().ok() == number.as_f64()
        }
        Json::Object(members) => repeats_one(members, value),
        Json::Null | Json::Array(_) => false,
    })
}

/// Holds the headers that repeat a body against it.
pub(in crate::adapters) fn agree(
    headers: &HeaderFields,
    body: &MirroredFields<'_>,
) -> Result<(), HeaderMismatchError> {
    let check = |header: &'static str, is: &dyn Fn(&str) -> bool| {
        let Some(value) = headers.get(header)? else {
            return Ok(());
        };
        let value = header_value::decoded(value).ok_or(HeaderMismatchError::Header(header))?;
        match is(&value) {
            true => Ok(()),
            false => Err(HeaderMismatchError::Header(header)),
        }
    };
    check("mcp-method", &|value| body.method == Some(value))?;
    check("mcp-name", &|value| {
        body.names.iter().any(|name| name == value)
    })?;
    for (name, _) in headers.0.iter().filter(|it| it.0.starts_with(PARAM)) {
        let value = headers.get(name)?.and_then(header_value::decoded);
        let is_there = |value: &str| {
            body.arguments
                .is_some_and(|arguments| repeats_one(arguments, value))
        };
        if !value.is_some_and(|value| is_there(&value)) {
            return Err(HeaderMismatchError::Argument);
        }
    }
    match (headers.get("mcp-protocol-version")?, body.version) {
        (Some(header), Some(version)) if header != version => {
            Err(HeaderMismatchError::Header("mcp-protocol-version"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "mirrored_headers_tests.rs"]
mod tests;
