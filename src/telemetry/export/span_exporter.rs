//! Sends spans to an OTLP collector.
//!
//! Start at [`SpanCollectorClient::new`]. There is a span for every decision, so they are encoded at a fraction of the cost of
//! `opentelemetry-proto`, see [`otlp_encoder`](crate::telemetry::export::otlp_encoder).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use crate::telemetry::export::collector::CollectorClient;
use crate::telemetry::export::collector_settings::CollectorSettings;
use crate::telemetry::export::exporters::ExporterError;
use crate::telemetry::export::otlp_encoder::{self, ReverseEncoder};

/// An exporter of spans. It connects with the first export.
#[derive(Debug)]
pub struct SpanCollectorClient {
    collector: CollectorClient,
    resource: Resource,
    /// Spans that the collector rejected in exports that it accepted.
    rejected: Arc<AtomicU64>,
    /// The buffer of the last batch, reused for the next.
    buffer: Mutex<Arc<ReverseEncoder>>,
}

impl SpanCollectorClient {
    /// A client with these settings. Has to be created in a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`ExporterError`] for an endpoint or TLS files that cannot be used.
    pub(crate) fn new(settings: &CollectorSettings) -> Result<Self, ExporterError> {
        Ok(Self {
            collector: CollectorClient::new(settings)?,
            resource: Resource::builder_empty().build(),
            rejected: Arc::default(),
            buffer: Mutex::default(),
        })
    }

    /// The count of spans that the collector rejected in exports that it accepted.
    pub(crate) fn rejected(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.rejected)
    }

    fn encode(&self, batch: &[SpanData]) -> Bytes {
        // A panic may have left a partial encoding, which is overwritten.
        let mut kept = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        // An abandoned attempt may still send from the buffer.
        let mut buffer = Arc::into_inner(std::mem::take(&mut *kept)).unwrap_or_default();
        otlp_encoder::resource_spans(&self.resource, batch, &mut buffer);
        *kept = Arc::new(buffer);
        Bytes::from_owner(EncodedSpans(Arc::clone(&kept)))
    }
}

/// Encoded spans, shared with the attempts that send them.
struct EncodedSpans(Arc<ReverseEncoder>);

impl AsRef<[u8]> for EncodedSpans {
    fn as_ref(&self) -> &[u8] {
        self.0.written()
    }
}

impl SpanExporter for SpanCollectorClient {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let message = self.encode(&batch);
        drop(batch);
        let rejected = self.collector.send(message).await?;
        self.rejected.fetch_add(rejected, Ordering::Relaxed);
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.clone();
    }
}

#[cfg(test)]
#[path = "span_exporter_tests.rs"]
mod tests;
