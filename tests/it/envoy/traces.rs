//! Which trace a decision belongs to that Envoy asks for: that of the request, or else that of Envoy's own RPC.

use std::collections::BTreeMap;
use std::sync::Arc;

use callgate::proto::envoy::auth::authorization_client::AuthorizationClient;
use callgate::proto::envoy::auth::{AttributeContext, CheckRequest, HttpRequest, Request};
use callgate::proto::envoy::processing::external_processor_client::ExternalProcessorClient;
use callgate::proto::envoy::processing::processing_request::Request as Step;
use callgate::proto::envoy::processing::{
    BodySendMode, HeaderMap, HeaderValue, HttpBody, HttpHeaders, ProcessingRequest,
    ProtocolConfiguration,
};
use callgate::service::clock::SystemClock;
use callgate::telemetry::export::span_tracer::SpanSampler;
use callgate::telemetry::record::recorder::{Recorder, RecorderParts};

use crate::adapters_agree::span_fixtures::KeptSpans;
use crate::support::in_process::Running;
use crate::support::worlds;

const CONFIG: &str = r#"
[envoy]
servers = [{ path = "/mcp", server = "git" }]

[[envoy.identity]]
from = "header"
agent = "x-agent"
person = "x-person"
verified = true
"#;
const CALL: &str =
    r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"log","arguments":{}}}"#;
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A `traceparent` whose span is of so many.
fn traceparent(span: u64) -> String {
    format!("00-{TRACE}-{span:016x}-01")
}

fn with_trace<T>(message: T, trace: Option<&str>) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    if let Some(trace) = trace {
        let trace = trace.parse().expect("a header");
        request.metadata_mut().insert("traceparent", trace);
    }
    request
}

fn headers(trace: Option<&str>) -> BTreeMap<String, String> {
    let usual = [("x-agent", "coder"), ("content-type", "application/json")];
    let all = usual
        .into_iter()
        .chain(trace.map(|trace| ("traceparent", trace)));
    all.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

async fn check(server: &Running, own: Option<&str>, transport: Option<&str>) {
    let http = HttpRequest {
        method: "POST".to_owned(),
        path: "/mcp".to_owned(),
        size: -1,
        headers: headers(own),
        raw_body: CALL.into(),
        ..HttpRequest::default()
    };
    let attributes = Some(AttributeContext {
        request: Some(Request { http: Some(http) }),
        ..AttributeContext::default()
    });
    let mut client = AuthorizationClient::new(server.channel().await);
    let request = with_trace(CheckRequest { attributes }, transport);
    client.check(request).await.expect("an answer");
}

async fn process(server: &Running, own: Option<&str>, transport: Option<&str>) {
    let pseudo = [(":method", "POST"), (":path", "/mcp")];
    let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let all = pseudo.into_iter().chain(headers(own));
    let all = all.map(|(key, value)| HeaderValue {
        key,
        value: String::new(),
        raw_value: value.into_bytes().into(),
    });
    let at_headers = ProcessingRequest {
        request: Some(Step::RequestHeaders(HttpHeaders {
            headers: Some(HeaderMap {
                headers: all.collect(),
            }),
            end_of_stream: false,
        })),
        protocol_config: Some(ProtocolConfiguration {
            request_body_mode: BodySendMode::Buffered.into(),
            response_body_mode: BodySendMode::FullDuplexStreamed.into(),
        }),
        ..ProcessingRequest::default()
    };
    let at_body = ProcessingRequest {
        request: Some(Step::RequestBody(HttpBody {
            body: CALL.into(),
            end_of_stream: true,
        })),
        ..ProcessingRequest::default()
    };
    let messages = tokio_stream::iter([at_headers, at_body]);
    let mut client = ExternalProcessorClient::new(server.channel().await);
    let replies = client.process(with_trace(messages, transport)).await;
    let mut replies = replies.expect("a stream").into_inner();
    while replies.message().await.expect("replies").is_some() {}
}

#[tokio::test]
async fn the_trace_of_the_request_wins_over_that_of_envoys_rpc() {
    let spans = KeptSpans::default();
    let recorder = Recorder::new(RecorderParts {
        tracer: Some(spans.tracer(SpanSampler::ALWAYS_ON)),
        ..RecorderParts::default()
    });
    let world = worlds::small();
    let server = world.start_recorded(CONFIG, Arc::new(SystemClock), recorder);
    let server = server.await;
    let [own, transport] = [1, 2].map(traceparent);
    let broken = own.to_uppercase();
    for (of_request, of_rpc, expected) in [
        (Some(&*own), Some(&*transport), 1),
        (Some(&*own), None, 1),
        (None, Some(&*transport), 2),
        (Some(&*broken), Some(&*transport), 2),
        (Some(&*broken), None, 0),
    ] {
        for adapter in ["ext_authz", "ext_proc"] {
            spans.clear();
            match adapter {
                "ext_authz" => check(&server, of_request, of_rpc).await,
                _ => process(&server, of_request, of_rpc).await,
            }
            let said = format!("{adapter}: {of_request:?} {of_rpc:?}");
            let all = spans.all();
            let [span] = &all[..] else {
                panic!("{said}: {all:?}");
            };
            let parent = u64::from_be_bytes(span.parent_span_id.to_bytes());
            assert_eq!(parent, expected, "{said}");
            let is_same = span.span_context.trace_id().to_string() == TRACE;
            assert_eq!(is_same, expected > 0, "{said}");
        }
    }
}
