//! The entities of a file's fixtures.

use std::sync::Arc;

use callgate_engine::Snapshot;
use callgate_engine::cedar::{Entity, EntityType, EntityUID};
use serde_json::{Map, Value as Json, json};

use crate::analysis::policy_test::form::{EntityForm, Fixtures};
use crate::analysis::policy_test::prepare::CaseFault;
use crate::domain::entity_json::parse_value;
use crate::domain::schema::{self, TYPES};

/// All entities, each over the one that the directory defines, and every fault.
pub(super) fn from_fixtures(
    snapshot: &Snapshot,
    fixtures: &Fixtures,
) -> (Vec<Entity>, Vec<CaseFault>) {
    let groups = &TYPES.group;
    let kinds = [
        ("groups", &fixtures.groups, &TYPES.group, groups),
        ("users", &fixtures.users, &TYPES.user, groups),
        ("agents", &fixtures.agents, &TYPES.agent, groups),
        ("servers", &fixtures.servers, &TYPES.server, groups),
        ("tools", &fixtures.tools, &TYPES.tool, groups),
        (
            "resources",
            &fixtures.resources,
            &TYPES.resource,
            &TYPES.resource,
        ),
    ];
    let mut made = Vec::new();
    for (room, forms, ty, parent) in kinds {
        for (id, form) in forms {
            let field = format!("fixtures.{room}.{id}");
            let entity = entity(snapshot, (room, id), form, (ty, parent));
            made.push((field, entity));
        }
    }
    for (index, json) in fixtures.entities.iter().enumerate() {
        let field = format!("fixtures.entities[{index}]");
        made.push((field, parse(snapshot, json.clone())));
    }
    let (mut entities, mut fields, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for (field, entity) in made {
        match entity {
            Ok(entity) => {
                entities.push(entity);
                fields.push(field);
            }
            Err(message) => faults.push(CaseFault::new(field, message)),
        }
    }
    // Together they may be wrong where each of them is right: groups in a circle, an entity that is there twice.
    if faults.is_empty()
        && let Err(error) = snapshot.upsert(entities.iter().cloned())
    {
        let about = entities.iter().rposition(|it| error.uid() == it.uid());
        let field = about.map_or("fixtures", |index| &fields[index]);
        faults.push(CaseFault::new(field, error.to_string()));
    }
    (entities, faults)
}

/// An entity as the fixture extends it.
fn entity(
    snapshot: &Snapshot,
    (room, id): (&str, &str),
    form: &EntityForm,
    (ty, parent): (&EntityType, &EntityType),
) -> Result<Entity, String> {
    let uid = schema::entity_uid(ty, id);
    let mut json = match snapshot.cedar_entity(&uid) {
        Some(stored) => stored.to_json_value().map_err(|error| error.to_string())?,
        None => new_entity(&uid, room, id),
    };
    let parents = form.parents.iter().map(|name| uid_json(parent, name));
    extend(&mut json["parents"], parents.collect());
    let attrs = &mut json["attrs"];
    if let Some(owner) = &form.owner {
        attrs["owner"] = json!({ "__entity": uid_json(&TYPES.user, owner) });
    }
    form.attrs
        .iter()
        .for_each(|(name, value)| attrs[name] = value.clone());
    if !form.tags.is_empty() {
        let tags = &mut json["tags"];
        form.tags
            .iter()
            .for_each(|(name, value)| tags[name] = value.clone());
    }
    parse(snapshot, json)
}

/// An entity that the directory does not define, with what most have in common.
fn new_entity(uid: &EntityUID, room: &str, id: &str) -> Json {
    let attrs = match room {
        "agents" | "servers" | "users" => json!({ "active": true }),
        "tools" => json!({
            "confirmed": true, "yields": [], "egress": false, "sensitivity": "internal",
        }),
        _ => json!({}),
    };
    let server = id.split_once('/').filter(|_| room == "tools");
    let parents = server.map(|(server, _)| uid_json(&TYPES.server, server));
    json!({
        "uid": uid_json(uid.entity_type(), id),
        "attrs": attrs,
        "parents": parents.into_iter().collect::<Vec<_>>(),
        "tags": Map::new(),
    })
}

fn uid_json(ty: &EntityType, id: &str) -> Json {
    json!({ "type": ty.to_string(), "id": id })
}

fn extend(list: &mut Json, more: Vec<Json>) {
    match list {
        Json::Array(list) => list.extend(more),
        other => *other = Json::Array(more),
    }
}

fn parse(snapshot: &Snapshot, json: Json) -> Result<Entity, String> {
    parse_value(snapshot.schema().map(Arc::as_ref), json)
}
