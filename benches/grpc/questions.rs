//! One question of each kind, and what its answer has to be.

use callgate::proto::v1;
use callgate::proto::v1::authorization_client::AuthorizationClient;
use callgate::proto::v1::is_authorized_request::ContextForm;
use prost::Message;
use serde_json::{Value as Json, json};
use tonic::transport::Channel;

use crate::AUTHORIZE;
use crate::authority::Chain;
use crate::served::load::Load;
use crate::served::{Fault, bundle};
use crate::world::{OFFICE, OFFICE_TOOLS, VAULT, office_tool};

/// What is asked again and again.
pub enum Question {
    /// A call that is allowed.
    Allowed(v1::AuthorizeRequest),
    /// A call that is denied, and that no approval would help.
    Denied(v1::AuthorizeRequest),
    /// A plain Cedar request that is allowed.
    Cedar(Box<v1::IsAuthorizedRequest>),
    /// A list of tools: those that read are shown, those that write are hidden.
    Filter(Box<v1::FilterToolsRequest>),
}

/// An agent that acts for a person in a session.
#[derive(Clone, Copy)]
struct Party {
    agent: &'static str,
    person: &'static str,
    session: &'static str,
}

/// Sam's agent has read an issue: what is private, and what strangers wrote.
const LABELLED: Party = Party {
    agent: "support",
    person: "sam",
    session: "bench-labelled",
};
/// Tara's has read a secret. What an agent reads for a person counts in all sessions of that person.
const SECRET: Party = Party {
    agent: "support",
    person: "tara",
    session: "bench-secret",
};
const FILES: Party = Party {
    agent: "release",
    person: "ravi",
    session: "bench-files",
};

impl Question {
    /// A typed tool that sends, in a session with labels, to a place that is known.
    pub fn typed_write() -> Self {
        Self::Allowed(post(LABELLED))
    }

    /// The same after a secret was read.
    pub fn denied_write() -> Self {
        Self::Denied(post(SECRET))
    }

    /// A read by the last of a chain of three, by stored delegations and in a task.
    pub fn chain(chain: Chain) -> Self {
        let mut request = bundle::typical_call();
        let call = request.call_context.get_or_insert_default();
        call.delegation = Some(v1::Delegation {
            delegation_ids: chain.delegations,
            ..Default::default()
        });
        let workflow = call.workflow.get_or_insert_default();
        workflow.session_id = "bench-chain".to_owned();
        workflow.task_id = chain.task;
        Self::Allowed(request)
    }

    /// A file, so that the call has a target.
    pub fn file() -> Self {
        let path = json!({ "path": "/srv/app/report.txt" });
        Self::Allowed(call(FILES, "filesystem", "read_text_file", &path))
    }

    /// Principal, action, resource and context, as somebody writes them who asks in Cedar's terms.
    pub fn cedar() -> Self {
        let context = json!({
            "identity": {
                "verified": true, "method": "jwt", "asserted_groups": [], "asserted_attributes": [],
            },
            "arguments": { "names": ["owner", "repo"], "untyped": [], "undeclared": [] },
            "environment": {
                "gateway": { "__entity": { "type": "Mcp::Gateway", "id": "local" } },
                "now": { "__extn": { "fn": "datetime", "arg": "2026-09-21T12:00:00Z" } },
            },
            "initiator": "client",
            "labels": [],
        });
        Self::Cedar(Box::new(v1::IsAuthorizedRequest {
            principal: entity("Mcp::User", "sam"),
            action: entity("Mcp::Action", "call_read"),
            resource: entity("Mcp::Tool", "github/get_issue"),
            context_form: Some(ContextForm::ContextJson(context.to_string().into())),
            ..Default::default()
        }))
    }

    /// Which of a hundred tools the typical agent may call.
    pub fn filter() -> Self {
        Self::Filter(Box::new(v1::FilterToolsRequest {
            call_context: bundle::typical_call().call_context,
            server: OFFICE.to_owned(),
            tools: (0..OFFICE_TOOLS).map(office_tool).collect(),
            ..Default::default()
        }))
    }

