//! What strangers do to a server, each within bounds, and what a gateway gets answered meanwhile.

use std::any::Any;
use std::time::Duration;

use bytes::Bytes;
use callgate::proto::v1;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use callgate::proto::v1::operation::Kind;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tower::Service as _;

/// The token of the gateway, and its SHA-256.
pub const TOKEN: &str = "edge-1";

/// Connections that the server may have.
pub const CONNECTIONS: usize = 512;

/// Two callers, so that each has a share, and room for fewer connections than the attacks open.
pub const SETTINGS: &str = r#"
[[callers]]
id = "edge"
token_sha256 = ["df594d71a145abdc3d2b8d6c6fa910dd4bb21f63de731ecd11fe97b6ff6ce691"]
rights = { rpcs = ["*", "GetStatus"], assert_identity = true, assert_delegation = true }

[[callers]]
id = "other"
token_sha256 = ["1111111111111111111111111111111111111111111111111111111111111111"]
rights = { rpcs = ["*"], assert_identity = true }

[limits]
connections = 512
"#;

/// Where a server listens.
#[derive(Clone)]
pub struct Target {
    /// For gRPC.
    pub grpc: String,
    /// For plain HTTP.
    pub http: String,
}

/// What keeps an attack going until it is dropped.
#[derive(Default)]
pub struct Held {
    things: Vec<Box<dyn Any + Send>>,
    tasks: JoinSet<()>,
}

/// How a gateway fared.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fared {
    /// Calls that it asked about.
    pub asked: usize,
    /// Calls that were answered.
    pub answered: usize,
}

impl Fared {
    /// The part that was answered.
    pub fn success(self) -> f64 {
        self.answered as f64 / self.asked.max(1) as f64
    }
}

/// The attacks, by their names.
pub const NAMES: [&str; 8] = [
    "headers_without_body",
    "dribbling_bodies",
    "messages_without_end",
    "health_watches",
    "health_checks",
    "reflection_streams",
    "silent_connections",
    "slow_http_headers",
];

/// Begins one of them.
pub async fn begin(name: &str, target: &Target) -> Held {
    match name {
        "headers_without_body" => bodies(target, 5, 256, None).await,
        "dribbling_bodies" => bodies(target, 5, 64, Some(Duration::from_millis(500))).await,
        "messages_without_end" => endless(target).await,
        "health_watches" => watches(target).await,
        "health_checks" => checks(target).await,
        "reflection_streams" => reflection(target).await,
        "silent_connections" => silent(&target.grpc, CONNECTIONS + 64, b"").await,
        "slow_http_headers" => silent(&target.http, CONNECTIONS + 64, b"POST /access/v1/ev").await,
        other => panic!("there is no attack `{other}`"),
    }
}

async fn channel(address: &str) -> Option<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?;
    let endpoint = endpoint.connect_timeout(Duration::from_secs(2));
    endpoint.connect().await.ok()
}

const AUTHORIZE: &str = "/callgate.v1.Authorization/Authorize";
const CHECK: &str = "/grpc.health.v1.Health/Check";

fn post(path: &str, address: &str, body: Body) -> http::Request<Body> {
    http::Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .expect("a request")
}

/// Requests whose body comes a byte at a time, or not at all.
async fn bodies(target: &Target, connections: usize, each: usize, every: Option<Duration>) -> Held {
    requests(target, AUTHORIZE, connections, each, every).await
}

async fn checks(target: &Target) -> Held {
    requests(target, CHECK, 64, 16, None).await
}

async fn requests(
    target: &Target,
    path: &'static str,
    connections: usize,
    each: usize,
    every: Option<Duration>,
) -> Held {
    let mut held = Held::default();
    for _ in 0..connections {
        let Some(channel) = channel(&target.grpc).await else {
            continue;
        };
        for _ in 0..each {
            let (mut channel, address) = (channel.clone(), target.grpc.clone());
            held.tasks.spawn(async move {
                let prefix = Bytes::from_static(&[0, 0, 0, 16, 0]);
                let first = every.map(|_| Ok::<_, Status>(Frame::data(prefix)));
                let more = tokio_stream::iter(std::iter::repeat(()));
                let more = more.then(move |()| async move {
                    match every {
                        Some(every) => tokio::time::sleep(every).await,
                        None => std::future::pending().await,
                    }
                    Ok(Frame::data(Bytes::from_static(b"x")))
                });
                let body = Body::new(StreamBody::new(tokio_stream::iter(first).chain(more)));
                if std::future::poll_fn(|context| channel.poll_ready(context))
                    .await
                    .is_err()
                {
                    return;
                }
                // Held until the server ends it.
                let answer = channel.call(post(path, &address, body)).await;
                drop(answer);
            });
        }
    }
    held
}

