//! The stored entities that can be reached from one request.
//!
//! A candidate may read more of an entity than the bundle that decided, so a capsule does not hold what was read but
//! what can be reached: the entities that the request names, and from these over parents, attributes and tags. A candidate
//! may also reach further than the bundle that decided, so a capsule says of which entities it is known that they were not
//! stored ([`AbsentEntities`]).

use std::collections::HashSet;
use std::sync::Arc;

use callgate_engine::Snapshot;
use callgate_engine::cedar::EntityUID;

use super::binary::{CapsuleContentError, Reader, Writer};
use super::slice::AuthoritySlice;
use crate::authn::caller::Caller;
use crate::config::claims::ClaimMapping;
use crate::domain::authority::state::Authority;
use crate::domain::decide::described_call::stated;
use crate::domain::decide::listing::ListedItem;
use crate::domain::registration::UNASSIGNED;
use crate::domain::request::call_context::CallContext;
use crate::domain::request::claims;
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

/// What a bundle adds to the entities that a call names.
#[derive(Debug, Clone, Copy)]
pub struct AddedByBundle<'b> {
    /// The users whom policies about approval name.
    pub approvers: &'b [EntityUID],
    /// How claims become groups.
    pub claims: &'b ClaimMapping,
}

/// Stored entities in the form of a capsule: each by its uid, ordered, in Cedar's JSON form.
///
/// They stay encoded: replay meets the same ones again and again, and the bytes identify them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct StoredForms(Vec<u8>);

/// The entities of which a capsule says that they were not stored when it was decided. Those that the request itself names
/// are not listed: a capsule holds the stored ones among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AbsentEntities {
    /// Whether nothing at all was stored.
    pub(super) is_everything: bool,
    /// Those that were reached over references.
    pub(super) listed: HashSet<EntityUID>,
}

/// What can be reached from one request.
#[derive(Debug, Clone, Default)]
pub struct ReachableEntities<'a> {
    found: Vec<(EntityUID, &'a Arc<str>)>,
    /// What was reached over references and is not stored; `None` if nothing is stored at all.
    absent: Option<Vec<EntityUID>>,
    /// Whether some did not fit.
    pub(super) is_cut: bool,
}

impl<'a> ReachableEntities<'a> {
    /// From a call: its parties, its server, tool and prompt, its task and approvals, those who may approve it, and the groups
    /// of its claims. The resources that its texts name are worked out by the decision alone, so all stored resources are
    /// taken.
    pub fn from_call(
        stored: &'a impl StoredLookup,
        snapshot: &Snapshot,
        authority: &Authority,
        added: AddedByBundle<'_>,
        (call, caller): (&CallContext, &Caller),
    ) -> Self {
        Self::from_list(stored, snapshot, authority, added, (call, caller), &[])
    }

    /// From a list: what can be reached from the call that lists, and the entries that are entities.
    pub fn from_list(
        stored: &'a impl StoredLookup,
        snapshot: &Snapshot,
        authority: &Authority,
        added: AddedByBundle<'_>,
        (call, caller): (&CallContext, &Caller),
        listed: &[ListedItem],
    ) -> Self {
        let slice = AuthoritySlice::of_call(authority, call);
        let named = named_by_call(&slice, (call, caller), listed);
        let added = added.to_call(&slice, call);
        Self::from_seeds(stored, snapshot, (named, added), true)
    }

    /// From Cedar's own request: every entity that it names.
    pub fn from_request<'u>(
        stored: &'a impl StoredLookup,
        snapshot: &Snapshot,
        named: impl IntoIterator<Item = &'u EntityUID>,
    ) -> Self {
        let named = named.into_iter().cloned().collect();
        Self::from_seeds(stored, snapshot, (named, Vec::new()), false)
    }

    /// From what the request names, and what the bundle adds to that.
    fn from_seeds(
        stored: &'a impl StoredLookup,
        snapshot: &Snapshot,
        (named, added): (Vec<EntityUID>, Vec<EntityUID>),
        with_resources: bool,
    ) -> Self {
        let mut reached = Self::default();
        let mut absent = Vec::new();
        let mut walk = Walk::new(named);
        walk.add(added);
        if with_resources {
            match stored.resources(MAX_ENTITIES / 2) {
                Some(resources) => walk.add(resources),
                None => reached.is_cut = true,
            }
        }
        while let Some((uid, is_named)) = walk.next() {
            match stored.stored(&uid) {
                Some(_) if reached.found.len() == MAX_ENTITIES => {
                    reached.is_cut = true;
                    break;
                }
                Some(json) => reached.found.push((uid.clone(), json)),
                None if !is_named => absent.push(uid.clone()),
                None => {}
            }
            walk.follow(snapshot, uid);
        }
        reached.is_cut |= walk.is_cut;
        reached.found.sort_by(|(a, _), (b, _)| a.cmp(b));
        reached.absent = Some(absent);
        reached
    }

    pub(super) fn write(&self, out: &mut Writer) {
        if self.found.is_empty() {
            // The list without items, as nearly always.
            out.bytes(&[0]);
        } else {
            let mut forms = Writer::default();
            forms.list(self.found.iter(), |out, (uid, json)| {
                out.uid(uid);
                out.text(json);
            });
            out.bytes(&forms.0);
        }
        out.maybe(self.absent.as_ref(), |out, absent| out.uids(absent));
    }
}

