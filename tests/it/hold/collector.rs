//! A collector that answers when it is told to, and counts what it answered.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// How it treats exports of spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It takes the request and never answers.
    Stalled,
    /// It takes them, and drops so many of each export, as it says.
    Takes { with_rejected_count: i64 },
}

#[derive(Debug, Default)]
struct Kept {
    spans: u64,
    dropped: u64,
    /// The latest `callgate.telemetry.dropped`, by signal, kind and reason.
    told: Vec<(String, u64)>,
}

/// A running collector.
#[derive(Debug, Clone)]
pub struct Collector {
    mood: Arc<Mutex<Mood>>,
    kept: Arc<Mutex<Kept>>,
    /// Whether metrics stall too.
    stalls_metrics: Arc<AtomicBool>,
    address: SocketAddr,
}

impl Collector {
    pub async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = Self {
            mood: Arc::new(Mutex::new(mood)),
            kept: Arc::default(),
            stalls_metrics: Arc::default(),
            address: listener.local_addr().unwrap(),
        };
        let server = Server::builder()
            .add_service(TraceServiceServer::new(collector.clone()))
            .add_service(MetricsServiceServer::new(collector.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        collector
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn turn(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Has metrics stall from now on, until this ends.
    pub fn stall_metrics(&self) {
        self.stalls_metrics.store(true, Ordering::Release);
    }

    /// Spans that it kept, and that it said it dropped.
    pub fn spans(&self) -> (u64, u64) {
        let kept = self.kept.lock().unwrap();
        (kept.spans, kept.dropped)
    }

    /// What the metrics said last of losses: `log decision shutdown`, and how many.
    pub fn told(&self) -> Vec<(String, u64)> {
        self.kept.lock().unwrap().told.clone()
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mood = *self.mood.lock().unwrap();
        let Mood::Takes {
            with_rejected_count,
        } = mood
        else {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            return Err(Status::aborted("nobody waits so long"));
        };
        let resources = request.into_inner().resource_spans;
        let scopes = resources.iter().flat_map(|it| &it.scope_spans);
        let count = scopes.map(|it| it.spans.len() as u64).sum::<u64>();
        let dropped = count.min(u64::try_from(with_rejected_count).unwrap());
        let mut kept = self.kept.lock().unwrap();
        kept.spans += count - dropped;
        kept.dropped += dropped;
        let partial_success = (dropped > 0).then(|| ExportTracePartialSuccess {
            rejected_spans: i64::try_from(dropped).unwrap(),
            error_message: "the tenant's quota is used up".to_owned(),
        });
        Ok(Response::new(ExportTraceServiceResponse {
            partial_success,
        }))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        if self.stalls_metrics.load(Ordering::Acquire) {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
        }
        let resources = request.into_inner().resource_metrics;
        let scopes = resources.into_iter().flat_map(|it| it.scope_metrics);
        let mut told = Vec::new();
        for metric in scopes.flat_map(|it| it.metrics) {
            let Some(Data::Sum(sum)) = metric.data else {
                continue;
            };
            if metric.name != "callgate.telemetry.dropped" {
                continue;
            }
            for point in sum.data_points {
                let label = |name: &str| {
                    let name = format!("callgate.telemetry.{name}");
                    let found = point.attributes.iter().find(|it| it.key == name);
                    match found.and_then(|it| it.value.as_ref()?.value.as_ref()) {
                        Some(Value::StringValue(text)) => text.clone(),
                        other => panic!("{name} is {other:?}"),
                    }
                };
                let labels = ["signal", "kind", "reason"].map(label).join(" ");
                let Some(number_data_point::Value::AsInt(count)) = point.value else {
                    panic!("{:?} is no count", point.value);
                };
                told.push((labels, u64::try_from(count).unwrap()));
            }
        }
        self.kept.lock().unwrap().told = told;
        Ok(Response::new(ExportMetricsServiceResponse {
            partial_success: None,
        }))
    }
}
