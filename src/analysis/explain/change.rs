//! Changes that may turn a deny into an allow, and how each is applied.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::Snapshot;
use callgate_engine::cedar::{EntityUID, Value};
use smol_str::SmolStr;

use crate::analysis::explain::changed_entity::{with_attributes, with_entity};
use crate::analysis::explain::values;
use crate::domain::authority::approval::{Approval, ApprovalContext, ApprovalDecision};
use crate::domain::authority::scope::{RequestedAccess, Scope, ScopeError};
use crate::domain::authority::session::Session;
use crate::domain::authority::state::Authority;
use crate::domain::authority::stated_identity::StatedIdentity;
use crate::domain::decide::call;
use crate::domain::decide::cedar_request;
use crate::domain::decide::inputs::{DecisionInputs, History, Requester};
use crate::domain::decide::observer::EvaluationObserver;
use crate::domain::decide::verdict::{Challenge, Verdict};
use crate::domain::ids::{ApprovalId, DelegationId, SessionId, TaskId};
use crate::domain::request::call_context::{ActorChain, CallContext, Subject};
use crate::domain::schema::{self, AccessLevel, TYPES};

/// The id of an approval that is assumed.
const ASSUMED: &str = "(assumed)";

/// One change of what a decision is made from.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A person approves exactly this call.
    Approve {
        /// Somebody who may.
        by: EntityUID,
    },
    /// The call is made for somebody.
    Delegate {
        /// For whom.
        root: EntityUID,
    },
    /// The gateway verifies who acts.
    VerifyIdentity,
    /// The gateway verifies for whom the call is made.
    VerifyDelegation,
    /// The gateway states what the call is for.
    StatePurpose,
    /// The gateway names the session of the call, a new one.
    NameSession,
    /// The scope of a stored delegation covers the call.
    WidenDelegation {
        /// The delegation.
        id: DelegationId,
    },
    /// The scope of a task, and of the step it is at, covers the call.
    WidenTask {
        /// The task.
        id: TaskId,
    },
    /// A stopped agent, user, server or tool is in service again.
    Resume {
        /// What is stopped.
        entity: EntityUID,
    },
    /// An entity becomes a member of a group, or a target part of a place.
    AddToGroup {
        /// The entity.
        entity: EntityUID,
        /// The group, or the place.
        group: EntityUID,
    },
    /// An entity is no longer a direct member of a group.
    RemoveFromGroup {
        /// The entity.
        entity: EntityUID,
        /// The group.
        group: EntityUID,
    },
    /// An attribute of a stored entity has another value.
    SetAttribute {
        /// The entity.
        entity: EntityUID,
        /// The attribute.
        attribute: SmolStr,
        /// The value.
        value: Value,
    },
    /// The registration of a tool says another access level, and is confirmed.
    RegisterAccess {
        /// The tool.
        tool: EntityUID,
        /// The access level.
        access: AccessLevel,
    },
}

/// What a decision is made from, with changes applied.
#[derive(Debug, Clone)]
pub struct World {
    snapshot: Snapshot,
    authority: Authority,
    call: CallContext,
    approval_uses: Vec<u32>,
    /// A session that history does not know.
    session: Option<Session>,
    challenge: Option<Box<Challenge>>,
}

impl World {
    /// The unchanged state.
    pub fn new(inputs: &DecisionInputs<'_>, call: &CallContext) -> Self {
        Self {
            snapshot: inputs.snapshot.clone(),
            authority: inputs.authority.clone(),
            call: call.clone(),
            approval_uses: inputs.history.approval_uses.to_vec(),
            session: None,
            challenge: None,
        }
    }

    /// Decides the call in this state. History stays as it was.
    pub fn decide(
        &self,
        inputs: &DecisionInputs<'_>,
        requester: Requester<'_>,
        now: SystemTime,
        observer: Option<&dyn EvaluationObserver>,
    ) -> Verdict {
        call::decide(self.inputs(inputs, observer), &self.call, requester, now)
    }

