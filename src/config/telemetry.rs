//! What of a call may leave in traces and logs, and how loud the decision log is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// The section `[telemetry]`. By default nothing that could identify a person or reveal what a call
/// carries is exported in the clear.
///
/// Where spans and metrics go is not said here but in the standard `OTEL_*` variables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Logs allowed calls at INFO like denied ones, instead of at DEBUG.
    pub log_allowed: bool,
    /// A file whose content, at least 32 bytes, keys the digests that stand for sensitive values.
    ///
    /// `CALLGATE_TELEMETRY_KEY` wins over it. With neither, every process makes a key of its own:
    /// equal values then have equal digests within one run of one server and nowhere else.
    pub key_file: Option<PathBuf>,
    /// Sensitive facts that may be exported as they are.
    pub clear: Clear,
    /// Arguments that may be exported as they are: `<server>/<tool>`, or `*` for every tool, to the
    /// names of its arguments.
    pub arguments: BTreeMap<String, Vec<String>>,
}

/// Sensitive facts: a keyed digest is exported in place of each that is not opened here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clear {
    /// Names of people, and of every other principal that is not an agent or a server.
    pub users: bool,
    /// URIs of resources and targets.
    pub uris: bool,
    /// Stated purposes.
    pub purposes: bool,
    /// Network addresses of clients.
    pub addresses: bool,
}
