//! Entities as one request sees them, looked at where they rest: nothing is unpacked, nothing copied.

use std::cell::OnceCell;

use cedar_policy_core::ast::{Entity, EntityType, EntityUID};

use crate::engine::evaluate::Overlay;
use crate::engine::packed::{Key, KeyRef, Packed, Peek};
use crate::engine::quick::Quick;
use crate::engine::snapshot::Snapshot;

/// A uid in either of the two forms in which it turns up.
#[derive(Debug, Clone, Copy)]
pub(super) enum Name<'a> {
    Stored(&'a Key),
    Given(&'a EntityUID),
}

/// What a request may look up: what is stored, and what it brings along.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) overlays: &'a [Overlay],
}

/// One entity, stored or brought along or both, or only a name.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) name: Name<'a>,
    sight: Sight<'a>,
    packed: Option<&'a Packed>,
    overlay: Option<&'a Overlay>,
    action: Option<&'a Entity>,
    ancestors: OnceCell<Vec<Name<'a>>>,
}

impl<'a> Sight<'a> {
    pub(super) fn view(self, name: Name<'a>) -> View<'a> {
        let store = self.snapshot.entities();
        let action = match name {
            Name::Given(uid) => self
                .snapshot
                .action(uid)
                .map(|action| action.entity.as_ref()),
            Name::Stored(_) => None,
        };
        View {
            name,
            sight: self,
            packed: self
                .key_of(name)
                .and_then(|key| store.find_key(key.ty, key.eid)),
            overlay: self
                .overlays
                .iter()
                .find(|overlay| self.is_same(name, Name::Given(&overlay.uid))),
            action,
            ancestors: OnceCell::new(),
        }
    }

    pub(super) fn is_same(self, one: Name<'_>, other: Name<'_>) -> bool {
        match (one, other) {
            (Name::Stored(one), Name::Stored(other)) => one == other,
            (Name::Given(one), Name::Given(other)) => one == other,
            (Name::Stored(key), Name::Given(uid)) | (Name::Given(uid), Name::Stored(key)) => {
                let eid: &str = uid.eid().as_ref();
                key.eid == eid && self.type_of_key(key) == uid.entity_type()
            }
        }
    }

    pub(super) fn type_of(self, name: Name<'a>) -> &'a EntityType {
        match name {
            Name::Stored(key) => self.type_of_key(key),
            Name::Given(uid) => uid.entity_type(),
        }
    }

    /// `None` for a uid of a type that nothing stored mentions.
    pub(super) fn key_of(self, name: Name<'a>) -> Option<KeyRef<'a>> {
        match name {
            Name::Stored(key) => Some(key.borrow()),
            Name::Given(uid) => self.snapshot.entities().key_of(uid),
        }
    }

    fn type_of_key(self, key: &Key) -> &'a EntityType {
        self.snapshot.entities().names().entity_type(key.ty)
    }
}

impl<'a> View<'a> {
    /// What is stored wins over what the request brings along.
    pub(super) fn attribute(&self, name: &str) -> Option<Quick<'a>> {
        let number = self
            .sight
            .snapshot
            .entities()
            .names()
            .attribute_number(name);
        let stored = self
            .packed
            .zip(number)
            .and_then(|(packed, number)| packed.peek(number));
        let added = || find(&self.overlay?.attributes, name);
        stored.map(Quick::from_stored).or_else(added)
    }

    pub(super) fn tag(&self, name: &str) -> Option<Quick<'a>> {
        let stored = self.packed.and_then(|packed| packed.peek_tag(name));
        let added = || find(&self.overlay?.tags, name);
        stored.map(Quick::from_stored).or_else(added)
    }

    pub(super) fn is_in(&self, other: Name<'a>) -> bool {
        self.sight.is_same(self.name, other)
            || self
                .ancestors()
                .iter()
                .any(|ancestor| self.sight.is_same(*ancestor, other))
    }

    pub(super) fn ancestors(&self) -> &[Name<'a>] {
        self.ancestors.get_or_init(|| {
            let store = self.sight.snapshot.entities();
            if let Some(action) = self.action {
                return action.ancestors().map(Name::Given).collect();
            }
            let mut ancestors: Vec<Name<'a>> = Vec::new();
            if let Some(packed) = self.packed {
                ancestors.extend(store.lineage(&packed.parents).map(Name::Stored));
            }
            for parent in self
                .overlay
                .into_iter()
                .flat_map(|overlay| &overlay.parents)
            {
                ancestors.push(Name::Given(parent));
                if let Some(packed) = store.find(parent) {
                    ancestors.extend(store.lineage(&packed.parents).map(Name::Stored));
                }
            }
            ancestors
        })
    }
}

fn find<'a>(
    values: &'a [(smol_str::SmolStr, cedar_policy_core::ast::Value)],
    wanted: &str,
) -> Option<Quick<'a>> {
    values
        .iter()
        .find(|(name, _)| name == wanted)
        .map(|(_, value)| Quick::from_value(value))
}

impl<'a> Quick<'a> {
    fn from_stored(peek: Peek<'a>) -> Self {
        match peek {
            Peek::Bool(bool) => Self::Bool(bool),
            Peek::Long(long) => Self::Long(long),
            Peek::String(text) => Self::String(text),
            Peek::Entity(key) => Self::Entity(Name::Stored(key)),
            Peek::Shared(value) => Self::from_value(value),
        }
    }
}