    /// The inputs of a decision in this state.
    pub fn inputs<'w>(
        &'w self,
        inputs: &DecisionInputs<'w>,
        observer: Option<&'w dyn EvaluationObserver>,
    ) -> DecisionInputs<'w> {
        DecisionInputs {
            snapshot: &self.snapshot,
            // Registrations may be changed, so each tool is read from its entity.
            tools: None,
            authority: &self.authority,
            history: History {
                approval_uses: &self.approval_uses,
                session: self.session.as_ref().or(inputs.history.session),
                ..inputs.history
            },
            observer,
            ..*inputs
        }
    }

    /// The call in this state.
    pub fn call(&self) -> &CallContext {
        &self.call
    }

    /// Notes the challenge of a verdict in this state: an approval answers it.
    pub fn with_challenge(mut self, verdict: &Verdict) -> Self {
        self.challenge.clone_from(&verdict.challenge);
        self
    }

    /// The state after one more change; `None` if it changes nothing, or cannot be made here.
    pub fn with(
        &self,
        change: &Change,
        inputs: &DecisionInputs<'_>,
        requester: Requester<'_>,
        now: SystemTime,
    ) -> Option<Self> {
        let mut next = self.clone();
        match change {
            Change::Approve { by } => next.approve(by, requester, now)?,
            Change::Delegate { root } => {
                if self.call.actor_chain.is_some() || *root == self.call.subject.entity {
                    return None;
                }
                next.call.actor_chain = Some(ActorChain::verified_from(root.clone()));
            }
            Change::VerifyIdentity => {
                if std::mem::replace(&mut next.call.subject.identity.verified, true) {
                    return None;
                }
            }
            Change::VerifyDelegation => {
                let delegation = next.call.actor_chain.as_mut()?;
                if std::mem::replace(&mut delegation.verified, true) {
                    return None;
                }
            }
            Change::StatePurpose => {
                if self.call.workflow.purpose.is_some() {
                    return None;
                }
                next.call.workflow.purpose = Some(SmolStr::new_static("(a purpose)"));
            }
            Change::NameSession => {
                if self.call.workflow.session_id.is_some() {
                    return None;
                }
                next.call.workflow.session_id = Some(SessionId::new_static("(a session)"));
                next.session = Some(Session::new());
            }
            Change::WidenDelegation { id } => next.widen_delegation(id, inputs, requester)?,
            Change::WidenTask { id } => next.widen_task(id, inputs, requester)?,
            Change::Resume { entity } => {
                if !next.authority.stops.remove_mut(entity) {
                    return None;
                }
            }
            Change::AddToGroup { entity, group } => {
                next.snapshot = with_entity(&self.snapshot, entity, |parts| {
                    parts.parents.insert(group.clone())
                })?;
            }
            Change::RemoveFromGroup { entity, group } => {
                next.snapshot =
                    with_entity(&self.snapshot, entity, |parts| parts.parents.remove(group))?;
            }
            Change::SetAttribute {
                entity,
                attribute,
                value,
            } => {
                let attributes = vec![(attribute.clone(), value.clone())];
                next.snapshot = with_attributes(&self.snapshot, entity, attributes)?;
            }
            Change::RegisterAccess { tool, access } => next.register_access(tool, *access),
        }
        Some(next)
    }

    /// Registers a tool with an access level that a person has confirmed.
    fn register_access(&mut self, tool: &EntityUID, access: AccessLevel) {
        let text = Value::new(SmolStr::new_static(access.as_str()), None);
        // Together, as nobody's word counts of a tool that is not confirmed.
        let attributes = [("access", text), ("confirmed", Value::new(true, None))];
        let attributes = attributes.map(|(name, value)| (SmolStr::new_static(name), value));
        if let Some(next) = with_attributes(&self.snapshot, tool, attributes.into()) {
            self.snapshot = next;
        }
        // A typed tool is called by an action of its own, which is in that of its access level.
        let own_action = schema::action_uid(tool.eid().as_ref());
        if let Ok(next) = (self.snapshot).with_action_in(&own_action, [access.call_action()]) {
            self.snapshot = next;
        }
    }

    /// Somebody approves the call, whose identity the caller has verified.
    fn approve(&mut self, by: &EntityUID, requester: Requester<'_>, now: SystemTime) -> Option<()> {
        let challenge = self.challenge.take()?;
        let Subject { identity, .. } = Subject::verified(by.clone(), "jwt");
        let approval = Approval {
            word: Some(ApprovalDecision {
                by: by.clone(),
                at: now,
                uses: 1,
                comment: None,
                claims: serde_json::Map::new(),
                identity: Some(StatedIdentity::new(&identity, requester.caller)),
            }),
            ..assumed_approval(&challenge, now)
        };
        self.call.approval_ids.push(approval.id.clone());
        self.approval_uses.push(0);
        self.authority.approvals.insert_mut(Arc::new(approval));
        Some(())
    }

    fn widen_delegation(
        &mut self,
        id: &DelegationId,
        inputs: &DecisionInputs<'_>,
        requester: Requester<'_>,
    ) -> Option<()> {
        let mut delegation = (**self.authority.delegations.get(id)?).clone();
        let scope = self.widened(&delegation.scope, inputs, requester)?;
        delegation.scope = scope;
        self.authority.delegations.insert_mut(Arc::new(delegation));
        Some(())
    }

    fn widen_task(
        &mut self,
        id: &TaskId,
        inputs: &DecisionInputs<'_>,
        requester: Requester<'_>,
    ) -> Option<()> {
        let mut task = (**self.authority.tasks.get(id)?).clone();
        let own = task.scope.as_ref();
        let own = own.and_then(|scope| self.widened(scope, inputs, requester));
        let step = task.step();
        let step = step.and_then(|step| self.widened(&step.scope, inputs, requester));
        if own.is_none() && step.is_none() {
            return None;
        }
        if own.is_some() {
            task.scope = own;
        }
        if let Some((step, scope)) = task.steps.get_mut(task.at_step).zip(step) {
            step.scope = scope;
        }
        self.authority.tasks.insert_mut(Arc::new(task));
        Some(())
    }

    /// A scope with what it lacks to cover the call; `None` if it lacks nothing.
    fn widened(
        &self,
        scope: &Scope,
        inputs: &DecisionInputs<'_>,
        requester: Requester<'_>,
    ) -> Option<Scope> {
        let inputs = self.inputs(inputs, None);
        let operation = &self.call.operation;
        let definition = inputs.history.definition;
        let caller = requester.caller;
        let request = cedar_request::from_operation(&inputs, operation, definition, caller).ok()?;
        let server = schema::server_uid(&operation.server);
        let access: RequestedAccess<'_> = request.requested_access(&server);
        let mut wider = scope.clone();
        let mut is_wider = false;
        while let Err(outside) = wider.covers(inputs.snapshot, &access) {
            match outside {
                ScopeError::Tool(_) => wider.tools.push(access.tool?.clone()),
                ScopeError::Server(_) => wider.servers.push(server.clone()),
                ScopeError::Access(level) => wider.access = level,
                ScopeError::Target(name) => {
                    wider
                        .targets
                        .push(schema::entity_uid(&TYPES.resource, name.as_str()));
                }
                ScopeError::NoTarget => wider.targets.clear(),
                ScopeError::Group(_) => return None,
            }
            is_wider = true;
            // Each round adds one part, and a call has few.
            if wider.targets.len() > scope.targets.len() + cedar_request::MAX_TARGETS {
                return None;
            }
        }
        is_wider.then_some(wider)
    }
}

