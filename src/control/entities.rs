//! Entities: put, get, list, delete.

use std::sync::Arc;

use callgate_engine::Snapshot;
use callgate_engine::cedar::{Eid, Entity, EntityType, EntityUID, ValidatorSchema};
use serde_json::Value as Json;
use smol_str::ToSmolStr;

use crate::control::error::ControlError;
use crate::control::page::{ListPage, PageRequest};
use crate::control::requester::WriteRequester;
use crate::control::write::Control;
use crate::control::write_context::{GovernContext, WriteContext};
use crate::domain::authority::change::Change;
use crate::domain::entity_json;
use crate::domain::hierarchy::{MAX_GENERATIONS, MAX_PARENTS, longest_chain};
use crate::domain::request::target::stored;
use crate::domain::request::visible::shown;
use crate::domain::schema::{self, TYPES};
use crate::service::generation::Generation;
use crate::service::ledger::PlannedChange;

/// The source of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntitySource {
    /// The bundle, which wins over stored entities.
    Bundle,
    /// Stored over the control API, and in force.
    Stored,
    /// Stored, but the bundle has since defined the same entity, which is in force.
    Shadowed,
}

/// An entity in Cedar's JSON form: `uid`, `attrs`, `parents`, `tags`.
#[derive(Debug, Clone)]
pub struct EntityView {
    /// The entity's uid.
    pub uid: EntityUID,
    /// Its JSON form.
    pub json: Json,
    /// Its source.
    pub source: EntitySource,
}

impl Control {
    /// Puts an entity, or replaces one that was put before. Returns the revision.
    ///
    /// # Errors
    ///
    /// [`ControlError::Invalid`] if it does not fit the schema, [`ControlError::Precondition`] if the bundle defines
    /// it, and the errors of a write.
    pub async fn put_entity(
        &self,
        author: &WriteRequester,
        uid: EntityUID,
        json: Json,
    ) -> Result<u64, ControlError> {
        let plan = move |context: &WriteContext<'_>| {
            let schema = context.generation.snapshot.schema().map(Arc::as_ref);
            let (uid, json) = (declared(schema, &uid), declared_form(schema, json));
            context.set_object(uid.to_smolstr());
            let change = plan_entity(context, &uid, &json, ("entity", "entity"))?;
            context.govern(
                "edit_entities",
                &context.gateway(),
                GovernContext::default(),
            )?;
            Ok(planned("PutEntity", &uid, change))
        };
        Ok(self.write("PutEntity", author, plan).await?.revision)
    }

    /// Deletes a stored entity. Returns the revision.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotFound`] if it is not stored, and the errors of a write.
    pub async fn delete_entity(
        &self,
        author: &WriteRequester,
        uid: EntityUID,
    ) -> Result<u64, ControlError> {
        let plan = move |context: &WriteContext<'_>| {
            context.set_object(uid.to_smolstr());
            context.govern(
                "edit_entities",
                &context.gateway(),
                GovernContext::default(),
            )?;
            let schema = context.generation.snapshot.schema().map(Arc::as_ref);
            let uid = declared(schema, &uid);
            if context.generation.stored.get(&uid).is_none() {
                refuse_of_bundle(context, &uid)?;
                return Err(ControlError::not_found("entity", &uid.to_string()));
            }
            let change = Change::EntityGone { uid: uid.clone() };
            Ok(planned("DeleteEntity", &uid, change))
        };
        Ok(self.write("DeleteEntity", author, plan).await?.revision)
    }

    /// An entity as decisions see it, and the revision it was read at.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotFound`] for an unknown one, [`ControlError::NotReady`] before the first load.
    pub fn get_entity(&self, uid: &EntityUID) -> Result<(EntityView, u64), ControlError> {
        self.view(|view| {
            let snapshot = &view.generation.snapshot;
            let uid = &declared(snapshot.schema().map(Arc::as_ref), uid);
            let unknown = || ControlError::not_found("entity", &uid.to_string());
            let entity = snapshot.cedar_entity(uid).ok_or_else(unknown)?;
            let source = match view.generation.stored.is_in_bundle(uid) {
                true => EntitySource::Bundle,
                false => EntitySource::Stored,
            };
            let json = json_of(&entity).ok_or_else(unknown)?;
            let found = EntityView {
                uid: uid.clone(),
                json,
                source,
            };
            Ok((found, snapshot.revision()))
        })
    }

    /// Lists stored entities by type and id.
    ///
    /// # Errors
    ///
    /// [`ControlError::Invalid`] for a page size beyond the limit or a token of another list,
    /// [`ControlError::NotReady`] before the first load.
    pub fn list_entities(
        &self,
        of_type: Option<&EntityType>,
        page: &PageRequest,
    ) -> Result<ListPage<EntityView>, ControlError> {
        let limits = self.limits();
        let after = page.after().map(|token| token.parse::<EntityUID>());
        let after = after
            .transpose()
            .map_err(|_| ControlError::invalid("page_token", "is not a token of this list"))?;
        self.view(|view| {
            let generation = view.generation;
            let schema = generation.snapshot.schema().map(Arc::as_ref);
            let of_type = of_type.map(|ty| listed_type(schema, ty)).transpose()?;
            let stored = generation.stored.after(after.as_ref());
            let keep = |uid: &EntityUID, json: &Arc<str>| {
                let is_wanted = of_type.as_ref().is_none_or(|ty| uid.entity_type() == ty);
                is_wanted
                    .then(|| stored_view(generation, uid, json))
                    .flatten()
            };
            page.collect(stored, &limits, generation.snapshot.revision(), keep)
        })
    }
}

