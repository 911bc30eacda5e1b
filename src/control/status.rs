//! The status of the service.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callgate_engine::cedar::EntityUID;
use tokio::sync::oneshot;

use crate::audit::log::{AuditLog, LogStatus};
use crate::control::error::ControlError;
use crate::control::write::Control;
use crate::domain::authority::approval::ApprovalStatus;
use crate::domain::authority::stop::Stop;
use crate::domain::authority::task::TaskStatus;
use crate::service::bundle_status::BundleStatus;
use crate::service::fleet::Fleet;
use crate::service::observe::ObserveStatus;
use crate::store::shown_definitions::{ChangedDefinition, GatewayTool};
use crate::telemetry::export::losses::Loss;

/// A store that takes longer to answer is at fault.
const LOOK: Duration = Duration::from_millis(500);

/// The most changed tools that are reported, so that the response stays within gRPC's message limit.
const MOST_CHANGED: usize = 1_000;

/// What is in service.
#[derive(Debug, Clone)]
pub struct ServiceStatus {
    /// The revision.
    pub revision: u64,
    /// The bundle's digest, `sha256:<hex>`.
    pub policy_set_digest: Arc<str>,
    /// The number of policies.
    pub policies: usize,
    /// The number of entities, of the bundle and stored.
    pub entities: usize,
    /// The number of stored entities in force.
    pub stored_entities: usize,
    /// Stored entities that the bundle has since defined.
    pub shadowed_entities: Vec<EntityUID>,
    /// The number of delegations, recently ended ones included.
    pub delegations: usize,
    /// The number of open tasks.
    pub open_tasks: usize,
    /// The number of pending approvals.
    pub pending_approvals: usize,
    /// The number of sessions in memory.
    pub sessions: usize,
    /// The number of tasks, delegations, pairs of actor and root, and resources with labels.
    pub carriers: usize,
    /// Tools whose recently shown definition differs from the pinned one.
    pub changed_tools: Vec<(GatewayTool, ChangedDefinition)>,
    /// The stops in force.
    pub stopped: Vec<Arc<Stop>>,
    /// The status of the bundle on disk; `None` if it is not reloaded.
    pub directory: Option<Arc<BundleStatus>>,
    /// What telemetry lost since the start.
    pub losses: Vec<Loss>,
    /// The time of the service.
    pub now: SystemTime,
    /// The fault of the store, if any.
    pub store_fault: Option<String>,
    /// The number of restrictions in force that are not written.
    pub unwritten: usize,
    /// What is only observed.
    pub observe: ObserveStatus,
    /// The fault of the clock, if any.
    pub clock_fault: Option<String>,
    /// The state of the decision log; `None` if there is none.
    pub audit: Option<LogStatus>,
}

impl Control {
    /// The status of the service. It counts everything, so it takes longer than other reads.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotReady`] before the first load.
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
            let tasks = authority.tasks.values();
            let tasks = tasks.map(|task| task.status_in(snapshot, view.now));
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
                observe: self.service.observe_status(),
                clock_fault: self.service.clock().check(),
                audit: self.service.recorder().audit().map(AuditLog::status),
            })
        })
    }

    /// The fault of the store: it does not answer, or its last write failed.
    async fn store_fault(&self) -> Option<String> {
        if let Some(difference) = self.service.clock().difference() {
            return Some(difference);
        }
        let is_stale = |fleet: &Fleet| !fleet.state().is_valid();
        if self.service.fleet().is_some_and(is_stale) {
            let said = "this replica has not heard from the database in time: it denies everything";
            return Some(said.to_owned());
        }
        let (done, looked) = oneshot::channel();
        let asked = self.service.ledger().writer().access(move |store| {
            // The receiver is gone if it took too long.
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
