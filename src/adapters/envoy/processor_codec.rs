//! Decodes and encodes the messages of external processing.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bytes::Bytes;
use prost_types::value::Kind;
use prost_types::{Struct, Value as WireValue};

use crate::adapters::envoy::check::{Header, LocalReply};
use crate::adapters::envoy::exchange::{Phase, ProcessorEvent, ProcessorReply};
use crate::adapters::envoy::request::{self, AlteredText, HttpRequest, RequestError, header_value};
use crate::adapters::input::field_error::{FieldError, FieldProblem};
use crate::adapters::mcp::request::mirrored_headers::HeaderFields;
use crate::proto::envoy::processing::body_mutation::Mutation;
use crate::proto::envoy::processing::processing_request::Request;
use crate::proto::envoy::processing::processing_response::Response;
use crate::proto::envoy::processing::{
    BodyMutation, BodyResponse, BodySendMode, CommonResponse, HeaderMap, HeaderMutation,
    HeaderValue, HeaderValueOption, HeadersResponse, HttpHeaders, HttpStatus, ImmediateResponse,
    ProcessingRequest, ProcessingResponse, StreamedBodyResponse, TrailersResponse,
};

/// The name of Envoy's filter, which is also the namespace of its attributes and metadata.
const FILTER: &str = "envoy.filters.http.ext_proc";
/// The attribute with the identity in the client certificate.
const PRINCIPAL: &str = "connection.uri_san_peer_certificate";
const SOURCE: &str = "source.address";
/// The details that Envoy records for a local reply.
const DETAILS: &str = "callgate";
/// `OVERWRITE_IF_EXISTS_OR_ADD`: a client cannot set these headers.
const OVERWRITE: i32 = 2;

/// Why an Envoy configuration is not served: bodies would pass without being filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProcessorConfigError {
    #[error("set `request_body_mode: BUFFERED` and `response_body_mode: FULL_DUPLEX_STREAMED`")]
    Modes,
    #[error("turn `observability_mode` off: nothing that is said in it counts")]
    Observed,
}

/// Checks the configuration that the first message carries.
pub(super) fn check(first: &ProcessingRequest) -> Result<(), ProcessorConfigError> {
    if first.observability_mode {
        return Err(ProcessorConfigError::Observed);
    }
    let modes = first.protocol_config.as_ref();
    let modes = modes.map(|it| (it.request_body_mode(), it.response_body_mode()));
    match modes {
        Some((BodySendMode::Buffered, BodySendMode::FullDuplexStreamed)) => Ok(()),
        _ => Err(ProcessorConfigError::Modes),
    }
}

/// Decodes a message. `server` is the server that the route names.
pub(super) fn decode_event(
    message: ProcessingRequest,
    server: Option<&str>,
) -> Result<ProcessorEvent, FieldError> {
    let Some(request) = message.request else {
        return Err(FieldError::new("request", FieldProblem::Missing));
    };
    Ok(match request {
        Request::RequestHeaders(headers) => {
            let is_all = headers.end_of_stream;
            let metadata = message.metadata_context.unwrap_or_default();
            let mut attributes = message.attributes;
            let found = attributes.remove(FILTER).unwrap_or_default();
            let mut http = http_request(headers, &found);
            http.metadata = metadata.filter_metadata;
            http.server = server.map(str::to_owned);
            ProcessorEvent::RequestHeaders { http, is_all }
        }
        Request::RequestBody(body) => ProcessorEvent::RequestBody {
            body: body.body,
            is_all: body.end_of_stream,
            metadata: message
                .metadata_context
                .map_or_else(BTreeMap::new, |it| it.filter_metadata),
        },
        Request::RequestTrailers(_) => ProcessorEvent::RequestTrailers,
        Request::ResponseHeaders(headers) => {
            let is_all = headers.end_of_stream;
            let headers = self::headers(headers);
            let status = headers.get(":status").ok().flatten();
            let status = status.and_then(|it| it.parse().ok());
            let missing = || FieldError::new("response_headers.headers", FieldProblem::Missing);
            ProcessorEvent::ResponseHeaders {
                status: status.ok_or_else(missing)?,
                headers,
                is_all,
            }
        }
        Request::ResponseBody(body) => ProcessorEvent::ResponseBody {
            piece: body.body,
            is_last: body.end_of_stream,
        },
        Request::ResponseTrailers(_) => ProcessorEvent::ResponseTrailers,
    })
}

fn headers(headers: HttpHeaders) -> HeaderFields {
    let HeaderMap { headers } = headers.headers.unwrap_or_default();
    let headers = headers.into_iter();
    headers
        .map(|it| (it.key.into(), header_value(&it.value, &it.raw_value)))
        .collect()
}

