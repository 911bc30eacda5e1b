//! What one request adds to the stored entities.

use std::borrow::Cow;
use std::collections::HashSet;

use foldhash::fast::RandomState;
use smol_str::SmolStr;

use crate::cedar::{EntityUID, Value};
use crate::error::RequestError;
use crate::key::is_same_uid;

/// Additions of one request to one entity. They never replace anything: a stored attribute or tag of
/// the same name wins. Several overlays of one entity are one with all that they add; if they contradict each other, every
/// policy that applies fails.
#[derive(Debug, Clone)]
pub struct Overlay {
    /// The entity. It need not be stored.
    pub uid: EntityUID,
    /// Additional parents.
    pub parents: Vec<EntityUID>,
    /// Attributes, used where the stored entity has none of that name.
    pub attributes: Vec<(SmolStr, Value)>,
    /// Tags, used where the stored entity has none of that name.
    pub tags: Vec<(SmolStr, Value)>,
}

impl Overlay {
    /// An overlay that makes an entity known and adds nothing else.
    pub fn bare(uid: EntityUID) -> Self {
        Self {
            uid,
            parents: Vec::new(),
            attributes: Vec::new(),
            tags: Vec::new(),
        }
    }

    /// Adds what another overlay of the same entity adds. All of it is taken but a value that contradicts one that is there.
    ///
    /// # Errors
    ///
    /// [`RequestError::Invalid`] for the first attribute or tag that has two values.
    pub fn merge(&mut self, other: Self) -> Result<(), RequestError> {
        for parent in other.parents {
            if !self.parents.contains(&parent) {
                self.parents.push(parent);
            }
        }
        let of_attributes = add_values(&mut self.attributes, other.attributes);
        let of_tags = add_values(&mut self.tags, other.tags);
        let contradiction = of_attributes.map(|name| ("attribute", name));
        let contradiction = contradiction.or(of_tags.map(|name| ("tag", name)));
        contradiction.map_or(Ok(()), |(what, name)| {
            let uid = &self.uid;
            let fault = format!("the {what} `{name}` of `{uid}` is said to have two values");
            Err(RequestError::Invalid(fault))
        })
    }
}

/// Adds values by name. Returns the first name that has another value already.
fn add_values(known: &mut Vec<(SmolStr, Value)>, more: Vec<(SmolStr, Value)>) -> Option<SmolStr> {
    let mut contradicted = None;
    for (name, value) in more {
        match known.iter().find(|(it, _)| *it == name) {
            None => known.push((name, value)),
            Some((_, same)) if *same == value => {}
            Some(_) => contradicted = contradicted.or(Some(name)),
        }
    }
    contradicted
}

/// Overlays with one for each entity, and the first contradiction among those that were united.
pub(crate) struct UnitedOverlays {
    /// `None` if each entity has one anyway, as nearly always.
    united: Option<Vec<Overlay>>,
    pub(crate) contradiction: Option<RequestError>,
}

impl UnitedOverlays {
    /// Unites the overlays of one entity. Nothing is copied where each entity has one.
    pub(crate) fn new(overlays: &[&Overlay]) -> Self {
        if is_one_each(overlays) {
            return Self {
                united: None,
                contradiction: None,
            };
        }
        let mut all: Vec<Overlay> = Vec::with_capacity(overlays.len());
        let mut contradiction = None;
        for &overlay in overlays {
            match all.iter_mut().find(|it| it.uid == overlay.uid) {
                None => all.push(overlay.clone()),
                Some(known) => {
                    let fault = known.merge(overlay.clone()).err();
                    contradiction = contradiction.or(fault);
                }
            }
        }
        Self {
            united: Some(all),
            contradiction,
        }
    }

    /// These, or else those that were given.
    pub(crate) fn or_given<'a>(&'a self, given: &'a [&'a Overlay]) -> Cow<'a, [&'a Overlay]> {
        match &self.united {
            None => Cow::Borrowed(given),
            Some(united) => Cow::Owned(united.iter().collect()),
        }
    }
}

/// As many overlays as are compared with each other; among more, they are looked up.
const FEW: usize = 8;

/// Whether no two overlays are of one entity.
pub(crate) fn is_one_each(overlays: &[&Overlay]) -> bool {
    if overlays.len() > FEW {
        let mut seen: HashSet<&EntityUID, RandomState> = HashSet::default();
        return overlays.iter().all(|overlay| seen.insert(&overlay.uid));
    }
    let mut rest = overlays;
    while let Some((overlay, others)) = rest.split_first() {
        let is_same = |other: &&Overlay| is_same_uid(&other.uid, &overlay.uid);
        if others.iter().any(is_same) {
            return false;
        }
        rest = others;
    }
    true
}

/// An entity as a request describes it, before it is held against the schema
/// ([`Snapshot::overlay`](crate::Snapshot::overlay)).
#[derive(Debug, Clone)]
pub struct AssertedEntity {
    /// The entity.
    pub uid: EntityUID,
    /// Its attributes, none of them verified.
    pub attributes: Vec<(SmolStr, Value)>,
}

#[cfg(test)]
#[path = "overlay_tests.rs"]
mod tests;
