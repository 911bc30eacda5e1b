//! The stored entities that can be reached from one request.
//!
//! A candidate may read more of an entity than the bundle that decided, so a capsule does not hold what was read but
//! what can be reached: the entities that the request names, and from these over parents, attributes and tags.

use std::collections::HashSet;
use std::sync::Arc;

use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;

use super::binary::{CapsuleContentError, Reader, Writer};
use super::slice::AuthoritySlice;
use crate::authn::caller::Caller;
use crate::domain::authority::state::Authority;
use crate::domain::decide::listing::ListedItem;
use crate::domain::request::call_context::CallContext;
use crate::domain::schema::{self, TYPES};
use smol_str::SmolStr;

/// The most entities that are looked at for one capsule.
const MAX_VISITED: usize = 1_024;
/// The most stored entities in one capsule.
const MAX_ENTITIES: usize = 128;

/// The entities that were put over the control API, as a capsule looks at them.
pub trait StoredLookup {
    /// The entity in Cedar's JSON form, whether it is in force or the bundle sets it aside.
    fn stored(&self, uid: &EntityUID) -> Option<&Arc<str>>;
    /// All stored entities of the type `Mcp::Resource`; `None` if there are more than `most`.
    fn resources(&self, most: usize) -> Option<Vec<EntityUID>>;
}

/// Stored entities in the form of a capsule: each by its uid, ordered, in Cedar's JSON form.
///
/// They stay encoded: replay meets the same ones again and again, and the bytes identify them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct StoredForms(Vec<u8>);

/// What can be reached from one request.
#[derive(Debug, Clone, Default)]
pub struct ReachableEntities<'a> {
    found: Vec<(EntityUID, &'a Arc<str>)>,
    /// Whether some did not fit.
    pub(super) is_cut: bool,
}

impl<'a> ReachableEntities<'a> {
    /// From a call: its parties, its server, tool and prompt, its task and approvals, and those who may approve it.
    /// The resources that its texts name are worked out by the decision alone, so all stored resources are taken.
    pub fn from_call(
        stored: &'a impl StoredLookup,
        snapshot: &Snapshot,
        authority: &Authority,
        approvers: &[EntityUID],
        (call, caller): (&CallContext, &Caller),
    ) -> Self {
        Self::from_list(stored, snapshot, authority, approvers, (call, caller), &[])
    }

    /// From a list: what can be reached from the call that lists, and the entries that are entities.
    pub fn from_list(
        stored: &'a impl StoredLookup,
        snapshot: &Snapshot,
        authority: &Authority,
        approvers: &[EntityUID],
        (call, caller): (&CallContext, &Caller),
        listed: &[ListedItem],
    ) -> Self {
        let slice = AuthoritySlice::of_call(authority, call);
        let server = &call.operation.server;
        let mut seeds = vec![
            call.subject.entity.clone(),
            schema::server_uid(server),
            schema::entity_uid(&TYPES.gateway, SmolStr::new(&caller.id)),
        ];
        seeds.extend(call.operation.kind.named_entity(server));
        seeds.extend(listed.iter().filter_map(|item| match item {
            ListedItem::Tool { name, .. } => Some(schema::tool_uid(server, name)),
            ListedItem::Prompt(name) => Some(schema::prompt_uid(server, name)),
            // All stored resources are taken.
            ListedItem::Resource(_) | ListedItem::Template(_) => None,
        }));
        if let Some(chain) = &call.actor_chain {
            seeds.extend(chain.root.iter().chain(&chain.actors).cloned());
        }
        for delegation in slice.delegations.values() {
            seeds.extend([delegation.from.clone(), delegation.to.clone()]);
        }
        for task in slice.tasks.values() {
            seeds.extend([task.uid(), task.agent.clone(), task.person.clone()]);
        }
        let words = slice.approvals.values().filter_map(|it| it.word.as_ref());
        for word in words {
            let gateway = word.identity.as_ref().map(|it| it.gateway.clone());
            seeds.extend([word.by.clone()].into_iter().chain(gateway));
        }
        seeds.extend_from_slice(approvers);
        Self::from_seeds(stored, snapshot, seeds, true)
    }

    /// From Cedar's own request: every entity that it names.
    pub fn from_request<'u>(
        stored: &'a impl StoredLookup,
        snapshot: &Snapshot,
        named: impl IntoIterator<Item = &'u EntityUID>,
    ) -> Self {
        let seeds = named.into_iter().cloned().collect();
        Self::from_seeds(stored, snapshot, seeds, false)
    }

    fn from_seeds(
        stored: &'a impl StoredLookup,
        snapshot: &Snapshot,
        mut open: Vec<EntityUID>,
        with_resources: bool,
    ) -> Self {
        let mut reached = Self::default();
        if with_resources {
            match stored.resources(MAX_ENTITIES / 2) {
                Some(resources) => open.extend(resources),
                None => reached.is_cut = true,
            }
        }
        let mut seen: HashSet<EntityUID> = HashSet::new();
        while let Some(uid) = open.pop() {
            if seen.contains(&uid) {
                continue;
            }
            if seen.len() == MAX_VISITED {
                reached.is_cut = true;
                break;
            }
            if let Some(json) = stored.stored(&uid) {
                if reached.found.len() == MAX_ENTITIES {
                    reached.is_cut = true;
                    break;
                }
                reached.found.push((uid.clone(), json));
            }
            if let Some(entity) = snapshot.entity(&uid) {
                entity.for_each_reference(|referred| open.push(referred));
            }
            seen.insert(uid);
        }
        reached.found.sort_by(|(a, _), (b, _)| a.cmp(b));
        reached
    }

    pub(super) fn write(&self, out: &mut Writer) {
        if self.found.is_empty() {
            // The list without items, as nearly always.
            return out.bytes(&[0]);
        }
        let mut forms = Writer::default();
        forms.list(self.found.iter(), |out, (uid, json)| {
            out.uid(uid);
            out.text(json);
        });
        out.bytes(&forms.0);
    }
}

impl StoredForms {
    pub(super) fn read(bytes: &mut Reader<'_>) -> Result<Self, CapsuleContentError> {
        Ok(Self(bytes.bytes()?.to_vec()))
    }

    /// Each entity with its JSON form.
    ///
    /// # Errors
    ///
    /// [`CapsuleContentError`] if the bytes are damaged.
    pub fn entities(&self) -> Result<Vec<(EntityUID, &str)>, CapsuleContentError> {
        let mut bytes = Reader::new(&self.0);
        let entities = bytes.list(|bytes| Ok((bytes.uid()?, bytes.text()?)))?;
        bytes.end()?;
        Ok(entities)
    }
}