/// The approval that answers a challenge, given by nobody yet.
pub fn assumed_approval(challenge: &Challenge, now: SystemTime) -> Approval {
    Approval {
        id: ApprovalId::new_static(ASSUMED),
        digest: challenge.digest.clone(),
        call: challenge.call.clone(),
        circumstances: ApprovalContext {
            targets: challenge.circumstances.targets.clone(),
            ..ApprovalContext::default()
        },
        requested_at: now,
        expires_at: challenge.expires_at,
        word: None,
    }
}

impl Change {
    /// A stable name for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Approve { .. } => "approval",
            Self::Delegate { .. } => "delegation",
            Self::VerifyIdentity => "verified_identity",
            Self::VerifyDelegation => "verified_delegation",
            Self::StatePurpose => "purpose",
            Self::NameSession => "session",
            Self::WidenDelegation { .. } => "delegation_scope",
            Self::WidenTask { .. } => "task_scope",
            Self::Resume { .. } => "resume",
            Self::AddToGroup { .. } => "group",
            Self::RemoveFromGroup { .. } => "group_removal",
            Self::SetAttribute { .. } => "attribute",
            Self::RegisterAccess { .. } => "registered_access",
        }
    }

    /// How much is given away: what is for one call comes before what lasts.
    pub fn weight(&self) -> u32 {
        match self {
            Self::VerifyIdentity
            | Self::VerifyDelegation
            | Self::StatePurpose
            | Self::NameSession => 0,
            Self::Approve { .. } => 1,
            Self::Delegate { .. } => 2,
            Self::WidenTask { .. } => 3,
            Self::WidenDelegation { .. } => 4,
            Self::Resume { .. } => 5,
            Self::AddToGroup { .. } | Self::RemoveFromGroup { .. } => 6,
            Self::SetAttribute { .. } => 7,
            Self::RegisterAccess { .. } => 8,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Approve { by } => write!(f, "{by}, or somebody else who may, approves this call"),
            Self::Delegate { root } => {
                write!(f, "the call is made for {root}, by a verified delegation")
            }
            Self::VerifyIdentity => f.write_str("the gateway verifies who acts"),
            Self::VerifyDelegation => f.write_str("the gateway verifies for whom the call is made"),
            Self::StatePurpose => f.write_str("the gateway states the purpose of the call"),
            Self::NameSession => {
                f.write_str("the gateway names the session of the call, a new one")
            }
            Self::WidenDelegation { id } => write!(f, "delegation `{id}` covers this call"),
            Self::WidenTask { id } => write!(f, "task `{id}` covers this call"),
            Self::Resume { entity } => write!(f, "{entity} is in service again"),
            Self::AddToGroup { entity, group } => write!(f, "{entity} is in {group}"),
            Self::RemoveFromGroup { entity, group } => {
                write!(f, "{entity} is no longer in {group}")
            }
            Self::SetAttribute {
                entity,
                attribute,
                value,
            } => write!(f, "`{attribute}` of {entity} is {}", values::text(value)),
            Self::RegisterAccess { tool, access } => {
                write!(f, "{tool} is registered as {access}, and confirmed")
            }
        }
    }
}