/// A stored entity in the form in which it was put.
pub fn stored_view(generation: &Generation, uid: &EntityUID, json: &str) -> Option<EntityView> {
    let source = match generation.stored.is_in_bundle(uid) {
        true => EntitySource::Shadowed,
        false => EntitySource::Stored,
    };
    Some(EntityView {
        uid: uid.clone(),
        json: serde_json::from_str(json).ok()?,
        source,
    })
}

/// The change that puts an entity, after its checks. Errors name the field that it comes from, or, if it is too long, the one
/// that makes it so.
pub(super) fn plan_entity(
    context: &WriteContext<'_>,
    uid: &EntityUID,
    json: &Json,
    (field, longest): (&str, &str),
) -> Result<Change, ControlError> {
    let refuse = |message: String| Err(ControlError::invalid(field, message));
    if uid.is_action() {
        return refuse("is an action, and those belong to the schema".to_owned());
    }
    // Policies must read a task's attributes from the task itself.
    if *uid.entity_type() == TYPES.task {
        return refuse("is a task: tasks are opened, not put".to_owned());
    }
    let json: Arc<str> = json.to_string().into();
    let limit = context.limits.text_bytes as usize;
    if json.len() > limit {
        let message = format!(
            "makes an entity of {} bytes as it is stored, but `limits.text_bytes` allows {limit}",
            json.len()
        );
        return Err(ControlError::invalid(longest, message));
    }
    refuse_of_bundle(context, uid)?;
    check_room(context, uid)?;
    let snapshot = &context.generation.snapshot;
    let schema = snapshot.schema().map(Arc::as_ref);
    let fault = |said: String| ControlError::invalid(field, format!("cannot be used: {said}"));
    let entity = entity_json::parse_entity(schema, &json).map_err(fault)?;
    if entity.uid() != uid {
        return refuse("has another name than its JSON form".to_owned());
    }
    check_place(&entity).map_err(|why| ControlError::invalid(field, why))?;
    check_resource(&entity, snapshot).map_err(|why| ControlError::invalid(field, why))?;
    if entity.parents().nth(MAX_PARENTS).is_some() {
        return refuse(format!("has more than {MAX_PARENTS} parents"));
    }
    let with_it = snapshot
        .upsert([entity])
        .map_err(|error| fault(error.to_string()))?;
    check_generations(context, uid, &with_it).map_err(|why| ControlError::invalid(field, why))?;
    Ok(Change::Entity {
        uid: uid.clone(),
        json,
    })
}

/// Checks the number of generations above and below an entity that is put, by the same limit as in the bundle.
fn check_generations(
    context: &WriteContext<'_>,
    uid: &EntityUID,
    with_it: &Snapshot,
) -> Result<(), String> {
    let parents = |uid: &EntityUID| {
        let entity = with_it.entity(uid);
        entity.map(|it| it.parents().collect()).unwrap_or_default()
    };
    let above = longest_chain(uid, parents);
    let is_deeper = above != longest_chain(uid, |uid| context.generation.parents(uid));
    let stored = &context.generation.stored;
    let below = match is_deeper {
        true => longest_chain(uid, |uid| stored.children(uid).cloned().collect()),
        false => Some(0),
    };
    match above.zip(below) {
        Some((above, below)) if above + below <= MAX_GENERATIONS => Ok(()),
        _ => Err(format!(
            "cannot be used: with these `parents`, more than {MAX_GENERATIONS} generations stand one above the other"
        )),
    }
}

/// The type without a namespace that is meant by one of `Mcp`, if `Mcp` has no such type and there is one without a
/// namespace.
fn plain_type(schema: Option<&ValidatorSchema>, ty: &EntityType) -> Option<EntityType> {
    let schema = schema.filter(|schema| schema.get_entity_type(ty).is_none())?;
    let name = ty.to_string();
    let plain = EntityType::from_normalized_str(name.strip_prefix("Mcp::")?).ok()?;
    schema.get_entity_type(&plain).map(|_| plain)
}

