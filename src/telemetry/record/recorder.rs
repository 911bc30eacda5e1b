//! Records decisions and writes: span, metrics and log line of each.

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::metrics::Meter;
use opentelemetry::trace::{SpanId, TraceId};

use crate::audit::control_record::ControlRecord;
use crate::audit::decision_record::DecisionRecord;
use crate::audit::envelope;
use crate::audit::log::{AuditLog, LogReceipt};
use crate::audit::outcome_record::OutcomeRecord;
use crate::config::telemetry::{DecisionLog, MetricLabels};
use crate::domain::request::trace_context::{TraceContext, TraceParent};
use crate::telemetry::env::ExportSignal;
use crate::telemetry::export::condition_gauges::{CertificateCondition, StoreCondition};
use crate::telemetry::export::exemplars::Exemplars;
use crate::telemetry::export::exporter_state::ExporterState;
use crate::telemetry::export::live_gauges::{InFlight, LiveGauges};
use crate::telemetry::export::log_queue::{LineReservation, LogQueue};
use crate::telemetry::export::losses::{Loss, LossReporter};
use crate::telemetry::export::otlp_encoder::SpanIds;
use crate::telemetry::export::span_tracer::SpanTracer;
use crate::telemetry::record::decision_mapping::LogFields;
use crate::telemetry::record::filtered_entries::{self, FilteredEntry};
use crate::telemetry::record::metrics::{Metrics, RejectionKind, ReloadResult};
use crate::telemetry::record::repeat_keys::{DenyKey, RejectionKey};
use crate::telemetry::record::repeat_limiter::RepeatLimiter;
use crate::telemetry::record::spans::Spans;
use crate::telemetry::record::waived::{Waived, WaivedCounts};
use crate::telemetry::record::{audit_gauges, decision_mapping, write_mapping};
use crate::telemetry::redact::redaction::Redaction;
use callgate_engine::{PolicyInfo, Snapshot};

/// Records decisions, writes and rejections. Cloning is cheap.
///
/// The default one exports nothing; it writes log lines only.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    inner: Arc<RecorderInner>,
}

#[derive(Debug, Default)]
struct RecorderInner {
    spans: Option<Spans>,
    metrics: Option<Metrics>,
    live: Arc<LiveGauges>,
    redaction: Redaction,
    decision_log: DecisionLog,
    left_out: filtered_entries::FilteredEntryLog,
    denied: RepeatLimiter<DenyKey>,
    turned_away: RepeatLimiter<RejectionKey>,
    sink: Option<LogQueue>,
    audit: Option<AuditLog>,
    teller: Mutex<LossReporter>,
    waived: Waived,
}

/// How long a write waits for a reservation in the log queue.
const LINE_WAIT: Duration = Duration::from_secs(2);

/// A reservation in the log queue for the line of a write.
#[derive(Debug)]
#[must_use = "the line is to be logged while this is held"]
pub struct ReservedLine {
    _reservation: Option<LineReservation>,
}

/// The parts of a recorder.
#[derive(Debug, Default)]
pub struct RecorderParts<'a> {
    /// Creates the spans; `None` for no spans.
    pub tracer: Option<SpanTracer>,
    /// Creates the metrics; `None` for no metrics.
    pub meter: Option<&'a Meter>,
    /// The values that gauges and exporters share.
    pub live: Arc<LiveGauges>,
    /// Replaces sensitive values.
    pub redaction: Redaction,
    /// Which decisions are logged at INFO.
    pub decision_log: DecisionLog,
    /// Lines a minute of equal denies and of equal rejections; `None` for all of them. With a number
    /// [`Recorder::tick`] has to be called regularly.
    pub lines_per_minute: Option<u32>,
    /// The queue of log lines; `None` where logging writes at once.
    pub sink: Option<LogQueue>,
    /// The decision log; `None` in mode `off`.
    pub audit: Option<AuditLog>,
    /// Keeps spans beside the latency of decisions; `None` for none.
    pub exemplars: Option<Arc<Exemplars>>,
    /// Metrics that name what the directory holds.
    pub labels: MetricLabels,
}

