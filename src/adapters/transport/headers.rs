//! Headers that may occur once. If one is repeated, different readers on the way may act on different values.

use http::HeaderMap;

use crate::authn::authenticate::AuthenticationError;

/// The headers that Callgate reads, and those that delimit a message. `traceparent` is not among them: a
/// repeated one is ignored (W3C Trace Context), because a trace is no reason to reject a call. Of `content-length` only HTTP/2
/// shows that it is repeated: over HTTP/1.1, hyper takes equal values for one (RFC 9110, 8.6) and rejects others.
const SINGLE: [&str; 5] = [
    "content-length",
    "content-type",
    "grpc-timeout",
    "host",
    "x-request-id",
];

/// Returns the name of a header that is repeated and may not be.
pub fn repeated(headers: &HeaderMap) -> Option<&'static str> {
    // Nearly always none is.
    if headers.len() == headers.keys_len() {
        return None;
    }
    SINGLE
        .into_iter()
        .find(|name| headers.get_all(*name).iter().nth(1).is_some())
}

/// Returns the `authorization` header, if there is one.
///
/// # Errors
///
/// Returns an error if the header is repeated.
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
