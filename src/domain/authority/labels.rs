//! What the work that a call belongs to has read, beside its session.
//!
//! A session has a name, and whoever chooses the name can choose another. So what calls bring is kept with everything else
//! that they carry, too ([`Carrier`]): with the task, with each stored delegation of the chain, and with who acts for whom.
//! A decision sees each of these parts and their union ([`Carried`]).

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use callgate_engine::cedar::EntityUID;
use hashbrown::Equivalent;
use smol_str::SmolStr;

use crate::domain::authority::session::CedarSet;

/// Labels, and their Cedar value.
pub type Labels = CedarSet<SmolStr>;

/// What labels are kept with, beside sessions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LabelCarrier {
    /// A task, by its id.
    Task(SmolStr),
    /// A stored delegation, by its id.
    Delegation(SmolStr),
    /// Somebody who acts, and on whose behalf everything happens.
    Pair {
        /// Who acts.
        actor: EntityUID,
        /// For whom; `None` if for itself.
        root: Option<EntityUID>,
    },
    /// A place that was written to.
    Resource(EntityUID),
    /// Something within this place was written to.
    WithinResource(EntityUID),
    /// Every place, because there was no room for one more.
    AnyResource,
}

/// A [`Carrier`] that is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LabelCarrierRef<'a> {
    /// A task.
    Task(&'a SmolStr),
    /// A stored delegation.
    Delegation(&'a SmolStr),
    /// Who acts for whom.
    Pair {
        /// Who acts.
        actor: &'a EntityUID,
        /// For whom.
        root: Option<&'a EntityUID>,
    },
    /// A place that was written to.
    Resource(&'a EntityUID),
    /// Something within this place was written to.
    WithinResource(&'a EntityUID),
    /// Every place.
    AnyResource,
}

impl LabelCarrier {
    /// The same, borrowed.
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

/// As [`CarrierRef`], so that one is found by the other.
impl Hash for LabelCarrier {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl LabelCarrierRef<'_> {
    /// Whether its labels count for a time, rather than as long as it is there.
    pub fn is_timed(self) -> bool {
        !matches!(self, Self::Task(_) | Self::Delegation(_))
    }

    /// Whether it is a place, or stands for some.
    pub fn is_resource(self) -> bool {
        matches!(
            self,
            Self::Resource(_) | Self::WithinResource(_) | Self::AnyResource
        )
    }

    /// The same, owned.
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

/// What is known of the work of one call, beside its session. `None` is no label.
#[derive(Debug, Clone, Default)]
pub struct CarriedLabels {
    /// What calls of its task have brought.
    pub task: Option<Arc<Labels>>,
    /// What calls under any of its stored delegations have brought.
    pub delegation: Option<Arc<Labels>>,
    /// What those who act in it have brought lately, each for the same root, as far as that counts for this call.
    pub recent: Option<Arc<Labels>>,
}

impl CarriedLabels {
    /// Every part that there is.
    pub fn parts(&self) -> impl Iterator<Item = &Arc<Labels>> {
        let parts = [&self.task, &self.delegation, &self.recent];
        parts.into_iter().flatten()
    }
}

/// No labels.
pub fn none() -> Arc<Labels> {
    static NONE: LazyLock<Arc<Labels>> = LazyLock::new(|| Arc::new(Labels::new(Vec::new())));
    Arc::clone(&NONE)
}

/// What a call counts as of whose work nothing is known: it has read what strangers wrote, and what is private.
pub fn unknown() -> Arc<Labels> {
    static UNKNOWN: LazyLock<Arc<Labels>> = LazyLock::new(|| {
        Arc::new(Labels::new(
            UNKNOWN_ORIGIN.map(SmolStr::new_static).to_vec(),
        ))
    });
    Arc::clone(&UNKNOWN)
}

/// The labels of [`unknown`].
pub const UNKNOWN_ORIGIN: [&str; 2] = ["untrusted", "private"];

/// The labels of all of them. Nothing is made anew where one of them has every label.
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
