//! The part of the authority that concerns one request.

use std::collections::BTreeMap;
use std::sync::Arc;

use callgate_engine::cedar::EntityUID;

use super::binary::{CapsuleContentError, Reader, Writer};
use crate::domain::authority::approval::Approval;
use crate::domain::authority::chain::MAX_LINKS;
use crate::domain::authority::delegation::Delegation;
use crate::domain::authority::state::Authority;
use crate::domain::authority::stop::Stop;
use crate::domain::authority::task::Task;
use crate::domain::ids::{ApprovalId, DelegationId, TaskId};
use crate::domain::request::call_context::CallContext;
use crate::domain::schema;

/// The records that a decision on a call can look at.
#[derive(Debug, Default)]
pub(super) struct AuthoritySlice<'a> {
    pub(super) delegations: BTreeMap<&'a DelegationId, &'a Arc<Delegation>>,
    pub(super) tasks: BTreeMap<&'a TaskId, &'a Arc<Task>>,
    pub(super) approvals: BTreeMap<&'a ApprovalId, &'a Arc<Approval>>,
    stops: Vec<&'a Arc<Stop>>,
}

impl<'a> AuthoritySlice<'a> {
    /// The records that a call names, and those that these depend on.
    pub(super) fn of_call(authority: &'a Authority, call: &CallContext) -> Self {
        let mut slice = match names_any(call) {
            true => Self::of_names(authority, call),
            false => Self::default(),
        };
        if !authority.stops.is_empty() {
            slice.add_stops(authority, call);
        }
        slice
    }

    fn of_names(authority: &'a Authority, call: &CallContext) -> Self {
        let mut slice = Self::default();
        let ids = call.actor_chain.iter().flat_map(|it| &it.delegation_ids);
        for id in ids {
            let mut next = authority.delegations.get(id);
            for _ in 0..=MAX_LINKS {
                let Some(delegation) = next else { break };
                slice.delegations.insert(&delegation.id, delegation);
                let parent = delegation.parent.as_ref();
                next = parent.and_then(|id| authority.delegations.get(id));
            }
        }
        for id in &call.approval_ids {
            if let Some(approval) = authority.approvals.get(id) {
                slice.approvals.insert(&approval.id, approval);
            }
        }
        let of_delegations = slice.delegations.values().map(|it| it.task.as_ref());
        let of_approvals = slice.approvals.values().map(|it| it.call.task.as_ref());
        let named = of_delegations.chain(of_approvals);
        let named = named.chain([call.workflow.task_id.as_ref()]).flatten();
        let tasks = named.filter_map(|id| authority.tasks.get(id));
        slice.tasks = tasks.map(|task| (&task.id, task)).collect();
        slice
    }

    /// The stops of these entities.
    pub(super) fn of_stops<'u>(
        authority: &'a Authority,
        uids: impl IntoIterator<Item = &'u EntityUID>,
    ) -> Self {
        let uids = uids.into_iter();
        Self {
            stops: uids.filter_map(|uid| authority.stops.get(uid)).collect(),
            ..Self::default()
        }
    }

    /// Adds the stops of these entities.
    pub(super) fn add_stops_of(
        &mut self,
        authority: &'a Authority,
        uids: impl IntoIterator<Item = EntityUID>,
    ) {
        let mut uids: Vec<EntityUID> = uids.into_iter().collect();
        uids.extend(self.stops.iter().map(|stop| stop.uid.clone()));
        uids.sort();
        uids.dedup();
        let stops = uids.iter().filter_map(|uid| authority.stops.get(uid));
        self.stops = stops.collect();
    }

    fn add_stops(&mut self, authority: &'a Authority, call: &CallContext) {
        let mut uids = vec![
            call.subject.entity.clone(),
            schema::server_uid(&call.operation.server),
        ];
        uids.extend(call.operation.tool_uid());
        if let Some(chain) = &call.actor_chain {
            uids.extend(chain.root.iter().chain(&chain.actors).cloned());
        }
        for delegation in self.delegations.values() {
            uids.extend([delegation.from.clone(), delegation.to.clone()]);
        }
        let words = self.approvals.values().filter_map(|it| it.word.as_ref());
        uids.extend(words.map(|word| word.by.clone()));
        uids.sort();
        uids.dedup();
        let stops = uids.iter().filter_map(|uid| authority.stops.get(uid));
        self.stops = stops.collect();
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.list(self.delegations.values(), |out, it| out.json(&***it));
        out.list(self.tasks.values(), |out, it| out.json(&***it));
        out.list(self.approvals.values(), |out, it| out.json(&***it));
        out.list(self.stops.iter(), |out, it| out.json(&***it));
    }
}

/// Whether a call names delegations, approvals or a task.
fn names_any(call: &CallContext) -> bool {
    let chain = call.actor_chain.as_ref();
    let is_delegated = chain.is_some_and(|chain| !chain.delegation_ids.is_empty());
    is_delegated || !call.approval_ids.is_empty() || call.workflow.task_id.is_some()
}

/// Reads what [`AuthoritySlice::write`] has written.
pub(super) fn read(bytes: &mut Reader<'_>) -> Result<Authority, CapsuleContentError> {
    let mut authority = Authority::default();
    for it in bytes.list(|bytes| bytes.json::<Delegation>("delegation"))? {
        authority.delegations.insert_mut(Arc::new(it));
    }
    for it in bytes.list(|bytes| bytes.json::<Task>("task"))? {
        authority.tasks.insert_mut(Arc::new(it));
    }
    for it in bytes.list(|bytes| bytes.json::<Approval>("approval"))? {
        authority.approvals.insert_mut(Arc::new(it));
    }
    for it in bytes.list(|bytes| bytes.json::<Stop>("stop"))? {
        authority.stops.insert_mut(it.uid.clone(), Arc::new(it));
    }
    Ok(authority)
}
