//! Principals of requests that differ in everything else: what is looked up of them once.

use crate::cedar::EntityUID;
use crate::index::PrincipalPolicies;
use crate::key::EntityRef;
use crate::overlay::Overlay;
use crate::snapshot::Snapshot;
use crate::view::KnownEntity;

/// Principals, with what the entities and the scopes of the policies say of them: for requests with the same overlays.
#[derive(Debug)]
pub struct Principals<'a> {
    pub(crate) overlays: &'a [Overlay],
    pub(crate) each: Vec<KnownPrincipal<'a>>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct KnownPrincipal<'a> {
    pub(crate) uid: &'a EntityUID,
    pub(crate) entity: KnownEntity<'a>,
    pub(crate) policies: PrincipalPolicies<'a>,
}

impl Snapshot {
    /// Looks up principals once for several requests: [`Snapshot::evaluate_known`].
    pub fn principals<'a>(
        &'a self,
        uids: &[&'a EntityUID],
        overlays: &'a [Overlay],
    ) -> Principals<'a> {
        let view = self.view(overlays);
        let known = |uid: &&'a EntityUID| {
            let entity = view.known_entity(EntityRef::Given(uid));
            let policies = self.index().of_principal(&entity.in_request(view));
            KnownPrincipal {
                uid,
                entity,
                policies,
            }
        };
        Principals {
            overlays,
            each: uids.iter().map(known).collect(),
        }
    }
}
