//! Where a collector is and how it is spoken to, from the configuration and the `OTEL_EXPORTER_OTLP_*` variables.
//!
//! Start at [`CollectorSettings::read`]. Rules are those of the OpenTelemetry Protocol Exporter specification: a signal's own
//! variable wins over the one for all; an endpoint of the latter is a base to which OTLP/HTTP appends `v1/<signal>`, an
//! endpoint of the former is taken as it is.

use std::str::FromStr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use crate::config::telemetry::{OtlpProtocol, TelemetryConfig};
use crate::domain::error_chain::with_causes;
use crate::telemetry::env::{EnvLookup, ExportSignal, signal_variable};
use crate::telemetry::export::exporter_error::ExporterError;

const DEFAULT_GRPC: &str = "http://localhost:4317";
const DEFAULT_HTTP: &str = "http://localhost:4318";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings of one signal.
#[derive(Clone)]
pub(crate) struct CollectorSettings {
    pub(super) signal: ExportSignal,
    pub(super) protocol: OtlpProtocol,
    pub(super) endpoint: Uri,
    /// What names the endpoint, for messages.
    pub(super) source: String,
    pub(super) headers: HeaderMap,
    pub(super) timeout: Duration,
    /// Whether requests are compressed with gzip.
    pub(super) is_compressed: bool,
    /// `None` for cleartext.
    pub(super) tls: Option<CollectorTls>,
}

/// PEM files that TLS needs.
#[derive(Clone, Default)]
pub(super) struct CollectorTls {
    /// The trusted authority; the system's without one.
    pub(super) authority: Option<Vec<u8>>,
    /// Certificate and key of the client.
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl CollectorSettings {
    /// Reads what holds for a signal.
    ///
    /// # Errors
    ///
    /// [`ExporterError`] for an endpoint that is none and a file that cannot be read.
    pub(super) fn read(
        signal: ExportSignal,
        config: &TelemetryConfig,
        var: EnvLookup<'_>,
    ) -> Result<Self, ExporterError> {
        let var = |name: &str| var(name).filter(|value| !value.trim().is_empty());
        let protocol = protocol(signal, config, &var).unwrap_or(OtlpProtocol::Grpc);
        let (source, text) = address(signal, protocol, config.endpoint.as_deref(), &var);
        let invalid = |reason: String| ExporterError::Endpoint {
            variable: source.clone(),
            endpoint: without_credentials(&text),
            reason,
        };
        let endpoint: Uri = text
            .parse()
            .map_err(|error: http::uri::InvalidUri| invalid(with_causes(&error)))?;
        if !matches!(endpoint.scheme_str(), Some("http" | "https")) || endpoint.host().is_none() {
            return Err(invalid("it is no `http` or `https` URL".to_owned()));
        }
        let tls = match endpoint.scheme_str() {
            Some("https") => Some(CollectorTls::read(signal, &var)?),
            _ => None,
        };
        Ok(Self {
            signal,
            protocol,
            endpoint,
            source,
            headers: headers(signal, &var),
            timeout: timeout(signal, &var),
            is_compressed: is_compressed(signal, &var),
            tls,
        })
    }

    /// The endpoint without credentials and query, for status and log.
    pub(super) fn shown_endpoint(&self) -> String {
        let scheme = self.endpoint.scheme_str().unwrap_or_default();
        let host = self.endpoint.host().unwrap_or_default();
        let port = self.endpoint.port_u16();
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        let path = self.endpoint.path().trim_end_matches('/');
        format!("{scheme}://{host}{port}{path}")
    }
}

/// An endpoint that cannot be parsed, without what stands before `@`, and without a query.
fn without_credentials(endpoint: &str) -> String {
    let text = endpoint.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}{rest}")
}

impl CollectorTls {
    fn read(signal: ExportSignal, var: EnvLookup<'_>) -> Result<Self, ExporterError> {
        let authority = signal_variable(signal, "CERTIFICATE", var)
            .map(read)
            .transpose()?;
        let certificate = signal_variable(signal, "CLIENT_CERTIFICATE", var);
        let key = signal_variable(signal, "CLIENT_KEY", var);
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
            (Some((name, _)), None) | (None, Some((name, _))) => {
                return Err(ExporterError::HalfIdentity(name));
            }
            (None, None) => None,
        };
        Ok(Self {
            authority,
            identity,
        })
    }
}

