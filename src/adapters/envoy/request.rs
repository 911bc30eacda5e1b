//! An HTTP request as Envoy passes it on, whichever of its filters does.

use std::collections::HashMap;
use std::net::IpAddr;

use bytes::Bytes;
use prost_types::Struct;

use crate::adapters::address;
use crate::adapters::invalid::Invalid;
use crate::adapters::mcp::repeated::{Headers, Twice};
use crate::adapters::media::Media;
use crate::config::envoy::Envoy;

/// One HTTP request of a client, and what Envoy knows of it.
#[derive(Debug)]
pub(super) struct HttpRequest {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) host: String,
    pub(super) headers: Headers,
    /// The whole body, or why it is not here.
    pub(super) body: Result<Bytes, Unfit>,
    /// The server's name in the configuration of Envoy's route, which may be an empty one.
    pub(super) server: Option<String>,
    /// The identity in the client's certificate; empty without one.
    pub(super) principal: String,
    /// The client's address, if it has one, or what is there in its place.
    pub(super) source: Result<Option<IpAddr>, Unfit>,
    /// What filters before this one have found out, by their namespaces.
    pub(super) metadata: HashMap<String, Struct>,
}

/// Why a request cannot be read. Denied, with this sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error(transparent)]
    Twice(#[from] Twice),
    #[error("the body is cut: let Envoy pass on all of it")]
    Cut,
    #[error("the body comes in two forms that differ")]
    TwoBodies,
    #[error("the body is compressed")]
    Compressed,
    #[error("the `content-type` must be `application/json`, in UTF-8")]
    NotJson,
    #[error(transparent)]
    Source(Box<Invalid>),
}

/// Where clients' addresses are, in the words of Envoy's attributes.
const SOURCE: &str = "source.address";

/// The client's address.
pub(super) fn source(text: &str) -> Result<Option<IpAddr>, Unfit> {
    match address::read(text) {
        Ok(address) => Ok(Some(address)),
        Err(problem) => Err(Unfit::Source(Box::new(Invalid::new(SOURCE, problem)))),
    }
}

/// The value of a header that comes as text or as bytes. Bytes that are no text equal nothing that anybody
/// compares them with.
pub(super) fn header_value(text: String, raw: &Bytes) -> String {
    match raw.is_empty() {
        true => text,
        false => String::from_utf8_lossy(raw).into_owned(),
    }
}

impl HttpRequest {
    /// The whole body as the server reads it.
    pub(super) fn plain_body(&self) -> Result<&Bytes, Unfit> {
        let body = self.body.as_ref().map_err(Clone::clone)?;
        let encoding = self.headers.get("content-encoding")?;
        match encoding.is_some_and(|encoding| encoding != "identity") {
            true => Err(Unfit::Compressed),
            false => Ok(body),
        }
    }

    /// Refuses a body that does not call itself JSON in UTF-8: its server may read it as something else.
    pub(super) fn check_content_type(&self) -> Result<(), Unfit> {
        let named = self.headers.get("content-type")?;
        match named.map(Media::read) {
            Some(Ok(Media::Json)) => Ok(()),
            _ => Err(Unfit::NotJson),
        }
    }

    /// The server that the request goes to, if it goes to one.
    pub(super) fn server<'a>(&'a self, settings: &'a Envoy) -> Option<&'a str> {
        if let Some(server) = &self.server {
            return Some(server.as_str()).filter(|it| !it.is_empty());
        }
        let path = self.path.split('?').next().unwrap_or_default();
        let fitting = settings.servers.iter().filter(|route| {
            let is_host = |host: &String| host.eq_ignore_ascii_case(&self.host);
            route.path == path && route.host.as_ref().is_none_or(is_host)
        });
        // As Envoy picks its virtual hosts: the one that is named before the one for all others.
        let route = fitting.max_by_key(|route| route.host.is_some())?;
        Some(&route.server)
    }
}

#[cfg(test)]
mod tests;
