//! From a decision record to a span, metrics and a log line.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry::metrics::Meter;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{
    Span, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracer;

use crate::audit::control_record::ControlRecord;
use crate::audit::decision_record::{DecisionRecord, RecordedRequest};
use crate::config::telemetry::DecisionLog;
use crate::domain::request::call_context::TraceContext;
use crate::telemetry::export::log_queue::{LineReservation, LogQueue};
use crate::telemetry::export::losses::{Loss, LossReporter};
use crate::telemetry::record::decision_mapping::LogFields;
use crate::telemetry::record::filtered_entries::{self, FilteredEntry};
use crate::telemetry::record::metrics::{
    InFlight, LiveGauges, Metrics, RejectionKind, ReloadResult,
};
use crate::telemetry::record::repeat_keys::{DenyKey, RejectionKey};
use crate::telemetry::record::repeat_limiter::RepeatLimiter;
use crate::telemetry::record::{decision_mapping, write_mapping};
use crate::telemetry::redact::redaction::Redaction;
use callgate_engine::PolicyInfo;

/// Puts decisions on record. Cloning is cheap.
///
/// The default one has nowhere to export to: it writes log lines only.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    inner: Arc<RecorderInner>,
}

#[derive(Debug, Default)]
struct RecorderInner {
    tracer: Option<SdkTracer>,
    propagator: TraceContextPropagator,
    metrics: Option<Metrics>,
    live: Arc<LiveGauges>,
    redaction: Redaction,
    decision_log: DecisionLog,
    left_out: filtered_entries::FilteredEntryLog,
    denied: RepeatLimiter<DenyKey>,
    turned_away: RepeatLimiter<RejectionKey>,
    sink: Option<LogQueue>,
    teller: Mutex<LossReporter>,
}

/// How long a write waits for the log to take its line.
const LINE_WAIT: Duration = Duration::from_secs(2);

/// The line of a write has its place in the log for as long as this is held.
#[derive(Debug)]
#[must_use = "the line is to be logged while this is held"]
pub struct ReservedLine {
    _promise: Option<LineReservation>,
}

/// What a recorder is made of.
#[derive(Debug, Default)]
pub struct RecorderParts<'a> {
    /// Makes the spans; `None` makes none.
    pub tracer: Option<SdkTracer>,
    /// Makes the metrics; `None` makes none.
    pub meter: Option<&'a Meter>,
    /// The numbers that gauges and exporters share.
    pub live: Arc<LiveGauges>,
    /// What stands for sensitive values.
    pub redaction: Redaction,
    /// Which decisions are logged at INFO.
    pub decision_log: DecisionLog,
    /// Lines a minute of denies and of refusals that say the same; `None` for all of them. With a number
    /// [`Recorder::tick`] has to be called every now and then.
    pub lines_per_minute: Option<u32>,
    /// Where lines go, if they wait on their way; `None` where whoever logs also writes.
    pub sink: Option<LogQueue>,
}

impl Recorder {
    /// A recorder that exports.
    pub fn new(parts: RecorderParts<'_>) -> Self {
        Self {
            inner: Arc::new(RecorderInner {
                tracer: parts.tracer,
                propagator: TraceContextPropagator::new(),
                metrics: parts.meter.map(|meter| Metrics::new(meter, &parts.live)),
                live: parts.live,
                redaction: parts.redaction,
                decision_log: parts.decision_log,
                left_out: filtered_entries::FilteredEntryLog::default(),
                denied: RepeatLimiter::new(parts.lines_per_minute),
                turned_away: RepeatLimiter::new(parts.lines_per_minute),
                sink: parts.sink,
                teller: Mutex::default(),
            }),
        }
    }

    /// Records one decision: span, metrics, log line. Never blocks and never fails the decision.
    pub fn record(&self, record: &DecisionRecord<'_>) {
        let trace_id = self
            .inner
            .tracer
            .as_ref()
            .and_then(|tracer| self.span(tracer, record));
        if let Some(metrics) = &self.inner.metrics {
            metrics.decision(record);
        }
        self.log(record, trace_id);
    }

