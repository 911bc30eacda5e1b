//! Entities as one request sees them: stored ones and the request's overlays, nothing unpacked or copied.

use std::cell::OnceCell;

use smallvec::SmallVec;
use smol_str::SmolStr;

use crate::actions::Actions;
use crate::cedar::Value;
use crate::condition::AttributeName;
use crate::interner::TypeNo;
use crate::key::{EntityKeyRef, EntityRef, HashedKey, is_same_uid};
use crate::overlay::Overlay;
use crate::packed::{PackedEntity, Parent};
use crate::store::{EntityStore, USUAL_ANCESTORS};
use crate::value::ValueRef;

/// All entities that a request can look up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestView<'a> {
    pub(crate) store: &'a EntityStore,
    pub(crate) actions: &'a Actions,
    pub(crate) overlays: &'a [&'a Overlay],
}

/// One entity: stored, in an overlay, both, or neither and only named.
#[derive(Debug)]
pub(crate) struct EntityView<'a> {
    pub(crate) uid: EntityRef<'a>,
    request: RequestView<'a>,
    /// `None` for an entity of a type that no stored entity and no policy mentions.
    key: Option<HashedKey<'a>>,
    packed: Option<PackedEntity<'a>>,
    overlay: Option<&'a Overlay>,
    ancestors: Ancestors<'a>,
}

/// The ancestors of an entity: looked up when they are first asked for, or before for several requests.
#[derive(Debug)]
enum Ancestors<'a> {
    WhenAsked(OnceCell<AncestorList<'a>>),
    Known(&'a [Ancestor<'a>]),
}

/// What was looked up of an entity, for all requests that add the same to it.
#[derive(Debug)]
pub(crate) struct KnownEntity<'a> {
    uid: EntityRef<'a>,
    key: Option<HashedKey<'a>>,
    packed: Option<PackedEntity<'a>>,
    overlay: Option<&'a Overlay>,
    ancestors: AncestorList<'a>,
}

/// As many entities as most calls name in their context: a target, a server, who delegated.
const MOST_LOOKED_UP: usize = 4;

/// Entities that conditions have read beside those of the request itself, each by the reference that led to it. The first few
/// are looked up once, whichever policies ask.
#[derive(Debug, Default)]
pub(crate) struct LookedUp<'a>([OnceCell<EntityView<'a>>; MOST_LOOKED_UP]);

/// Few entities have so many ancestors that a list of them is allocated.
type AncestorList<'a> = SmallVec<[Ancestor<'a>; USUAL_ANCESTORS]>;

#[derive(Debug, Clone, Copy)]
struct Ancestor<'a> {
    uid: EntityRef<'a>,
    /// The type and the hash of its key, if it has one.
    key: Option<(TypeNo, u64)>,
}

impl<'a> RequestView<'a> {
    pub(crate) fn entity(self, uid: EntityRef<'a>) -> EntityView<'a> {
        let key = self.key_of(uid);
        EntityView {
            uid,
            request: self,
            key,
            packed: key.and_then(|key| self.store.find_key(key)),
            overlay: self
                .overlays
                .iter()
                .copied()
                .find(|overlay| self.is_same(uid, EntityRef::Given(&overlay.uid)))
                // No request adds to an action.
                .filter(|overlay| self.actions.get(&overlay.uid).is_none()),
            ancestors: Ancestors::WhenAsked(OnceCell::new()),
        }
    }

    /// Looks up an entity with its ancestors.
    pub(crate) fn known_entity(self, uid: EntityRef<'a>) -> KnownEntity<'a> {
        let found = self.entity(uid);
        KnownEntity {
            uid,
            key: found.key,
            packed: found.packed,
            overlay: found.overlay,
            ancestors: found.look_up_ancestors(),
        }
    }

    pub(crate) fn is_same(self, one: EntityRef<'_>, other: EntityRef<'_>) -> bool {
        use EntityRef::{Given, Stored};
        match (one, other) {
            (Stored(one), Stored(other)) => one == other,
            (Given(one), Given(other)) => is_same_uid(one, other),
            (Stored(key), Given(uid)) | (Given(uid), Stored(key)) => {
                key.is(uid, self.store.interner())
            }
        }
    }

    /// `None` for a uid of a type that no stored entity and no policy mentions.
    fn key_of(self, uid: EntityRef<'a>) -> Option<HashedKey<'a>> {
        match uid {
            EntityRef::Stored(key) => Some(self.store.hasher().hashed(key.borrow())),
            EntityRef::Given(uid) => self.store.key_of(uid),
        }
    }
}

impl<'a> LookedUp<'a> {
    /// The entity as this request sees it, which is always the same request; `None` if there is no room for it.
    pub(crate) fn view(
        &self,
        request: RequestView<'a>,
        uid: EntityRef<'a>,
    ) -> Option<&EntityView<'a>> {
        for place in &self.0 {
            let view = place.get_or_init(|| request.entity(uid));
            if view.uid.is_identical(uid) {
                return Some(view);
            }
        }
        None
    }
}

impl<'a> EntityView<'a> {
    /// An attribute. A stored one wins over one of the overlay.
    pub(crate) fn attribute(&self, attribute: &AttributeName) -> Option<ValueRef<'a>> {
        let stored = self
            .packed
            .and_then(|packed| packed.attribute_value(attribute.number));
        let added = || find(&self.overlay?.attributes, &attribute.name);
        stored.map(ValueRef::from_packed).or_else(added)
    }

    /// A tag. A stored one wins over one of the overlay.
    pub(crate) fn tag(&self, name: &str) -> Option<ValueRef<'a>> {
        let stored = self.packed.and_then(|packed| packed.tag_value(name));
        let added = || find(&self.overlay?.tags, name);
        stored.map(ValueRef::from_packed).or_else(added)
    }

