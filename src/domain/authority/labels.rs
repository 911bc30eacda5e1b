//! Labels of the data that a workflow has read, outside its session.
//!
//! A client can start a new session to shed its labels. So labels are also kept with everything else that a
//! call carries ([`LabelCarrier`]): its task, each stored delegation of its chain, and the pair of actor and
//! root. A decision sees each of these parts and their union ([`CarriedLabels`]).

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;
use hashbrown::Equivalent;
use smol_str::SmolStr;

use crate::domain::authority::session::CedarSet;
use crate::domain::ids::{DelegationId, TaskId};

/// A set of labels with its Cedar value.
pub type Labels = CedarSet<SmolStr>;

/// What labels are kept with, besides sessions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LabelCarrier {
    /// A task, by id.
    Task(TaskId),
    /// A stored delegation, by id.
    Delegation(DelegationId),
    /// An actor and the root it acts for.
    Pair {
        /// The actor.
        actor: EntityUID,
        /// The root; `None` if the actor acts on its own authority, the actor itself if a program acts as this user.
        root: Option<EntityUID>,
    },
    /// A resource that was written to.
    Resource(EntityUID),
    /// A resource that contains one that was written to.
    WithinResource(EntityUID),
    /// Any resource: used when there is no room for a further one.
    AnyResource,
}

/// A borrowed [`LabelCarrier`], for lookups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelCarrierRef<'a> {
    /// A task, by id.
    Task(&'a TaskId),
    /// A stored delegation, by id.
    Delegation(&'a DelegationId),
    /// An actor and the root it acts for.
    Pair {
        /// The actor.
        actor: &'a EntityUID,
        /// The root; `None` if the actor acts on its own authority.
        root: Option<&'a EntityUID>,
    },
    /// A resource that was written to.
    Resource(&'a EntityUID),
    /// A resource that contains one that was written to.
    WithinResource(&'a EntityUID),
    /// Any resource.
    AnyResource,
}

impl LabelCarrier {
    /// The borrowed form.
    pub fn as_ref(&self) -> LabelCarrierRef<'_> {
        match self {
            Self::Task(id) => LabelCarrierRef::Task(id),
            Self::Delegation(id) => LabelCarrierRef::Delegation(id),
            Self::Pair { actor, root } => LabelCarrierRef::Pair {
                actor,
                root: root.as_ref(),
            },
            Self::Resource(place) => LabelCarrierRef::Resource(place),
            Self::WithinResource(place) => LabelCarrierRef::WithinResource(place),
            Self::AnyResource => LabelCarrierRef::AnyResource,
        }
    }
}

/// Entities are hashed by their ids alone, as those of different types hardly ever have the same.
impl Hash for LabelCarrierRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        fn id(uid: &EntityUID) -> &str {
            uid.eid().as_ref()
        }
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Task(task) => task.hash(state),
            Self::Delegation(delegation) => delegation.hash(state),
            Self::Pair { actor, root } => (id(actor), root.map(id)).hash(state),
            Self::Resource(place) | Self::WithinResource(place) => id(place).hash(state),
            Self::AnyResource => {}
        }
    }
}

/// Hashes like [`LabelCarrierRef`], so that either finds the other.
impl Hash for LabelCarrier {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl LabelCarrierRef<'_> {
    /// Whether its labels expire, rather than last as long as it exists.
    pub fn is_timed(self) -> bool {
        !matches!(self, Self::Task(_) | Self::Delegation(_))
    }

    /// Whether it is a pair of somebody with itself.
    pub fn is_own_pair(self) -> bool {
        matches!(self, Self::Pair { actor, root: Some(root) } if actor == root)
    }

    /// Whether it stands for resources.
    pub fn is_resource(self) -> bool {
        matches!(
            self,
            Self::Resource(_) | Self::WithinResource(_) | Self::AnyResource
        )
    }

    /// The owned form.
    pub fn to_carrier(self) -> LabelCarrier {
        match self {
            Self::Task(id) => LabelCarrier::Task(id.clone()),
            Self::Delegation(id) => LabelCarrier::Delegation(id.clone()),
            Self::Pair { actor, root } => LabelCarrier::Pair {
                actor: actor.clone(),
                root: root.cloned(),
            },
            Self::Resource(place) => LabelCarrier::Resource(place.clone()),
            Self::WithinResource(place) => LabelCarrier::WithinResource(place.clone()),
            Self::AnyResource => LabelCarrier::AnyResource,
        }
    }
}

impl Equivalent<LabelCarrier> for LabelCarrierRef<'_> {
    fn equivalent(&self, key: &LabelCarrier) -> bool {
        *self == key.as_ref()
    }
}

/// The labels of the workflow of one call, besides those of its session. `None` is no label.
#[derive(Debug, Clone, Default)]
pub struct CarriedLabels {
    /// The labels acquired by calls of the task.
    pub task: Option<Arc<Labels>>,
    /// The labels acquired by calls under any stored delegation of the chain.
    pub delegation: Option<Arc<Labels>>,
    /// The labels that the actors of the call recently acquired for the same root, as far as they apply to
    /// this call.
    pub recent: Option<Arc<Labels>>,
}

impl CarriedLabels {
    /// The parts that have labels.
    pub fn parts(&self) -> impl Iterator<Item = &Arc<Labels>> {
        let parts = [&self.task, &self.delegation, &self.recent];
        parts.into_iter().flatten()
    }
}

/// The context attributes that show labels of other carriers than the session.
pub const SHOWN_IN: [&str; 4] = ["labels", "task", "delegation", "recent"];

/// Whether any policy of the snapshot can see labels of other carriers than the session.
pub fn are_read(snapshot: &Snapshot) -> bool {
    SHOWN_IN.iter().any(|name| snapshot.reads_context(name))
}

/// The empty set.
pub fn no_labels() -> Arc<Labels> {
    static NONE: LazyLock<Arc<Labels>> = LazyLock::new(|| Arc::new(Labels::new(Vec::new())));
    Arc::clone(&NONE)
}

/// The labels of a call whose workflow is unknown: assumed to have read untrusted and private data.
pub fn unknown_origin() -> Arc<Labels> {
    static UNKNOWN: LazyLock<Arc<Labels>> = LazyLock::new(|| {
        Arc::new(Labels::new(
            UNKNOWN_ORIGIN.map(SmolStr::new_static).to_vec(),
        ))
    });
    Arc::clone(&UNKNOWN)
}

/// The labels of an unknown origin.
pub const UNKNOWN_ORIGIN: [&str; 2] = ["untrusted", "private"];

/// The union of labels; allocates nothing if one part contains all others.
pub fn union<L: Borrow<Arc<Labels>>>(parts: impl IntoIterator<Item = L>) -> Option<Arc<Labels>> {
    let all = |all: Arc<Labels>, part: L| {
        let part = part.borrow();
        if all.items().len() < part.items().len() {
            part.with(all.items())
        } else {
            all.with(part.items())
        }
    };
    let mut parts = parts.into_iter();
    let first = Arc::clone(parts.next()?.borrow());
    Some(parts.fold(first, all))
}

#[cfg(test)]
#[path = "labels_tests.rs"]
mod tests;