    /// The question as it is asked many times.
    pub fn load(&self, channel: Channel) -> Load {
        match self {
            Self::Allowed(request) | Self::Denied(request) => {
                Load::new(channel, AUTHORIZE, request.encode_to_vec())
            }
            Self::Cedar(request) => {
                let path = "/callgate.v1.Authorization/IsAuthorized";
                Load::new(channel, path, request.encode_to_vec())
            }
            Self::Filter(request) => {
                let path = "/callgate.v1.Authorization/FilterTools";
                Load::new(channel, path, request.encode_to_vec())
            }
        }
    }

    /// Asks once, and sees to it that the answer is the one that the question is about.
    pub async fn check(&self, channel: &Channel) -> Result<(), Fault> {
        let mut client = AuthorizationClient::new(channel.clone());
        match self {
            Self::Allowed(request) => {
                let answer = client.authorize(request.clone()).await?.into_inner();
                assert_eq!(answer.decision(), v1::Decision::Allow, "{answer:?}");
            }
            Self::Denied(request) => {
                let answer = client.authorize(request.clone()).await?.into_inner();
                assert_eq!(answer.decision(), v1::Decision::Deny, "{answer:?}");
                assert_eq!(answer.approval, None, "{answer:?}");
            }
            Self::Cedar(request) => {
                let answer = client.is_authorized((**request).clone()).await?;
                let answer = answer.into_inner();
                assert_eq!(answer.decision(), v1::Decision::Allow, "{answer:?}");
            }
            Self::Filter(request) => {
                let answer = client.filter_tools((**request).clone()).await?;
                let answer = answer.into_inner();
                let (shown, hidden) = (answer.tools.len(), answer.hidden.len());
                assert_eq!(shown, OFFICE_TOOLS / 4 * 3, "{answer:?}");
                assert_eq!(shown + hidden, OFFICE_TOOLS, "{answer:?}");
            }
        }
        Ok(())
    }
}

/// Lets the agents read what their sessions are to have read.
pub async fn label_sessions(channel: &Channel) -> Result<(), Fault> {
    let issue = json!({ "owner": "larkwood", "repo": "shop", "issue_number": 4711 });
    let labelled = call(LABELLED, "github", "get_issue", &issue);
    let secret = call(SECRET, VAULT.0, VAULT.1, &json!({}));
    for request in [labelled, secret] {
        Question::Allowed(request).check(channel).await?;
    }
    Ok(())
}

/// A name of an entity.
pub fn entity(of_type: &str, id: &str) -> Option<v1::EntityRef> {
    Some(v1::EntityRef {
        r#type: of_type.to_owned(),
        id: id.to_owned(),
    })
}

fn post(by: Party) -> v1::AuthorizeRequest {
    let text = "We are on it, and will be back at noon.";
    let message = json!({ "channel_id": "C04SUPPORT", "text": text });
    call(by, "slack", "slack_post_message", &message)
}

/// The typical call with other parties and another tool.
fn call(by: Party, server: &str, tool: &str, arguments: &Json) -> v1::AuthorizeRequest {
    let mut request = bundle::typical_call();
    let call = request.call_context.get_or_insert_default();
    call.subject.get_or_insert_default().entity = entity("Agent", by.agent);
    call.delegation.get_or_insert_default().root = entity("User", by.person);
    call.workflow.get_or_insert_default().session_id = by.session.to_owned();
    call.operation = Some(v1::Operation {
        server: server.to_owned(),
        kind: Some(v1::operation::Kind::CallTool(v1::CallTool {
            tool: tool.to_owned(),
            input: Some(v1::call_tool::Input::ArgumentsJson(
                arguments.to_string().into(),
            )),
            ..Default::default()
        })),
        ..Default::default()
    });
    request
}
