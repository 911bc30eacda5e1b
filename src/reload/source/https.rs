//! An archive behind an `https` address, asked for with the entity tag of the last answer (RFC 9110, section 13.1.2).
//!
//! Redirections are not followed: the address that is configured is the one that is asked.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, ETAG, HOST, IF_NONE_MATCH, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::Url;

use crate::bundle::archive::MAX_ARCHIVE_BYTES;
use crate::config::bundle::BundleConfig;
use crate::reload::source::{FetchAnswer, SourceError};

/// Time limit of making a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Time limit of the whole.
const WHOLE: Duration = Duration::from_secs(30);
/// Bytes of the headers of an answer.
const MAX_HEADER_BYTES: usize = 64 << 10;
/// Bytes of an entity tag; a longer one is not used.
const MAX_TAG_BYTES: usize = 1_024;
/// Bytes of a bearer token.
const MAX_TOKEN_BYTES: usize = 64 << 10;

/// An `https` address, and how its server is verified.
#[derive(Debug)]
pub(super) struct HttpsPlace {
    url: Url,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    token_file: Option<PathBuf>,
}

impl HttpsPlace {
    /// The place at a URL, for a configuration in the directory `base`.
    pub(super) fn new(config: &BundleConfig, url: &str, base: &Path) -> Result<Self, SourceError> {
        let setting = |field| move |why: String| SourceError::Setting { field, why };
        let parsed = Url::parse(url).map_err(|it| setting("bundle.url")(it.to_string()))?;
        let host = parsed.host_str().unwrap_or_default();
        // An address of version 6 stands in brackets.
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let name =
            ServerName::try_from(host).map_err(|it| setting("bundle.url")(it.to_string()))?;
        let roots = match &config.ca_file {
            Some(file) => authorities(&base.join(file)).map_err(setting("bundle.ca_file"))?,
            None => system_authorities().map_err(setting("bundle.url"))?,
        };
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|it| setting("bundle.url")(it.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            url: parsed,
            name,
            tls: Arc::new(tls),
            token_file: config.token_file.as_ref().map(|file| base.join(file)),
        })
    }

    /// Asks for the archive, unless it is still the one with this tag. Blocks.
    pub(super) fn get(&self, tag: Option<&str>) -> Result<FetchAnswer, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("cannot be asked for: {error}"))?;
        runtime.block_on(async {
            match timeout(WHOLE, self.ask(tag)).await {
                Ok(answer) => answer,
                Err(_) => Err(format!("no answer within {} s", WHOLE.as_secs())),
            }
        })
    }

    async fn ask(&self, tag: Option<&str>) -> Result<FetchAnswer, String> {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port_or_known_default().unwrap_or(443);
        let connecting = async {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let tcp = TcpStream::connect((bare, port)).await?;
            let connector = TlsConnector::from(Arc::clone(&self.tls));
            connector.connect(self.name.clone(), tcp).await
        };
        let stream = match timeout(CONNECT, connecting).await {
            Ok(stream) => stream.map_err(|error| format!("cannot connect: {error}"))?,
            Err(_) => return Err(format!("no connection within {} s", CONNECT.as_secs())),
        };
        let broken = |error: hyper::Error| format!("the connection broke: {error}");
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEADER_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let driver = tokio::spawn(connection);
        let answer = sender.send_request(self.request(tag)?).await;
        let answer = read(answer.map_err(broken)?, tag).await;
        driver.abort();
        answer
    }

    fn request(&self, tag: Option<&str>) -> Result<Request<Empty<Bytes>>, String> {
        let host = self.url.host_str().unwrap_or_default();
        let host = match self.url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let path = &self.url[url::Position::BeforePath..url::Position::AfterQuery];
        let mut request = Request::get(path)
            .header(HOST, host)
            .header(ACCEPT, "application/octet-stream, */*")
            .header(USER_AGENT, concat!("callgate/", env!("CARGO_PKG_VERSION")));
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        if let Some(file) = &self.token_file {
            request = request.header(AUTHORIZATION, bearer(file)?);
        }
        request
            .body(Empty::new())
            .map_err(|error| format!("no request can be made of it: {error}"))
    }
}

async fn read(
    answer: http::Response<hyper::body::Incoming>,
    tag: Option<&str>,
) -> Result<FetchAnswer, String> {
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED if tag.is_some() => return Ok(FetchAnswer::NotModified),
        status if status.is_redirection() => {
            return Err(format!(
                "the server answers {status}; redirections are not followed: configure the address it names"
            ));
        }
        status => return Err(format!("the server answers {status}")),
    }
    let tag = answer.headers().get(ETAG);
    let tag = tag.and_then(|tag| tag.to_str().ok());
    let tag = tag
        .filter(|tag| tag.len() <= MAX_TAG_BYTES)
        .map(str::to_owned);
    let most = usize::try_from(MAX_ARCHIVE_BYTES).unwrap_or(usize::MAX);
    let body = Limited::new(answer.into_body(), most).collect().await;
    let bytes = body.map_err(|error| {
        format!("its body breaks off, or is larger than {MAX_ARCHIVE_BYTES} bytes: {error}")
    })?;
    Ok(FetchAnswer::New {
        tag,
        bytes: bytes.to_bytes().to_vec(),
    })
}

fn bearer(file: &Path) -> Result<HeaderValue, String> {
    let cannot = |why: String| format!("`bundle.token_file`: `{}`: {why}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| cannot(error.to_string()))?;
    let token = text.trim();
    if token.is_empty() || token.len() > MAX_TOKEN_BYTES {
        return Err(cannot("it holds no token, or a long text".to_owned()));
    }
    let header = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut header = header.map_err(|_| cannot("no header can carry it".to_owned()))?;
    header.set_sensitive(true);
    Ok(header)
}

/// The certificate authorities in a file.
///
/// # Errors
///
/// Why there are none.
pub fn authorities(file: &Path) -> Result<RootCertStore, String> {
    let cannot = |why: String| format!("`{}`: {why}", file.display());
    let pem = std::fs::read(file).map_err(|error| cannot(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
    match roots.add_parsable_certificates(certificates) {
        (0, _) => Err(cannot("it holds no certificate in PEM form".to_owned())),
        _ => Ok(roots),
    }
}

fn system_authorities() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    match roots.add_parsable_certificates(found.certs) {
        (0, _) => {
            Err("this system has no certificate authorities: name one with `bundle.ca_file`".into())
        }
        _ => Ok(roots),
    }
}
