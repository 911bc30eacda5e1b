//! The entities of a file's fixtures.

use std::collections::BTreeMap;

use callgate_engine::Snapshot;
use callgate_engine::cedar::{
    CoreSchema, Entity, EntityJsonParser, EntityType, EntityUID, Extensions, TCComputation,
};
use serde_json::{Map, Value as Json, json};

use crate::analysis::policy_test::form::{EntityForm, Fixtures};
use crate::analysis::policy_test::prepare::CaseFault;
use crate::domain::schema::{self, TYPES};

/// All entities, each over the one that the directory defines.
pub(super) fn from_fixtures(
    snapshot: &Snapshot,
    fixtures: &Fixtures,
) -> Result<Vec<Entity>, CaseFault> {
    let mut entities = Vec::new();
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
    for (room, forms, ty, parent) in kinds {
        add(snapshot, room, forms, (ty, parent), &mut entities)?;
    }
    for (index, json) in fixtures.entities.iter().enumerate() {
        let field = format!("fixtures.entities[{index}]");
        entities.push(parse(snapshot, json.clone()).map_err(|it| CaseFault::new(field, it))?);
    }
    Ok(entities)
}

fn add(
    snapshot: &Snapshot,
    room: &str,
    forms: &BTreeMap<String, EntityForm>,
    (ty, parent): (&EntityType, &EntityType),
    entities: &mut Vec<Entity>,
) -> Result<(), CaseFault> {
    for (id, form) in forms {
        let field = || format!("fixtures.{room}.{id}");
        let uid = schema::entity_uid(ty, id.as_str());
        let mut json = match snapshot.cedar_entity(&uid) {
            Some(stored) => stored
                .to_json_value()
                .map_err(|error| CaseFault::new(field(), error.to_string()))?,
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
        entities.push(parse(snapshot, json).map_err(|it| CaseFault::new(field(), it))?);
    }
    Ok(())
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
    let core = snapshot.schema().map(|schema| CoreSchema::new(schema));
    let extensions = Extensions::all_available();
    let tc = TCComputation::AssumeAlreadyComputed;
    let parser = EntityJsonParser::new(core.as_ref(), extensions, tc);
    parser.single_from_json_value(json).map_err(|error| {
        let mut message = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        message
    })
}
