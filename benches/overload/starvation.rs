//! What a gateway's calls take while another caller keeps the control API busy.

use std::path::Path;
use std::time::{Duration, Instant};

use callgate::proto::v1;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use callgate::proto::v1::control_client::ControlClient;
use tokio::task::JoinSet;
use tonic::Request;
use tonic::transport::Channel;

use crate::attack::{TOKEN, Target, question};
use crate::{Fault, first, metric, start, write};

/// Turns of each kind, and how long one takes.
const TURNS: usize = 5;
const TURN: Duration = Duration::from_secs(2);

/// The gateway's calls under way, and how many clients write, list and ask for the status.
const CALLS: usize = 4;
const BUSY: usize = 3;

/// The caller may do everything, and whoever it names may end sessions and list.
const RIGHTS: &str = "rpcs = [\"*\", \"Control/*\"]";
const GOVERN: &str =
    "@id(\"govern\") permit (principal, action in Mcp::Action::\"govern\", resource);\n";

pub async fn measure() -> Result<(), Fault> {
    let folder = tempfile::tempdir()?;
    prepare(folder.path())?;
    let (_server, _, target) = start(folder.path())?;
    let gateway = first(&target).await?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    asked(&gateway).await;
    for _ in 0..TURNS {
        alone.extend(asked(&gateway).await);
        let busy = keep_busy(&target).await?;
        beside.extend(asked(&gateway).await);
        drop(busy);
        // What was written goes to the disk.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let (alone, beside) = (p99(&mut alone), p99(&mut beside));
    metric("starvation.p99_alone", alone, "ms");
    metric("starvation.p99_beside", beside, "ms");
    metric("starvation.p99_ratio", beside / alone, "times");
    Ok(())
}

fn prepare(folder: &Path) -> std::io::Result<()> {
    write(folder)?;
    let dir = folder.join("policies");
    let config = std::fs::read_to_string(dir.join("callgate.toml"))?;
    let config = config.replacen("rpcs = [\"*\", \"GetStatus\"]", RIGHTS, 1);
    std::fs::write(dir.join("callgate.toml"), config)?;
    std::fs::write(dir.join("govern.cedar"), GOVERN)
}

/// How long the gateway's calls took, in milliseconds.
async fn asked(gateway: &Channel) -> Vec<f64> {
    let end = Instant::now() + TURN;
    let mut asking = JoinSet::new();
    for _ in 0..CALLS {
        let mut client = AuthorizationClient::new(gateway.clone());
        asking.spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < end {
                let begun = Instant::now();
                client.authorize(question()).await.expect("an answer");
                took.push(begun.elapsed().as_secs_f64() * 1e3);
            }
            took
        });
    }
    let all = asking.join_all().await;
    all.into_iter().flatten().collect()
}

/// Clients that write, list and ask for the status until the set is dropped.
async fn keep_busy(target: &Target) -> Result<JoinSet<()>, Fault> {
    let mut busy = JoinSet::new();
    for number in 0..BUSY {
        let channel = Channel::from_shared(format!("http://{}", target.grpc))?;
        let mut client = ControlClient::new(channel.connect().await?);
        busy.spawn(async move {
            for count in 0.. {
                let actor = v1::EntityRef {
                    r#type: "User".to_owned(),
                    id: "alice".to_owned(),
                };
                let end = v1::EndSessionRequest {
                    actor: Some(v1::Actor {
                        entity: Some(actor),
                        ..Default::default()
                    }),
                    session_id: format!("{number}-{count}"),
                    ..Default::default()
                };
                // Once there is no more room, refusing is what is measured.
                let _ = client.end_session(by_caller(end)).await;
                let list = v1::ListApprovalsRequest::default();
                let _ = client.list_approvals(by_caller(list)).await;
                let _ = client.get_status(by_caller(v1::GetStatusRequest {})).await;
            }
        });
    }
    Ok(busy)
}

fn by_caller<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Ok(token) = format!("Bearer {TOKEN}").parse() {
        request.metadata_mut().insert("authorization", token);
    }
    request
}

fn p99(took: &mut [f64]) -> f64 {
    took.sort_unstable_by(f64::total_cmp);
    let place = took.len().saturating_sub(1) * 99 / 100;
    took.get(place).copied().unwrap_or(f64::NAN)
}
