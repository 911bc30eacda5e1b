//! Who asks over HTTP, and the JSON object in a request's body.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Map, Value as Json};
use tonic::transport::server::TlsConnectInfo;

use crate::adapters::grpc::parse::{EntityTypes, json};
use crate::adapters::http::refusal::Refusal;
use crate::call::context::TraceContext;
use crate::config::limits::Limits;
use crate::identity::authenticate::{self, Evidence};
use crate::identity::caller::{Caller, Rpc};
use crate::identity::certificate::Peer;
use crate::identity::doorkeeper::Doorkeeper;
use crate::service::decisions::Service;

/// Levels of JSON around what `limits.json_depth` is about.
const ENVELOPE: u32 = 4;

/// What all requests of a protocol share.
pub struct Door {
    /// Who answers.
    pub service: Arc<Service>,
    /// The limits in force.
    pub limits: Arc<ArcSwap<Limits>>,
    /// Entity types that have been seen before.
    pub types: EntityTypes,
    doorkeeper: Arc<Doorkeeper>,
}

impl Door {
    /// A door to a service.
    pub fn new(
        service: Arc<Service>,
        doorkeeper: Arc<Doorkeeper>,
        limits: Arc<ArcSwap<Limits>>,
    ) -> Self {
        Self {
            service,
            limits,
            types: EntityTypes::default(),
            doorkeeper,
        }
    }

    /// Who asks, if it may use this.
    pub fn admit(&self, head: &Parts, rpc: Rpc) -> Result<Arc<Caller>, Refusal> {
        let mut shown = head.headers.get_all(AUTHORIZATION).iter();
        let authorization = shown.next().map(HeaderValue::as_bytes);
        if shown.next().is_some() {
            // Which of the two counts would be anybody's guess.
            return Err(authenticate::Refusal::NotBearer.into());
        }
        let connection = head.extensions.get::<TlsConnectInfo<Peer>>();
        let chain = connection.and_then(TlsConnectInfo::peer_certs);
        let names = match (connection, &chain) {
            (Some(connection), Some(chain)) => connection.get_ref().names(chain),
            _ => &[],
        };
        let evidence = Evidence {
            authorization,
            names,
        };
        let caller = self.doorkeeper.current().authenticate(evidence)?;
        if !caller.rights.rpcs.contains(rpc) {
            let caller = caller.id.to_string();
            return Err(Refusal::NotAllowed { caller, rpc });
        }
        Ok(caller)
    }

    /// The object in a body.
    pub fn object(&self, body: &[u8]) -> Result<Map<String, Json>, Refusal> {
        let depth = self.limits.load().json_depth.saturating_add(ENVELOPE);
        if body.is_empty() {
            return Err(Refusal::EmptyBody);
        }
        Ok(json::object(body, depth, "body")?)
    }
}

/// Whether the connection is encrypted.
pub fn is_encrypted(head: &Parts) -> bool {
    head.extensions.get::<TlsConnectInfo<Peer>>().is_some()
}

/// Refuses a body that does not call itself JSON.
pub fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let given = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = given.and_then(|text| text.split(';').next()).map(str::trim);
    match essence {
        Some(essence) if essence.eq_ignore_ascii_case("application/json") => Ok(()),
        _ => Err(Refusal::NotJson),
    }
}

/// The trace that the headers name.
pub fn trace(headers: &HeaderMap) -> TraceContext {
    let header = |name| Some(headers.get(name)?.to_str().ok()?.to_owned());
    match header("traceparent") {
        None => TraceContext::default(),
        traceparent => TraceContext {
            traceparent,
            tracestate: header("tracestate"),
        },
    }
}

/// A JSON response.
pub fn reply(status: StatusCode, body: &Json) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
