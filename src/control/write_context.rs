//! What a write is planned from: the newest state, who writes, and what Cedar says of it.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::SystemTime;

use callgate_engine::Overlay;
use callgate_engine::cedar::EntityUID;
use smol_str::{SmolStr, ToSmolStr as _};

use crate::config::limits::Limits;
use crate::control::error::ControlError;
use crate::control::id_generator::IdGenerator;
use crate::control::live_view::LiveView;
use crate::control::requester::WriteRequester;
use crate::domain::authority::approval::Approval;
use crate::domain::authority::chain::DelegationChain;
use crate::domain::authority::delegation::Delegation;
use crate::domain::authority::stated_identity::StatedIdentity;
use crate::domain::authority::task::{Task, TaskStatus};
use crate::domain::decide::govern::{self, ApproverWish, GovernRequest};
use crate::domain::decide::inputs::{DecisionInputs, History, Requester};
use crate::domain::decide::verdict::Verdict;
use crate::domain::ids::{ApprovalId, DelegationId, TaskId};
use crate::domain::request::visible::shown;
use crate::domain::schema::{self, TYPES};
use crate::service::Service;
use crate::service::generation::Generation;

/// What a write is planned from.
pub(super) struct WriteContext<'s> {
    pub(super) generation: &'s Generation,
    /// In whole milliseconds, as it is stored.
    pub(super) now: SystemTime,
    pub(super) author: &'s WriteRequester,
    pub(super) limits: &'s Limits,
    pub(super) service: &'s Service,
    pub(super) ids: &'s IdGenerator,
    pub(super) told: WriteNotes,
}

/// What planning leaves for the record.
#[derive(Debug, Default)]
pub(super) struct WriteNotes {
    decided: RefCell<Option<Verdict>>,
    /// What is to be made or changed, for the record of a write that does neither.
    object: RefCell<Option<SmolStr>>,
}

impl WriteNotes {
    /// The verdict behind the write if there was one, and what was to be made or changed.
    pub(super) fn into_parts(self) -> (Option<Verdict>, Option<SmolStr>) {
        (self.decided.into_inner(), self.object.into_inner())
    }
}

/// What is stored under an id.
type StoredRef<'s, T> = Result<&'s Arc<T>, ControlError>;

