//! What a chain of three needs: a task and two delegations, made through the `Control` service of the running server.

use std::time::{Duration, SystemTime};

use callgate::proto::v1;
use callgate::proto::v1::control_client::ControlClient;
use tonic::transport::Channel;

use crate::questions::entity;
use crate::served::Fault;

/// The ids of the task and of the delegations from the root on.
pub struct Chain {
    pub task: String,
    pub delegations: Vec<String>,
}

/// Ravi delegates to his agent `release`, which redelegates to the agent `support`, in a task of that one for Ravi.
pub async fn grant(channel: Channel) -> Result<Chain, Fault> {
    let mut control = ControlClient::new(channel);
    let at = SystemTime::now() + Duration::from_secs(3_600);
    let opening = v1::OpenTaskRequest {
        actor: actor("User", "ravi"),
        agent: entity("Mcp::Agent", "support"),
        person: entity("Mcp::User", "ravi"),
        purpose: "answer a customer".to_owned(),
        scope: Some(v1::Scope {
            tools: vec!["github/get_issue".to_owned()],
            access: v1::AccessLevel::Read.into(),
            ..Default::default()
        }),
        call_budget: Some(1_000_000_000),
        deadline: Some(at.into()),
        ..Default::default()
    };
    let opened = control.open_task(opening).await?.into_inner();
    let task = opened.task.ok_or("no task")?.id;
    let link = v1::GrantDelegationRequest {
        scope: Some(v1::Scope {
            servers: vec!["github".to_owned()],
            access: v1::AccessLevel::Write.into(),
            ..Default::default()
        }),
        expires_at: Some(at.into()),
        ..Default::default()
    };
    let first = v1::GrantDelegationRequest {
        actor: actor("User", "ravi"),
        to: entity("Mcp::Agent", "release"),
        max_redelegations: 1,
        ..link.clone()
    };
    let first = granted(&mut control, first).await?;
    // The task is one of the last agent, so only what is delegated to that one can be for it.
    let second = v1::GrantDelegationRequest {
        actor: actor("Agent", "release"),
        to: entity("Mcp::Agent", "support"),
        parent_id: first.clone(),
        task_id: task.clone(),
        ..link
    };
    let second = granted(&mut control, second).await?;
    Ok(Chain {
        task,
        delegations: vec![first, second],
    })
}

async fn granted(
    control: &mut ControlClient<Channel>,
    request: v1::GrantDelegationRequest,
) -> Result<String, Fault> {
    let answer = control.grant_delegation(request).await?.into_inner();
    Ok(answer.delegation.ok_or("no delegation")?.id)
}

fn actor(of_type: &str, id: &str) -> Option<v1::Actor> {
    Some(v1::Actor {
        entity: entity(&format!("Mcp::{of_type}"), id),
        identity: Some(v1::Identity {
            method: "jwt".to_owned(),
            verified: true,
        }),
        claims: None,
    })
}
