//! Headers that say something once or not at all. Of two, which one counts would be anybody's guess, and somebody on
//! the way may have guessed otherwise.

use http::HeaderMap;

use crate::authn::authenticate::AuthenticationError;

/// The headers that Callgate reads, and those that say where a message ends. Where two traces are named, none counts
/// (W3C Trace Context): a trace is no reason to refuse a call.
const SINGLE: [&str; 5] = [
    "content-length",
    "content-type",
    "grpc-timeout",
    "host",
    "x-request-id",
];

/// Which header comes twice and may not.
pub fn repeated(headers: &HeaderMap) -> Option<&'static str> {
    SINGLE
        .into_iter()
        .find(|name| headers.get_all(*name).iter().nth(1).is_some())
}

/// What the `authorization` header says, if there is one.
pub fn authorization(
    headers: &HeaderMap,
) -> Result<Option<&http::HeaderValue>, AuthenticationError> {
    let mut shown = headers.get_all(http::header::AUTHORIZATION).iter();
    match (shown.next(), shown.next()) {
        (only, None) => Ok(only),
        (_, Some(_)) => Err(AuthenticationError::Repeated),
    }
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