impl Recorder {
    /// A recorder of these parts.
    pub fn new(parts: RecorderParts<'_>) -> Self {
        Self {
            inner: Arc::new(RecorderInner {
                spans: parts.tracer.map(Spans::new),
                metrics: parts.meter.map(|meter| {
                    if let Some(audit) = &parts.audit {
                        audit_gauges::observe(audit, meter);
                    }
                    Metrics::new(meter, &parts.live, parts.exemplars.clone(), &parts.labels)
                }),
                live: parts.live,
                redaction: parts.redaction,
                decision_log: parts.decision_log,
                left_out: filtered_entries::FilteredEntryLog::default(),
                denied: RepeatLimiter::new(parts.lines_per_minute),
                turned_away: RepeatLimiter::new(parts.lines_per_minute),
                sink: parts.sink,
                audit: parts.audit,
                teller: Mutex::default(),
                waived: Waived::default(),
            }),
        }
    }

    /// The decision log; `None` in mode `off`.
    pub fn audit(&self) -> Option<&AuditLog> {
        self.inner.audit.as_ref()
    }

    /// Hands the record of a decision to the decision log, with what it was decided from (its capsule). The response may
    /// leave once the receipt says so.
    pub fn append(&self, record: &DecisionRecord<'_>, capsule: Option<&[u8]>) -> LogReceipt {
        let Some(audit) = self.audit() else {
            return LogReceipt::Done;
        };
        append_encoded(audit, capsule, |out| {
            envelope::decision(out, record, &self.inner.redaction);
        })
    }

    /// Hands the record of a control write to the decision log.
    pub fn append_write(&self, record: &ControlRecord<'_>) -> LogReceipt {
        let Some(audit) = self.audit() else {
            return LogReceipt::Done;
        };
        append_encoded(audit, None, |out| {
            envelope::control_write(out, record, &self.inner.redaction);
        })
    }

    /// Hands the outcome of a call to the decision log.
    pub fn append_outcome(&self, record: &OutcomeRecord<'_>) -> LogReceipt {
        let Some(audit) = self.audit() else {
            return LogReceipt::Done;
        };
        append_encoded(audit, None, |out| envelope::outcome(out, record))
    }

    /// Records one decision: span, metrics, log line. Never blocks and never fails the decision.
    pub fn record(&self, record: &DecisionRecord<'_>) {
        let inner = &*self.inner;
        let spans = inner.spans.as_ref();
        let span = spans.and_then(|it| it.decision(record, &inner.redaction, &inner.live));
        if let Some(metrics) = &self.inner.metrics {
            metrics.decision(record, span.as_ref());
        }
        inner.waived.note(record);
        self.log(record, span.as_ref());
    }

    /// What observe mode let pass since the start.
    pub fn waived(&self) -> WaivedCounts {
        self.inner.waived.counts()
    }

    /// Reserves room in the log queue for the line of a write. `None` if there was none within two seconds.
    pub async fn reserve_line(&self) -> Option<ReservedLine> {
        let _reservation = match &self.inner.sink {
            Some(sink) => Some(sink.reserve(LINE_WAIT).await?),
            None => None,
        };
        Some(ReservedLine { _reservation })
    }

    /// Records one control write, allowed or not: span, metrics, log line. Never blocks and never fails
    /// the write. Its line is never dropped if [`Recorder::reserve_line`] reserved room for it.
    pub fn write(&self, record: &ControlRecord<'_>) {
        let inner = &*self.inner;
        let spans = inner.spans.as_ref();
        let span = spans.and_then(|it| it.write(record, &inner.redaction, &inner.live));
        let ids = line_ids(span.as_ref(), record.trace);
        if let Some(metrics) = &self.inner.metrics {
            metrics.write(record);
        }
        let redaction = &self.inner.redaction;
        tracing::info!(
            target: "callgate::control",
            verb = record.verb,
            outcome = record.outcome.as_str(),
            reason = write_mapping::reason(record).map(|code| code.as_str()),
            id = write_mapping::object_id(record, redaction).as_deref(),
            actor = &*redaction.entity(record.actor).to_text(),
            policies = record.decision.and_then(|decision| listed(&decision.determining_policies)),
            caller = &**record.caller,
            adapter = record.adapter,
            revision = record.revision,
            took_us = u64::try_from(record.took.as_micros()).unwrap_or(u64::MAX),
            trace_id = ids.map(|(trace, _)| tracing::field::display(trace)),
            span_id = ids.map(|(_, span)| tracing::field::display(span)),
            "control write"
        );
    }

