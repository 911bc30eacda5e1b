//! Connection to a running server: address, credentials, and the meaning of failed requests.
//!
//! Start at [`ServerConnection::connect`].

use std::env::VarError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use prost::Message;
use serde_json::{Value as Json, json};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};
use tonic_health::pb::health_client::HealthClient;

use crate::cli::render;
use crate::proto::v1;
use crate::proto::v1::authorization_client::AuthorizationClient;
use crate::proto::v1::control_client::ControlClient;

/// The default address of a server.
pub const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:50051";
/// Environment variable with the address of the server; flags take precedence.
pub const ENDPOINT_VARIABLE: &str = "CALLGATE_ENDPOINT";
/// Timeout of a connection and of a unary request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Supported schemes of a server's address.
const SCHEMES: [&str; 3] = ["http://", "https://", "unix:"];
/// Bytes of one response. A page of approvals contains the arguments of each.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// Credentials of the client, and how to verify the server.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ClientCredentials {
    /// The bearer token to show
    #[arg(
        long,
        env = "CALLGATE_TOKEN",
        hide_env_values = true,
        global = true,
        display_order = 901
    )]
    pub token: Option<String>,
    /// Read the bearer token from this file; wins over `--token`
    #[arg(long, value_name = "FILE", global = true, display_order = 902)]
    pub token_file: Option<PathBuf>,
    /// The certificate authority of an `https` server, PEM, in place of those that this system trusts
    #[arg(long, value_name = "FILE", global = true, display_order = 903)]
    pub ca: Option<PathBuf>,
    /// The client certificate to show, PEM
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        requires = "cert_key",
        display_order = 904
    )]
    pub cert: Option<PathBuf>,
    /// The client certificate's private key, PEM
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        requires = "cert",
        display_order = 905
    )]
    pub cert_key: Option<PathBuf>,
}

/// A connection to a server.
pub struct ServerConnection {
    channel: Channel,
    authorization: Option<MetadataValue<Ascii>>,
}

/// A failed request.
#[derive(Debug, thiserror::Error)]
pub struct RpcError {
    /// Whether the request was a write.
    pub is_change: bool,
    /// The status returned by the server.
    pub status: Box<Status>,
    /// What to do about it, if anything.
    pub hint: Option<String>,
}

impl ServerConnection {
    /// Connects to a server.
    ///
    /// # Errors
    ///
    /// If the address or a credential is invalid, or the server cannot be reached.
    pub async fn connect(endpoint: &str, credentials: &ClientCredentials) -> anyhow::Result<Self> {
        Ok(Self {
            authorization: credentials.header()?,
            channel: connect(endpoint, credentials).await?,
        })
    }

    /// A client of `callgate.v1.Authorization`.
    pub fn authorization(&self) -> AuthorizationClient<Channel> {
        AuthorizationClient::new(self.channel.clone())
    }

    /// A client of `callgate.v1.Control`.
    pub fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// A client of `grpc.health.v1`.
    pub fn health(&self) -> HealthClient<Channel> {
        HealthClient::new(self.channel.clone())
    }

    /// A request with the default timeout.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = self.lasting_request(message);
        request.set_timeout(TIMEOUT);
        request
    }

    /// A request without timeout, for streams.
    pub fn lasting_request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(header) = &self.authorization {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", header.clone());
        }
        request
    }
}

impl ClientCredentials {
    /// Whether a flag is given that only applies to a server. The token does not count, since it may come from the
    /// environment.
    pub fn name_a_server(&self) -> bool {
        self.ca.is_some() || self.cert.is_some() || self.token_file.is_some()
    }

    fn header(&self) -> anyhow::Result<Option<MetadataValue<Ascii>>> {
        let token = match &self.token_file {
            Some(path) => {
                let text = String::from_utf8(read(path)?).context("the token is not text")?;
                Some(text.trim().to_owned())
            }
            None => self.token.clone(),
        };
        let header = token.map(|token| {
            let mut header: MetadataValue<Ascii> = format!("Bearer {token}")
                .parse()
                .context("the token has characters that no header can carry")?;
            header.set_sensitive(true);
            anyhow::Ok(header)
        });
        header.transpose()
    }
}