impl AbsentEntities {
    /// Of a capsule that does not say it.
    pub(super) fn unknown() -> Self {
        Self::default()
    }

    pub(super) fn read(bytes: &mut Reader<'_>) -> Result<Self, CapsuleContentError> {
        let listed = bytes.maybe(Reader::uids)?;
        Ok(Self {
            is_everything: listed.is_none(),
            listed: listed.into_iter().flatten().collect(),
        })
    }
}

impl AddedByBundle<'_> {
    pub(super) fn to_call(self, slice: &AuthoritySlice<'_>, call: &CallContext) -> Vec<EntityUID> {
        let words = slice.approvals.values().filter_map(|it| it.word.as_ref());
        let stated = stated(call).map(|(_, claims)| claims);
        let claims = stated.chain(words.map(|word| &word.claims));
        let groups = claims.filter(|claims| !claims.is_empty()).flat_map(|it| {
            // Claims that cannot be read deny.
            let asserted = claims::read(it, self.claims).unwrap_or_default();
            asserted.groups
        });
        // A registration that is proposed for observed calls names no other owner.
        let owner = unassigned();
        let added = groups.chain(self.approvers.iter().cloned());
        added.chain([owner]).collect()
    }
}

/// Whom registrations name that have no owner yet.
pub(super) fn unassigned() -> EntityUID {
    schema::entity_uid(&TYPES.user, UNASSIGNED)
}

pub(super) fn is_resource(uid: &EntityUID) -> bool {
    *uid.entity_type() == TYPES.resource
}

/// The entities that a call names, and that the authority names on which it relies.
pub(super) fn named_by_call<'l>(
    slice: &AuthoritySlice<'_>,
    (call, caller): (&CallContext, &Caller),
    listed: impl IntoIterator<Item = &'l ListedItem>,
) -> Vec<EntityUID> {
    let server = &call.operation.server;
    let mut named = vec![
        call.subject.entity.clone(),
        schema::server_uid(server),
        schema::entity_uid(&TYPES.gateway, SmolStr::new(&caller.id)),
    ];
    named.extend(call.operation.kind.named_entity(server));
    named.extend(listed.into_iter().filter_map(|item| match item {
        ListedItem::Tool { name, .. } => Some(schema::tool_uid(server, name)),
        ListedItem::Prompt(name) => Some(schema::prompt_uid(server, name)),
        // All stored resources are taken.
        ListedItem::Resource(_) | ListedItem::Template(_) => None,
    }));
    if let Some(chain) = &call.actor_chain {
        named.extend(chain.root.iter().chain(&chain.actors).cloned());
    }
    for delegation in slice.delegations.values() {
        named.extend([delegation.from.clone(), delegation.to.clone()]);
    }
    for task in slice.tasks.values() {
        named.extend([task.uid(), task.agent.clone(), task.person.clone()]);
    }
    let words = slice.approvals.values().filter_map(|it| it.word.as_ref());
    for word in words {
        let gateway = word.identity.as_ref().map(|it| it.gateway.clone());
        named.extend([word.by.clone()].into_iter().chain(gateway));
    }
    named
}

/// A walk over references, each entity once. What the request names comes first.
pub(super) struct Walk {
    named: std::vec::IntoIter<EntityUID>,
    open: Vec<EntityUID>,
    seen: HashSet<EntityUID>,
    /// Whether it ended before everything was seen.
    pub(super) is_cut: bool,
}

impl Walk {
    pub(super) fn new(named: Vec<EntityUID>) -> Self {
        Self {
            named: named.into_iter(),
            open: Vec::new(),
            seen: HashSet::new(),
            is_cut: false,
        }
    }

    pub(super) fn add(&mut self, uids: impl IntoIterator<Item = EntityUID>) {
        self.open.extend(uids);
    }

    /// The next entity, and whether the request names it.
    pub(super) fn next(&mut self) -> Option<(EntityUID, bool)> {
        loop {
            let named = self.named.next().map(|uid| (uid, true));
            let (uid, is_named) = named.or_else(|| Some((self.open.pop()?, false)))?;
            if self.seen.contains(&uid) {
                continue;
            }
            if self.seen.len() == MAX_VISITED {
                self.is_cut = true;
                return None;
            }
            self.seen.insert(uid.clone());
            return Some((uid, is_named));
        }
    }

    /// Goes on to what an entity refers to.
    pub(super) fn follow(&mut self, snapshot: &Snapshot, uid: EntityUID) {
        if let Some(entity) = snapshot.entity(&uid) {
            entity.for_each_reference(|referred| self.open.push(referred));
        }
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