    /// Keeps a place in the log for the line of a write that is about to begin. `None` if the log has taken no lines for
    /// so long that there is none.
    pub async fn reserve_line(&self) -> Option<ReservedLine> {
        let _promise = match &self.inner.sink {
            Some(sink) => Some(sink.promise(LINE_WAIT).await?),
            None => None,
        };
        Some(ReservedLine { _promise })
    }

    /// Records one attempt to change something: span, metrics, log line. Never blocks and never fails
    /// the attempt. Its line is never dropped if [`Recorder::reserve_line`] kept a place for it.
    pub fn control(&self, record: &ControlRecord<'_>) {
        let tracer = self.inner.tracer.as_ref();
        let trace_id = tracer.and_then(|tracer| self.control_span(tracer, record));
        if let Some(metrics) = &self.inner.metrics {
            metrics.write(record);
        }
        let redaction = &self.inner.redaction;
        tracing::info!(
            target: "callgate::control",
            verb = record.verb,
            outcome = record.outcome.as_str(),
            reason = write_mapping::reason(record).map(|code| code.as_str()),
            id = write_mapping::thing(record, redaction).as_deref(),
            actor = &*redaction.entity(record.actor),
            policies = record.decision.and_then(|decision| listed(&decision.determining_policies)),
            caller = &**record.caller,
            adapter = record.adapter,
            revision = record.revision,
            took_us = u64::try_from(record.took.as_micros()).unwrap_or(u64::MAX),
            trace_id = trace_id.map(tracing::field::display),
            "control write"
        );
    }

    fn control_span(&self, tracer: &SdkTracer, record: &ControlRecord<'_>) -> Option<TraceId> {
        let builder = SpanBuilder::from_name(write_mapping::span_name(record))
            .with_kind(SpanKind::Server)
            .with_start_time(record.started_at);
        let mut span = tracer.build_with_context(builder, &self.parent(record.trace));
        if !span.is_recording() {
            return None;
        }
        span.set_attributes(write_mapping::attributes(record, &self.inner.redaction));
        if write_mapping::is_failure(record) {
            span.set_status(Status::error("callgate could not write"));
        }
        let trace_id = span.span_context().trace_id();
        let ended_at = record.started_at.checked_add(record.took);
        span.end_with_timestamp(ended_at.unwrap_or(record.started_at));
        let recorded = &self.inner.live.spans.recorded;
        recorded.fetch_add(1, Ordering::Relaxed);
        Some(trace_id)
    }

    /// Notes what went live.
    pub fn published(&self, revision: u64, policies: usize, entities: usize) {
        self.inner.live.published(revision, policies, entities);
    }

    /// Counts an attempt to load the bundle.
    pub fn reload(&self, outcome: ReloadResult) {
        if let Some(metrics) = &self.inner.metrics {
            metrics.reload(outcome);
        }
    }

    /// Counts a request that was turned away undecided, and logs what its sender was told, up to the first
    /// value that came from the sender. Load that is shed is not made worse by a line at INFO for each.
    pub fn refusal(&self, adapter: &'static str, why: RejectionKind, said: &str) {
        self.refusal_of(None, adapter, why, said);
    }

    /// The same, of a request that has a name.
    pub fn refusal_of(
        &self,
        request_id: Option<&str>,
        adapter: &'static str,
        why: RejectionKind,
        said: &str,
    ) {
        if let Some(metrics) = &self.inner.metrics {
            metrics.refusal(adapter, why);
        }
        let said = without_values(said);
        match why {
            RejectionKind::Malformed | RejectionKind::NotEntitled | RejectionKind::Failed => {
                if !self.may_log_rejection(adapter, why, said) {
                    return;
                }
                let why = why.as_str();
                tracing::info!(target: "callgate::rejection", adapter, why, said, request_id, "request rejected");
            }
            RejectionKind::Overloaded | RejectionKind::Deadline | RejectionKind::Unavailable => {
                let why = why.as_str();
                tracing::debug!(target: "callgate::rejection", adapter, why, said, request_id, "request rejected");
            }
        }
    }

