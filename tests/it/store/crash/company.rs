//! The office, its server in a process of its own, and the requests that its people and agents send.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use callgate::proto::v1;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use callgate::proto::v1::control_client::ControlClient;
use prost_types::Timestamp;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::support::process::{Bundle, Server, endpoint};
use crate::support::worlds;

/// The directory of the company, and the folder with its database.
pub fn bundle() -> Bundle {
    Bundle::of(&worlds::office())
}

/// A server that nobody waits for. To be killed while it starts.
pub fn spawn(bundle: &Bundle) -> Child {
    Command::new(env!("CARGO_BIN_EXE_callgate"))
        .args(["serve", "--without-callers", "--listen", "127.0.0.1:0"])
        .current_dir(bundle.folder())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Both doors of the server, over one connection.
#[derive(Clone)]
pub struct Doors {
    pub control: ControlClient<Channel>,
    pub authorization: AuthorizationClient<Channel>,
}

impl Doors {
    pub async fn of(server: &Server) -> Self {
        let address = format!("http://{}", server.target());
        let channel = endpoint(address).connect().await.unwrap();
        Self {
            control: ControlClient::new(channel.clone()),
            authorization: AuthorizationClient::new(channel),
        }
    }

    /// Decides a call.
    pub async fn decide(&self, call: v1::CallContext) -> Result<v1::AuthorizeResponse, Status> {
        self.ask(call, false).await
    }

    /// Tells how a call would be decided. Nothing is used up.
    pub async fn probe(&self, call: v1::CallContext) -> v1::AuthorizeResponse {
        self.ask(call, true).await.unwrap()
    }

    async fn ask(
        &self,
        call: v1::CallContext,
        dry_run: bool,
    ) -> Result<v1::AuthorizeResponse, Status> {
        let request = v1::AuthorizeRequest {
            call_context: Some(Box::new(call)),
            dry_run,
            ..Default::default()
        };
        let answer = self.authorization.clone().authorize(request).await?;
        Ok(answer.into_inner())
    }
}

/// Whether nobody may have answered: the connection is gone, or never was.
pub fn is_gone(status: &Status) -> bool {
    let code = status.code();
    [
        Code::Unavailable,
        Code::Unknown,
        Code::Cancelled,
        Code::Internal,
    ]
    .contains(&code)
}

pub fn is_allow(answer: &v1::AuthorizeResponse) -> bool {
    answer.decision() == v1::Decision::Allow
}

/// Why it is denied, the first reason; unspecified if it is allowed.
pub fn why(answer: &v1::AuthorizeResponse) -> v1::ReasonCode {
    answer
        .reasons
        .first()
        .map(v1::Reason::code)
        .unwrap_or_default()
}

/// Whether it is denied because what was delegated was revoked, or may not be redelegated any more.
pub fn is_cancelled(answer: &v1::AuthorizeResponse) -> bool {
    use v1::ReasonCode::{DelegationChainBroken, DelegationRevoked};
    [DelegationRevoked, DelegationChainBroken].contains(&why(answer))
}

pub fn user(id: &str) -> v1::EntityRef {
    v1::EntityRef {
        r#type: "Mcp::User".into(),
        id: id.into(),
    }
}

pub fn agent(id: &str) -> v1::EntityRef {
    v1::EntityRef {
        r#type: "Mcp::Agent".into(),
        id: id.into(),
    }
}

fn verified() -> Option<v1::Identity> {
    Some(v1::Identity {
        method: "jwt".into(),
        verified: true,
    })
}

pub fn actor(entity: v1::EntityRef) -> Option<v1::Actor> {
    Some(v1::Actor {
        entity: Some(entity),
        identity: verified(),
        claims: None,
    })
}

/// In so many seconds, without a fraction.
pub fn moment_in(seconds: u64) -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let whole = since.unwrap() + Duration::from_secs(seconds);
    Timestamp {
        seconds: whole.as_secs().try_into().unwrap(),
        nanos: 0,
    }
}

/// These tools, named as `<server>/<tool>`.
pub fn scope(tools: &[&str], access: v1::AccessLevel) -> v1::Scope {
    v1::Scope {
        tools: tools.iter().map(|tool| (*tool).to_owned()).collect(),
        access: access.into(),
        ..Default::default()
    }
}

/// A call of `<server>/<tool>` by an agent.
fn call(by: &str, tool: &str, arguments: &str) -> v1::CallContext {
    let (server, tool) = tool.split_once('/').unwrap();
    v1::CallContext {
        subject: Some(v1::Subject {
            entity: Some(agent(by)),
            identity: verified(),
            claims: None,
        }),
        operation: Some(v1::Operation {
            server: server.into(),
            kind: Some(v1::operation::Kind::CallTool(v1::CallTool {
                tool: tool.into(),
                input: Some(v1::call_tool::Input::ArgumentsJson(
                    arguments.to_owned().into(),
                )),
                ..Default::default()
            })),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A call on what a delegation covers.
pub fn by_delegation(by: &str, tool: &str, delegation: &str) -> v1::CallContext {
    v1::CallContext {
        delegation: Some(v1::Delegation {
            delegation_ids: vec![delegation.into()],
            ..Default::default()
        }),
        ..call(by, tool, "{}")
    }
}

fn for_ana(call: v1::CallContext, workflow: v1::Workflow) -> v1::CallContext {
    v1::CallContext {
        delegation: Some(v1::Delegation {
            root: Some(user("ana")),
            verified: true,
            ..Default::default()
        }),
        workflow: Some(workflow),
        ..call
    }
}

/// A call in a task.
pub fn in_task(tool: &str, task: &str) -> v1::CallContext {
    let workflow = v1::Workflow {
        task_id: task.into(),
        ..Default::default()
    };
    for_ana(call("one", tool, "{}"), workflow)
}

/// A call in a session.
pub fn in_session(tool: &str, session: &str) -> v1::CallContext {
    let workflow = v1::Workflow {
        session_id: session.into(),
        ..Default::default()
    };
    for_ana(call("one", tool, "{}"), workflow)
}

/// A call that somebody has to approve. Different disks are different calls.
pub fn formatting(disk: u64, approvals: &[&str]) -> v1::CallContext {
    let arguments = format!("{{\"disk\":{disk}}}");
    let made = call("one", "files/format", &arguments);
    v1::CallContext {
        approval_ids: approvals.iter().map(|id| (*id).to_owned()).collect(),
        ..for_ana(made, v1::Workflow::default())
    }
}
