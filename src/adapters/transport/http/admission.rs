//! Admission of requests over plain HTTP, and the JSON object in their bodies.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value as Json};

use crate::adapters::input::entity_types::EntityTypeCache;
use crate::adapters::input::ids;
use crate::adapters::input::json::{self, KeyPolicy};
use crate::adapters::input::media_type::MediaType;
use crate::adapters::transport::http::rejection::HttpRejection;
use crate::adapters::transport::request::ReceivedHead;
use crate::adapters::transport::{admission, headers};
use crate::authn::authenticate::{self, PresentedCredentials};
use crate::authn::caller::{Caller, Rpc};
use crate::authn::reloadable_authenticator::ReloadableAuthenticator;
use crate::config::limits::Limits;
use crate::service::Service;

/// The longest request id that is logged, in bytes.
const LOGGED_BYTES: u32 = 256;

/// What the requests of one HTTP adapter share.
pub struct HttpAdapter {
    /// The decision service.
    pub service: Arc<Service>,
    /// The limits in force.
    pub limits: Arc<ArcSwap<Limits>>,
    /// Parsed entity type names.
    pub types: EntityTypeCache,
    reloadable: Arc<ReloadableAuthenticator>,
}

impl HttpAdapter {
    /// Creates the shared state of an adapter.
    pub fn new(
        service: Arc<Service>,
        reloadable: Arc<ReloadableAuthenticator>,
        limits: Arc<ArcSwap<Limits>>,
    ) -> Self {
        Self {
            service,
            limits,
            types: EntityTypeCache::default(),
            reloadable,
        }
    }

    /// Authenticates the caller and checks its right to the RPC.
    ///
    /// # Errors
    ///
    /// Returns a rejection if the caller cannot be authenticated, it lacks the right, or a header is
    /// repeated.
    pub fn admit(&self, head: ReceivedHead<'_>, rpc: Rpc) -> Result<Arc<Caller>, HttpRejection> {
        let (parts, names) = (head.parts, head.peer.names());
        let shown = headers::authorization(&parts.headers)?;
        let authorization = shown.map(ShownCredential::of).transpose()?;
        let reloadable = self.reloadable.current();
        if reloadable.is_local() && !host(parts).is_some_and(|host| is_loopback(&host)) {
            return Err(HttpRejection::ForeignHost);
        }
        let known = |shown: Option<&ShownCredential<'_>>| {
            let caller = reloadable.authenticate(PresentedCredentials {
                authorization: shown.map(|it| it.header.as_ref()),
                names,
            })?;
            let user = shown.and_then(|it| it.user.as_deref());
            if user.is_some_and(|user| *user != *caller.id) && !reloadable.is_local() {
                return Err(authenticate::AuthenticationError::Conflict);
            }
            Ok(caller)
        };
        let decoded = authorization.as_ref().and_then(|it| it.decoded.as_deref());
        let caller = known(authorization.as_ref()).or_else(|rejection| match decoded {
            Some(decoded) => known(Some(decoded)),
            None => Err(rejection),
        })?;
        admission::require_right(&caller, rpc)?;
        admission::check_headers(&parts.headers)?;
        Ok(caller)
    }

    /// Parses the JSON object in a body. `around` is the number of JSON levels around the part that
    /// `limits.json_depth` bounds.
    pub(in crate::adapters) fn object(
        &self,
        body: &[u8],
        names: KeyPolicy,
        around: u32,
    ) -> Result<Map<String, Json>, HttpRejection> {
        let depth = self.limits.load().json_depth.saturating_add(around);
        if body.is_empty() {
            return Err(HttpRejection::EmptyBody);
        }
        Ok(json::object(body, depth, names, "body")?)
    }
}

/// The `authorization` header. A client that can only be configured with a URL sends user and password as
/// `Basic`: they are the caller's id and its token.
struct ShownCredential<'a> {
    header: Cow<'a, [u8]>,
    user: Option<String>,
    /// The same with percent escapes decoded, as OAuth clients encode both parts (RFC 6749, 2.3.1).
    decoded: Option<Box<ShownCredential<'static>>>,
}

impl<'a> ShownCredential<'a> {
    fn of(header: &'a HeaderValue) -> Result<Self, authenticate::AuthenticationError> {
        let bytes = header.as_bytes();
        let basic = bytes
            .split_at_checked(6)
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"basic "));
        let Some((_, encoded)) = basic else {
            return Ok(Self {
                header: bytes.into(),
                user: None,
                decoded: None,
            });
        };
        let decoded = STANDARD.decode(encoded).ok();
        let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        let parts = decoded.as_deref().and_then(|text| text.split_once(':'));
        let (user, token) = parts.ok_or(authenticate::AuthenticationError::NotBearer)?;
        let mut shown = ShownCredential::basic(user, token);
        let is_encoded = [user, token].iter().any(|it| it.contains(['%', '+']));
        if let (true, Some(user), Some(token)) = (is_encoded, unescaped(user), unescaped(token)) {
            shown.decoded = Some(Box::new(ShownCredential::basic(&user, &token)));
        }
        Ok(shown)
    }

    fn basic(user: &str, token: &str) -> ShownCredential<'static> {
        ShownCredential {
            header: format!("Bearer {token}").into_bytes().into(),
            user: Some(user.to_owned()),
            decoded: None,
        }
    }
}

/// Decodes `application/x-www-form-urlencoded` text, if it is UTF-8.
fn unescaped(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    let decoded = percent_decode_str(&text).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

/// The host of the request.
pub fn host(head: &Parts) -> Option<Authority> {
    let host = match head.uri.authority() {
        Some(authority) => authority.clone(),
        None => head.headers.get(HOST)?.to_str().ok()?.parse().ok()?,
    };
    (!host.as_str().contains('@')).then_some(host)
}

/// Whether a host is this machine by its name. A web page whose own name resolves to this machine is not.
pub fn is_loopback(host: &Authority) -> bool {
    let name = host.host();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Checks that the body is declared, once, as JSON in UTF-8.
///
/// # Errors
///
/// Returns a rejection otherwise.
pub fn check_content_type(headers: &HeaderMap) -> Result<(), HttpRejection> {
    let mut all = headers.get_all(CONTENT_TYPE).iter();
    let given = match (all.next(), all.next()) {
        (Some(only), None) => only.to_str().ok(),
        _ => None,
    };
    match given.map(MediaType::read) {
        Some(Ok(MediaType::Json)) => Ok(()),
        _ => Err(HttpRejection::NotJson),
    }
}

/// Checks that the body is sent as it is. A coding that is declared is never ignored: whoever else reads the body
/// decodes it.
///
/// # Errors
///
/// Returns a rejection otherwise.
pub fn check_content_encoding(headers: &HeaderMap) -> Result<(), HttpRejection> {
    let is_plain = |value: &HeaderValue| {
        let codings = value.as_bytes().split(|byte| *byte == b',');
        codings
            .map(<[u8]>::trim_ascii)
            .all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity"))
    };
    match headers.get_all(CONTENT_ENCODING).iter().all(is_plain) {
        true => Ok(()),
        false => Err(HttpRejection::Encoded),
    }
}

/// The header with the client's id of a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The client's id of a request, if it may be logged.
pub fn request_id(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(&REQUEST_ID)?.to_str().ok()?;
    ids::check(text, LOGGED_BYTES).is_ok().then_some(text)
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