    fn may_log_rejection(&self, adapter: &'static str, why: RejectionKind, said: &str) -> bool {
        if !tracing::enabled!(target: "callgate::rejection", tracing::Level::INFO) {
            return false;
        }
        let key = || RejectionKey {
            adapter,
            why,
            said: Some(said.into()),
        };
        self.inner.turned_away.may_say(key, Instant::now())
    }

    /// What did not reach its sink since the start.
    pub fn losses(&self) -> Vec<Loss> {
        self.inner.live.losses.all()
    }

    /// Logs what is to be told by now: how many repeated lines there were, and what was lost. To be called every second.
    pub fn tick(&self, now: Instant) {
        self.tell(now, false);
    }

    /// Logs all that is still to be told.
    pub fn finish(&self) {
        self.tell(Instant::now(), true);
    }

    fn tell(&self, now: Instant, is_end: bool) {
        let inner = &*self.inner;
        for (denied, repeated) in inner.denied.over(now, is_end) {
            denied.tell(repeated);
        }
        for (turned_away, repeated) in inner.turned_away.over(now, is_end) {
            turned_away.tell(repeated);
        }
        inner.left_out.flush(now, is_end);
        if inner.sink.as_ref().is_some_and(LogQueue::is_reporting) {
            return;
        }
        let mut teller = inner.teller.lock().unwrap_or_else(PoisonError::into_inner);
        teller.tell(&inner.live.losses, now, is_end);
    }

    /// Logs an entry that was removed from a list and not by a policy. The lines of a minute are limited.
    pub fn left_out(&self, entry: &FilteredEntry<'_>) {
        self.inner.left_out.note(entry, Instant::now());
    }

    /// Counts a request as in flight until the guard is dropped.
    pub fn enter(&self) -> InFlight {
        self.inner.live.enter()
    }

    /// Notes how many requests may be under way.
    pub fn request_limit(&self, limit: usize) {
        self.inner.live.set_request_limit(limit);
    }

    fn span(&self, tracer: &SdkTracer, record: &DecisionRecord<'_>) -> Option<TraceId> {
        let builder = SpanBuilder::from_name("authorize")
            .with_kind(SpanKind::Server)
            .with_start_time(record.started_at)
            .with_attributes(Vec::with_capacity(decision_mapping::USUAL_ATTRIBUTES));
        let trace = match record.question {
            RecordedRequest::Call(call) | RecordedRequest::Filter { call, .. } => &call.trace,
            RecordedRequest::Cedar { trace, .. } | RecordedRequest::Search { trace, .. } => trace,
        };
        let mut span = tracer.build_with_context(builder, &self.parent(trace));
        // The sampler has spoken: without a span to fill, name and attributes need not be made.
        if !span.is_recording() {
            return None;
        }
        span.update_name(decision_mapping::span_name(record));
        decision_mapping::attributes(record, &self.inner.redaction, |attribute| {
            span.set_attribute(attribute)
        });
        if decision_mapping::is_failure(record) {
            span.set_status(Status::error("callgate failed while deciding"));
        }
        let trace_id = span.span_context().trace_id();
        let ended_at = record
            .started_at
            .checked_add(record.took)
            .unwrap_or(record.started_at);
        span.end_with_timestamp(ended_at);
        let recorded = &self.inner.live.spans.recorded;
        recorded.fetch_add(1, Ordering::Relaxed);
        Some(trace_id)
    }

    fn parent(&self, trace: &TraceContext) -> Context {
        if trace.traceparent.is_none() {
            return Context::new();
        }
        match parse_traceparent(trace) {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => self
                .inner
                .propagator
                .extract_with_context(&Context::new(), &TraceContextExtractor(trace)),
        }
    }

