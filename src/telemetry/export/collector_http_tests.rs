use std::collections::VecDeque;
use std::io::Read as _;
use std::sync::Mutex as StdMutex;

use flate2::read::GzDecoder;
use hyper::body::Incoming;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use opentelemetry_sdk::Resource;
use tokio::net::TcpListener;

use super::*;
use crate::config::telemetry::{OtlpProtocol, TelemetryConfig};
use crate::telemetry::env::ExportSignal;
use crate::telemetry::export::collector::CollectorClient;
use crate::telemetry::export::otlp_encoder::{self, ExportFrame, SpanHead, SpanIds, SpanLimits};
use crate::telemetry::export::span_exporter::SpanCollectorClient;
use crate::telemetry::export::span_queue::{EncodedSpans, SpanBatchExporter as _};
use crate::telemetry::fixtures::lookup;

/// The path, the headers and the body of a request.
type KeptRequest = (String, HeaderMap, Vec<u8>);
/// The status and the body of an answer.
type Answer = (u16, Vec<u8>);

/// A collector over HTTP that keeps what it gets and answers as it is told, then with success.
#[derive(Clone, Default)]
struct Receiver {
    kept: Arc<StdMutex<Vec<KeptRequest>>>,
    answers: Arc<StdMutex<VecDeque<Answer>>>,
    connections: Arc<StdMutex<usize>>,
}

impl Receiver {
    async fn start(answers: impl IntoIterator<Item = Answer>) -> (Self, String) {
        let receiver = Self {
            answers: Arc::new(StdMutex::new(answers.into_iter().collect())),
            ..Self::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let serving = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *serving.connections.lock().unwrap() += 1;
                let one = serving.clone();
                let answer = service_fn(move |request| {
                    let one = one.clone();
                    async move { Ok::<_, std::convert::Infallible>(one.answer(request).await) }
                });
                let served = server::Builder::new().serve_connection(TokioIo::new(stream), answer);
                tokio::spawn(async move { drop(served.await) });
            }
        });
        (receiver, endpoint)
    }

    async fn answer(&self, request: Request<Incoming>) -> http::Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        let path = head.uri.path().to_owned();
        self.kept.lock().unwrap().push((path, head.headers, body));
        let told = self.answers.lock().unwrap().pop_front();
        let (status, body) = told.unwrap_or((200, Vec::new()));
        let answer = http::Response::builder().status(status);
        answer.body(Full::new(Bytes::from(body))).unwrap()
    }
}

fn settings(endpoint: &str, variables: &[(&str, &str)]) -> CollectorSettings {
    let config = TelemetryConfig {
        endpoint: Some(endpoint.to_owned()),
        protocol: Some(OtlpProtocol::Http),
        ..TelemetryConfig::default()
    };
    CollectorSettings::read(ExportSignal::Traces, &config, &lookup(variables)).unwrap()
}

fn connect(endpoint: &str, variables: &[(&str, &str)]) -> CollectorClient {
    CollectorClient::new(&settings(endpoint, variables)).unwrap()
}

/// The content of the first field of a request, and the request.
fn message() -> (Bytes, ExportTraceServiceRequest) {
    let spans = ResourceSpans {
        schema_url: "x".repeat(300),
        ..ResourceSpans::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![spans.clone()],
    };
    (Bytes::from(spans.encode_to_vec()), request)
}

#[tokio::test]
async fn a_message_arrives_whole_on_one_connection() {
    for compression in ["none", "gzip"] {
        let partly = ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess {
                rejected_spans: 7,
                error_message: "no room".to_owned(),
            }),
        };
        let (receiver, endpoint) = Receiver::start([(200, partly.encode_to_vec())]).await;
        let variables = [
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
        ];
        let client = connect(&endpoint, &variables);
        let (message, request) = message();
        assert_eq!(client.send(message.clone()).await.unwrap(), 7);
        assert_eq!(client.send(message).await.unwrap(), 0);
        assert_eq!(*receiver.connections.lock().unwrap(), 1);
        let kept = receiver.kept.lock().unwrap();
        for (path, headers, body) in kept.iter() {
            assert_eq!(path, "/v1/traces");
            assert_eq!(headers[CONTENT_TYPE], "application/x-protobuf");
            assert_eq!(headers["authorization"], "Bearer abc");
            assert!(endpoint.ends_with(headers[HOST].to_str().unwrap()));
            let mut plain = Vec::new();
            match compression {
                "gzip" => {
                    assert_eq!(headers[CONTENT_ENCODING], "gzip");
                    GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
                }
                _ => plain.clone_from(body),
            }
            let got = ExportTraceServiceRequest::decode(&plain[..]).unwrap();
            assert_eq!(got, request);
        }
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_will_not_is_not() {
    let (message, _) = message();
    let (receiver, endpoint) = Receiver::start([(503, Vec::new()), (429, Vec::new())]).await;
    connect(&endpoint, &[]).send(message.clone()).await.unwrap();
    assert_eq!(receiver.kept.lock().unwrap().len(), 3);

    let (receiver, endpoint) = Receiver::start([(401, b"your secret is wrong".to_vec())]).await;
    let error = connect(&endpoint, &[]).send(message).await.unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("HTTP status 401") && !said.contains("secret"),
        "{said}"
    );
    assert_eq!(receiver.kept.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_collector_that_is_silent_or_talks_too_much_ends_an_export() {
    let (message, _) = message();
    let quick = [("OTEL_EXPORTER_OTLP_TIMEOUT", "300")];
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let started = std::time::Instant::now();
    let error = connect(&endpoint, &quick).send(message.clone()).await;
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("did not answer in time")
    );
    assert!(started.elapsed() < Duration::from_secs(2));

    let endless = (0..9).map(|_| (200, vec![b'x'; MAX_RESPONSE + 1]));
    let (_receiver, endpoint) = Receiver::start(endless).await;
    connect(&endpoint, &quick).send(message).await.unwrap_err();
}

