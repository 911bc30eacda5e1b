//! How things stand.

use std::sync::Arc;
use std::time::SystemTime;

use cedar_policy_core::ast::EntityUID;

use crate::call::live::approval::ApprovalStatus;
use crate::call::live::task::TaskStatus;
use crate::control::error::ControlError;
use crate::control::write::Control;

/// What is in service.
#[derive(Debug, Clone)]
pub struct Status {
    /// The revision.
    pub revision: u64,
    /// The directory's digest, `sha256:<hex>`.
    pub policy_set_digest: Arc<str>,
    /// Policies.
    pub policies: usize,
    /// Entities of the directory and stored ones.
    pub entities: usize,
    /// Entities that were put and are in force.
    pub stored_entities: usize,
    /// Entities that were put and that the directory has since defined.
    pub shadowed_entities: Vec<EntityUID>,
    /// Delegations, those that ended lately among them.
    pub delegations: usize,
    /// Tasks that are open.
    pub open_tasks: usize,
    /// Approvals that nobody has decided.
    pub pending_approvals: usize,
    /// Sessions that are remembered.
    pub sessions: usize,
    /// Callgate's time.
    pub now: SystemTime,
    /// What is wrong with the store.
    pub store_fault: Option<String>,
}

impl Control {
    /// How things stand. Counts everything, so it takes longer than other reads.
    pub fn status(&self) -> Result<Status, ControlError> {
        self.view(|view| {
            let generation = view.generation;
            let (snapshot, authority) = (&generation.snapshot, &generation.authority);
            let is_open = |status: TaskStatus| status == TaskStatus::Open;
            let tasks = authority.tasks.values().map(|task| task.status(view.now));
            let approvals = authority.approvals.values();
            let pending = approvals
                .map(|approval| view.approval(approval).status)
                .filter(|status| *status == ApprovalStatus::Pending);
            let shadowed: Vec<_> = generation.stored.shadowed().cloned().collect();
            Ok(Status {
                revision: snapshot.revision(),
                policy_set_digest: Arc::clone(&generation.policy_set_digest),
                policies: snapshot.policy_count(),
                entities: snapshot.entity_count(),
                stored_entities: generation.stored.len() - shadowed.len(),
                shadowed_entities: shadowed,
                delegations: authority.grants.size(),
                open_tasks: tasks.filter(|status| is_open(*status)).count(),
                pending_approvals: pending.count(),
                sessions: self.service.facts().sessions.len(),
                now: view.now,
                store_fault: None,
            })
        })
    }
}
