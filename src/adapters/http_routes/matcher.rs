//! Matches requests of plain HTTP to calls of registered tools.
//!
//! Servers differ in how they read escapes, duplicates and unusual characters in paths and queries. A request
//! with any of them is an error, so that the matched call is the one the server executes.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::adapters::mcp::request::mirrored_headers::HeaderFields;
use crate::config::http_routes::{HttpRouteConfig, PathSegment};
use crate::config::limits::Limits;
use crate::config::request_host::RequestHost;
use crate::domain::request::call_context::Operation;

/// Headers that make some servers use another method.
const METHODS: [&str; 5] = [
    "x-forwarded-method",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-method",
];
/// Headers that make some servers use another path.
const PATHS: [&str; 7] = [
    "x-forwarded-uri",
    "x-http-path-override",
    "x-original-uri",
    "x-original-url",
    "x-override-url",
    "x-rewrite-uri",
    "x-rewrite-url",
];
/// Headers by which a server may act in another way than was decided, besides these.
const MEANT: [&str; 2] = ["mcp-", "x-callgate-"];

/// The parts of a request that routes are matched by.
#[derive(Debug, Clone, Copy)]
pub(in crate::adapters) struct RequestTarget<'a> {
    /// The HTTP method.
    pub(in crate::adapters) method: &'a str,
    /// The host, with its port if it has one.
    pub(in crate::adapters) host: &'a str,
    /// Path and query.
    pub(in crate::adapters) path: &'a str,
    /// All headers.
    pub(in crate::adapters) headers: &'a HeaderFields,
}

/// Why a request cannot be matched. The text is safe to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::adapters) enum RouteError {
    #[error(
        "the path is not plain: it has empty segments, `.`, `..`, `;`, `\\` or what is no ASCII"
    )]
    Path,
    #[error(
        "path or query is escaped where it need not be, twice, or in a way that cannot be read"
    )]
    Escape,
    #[error("the query is not made of `key=value`")]
    Query,
    #[error("the query has a key twice")]
    Twice,
    #[error("the query has a key that this route does not know")]
    Key,
    #[error("path or query is too long")]
    Long,
    #[error("the request would become another protocol")]
    Upgrade,
    #[error("a header asks for another method or path than the request")]
    Header,
    #[error("a header is written with `_`, which some servers read as `-`")]
    Underscore,
}

/// Returns the call that a request stands for, or `None` if no route matches.
pub(in crate::adapters) fn operation(
    http: RequestTarget<'_>,
    routes: &[HttpRouteConfig],
    limits: &Limits,
) -> Result<Option<Operation>, RouteError> {
    has_one_reading(http)?;
    if http.path.len() > limits.text_bytes as usize {
        return Err(RouteError::Long);
    }
    let (path, query) = match http.path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (http.path, None),
    };
    let segments = segments(path)?;
    let fitting = routes.iter().filter(|route| fits(route, http, &segments));
    let by_closeness =
        |one: &HttpRouteConfig, other: &HttpRouteConfig| closeness(one).cmp(&closeness(other));
    let host = RequestHost::read(http.host);
    let Some(route) = host.best(fitting, |it| it.host.as_deref(), by_closeness) else {
        return Ok(None);
    };
    let mut arguments = in_query(query.unwrap_or_default(), &route.query)?;
    for (pattern, segment) in route.path.segments().iter().zip(segments) {
        if let PathSegment::Argument(name) = pattern {
            arguments.insert(name.clone(), Json::from(segment));
        }
    }
    let server = SmolStr::new(&route.server);
    Ok(Some(Operation::call_tool(
        server,
        SmolStr::new(&route.tool),
        arguments,
    )))
}

/// Checks that every server reads the method and the path of an MCP request in the same way. The path may end with a
/// slash, and the query says nothing about the server.
pub(in crate::adapters) fn check_mcp(http: RequestTarget<'_>) -> Result<(), RouteError> {
    has_one_reading(http)?;
    let path = http.path.split('?').next().unwrap_or_default();
    let folder = path.strip_suffix('/').filter(|rest| rest.len() > 1);
    segments(folder.unwrap_or(path)).map(drop)
}

