//! Certificates and keys, from files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use crate::config::listen::{ClientCertificate, Tls};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// A file cannot be read.
    #[error("`tls.{field}`: `{}` cannot be read", path.display())]
    Unreadable {
        /// The field that names it.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("`tls.{field}`: `{}` holds no {wanted} in PEM form", path.display())]
    NotPem {
        /// The field that names it.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
}

/// Reads what `[tls]` names; relative paths start at `base`.
pub fn load(tls: &Tls, base: &Path, handshake: Duration) -> Result<ServerTlsConfig, TlsFault> {
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
    let config = ServerTlsConfig::new()
        .identity(Identity::from_pem(certificate, key))
        .timeout(handshake);
    let Some(path) = &tls.client_ca else {
        return Ok(config);
    };
    let authority = read("client_ca", base, path)?;
    require(
        "client_ca",
        base,
        path,
        "certificate",
        has_certificate(&authority),
    )?;
    let is_optional = match tls.client_certificate {
        ClientCertificate::Required => false,
        ClientCertificate::Optional => true,
    };
    Ok(config
        .client_ca_root(Certificate::from_pem(authority))
        .client_auth_optional(is_optional))
}

fn read(field: &'static str, base: &Path, path: &Path) -> Result<Vec<u8>, TlsFault> {
    let path = base.join(path);
    std::fs::read(&path).map_err(|source| TlsFault::Unreadable {
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
) -> Result<(), TlsFault> {
    if is_there {
        Ok(())
    } else {
        Err(TlsFault::NotPem {
            field,
            path: base.join(path),
            wanted,
        })
    }
}

/// Whether there is a certificate, and nothing broken after it.
fn has_certificate(pem: &[u8]) -> bool {
    let mut certificates = CertificateDer::pem_slice_iter(pem).peekable();
    certificates.peek().is_some() && certificates.all(|certificate| certificate.is_ok())
}
