//! The actions that requests can name.

use std::hash::BuildHasher as _;
use std::sync::{Arc, OnceLock};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use smol_str::SmolStr;

use crate::cedar::{
    AttributeType, Attributes, Entity, EntityType, EntityUID, Type, ValidatorSchema,
};
use crate::conformance::{has_free_names, is_value_of};
use crate::context::{AttributeRef, ContextSource};
use crate::index::MatchingScopes;
use crate::interner::Interner;
use crate::key::is_same_uid;

/// All actions, by uid. There are few and every request names one, so they are kept in Cedar's form.
#[derive(Debug, Default)]
pub(crate) struct Actions {
    /// Hashed by their ids alone, as nearly all are of one type.
    table: HashTable<Action>,
    hasher: RandomState,
}

/// One action.
#[derive(Debug)]
pub(crate) struct Action {
    pub(crate) entity: Arc<Entity>,
    /// Principal types that the action applies to and whose entities may have any id. Whether it
    /// applies to another principal, only the schema tells.
    pub(crate) principals: Vec<EntityType>,
    /// The same of resource types.
    pub(crate) resources: Vec<EntityType>,
    /// What its context may have, by the schema.
    pub(crate) context: Option<Attributes>,
    /// The scopes that the action matches. No request can add to them.
    pub(crate) scopes: MatchingScopes,
    /// What differs from the first action that it was compared with.
    differences: OnceLock<(EntityUID, Option<Box<[Difference]>>)>,
}

/// An attribute of the context that two actions declare differently.
#[derive(Debug)]
pub(crate) struct Difference {
    name: SmolStr,
    /// What the action declares; `None` if only the other one declares it.
    declared: Option<AttributeType>,
}

impl Actions {
    pub(crate) fn new(
        actions: impl IntoIterator<Item = Entity>,
        schema: Option<&ValidatorSchema>,
        interner: &Interner,
    ) -> Self {
        let mut all = Self::default();
        for entity in actions {
            let action = Action::new(entity, schema, interner);
            let hash = id_hash(&all.hasher, action.uid());
            match all
                .table
                .find_mut(hash, |it| is_same_uid(it.uid(), action.uid()))
            {
                Some(known) => *known = action,
                None => {
                    let hash_of = |it: &Action| id_hash(&all.hasher, it.uid());
                    all.table.insert_unique(hash, action, hash_of);
                }
            }
        }
        all
    }

    pub(crate) fn get(&self, uid: &EntityUID) -> Option<&Action> {
        let hash = id_hash(&self.hasher, uid);
        self.table.find(hash, |it| is_same_uid(it.uid(), uid))
    }

    pub(crate) fn get_mut(&mut self, uid: &EntityUID) -> Option<&mut Action> {
        let hash = id_hash(&self.hasher, uid);
        self.table.find_mut(hash, |it| is_same_uid(it.uid(), uid))
    }

    pub(crate) fn uids(&self) -> impl Iterator<Item = &EntityUID> {
        self.table.iter().map(Action::uid)
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}

fn id_hash(hasher: &RandomState, uid: &EntityUID) -> u64 {
    let id: &str = uid.eid().as_ref();
    hasher.hash_one(id)
}

impl Action {
    fn uid(&self) -> &EntityUID {
        self.entity.uid()
    }

    fn new(entity: Entity, schema: Option<&ValidatorSchema>, interner: &Interner) -> Self {
        let uid = entity.uid();
        let is_free = |ty: &&EntityType| schema.is_some_and(|schema| has_free_names(schema, ty));
        let known = |ty| interner.known_type(ty).clone();
        let principals = schema.and_then(|schema| schema.principals_for_action(uid));
        let resources = schema.and_then(|schema| schema.resources_for_action(uid));
        Self {
            context: schema.and_then(|schema| record_type(schema, uid)).cloned(),
            principals: principals
                .into_iter()
                .flatten()
                .filter(is_free)
                .map(known)
                .collect(),
            resources: resources
                .into_iter()
                .flatten()
                .filter(is_free)
                .map(known)
                .collect(),
            scopes: MatchingScopes::new(),
            differences: OnceLock::new(),
            entity: Arc::new(entity),
        }
    }

    /// What the contexts of this action have otherwise than those of `like`. `None` if one of the two has no
    /// record type, or if the action was compared with another one before: a caller has one to compare with.
    pub(crate) fn differences(
        &self,
        like: &EntityUID,
        schema: &ValidatorSchema,
    ) -> Option<&[Difference]> {
        let compare = || {
            let own = self.context.as_ref();
            let differences = own.zip(record_type(schema, like));
            (
                like.clone(),
                differences.map(|(own, other)| Difference::between(own, other)),
            )
        };
        let (compared, differences) = self.differences.get_or_init(compare);
        differences.as_deref().filter(|_| compared == like)
    }
}

impl Difference {
    fn between(own: &Attributes, other: &Attributes) -> Box<[Self]> {
        let declared = own
            .iter()
            .filter(|(name, declared)| other.get_attr(name) != Some(*declared))
            .map(|(name, declared)| (name, Some(declared.clone())));
        let undeclared = other
            .iter()
            .filter(|(name, _)| own.get_attr(name).is_none())
            .map(|(name, _)| (name, None));
        let all = declared.chain(undeclared);
        all.map(|(name, declared)| Self {
            name: name.clone(),
            declared,
        })
        .collect()
    }

    /// Whether the context certainly has the attribute as the action declares it.
    pub(crate) fn allows(&self, schema: &ValidatorSchema, context: &dyn ContextSource) -> bool {
        match (&self.declared, context.attribute(&self.name)) {
            (None, value) => value.is_none(),
            (Some(declared), None) => !declared.is_required,
            (Some(declared), Some(AttributeRef::Value(value))) => {
                is_value_of(schema, &declared.attr_type, value)
            }
            (Some(declared), Some(value)) => {
                is_value_of(schema, &declared.attr_type, &value.to_value())
            }
        }
    }
}

fn record_type<'s>(schema: &'s ValidatorSchema, action: &EntityUID) -> Option<&'s Attributes> {
    match schema.context_type(action)? {
        Type::Record { attrs, .. } => Some(attrs),
        _ => None,
    }
}
