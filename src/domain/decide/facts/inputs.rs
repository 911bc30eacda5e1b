//! What the context of a request is made from.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use crate::domain::authority::chain::DelegationChain;
use crate::domain::authority::labels::Labels;
use crate::domain::authority::task::Task;
use crate::domain::decide::facts::approval::ApprovalFacts;
use crate::domain::decide::inputs::History;
use crate::domain::decide::tool_input::ToolInput;
use crate::domain::request::call_context::{Identity, Initiator};
use crate::domain::request::claims::AssertedClaims;
use crate::domain::request::client_responses::ClientResponses;
use crate::domain::request::elicitation::ElicitationForm;
use crate::domain::request::operation::Sampling;
use crate::domain::request::target::host::Host;

/// The inputs of the context that do not depend on the target.
#[derive(Clone, Copy)]
pub struct ContextInputs<'c> {
    /// How the identity of the principal was established.
    pub identity: &'c Identity,
    /// The groups and tags that claims about the principal map to.
    pub asserted: &'c AssertedClaims,
    /// Whether the principal is a user and an agent may be acting with the user's credential.
    pub through_agent: bool,
    /// The side that initiated the call.
    pub initiator: Initiator,
    /// The server, if the action's context has one.
    pub server: Option<&'c SmolStr>,
    /// Whether the action's context has labels besides those of the session.
    pub has_labels: bool,
    /// The purpose, as the caller states it.
    pub purpose: Option<&'c str>,
    /// The address of the client, as the gateway saw it.
    pub source_address: Option<IpAddr>,
    /// The `Mcp::Gateway` entity of the caller.
    pub gateway: &'c EntityUID,
    /// The delegation chain of the call, or the one a change concerns.
    pub chain: Option<&'c DelegationChain<'c>>,
    /// The task of the call, or the one a change concerns.
    pub task: Option<&'c Task>,
    /// The history of the workflow.
    pub history: History<'c>,
    /// The approval of the call.
    pub approval: Option<ApprovalFacts<'c>>,
    /// The client responses sent with the call.
    pub answers: Option<&'c ClientResponses>,
    /// Whether a state of the server goes back with the call (`requestState`).
    pub has_request_state: bool,
    /// The tool called.
    pub tool: Option<&'c EntityUID>,
    /// The arguments of a tool call.
    pub arguments: Option<&'c Map<String, Json>>,
    /// The entities, for resource containment.
    pub snapshot: &'c Snapshot,
    /// The time of the decision.
    pub now: SystemTime,
}

/// Facts specific to an operation.
#[derive(Debug)]
pub enum OperationContext {
    /// No specific facts.
    Nothing,
    /// The arguments of a tool call or prompt.
    Arguments(ToolInput),
    /// The form of an elicitation.
    Form(ElicitationForm),
    /// The URL of an elicitation.
    Url {
        /// The scheme of the URL.
        scheme: SmolStr,
        /// The host of the URL.
        host: Host,
    },
    /// The parameters of a sampling request.
    Sampling(Sampling),
    /// A message that keeps a connection.
    Connection {
        /// Whether it may bring the result of an earlier call.
        earlier_result: bool,
    },
}

impl ContextInputs<'_> {
    /// The labels of everything the call carries.
    pub fn labels(&self) -> Arc<Labels> {
        let carries = self.history.session.is_some() || self.task.is_some() || self.chain.is_some();
        self.history.labels(carries)
    }
}