/// Checks that no header makes a server read another method or path, and that the connection stays HTTP.
fn has_one_reading(http: RequestTarget<'_>) -> Result<(), RouteError> {
    if http.headers.has("upgrade") || http.method == "CONNECT" {
        return Err(RouteError::Upgrade);
    }
    for (name, value) in http.headers.iter() {
        // Gateways such as CGI and WSGI make one name of both.
        let dashed = match name.contains('_') {
            true => Cow::Owned(name.replace('_', "-")),
            false => Cow::Borrowed(name),
        };
        let says_so = |names: &[&str], is: &str| value == is || !names.contains(&&*dashed);
        if !says_so(&METHODS, http.method) || !says_so(&PATHS, http.path) {
            return Err(RouteError::Header);
        }
        if matches!(dashed, Cow::Owned(_)) && MEANT.iter().any(|it| dashed.starts_with(it)) {
            return Err(RouteError::Underscore);
        }
    }
    Ok(())
}

/// Whether a request fits a route in everything but the host.
fn fits(route: &HttpRouteConfig, http: RequestTarget<'_>, segments: &[String]) -> bool {
    let pattern = route.path.segments();
    route.method == http.method
        && pattern.len() == segments.len()
        && pattern
            .iter()
            .zip(segments)
            .all(|(pattern, segment)| match pattern {
                PathSegment::Exact(text) => text == segment,
                PathSegment::Argument(_) => true,
            })
}

/// How specific a route is among those for its host: one with an earlier literal segment is preferred.
fn closeness(route: &HttpRouteConfig) -> Vec<bool> {
    let is_exact = |segment: &PathSegment| matches!(segment, PathSegment::Exact(_));
    let exact = route.path.segments().iter().map(is_exact);
    exact.collect()
}

fn segments(path: &str) -> Result<Vec<String>, RouteError> {
    let rest = path.strip_prefix('/').ok_or(RouteError::Path)?;
    let is_odd = |byte: u8| !byte.is_ascii_graphic() || b"\\;#".contains(&byte);
    if path.bytes().any(is_odd) {
        return Err(RouteError::Path);
    }
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    let segment = |text: &str| {
        let text = decoded(text)?;
        let is_odd = matches!(text.as_str(), "" | "." | "..") || text.contains(['/', '\\', ';']);
        match is_odd {
            true => Err(RouteError::Path),
            false => Ok(text),
        }
    };
    rest.split('/').map(segment).collect()
}

fn in_query(query: &str, known: &[String]) -> Result<Map<String, Json>, RouteError> {
    let mut arguments = Map::new();
    if query.is_empty() {
        return Ok(arguments);
    }
    let is_odd = |byte: u8| !byte.is_ascii_graphic() || b";#".contains(&byte);
    if query.bytes().any(is_odd) {
        return Err(RouteError::Query);
    }
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').ok_or(RouteError::Query)?;
        if !known.iter().any(|it| it == key) {
            return Err(RouteError::Key);
        }
        let value = decoded(&value.replace('+', " "))?;
        if arguments
            .insert(key.to_owned(), Json::from(value))
            .is_some()
        {
            return Err(RouteError::Twice);
        }
    }
    Ok(arguments)
}

/// Decodes percent escapes. An unnecessary escape, or one that remains after decoding, is an error: readers
/// that decode once, twice or never must see the same text.
fn decoded(text: &str) -> Result<String, RouteError> {
    let mut escapes = text.split('%').skip(1);
    let is_needed = |escape: &str| {
        let code = escape
            .get(..2)
            .filter(|it| it.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let byte = code.and_then(|it| u8::from_str_radix(it, 16).ok());
        byte.is_some_and(|byte| {
            !byte.is_ascii_alphanumeric() && !byte.is_ascii_control() && !b"-._~".contains(&byte)
        })
    };
    if !escapes.all(is_needed) {
        return Err(RouteError::Escape);
    }
    let text = percent_decode_str(text).decode_utf8();
    let text = text.map_err(|_| RouteError::Escape)?.into_owned();
    let is_escape =
        |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|it| it.is_ascii_hexdigit());
    match text.split('%').skip(1).any(is_escape) || text.chars().any(char::is_control) {
        true => Err(RouteError::Escape),
        false => Ok(text),
    }
}

#[cfg(test)]
#[path = "matcher_tests.rs"]
mod tests;