fn http_request(headers: HttpHeaders, attributes: &Struct) -> HttpRequest {
    let headers = self::headers(headers);
    // A pseudo-header with two values counts as empty, for which nothing is configured.
    let pseudo = |name| {
        headers
            .get(name)
            .ok()
            .flatten()
            .unwrap_or_default()
            .to_owned()
    };
    HttpRequest {
        method: pseudo(":method"),
        path: pseudo(":path"),
        host: pseudo(":authority"),
        body: Err(RequestError::Cut),
        server: None,
        principal: text(attributes, PRINCIPAL).unwrap_or_default().to_owned(),
        source: source(attributes),
        metadata: BTreeMap::new(),
        altered: AlteredText::default(),
        headers,
    }
}

fn text<'a>(attributes: &'a Struct, name: &str) -> Option<&'a str> {
    match attributes.fields.get(name)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

/// The client's IP address. A peer on a Unix socket has a path, `@` and a name, or nothing; an internal
/// listener has a URL. Neither is an IP address.
fn source(attributes: &Struct) -> Result<Option<IpAddr>, RequestError> {
    const ELSEWHERE: [&str; 3] = ["/", "@", "envoy://"];
    match attributes.fields.get(SOURCE).map(|it| &it.kind) {
        None | Some(Some(Kind::NullValue(_))) => Ok(None),
        Some(Some(Kind::StringValue(text))) if text.is_empty() => Ok(None),
        Some(Some(Kind::StringValue(text))) => {
            match ELSEWHERE.iter().any(|start| text.starts_with(start)) {
                true => Ok(None),
                false => request::source(text),
            }
        }
        // Only text can be an address.
        Some(_) => request::source(""),
    }
}

/// Encodes a reply.
pub(super) fn encode_reply(reply: ProcessorReply) -> ProcessingResponse {
    let continues = |response| HeadersResponse { response };
    let (response, metadata) = match reply {
        ProcessorReply::Wait => (Response::RequestHeaders(continues(None)), None),
        ProcessorReply::Allowed(at, passes) => {
            let mut remove_headers: Vec<_> =
                passes.without.into_iter().map(str::to_owned).collect();
            // A compressed response could not be filtered.
            remove_headers.push("accept-encoding".to_owned());
            let mutation = HeaderMutation {
                set_headers: passes.headers.into_iter().map(header).collect(),
                remove_headers,
            };
            let response = Some(CommonResponse {
                header_mutation: Some(mutation),
                body_mutation: None,
            });
            let response = match at {
                Phase::Headers => Response::RequestHeaders(continues(response)),
                Phase::Body => Response::RequestBody(BodyResponse { response }),
            };
            (response, Some(passes.metadata))
        }
        ProcessorReply::Rejected(mut reply) => {
            let metadata = reply.metadata.take();
            (Response::ImmediateResponse(immediate(reply)), metadata)
        }
        ProcessorReply::RequestTrailers => {
            (Response::RequestTrailers(TrailersResponse::default()), None)
        }
        ProcessorReply::ResponseHeaders { without } => {
            let mutation = HeaderMutation {
                set_headers: Vec::new(),
                remove_headers: without,
            };
            let response = (!mutation.remove_headers.is_empty()).then(|| CommonResponse {
                header_mutation: Some(mutation),
                body_mutation: None,
            });
            (Response::ResponseHeaders(continues(response)), None)
        }
        ProcessorReply::ResponseBody { bytes, is_last } => {
            (Response::ResponseBody(body(bytes, is_last)), None)
        }
        ProcessorReply::ResponseTrailers => (
            Response::ResponseTrailers(TrailersResponse::default()),
            None,
        ),
    };
    ProcessingResponse {
        response: Some(response),
        dynamic_metadata: metadata.map(in_namespace),
    }
}

fn body(body: Bytes, end_of_stream: bool) -> BodyResponse {
    let streamed = StreamedBodyResponse {
        body,
        end_of_stream,
    };
    BodyResponse {
        response: Some(CommonResponse {
            header_mutation: None,
            body_mutation: Some(BodyMutation {
                mutation: Some(Mutation::StreamedResponse(streamed)),
            }),
        }),
    }
}

fn immediate(reply: LocalReply) -> ImmediateResponse {
    ImmediateResponse {
        status: Some(HttpStatus {
            code: reply.status.into(),
        }),
        headers: Some(HeaderMutation {
            set_headers: reply.headers.into_iter().map(header).collect(),
            remove_headers: Vec::new(),
        }),
        body: reply.body.into(),
        details: DETAILS.to_owned(),
    }
}

fn header((key, value): Header) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: key.to_owned(),
            value: String::new(),
            raw_value: value.into(),
        }),
        append_action: OVERWRITE,
    }
}

fn in_namespace(found: Struct) -> Struct {
    let kind = Some(Kind::StructValue(found));
    Struct {
        fields: [(FILTER.to_owned(), WireValue { kind })].into(),
    }
}
