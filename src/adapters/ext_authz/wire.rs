//! An HTTP request as Envoy passes it on.

use std::collections::HashMap;

use bytes::Bytes;

use crate::config::ext_authz::ExtAuthz;
use crate::proto::envoy::auth::{AttributeContext, HttpRequest};

/// Under which name a route's context extensions say which server it leads to.
const SERVER_EXTENSION: &str = "callgate.server";

/// The headers of a request, in lower case. A header that comes twice has two values.
pub(super) struct Headers(HashMap<String, Vec<String>>);

/// Why a request cannot be read. Denied, with this sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("the header `{0}` comes twice")]
    Twice(String),
    #[error("the body is cut: let Envoy's `with_request_body` pass on all of it")]
    Cut,
    #[error("the body comes in two forms that differ")]
    TwoBodies,
    #[error("the body is compressed")]
    Compressed,
}

impl Headers {
    pub(super) fn take(http: &mut HttpRequest) -> Self {
        let mut headers: HashMap<String, Vec<String>> = HashMap::new();
        let plain = std::mem::take(&mut http.headers);
        let raw = http.header_map.take().unwrap_or_default().headers;
        let raw = raw.into_iter().map(|header| {
            let value = match header.raw_value.is_empty() {
                true => header.value,
                // Bytes that are no text equal nothing that anybody compares them with.
                false => String::from_utf8_lossy(&header.raw_value).into_owned(),
            };
            (header.key, value)
        });
        for (name, value) in plain.into_iter().chain(raw) {
            headers
                .entry(name.to_ascii_lowercase())
                .or_default()
                .push(value);
        }
        Self(headers)
    }

    /// The one value of a header, if it is there.
    pub(super) fn get(&self, name: &str) -> Result<Option<&str>, Unfit> {
        match self.0.get(&name.to_ascii_lowercase()).map(Vec::as_slice) {
            None | Some([]) => Ok(None),
            Some([value]) => Ok(Some(value)),
            Some(_) => Err(Unfit::Twice(name.to_owned())),
        }
    }
}

/// The whole body, or why there is none.
pub(super) fn body(http: &mut HttpRequest, headers: &Headers) -> Result<Bytes, Unfit> {
    let text = std::mem::take(&mut http.body);
    let raw = std::mem::take(&mut http.raw_body);
    if !text.is_empty() && !raw.is_empty() && text.as_bytes() != raw {
        return Err(Unfit::TwoBodies);
    }
    let body = if raw.is_empty() { text.into() } else { raw };
    let partial = headers.get("x-envoy-auth-partial-body")?;
    let is_of_size = http.size <= 0 || usize::try_from(http.size) == Ok(body.len());
    if partial.is_some_and(|partial| partial != "false") || !(body.is_empty() || is_of_size) {
        return Err(Unfit::Cut);
    }
    if headers
        .get("content-encoding")?
        .is_some_and(|encoding| encoding != "identity")
    {
        return Err(Unfit::Compressed);
    }
    Ok(body)
}

/// The server that a request goes to, if it goes to one.
pub(super) fn server<'a>(
    attributes: &'a AttributeContext,
    http: &HttpRequest,
    settings: &'a ExtAuthz,
) -> Option<&'a str> {
    if let Some(server) = attributes.context_extensions.get(SERVER_EXTENSION) {
        return Some(server).filter(|it| !it.is_empty()).map(String::as_str);
    }
    let path = http.path.split('?').next().unwrap_or_default();
    let route = settings.servers.iter().find(|route| {
        let is_host = |host: &String| host.eq_ignore_ascii_case(&http.host);
        route.path == path && route.host.as_ref().is_none_or(is_host)
    })?;
    Some(&route.server)
}
