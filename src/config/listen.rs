//! `[listen]` and `[tls]`: sockets and certificates.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;

use crate::config::toml_document::one_or_many;

/// Listeners. Each setting is one address or a list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenConfig {
    /// TCP addresses. Without `[tls]` they must be loopback addresses.
    #[serde(deserialize_with = "one_or_many")]
    pub grpc: Vec<SocketAddr>,
    /// TCP addresses for the protocols over plain HTTP. Without `[tls]` they must be loopback addresses.
    #[serde(deserialize_with = "one_or_many")]
    pub http: Vec<SocketAddr>,
    /// Paths of Unix sockets.
    #[serde(deserialize_with = "one_or_many")]
    pub unix: Vec<PathBuf>,
    /// Permissions of the Unix sockets, in octal. By default only the owner can connect.
    pub unix_mode: SocketMode,
    /// TCP addresses for probes and scrapes: `/livez`, `/readyz`, `/statusz` and `/metrics` in cleartext, and nothing
    /// else. Any address; whoever reaches it reads them without a credential. None by default.
    #[serde(deserialize_with = "one_or_many")]
    pub admin: Vec<SocketAddr>,
}

/// File permissions of a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SocketMode(pub u32);

/// The server's certificate, and the authorities of client certificates. Paths are relative to the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate chain, PEM, the server's own first.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// The certificate authorities, PEM, that sign the callers' certificates.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
    /// Whether a client certificate is required.
    #[serde(default)]
    pub client_certificate: ClientCertificate,
}

/// Whether a client certificate is required, if `client_ca` is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificate {
    /// Connections without one are rejected.
    #[default]
    Required,
    /// A token suffices.
    Optional,
}

/// A TCP address that needs TLS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "would offer decisions in cleartext on `{0}`: set `[tls]` with `cert` and `key`, or listen on a loopback \
     address such as `127.0.0.1:50051`, or on a Unix socket"
)]
pub struct CleartextBeyondLoopback(pub SocketAddr);

impl ListenConfig {
    /// The default gRPC address.
    pub const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 50051);

    /// The default HTTP address.
    pub const DEFAULT_HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8180);

    /// Rejects an address that other machines can reach, unless there is TLS.
    ///
    /// # Errors
    ///
    /// If the address is not a loopback address and there is no TLS.
    pub fn check_address(
        address: SocketAddr,
        has_tls: bool,
    ) -> Result<(), CleartextBeyondLoopback> {
        let is_loopback = match address.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.to_canonical().is_loopback(),
        };
        if has_tls || is_loopback {
            Ok(())
        } else {
            Err(CleartextBeyondLoopback(address))
        }
    }
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            grpc: vec![Self::DEFAULT],
            http: vec![Self::DEFAULT_HTTP],
            unix: Vec::new(),
            unix_mode: SocketMode(0o600),
            admin: Vec::new(),
        }
    }
}

impl TryFrom<String> for SocketMode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match u32::from_str_radix(&text, 8) {
            Ok(mode) if mode <= 0o777 => Ok(Self(mode)),
            _ => Err(format!(
                "`{text}` is not a file permission in octal, such as `0660`"
            )),
        }
    }
}