    /// Records what went into service.
    pub fn published(&self, snapshot: &Snapshot) {
        self.inner.live.published(snapshot);
    }

    /// Stores the number of approvals that wait for a person.
    pub fn approvals_waiting(&self, count: usize) {
        self.inner.live.set_approvals_waiting(count);
    }

    /// Stores the state of store and clock.
    pub fn store(&self, store: StoreCondition) {
        self.inner.live.condition.set_store(store);
    }

    /// Stores whether the whole service is only observed, and how many callers and servers are.
    pub fn observe(&self, is_service: bool, callers: usize, servers: usize) {
        let condition = &self.inner.live.condition;
        condition.set_observed(is_service, callers, servers);
    }

    /// Stores the state of the certificates.
    pub fn certificates(&self, certificates: CertificateCondition) {
        self.inner.live.condition.set_certificates(certificates);
    }

    /// Counts an attempt to load the bundle.
    pub fn reload(&self, outcome: ReloadResult) {
        self.inner
            .live
            .set_bundle_faulty(outcome == ReloadResult::Faulty);
        if let Some(metrics) = &self.inner.metrics {
            metrics.reload(outcome);
        }
    }

    /// Counts a request that was rejected without a decision, and logs the message up to the first value that came from
    /// the sender: at INFO, or at DEBUG if it was shed, so that overload is not made worse.
    pub fn rejection(&self, adapter: &'static str, why: RejectionKind, said: &str) {
        self.rejection_of(None, adapter, why, said);
    }