    fn log(&self, record: &DecisionRecord<'_>, trace_id: Option<TraceId>) {
        let is_for_info = match self.inner.decision_log {
            DecisionLog::Denied => !record.decision.is_allow(),
            DecisionLog::All => true,
            DecisionLog::None => false,
        };
        let is_enabled = if is_for_info {
            tracing::enabled!(target: "callgate::decision", tracing::Level::INFO)
        } else {
            tracing::enabled!(target: "callgate::decision", tracing::Level::DEBUG)
        };
        if !is_enabled {
            return;
        }
        let fields = decision_mapping::log_fields(record, &self.inner.redaction);
        let is_repeatable = is_for_info && !record.decision.is_allow();
        let key = || DenyKey::of(record, &fields);
        if !is_repeatable || self.inner.denied.may_say(key, Instant::now()) {
            line(record, &fields, is_for_info, trace_id);
        }
    }
}

/// The line of one decision.
fn line(
    record: &DecisionRecord<'_>,
    fields: &LogFields<'_>,
    is_for_info: bool,
    trace_id: Option<TraceId>,
) {
    // The level of an event is fixed where it is written, so there are two of them.
    macro_rules! line {
        ($level:ident) => {{
            let decision = record.decision;
            tracing::event!(
                target: "callgate::decision",
                tracing::Level::$level,
                decision = decision.outcome.as_str(),
                reason = decision_mapping::reason(record).map(|code| code.as_str()),
                operation = decision_mapping::operation(&record.question),
                server = fields.server,
                tool = fields.tool,
                subject = &*fields.subject,
                on_behalf_of = fields.on_behalf_of.as_deref(),
                policies = listed(&decision.determining_policies),
                shadow = listed(&decision.shadow),
                caller = &**record.caller,
                adapter = record.adapter,
                revision = record.revision,
                dry_run = record.is_dry_run.then_some(true),
                took_us = u64::try_from(record.took.as_micros()).unwrap_or(u64::MAX),
                decision_id = %record.decision_id,
                request_id = record.request_id,
                trace_id = trace_id.map(tracing::field::display),
                "authorization decision"
            );
        }};
    }
    if is_for_info {
        line!(INFO);
    } else {
        line!(DEBUG);
    }
}

/// The parent that a `traceparent` of version 00 names, without a `tracestate`, as most calls have it.
/// The propagator reads all others, and would read this one the same, if not as quickly.
fn parse_traceparent(trace: &TraceContext) -> Option<SpanContext> {
    let text = trace.traceparent.as_deref()?.strip_prefix("00-")?;
    let is_plain = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-');
    if text.len() != 52 || trace.tracestate.is_some() || !text.bytes().all(is_plain) {
        return None;
    }
    let (trace_id, rest) = text.split_once('-')?;
    let (span_id, flags) = rest.split_once('-')?;
    if trace_id.len() != 32 || span_id.len() != 16 {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let parent = SpanContext::new(
        TraceId::from_hex(trace_id).ok()?,
        SpanId::from_hex(span_id).ok()?,
        flags & TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    );
    parent.is_valid().then_some(parent)
}

/// A sentence that begins with a field, up to the first value of that field: what came with a request is
/// nobody's business. Others have no values in them.
fn without_values(said: &str) -> &str {
    if !said.starts_with('`') {
        return said;
    }
    let value = said.match_indices('`').nth(2).map(|(at, _)| at);
    let quoted = said.find('"');
    let of_reader = said.find(": ");
    let end = [value, quoted, of_reader].into_iter().flatten().min();
    said[..end.unwrap_or(said.len())].trim_end()
}

/// The ids of policies, if there are any.
fn listed(policies: &[Arc<PolicyInfo>]) -> Option<tracing::field::DisplayValue<PolicyIds<'_>>> {
    (!policies.is_empty()).then(|| tracing::field::display(PolicyIds(policies)))
}

struct PolicyIds<'a>(&'a [Arc<PolicyInfo>]);

impl fmt::Display for PolicyIds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, policy) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            f.write_str(&policy.id)?;
        }
        Ok(())
    }
}

/// Hands the trace context that came with a call to the W3C propagator.
struct TraceContextExtractor<'a>(&'a TraceContext);

impl Extractor for TraceContextExtractor<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => self.0.traceparent.as_deref(),
            "tracestate" => self.0.tracestate.as_deref(),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
