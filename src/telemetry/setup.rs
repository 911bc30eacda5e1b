//! Starts and stops telemetry: logs to standard error, spans, metrics and log lines to a collector.
//!
//! Start at [`start_logging`] and [`Telemetry::start`].
//!
//! Invariant: stopping ends within its time limit, whatever the collector does.

use std::fmt;
use std::io::{IsTerminal, stderr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::audit::log::AuditLog;
use crate::config;
use crate::domain::request::visible::{escaped, escaped_lines};
use crate::supervision::kept_up_task;
use crate::telemetry::env::EnvLookup;
use crate::telemetry::export::exemplars::Exemplars;
use crate::telemetry::export::exporter_error::ExporterError;
use crate::telemetry::export::exporters::{self, ExportConfig};
use crate::telemetry::export::live_gauges::LiveGauges;
use crate::telemetry::export::log_queue::{LogQueue, QueueLimits};
use crate::telemetry::export::log_records::{LogRecords, LogSender};
use crate::telemetry::export::losses::{LossReason, LostSignal, RecordKind};
use crate::telemetry::export::otlp_encoder::ExportFrame;
use crate::telemetry::export::prometheus::MetricsScraper;
use crate::telemetry::export::resource::resource;
use crate::telemetry::export::span_queue::SpanQueue;
use crate::telemetry::export::span_tracer::SpanTracer;
use crate::telemetry::record::metrics::LATENCY_BOUNDS;
use crate::telemetry::record::recorder::{Recorder, RecorderParts};
use crate::telemetry::redact::redaction::{KeyTooShortError, MIN_KEY_BYTES, Redaction};

/// The default log filter.
pub const DEFAULT_FILTER: &str = "info";

/// The variable with the key of the digests, unless the configuration names another source.
pub const KEY_VARIABLE: &str = "CALLGATE_TELEMETRY_KEY";

/// Interval of [`Recorder::tick`].
const TICK: Duration = Duration::from_secs(1);
/// Time to write the waiting lines at the end, and then the last ones.
const DRAIN: Duration = Duration::from_secs(5);
const DRAIN_LAST: Duration = Duration::from_secs(1);

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Text for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Logging or telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The filter cannot be parsed.
    #[error("log filter `{filter}`: {source}")]
    Filter {
        /// The filter.
        filter: String,
        /// The cause.
        source: tracing_subscriber::filter::ParseError,
    },
    /// A global subscriber is set already.
    #[error("logging is set up already")]
    LoggingTwice,
    /// The variable for the key is not set.
    #[error("telemetry.arguments.hmac_key_env: the variable `{0}` is not set")]
    KeyVariable(String),
    /// The key file cannot be read.
    #[error("telemetry.arguments.hmac_key_file: cannot read `{path}`: {source}")]
    KeyFile {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The thread that writes the log cannot start.
    #[error("no thread for the log: {0}")]
    LogThread(std::io::Error),
    /// The thread that exports spans cannot start.
    #[error("no thread for spans: {0}")]
    SpanThread(std::io::Error),
    /// No random key could be generated.
    #[error("no random bytes for the telemetry key: {0}")]
    Random(getrandom::Error),
    /// The key is too short.
    #[error(transparent)]
    Key(#[from] KeyTooShortError),
    /// An exporter cannot be built.
    #[error(transparent)]
    Exporter(#[from] ExporterError),
}

/// The running log. Dropping it waits for the waiting lines, for a bounded time.
#[derive(Debug)]
#[must_use = "log lines that wait are lost unless this is dropped at the very end"]
pub struct Logging {
    sink: LogQueue,
    records: LogRecords,
    live: Arc<LiveGauges>,
}

impl Logging {
    /// Waits until the waiting lines are written. Drops those that are not in time, counts them as lost, and returns their
    /// number.
    pub fn drain(&self) -> usize {
        self.sink.drain(DRAIN)
    }

    /// The same for the last lines, after everything else has stopped.
    pub fn finish(&self) -> usize {
        self.sink.drain(DRAIN_LAST)
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        // Nothing can report the number any more.
        let _ = self.finish();
    }
}

/// The running exporters, and the recorder that feeds them.
#[derive(Debug)]
pub struct Telemetry {
    recorder: Recorder,
    live: Arc<LiveGauges>,
    spans: Option<SpanQueue>,
    meter_provider: Option<SdkMeterProvider>,
    log_sender: Option<LogSender>,
    scraper: Option<MetricsScraper>,
    ticking: Option<JoinHandle<()>>,
}

/// Starts logging to standard error. `filter` wins over `RUST_LOG`; both have its syntax.
///
/// Lines are written by a thread of its own, so that a stalled reader of standard error delays no decision.
///
/// # Errors
///
/// [`SetupError`] if the filter does not parse, the thread cannot start, or logging is set up already.
pub fn start_logging(filter: Option<&str>, format: LogFormat) -> Result<Logging, SetupError> {
    let from_env = std::env::var(EnvFilter::DEFAULT_ENV)
        .ok()
        .filter(|value| !value.is_empty());
    let filter = filter.map(str::to_owned).or(from_env);
    let filter = parse_filter(filter.as_deref().unwrap_or(DEFAULT_FILTER))?;
    let live = Arc::new(LiveGauges::default());
    let sink = LogQueue::start(stderr(), QueueLimits::default(), Arc::clone(&live));
    let sink = sink.map_err(SetupError::LogThread)?;
    let is_terminal = stderr().is_terminal();
    let is_text = match format {
        LogFormat::Auto => is_terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let lines = match is_text {
        true => text_lines(sink.clone(), is_terminal),
        false => json_lines(sink.clone()),
    };
    let records = LogRecords::new(&live, &|name| std::env::var(name).ok());
    let subscriber = tracing_subscriber::registry()
        .with(lines)
        .with(records.layer())
        .with(filter);
    let started = subscriber.try_init();
    started.map_err(|_| SetupError::LoggingTwice)?;
    Ok(Logging {
        sink,
        records,
        live,
    })
}

/// A layer that writes lines.
type LineLayer = Box<dyn Layer<Registry> + Send + Sync>;

fn text_lines(sink: LogQueue, is_terminal: bool) -> LineLayer {
    let wants_colour = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let fields = debug_fn(write_field).delimited(" ");
    tracing_subscriber::fmt::layer()
        .with_writer(sink)
        .with_ansi(wants_colour)
        .fmt_fields(fields)
        .boxed()
}

fn json_lines(sink: LogQueue) -> LineLayer {
    tracing_subscriber::fmt::layer()
        .with_writer(sink)
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .boxed()
}

/// Writes a field of the text format. Values may come from callers, so control characters are escaped; only the message
/// keeps its line breaks.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = format!("{value:?}");
    match field.name() {
        "message" => write!(writer, "{}", escaped_lines(&value)),
        name => write!(writer, "{name}={}", escaped(&value)),
    }
}

fn parse_filter(filter: &str) -> Result<EnvFilter, SetupError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| SetupError::Filter {
            filter: filter.to_owned(),
            source,
        })
}

impl Telemetry {
    /// Starts the exporters that the configuration and the `OTEL_*` variables ask for. Paths in the configuration are
    /// relative to `base`. With `is_scraped` there are metrics for `/metrics` too. The recorder feeds the decision log too. Has to be called in a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`SetupError`] for a missing or short key, or an exporter that cannot be built.
    pub fn start(
        config: &config::telemetry::TelemetryConfig,
        base: &Path,
        logging: &Logging,
        audit: Option<AuditLog>,
        is_scraped: bool,
    ) -> Result<Self, SetupError> {
        let var = |name: &str| std::env::var(name).ok();
        let redaction = redaction(config, base, &var)?;
        let plan = ExportConfig::read(config, &var);
        for warning in &plan.warnings {
            tracing::warn!("{warning}");
        }
        let live = &logging.live;
        let resource = resource(config.service_name.as_deref(), &var);
        let frame = ExportFrame::new(&resource, &scope());
        let log_sender = match plan.logs {
            true => Some(logging.records.start(config, frame.clone(), &var)?),
            false => {
                logging.records.ignore();
                None
            }
        };
        let spans = match plan.traces {
            true => {
                let exporter = exporters::spans(config, frame, live, &var)?;
                let queue = SpanQueue::start(exporter, live, &var);
                Some(queue.map_err(SetupError::SpanThread)?)
            }
            false => None,
        };
        let tracer = spans
            .as_ref()
            .map(|queue| SpanTracer::from_env(queue.sink(), &var));
        let exemplars = Arc::new(Exemplars::new(&LATENCY_BOUNDS));
        let mut scraper = None;
        let mut metrics = SdkMeterProvider::builder().with_resource(resource);
        if plan.metrics {
            let exporter = exporters::metrics(config, live, &exemplars, &var)?;
            metrics = metrics.with_periodic_exporter(exporter);
        }
        if is_scraped {
            let (asks, reader) = MetricsScraper::new(Arc::clone(&exemplars));
            metrics = metrics.with_reader(reader);
            scraper = Some(asks);
        }
        let meter_provider = (plan.metrics || is_scraped).then(|| metrics.build());
        tracing::debug!(
            spans = plan.traces,
            metrics = plan.metrics,
            logs = plan.logs,
            "telemetry started"
        );
        let parts = RecorderParts {
            tracer,
            live: Arc::clone(live),
            redaction,
            decision_log: config.decision_log,
            lines_per_minute: Some(config.lines_per_minute),
            sink: Some(logging.sink.clone()),
            audit,
            exemplars: meter_provider.is_some().then_some(exemplars),
            labels: config.labels,
            ..RecorderParts::default()
        };
        let mut started = Self::with_exporters(parts, spans, meter_provider);
        started.scraper = scraper;
        started.log_sender = log_sender;
        started.ticking = Some(tick(started.recorder()));
        Ok(started)
    }

    fn with_exporters(
        parts: RecorderParts<'_>,
        spans: Option<SpanQueue>,
        meter_provider: Option<SdkMeterProvider>,
    ) -> Self {
        let meter = meter_provider
            .as_ref()
            .map(|provider| provider.meter_with_scope(scope()));
        let live = Arc::clone(&parts.live);
        let recorder = Recorder::new(RecorderParts {
            meter: meter.as_ref(),
            ..parts
        });
        Self {
            recorder,
            live,
            spans,
            meter_provider,
            log_sender: None,
            scraper: None,
            ticking: None,
        }
    }

    /// Reads the metrics for `/metrics`; `None` unless they were asked for at the start.
    pub fn scraper(&self) -> Option<MetricsScraper> {
        self.scraper.clone()
    }

    /// The recorder that feeds the exporters.
    pub fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// Exports what is waiting, for no longer than `within`, and stops. The rest is counted as lost, and all losses that are
    /// not logged yet are logged.
    pub async fn shutdown(self, within: Duration) {
        let Self {
            recorder,
            live,
            spans,
            meter_provider,
            log_sender,
            ticking,
            scraper: _,
        } = self;
        if let Some(ticking) = ticking {
            ticking.abort();
        }
        // First, so that the last metrics have their losses.
        let mut left = within;
        if let Some(sender) = log_sender {
            sender.finish(within / 4).await;
            left -= within / 4;
        }
        if spans.is_some() || meter_provider.is_some() {
            flush(&live, spans, meter_provider, left).await;
        }
        recorder.finish();
    }
}

/// The scope of everything that is sent.
fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("callgate")
        .with_version(env!("CARGO_PKG_VERSION"))
        .build()
}

