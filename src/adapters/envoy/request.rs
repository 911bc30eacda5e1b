//! An HTTP request as both of Envoy's filters describe it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;

use bytes::Bytes;
use prost_types::Struct;
use smol_str::SmolStr;

use crate::adapters::http_routes::matcher::RequestTarget;
use crate::adapters::input::field_error::FieldError;
use crate::adapters::input::media_type::MediaType;
use crate::adapters::mcp::request::mirrored_headers::{HeaderFields, RepeatedHeaderError};
use crate::adapters::transport::address;
use crate::config::envoy::EnvoyConfig;
use crate::config::request_host::RequestHost;

/// An HTTP request of a client, with Envoy's attributes.
#[derive(Debug)]
pub(in crate::adapters) struct HttpRequest {
    pub(in crate::adapters) method: String,
    pub(in crate::adapters) path: String,
    pub(in crate::adapters) host: String,
    pub(in crate::adapters) headers: HeaderFields,
    /// The complete body, or why it is missing.
    pub(in crate::adapters) body: Result<Bytes, RequestError>,
    /// The server that Envoy's route names; empty for none.
    pub(in crate::adapters) server: Option<String>,
    /// The URI in the client certificate; empty without one.
    pub(in crate::adapters) principal: String,
    /// The client's IP address, if it has one.
    pub(in crate::adapters) source: Result<Option<IpAddr>, RequestError>,
    /// Dynamic metadata of earlier filters, by namespace.
    pub(in crate::adapters) metadata: BTreeMap<String, Struct>,
    /// What may not be as the client sent it.
    pub(in crate::adapters) altered: AlteredText,
}

/// Whether texts are there in which Envoy may have replaced bytes that are not UTF-8. The server gets these bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::adapters) struct AlteredText {
    pub(in crate::adapters) path: bool,
    pub(in crate::adapters) body: bool,
}

/// Why a request cannot be read. The text is safe to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::adapters) enum RequestError {
    #[error(transparent)]
    Twice(#[from] RepeatedHeaderError),
    #[error("the body is cut: let Envoy pass on all of it")]
    Cut,
    #[error("the body comes in two forms that differ")]
    TwoBodies,
    #[error(
        "a `!` or U+FFFD came as text, where it may stand for a byte that is not UTF-8: let Envoy set `{0}`"
    )]
    Altered(&'static str),
    #[error("the body is compressed")]
    Compressed,
    #[error("the `content-type` must be `application/json`, in UTF-8")]
    NotJson,
    #[error(transparent)]
    Source(Box<FieldError>),
}

/// Envoy's attribute with the client's address.
pub(super) const SOURCE: &str = "source.address";

/// Parses the client's address.
pub(super) fn source(text: &str) -> Result<Option<IpAddr>, RequestError> {
    match address::read(text) {
        Ok(address) => Ok(Some(address)),
        Err(problem) => Err(RequestError::Source(Box::new(FieldError::new(
            SOURCE, problem,
        )))),
    }
}

/// The value of a header that comes as text or as bytes. Bytes that are not UTF-8 are replaced, so that they
/// match no expected value.
pub(super) fn header_value(text: &str, raw: &[u8]) -> SmolStr {
    match raw.is_empty() {
        true => SmolStr::new(text),
        false => SmolStr::new(String::from_utf8_lossy(raw)),
    }
}

impl HttpRequest {
    /// The parts that routes are matched by.
    pub(in crate::adapters) fn target(&self) -> RequestTarget<'_> {
        RequestTarget {
            method: &self.method,
            host: &self.host,
            path: &self.path,
            headers: &self.headers,
        }
    }

    /// Returns the body as the server reads it.
    pub(super) fn plain_body(&self) -> Result<&Bytes, RequestError> {
        let body = self.body.as_ref().map_err(Clone::clone)?;
        let encoding = self.headers.get("content-encoding")?;
        match encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
            true => Err(RequestError::Compressed),
            false => Ok(body),
        }
    }

    /// Checks that the body is declared as JSON in UTF-8: the server might read anything else differently.
    pub(super) fn check_content_type(&self) -> Result<(), RequestError> {
        let named = self.headers.get("content-type")?;
        match named.map(MediaType::read) {
            Some(Ok(MediaType::Json)) => Ok(()),
            _ => Err(RequestError::NotJson),
        }
    }

    /// The server that the request goes to, if one is configured.
    pub(super) fn server<'a>(&'a self, settings: &'a EnvoyConfig) -> Option<&'a str> {
        if let Some(server) = &self.server {
            return Some(server.as_str()).filter(|it| !it.is_empty());
        }
        let path = self.path.split('?').next().unwrap_or_default();
        let fitting = settings.servers.iter().filter(|route| route.path == path);
        let host = RequestHost::read(&self.host);
        // An entry with a host is preferred, as with Envoy's virtual hosts.
        let route = host.best(fitting, |it| it.host.as_deref(), |_, _| Ordering::Equal)?;
        Some(&route.server)
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
