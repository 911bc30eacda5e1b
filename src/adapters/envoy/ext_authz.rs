//! The RPC `Check` of Envoy's external authorization.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use smol_str::SmolStr;
use tonic::{Code, Request, Response, Status};

use crate::adapters::envoy::adapter::EnvoyAdapter;
use crate::adapters::envoy::check::{CheckResult, Header, LocalReply};
use crate::adapters::envoy::request::{self, AlteredText, HttpRequest, RequestError, header_value};
use crate::adapters::input::field_error::{FieldContext as _, FieldError, FieldProblem};
use crate::adapters::input::wire_text;
use crate::adapters::mcp::request::mirrored_headers::HeaderFields;
use crate::adapters::transport::grpc_rejection::GrpcRejection;
use crate::adapters::transport::grpc_rpc::AdmittedRpc;
use crate::adapters::transport::grpc_unary::UnaryRpcs;
use crate::authn::caller::Rpc;
use crate::config::envoy::EnvoyConfig;
use crate::config::limits::Limits;
use crate::proto::codec::{self, EncodedMessage};
use crate::proto::envoy::auth::check_response::HttpResponse;
use crate::proto::envoy::auth::{
    CheckResponse, DeniedHttpResponse, HeaderValue, HeaderValueOption, HttpStatus, OkHttpResponse,
    Status as RpcStatus,
};
use crate::proto::envoy::auth_served::authorization_server::Authorization;
use crate::proto::envoy::auth_served::{self as served, AttributeContext, CheckRequest};
use crate::service::Service;

/// The name of this adapter in metrics, logs and traces.
pub const ADAPTER: &str = "ext_authz";

/// The context extension of a route that names its server.
const SERVER_EXTENSION: &str = "callgate.server";
/// What stands in a text for bytes that are not UTF-8: Envoy's, and that of most others.
const REPLACEMENTS: [char; 2] = ['!', char::REPLACEMENT_CHARACTER];
/// `OVERWRITE_IF_EXISTS_OR_ADD`: a client cannot set these headers.
const OVERWRITE: i32 = 2;

/// `envoy.service.auth.v3.Authorization`. Cloning is cheap.
#[derive(Clone)]
pub struct ExtAuthz {
    adapter: EnvoyAdapter,
}

impl ExtAuthz {
    /// Creates the adapter.
    pub fn new(
        service: Arc<Service>,
        limits: Arc<ArcSwap<Limits>>,
        settings: Arc<ArcSwap<EnvoyConfig>>,
    ) -> Self {
        Self {
            adapter: EnvoyAdapter::new(service, limits, settings),
        }
    }
}

#[tonic::async_trait]
impl Authorization for ExtAuthz {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        let (admitted, message) = AdmittedRpc::take(request, Rpc::ExtAuthzCheck)?;
        Ok(Response::new(self.decide(&admitted, message).await?))
    }
}

impl UnaryRpcs for ExtAuthz {
    fn serves(rpc: Rpc) -> bool {
        rpc == Rpc::ExtAuthzCheck
    }

    async fn answer(&self, _: &str, rpc: AdmittedRpc, message: Bytes) -> Result<Bytes, Status> {
        let response = self.decide(&rpc, codec::decode(message)?).await?;
        EncodedMessage::from(&response).into_frame()
    }
}

impl ExtAuthz {
    async fn decide(
        &self,
        admitted: &AdmittedRpc,
        message: CheckRequest,
    ) -> Result<CheckResponse, Status> {
        let missing = |field| GrpcRejection::from(FieldError::new(field, FieldProblem::Missing));
        let mut attributes = message.attributes.ok_or_else(|| missing("attributes"))?;
        let http = attributes.request.as_mut().and_then(|it| it.http.take());
        let http = http.ok_or_else(|| missing("attributes.request.http"))?;
        let mut http = request_of(attributes, http).map_err(GrpcRejection::from)?;
        let ask = admitted.request_meta(ADAPTER);
        let verdict = self.adapter.verdict(ask, &admitted.trace, false, &mut http);
        let (verdict, _) = verdict.await?;
        Ok(encode(verdict))
    }
}