#[test]
fn a_page_is_no_answer_of_a_collector() {
    let is = |content_type| {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        is_page(&headers)
    };
    assert!(is("text/html") && is("Text/HTML; charset=utf-8"));
    assert!(!is("application/x-protobuf") && !is("application/json") && !is("text/plain"));
    assert!(!is_page(&HeaderMap::new()));
}

#[test]
fn the_wait_that_a_collector_asks_for_is_read() {
    let mut headers = HeaderMap::new();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("12"));
    let asked = refused(StatusCode::SERVICE_UNAVAILABLE, &headers).retry;
    assert_eq!(asked, Retry::After(Some(Duration::from_secs(12))));
    let until = |at| HeaderValue::from_str(&httpdate::fmt_http_date(at)).unwrap();
    headers.insert(
        RETRY_AFTER,
        until(SystemTime::now() + Duration::from_secs(5)),
    );
    let Retry::After(Some(asked)) = refused(StatusCode::TOO_MANY_REQUESTS, &headers).retry else {
        panic!("a date is a wait, too");
    };
    assert!(
        asked > Duration::from_secs(3) && asked <= Duration::from_secs(5),
        "{asked:?}"
    );
    headers.insert(RETRY_AFTER, until(SystemTime::UNIX_EPOCH));
    let asked = refused(StatusCode::TOO_MANY_REQUESTS, &headers).retry;
    assert_eq!(asked, Retry::After(Some(Duration::ZERO)));
    headers.insert(RETRY_AFTER, HeaderValue::from_static("soon"));
    let asked = refused(StatusCode::TOO_MANY_REQUESTS, &headers).retry;
    assert_eq!(asked, Retry::After(None));
    let refused = refused(StatusCode::BAD_REQUEST, &headers).retry;
    assert_eq!(refused, Retry::No);
}

#[tokio::test]
async fn a_batch_of_encoded_spans_is_the_message_of_the_protocol() {
    let (receiver, endpoint) = Receiver::start([]).await;
    let resource = Resource::builder_empty()
        .with_attribute(KeyValue::new("service.name", "callgate"))
        .build();
    let scope = InstrumentationScope::builder("callgate").build();
    let frame = ExportFrame::new(&resource, &scope);
    let client = SpanCollectorClient::new(&settings(&endpoint, &[]), frame).unwrap();
    let mut batch = EncodedSpans::default();
    for number in 1..3 {
        let ids = SpanIds {
            trace_id: TraceId::from(9),
            span_id: SpanId::from(number),
            parent: None,
            trace_state: String::new(),
        };
        let head = SpanHead {
            ids: &ids,
            name: ["authorize ", "tools/call"],
            times: [std::time::UNIX_EPOCH + Duration::from_nanos(number); 2],
            error: None,
        };
        let mut span = Vec::new();
        otlp_encoder::span(
            &mut span,
            &head,
            SpanLimits::default(),
            |out| out.text("callgate.decision", "allow"),
            &[],
        );
        batch.push(&span, false);
    }
    client.export(&batch).await.unwrap();
    let kept = receiver.kept.lock().unwrap();
    let (path, _, body) = &kept[0];
    assert_eq!(path, "/v1/traces");
    let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
    assert_eq!(&request.encode_to_vec(), body);
    let spans = &request.resource_spans[0].scope_spans[0].spans;
    let ids: Vec<u8> = spans.iter().map(|span| span.span_id[7]).collect();
    assert_eq!(ids, [1, 2]);
}
