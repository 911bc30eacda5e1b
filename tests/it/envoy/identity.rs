//! A real Envoy that asks its clients for certificates: who acts is the SPIFFE id in them. What is missing for a
//! call, an approval or a wider delegation, is told, given, and then the call passes.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use callgate::proto::v1;
use callgate::proto::v1::control_client::ControlClient;
use prost_types::Timestamp;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::transport::{Channel, Endpoint};

use crate::control::{person, scope};
use crate::envoy::{self, newest, run_envoy};
use crate::grpc::certificates::Authority;
use crate::support::in_process::entity;
use crate::support::plain_http::{Reply, exchange_if_it_may, request};
use crate::support::process::{Bundle, Server, free_port};

const SETTINGS: &str = r#"
[envoy]
servers = [{ path = "/mcp", server = "notes" }]
approval_header = "x-approvals"
delegation_header = "x-grants"

[[envoy.identity]]
from = "spiffe"
prefix = "spiffe://example.org/agent/"

[[envoy.routes]]
method = "GET"
path = "/notes"
server = "notes"
tool = "list_notes"
query = ["about"]

[[envoy.routes]]
method = "DELETE"
path = "/notes"
server = "notes"
tool = "drop_notes"
"#;

const POLICIES: &str = r#"
@id("notes.approved") @reason("what is added is approved")
forbid (principal is Mcp::Agent, action, resource == Mcp::Tool::"notes/add_note") unless { context has approval };
@id("notes.govern")
permit (principal is Mcp::User, action in Mcp::Action::"govern", resource);
"#;

/// The paths that have reached the server behind Envoy.
type Reached = Arc<Mutex<Vec<String>>>;

/// Callgate, Envoy, and a server behind them that answers everything.
struct Stage {
    callgate: Server,
    reached: Reached,
    authority: Authority,
    port: u16,
    runtime: Runtime,
    _envoy: envoy::Running,
    _folder: TempDir,
}

fn typed(name: &str, ty: &str, mut config: Json) -> Json {
    config["@type"] = json!(format!("type.googleapis.com/{ty}"));
    json!({ "name": name, "typed_config": config })
}

fn cluster(name: &str, port: u16, options: Json) -> Json {
    let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    json!({
        "name": name,
        "connect_timeout": "5s",
        "typed_extension_protocol_options": options,
        "load_assignment": {
            "cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    })
}

/// A listener that lets nobody in without a certificate of the authority.
fn settings(folder: &Path, port: u16, server_port: u16, callgate_port: u16) -> Json {
    const HTTP: &str = "envoy.extensions.filters.http";
    let file = |name: &str| json!({"filename": folder.join(name)});
    let tls = typed(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        json!({
            "require_client_certificate": true,
            "common_tls_context": {
                "tls_certificates": [{"certificate_chain": file("server.pem"), "private_key": file("server.key")}],
                "validation_context": {"trusted_ca": file("ca.pem")},
            },
        }),
    );
    let check = typed(
        "envoy.filters.http.ext_authz",
        &format!("{HTTP}.ext_authz.v3.ExtAuthz"),
        json!({
            "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": "callgate"}, "timeout": "10s"},
            "with_request_body": {"max_request_bytes": 65_536, "pack_as_bytes": true},
        }),
    );
    let router = typed(
        "envoy.filters.http.router",
        &format!("{HTTP}.router.v3.Router"),
        json!({}),
    );
    let manager = typed(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": "edge",
            "normalize_path": true,
            "route_config": {"virtual_hosts": [{
                "name": "all", "domains": ["*"],
                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "server"}}],
            }]},
            "http_filters": [check, router],
        }),
    );
    let http2 = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }});
    json!({"static_resources": {
        "listeners": [{
            "name": "edge",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            "filter_chains": [{"transport_socket": tls, "filters": [manager]}],
        }],
        "clusters": [cluster("server", server_port, json!({})), cluster("callgate", callgate_port, http2)],
    }})
}

/// Answers every request, and notes its path.
async fn answer(listener: TcpListener, reached: Reached) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    while let Ok((mut stream, _)) = listener.accept().await {
        let reached = Arc::clone(&reached);
        tokio::spawn(async move {
            let mut read = Vec::new();
            // A request of these tests fits into what is read before the head's end and its body.
            while !read.windows(4).any(|it| it == b"\r\n\r\n") {
                if stream.read_buf(&mut read).await.unwrap_or_default() == 0 {
                    return;
                }
            }
            let text = String::from_utf8_lossy(&read);
            let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
            reached.lock().expect("a list").push(path);
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ndone";
            let _ = stream.write_all(answer.as_bytes()).await;
        });
    }
}