fn request_of(
    attributes: AttributeContext,
    mut http: served::HttpRequest,
) -> Result<HttpRequest, FieldError> {
    const FIELD: &str = "attributes.request.http";
    let headers = headers(&http).within(FIELD)?;
    wire_text::text(&http.body, "body").within(FIELD)?;
    let altered = altered(&http);
    let body = body(&mut http, &headers);
    let source = attributes.source.unwrap_or_default();
    // A peer on a Unix socket has no IP address.
    let address = source.address.and_then(|it| it.socket_address);
    let address = address.map(|it| it.address);
    let address = address
        .as_ref()
        .map(|it| wire_text::text(it, request::SOURCE));
    let mut extensions = attributes.context_extensions.iter();
    let server = extensions.rfind(|entry| entry.key == SERVER_EXTENSION);
    let server = server.map(|it| text(&it.value, "attributes.context_extensions"));
    Ok(HttpRequest {
        method: text(&http.method, "method").within(FIELD)?,
        path: text(&http.path, "path").within(FIELD)?,
        host: text(&http.host, "host").within(FIELD)?,
        headers,
        body,
        server: server.transpose()?,
        principal: text(&source.principal, "attributes.source.principal")?,
        source: address.transpose()?.map_or(Ok(None), request::source),
        metadata: attributes
            .metadata_context
            .map_or_else(BTreeMap::new, |it| it.filter_metadata),
        altered,
    })
}

fn text(wire: &Bytes, field: &'static str) -> Result<String, FieldError> {
    wire_text::text(wire, field).map(str::to_owned)
}

/// The headers, in whichever form they come.
fn headers(http: &served::HttpRequest) -> Result<HeaderFields, FieldError> {
    let listed = http.headers.iter().map(|header| {
        let key = wire_text::text(&header.key, "headers")?;
        let value = wire_text::text(&header.value, "headers")?;
        Ok((SmolStr::new(key), SmolStr::new(value)))
    });
    let raw = http.header_map.iter().flat_map(|map| &map.headers);
    let raw = raw.map(|header| {
        let key = wire_text::text(&header.key, "header_map")?;
        let value = wire_text::text(&header.value, "header_map")?;
        Ok((SmolStr::new(key), header_value(value, &header.raw_value)))
    });
    listed.chain(raw).collect()
}

/// What came as text only, and has in it what gateways write for each byte that is not UTF-8. A text without is what the
/// client sent.
fn altered(http: &served::HttpRequest) -> AlteredText {
    let has_mark = |wire: &Bytes| {
        let text = std::str::from_utf8(wire).unwrap_or_default();
        text.contains(REPLACEMENTS)
    };
    let mut raw = http.header_map.iter().flat_map(|map| &map.headers);
    let mut is_shown = || raw.any(|it| it.key == ":path" && it.raw_value == http.path);
    AlteredText {
        path: has_mark(&http.path) && !is_shown(),
        body: http.raw_body.is_empty() && has_mark(&http.body),
    }
}

/// Returns the whole body, or why it is incomplete.
fn body(http: &mut served::HttpRequest, headers: &HeaderFields) -> Result<Bytes, RequestError> {
    let text = std::mem::take(&mut http.body);
    let raw = std::mem::take(&mut http.raw_body);
    if !text.is_empty() && !raw.is_empty() && text != raw {
        return Err(RequestError::TwoBodies);
    }
    let body = if raw.is_empty() { text } else { raw };
    // Envoy sets this header itself. `size` counts the bytes received, before earlier filters changed the
    // body.
    let is_whole = match headers.get("x-envoy-auth-partial-body")? {
        Some(partial) => partial == "false",
        None => body.is_empty() || http.size <= 0 || usize::try_from(http.size) == Ok(body.len()),
    };
    match is_whole {
        true => Ok(body),
        false => Err(RequestError::Cut),
    }
}

fn encode(verdict: CheckResult) -> CheckResponse {
    match verdict {
        CheckResult::Allowed(passes) => CheckResponse {
            status: Some(status(Code::Ok)),
            http_response: Some(HttpResponse::OkResponse(OkHttpResponse {
                headers: passes.headers.into_iter().map(header).collect(),
                headers_to_remove: passes.without.into_iter().map(str::to_owned).collect(),
            })),
            dynamic_metadata: Some(passes.metadata),
        },
        CheckResult::Rejected(reply) => denied_response(reply),
    }
}

fn denied_response(reply: LocalReply) -> CheckResponse {
    CheckResponse {
        status: Some(status(Code::PermissionDenied)),
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus {
                code: reply.status.into(),
            }),
            headers: reply.headers.into_iter().map(header).collect(),
            body: reply.body,
        })),
        dynamic_metadata: reply.metadata,
    }
}

fn status(code: Code) -> RpcStatus {
    RpcStatus {
        code: code.into(),
        message: String::new(),
    }
}

fn header((key, value): Header) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: key.to_owned(),
            value,
            ..HeaderValue::default()
        }),
        append_action: OVERWRITE,
    }
}