/// Calls [`Recorder::tick`] until it is aborted.
fn tick(recorder: Recorder) -> JoinHandle<()> {
    let ticking = move || tick_on(recorder.clone());
    tokio::spawn(kept_up_task("telemetry", ticking))
}

async fn tick_on(recorder: Recorder) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = ticks.tick().await;
        recorder.tick(now.into_std());
    }
}

/// Flushes spans first, so that the last metrics contain their losses.
async fn flush(
    live: &Arc<LiveGauges>,
    queue: Option<SpanQueue>,
    meter_provider: Option<SdkMeterProvider>,
    within: Duration,
) {
    let failures = || {
        let losses = &live.losses;
        losses.count(
            LostSignal::Metrics,
            RecordKind::Other,
            LossReason::ExportFailed,
        )
    };
    let (has_metrics, before) = (meter_provider.is_some(), failures());
    let for_spans = if has_metrics { within / 2 } else { within };
    let (done, finished) = tokio::sync::oneshot::channel();
    // A thread of its own: flushing blocks, and a runtime that shuts down waits for its blocking tasks for as long as the
    // collector takes.
    let spawned = std::thread::Builder::new()
        .name("callgate-flush".to_owned())
        .spawn(move || {
            let spans = queue.map(|queue| queue.shutdown(for_spans));
            let metrics = meter_provider.map(|provider| provider.shutdown());
            let is_fine = |result: Option<OTelSdkResult>| result.is_none_or(|it| it.is_ok());
            // The receiver is gone once the time is up.
            let _ = done.send((is_fine(spans), is_fine(metrics)));
        });
    let (spans, metrics) = match spawned {
        Ok(_) => match tokio::time::timeout(within, finished).await {
            Ok(ended) => ended.unwrap_or_default(),
            Err(_) => {
                tracing::warn!(?within, "telemetry was not flushed in time");
                (false, false)
            }
        },
        Err(error) => {
            tracing::warn!(%error, "cannot flush telemetry");
            (false, false)
        }
    };
    if spans && metrics {
        tracing::debug!("telemetry flushed");
    } else {
        tracing::warn!(spans, metrics, "some telemetry could not be flushed");
    }
    live.spans.discard_open(&live.losses);
    // An export that failed is counted already.
    if has_metrics && !metrics && failures() == before {
        let losses = &live.losses;
        losses.add(
            LostSignal::Metrics,
            RecordKind::Other,
            LossReason::Shutdown,
            1,
        );
    }
}