/// Messages that declare much, and are sent as fast as they are read.
async fn endless(target: &Target) -> Held {
    let mut held = Held::default();
    for _ in 0..4 {
        let Some(channel) = channel(&target.grpc).await else {
            continue;
        };
        for number in 0..8 {
            let (mut channel, address) = (channel.clone(), target.grpc.clone());
            held.tasks.spawn(async move {
                loop {
                    let prefix = Bytes::from_static(&[0, 0x40, 0, 0, 0]);
                    let first = std::iter::once(Ok::<_, Status>(Frame::data(prefix)));
                    let zeros = Bytes::from_static(&[0; 16_384]);
                    let more = tokio_stream::iter(first).chain(
                        tokio_stream::iter(std::iter::repeat_with(move || {
                            Ok(Frame::data(zeros.clone()))
                        }))
                        .then(|it| async {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                            it
                        }),
                    );
                    let path = match number % 3 {
                        0 => AUTHORIZE,
                        1 => "/callgate.v1.Authorization/AuthorizeStream",
                        _ => CHECK,
                    };
                    let body = Body::new(StreamBody::new(Box::pin(more)));
                    let ready = std::future::poll_fn(|context| channel.poll_ready(context));
                    if ready.await.is_err() {
                        return;
                    }
                    let _ = channel.call(post(path, &address, body)).await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        }
    }
    held
}

async fn watches(target: &Target) -> Held {
    let mut held = Held::default();
    for _ in 0..16 {
        let Some(channel) = channel(&target.grpc).await else {
            continue;
        };
        for _ in 0..64 {
            let mut client = HealthClient::new(channel.clone());
            if let Ok(watch) = client.watch(HealthCheckRequest::default()).await {
                held.things.push(Box::new(watch));
            }
        }
    }
    held
}

/// Asks for descriptions again and again, and reads none.
async fn reflection(target: &Target) -> Held {
    let mut held = Held::default();
    for _ in 0..16 {
        let Some(channel) = channel(&target.grpc).await else {
            continue;
        };
        for _ in 0..32 {
            let symbol = || ServerReflectionRequest {
                host: String::new(),
                message_request: Some(MessageRequest::FileContainingSymbol(
                    "callgate.v1.Control".to_owned(),
                )),
            };
            let asked = tokio_stream::iter(std::iter::repeat_with(symbol)).then(|it| async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                it
            });
            let mut client = ServerReflectionClient::new(channel.clone());
            let asked = Box::pin(asked);
            let stream = tokio::time::timeout(
                Duration::from_millis(200),
                client.server_reflection_info(asked),
            );
            if let Ok(Ok(stream)) = stream.await {
                held.things.push(Box::new(stream));
            }
        }
    }
    held
}

/// Connections that say the beginning of something, and nothing more.
pub async fn silent(address: &str, count: usize, first: &'static [u8]) -> Held {
    let mut held = Held::default();
    for _ in 0..count {
        if let Ok(mut connection) = TcpStream::connect(address).await {
            let _ = connection.write_all(first).await;
            held.things.push(Box::new(connection));
        }
    }
    held
}

/// `helper` lists notes, for nobody but itself.
pub fn question() -> Request<v1::AuthorizeRequest> {
    let agent = v1::EntityRef {
        r#type: "Agent".to_owned(),
        id: "helper".to_owned(),
    };
    let call = v1::CallContext {
        subject: Some(v1::Subject {
            entity: Some(agent),
            identity: Some(v1::Identity {
                method: "test".to_owned(),
                verified: true,
            }),
            claims: None,
        }),
        operation: Some(v1::Operation {
            server: "notes".to_owned(),
            kind: Some(Kind::CallTool(v1::CallTool {
                tool: "list_notes".to_owned(),
                ..v1::CallTool::default()
            })),
            ..v1::Operation::default()
        }),
        ..v1::CallContext::default()
    };
    let mut request = Request::new(v1::AuthorizeRequest {
        call_context: Some(Box::new(call)),
        ..v1::AuthorizeRequest::default()
    });
    let token = format!("Bearer {TOKEN}").parse().expect("a header");
    request.metadata_mut().insert("authorization", token);
    request
}

/// A gateway asks about calls, over the connection that it has and over new ones.
pub async fn gateway(target: &Target, connection: &Channel, calls: usize) -> Fared {
    let mut fared = Fared::default();
    for number in 0..calls {
        let answered = async {
            let channel = match number % 5 {
                0 => channel(&target.grpc).await?,
                _ => connection.clone(),
            };
            AuthorizationClient::new(channel)
                .authorize(question())
                .await
                .ok()
        };
        let answered = tokio::time::timeout(Duration::from_secs(2), answered).await;
        fared.asked += 1;
        fared.answered += usize::from(matches!(answered, Ok(Some(_))));
    }
    fared
}

/// Asks about a call that is allowed until it is not, at most for a minute.
pub async fn denied(connection: &Channel) -> bool {
    for _ in 0..6_000 {
        let mut client = AuthorizationClient::new(connection.clone());
        let answer = client.authorize(question()).await;
        if answer.is_ok_and(|it| it.get_ref().decision() == v1::Decision::Deny) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

/// A connection that has asked once.
pub async fn connected(target: &Target) -> Channel {
    let channel = channel(&target.grpc).await.expect("a connection");
    let mut client = AuthorizationClient::new(channel.clone());
    client.authorize(question()).await.expect("an answer");
    channel
}

/// What a process occupies now, in KiB.
pub fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok());
    number.unwrap_or(0)
}
