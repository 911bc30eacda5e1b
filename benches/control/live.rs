//! A server in a process of its own: how fast it writes, and how soon a revocation denies.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use callgate::proto::v1;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use callgate::proto::v1::control_client::ControlClient;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};

use crate::{Fault, company, median, metric, scratch};

/// Revocations that are timed.
const REVOCATIONS: usize = 300;
/// Callers that call all the time, beside the one that waits for the deny.
const BUSY_CALLERS: usize = 4;
/// Clients that write at once, and how much each writes in one round.
const WRITERS: usize = 32;
const WRITES: usize = 100;
const ROUNDS: usize = 7;

/// A server that ends with this value.
struct Server {
    child: Child,
    port: u16,
}

/// Prints `control.revoke_to_deny` and `control.writes_per_s`.
pub async fn measure() -> Result<(), Fault> {
    let folder = scratch()?;
    let policies = folder.path().join("policies");
    company::write(&policies, company::Rules::LiveFacts)?;
    let server = Server::start(folder.path())?;
    let channel = server.connect().await?;
    revoke_to_deny(&server, channel.clone()).await?;
    writes_per_s(&server).await
}

async fn revoke_to_deny(server: &Server, channel: Channel) -> Result<(), Fault> {
    let mut control = ControlClient::new(channel);
    let is_over = Arc::new(AtomicBool::new(false));
    let lasting = grant(&mut control).await?;
    let task = open_task(&mut control).await?;
    let mut busy = JoinSet::new();
    for _ in 0..BUSY_CALLERS {
        let mut doors = AuthorizationClient::new(server.connect().await?);
        let (request, is_over) = (call(&lasting, &task), Arc::clone(&is_over));
        busy.spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                let answer = doors.authorize(request.clone()).await?.into_inner();
                assert_eq!(answer.decision(), v1::Decision::Allow, "{answer:?}");
            }
            Ok::<_, Fault>(())
        });
    }
    let mut caller = AuthorizationClient::new(server.connect().await?);
    let mut times = Vec::with_capacity(REVOCATIONS);
    for _ in 0..REVOCATIONS {
        let id = grant(&mut control).await?;
        let request = call(&id, &task);
        let answer = caller.authorize(request.clone()).await?.into_inner();
        assert_eq!(answer.decision(), v1::Decision::Allow, "{answer:?}");
        let revocation = v1::RevokeDelegationRequest {
            actor: actor(),
            id,
            ..Default::default()
        };
        let sent = Instant::now();
        let revoked = control.revoke_delegation(revocation);
        let denied = async {
            loop {
                let answer = caller.authorize(request.clone()).await?.into_inner();
                if answer.decision() == v1::Decision::Deny {
                    return Ok::<_, Fault>(sent.elapsed());
                }
            }
        };
        let (revoked, denied) = tokio::join!(revoked, denied);
        revoked?;
        times.push(denied?.as_secs_f64() * 1e3);
    }
    is_over.store(true, Ordering::Relaxed);
    while let Some(done) = busy.join_next().await {
        done??;
    }
    times.sort_by(f64::total_cmp);
    let p99 = times[times.len() * 99 / 100];
    metric("control.revoke_to_deny", median(times), "ms");
    metric("control.revoke_to_deny_p99", p99, "ms");
    Ok(())
}

async fn writes_per_s(server: &Server) -> Result<(), Fault> {
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let mut writers = JoinSet::new();
        let mut ready = Vec::new();
        for _ in 0..WRITERS {
            ready.push(ControlClient::new(server.connect().await?));
        }
        let begun = Instant::now();
        for mut control in ready {
            writers.spawn(async move {
                for _ in 0..WRITES {
                    grant(&mut control).await?;
                }
                Ok::<_, Fault>(())
            });
        }
        while let Some(done) = writers.join_next().await {
            done??;
        }
        rates.push((WRITERS * WRITES) as f64 / begun.elapsed().as_secs_f64());
    }
    metric("control.writes_per_s", median(rates), "writes/s");
    Ok(())
}

async fn grant(control: &mut ControlClient<Channel>) -> Result<String, Fault> {
    let request = v1::GrantDelegationRequest {
        actor: actor(),
        to: Some(entity("Mcp::Agent", "one")),
        scope: Some(v1::Scope {
            tools: vec!["mail/list".to_owned()],
            access: v1::AccessLevel::Read.into(),
            ..Default::default()
        }),
        expires_at: Some(in_an_hour()?),
        ..Default::default()
    };
    let answer = control.grant_delegation(request).await?.into_inner();
    Ok(answer.delegation.ok_or("no delegation")?.id)
}

async fn open_task(control: &mut ControlClient<Channel>) -> Result<String, Fault> {
    let request = v1::OpenTaskRequest {
        actor: actor(),
        agent: Some(entity("Mcp::Agent", "one")),
        person: Some(entity("Mcp::User", "ana")),
        purpose: "to measure".to_owned(),
        deadline: Some(in_an_hour()?),
        ..Default::default()
    };
    let answer = control.open_task(request).await?.into_inner();
    Ok(answer.task.ok_or("no task")?.id)
}

fn call(delegation: &str, task: &str) -> v1::AuthorizeRequest {
    v1::AuthorizeRequest {
        call_context: Some(Box::new(v1::CallContext {
            subject: Some(v1::Subject {
                entity: Some(entity("Mcp::Agent", "one")),
                identity: verified(),
                claims: None,
            }),
            delegation: Some(v1::Delegation {
                delegation_ids: vec![delegation.to_owned()],
                ..Default::default()
            }),
            operation: Some(v1::Operation {
                server: "mail".to_owned(),
                kind: Some(v1::operation::Kind::CallTool(v1::CallTool {
                    tool: "list".to_owned(),
                    ..Default::default()
                })),
                ..Default::default()
            }),
            workflow: Some(v1::Workflow {
                session_id: "session-1".to_owned(),
                task_id: task.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        })),
        ..Default::default()
    }
}

fn actor() -> Option<v1::Actor> {
    Some(v1::Actor {
        entity: Some(entity("Mcp::User", "ana")),
        identity: verified(),
        claims: None,
    })
}

fn verified() -> Option<v1::Identity> {
    Some(v1::Identity {
        method: "jwt".to_owned(),
        verified: true,
    })
}

fn entity(ty: &str, id: &str) -> v1::EntityRef {
    v1::EntityRef {
        r#type: ty.to_owned(),
        id: id.to_owned(),
    }
}

fn in_an_hour() -> Result<prost_types::Timestamp, Fault> {
    let at = SystemTime::now() + Duration::from_secs(3_600);
    Ok(at.into())
}

impl Server {
    /// `callgate serve` of the policies in a folder, with its database beside them.
    fn start(folder: &std::path::Path) -> Result<Self, Fault> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port();
        let child = Command::new(env!("CARGO_BIN_EXE_callgate"))
            .args([
                "serve",
                "policies",
                "--without-callers",
                "--listen",
                &format!("127.0.0.1:{port}"),
            ])
            .current_dir(folder)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()?;
        Ok(Self { child, port })
    }

    /// Connects once the server accepts.
    async fn connect(&self) -> Result<Channel, Fault> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", self.port))?;
        for _ in 0..300 {
            if let Ok(channel) = endpoint.connect().await {
                return Ok(channel);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err("the server does not accept connections".into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
