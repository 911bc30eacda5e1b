//! Headers that mirror a message. The server acts on the body; a gateway may have routed by the headers, so
//! they must agree.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::{Map, Number, Value as Json};
use smol_str::SmolStr;

use crate::adapters::input::json as strict_json;
use crate::adapters::input::json::KeyPolicy;
use crate::adapters::mcp::request::header_value;

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// The prefix of headers that mirror arguments.
const PARAM: &str = "mcp-param-";

/// The headers of a message with their values, in the order of their names in lower case. A repeated header comes several
/// times.
#[derive(Debug, Default)]
pub(crate) struct HeaderFields(Vec<(SmolStr, SmolStr)>);

/// A header that may occur once is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the header `{0}` comes twice")]
pub(crate) struct RepeatedHeaderError(pub(in crate::adapters) String);

/// Which header disagrees. The text is safe to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::adapters) enum HeaderMismatchError {
    #[error("the header `{0}` and the body disagree")]
    Header(&'static str),
    #[error("a header `Mcp-Param-...` tells of an argument that the body does not have")]
    Argument,
    #[error(transparent)]
    Twice(#[from] RepeatedHeaderError),
}

/// The parts of a body that headers may mirror.
#[derive(Debug, Default)]
pub(in crate::adapters) struct MirroredFields<'a> {
    /// `None` for a message without a method.
    pub(in crate::adapters) method: Option<&'a str>,
    /// Every spelling of the name that client and server may use.
    pub(in crate::adapters) names: Vec<Cow<'a, str>>,
    pub(in crate::adapters) version: Option<&'a str>,
    /// The arguments of a tool call, if any.
    pub(in crate::adapters) arguments: Option<&'a Map<String, Json>>,
}

/// Collects names and values, in any order.
impl FromIterator<(SmolStr, SmolStr)> for HeaderFields {
    fn from_iter<I: IntoIterator<Item = (SmolStr, SmolStr)>>(all: I) -> Self {
        let mut headers: Vec<_> = all.into_iter().collect();
        for (name, _) in &mut headers {
            if let Cow::Owned(lower) = lower_case(name) {
                *name = lower.into();
            }
        }
        headers.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self(headers)
    }
}

impl HeaderFields {
    /// Whether a header is present. Names are the same in either case.
    pub(in crate::adapters) fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// The value of a header, if it is present once.
    pub(in crate::adapters) fn get(&self, name: &str) -> Result<Option<&str>, RepeatedHeaderError> {
        match self.all(name) {
            [] => Ok(None),
            [(_, value)] => Ok(Some(value)),
            _ => Err(RepeatedHeaderError(name.to_owned())),
        }
    }

    /// The value of a header that is no list, if it is present once. A value with a comma counts as several: a proxy
    /// may have made it of them, and the server may act on any one.
    pub(in crate::adapters) fn single(
        &self,
        name: &str,
    ) -> Result<Option<&str>, RepeatedHeaderError> {
        match self.get(name)? {
            Some(value) if value.contains(',') => Err(RepeatedHeaderError(name.to_owned())),
            value => Ok(value),
        }
    }

    /// The values of a header that may be repeated, in their order.
    pub(in crate::adapters) fn each(&self, name: &str) -> impl Iterator<Item = &str> {
        self.all(name).iter().map(|(_, value)| &**value)
    }

    /// All of them, with their names in lower case.
    pub(in crate::adapters) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    fn all(&self, name: &str) -> &[(SmolStr, SmolStr)] {
        let name = lower_case(name);
        let begin = self.0.partition_point(|(known, _)| **known < *name);
        let rest = &self.0[begin..];
        let count = rest.iter().take_while(|(known, _)| **known == *name);
        &rest[..count.count()]
    }
}

/// A name in lower case, as nearly all are that are asked for.
fn lower_case(name: &str) -> Cow<'_, str> {
    match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    }
}

/// The protocol revision that the parameters name.
pub(in crate::adapters) fn version(params: &Map<String, Json>) -> Option<&str> {
    params.get("_meta")?.get(VERSION)?.as_str()
}

/// The arguments of a tool call.
pub(in crate::adapters) fn arguments<'p>(
    method: &str,
    params: &'p Map<String, Json>,
) -> Option<&'p Map<String, Json>> {
    let params = (method == "tools/call").then_some(params)?;
    params.get("arguments")?.as_object()
}

/// The values of all arguments, at any depth of objects. Which argument a header mirrors is in the tool's schema,
/// which only the server knows.
#[derive(Default)]
struct ArgumentValues<'a> {
    texts: HashSet<&'a str>,
    numbers: HashSet<&'a Number>,
}

impl<'a> ArgumentValues<'a> {
    fn add(&mut self, arguments: &'a Map<String, Json>) {
        for argument in arguments.values() {
            match argument {
                Json::String(text) => drop(self.texts.insert(text)),
                Json::Bool(true) => drop(self.texts.insert("true")),
                Json::Bool(false) => drop(self.texts.insert("false")),
                Json::Number(number) => drop(self.numbers.insert(number)),
                Json::Object(members) => self.add(members),
                Json::Null | Json::Array(_) => {}
            }
        }
    }

    fn has(&self, value: &str) -> bool {
        // A number is read as those of the body are, so that it is the same in every digit however it is written.
        let is_bare =
            !value.starts_with(char::is_whitespace) && !value.ends_with(char::is_whitespace);
        let number = || strict_json::value(value.as_bytes(), 1, KeyPolicy::Protocol, PARAM).ok();
        self.texts.contains(value)
            || is_bare
                && matches!(number(), Some(Json::Number(number)) if self.numbers.contains(&number))
    }
}

/// Checks the headers that mirror a body.
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
    // A name or an argument may have a comma; all of it has to be what the body says.
    check("mcp-method", &|value| body.method == Some(value))?;
    check("mcp-name", &|value| {
        body.names.iter().any(|name| name == value)
    })?;
    let mut values = None;
    for (name, _) in headers.0.iter().filter(|it| it.0.starts_with(PARAM)) {
        let value = headers.get(name)?.and_then(header_value::decoded);
        let values = values.get_or_insert_with(|| {
            let mut values = ArgumentValues::default();
            body.arguments.into_iter().for_each(|it| values.add(it));
            values
        });
        if !value.is_some_and(|value| values.has(&value)) {
            return Err(HeaderMismatchError::Argument);
        }
    }
    match (headers.single("mcp-protocol-version")?, body.version) {
        (Some(header), Some(version)) if header != version => {
            Err(HeaderMismatchError::Header("mcp-protocol-version"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "mirrored_headers_tests.rs"]
mod tests;
