//! TLS server configuration from certificate and key files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::config::listen::{ClientCertificate, TlsConfig};

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("`tls.{field}`: `{}` cannot be read", path.display())]
    Unreadable {
        /// The field of `[tls]` that names it.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The server's certificate is not valid at this time.
    #[error("`tls.cert`: the certificate in `{}` {when}", path.display())]
    NotValid {
        /// The file.
        path: PathBuf,
        /// Since when, or until when.
        when: String,
    },
    /// Certificate, key and authorities do not work together.
    #[error("the certificates cannot be used: {0}")]
    Unusable(String),
    /// A file does not hold what it should.
    #[error("`tls.{field}`: `{}` holds no {wanted} in PEM form", path.display())]
    NotPem {
        /// The field of `[tls]` that names it.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
}

/// TLS configuration for each kind of listener.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// For gRPC: HTTP/2 only.
    pub grpc: Arc<ServerConfig>,
    /// For plain HTTP: HTTP/2 and HTTP/1.1, by ALPN.
    pub http: Arc<ServerConfig>,
    /// When the first certificate of the chain expires; `None` if none can be read.
    pub expires_at: Option<SystemTime>,
    /// From when until when the server's own certificate is valid; `None` if that cannot be read.
    validity: Option<(SystemTime, SystemTime)>,
    /// When the first authority of client certificates expires; `None` without one.
    pub client_ca_expires_at: Option<SystemTime>,
    /// SHA-256 over the files.
    pub(super) digest: [u8; 32],
}

impl ServerTls {
    /// Fails if clients would refuse the server's certificate because of the time: it has ended, or not begun. `path` is its
    /// file.
    ///
    /// # Errors
    ///
    /// [`TlsError::NotValid`].
    pub fn check_validity(&self, now: SystemTime, path: &Path) -> Result<(), TlsError> {
        let time = humantime::format_rfc3339_seconds;
        let when = match self.validity {
            Some((begin, _)) if now < begin => format!("is not valid before {}", time(begin)),
            Some((_, end)) if end < now => format!("expired at {}", time(end)),
            _ => return Ok(()),
        };
        let path = path.to_owned();
        Err(TlsError::NotValid { path, when })
    }
}

/// Reads the files of `[tls]`. Relative paths start at `base`.
///
/// # Errors
///
/// [`TlsError`] for a file that cannot be read or is not PEM, and for certificates that do not fit their key.
pub fn load(tls: &TlsConfig, base: &Path) -> Result<ServerTls, TlsError> {
    let certificate = read("cert", base, &tls.cert)?;
    require(
        "cert",
        base,
        &tls.cert,
        "certificate",
        has_certificate(&certificate),
    )?;
    let key = read("key", base, &tls.key)?;
    require(
        "key",
        base,
        &tls.key,
        "private key",
        PrivateKeyDer::from_pem_slice(&key).is_ok(),
    )?;
    let authority = tls.client_ca.as_ref().map(|path| {
        let authority = read("client_ca", base, path)?;
        let is_there = has_certificate(&authority);
        require("client_ca", base, path, "certificate", is_there)?;
        Ok(authority)
    });
    let authority = authority.transpose()?;
    let is_optional = match tls.client_certificate {
        ClientCertificate::Required => false,
        ClientCertificate::Optional => true,
    };
    let digest = digest([&certificate, &key, authority.as_deref().unwrap_or_default()]);
    let expires_at = expires_at(&certificate);
    let client_ca_expires_at = authority.as_deref().and_then(self::expires_at);
    let authority = authority.as_ref().map(|pem| (pem.as_slice(), is_optional));
    let mut config = server_config(&certificate, &key, authority)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let grpc = Arc::new(config.clone());
    config.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(ServerTls {
        grpc,
        http: Arc::new(config),
        expires_at,
        client_ca_expires_at,
        validity: validities(&certificate).next(),
        digest,
    })
}

/// The digest of files, each with its length.
fn digest(files: [&[u8]; 3]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for file in files {
        hasher.update((file.len() as u64).to_be_bytes());
        hasher.update(file);
    }
    hasher.finalize().into()
}

/// The earliest end of validity of the certificates of a PEM file.
fn expires_at(pem: &[u8]) -> Option<SystemTime> {
    validities(pem).map(|(_, end)| end).min()
}

/// Begin and end of the certificates of a PEM file that can be read.
fn validities(pem: &[u8]) -> impl Iterator<Item = (SystemTime, SystemTime)> {
    certificates(pem).filter_map(|der| {
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        let validity = certificate.validity();
        let time = |seconds: i64| {
            let since_epoch = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
            SystemTime::UNIX_EPOCH.checked_add(since_epoch)
        };
        time(validity.not_before.timestamp()).zip(time(validity.not_after.timestamp()))
    })
}

fn server_config(
    certificate: &[u8],
    key: &[u8],
    authority: Option<(&[u8], bool)>,
) -> Result<ServerConfig, TlsError> {
    let unusable = |error: &dyn std::fmt::Display| TlsError::Unusable(error.to_string());
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?;
    let builder = match authority {
        None => builder.with_no_client_auth(),
        Some((authority, is_optional)) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates(authority));
            let provider = Arc::new(ring::default_provider());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            let verifier = if is_optional {
                verifier.allow_unauthenticated()
            } else {
                verifier
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| unusable(&error))?)
        }
    };
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| unusable(&error))?;
    let mut config = builder
        .with_single_cert(certificates(certificate).collect(), key)
        .map_err(|error| unusable(&error))?;
    if authority.is_some() {
        // A client that resumes a session shows no certificate: the one of before would count beyond its end.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

/// The certificates of a PEM file that was checked by [`has_certificate`].
fn certificates(pem: &[u8]) -> impl Iterator<Item = CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok)
}

fn read(field: &'static str, base: &Path, path: &Path) -> Result<Vec<u8>, TlsError> {
    let path = base.join(path);
    std::fs::read(&path).map_err(|source| TlsError::Unreadable {
        field,
        path,
        source,
    })
}

fn require(
    field: &'static str,
    base: &Path,
    path: &Path,
    wanted: &'static str,
    is_there: bool,
) -> Result<(), TlsError> {
    if is_there {
        Ok(())
    } else {
        Err(TlsError::NotPem {
            field,
            path: base.join(path),
            wanted,
        })
    }
}

/// Whether the file holds at least one certificate and all of them parse.
fn has_certificate(pem: &[u8]) -> bool {
    let mut certificates = CertificateDer::pem_slice_iter(pem).peekable();
    certificates.peek().is_some() && certificates.all(|certificate| certificate.is_ok())
}
