use std::collections::VecDeque;
use std::time::{Duration, Instant};

use opentelemetry::InstrumentationScope;
use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_sdk::Resource;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::*;
use crate::config::telemetry::TelemetryConfig;
use crate::telemetry::env::ExportSignal;
use crate::telemetry::export::otlp_encoder::{
    self, AttributeWriter, SpanHead, SpanIds, SpanLimits,
};
use crate::telemetry::fixtures::lookup;

/// A collector that keeps what it gets, and answers first with these statuses.
#[derive(Clone, Default)]
struct Receiver {
    kept: Arc<Mutex<Vec<(MetadataMap, ExportTraceServiceRequest)>>>,
    troubles: Arc<Mutex<VecDeque<Status>>>,
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        self.kept.lock().unwrap().push((metadata, message));
        match self.troubles.lock().unwrap().pop_front() {
            Some(status) => Err(status),
            None => Ok(Response::new(ExportTraceServiceResponse::default())),
        }
    }
}

impl Receiver {
    async fn start(troubles: impl IntoIterator<Item = Status>) -> (Self, String) {
        let receiver = Self {
            troubles: Arc::new(Mutex::new(troubles.into_iter().collect())),
            ..Self::default()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let service = TraceServiceServer::new(receiver.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        tokio::spawn(
            Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        (receiver, endpoint)
    }

    fn attempts(&self) -> usize {
        self.kept.lock().unwrap().len()
    }
}

fn connect(endpoint: &str, variables: &[(&str, &str)]) -> SpanCollectorClient {
    connect_with(ExportFrame::default(), endpoint, variables)
}

fn connect_with(
    frame: ExportFrame,
    endpoint: &str,
    variables: &[(&str, &str)],
) -> SpanCollectorClient {
    let config = TelemetryConfig {
        endpoint: Some(endpoint.to_owned()),
        ..TelemetryConfig::default()
    };
    let settings = CollectorSettings::read(ExportSignal::Traces, &config, &lookup(variables));
    SpanCollectorClient::new(&settings.unwrap(), frame).unwrap()
}

fn batch() -> EncodedSpans {
    let ids = SpanIds {
        trace_id: TraceId::from(1),
        span_id: SpanId::from(2),
        parent: None,
        trace_state: String::new(),
    };
    let head = SpanHead {
        ids: &ids,
        name: ["authorize tools/call", ""],
        times: [std::time::UNIX_EPOCH; 2],
        error: None,
    };
    let mut span = Vec::new();
    let attributes = |out: &mut AttributeWriter<'_>| out.text("callgate.decision", "allow");
    otlp_encoder::span(&mut span, &head, SpanLimits::default(), attributes, &[]);
    let mut batch = EncodedSpans::default();
    batch.push(&span, false);
    batch
}

#[tokio::test]
async fn a_batch_arrives_with_its_resource_and_the_headers() {
    for compression in ["none", "gzip"] {
        let (receiver, endpoint) = Receiver::start([]).await;
        let variables = [
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "authorization=Bearer%20abc, x-team = red,=,junk",
            ),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
        ];
        let name = KeyValue::new("service.name", "callgate");
        let resource = Resource::builder_empty().with_attribute(name).build();
        let scope = InstrumentationScope::builder("callgate").build();
        let frame = ExportFrame::new(&resource, &scope);
        let collector = connect_with(frame, &endpoint, &variables);
        collector.export(&batch()).await.unwrap();

        let kept = receiver.kept.lock().unwrap();
        let [(metadata, request)] = kept.as_slice() else {
            panic!("one export, not {}", kept.len());
        };
        assert_eq!(metadata.get("authorization").unwrap(), "Bearer abc");
        assert_eq!(metadata.get("x-team").unwrap(), "red");
        let agent = metadata.get("user-agent").unwrap().to_str().unwrap();
        assert!(agent.starts_with("OTel-OTLP-Exporter-Callgate/"), "{agent}");
        let encoding = metadata
            .get("grpc-encoding")
            .map(|value| value.to_str().unwrap());
        assert_eq!(encoding, Some(compression).filter(|it| *it != "none"));
        let [resource] = request.resource_spans.as_slice() else {
            panic!("one resource");
        };
        let named = resource.resource.as_ref().unwrap();
        assert_eq!(named.attributes[0].key, "service.name");
        let span = &resource.scope_spans[0].spans[0];
        assert_eq!(span.name, "authorize tools/call");
        assert_eq!(span.attributes[0].key, "callgate.decision");
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_will_not_is_not() {
    let (receiver, endpoint) = Receiver::start([Status::unavailable("later")]).await;
    let collector = connect(&endpoint, &[]);
    collector.export(&batch()).await.unwrap();
    assert_eq!(receiver.attempts(), 2);
    {
        let kept = receiver.kept.lock().unwrap();
        assert_eq!(kept[0].1, kept[1].1, "the same spans again");
    }

    let refusal = Status::permission_denied("your secret is wrong");
    let (receiver, endpoint) = Receiver::start([refusal]).await;
    let collector = connect(&endpoint, &[]);
    let error = collector.export(&batch()).await.unwrap_err().to_string();
    assert!(error.contains("PermissionDenied"), "{error}");
    assert!(!error.contains("secret"), "{error}");
    assert_eq!(receiver.attempts(), 1);
}

#[tokio::test]
async fn no_attempt_begins_after_the_timeout() {
    let troubles = (0..9).map(|_| Status::unavailable("never"));
    let (receiver, endpoint) = Receiver::start(troubles).await;
    let variables = [("OTEL_EXPORTER_OTLP_TIMEOUT", "350")];
    let collector = connect(&endpoint, &variables);
    let started = Instant::now();
    collector.export(&batch()).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_millis(700));
    assert!(
        (1..4).contains(&receiver.attempts()),
        "{}",
        receiver.attempts()
    );
}
