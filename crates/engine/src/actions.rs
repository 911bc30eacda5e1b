//! The actions that requests can name.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::cedar::{Entity, EntityType, EntityUID, ValidatorSchema};
use crate::conformance::has_free_names;
use crate::scope::ScopeNo;

/// All actions, by uid. There are few and every request names one, so they are kept in Cedar's form.
#[derive(Debug, Default)]
pub(crate) struct Actions(HashMap<EntityUID, Action, RandomState>);

/// One action.
#[derive(Debug)]
pub(crate) struct Action {
    pub(crate) entity: Arc<Entity>,
    /// Principal types that the action applies to and whose entities may have any id. Whether it
    /// applies to another principal, only the schema tells.
    pub(crate) principals: Vec<EntityType>,
    /// The same of resource types.
    pub(crate) resources: Vec<EntityType>,
    /// The scopes that the action matches. No request can add to them.
    pub(crate) scopes: Vec<ScopeNo>,
}

impl Actions {
    pub(crate) fn new(
        actions: impl IntoIterator<Item = Entity>,
        schema: Option<&ValidatorSchema>,
    ) -> Self {
        let actions = actions.into_iter();
        Self(
            actions
                .map(|entity| (entity.uid().clone(), Action::new(entity, schema)))
                .collect(),
        )
    }

    pub(crate) fn get(&self, uid: &EntityUID) -> Option<&Action> {
        self.0.get(uid)
    }

    pub(crate) fn get_mut(&mut self, uid: &EntityUID) -> Option<&mut Action> {
        self.0.get_mut(uid)
    }

    pub(crate) fn uids(&self) -> impl Iterator<Item = &EntityUID> {
        self.0.keys()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Action {
    fn new(entity: Entity, schema: Option<&ValidatorSchema>) -> Self {
        let uid = entity.uid();
        let is_free = |ty: &&EntityType| schema.is_some_and(|schema| has_free_names(schema, ty));
        let principals = schema.and_then(|schema| schema.principals_for_action(uid));
        let resources = schema.and_then(|schema| schema.resources_for_action(uid));
        Self {
            principals: principals
                .into_iter()
                .flatten()
                .filter(is_free)
                .cloned()
                .collect(),
            resources: resources
                .into_iter()
                .flatten()
                .filter(is_free)
                .cloned()
                .collect(),
            scopes: Vec::new(),
            entity: Arc::new(entity),
        }
    }
}