    /// Whether the entity is another, or has it as an ancestor.
    pub(crate) fn is_in(&self, other: EntityRef<'a>) -> bool {
        self.request.is_same(self.uid, other)
            || self
                .ancestors()
                .iter()
                .any(|ancestor| self.request.is_same(ancestor.uid, other))
    }

    pub(crate) fn key(&self) -> Option<HashedKey<'a>> {
        self.key
    }

    /// The keys of the ancestors that have one.
    pub(crate) fn ancestor_keys(&self) -> impl Iterator<Item = HashedKey<'a>> {
        self.ancestors().iter().filter_map(Ancestor::key)
    }

    fn ancestors(&self) -> &[Ancestor<'a>] {
        match &self.ancestors {
            Ancestors::WhenAsked(found) => found.get_or_init(|| self.look_up_ancestors()),
            Ancestors::Known(known) => known,
        }
    }

    fn look_up_ancestors(&self) -> AncestorList<'a> {
        let mut ancestors = AncestorList::new();
        if let Some(packed) = self.packed {
            self.add_above(packed, &mut ancestors);
        }
        let added = self.overlay.map_or(&[] as &[_], |overlay| &overlay.parents);
        for parent in added {
            let (uid, store) = (EntityRef::Given(parent), self.request.store);
            let hashed = store.key_of(parent);
            let key = hashed.map(|hashed| (hashed.key.ty, hashed.hash));
            ancestors.push(Ancestor { uid, key });
            if let Some(packed) = hashed.and_then(|hashed| store.find_key(hashed)) {
                self.add_above(packed, &mut ancestors);
            }
        }
        ancestors
    }

    fn add_above(&self, packed: PackedEntity<'a>, ancestors: &mut AncestorList<'a>) {
        let mut lineage = self.request.store.lineage(packed.parents());
        while let Some(Parent { key, hash }) = lineage.step() {
            ancestors.push(Ancestor {
                uid: EntityRef::Stored(key),
                key: Some((key.ty, *hash)),
            });
        }
    }
}

impl<'a> Ancestor<'a> {
    fn key(&self) -> Option<HashedKey<'a>> {
        let (ty, hash) = self.key?;
        let eid = match self.uid {
            EntityRef::Stored(key) => key.eid.as_str(),
            EntityRef::Given(uid) => uid.eid().as_ref(),
        };
        let key = EntityKeyRef { ty, eid };
        Some(HashedKey { key, hash })
    }
}

impl KnownEntity<'_> {
    /// The entity as a request sees it that adds to it what the one that it was looked up for did.
    pub(crate) fn in_request<'s>(&'s self, request: RequestView<'s>) -> EntityView<'s> {
        EntityView {
            uid: self.uid,
            request,
            key: self.key,
            packed: self.packed,
            overlay: self.overlay,
            ancestors: Ancestors::Known(&self.ancestors),
        }
    }
}

fn find<'a>(values: &'a [(SmolStr, Value)], wanted: &str) -> Option<ValueRef<'a>> {
    values
        .iter()
        .find(|(name, _)| name == wanted)
        .map(|(_, value)| ValueRef::from_value(value))
}
