//! OTLP/HTTP with Protobuf: one request after the other, on a connection that is kept.
//!
//! Start at [`HttpCollector::exchange`].
//!
//! Invariant: no response is read beyond [`MAX_RESPONSE`].

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use prost::encoding::encode_varint;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::domain::error_chain::with_causes;
use crate::telemetry::export::collector_attempt::{AttemptError, ExportResponse, Retry};
use crate::telemetry::export::collector_settings::{CollectorSettings, CollectorTls};
use crate::telemetry::export::exporter_error::ExporterError;

/// The longest response that is read, in bytes.
const MAX_RESPONSE: usize = 64 << 10;
/// The tag of field 1 with a message, in Protobuf.
const FIRST_FIELD: u8 = 0x0a;

/// A client of a collector over HTTP/1.1.
pub(super) struct HttpCollector {
    endpoint: Uri,
    headers: HeaderMap,
    is_compressed: bool,
    tls: Option<TlsConnector>,
    /// The connection of the last exchange.
    kept: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl HttpCollector {
    /// A client with these settings.
    ///
    /// # Errors
    ///
    /// [`ExporterError`] for TLS files that cannot be used.
    pub(super) fn new(settings: &CollectorSettings) -> Result<Self, ExporterError> {
        let unusable = |reason: String| ExporterError::Endpoint {
            variable: settings.source.clone(),
            endpoint: settings.shown_endpoint(),
            reason,
        };
        let tls = settings.tls.as_ref().map(connector).transpose();
        let mut headers = settings.headers.clone();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-protobuf"),
        );
        if settings.is_compressed {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let authority = settings.endpoint.authority().map(|it| {
            let text = it.as_str();
            text.rsplit_once('@').map_or(text, |(_, host)| host)
        });
        let host = HeaderValue::from_str(authority.unwrap_or_default());
        headers.insert(HOST, host.map_err(|error| unusable(error.to_string()))?);
        Ok(Self {
            endpoint: settings.endpoint.clone(),
            headers,
            is_compressed: settings.is_compressed,
            tls: tls.map_err(unusable)?,
            kept: Mutex::default(),
        })
    }

    /// Sends one request. Whoever gives up waiting drops the connection.
    pub(super) async fn exchange(&self, message: &[u8]) -> Result<ExportResponse, AttemptError> {
        let body = body(message, self.is_compressed);
        let body = body.map_err(|error| AttemptError {
            text: format!("the request cannot be compressed: {error}"),
            retry: Retry::No,
        })?;
        let mut kept = self.kept.lock().await;
        let mut connection = match kept.take() {
            Some(open) => match still_open(open).await {
                Some(open) => open,
                None => self.connect().await?,
            },
            None => self.connect().await?,
        };
        let path = self.endpoint.path_and_query().map_or("/", |it| it.as_str());
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path.parse().unwrap_or_default();
        *request.headers_mut() = self.headers.clone();
        let broken = |error: hyper::Error| AttemptError::may_pass(&with_causes(&error));
        let response = connection.send_request(request).await.map_err(broken)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_RESPONSE).collect().await;
        let body = body.map_err(|error| AttemptError::may_pass(&with_causes(error.as_ref())))?;
        *kept = Some(connection);
        if !head.status.is_success() {
            return Err(refused(head.status, &head.headers));
        }
        if is_page(&head.headers) {
            return Err(AttemptError {
                text: "export failed: the answer is a page in HTML: this is no collector"
                    .to_owned(),
                retry: Retry::No,
            });
        }
        // A collector that answers with something else has taken the request all the same.
        Ok(ExportResponse::decode(body.to_bytes()).unwrap_or_default())
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, AttemptError> {
        let host = self.endpoint.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let usual = if self.tls.is_some() { 443 } else { 80 };
        let port = self.endpoint.port_u16().unwrap_or(usual);
        let failed =
            |error: std::io::Error| AttemptError::may_pass(&format!("cannot connect: {error}"));
        let stream = TcpStream::connect((host, port)).await.map_err(failed)?;
        // Latency does not matter to an export; without it requests are sent at once.
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => handshake(stream).await,
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned()).map_err(|error| AttemptError {
                    text: format!("`{host}` is no name for TLS: {error}"),
                    retry: Retry::No,
                })?;
                handshake(tls.connect(name, stream).await.map_err(failed)?).await
            }
        }
    }
}

/// A connection that was kept, unless the collector has closed it.
async fn still_open(mut kept: SendRequest<Full<Bytes>>) -> Option<SendRequest<Full<Bytes>>> {
    kept.ready().await.is_ok().then_some(kept)
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Full<Bytes>>, AttemptError> {
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) =
        shaken.map_err(|error| AttemptError::may_pass(&with_causes(&error)))?;
    // Whoever sends hears of its end.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// The request: its first field with the message.
fn body(message: &[u8], is_compressed: bool) -> std::io::Result<Vec<u8>> {
    let mut start = vec![FIRST_FIELD];
    encode_varint(message.len() as u64, &mut start);
    if !is_compressed {
        start.extend_from_slice(message);
        return Ok(start);
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&start)?;
    gzip.write_all(message)?;
    gzip.finish()
}

/// Whether somebody else answered, such as a proxy that wants a login.
fn is_page(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type.is_some_and(|it| it.to_ascii_lowercase().starts_with(b"text/html"))
}

/// Which statuses are retryable, as OTLP says.
fn refused(status: StatusCode, headers: &HeaderMap) -> AttemptError {
    let retry = match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Retry::After(asked_wait(headers)),
        _ => Retry::No,
    };
    AttemptError {
        text: format!("export failed with HTTP status {}", status.as_u16()),
        retry,
    }
}

/// How long the collector wants to be left alone: seconds, or until a date (RFC 9110, section 10.2.3).
fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

fn connector(files: &CollectorTls) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    let (added, _) = match &files.authority {
        Some(pem) => roots.add_parsable_certificates(certificates(pem)),
        None => roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    };
    if added == 0 {
        return Err("there is no certificate authority to trust".to_owned());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|error| format!("the client's key: {error}"))?;
            builder
                .with_client_auth_cert(certificates(certificate).collect(), key)
                .map_err(|error| format!("the client's certificate: {error}"))?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificates(pem: &[u8]) -> impl Iterator<Item = CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok)
}

#[cfg(test)]
#[path = "collector_http_tests.rs"]
mod tests;
