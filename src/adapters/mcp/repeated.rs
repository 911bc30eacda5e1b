//! What headers repeat of a message. The server acts on the body; whoever routed the request may have acted
//! on the headers, so they must say the same.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use crate::adapters::mcp::header;

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// The headers of a request, in lower case. A header that comes twice has two values.
#[derive(Debug, Default)]
pub(in crate::adapters) struct Headers(HashMap<String, Vec<String>>);

/// A header that was to come once has several values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the header `{0}` comes twice")]
pub(in crate::adapters) struct Twice(pub(in crate::adapters) String);

/// What disagrees. The text is safe to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::adapters) enum Disagreement {
    #[error("the header `{0}` and the body disagree")]
    Header(&'static str),
    #[error(transparent)]
    Twice(#[from] Twice),
}

/// What a body says that headers may repeat.
#[derive(Debug, Default)]
pub(in crate::adapters) struct Body<'a> {
    /// `None` for what has no method.
    pub(in crate::adapters) method: Option<&'a str>,
    /// What the name may be, in every way that it is spelled between client and server.
    pub(in crate::adapters) names: Vec<Cow<'a, str>>,
    pub(in crate::adapters) version: Option<&'a str>,
}

impl Headers {
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
    pub(in crate::adapters) fn get(&self, name: &str) -> Result<Option<&str>, Twice> {
        match self.0.get(&name.to_ascii_lowercase()).map(Vec::as_slice) {
            None | Some([]) => Ok(None),
            Some([value]) => Ok(Some(value)),
            Some(_) => Err(Twice(name.to_owned())),
        }
    }
}

/// The revision of the protocol that parameters name.
pub(in crate::adapters) fn version(params: &Map<String, Json>) -> Option<&str> {
    params.get("_meta")?.get(VERSION)?.as_str()
}

/// Holds the headers that repeat a body against it.
pub(in crate::adapters) fn agree(headers: &Headers, body: &Body<'_>) -> Result<(), Disagreement> {
    let check = |header: &'static str, is: &dyn Fn(&str) -> bool| {
        let Some(value) = headers.get(header)? else {
            return Ok(());
        };
        let value = header::decoded(value).ok_or(Disagreement::Header(header))?;
        match is(&value) {
            true => Ok(()),
            false => Err(Disagreement::Header(header)),
        }
    };
    check("mcp-method", &|value| body.method == Some(value))?;
    check("mcp-name", &|value| {
        body.names.iter().any(|name| name == value)
    })?;
    match (headers.get("mcp-protocol-version")?, body.version) {
        (Some(header), Some(version)) if header != version => {
            Err(Disagreement::Header("mcp-protocol-version"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