impl Stage {
    fn set() -> Self {
        let bundle = Bundle::notes();
        bundle.file("callgate.toml", SETTINGS);
        bundle.file("more.cedar", POLICIES);
        let callgate = Server::start(&bundle, &[]);
        let port_of = |target: &str| target.rsplit(':').next().unwrap().parse().unwrap();
        let authority = Authority::new();
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = authority.server();
        for (name, text) in [
            ("server.pem", certificate),
            ("server.key", key),
            ("ca.pem", authority.pem()),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let runtime = Runtime::new().unwrap();
        let reached = Reached::default();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let server_port = listener.local_addr().unwrap().port();
        runtime.spawn(answer(listener, Arc::clone(&reached)));
        let port = free_port();
        let callgate_port = port_of(callgate.target());
        let settings = settings(folder.path(), port, server_port, callgate_port);
        let config = folder.path().join("envoy.json");
        fs::write(&config, settings.to_string()).unwrap();
        let envoy = run_envoy(&newest(), &config, folder.path(), port);
        Self {
            callgate,
            reached,
            authority,
            port,
            runtime,
            _envoy: envoy,
            _folder: folder,
        }
    }

    fn reached(&self) -> Vec<String> {
        std::mem::take(&mut self.reached.lock().unwrap())
    }

    /// One request on a connection of its own, with the certificate of whoever is named.
    fn send(&self, authority: &Authority, name: Option<&str>, request: &[u8]) -> Option<Reply> {
        let certificates = |pem: &str| -> Vec<CertificateDer<'static>> {
            let all = CertificateDer::pem_slice_iter(pem.as_bytes());
            all.map(|it| it.unwrap()).collect()
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates(&self.authority.pem()));
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match name.map(|name| authority.client(name)) {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                let chain = certificates(&certificate);
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        self.runtime.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            let server = ServerName::try_from("localhost").unwrap();
            let connector = TlsConnector::from(Arc::new(config));
            let stream = connector.connect(server, stream).await.ok()?;
            // Whether its certificate is good enough a client hears only now.
            exchange_if_it_may(stream, request).await
        })
    }

    fn call(&self, name: &str, tool: &str, headers: &[(&str, &str)]) -> Reply {
        let message = json!({
            "jsonrpc": "2.0", "id": 7, "method": "tools/call",
            "params": {"name": tool, "arguments": {"text": "milk"}},
        });
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        let request = request("POST", "/mcp", &all, &message.to_string());
        self.send(&self.authority, Some(name), &request).unwrap()
    }

    fn control(&self) -> ControlClient<Channel> {
        let target = format!("http://{}", self.callgate.target());
        let endpoint = Endpoint::from_shared(target).unwrap();
        ControlClient::new(self.runtime.block_on(endpoint.connect()).unwrap())
    }
}

const HELPER: &str = "spiffe://example.org/agent/helper";

