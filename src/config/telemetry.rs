//! `[telemetry]`: export of traces, metrics and logs, and redaction.

use std::path::PathBuf;

use serde::Deserialize;

/// Traces, metrics and log lines. The standard `OTEL_*` variables hold where this is silent.
///
/// By default nothing that could identify a person or reveal what a call carries is exported in the
/// clear.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// The OTLP endpoint, e.g. `http://127.0.0.1:4317`; wins over `OTEL_EXPORTER_OTLP_ENDPOINT`.
    /// With neither set nothing is exported. Over HTTP `/v1/traces` and the like are appended.
    pub endpoint: Option<String>,
    /// How OTLP is spoken; wins over `OTEL_EXPORTER_OTLP_PROTOCOL`. The default is gRPC.
    pub protocol: Option<OtlpProtocol>,
    /// Whether log lines are exported to the endpoint too, beside standard error.
    pub logs: bool,
    /// The service's name in traces; wins over `OTEL_SERVICE_NAME`. The default is `callgate`.
    pub service_name: Option<String>,
    /// Decisions logged at INFO, one line each; others are logged at DEBUG.
    pub decision_log: DecisionLog,
    /// Equal log lines of denies, and of rejections, per minute; further ones are summarized in one line.
    pub lines_per_minute: u32,
    /// Labels of metrics that name what the directory holds.
    pub labels: MetricLabels,
    /// Sensitive facts that may be exported as they are.
    pub clear: CleartextFields,
    /// Export of tool arguments.
    pub arguments: ArgumentExport,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            protocol: None,
            logs: false,
            service_name: None,
            decision_log: DecisionLog::default(),
            lines_per_minute: 30,
            labels: MetricLabels::default(),
            clear: CleartextFields::default(),
            arguments: ArgumentExport::default(),
        }
    }
}

/// How OTLP is spoken (OpenTelemetry Protocol Specification 1.x).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum OtlpProtocol {
    /// OTLP/gRPC.
    #[serde(rename = "grpc")]
    Grpc,
    /// OTLP/HTTP with Protobuf.
    #[serde(rename = "http/protobuf")]
    Http,
}

/// Metrics whose labels name what the directory holds. Callers cannot add values: what the directory does not know counts
/// as `OTHER`, and so does what is beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricLabels {
    /// The metric `callgate.server.decisions` with the label `callgate.server`.
    pub server: bool,
    /// The metric `callgate.policy.decisions` with the label `callgate.policy.id`.
    pub policy: bool,
    /// Upper bound of the values of each of these labels, 1 to [`MetricLabels::MAX_VALUES`].
    pub values: u32,
    /// The number of tools and of agents that `callgate.denied.tools` and `callgate.denied.agents` name, 0 to
    /// [`MetricLabels::MAX_TOP`]; 0 turns them off.
    pub top_denied: u32,
}

impl MetricLabels {
    /// The highest `values`. Each comes with allow and deny, which is less than the 2,000 series that the SDK keeps apart.
    pub const MAX_VALUES: u32 = 500;
    /// The highest `top_denied`.
    pub const MAX_TOP: u32 = 50;
}

impl Default for MetricLabels {
    fn default() -> Self {
        Self {
            server: false,
            policy: false,
            values: 100,
            top_denied: 10,
        }
    }
}

/// Selection of logged decisions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecisionLog {
    /// Denied ones.
    #[default]
    Denied,
    /// Every one.
    All,
    /// None; spans and metrics still report them.
    None,
}

/// Sensitive attributes that are exported in the clear; all others are exported as keyed digests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CleartextFields {
    /// Names of people, and of every other principal that is not an agent or a server.
    pub users: bool,
    /// URIs of resources and targets.
    pub uris: bool,
    /// Stated purposes.
    pub purposes: bool,
    /// Network addresses of clients.
    pub addresses: bool,
}

/// Export of tool arguments: a keyed digest over their canonical JSON, by which equal arguments can be recognized.
///
/// The same key makes the digests of all other sensitive facts. Without a key from here or from the
/// variable `CALLGATE_TELEMETRY_KEY`, every process draws one of its own: equal values then have equal
/// digests within one run of one server, and nowhere else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArgumentExport {
    /// A file with the key, at least 32 bytes; relative to the configuration file.
    pub hmac_key_file: Option<PathBuf>,
    /// The name of an environment variable with the key.
    pub hmac_key_env: Option<String>,
    /// Arguments whose values may be exported in the clear: `<argument>` for every tool, or
    /// `<server>/<tool>:<argument>` for one.
    pub allow: Vec<String>,
}
