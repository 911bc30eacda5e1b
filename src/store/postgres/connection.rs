//! One connection that is made again when it is lost.
//!
//! Every statement is sent with its types and in one round trip ([`Client::query_typed`]), and nothing depends on the
//! state of a database session: so a pooler in transaction mode may stand between. A statement that is not answered in
//! time costs the connection, since its answer could be taken for that of the next one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::Mutex;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::domain::request::visible::shown;
use crate::store::backend::StoreError;
use crate::store::postgres::errors;

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;

/// Time limit of making a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// Where the database is and how to reach it.
#[derive(Clone)]
pub struct Address {
    config: Config,
    tls: Option<MakeRustlsConnect>,
}

/// No connection was made.
#[derive(Debug)]
pub(super) struct ConnectError {
    pub(super) why: String,
    /// Whether one may be made a moment later ([`errors::is_away`]).
    pub(super) is_away: bool,
}

impl From<ConnectError> for StoreError {
    fn from(error: ConnectError) -> Self {
        Self::Read(error.why)
    }
}

/// Parameters of the URL that concern TLS; the library knows the others.
#[derive(Debug, Default)]
struct TlsParameters {
    /// Every `sslmode`.
    modes: Vec<String>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl TlsParameters {
    /// Whether there is TLS. Where there is, the server's certificate and its name are checked, whatever libpq would do; where
    /// there is none, the server is on this machine, or the URL says so.
    fn wants_tls(&self, is_local: bool) -> Result<bool, StoreError> {
        let has_files = self.ca.is_some() || self.certificate.is_some() || self.key.is_some();
        let modes: Vec<&str> = self.modes.iter().map(String::as_str).collect();
        let wants_tls = match *modes {
            ["disable"] if has_files => {
                let said = "`sslmode=disable` and a file for TLS contradict each other";
                return Err(unusable(said));
            }
            ["disable"] => false,
            ["require" | "verify-ca" | "verify-full"] => true,
            [] | ["allow" | "prefer"] if has_files => true,
            [] | ["allow" | "prefer"] if is_local => false,
            [] | ["allow" | "prefer"] => {
                let said = "it is on another machine: demand TLS with `sslrootcert=FILE`, or say `sslmode=disable`";
                return Err(unusable(said));
            }
            [other] => {
                let said = "is not one of `disable`, `allow`, `prefer`, `require`, `verify-ca`, `verify-full`";
                return Err(unusable(&format!("`sslmode={}` {said}", shown(other))));
            }
            _ => return Err(unusable("`sslmode` occurs twice")),
        };
        match (wants_tls, &self.ca) {
            (true, None) => Err(unusable(
                "TLS needs `sslrootcert=FILE`, the authority of the server's certificate",
            )),
            (wants_tls, _) => Ok(wants_tls),
        }
    }
}

impl Address {
    /// Reads a URL as libpq writes it: `postgres://user@host:port/database?sslmode=…`. With `sslrootcert=FILE` the
    /// server's certificate and name are checked against that authority; `sslcert` and `sslkey` name the client's own.
    /// Relative paths start at `base`. A password that is not in the URL is taken from `password_file`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Open`] for a URL or a file that cannot be used, and for a server on another machine to which
    /// the URL neither demands TLS nor says `sslmode=disable`: `allow` and `prefer` would do without it where the server has
    /// none.
    pub fn parse(url: &str, base: &Path, password_file: Option<&Path>) -> Result<Self, StoreError> {
        if !["postgres://", "postgresql://"]
            .iter()
            .any(|it| url.starts_with(it))
        {
            return Err(unusable("its URL does not begin with `postgres://`"));
        }
        let parsed =
            url::Url::parse(url).map_err(|error| unusable(&format!("its URL: {error}")))?;
        let (rest, said) = split_tls(parsed, base);
        let mut config: Config =
            (rest.as_str().parse()).map_err(|error: tokio_postgres::Error| {
                unusable(&format!("its URL: {}", errors::text(&error)))
            })?;
        if let Some(file) = password_file {
            let password = std::fs::read_to_string(base.join(file))
                .map_err(|error| unusable(&format!("`{}`: {error}", base.join(file).display())))?;
            config.password(password.trim_end_matches(['\r', '\n']));
        }
        config.connect_timeout(CONNECT);
        if config.get_application_name().is_none() {
            config.application_name("callgate");
        }
        let tls = match said.wants_tls(is_local(&config))? {
            true => Some(tls(&said)?),
            false => None,
        };
        config.ssl_mode(match tls {
            Some(_) => SslMode::Require,
            None => SslMode::Disable,
        });
        Ok(Self { config, tls })
    }

    /// The place for messages: host, port and database, without user and password.
    pub fn place(&self) -> String {
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => "localhost".to_owned(),
        };
        let name = self.config.get_dbname().or(self.config.get_user());
        format!("postgres://{host}:{port}/{}", name.unwrap_or_default())
    }

