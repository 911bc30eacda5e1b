//! Decides which spans are recorded, gives them their ids, and hands them over encoded.
//!
//! Start at [`SpanTracer::begin`]. The sampler and the limits of spans are those that the specification of the SDK names by
//! `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`, `OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT` and `OTEL_SPAN_LINK_COUNT_LIMIT`.
//! Parents are always in other processes.

use std::cell::RefCell;
use std::sync::Arc;

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

use crate::domain::request::trace_context::{TraceContext, TraceParent};
use crate::telemetry::env::EnvLookup;
use crate::telemetry::export::otlp_encoder::{
    self, AttributeWriter, SpanHead, SpanIds, SpanLimits, SpanLink,
};
use crate::telemetry::export::span_queue::SpanSink;

const SAMPLER_VARIABLE: &str = "OTEL_TRACES_SAMPLER";
const RATIO_VARIABLE: &str = "OTEL_TRACES_SAMPLER_ARG";
const ATTRIBUTES_VARIABLE: &str = "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT";
const LINKS_VARIABLE: &str = "OTEL_SPAN_LINK_COUNT_LIMIT";

/// Memory that a thread keeps for encoding a span, in bytes. Most spans have under 2 KiB.
const KEPT_BYTES: usize = 64 * 1024;

/// Which spans are sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanSampler {
    /// Whether a parent decides, where there is one.
    follows_parent: bool,
    /// Traces whose lower 63 bits are below this are sampled; `None` for all of them.
    below: Option<u64>,
}

/// Samples and records spans. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct SpanTracer {
    sampler: SpanSampler,
    limits: SpanLimits,
    ids: RandomIdGenerator,
    sink: Arc<dyn SpanSink>,
}

impl SpanSampler {
    /// All spans.
    pub const ALWAYS_ON: Self = Self {
        follows_parent: false,
        below: None,
    };

    /// No span.
    pub const ALWAYS_OFF: Self = Self {
        follows_parent: false,
        below: Some(0),
    };

    /// A share of all traces, from 0 to 1, chosen by their ids as the SDK chooses.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 2^63"
    )]
    pub fn ratio(share: f64) -> Self {
        Self {
            follows_parent: false,
            below: (share < 1.0).then(|| (share.max(0.0) * (1_u64 << 63) as f64) as u64),
        }
    }

    /// As the parent, and as this without one.
    pub fn parent_based(self) -> Self {
        Self {
            follows_parent: true,
            ..self
        }
    }

    /// The sampler of the variables. What is absent, unknown or not implemented is `parentbased_always_on`, as in the SDK, and
    /// a ratio that is no number from 0 to 1 is 1.
    pub fn from_env(var: EnvLookup<'_>) -> Self {
        let default = Self::ALWAYS_ON.parent_based();
        let Some(name) = var(SAMPLER_VARIABLE) else {
            return default;
        };
        let ratio = || {
            let share = var(RATIO_VARIABLE).and_then(|text| text.parse().ok());
            let share = share.filter(|share| (0.0..=1.0).contains(share));
            if share.is_none() {
                tracing::warn!(
                    "{SAMPLER_VARIABLE} is `{name}`, but {RATIO_VARIABLE} is no number from 0 to 1: every trace is sampled"
                );
            }
            Self::ratio(share.unwrap_or(1.0))
        };
        match name.as_str() {
            "always_on" => Self::ALWAYS_ON,
            "always_off" => Self::ALWAYS_OFF,
            "traceidratio" => ratio(),
            "parentbased_always_on" => default,
            "parentbased_always_off" => Self::ALWAYS_OFF.parent_based(),
            "parentbased_traceidratio" => ratio().parent_based(),
            _ => {
                tracing::warn!(
                    "{SAMPLER_VARIABLE} is `{name}`, which does not exist here: `parentbased_always_on` is used"
                );
                default
            }
        }
    }

    fn samples(self, parent: Option<&TraceParent>, trace_id: TraceId) -> bool {
        match (parent, self.below) {
            (Some(parent), _) if self.follows_parent => parent.is_sampled,
            (_, None) => true,
            (_, Some(below)) => {
                let [.., a, b, c, d, e, f, g, h] = trace_id.to_bytes();
                u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1 < below
            }
        }
    }
}

/// The limits of the variables, or the defaults of the specification.
fn limits_from_env(var: EnvLookup<'_>) -> SpanLimits {
    let number = |name: &str| var(name).and_then(|text| text.parse().ok());
    let default = SpanLimits::default();
    SpanLimits {
        attributes: number(ATTRIBUTES_VARIABLE).unwrap_or(default.attributes),
        links: number(LINKS_VARIABLE).unwrap_or(default.links),
    }
}

impl SpanTracer {
    /// Samples as this says, with the default limits.
    pub fn new(sampler: SpanSampler, sink: Arc<dyn SpanSink>) -> Self {
        Self {
            sampler,
            limits: SpanLimits::default(),
            ids: RandomIdGenerator::default(),
            sink,
        }
    }

    /// Samples and limits as the variables say.
    pub fn from_env(sink: Arc<dyn SpanSink>, var: EnvLookup<'_>) -> Self {
        Self {
            limits: limits_from_env(var),
            ..Self::new(SpanSampler::from_env(var), sink)
        }
    }

    /// The ids of a new span in this trace; `None` if it is not sampled, or nothing is exported any more.
    pub fn begin(&self, trace: &TraceContext) -> Option<SpanIds> {
        let parent = trace.parent();
        let trace_id = match parent {
            Some(parent) => TraceId::from_bytes(parent.trace_id),
            None => self.ids.new_trace_id(),
        };
        if !self.sampler.samples(parent, trace_id) || self.sink.is_closed() {
            return None;
        }
        Some(SpanIds {
            trace_id,
            span_id: self.ids.new_span_id(),
            parent: parent.map(|parent| SpanId::from_bytes(parent.span_id)),
            trace_state: trace.state().to_owned(),
        })
    }

    /// Encodes a span and hands it over.
    pub fn end(
        &self,
        head: &SpanHead<'_>,
        attributes: impl FnOnce(&mut AttributeWriter<'_>),
        links: &[SpanLink<'_>],
        is_write: bool,
    ) {
        thread_local! {
            static SPAN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        SPAN.with_borrow_mut(|span| {
            span.clear();
            otlp_encoder::span(span, head, self.limits, attributes, links);
            self.sink.push(span, is_write);
            if span.capacity() > KEPT_BYTES {
                *span = Vec::new();
            }
        });
    }
}

#[cfg(test)]
#[path = "span_tracer_tests.rs"]
mod tests;
