//! An OTLP receiver that counts spans.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::served::Fault;

/// The running receiver.
pub struct Collector {
    pub endpoint: String,
    spans: Arc<AtomicUsize>,
}

struct Receiver(Arc<AtomicUsize>);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans;
        let scopes = resources.iter().flat_map(|resource| &resource.scope_spans);
        let spans = scopes.map(|scope| scope.spans.len()).sum();
        self.0.fetch_add(spans, Ordering::Relaxed);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Spans received so far. The first come when the exporter has waited long enough.
    pub async fn spans(&self) -> usize {
        for _ in 0..100 {
            let spans = self.spans.load(Ordering::Relaxed);
            if spans > 0 {
                return spans;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        0
    }
}

/// Starts a receiver on a free port.
pub async fn start() -> Result<Collector, Fault> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let spans = Arc::new(AtomicUsize::new(0));
    let service = TraceServiceServer::new(Receiver(Arc::clone(&spans)));
    let server = Server::builder().add_service(service.max_decoding_message_size(64 << 20));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    Ok(Collector { endpoint, spans })
}