/// What an error says of the reason.
fn reason(reply: &Reply) -> Json {
    reply.json()["error"]["data"]["authorization"]["reason"].clone()
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn who_acts_is_who_the_certificate_names() {
    let stage = Stage::set();
    let allowed = stage.call(HELPER, "list_notes", &[]);
    assert_eq!((allowed.status, allowed.body.as_str()), (200, "done"));
    assert_eq!(stage.reached(), ["/mcp"]);

    // What a client says of itself does not count beside its certificate.
    let claims = [(
        "x-forwarded-client-cert",
        "URI=spiffe://example.org/agent/helper",
    )];
    for (name, status, said) in [
        ("spiffe://example.org/agent/nobody", 200, "SUBJECT_UNKNOWN"),
        ("spiffe://example.com/agent/helper", 403, ""),
        ("spiffe://example.org/person/alice", 403, ""),
    ] {
        let denied = stage.call(name, "list_notes", &claims);
        assert_eq!(denied.status, status, "{name}: {denied:?}");
        assert_eq!(reason(&denied).as_str().unwrap_or_default(), said, "{name}");
        assert_eq!(denied.json()["error"]["code"], -32001, "{name}");
    }
    let forbidden = stage.call(HELPER, "drop_notes", &[]);
    assert_eq!(reason(&forbidden), "FORBIDDEN");

    // Nobody, and who was certified by somebody else, never get as far as a question.
    let asks = request("GET", "/notes", &[], "");
    assert!(stage.send(&stage.authority, None, &asks).is_none());
    let stranger = Authority::new();
    assert!(stage.send(&stranger, Some(HELPER), &asks).is_none());
    assert!(stage.reached().is_empty());
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn plain_requests_reach_a_server_as_what_was_decided_and_in_no_other_form() {
    let stage = Stage::set();
    let send = |method: &str, path: &str| {
        let request = request(method, path, &[], "");
        let reply = stage.send(&stage.authority, Some(HELPER), &request);
        reply.unwrap_or_else(|| panic!("{method} {path}"))
    };
    assert_eq!(send("GET", "/notes?about=milk").status, 200);
    // Envoy takes the steps before it asks, and what it asked about is what it sends on.
    assert_eq!(send("GET", "/else/../notes").status, 200);
    assert_eq!(stage.reached(), ["/notes?about=milk", "/notes"]);

    let forbidden = send("DELETE", "/notes");
    assert_eq!(forbidden.status, 403, "{forbidden:?}");
    let problem = Some("application/problem+json");
    assert_eq!(forbidden.header("content-type"), problem);
    assert_eq!(forbidden.json()["reason"], "FORBIDDEN");
    for (method, path, status) in [
        ("POST", "/notes", 403),
        ("GET", "/notes/", 400),
        ("GET", "/notes%2f", 400),
        ("GET", "//notes", 400),
        ("GET", "/x/..%2fnotes", 400),
        ("GET", "/%6eotes%00", 400),
        ("GET", "/notes;x=1", 400),
        ("GET", "/notes?about=a&about=b", 400),
        ("GET", "/notes?admin=1", 400),
        ("GET", "/admin", 403),
    ] {
        let refused = send(method, path);
        assert_eq!(refused.status, status, "{method} {path}: {refused:?}");
    }
    assert!(stage.reached().is_empty());
}

fn after(seconds: u64) -> Option<Timestamp> {
    Some(Timestamp::from(
        SystemTime::now() + Duration::from_secs(seconds),
    ))
}

/// The helper adds a note, as Envoy tells it.
fn adding() -> v1::CallContext {
    let arguments = json!({"text": "milk"}).to_string();
    v1::CallContext {
        subject: Some(v1::Subject {
            entity: entity("Agent", "helper"),
            identity: Some(v1::Identity {
                method: "spiffe".into(),
                verified: true,
            }),
            claims: None,
        }),
        operation: Some(v1::Operation {
            server: "notes".into(),
            kind: Some(v1::operation::Kind::CallTool(v1::CallTool {
                tool: "add_note".into(),
                input: Some(v1::call_tool::Input::ArgumentsJson(arguments.into())),
                ..v1::CallTool::default()
            })),
            ..v1::Operation::default()
        }),
        ..v1::CallContext::default()
    }
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn a_call_passes_once_what_it_lacks_is_given() {
    let stage = Stage::set();
    let mut control = stage.control();
    let wants = |reply: &Reply, code: &str| {
        assert_eq!(reply.status, 403, "{reply:?}");
        assert_eq!(reason(reply), code, "{reply:?}");
        let step_up = reply.header("www-authenticate").unwrap_or_default();
        assert!(
            step_up.starts_with("Bearer error=\"insufficient_scope\""),
            "{reply:?}"
        );
    };

    let denied = stage.call(HELPER, "add_note", &[]);
    wants(&denied, "APPROVAL_REQUIRED");
    let error = &denied.json()["error"];
    let hint = &error["data"]["authorization"]["remediationHints"][0];
    let asks = v1::RequestApprovalRequest {
        call_context: Some(adding()),
        challenge: Some(v1::ApprovalChallenge {
            digest: hint["digest"].as_str().unwrap().to_owned(),
            expires_at: Some(Timestamp {
                seconds: hint["expiresAt"].as_i64().unwrap(),
                nanos: 0,
            }),
            valid_for: None,
        }),
        ..Default::default()
    };
    let asked = stage.runtime.block_on(control.request_approval(asks));
    let approval = asked.unwrap().into_inner().approval.unwrap();
    let approved = [("x-approvals", approval.id.as_str())];
    let early = stage.call(HELPER, "add_note", &approved);
    assert_eq!(reason(&early), "APPROVAL_INVALID");
    let yes = v1::ApproveCallRequest {
        actor: person("alice"),
        id: approval.id.clone(),
        digest: approval.digest.clone(),
        ..Default::default()
    };
    stage.runtime.block_on(control.approve_call(yes)).unwrap();
    assert!(stage.reached().is_empty());
    assert_eq!(stage.call(HELPER, "add_note", &approved).status, 200);
    assert_eq!(stage.reached(), ["/mcp"]);
    // Once.
    let again = stage.call(HELPER, "add_note", &approved);
    assert_eq!(reason(&again), "APPROVAL_INVALID");

    let mut delegate = |access: v1::AccessLevel| {
        let delegation = v1::GrantDelegationRequest {
            actor: person("alice"),
            to: entity("Agent", "helper"),
            scope: scope(&["notes"], access),
            expires_at: after(3_600),
            ..Default::default()
        };
        let granted = stage.runtime.block_on(control.grant_delegation(delegation));
        granted.unwrap().into_inner().delegation.unwrap().id
    };
    let narrow = delegate(v1::AccessLevel::Read);
    let denied = stage.call(HELPER, "merge_notes", &[("x-grants", &narrow)]);
    wants(&denied, "DELEGATION_OUT_OF_SCOPE");
    assert!(stage.reached().is_empty());
    let listed = stage.call(HELPER, "list_notes", &[("x-grants", &narrow)]);
    assert_eq!(listed.status, 200, "{listed:?}");
}
