//! The span processor: every span is exported, or counted as lost.
//!
//! Start at [`CountedSpanProcessor`], which precedes the SDK's queue, and [`SpanCounts::exported`](crate::telemetry::export::span_counts::SpanCounts::exported), called after it. The SDK drops spans
//! beyond its queue silently, so the processor hands over no more than the queue takes.
//!
//! Invariant: a span that was handed over is counted once, as exported, failed or dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor,
};

use crate::telemetry::env::EnvLookup;
use crate::telemetry::export::live_gauges::LiveGauges;
use crate::telemetry::export::losses::LossReason;
use crate::telemetry::export::span_counts::{SpanBatch, is_write};

/// The variable with the length of the queue.
const QUEUE_VARIABLE: &str = "OTEL_BSP_MAX_QUEUE_SIZE";
const DEFAULT_QUEUE: usize = 2_048;
/// Upper bound of the queue, whose memory is allocated at the start.
const LONGEST_QUEUE: usize = 262_144;

/// The SDK's batch processor behind a count of its queue.
#[derive(Debug)]
pub struct CountedSpanProcessor {
    queue: BatchSpanProcessor,
    live: Arc<LiveGauges>,
    room: u64,
    is_closed: AtomicBool,
}

impl CountedSpanProcessor {
    /// A processor with a queue of `OTEL_BSP_MAX_QUEUE_SIZE` spans.
    pub fn new(
        exporter: impl SpanExporter + 'static,
        live: &Arc<LiveGauges>,
        var: EnvLookup<'_>,
    ) -> Self {
        Self::with_room(exporter, live, queue_length(var))
    }

    fn with_room(
        exporter: impl SpanExporter + 'static,
        live: &Arc<LiveGauges>,
        room: usize,
    ) -> Self {
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(room)
            .build();
        Self {
            queue: BatchSpanProcessor::new(exporter, config),
            live: Arc::clone(live),
            room: room as u64,
            is_closed: AtomicBool::new(false),
        }
    }
}

/// The length of the queue. Like in the SDK, a value that is not a number counts as absent.
fn queue_length(var: EnvLookup<'_>) -> usize {
    let asked = var(QUEUE_VARIABLE).and_then(|text| text.trim().parse().ok());
    let asked = asked.unwrap_or(DEFAULT_QUEUE);
    let room = asked.clamp(1, LONGEST_QUEUE);
    if room != asked {
        tracing::warn!(
            "{QUEUE_VARIABLE} is {asked}, but must be 1 to {LONGEST_QUEUE}: {room} is used"
        );
    }
    room
}

impl SpanProcessor for CountedSpanProcessor {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        let is_write = is_write(&span);
        let reason = if self.is_closed.load(Ordering::Acquire) {
            LossReason::Shutdown
        } else if self.live.spans.admit(is_write, self.room) {
            return self.queue.on_end(span);
        } else {
            LossReason::QueueFull
        };
        self.live.spans.dropped.fetch_add(1, Ordering::Relaxed);
        SpanBatch::from_spans(&[span]).count_lost(&self.live.losses, reason);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.queue.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.is_closed.store(true, Ordering::Release);
        let result = self.queue.shutdown_with_timeout(timeout);
        self.live.spans.discard_open(&self.live.losses);
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.queue.set_resource(resource);
    }
}

#[cfg(test)]
#[path = "span_processor_tests.rs"]
mod tests;
