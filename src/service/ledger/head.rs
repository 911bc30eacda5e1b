//! The newest state of the ledger, which changes are planned against.

use std::collections::VecDeque;
use std::sync::Arc;

use callgate_engine::cedar::EntityUID;
use smol_str::SmolStr;

use crate::domain::authority::change::ChangeRecord;
use crate::domain::authority::published::PublishedBundle;
use crate::domain::authority::state::Authority;
use crate::service::generation::{Generation, LoadedBundle, StoredEntityError};
use crate::service::idempotency::IdempotencyKeys;
use crate::store::backend::StoredState;

/// The newest state, changes in flight included.
pub(super) struct Head {
    pub(super) generation: Option<Arc<Generation>>,
    pub(super) revision: u64,
    /// Incremented whenever planning rolls back to what is in service.
    pub(super) attempt: u64,
    /// The content of the store at the start, until the first bundle is in service.
    pub(super) loaded: Option<RestoredState>,
    pub(super) keys: IdempotencyKeys,
    /// Changes that are submitted and not in service, in order, if other servers write as well.
    pub(super) submitted: VecDeque<ChangeRecord>,
    /// The digest of the bundle that some server has put into service last.
    pub(super) stored_digest: Option<SmolStr>,
}

/// The content of the store at the start that generations are made of.
pub(super) struct RestoredState {
    pub(super) revision: u64,
    pub(super) authority: Authority,
    pub(super) entities: Vec<(EntityUID, Arc<str>)>,
    pub(super) digest: Option<SmolStr>,
    pub(super) published: Option<Arc<PublishedBundle>>,
}

impl RestoredState {
    pub(super) fn take_from(loaded: &mut StoredState) -> Self {
        Self {
            revision: loaded.revision,
            authority: std::mem::take(&mut loaded.authority),
            entities: std::mem::take(&mut loaded.entities),
            digest: loaded.bundle_digest.clone(),
            published: loaded.published.clone(),
        }
    }
}

impl Head {
    /// Makes a generation the newest state.
    pub(super) fn advance(&mut self, next: &Arc<Generation>) {
        self.revision = next.revision();
        self.generation = Some(Arc::clone(next));
    }

    /// The published bundle that was in service last according to the store, until the first bundle is in service.
    pub(super) fn restored_bundle(&self) -> Option<&Arc<PublishedBundle>> {
        self.loaded.as_ref()?.published.as_ref()
    }

    pub(super) fn with_bundle(
        &self,
        load: LoadedBundle,
        revision: u64,
    ) -> Result<Generation, StoredEntityError> {
        match (&self.generation, &self.loaded) {
            (Some(generation), _) => generation.with_bundle(load, revision),
            (None, Some(restored)) => {
                let entities = restored.entities.iter().cloned().collect();
                Generation::new(load, restored.authority.clone(), entities, revision)
            }
            (None, None) => {
                Generation::new(load, Authority::default(), Default::default(), revision)
            }
        }
    }
}
