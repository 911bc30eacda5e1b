//! Which permits and tools are used: what is granted and never used is excess privilege.
//!
//! A permit is used once it was satisfied in an allow, a tool once a call of it was allowed, since this process started and
//! not in dry runs. `callgate access --with-usage` says the same by agent and tool, over the whole decision log.

use std::hash::Hash;
use std::sync::{PoisonError, RwLock};

use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;
use foldhash::fast::RandomState;
use smol_str::SmolStr;

use crate::audit::decision_record::DecisionRecord;
use crate::domain::schema::TYPES;

type NameSet<T> = hashbrown::HashSet<T, RandomState>;

/// What was used, as far as the directory knows it.
#[derive(Debug, Default)]
pub(super) struct PrivilegeUse {
    permits: RwLock<NameSet<SmolStr>>,
    tools: RwLock<NameSet<EntityUID>>,
}

/// Privileges of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PrivilegeCount {
    /// `permit` or `tool`.
    pub(super) kind: &'static str,
    /// Used.
    pub(super) used: u64,
    /// Granted and not used.
    pub(super) unused: u64,
}

impl PrivilegeUse {
    /// Notes what an allow used.
    pub(super) fn note(&self, record: &DecisionRecord<'_>) {
        let decision = record.decision;
        if !decision.is_allow() || record.is_dry_run {
            return;
        }
        let permits = decision.determining_policies.iter().map(|it| &it.id);
        if !knows(&self.permits, permits.clone()) {
            insert(&self.permits, permits);
        }
        // Nearly always it is known, and the directory need not be asked.
        if let Some(tool) = &decision.effects.tool
            && !knows(&self.tools, [tool])
            && record.snapshot.is_some_and(|it| it.contains(tool))
        {
            insert(&self.tools, [tool]);
        }
    }

    /// Counts what is in service, and forgets what no longer is. Looks at every policy and tool.
    pub(super) fn counts(&self, snapshot: &Snapshot) -> [PrivilegeCount; 2] {
        let permits = snapshot
            .policies()
            .map(|candidate| candidate.info)
            .filter(|policy| !policy.is_forbid && !policy.is_shadow);
        let permits: NameSet<&SmolStr> = permits.map(|policy| &policy.id).collect();
        let tools = snapshot.list_entities(&TYPES.tool, None, usize::MAX);
        // Without a cursor there is none that could be stale.
        let tools = tools.map(|page| page.entities).unwrap_or_default();
        let tools: NameSet<&EntityUID> = tools.iter().map(|(uid, _)| uid).collect();
        [
            count("permit", &self.permits, &permits),
            count("tool", &self.tools, &tools),
        ]
    }
}

/// Whether all of these are in a set.
fn knows<'t, T: Eq + Hash + 't>(
    used: &RwLock<NameSet<T>>,
    some: impl IntoIterator<Item = &'t T>,
) -> bool {
    // A set whose lock is poisoned is whole: an entry goes in with one step.
    let used = used.read().unwrap_or_else(PoisonError::into_inner);
    some.into_iter().all(|one| used.contains(one))
}

fn insert<'t, T: Clone + Eq + Hash + 't>(
    used: &RwLock<NameSet<T>>,
    some: impl IntoIterator<Item = &'t T>,
) {
    let mut used = used.write().unwrap_or_else(PoisonError::into_inner);
    used.extend(some.into_iter().cloned());
}

fn count<T: Eq + Hash>(
    kind: &'static str,
    used: &RwLock<NameSet<T>>,
    granted: &NameSet<&T>,
) -> PrivilegeCount {
    let mut used = used.write().unwrap_or_else(PoisonError::into_inner);
    used.retain(|one| granted.contains(one));
    PrivilegeCount {
        kind,
        used: used.len() as u64,
        unused: granted.len().saturating_sub(used.len()) as u64,
    }
}