/// What stands in the place of sensitive values, under the configured key.
///
/// # Errors
///
/// [`SetupError`] for a key that cannot be read or used.
pub fn redaction(
    config: &config::telemetry::TelemetryConfig,
    base: &Path,
    var: EnvLookup<'_>,
) -> Result<Redaction, SetupError> {
    let source = &config.arguments;
    let key = match (&source.hmac_key_file, &source.hmac_key_env) {
        (Some(path), _) => read_key(&base.join(path))?,
        (None, Some(name)) => match var(name) {
            Some(key) => key.trim().as_bytes().to_vec(),
            None => return Err(SetupError::KeyVariable(name.clone())),
        },
        (None, None) => match var(KEY_VARIABLE) {
            Some(key) => key.trim().as_bytes().to_vec(),
            None => random_key()?,
        },
    };
    Ok(Redaction::new(&key, config)?)
}

fn read_key(path: &Path) -> Result<Vec<u8>, SetupError> {
    let bytes = std::fs::read(path).map_err(|source| SetupError::KeyFile {
        path: path.display().to_string(),
        source,
    })?;
    Ok(bytes.trim_ascii().to_vec())
}

fn random_key() -> Result<Vec<u8>, SetupError> {
    let mut key = vec![0; MIN_KEY_BYTES];
    getrandom::fill(&mut key).map_err(SetupError::Random)?;
    Ok(key)
}

#[cfg(test)]
#[path = "setup_tests.rs"]
mod tests;