    /// A connection.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] if none is made within [`CONNECT`].
    pub(super) async fn connect(&self) -> Result<Client, ConnectError> {
        let connecting = async {
            match &self.tls {
                Some(tls) => {
                    let (client, connection) = self.config.connect(tls.clone()).await?;
                    tokio::spawn(connection);
                    Ok(client)
                }
                None => {
                    let (client, connection) = self.config.connect(NoTls).await?;
                    tokio::spawn(connection);
                    Ok(client)
                }
            }
        };
        match tokio::time::timeout(CONNECT, connecting).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) => Err(ConnectError {
                is_away: errors::is_away(&error),
                why: errors::text(&error),
            }),
            Err(_) => Err(ConnectError {
                is_away: true,
                why: "no connection in time".to_owned(),
            }),
        }
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.place())
    }
}

/// One connection. Statements follow each other; one that fails or is late costs the connection, and the next one makes
/// a new one.
#[derive(Debug, Clone)]
pub struct PgConnection {
    address: Address,
    client: Arc<Mutex<Option<Client>>>,
}

impl PgConnection {
    /// A connection that is made by the first statement.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            client: Arc::default(),
        }
    }

    /// Where it leads.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Calls a function that takes texts and returns a text.
    ///
    /// # Errors
    ///
    /// The errors of [`errors::write`]; after [`StoreError::OutcomeUnknown`] the statement may have been carried out.
    pub async fn call(
        &self,
        sql: &str,
        values: &[Option<String>],
        limit: Duration,
    ) -> Result<String, StoreError> {
        let mut held = self.client.lock().await;
        let client = match held.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => self.address.connect().await?,
        };
        let typed: Vec<(&(dyn ToSql + Sync), Type)> = values
            .iter()
            .map(|value| (value as &(dyn ToSql + Sync), Type::TEXT))
            .collect();
        let answer = tokio::time::timeout(limit, client.query_typed(sql, &typed)).await;
        let rows = match answer {
            Ok(Ok(rows)) => rows,
            Ok(Err(error)) => {
                // The server has answered, so the connection is whole.
                if error.as_db_error().is_some() && !client.is_closed() {
                    *held = Some(client);
                }
                return Err(errors::write(&error));
            }
            Err(_) => return Err(StoreError::OutcomeUnknown("no answer in time".to_owned())),
        };
        *held = Some(client);
        let text = rows.first().map(|row| row.try_get::<_, Option<String>>(0));
        match text {
            Some(Ok(text)) => Ok(text.unwrap_or_default()),
            Some(Err(error)) => Err(StoreError::OutcomeUnknown(errors::text(&error))),
            None => Ok(String::new()),
        }
    }

    /// Takes the connection for several statements; it is not used again after that.
    ///
    /// # Errors
    ///
    /// [`StoreError::Read`] if none is made.
    pub async fn fresh(&self) -> Result<Client, StoreError> {
        Ok(self.address.connect().await?)
    }
}

fn unusable(why: &str) -> StoreError {
    StoreError::Open {
        place: "in PostgreSQL".to_owned(),
        why: why.to_owned(),
    }
}

/// Takes the parameters that concern TLS out of the URL.
fn split_tls(mut url: url::Url, base: &Path) -> (url::Url, TlsParameters) {
    let mut said = TlsParameters::default();
    let mut rest = Vec::new();
    for (name, value) in url.query_pairs() {
        let path = base.join(&*value);
        match &*name {
            "sslmode" => said.modes.push(value.into_owned()),
            "sslrootcert" => said.ca = Some(path),
            "sslcert" => said.certificate = Some(path),
            "sslkey" => said.key = Some(path),
            _ => rest.push((name.into_owned(), value.into_owned())),
        }
    }
    url.set_query(None);
    if !rest.is_empty() {
        url.query_pairs_mut().extend_pairs(rest);
    }
    (url, said)
}

/// Whether every host is this machine. An address (`hostaddr`) counts beside the name that it goes with.
fn is_local(config: &Config) -> bool {
    let mut addresses = config.get_hostaddrs().iter();
    let named = config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse()
                    .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        }
    });
    named && addresses.all(std::net::IpAddr::is_loopback)
}

fn tls(files: &TlsParameters) -> Result<MakeRustlsConnect, StoreError> {
    let pem = |path: &Path| {
        std::fs::read(path).map_err(|error| unusable(&format!("`{}`: {error}", path.display())))
    };
    let mut roots = RootCertStore::empty();
    if let Some(path) = &files.ca {
        let (added, _) = roots.add_parsable_certificates(certificates(&pem(path)?));
        if added == 0 {
            return Err(unusable(&format!(
                "`{}` holds no certificate in PEM form",
                path.display()
            )));
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error.to_string()))?
        .with_root_certificates(roots);
    let config = match (&files.certificate, &files.key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(&pem(certificate)?).collect();
            let key = PrivateKeyDer::from_pem_slice(&pem(key)?)
                .map_err(|error| unusable(&format!("`sslkey`: {error}")))?;
            let built = builder.with_client_auth_cert(chain, key);
            built.map_err(|error| unusable(&format!("`sslcert`: {error}")))?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(unusable("`sslcert` and `sslkey` go together")),
    };
    Ok(MakeRustlsConnect::new(config))
}

fn certificates(pem: &[u8]) -> impl Iterator<Item = CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok)
}
