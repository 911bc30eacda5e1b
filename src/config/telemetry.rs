//! `[telemetry]`: where traces and metrics go, and what they may show.

use std::path::PathBuf;

use serde::Deserialize;

/// Traces, metrics and the decision log. The standard `OTEL_*` variables hold where this is silent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// The OTLP/gRPC endpoint, e.g. `http://127.0.0.1:4317`; wins over `OTEL_EXPORTER_OTLP_ENDPOINT`.
    /// With neither set nothing is exported.
    pub endpoint: Option<String>,
    /// The service's name in traces; wins over `OTEL_SERVICE_NAME`. The default is `callgate`.
    pub service_name: Option<String>,
    /// Which decisions are logged, one line each.
    pub decision_log: DecisionLog,
    /// What becomes of tool arguments.
    pub arguments: ArgumentExport,
}

/// Which decisions are logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecisionLog {
    /// Denied ones.
    #[default]
    Denied,
    /// Every one.
    All,
    /// None; spans and metrics still tell of them.
    None,
}

/// What becomes of tool arguments. By default they leave no trace at all; with a key, a keyed digest
/// over their canonical JSON lets equal arguments be recognised.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArgumentExport {
    /// A file with the key, at least 16 bytes; relative to the configuration file.
    pub hmac_key_file: Option<PathBuf>,
    /// The name of an environment variable with the key.
    pub hmac_key_env: Option<String>,
    /// Names of arguments whose values may be exported in the clear.
    pub allow: Vec<String>,
}