/// The server's address from the environment, if set.
///
/// # Errors
///
/// If the variable is not UTF-8.
pub fn endpoint_of_environment() -> anyhow::Result<Option<String>> {
    match std::env::var(ENDPOINT_VARIABLE) {
        Ok(endpoint) => Ok(Some(endpoint)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => bail!("`{ENDPOINT_VARIABLE}` is not text"),
    }
}

/// Runs a future to completion on a new runtime.
///
/// # Errors
///
/// The error of the future, or if the runtime cannot start.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

async fn connect(endpoint: &str, credentials: &ClientCredentials) -> anyhow::Result<Channel> {
    if !SCHEMES.iter().any(|scheme| endpoint.starts_with(scheme)) {
        bail!(
            "`{endpoint}` is not an address of a server; it starts with `http://`, `https://` or `unix:`"
        );
    }
    let mut target = Endpoint::from_shared(endpoint.to_owned())
        .with_context(|| format!("`{endpoint}` is not an address of a server"))?
        .connect_timeout(TIMEOUT);
    if endpoint.starts_with("https:") {
        let tls = ClientTlsConfig::new();
        let mut tls = match &credentials.ca {
            Some(ca) => tls.ca_certificate(Certificate::from_pem(read(ca)?)),
            None => tls.with_native_roots(),
        };
        if let (Some(cert), Some(key)) = (&credentials.cert, &credentials.cert_key) {
            tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        target = target
            .tls_config(tls)
            .context("the certificates cannot be used")?;
    } else if credentials.ca.is_some() || credentials.cert.is_some() {
        bail!("`--ca` and `--cert` are for `https` endpoints, `{endpoint}` is not one");
    }
    target
        .connect()
        .await
        .map_err(|error| match is_no_tls(&error) {
            true => anyhow::anyhow!(
                "what answers at `{endpoint}` does not speak TLS: is it `http://`, or another port?"
            ),
            false => anyhow::Error::new(error).context(format!("`{endpoint}` cannot be reached")),
        })
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("`{}` cannot be read", path.display()))
}

impl RpcError {
    /// A failed read.
    pub fn question(status: Status) -> Self {
        let hint = is_no_grpc(&status).then(|| NO_GRPC.to_owned());
        Self {
            is_change: false,
            status: Box::new(status),
            hint,
        }
    }

    /// A failed write. `again` tells how to retry it without applying it twice.
    pub fn change(status: Status, again: String) -> Self {
        let mut refused = Self {
            is_change: true,
            ..Self::question(status)
        };
        if refused.is_open() {
            let hint = format!("Whether it was made all the same is not known. {again}");
            refused.hint = Some(hint);
        }
        refused
    }

    /// Whether the write was denied by policy.
    pub fn is_deny(&self) -> bool {
        self.is_change && self.status.code() == Code::PermissionDenied
    }

    /// What went wrong in words: what the library says of an answer that is no gRPC helps nobody.
    fn message(&self) -> &str {
        match is_no_grpc(&self.status) {
            true => "what answers at this address does not speak gRPC",
            false => self.status.message(),
        }
    }

    fn what(&self) -> &'static str {
        match (self.is_change, self.is_open()) {
            (false, _) => "the question was not answered",
            (true, false) => "nothing was changed",
            (true, true) => "the change was not confirmed",
        }
    }

    /// Whether the write may have been applied nevertheless.
    fn is_open(&self) -> bool {
        let is_refused = matches!(
            self.status.code(),
            Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::PermissionDenied
                | Code::ResourceExhausted
                | Code::FailedPrecondition
                | Code::OutOfRange
                | Code::Unimplemented
                | Code::Unauthenticated
        );
        !is_refused && !is_page_of_other_server(&self.status)
    }

    /// The error as JSON.
    pub fn json(&self) -> Json {
        let mut it = json!({
            "ok": false,
            "code": format!("{:?}", self.status.code()),
            "error": format!("{}: {}", self.what(), self.message()),
        });
        let reasons = self.reasons();
        if !reasons.is_empty() {
            let reasons = reasons.into_iter().map(|reason| {
                json!({
                    "code": reason.code().as_str_name(),
                    "message": reason.message,
                    "principal": reason.principal.as_ref().map(render::entity),
                    "policyIds": reason.policy_ids,
                })
            });
            it["reasons"] = reasons.collect();
        }
        if let Some(hint) = &self.hint {
            it["hint"] = hint.as_str().into();
        }
        it
    }

    /// The reasons in the status details.
    fn reasons(&self) -> Vec<v1::Reason> {
        let details = tonic_types::pb::Status::decode(self.status.details());
        let details = details.map_or_else(|_| Vec::new(), |status| status.details);
        let reasons = details
            .iter()
            .filter(|any| any.type_url.ends_with("/callgate.v1.Reason"));
        reasons
            .filter_map(|any| v1::Reason::decode(any.value.as_slice()).ok())
            .collect()
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reasons = self.reasons();
        f.write_str(self.what())?;
        if reasons.is_empty() {
            let (code, message) = (self.status.code(), self.message());
            write!(f, ": {} ({code:?})", render::printable(message))?;
        }
        for reason in reasons {
            write!(f, "\n{}", render::reason(&reason).trim_end())?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n{hint}"),
            None => Ok(()),
        }
    }
}

/// What to do about an answer that is no gRPC.
const NO_GRPC: &str = "The addresses of `[listen] http` and `[listen] admin` are for other protocols: name one of `[listen] grpc`";

/// Whether an answer is none of gRPC, but a page of HTTP.
pub fn is_no_grpc(status: &Status) -> bool {
    page_status(status).is_some()
}

/// Whether it is a page that says that nobody here knows of the request. A proxy that has passed it on, and did not hear what became of
/// it, sends a page as well.
fn is_page_of_other_server(status: &Status) -> bool {
    const TIMEOUT: u16 = 408;
    page_status(status).is_some_and(|code| (400..500).contains(&code) && code != TIMEOUT)
}

/// The status of a page of HTTP: its body was read as a frame, or its status stands in the place of that of gRPC.
fn page_status(status: &Status) -> Option<u16> {
    let said = status.message();
    let after = match said.split_once("grpc-status header missing, mapped from HTTP status code") {
        Some((_, after)) => after,
        None => {
            let (_, after) = said.split_once("invalid compression flag")?;
            after.split_once("status: ")?.1
        }
    };
    let digits = after.trim_start();
    let end = digits.find(|c: char| !c.is_ascii_digit());
    digits[..end.unwrap_or(digits.len())].parse().ok()
}

/// Whether a connection failed since the other end does not speak TLS.
fn is_no_tls(error: &tonic::transport::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("InvalidContentType") {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
#[path = "connect_tests.rs"]
mod tests;