/// The type whose entities are listed, which is one that could be put.
fn listed_type(
    schema: Option<&ValidatorSchema>,
    ty: &EntityType,
) -> Result<EntityType, ControlError> {
    if let Some(plain) = plain_type(schema, ty) {
        return Ok(plain);
    }
    match schema.is_none_or(|schema| schema.get_entity_type(ty).is_some()) {
        true => Ok(ty.clone()),
        false => {
            let ty = ty.to_string();
            let message = format!("`{}` is no type that the schema declares", shown(&ty));
            Err(ControlError::invalid("type", message))
        }
    }
}

/// Resolves an entity type. A name without a namespace means one of `Mcp`; if `Mcp` has no such type and there is one
/// without a namespace, that is meant.
fn declared(schema: Option<&ValidatorSchema>, uid: &EntityUID) -> EntityUID {
    match plain_type(schema, uid.entity_type()) {
        Some(plain) => EntityUID::from_components(plain, uid.eid().clone(), None),
        None => uid.clone(),
    }
}

/// Resolves the types of an entity's uid and parents. Attributes are in Cedar's own form already.
fn declared_form(schema: Option<&ValidatorSchema>, mut form: Json) -> Json {
    let rename = |name: &mut Json| {
        let part = |it: &str| name.get(it).and_then(Json::as_str);
        let (Some(ty), Some(id)) = (part("type"), part("id")) else {
            return;
        };
        if let Ok(ty) = EntityType::from_normalized_str(ty) {
            let uid = EntityUID::from_components(ty, Eid::new(id), None);
            let named = declared(schema, &uid).entity_type().to_string();
            name["type"] = named.into();
        }
    };
    if let Some(uid) = form.get_mut("uid") {
        rename(uid);
    }
    let parents = form.get_mut("parents").and_then(Json::as_array_mut);
    parents.into_iter().flatten().for_each(rename);
    form
}

/// Checks the limit of stored entities.
fn check_room(context: &WriteContext<'_>, uid: &EntityUID) -> Result<(), ControlError> {
    let (stored, limit) = (&context.generation.stored, context.limits.stored_entities);
    if stored.len() >= limit as usize && stored.get(uid).is_none() {
        let message =
            format!("{limit} entities are stored, as many as `limits.stored_entities` allows");
        return Err(ControlError::LimitExceeded(message));
    }
    Ok(())
}

/// Checks that a tool is in the server that its id names, as policies about a server must hold for it.
fn check_place(entity: &Entity) -> Result<(), &'static str> {
    let ty = entity.uid().entity_type();
    let id: &str = entity.uid().eid().as_ref();
    if *ty == TYPES.server && id.contains('/') {
        return Err("is a server with `/` in its name");
    }
    if *ty != TYPES.tool {
        return Ok(());
    }
    let is_server = |uid: &&EntityUID| *uid.entity_type() == TYPES.server;
    let mut servers = entity.parents().filter(is_server);
    let is_its_own = |server: &EntityUID| {
        let name = id.strip_prefix(AsRef::<str>::as_ref(server.eid()));
        name.is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
    };
    match (servers.next(), servers.next()) {
        (Some(server), None) if is_its_own(server) => Ok(()),
        _ => Err("is a tool, `<server>/<tool>`, without that server as its parent"),
    }
}

/// Checks that a resource has its canonical name, and states nothing that follows from it.
fn check_resource(entity: &Entity, snapshot: &Snapshot) -> Result<(), String> {
    if let Some(name) = stored::derived_attribute(entity) {
        return Err(format!(
            "states `{name}`, which follows from the name of what a call acts upon"
        ));
    }
    let is_server = |server: &str| snapshot.contains(&schema::server_uid(&server.into()));
    match stored::other_name(entity.uid(), is_server) {
        None => Ok(()),
        Some(Ok(name)) => Err(format!(
            "has a name under which no call acts upon it: `{name}` is the canonical one"
        )),
        Some(Err(error)) => Err(format!(
            "has a name under which no call acts upon it: it {error}"
        )),
    }
}

/// Rejects changes of entities that the bundle defines.
pub(super) fn refuse_of_bundle(
    context: &WriteContext<'_>,
    uid: &EntityUID,
) -> Result<(), ControlError> {
    if context.generation.stored.is_in_bundle(uid) {
        let message = format!("`{uid}` is defined in the directory: change it there");
        return Err(ControlError::Precondition(message));
    }
    Ok(())
}

pub(super) fn planned(verb: &'static str, uid: &EntityUID, change: Change) -> PlannedChange {
    PlannedChange {
        verb,
        id: uid.to_smolstr(),
        change,
    }
}

/// The JSON form of an entity with its direct parents only, as further ancestors are not its own.
fn json_of(entity: &Entity) -> Option<Json> {
    let mut json = entity.to_json_value().ok()?;
    let name = |uid: &EntityUID| {
        let id: &str = uid.eid().as_ref();
        serde_json::json!({"type": uid.entity_type().to_string(), "id": id})
    };
    let mut parents: Vec<&EntityUID> = entity.parents().collect();
    parents.sort();
    json["parents"] = parents.into_iter().map(name).collect();
    Some(json)
}
