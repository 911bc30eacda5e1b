//! A server in this process, and the calls that most tests ask it about. It serves the small world of [`super::worlds`], or
//! whatever a [`super::bundle_dir::BundleDir`] is started with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use callgate::config::Config;
use callgate::config::listen::SocketMode;
use callgate::proto::v1;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use callgate::proto::v1::operation::Kind;
use callgate::server;
use callgate::server::listen::Listener;
use callgate::server::parts::{ServeError, ServerParts};
use callgate::server::reloadable::ReloadableConfig;
use callgate::server::reloadable_tls::ReloadableTls;
use callgate::service::Service;
use callgate::service::clock::{Clock, SystemClock};
use callgate::service::settings::ServiceSettings;
use callgate::store::sqlite::SqliteStore;
use callgate::telemetry::record::recorder::Recorder;
use tempfile::TempDir;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

use super::worlds;

/// A running server.
pub struct Running {
    /// Its TCP address.
    pub address: SocketAddr,
    /// Its TCP address for plain HTTP.
    pub http_address: SocketAddr,
    /// Its Unix socket.
    pub socket: PathBuf,
    /// Who answers.
    pub service: Arc<Service>,
    /// What a reload swaps.
    pub doors: ReloadableConfig,
    /// Whether its directory has no faults.
    pub bundle_is_good: watch::Sender<bool>,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<(), ServeError>>,
    _dir: TempDir,
}

/// Starts a server of the small world.
pub async fn start(config: &str) -> Running {
    worlds::small().start(config).await
}

/// Starts a server with nothing loaded, on TCP and a Unix socket, with these files beside its configuration.
pub async fn start_empty(config: &str, files: &[(&str, &str)]) -> Running {
    start_recorded(config, files, Arc::new(SystemClock), Recorder::default()).await
}

/// The same, with a clock and a recorder of the test's own.
pub async fn start_recorded(
    config: &str,
    files: &[(&str, &str)],
    clock: Arc<dyn Clock>,
    recorder: Recorder,
) -> Running {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        super::files::write(dir.path(), name, text);
    }
    let config =
        Config::from_toml(config, "callgate.toml").unwrap_or_else(|faults| panic!("{faults:?}"));
    let tls = config.tls.as_ref().map(|files| {
        ReloadableTls::load(files, dir.path(), Duration::from_secs(5))
            .unwrap_or_else(|fault| panic!("{fault}"))
    });
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let tcp = Listener::tcp(loopback, tls.is_some())
        .await
        .expect("a listener");
    let address = tcp.address().parse().expect("an address");
    let http = Listener::http(loopback, tls.is_some())
        .await
        .expect("a listener");
    let http_address = http.address().parse().expect("an address");
    let socket = dir.path().join("callgate.sock");
    let unix = Listener::unix(&socket, SocketMode(0o600))
        .await
        .expect("a socket");
    let settings = ServiceSettings::from_config(&config);
    let store = Box::new(SqliteStore::in_memory().expect("a store"));
    let service = Service::open(settings, recorder, store, clock);
    let service = Arc::new(service.expect("a service"));
    service.set_observe(&config.observe);
    let doors = ReloadableConfig::new(&config);
    let (bundle_is_good, is_good) = watch::channel(true);
    let setup = ServerParts {
        service: Arc::clone(&service),
        authenticator: Arc::clone(&doors.authenticator),
        limits: Arc::clone(&doors.limits),
        envoy: Arc::clone(&doors.envoy),
        ext_mcp: Arc::clone(&doors.ext_mcp),
        tls,
        metrics: None,
        authzen: config.authzen.clone(),
        toolhive: config.toolhive.clone(),
        bundle_is_good: is_good,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = tokio::spawn(server::serve(vec![tcp, unix, http], setup, async {
        let _ = stopped.await;
    }));
    Running {
        address,
        http_address,
        socket,
        service,
        doors,
        bundle_is_good,
        stop: Some(stop),
        ended,
        _dir: dir,
    }
}

impl Running {
    /// A client over TCP.
    pub async fn client(&self) -> AuthorizationClient<Channel> {
        AuthorizationClient::new(self.channel().await)
    }

    /// A channel over TCP.
    pub async fn channel(&self) -> Channel {
        let endpoint =
            Endpoint::from_shared(format!("http://{}", self.address)).expect("an endpoint");
        endpoint.connect().await.expect("a connection")
    }

    /// Tells the server to stop.
    pub fn stop(&mut self) {
        let _ = self.stop.take().expect("stopped once").send(());
    }

    /// Waits for the server's end.
    pub async fn ended(self) -> Result<(), ServeError> {
        tokio::time::timeout(Duration::from_secs(10), self.ended)
            .await
            .expect("the server ends in time")
            .expect("the server does not panic")
    }
}

pub fn entity(of_type: &str, id: &str) -> Option<v1::EntityRef> {
    Some(v1::EntityRef {
        r#type: of_type.into(),
        id: id.into(),
    })
}

/// `coder` calls a tool of `git`, for nobody but itself.
pub fn call(tool: &str) -> v1::AuthorizeRequest {
    v1::AuthorizeRequest {
        call_context: Some(Box::new(v1::CallContext {
            subject: Some(v1::Subject {
                entity: entity("Agent", "coder"),
                identity: Some(v1::Identity {
                    method: "test".into(),
                    verified: true,
                }),
                claims: None,
            }),
            operation: Some(v1::Operation {
                server: "git".into(),
                kind: Some(Kind::CallTool(v1::CallTool {
                    tool: tool.into(),
                    input: Some(v1::call_tool::Input::ArgumentsJson(
                        br#"{"n": 3}"#.as_slice().into(),
                    )),
                    ..v1::CallTool::default()
                })),
                ..v1::Operation::default()
            }),
            ..v1::CallContext::default()
        })),
        ..v1::AuthorizeRequest::default()
    }
}

/// The same, on behalf of a person.
pub fn call_for(tool: &str, person: &str) -> v1::AuthorizeRequest {
    let mut request = call(tool);
    context(&mut request).delegation = Some(v1::Delegation {
        root: entity("User", person),
        verified: true,
        ..v1::Delegation::default()
    });
    request
}

pub fn context(request: &mut v1::AuthorizeRequest) -> &mut v1::CallContext {
    request.call_context.get_or_insert_default()
}

/// A question that waits for a revision that never comes.
pub fn waiting() -> v1::AuthorizeRequest {
    v1::AuthorizeRequest {
        at_least_revision: 1_000,
        ..call("log")
    }
}
