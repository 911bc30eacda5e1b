//! How things stand.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callgate_engine::cedar::EntityUID;
use tokio::sync::oneshot;

use crate::control::error::ControlError;
use crate::control::write::Control;
use crate::domain::authority::approval::ApprovalStatus;
use crate::domain::authority::stop::Stop;
use crate::domain::authority::task::TaskStatus;
use crate::service::bundle_status::BundleStatus;
use crate::store::shown_definitions::{ChangedDefinition, GatewayTool};
use crate::telemetry::export::losses::Loss;

/// A store that takes longer to be looked at is at fault.
const LOOK: Duration = Duration::from_millis(500);

/// Changed tools that are told, so that the answer stays within what clients of gRPC take.
const MOST_CHANGED: usize = 1_000;

/// What is in service.
#[derive(Debug, Clone)]
pub struct ServiceStatus {
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
    /// Tasks, delegations, pairs of an agent and a person, and places whose labels are remembered.
    pub carriers: usize,
    /// Tools that lists have shown lately with another definition than the pinned one.
    pub changed_tools: Vec<(GatewayTool, ChangedDefinition)>,
    /// What is stopped.
    pub stopped: Vec<Arc<Stop>>,
    /// The directory on disk; `None` if none is loaded again.
    pub directory: Option<Arc<BundleStatus>>,
    /// What telemetry lost since the start.
    pub losses: Vec<Loss>,
    /// Callgate's time.
    pub now: SystemTime,
    /// What is wrong with the store.
    pub store_fault: Option<String>,
    /// Changes that are in force and not written.
    pub unwritten: usize,
    /// What is wrong with the clock.
    pub clock_fault: Option<String>,
}

impl Control {
    /// How things stand. Counts everything, so it takes longer than other reads.
    pub async fn status(self: &Arc<Self>) -> Result<ServiceStatus, ControlError> {
        let store_fault = self.store_fault().await;
        self.run_blocking(move |control| control.counted(store_fault))
            .await
    }

    fn counted(&self, store_fault: Option<String>) -> Result<ServiceStatus, ControlError> {
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
            Ok(ServiceStatus {
                revision: snapshot.revision(),
                policy_set_digest: Arc::clone(&generation.policy_set_digest),
                policies: snapshot.policy_count(),
                entities: snapshot.entity_count(),
                stored_entities: generation.stored.len() - shadowed.len(),
                shadowed_entities: shadowed,
                delegations: authority.delegations.size(),
                open_tasks: tasks.filter(|status| is_open(*status)).count(),
                pending_approvals: pending.count(),
                sessions: self.service.facts().sessions.len(),
                carriers: self.service.facts().carriers_with_labels(),
                changed_tools: {
                    let mut changed = self.service.facts().definitions.all(view.now);
                    changed.truncate(MOST_CHANGED);
                    changed
                },
                stopped: authority.stops.values().cloned().collect(),
                directory: self.service.bundle_status(),
                losses: self.service.recorder().losses(),
                now: view.now,
                store_fault,
                unwritten: self.service.ledger().unwritten(),
                clock_fault: self.service.clock().check(),
            })
        })
    }

    /// What is wrong with the store: it does not answer, or did not write the last time.
    async fn store_fault(&self) -> Option<String> {
        let (done, looked) = oneshot::channel();
        let asked = self.service.ledger().writer().access(move |store| {
            // Nobody waits any more if it took too long.
            let _ = done.send(store.and_then(|store| store.check()));
        });
        if let Err(error) = asked {
            return Some(error.to_string());
        }
        match tokio::time::timeout(LOOK, looked).await {
            Ok(Ok(Ok(()))) => {
                let unwritten = self.service.ledger().unwritten();
                if unwritten > 0 {
                    return Some(format!(
                        "{unwritten} changes are in force and not written yet"
                    ));
                }
                let health = self.service.ledger().writer().health();
                health.borrow().as_ref().map(ToString::to_string)
            }
            Ok(Ok(Err(error))) => Some(error.to_string()),
            Ok(Err(_)) | Err(_) => Some("the store does not answer".to_owned()),
        }
    }
}
