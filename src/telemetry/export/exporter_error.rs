//! Why an exporter cannot be built.

/// An exporter that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    /// A certificate or key file cannot be read.
    #[error("{variable}: cannot read `{path}`: {source}")]
    Unreadable {
        /// The variable.
        variable: String,
        /// The file it names.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// Only one half of a client's identity is set.
    #[error("{0} is set, but its counterpart is not: a client certificate needs its key")]
    HalfIdentity(String),
    /// An endpoint that is none, or its TLS files cannot be used.
    #[error("{variable}: invalid endpoint `{endpoint}`: {reason}")]
    Endpoint {
        /// What names it.
        variable: String,
        /// The endpoint.
        endpoint: String,
        /// Why.
        reason: String,
    },
}
