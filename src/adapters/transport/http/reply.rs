//! JSON responses over plain HTTP.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value as Json;

/// Builds a JSON response.
pub fn reply(status: StatusCode, body: &Json) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, json);
    // The response to the same request may change.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
