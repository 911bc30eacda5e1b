//! Whether another bundle than the one that decided reaches entities of which a capsule does not know whether they were stored.

use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;

use super::entities::{AddedByBundle, Walk, is_resource, named_by_call, unassigned};
use super::slice::AuthoritySlice;
use super::{Capsule, CapsuleRequest};
use crate::domain::decide::is_authorized::ParcRequest;

impl Capsule {
    /// Whether everything that `snapshot` reaches from the request is known: the snapshot has it, or it was not stored.
    /// `snapshot` holds the stored entities of the capsule.
    pub fn knows_what_is_reached(&self, snapshot: &Snapshot, added: AddedByBundle<'_>) -> bool {
        if self.absent.is_everything {
            return true;
        }
        let (named, added) = self.seeds(added);
        let is_call = added.is_some();
        let mut walk = Walk::new(named);
        if let Some(added) = added {
            walk.add(added);
            let forms = self.entities.entities().unwrap_or_default();
            let stored = forms.into_iter().map(|(uid, _)| uid);
            walk.add(stored.filter(is_resource));
        }
        while let Some((uid, is_named)) = walk.next() {
            // A capsule of a call has all stored resources.
            // Nobody is called that: the owner of what was proposed. Capsules of before do not say so.
            let is_known = is_named
                || uid == unassigned()
                || snapshot.contains(&uid)
                || self.absent.listed.contains(&uid)
                || is_call && is_resource(&uid);
            if !is_known {
                return false;
            }
            walk.follow(snapshot, uid);
        }
        !walk.is_cut
    }

    /// The entities that the request names, and for a call those that the bundle adds.
    fn seeds(&self, added: AddedByBundle<'_>) -> (Vec<EntityUID>, Option<Vec<EntityUID>>) {
        let (call, listed) = match &self.request {
            CapsuleRequest::Call(call, _) => (call, [].as_slice()),
            CapsuleRequest::List(call, _, entries) => (call, entries.as_slice()),
            CapsuleRequest::Cedar(request) => return (request.named_entities(), None),
            CapsuleRequest::Search(candidates) => {
                let requests = candidates.iter().map(|candidate| &candidate.request);
                return (
                    requests.flat_map(ParcRequest::named_entities).collect(),
                    None,
                );
            }
        };
        let slice = AuthoritySlice::of_call(&self.authority, call);
        let listed = listed.iter().map(|entry| &entry.item);
        let named = named_by_call(&slice, (call, &self.caller), listed);
        (named, Some(added.to_call(&slice, call)))
    }
}
