//! A whole call of `Authorize`: the bytes of a request in, the bytes of its response out, and its record in the decision
//! log, its span and its metrics besides. Everything that is the service's own, without sockets and HTTP/2.

use std::path::Path;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use bytes::{BufMut, Bytes, BytesMut};
use callgate::adapters::callgate_v1::authorization::Authorization;
use callgate::audit::log::AuditLog;
use callgate::bundle;
use callgate::config::Config;
use callgate::config::telemetry::{DecisionLog, TelemetryConfig};
use callgate::proto::v1::authorization_server::AuthorizationServer;
use callgate::proto::v1::{AuthorizeResponse, Decision};
use callgate::server::load_shed::{LoadShed, grpc_admitter};
use callgate::server::reloadable::ReloadableConfig;
use callgate::service::decisions::Service;
use callgate::service::generation::LoadedBundle;
use callgate::service::server_load::ServerLoad;
use callgate::service::settings::ServiceSettings;
use callgate::telemetry::export::live_gauges::LiveGauges;
use callgate::telemetry::export::otlp_encoder::ExportFrame;
use callgate::telemetry::export::span_queue::{EncodedSpans, SpanBatchExporter, SpanQueue};
use callgate::telemetry::export::span_tracer::{SpanSampler, SpanTracer};
use callgate::telemetry::record::recorder::{Recorder, RecorderParts};
use callgate::telemetry::redact::redaction::Redaction;
use http::Request;
use http_body_util::{BodyExt, Full};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::{ManualReader, SdkMeterProvider};
use prost::Message;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service as _;

#[path = "../served/bundle.rs"]
mod bundle_dir;

/// Calls under way at once, as over one busy connection.
const IN_FLIGHT: u64 = 32;

type Server = LoadShed<AuthorizationServer<Authorization>>;

/// A service with everything that records, and one request for it.
pub struct WholeCall {
    runtime: tokio::runtime::Runtime,
    server: Server,
    request: Bytes,
    audit: AuditLog,
    _metrics: SdkMeterProvider,
    _spans: SpanQueue,
    _folder: tempfile::TempDir,
}

/// Makes the messages of exports, and sends them nowhere.
#[derive(Default)]
struct NoCollector(Mutex<Vec<u8>>);

impl SpanBatchExporter for NoCollector {
    async fn export(&self, batch: &EncodedSpans) -> OTelSdkResult {
        let mut message = self.0.lock().expect("no panic");
        ExportFrame::default().write(batch.bytes(), &mut message);
        std::hint::black_box(&*message);
        Ok(())
    }
}

impl WholeCall {
    /// Serves the policies below this directory, a thousand more and ten thousand entities.
    pub fn start(project: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let dir = folder.path().join("policies");
        bundle_dir::write(project, &dir).expect("a copy of the policies");
        let bundle = bundle::load(&dir).expect("the shipped policies are sound");
        let config = Config::from_toml("", "callgate.toml").expect("the defaults");
        let audit_dir = folder.path().join("audit");
        let key = audit_dir.join("capsule.key");
        let audit = AuditLog::open(&audit_dir, &key, &config.audit).expect("a decision log");
        let audit = audit.expect("a decision log");
        let live = Arc::new(LiveGauges::default());
        let spans = SpanQueue::start(NoCollector::default(), &live, &|name| {
            (name == "OTEL_BSP_MAX_QUEUE_SIZE").then(|| "65536".to_owned())
        });
        let spans = spans.expect("a thread");
        let metrics = SdkMeterProvider::builder()
            .with_reader(ManualReader::builder().build())
            .build();
        let meter = metrics.meter("callgate");
        let redaction = Redaction::new(&[7; 32], &TelemetryConfig::default());
        let recorder = Recorder::new(RecorderParts {
            tracer: Some(SpanTracer::new(SpanSampler::ALWAYS_ON, spans.sink())),
            meter: Some(&meter),
            live,
            redaction: redaction.expect("a key"),
            decision_log: DecisionLog::None,
            audit: Some(audit.clone()),
            ..RecorderParts::default()
        });
        let service = Service::in_memory(ServiceSettings::default(), recorder.clone());
        let service = Arc::new(service.expect("a service"));
        let load = LoadedBundle {
            snapshot: bundle.snapshot,
            claims: bundle.config.claims,
            policy_set_digest: bundle.digest,
        };
        service.publish(load).expect("a revision");
        let reloadable = ReloadableConfig::new(&config);
        let limits: Arc<ArcSwap<_>> = Arc::clone(&reloadable.limits);
        let draining = CancellationToken::new();
        let rpcs = Authorization::new(service, Arc::clone(&limits), draining);
        let admit = grpc_admitter(Arc::clone(&reloadable.authenticator));
        let load = Arc::new(ServerLoad::default());
        let server = AuthorizationServer::new(rpcs);
        Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime"),
            server: LoadShed::new(server, admit, limits, load).with_recorder(recorder),
            request: frame(&bundle_dir::typical_call()),
            audit,
            _metrics: metrics,
            _spans: spans,
            _folder: folder,
        }
    }

    /// Asks once, and holds that the answer is allow.
    pub fn check(&self) {
        let answer = self
            .runtime
            .block_on(ask(self.server.clone(), request(&self.request)));
        let message = AuthorizeResponse::decode(answer.slice(5..)).expect("a response");
        assert_eq!(message.decision(), Decision::Allow, "{message:?}");
        assert!(self.audit.records() > 0, "every call is on record");
    }

    /// Asks so often.
    pub fn ask(&self, calls: u64) {
        self.each(calls, |server, request| async move {
            std::hint::black_box(ask(server, request).await);
        });
    }

    /// Does the same without asking: what the measurement itself takes.
    pub fn ask_nobody(&self, calls: u64) {
        self.each(calls, |server, request| async move {
            std::hint::black_box((&server, &request));
        });
    }

    fn each<F>(&self, calls: u64, ask: impl Fn(Server, Request<Body>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.runtime.block_on(async {
            let mut asking = JoinSet::new();
            for _ in 0..calls / IN_FLIGHT {
                for _ in 0..IN_FLIGHT {
                    asking.spawn(ask(self.server.clone(), request(&self.request)));
                }
                while let Some(asked) = asking.join_next().await {
                    asked.expect("an answer");
                }
            }
        });
    }
}

/// A message as it is in the body of a gRPC request: not compressed, its length, and its bytes.
fn frame(message: &impl Message) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len()).expect("a short message"));
    message.encode(&mut frame).expect("room");
    frame.freeze()
}

fn request(frame: &Bytes) -> Request<Body> {
    Request::post("/callgate.v1.Authorization/Authorize")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(Full::new(frame.clone())))
        .expect("a request")
}

async fn ask(mut server: Server, request: Request<Body>) -> Bytes {
    let Ok(response) = server.call(request).await;
    let body = response.into_body().collect().await.expect("a body");
    body.to_bytes()
}