    /// The same, with the request's id.
    pub fn rejection_of(
        &self,
        request_id: Option<&str>,
        adapter: &'static str,
        why: RejectionKind,
        said: &str,
    ) {
        if let Some(metrics) = &self.inner.metrics {
            metrics.rejection(adapter, why);
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

    /// The losses since the start.
    pub fn losses(&self) -> Vec<Loss> {
        self.inner.live.losses.all()
    }

    /// How the exporter of each signal fares; `None` for signals that are not exported.
    pub fn exporters(&self) -> [(ExportSignal, Option<ExporterState>); ExportSignal::ALL.len()] {
        ExportSignal::ALL.map(|signal| (signal, self.inner.live.exporters.get(signal)))
    }

    /// Logs the counts of repeated lines and losses that are due. To be called every second.
    pub fn tick(&self, now: Instant) {
        self.log_pending(now, false);
    }

    /// Logs all counts that are not logged yet.
    pub fn finish(&self) {
        self.log_pending(Instant::now(), true);
    }

    fn log_pending(&self, now: Instant, is_end: bool) {
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

    /// Logs an entry that was filtered out of a list, not by policy. The lines of a minute are limited.
    pub fn filtered_entry(&self, entry: &FilteredEntry<'_>) {
        self.inner.left_out.note(entry, Instant::now());
    }

    /// Counts a request as in flight until the guard is dropped.
    pub fn enter(&self) -> InFlight {
        self.inner.live.enter()
    }

    /// Stores the limit on concurrent requests.
    pub fn request_limit(&self, limit: usize) {
        self.inner.live.set_request_limit(limit);
    }

    fn log(&self, record: &DecisionRecord<'_>, span: Option<&SpanIds>) {
        let is_for_info = match self.inner.decision_log {
            // What a shadow policy would have changed is logged as well: somebody waits for it.
            DecisionLog::Denied => {
                !record.decision.is_allow() || !record.decision.shadow.is_empty()
            }
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
        let is_flip = !record.decision.shadow.is_empty();
        let is_repeatable = is_for_info && (!record.decision.is_allow() || is_flip);
        let key = || DenyKey::of(record, &fields);
        if !is_repeatable || self.inner.denied.may_say(key, Instant::now()) {
            log_decision(
                record,
                &fields,
                is_for_info,
                line_ids(span, record.question.trace()),
            );
        }
    }

    /// Counts requests that were rejected together because the server is overloaded, with one log line at DEBUG.
    pub fn overloaded(&self, adapter: &'static str, count: u64) {
        let why = RejectionKind::Overloaded;
        if let Some(metrics) = &self.inner.metrics {
            metrics.rejections(adapter, why, count);
        }
        let why = why.as_str();
        tracing::debug!(target: "callgate::rejection", adapter, why, count, "requests rejected");
    }
}

/// Logs one decision.
fn log_decision(
    record: &DecisionRecord<'_>,
    fields: &LogFields<'_>,
    is_for_info: bool,
    ids: Option<(TraceId, SpanId)>,
) {
    // The level of an event is static, so there is one event for each level.
    macro_rules! line {
        ($level:ident) => {{
            let decision = record.decision;
            tracing::event!(
                target: "callgate::decision",
                tracing::Level::$level,
                decision = decision.outcome.as_str(),
                reason = decision_mapping::reason(record).map(|code| code.as_str()),
                operation = record.question.operation(),
                server = fields.server,
                tool = fields.tool,
                subject = &*fields.subject,
                on_behalf_of = fields.on_behalf_of.as_deref(),
                policies = listed(&decision.determining_policies),
                shadow = listed(&decision.shadow),
                caller = &**record.caller,
                adapter = record.adapter,
                revision = record.revision,
                // Only said where it is not: in observe mode.
                enforced = (!record.is_enforced).then_some(false),
                dry_run = record.is_dry_run.then_some(true),
                took_us = u64::try_from(record.took.as_micros()).unwrap_or(u64::MAX),
                decision_id = %record.decision_id,
                request_id = record.request_id,
                trace_id = ids.map(|(trace, _)| tracing::field::display(trace)),
                span_id = ids.map(|(_, span)| tracing::field::display(span)),
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

/// The trace and the span that a line belongs to: its own span, or without one that of the caller.
fn line_ids(span: Option<&SpanIds>, trace: &TraceContext) -> Option<(TraceId, SpanId)> {
    let of_caller = |parent: &TraceParent| {
        let trace_id = TraceId::from_bytes(parent.trace_id);
        (trace_id, SpanId::from_bytes(parent.span_id))
    };
    let own = span.map(|span| (span.trace_id, span.span_id));
    own.or_else(|| trace.parent().map(of_caller))
}

/// Encodes an envelope into a buffer that each thread keeps, and hands it over.
fn append_encoded(
    audit: &AuditLog,
    capsule: Option<&[u8]>,
    encode: impl FnOnce(&mut Vec<u8>),
) -> LogReceipt {
    thread_local! {
        static ENVELOPE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    ENVELOPE.with_borrow_mut(|envelope| {
        envelope.clear();
        encode(envelope);
        audit.append(envelope, capsule)
    })
}

/// A message up to the first value that came with the request. Messages with such values begin with a field in backticks, or
/// have the only one at the end, after a colon and in backticks.
pub(crate) fn without_values(said: &str) -> &str {
    if !said.starts_with('`') {
        return said.split(": `").next().unwrap_or_default();
    }
    let value = said.match_indices('`').nth(2).map(|(at, _)| at);
    let quoted = said.find('"');
    let of_reader = said.find(": ");
    let end = [value, quoted, of_reader].into_iter().flatten().min();
    said[..end.unwrap_or(said.len())].trim_end()
}

/// The ids of policies, or `None` for an empty list.
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

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