impl<'s> WriteContext<'s> {
    pub(super) fn actor(&self) -> &'s EntityUID {
        &self.author.actor.entity
    }

    /// Says what is to be made or changed: an id, or the name of an entity.
    pub(super) fn set_object(&self, object: impl Into<SmolStr>) {
        *self.told.object.borrow_mut() = Some(object.into());
    }

    pub(super) fn next_id(&self, kind: &'static str) -> SmolStr {
        self.ids.next(kind, self.now)
    }

    pub(super) fn view(&self) -> LiveView<'_> {
        LiveView {
            service: self.service,
            generation: self.generation,
            now: self.now,
        }
    }

    pub(super) fn grant(&self, field: &str, id: &DelegationId) -> StoredRef<'s, Delegation> {
        let found = self.generation.authority.delegations.get(id);
        found.ok_or_else(|| ControlError::not_found(field, id.as_str()))
    }

    pub(super) fn task(&self, field: &str, id: &TaskId) -> StoredRef<'s, Task> {
        let found = self.generation.authority.tasks.get(id);
        found.ok_or_else(|| ControlError::not_found(field, id.as_str()))
    }

    /// A task that is open, whatever has become of its agent.
    pub(super) fn open_task(&self, field: &str, id: &TaskId) -> StoredRef<'s, Task> {
        let task = self.task(field, id)?;
        let how = match task.status(self.now) {
            TaskStatus::Open | TaskStatus::AgentGone => return Ok(task),
            TaskStatus::Closed => "is closed",
            TaskStatus::Overdue => "is past its deadline",
        };
        Err(ControlError::Precondition(format!("task `{id}` {how}")))
    }

    pub(super) fn approval(&self, id: &ApprovalId) -> StoredRef<'s, Approval> {
        let found = self.generation.authority.approvals.get(id);
        found.ok_or_else(|| ControlError::not_found("approval", id.as_str()))
    }

    /// Checks that an agent is registered.
    pub(super) fn check_agent(&self, agent: &EntityUID, field: &str) -> Result<(), ControlError> {
        if *agent.entity_type() != TYPES.agent {
            return Err(ControlError::invalid(field, "is not an agent"));
        }
        if !self.generation.snapshot.contains(agent) {
            let name: &str = agent.eid().as_ref();
            let message = format!("names agent `{}`, which is not known", shown(name));
            return Err(ControlError::invalid(field, message));
        }
        Ok(())
    }

    /// Rejects an actor that is neither a user nor an agent.
    pub(super) fn check_actor(&self) -> Result<(), ControlError> {
        let ty = self.actor().entity_type();
        if *ty != TYPES.user && *ty != TYPES.agent {
            let message = "is neither a user nor an agent";
            return Err(ControlError::invalid("actor.entity", message));
        }
        Ok(())
    }

    /// Asks Cedar whether the actor may perform a `govern` action on a resource.
    pub(super) fn govern(
        &self,
        action: &'static str,
        resource: &EntityUID,
        about: GovernContext<'_>,
    ) -> Result<(), ControlError> {
        self.check_actor()?;
        // The installation as a whole says nothing.
        if self.told.object.borrow().is_none() && *resource.entity_type() != TYPES.gateway {
            self.set_object(resource.to_smolstr());
        }
        let governing = GovernRequest {
            actor: &self.author.actor,
            action,
            resource,
            chain: about.chain,
            task: about.task,
            remembered: about.remembered,
        };
        let world = self.world(about.task);
        let decision = govern::govern(&world, &governing, self.asker(), self.now);
        self.take(decision)
    }

    /// Asks Cedar whether the actor may approve this call, or reject it.
    pub(super) fn govern_approval(
        &self,
        approval: &Approval,
        wish: ApproverWish,
    ) -> Result<(), ControlError> {
        let about = (&approval.call, &approval.circumstances);
        let task = approval.call.task.as_ref();
        let task = task.and_then(|id| self.generation.authority.tasks.get(id));
        let world = self.world(task.map(Arc::as_ref));
        let by = (&self.author.actor, wish);
        let decision = govern::approve(&world, about, by, self.asker(), self.now);
        self.take(decision)
    }

    fn world(&self, task: Option<&Task>) -> DecisionInputs<'_> {
        let past = History {
            calls_left: task.and_then(|task| self.service.calls_left(task)),
            ..History::default()
        };
        self.service.decision_inputs(self.generation, past)
    }

    /// The caller's own gateway, which stands for this installation as a whole.
    pub(super) fn gateway(&self) -> EntityUID {
        schema::entity_uid(&TYPES.gateway, SmolStr::new(&self.author.caller.id))
    }

    /// The actor's identity as the caller states it.
    pub(super) fn stated_identity(&self) -> StatedIdentity {
        StatedIdentity::new(&self.author.actor.identity, &self.author.caller)
    }

    fn asker(&self) -> Requester<'s> {
        Requester {
            caller: &self.author.caller,
            claims: &self.generation.claims,
        }
    }

    fn take(&self, decision: Verdict) -> Result<(), ControlError> {
        if decision.is_allow() {
            self.note(decision);
            return Ok(());
        }
        Err(ControlError::denied(decision))
    }

    /// Keeps the verdict behind a write, for the record.
    pub(super) fn note(&self, decision: Verdict) {
        *self.told.decided.borrow_mut() = Some(decision);
    }
}

/// What a `govern` request is about, besides its resource.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct GovernContext<'a> {
    pub(super) chain: Option<&'a DelegationChain<'a>>,
    pub(super) task: Option<&'a Task>,
    /// What is known of entities concerned that are gone.
    pub(super) remembered: &'a [Overlay],
}