fn read((variable, path): (String, String)) -> Result<Vec<u8>, ExporterError> {
    std::fs::read(&path).map_err(|source| ExporterError::Unreadable {
        variable,
        path,
        source,
    })
}

/// The protocol that configuration or variables ask for. `None` if neither does, or one asks for an unknown one.
pub(super) fn protocol(
    signal: ExportSignal,
    config: &TelemetryConfig,
    var: EnvLookup<'_>,
) -> Option<OtlpProtocol> {
    if config.protocol.is_some() {
        return config.protocol;
    }
    match signal_variable(signal, "PROTOCOL", var)?.1.as_str() {
        "grpc" => Some(OtlpProtocol::Grpc),
        "http/protobuf" => Some(OtlpProtocol::Http),
        _ => None,
    }
}

/// The source of the endpoint, for messages, and the endpoint with its scheme.
fn address(
    signal: ExportSignal,
    protocol: OtlpProtocol,
    configured: Option<&str>,
    var: EnvLookup<'_>,
) -> (String, String) {
    let own = format!("OTEL_EXPORTER_OTLP_{}ENDPOINT", signal.infix());
    let configured = configured
        .filter(|endpoint| !endpoint.is_empty())
        .map(|endpoint| ("telemetry.endpoint".to_owned(), endpoint.to_owned()));
    let default = || {
        let endpoint = match protocol {
            OtlpProtocol::Grpc => DEFAULT_GRPC,
            OtlpProtocol::Http => DEFAULT_HTTP,
        };
        ("endpoint".to_owned(), endpoint.to_owned())
    };
    let (source, mut endpoint) = configured
        .or_else(|| signal_variable(signal, "ENDPOINT", var))
        .unwrap_or_else(default);
    let has_scheme = endpoint
        .split_once("://")
        .is_some_and(|(scheme, _)| !scheme.contains(['/', '?', '#']));
    if !has_scheme {
        let is_insecure = signal_variable(signal, "INSECURE", var)
            .is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"));
        let scheme = if is_insecure { "http" } else { "https" };
        endpoint = format!("{scheme}://{endpoint}");
    }
    if protocol == OtlpProtocol::Http && source != own {
        let base = endpoint.trim_end_matches('/');
        endpoint = format!("{base}/v1/{}", signal.as_str());
    }
    (source, endpoint)
}

/// The time that an attempt has. None at all, which the variables cannot mean for an export that has to end, counts as absent.
fn timeout(signal: ExportSignal, var: EnvLookup<'_>) -> Duration {
    let milliseconds = [signal.infix(), ""].into_iter().find_map(|infix| {
        var(&format!("OTEL_EXPORTER_OTLP_{infix}TIMEOUT"))?
            .parse()
            .ok()
            .filter(|milliseconds| *milliseconds > 0)
    });
    milliseconds.map_or(DEFAULT_TIMEOUT, Duration::from_millis)
}

/// Whether the variables ask for gzip. A value other than `gzip` and `none` counts as absent.
fn is_compressed(signal: ExportSignal, var: EnvLookup<'_>) -> bool {
    let found = [signal.infix(), ""].into_iter().find_map(|infix| {
        let value = var(&format!("OTEL_EXPORTER_OTLP_{infix}COMPRESSION"))?;
        match value.to_ascii_lowercase().as_str() {
            "gzip" => Some(true),
            "none" => Some(false),
            _ => None,
        }
    });
    found.unwrap_or(false)
}

/// The headers of the variables: `key=value,key=value` with percent-encoded values. Invalid headers are left out.
fn headers(signal: ExportSignal, var: EnvLookup<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(
        http::header::USER_AGENT,
        HeaderValue::from_static(concat!(
            "OTel-OTLP-Exporter-Callgate/",
            env!("CARGO_PKG_VERSION")
        )),
    );
    let text = signal_variable(signal, "HEADERS", var).map_or_else(String::new, |(_, text)| text);
    for pair in text.split(',') {
        let Some((key, value)) = pair.split_once('=') else {
            continue;
        };
        let value = value.trim();
        let decoded = percent_decode_str(value).decode_utf8();
        let value = decoded.as_deref().unwrap_or(value);
        let header = (
            HeaderName::from_str(key.trim()),
            HeaderValue::from_str(value),
        );
        if let (Ok(key), Ok(value)) = header
            && !value.is_empty()
        {
            headers.insert(key, value);
        }
    }
    headers
}

#[cfg(test)]
#[path = "collector_settings_tests.rs"]
mod tests;
