//! Sends batches of encoded spans to an OTLP collector, over gRPC or HTTP.
//!
//! Start at [`SpanCollectorClient::new`]. There is a span for every decision, so spans are encoded where they are recorded, see
//! [`otlp_encoder`](crate::telemetry::export::otlp_encoder), and sent as they are: the message is the same over both.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use opentelemetry_sdk::error::OTelSdkResult;

use crate::telemetry::export::collector::CollectorClient;
use crate::telemetry::export::collector_settings::CollectorSettings;
use crate::telemetry::export::exporter_error::ExporterError;
use crate::telemetry::export::otlp_encoder::ExportFrame;
use crate::telemetry::export::span_queue::{EncodedSpans, SpanBatchExporter};

/// An exporter of spans. It connects with the first export.
#[derive(Debug)]
pub struct SpanCollectorClient {
    collector: CollectorClient,
    frame: ExportFrame,
    /// Spans that the collector rejected in exports that it accepted.
    rejected: Arc<AtomicU64>,
    /// The buffer of the last batch, reused for the next.
    buffer: Mutex<Arc<Vec<u8>>>,
}

impl SpanCollectorClient {
    /// A client with these settings, that sends batches in this frame. Has to be created in a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`ExporterError`] for an endpoint or TLS files that cannot be used.
    pub(crate) fn new(
        settings: &CollectorSettings,
        frame: ExportFrame,
    ) -> Result<Self, ExporterError> {
        Ok(Self {
            collector: CollectorClient::new(settings)?,
            frame,
            rejected: Arc::default(),
            buffer: Mutex::default(),
        })
    }

    /// The count of spans that the collector rejected in exports that it accepted.
    pub(crate) fn rejected(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.rejected)
    }

    fn message(&self, batch: &EncodedSpans) -> Bytes {
        // A panic may have left a partial message, which is overwritten.
        let mut kept = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        // An abandoned attempt may still send from the buffer.
        let mut buffer = Arc::into_inner(std::mem::take(&mut *kept)).unwrap_or_default();
        self.frame.write(batch.bytes(), &mut buffer);
        *kept = Arc::new(buffer);
        Bytes::from_owner(SharedMessage(Arc::clone(&kept)))
    }
}

/// A message, shared with the attempts that send it.
struct SharedMessage(Arc<Vec<u8>>);

impl AsRef<[u8]> for SharedMessage {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl SpanBatchExporter for SpanCollectorClient {
    async fn export(&self, batch: &EncodedSpans) -> OTelSdkResult {
        let rejected = self.collector.send(self.message(batch)).await?;
        self.rejected.fetch_add(rejected, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
#[path = "span_exporter_tests.rs"]
mod tests;
