//! A case under other names. Cedar takes any text for an id, an empty one too; over the wire an empty id is none, and
//! one that nobody can read is refused. Nothing that Cedar decides depends on what an id says, only on which are one.

use std::fmt::Write as _;
use std::str::FromStr;

use callgate::domain::request::visible::has_invisible;
use callgate_engine::cedar::api::{Policy, PolicyId, PolicySet, SchemaFragment};
use serde_json::Value as Json;

/// An id that can be asked about: itself, or the bytes of one that cannot.
pub fn id(id: &str) -> String {
    if !id.trim().is_empty() && !has_invisible(id) {
        return id.to_owned();
    }
    let mut name = "bytes".to_owned();
    for byte in id.bytes() {
        let _ = write!(name, "-{byte:02x}");
    }
    name
}

/// Every entity in Cedar's JSON under its new name.
pub fn entities(mut json: Json) -> Json {
    rename(&mut json);
    json
}

/// A schema whose actions, and entities that it lists, have their new names.
pub fn schema(text: &str) -> Option<String> {
    let (fragment, _) = SchemaFragment::from_cedarschema_str(text).ok()?;
    let mut json = fragment.to_json_value().ok()?;
    for namespace in json.as_object_mut()?.values_mut() {
        for entity in namespace["entityTypes"].as_object_mut()?.values_mut() {
            for listed in entity
                .get_mut("enum")
                .and_then(Json::as_array_mut)
                .into_iter()
                .flatten()
            {
                *listed = id(listed.as_str()?).into();
            }
        }
        let actions = namespace["actions"].as_object_mut()?;
        for action in actions.values_mut() {
            for group in action
                .get_mut("memberOf")
                .and_then(Json::as_array_mut)
                .into_iter()
                .flatten()
            {
                group["id"] = id(group["id"].as_str()?).into();
            }
        }
        let renamed = std::mem::take(actions).into_iter();
        *actions = renamed.map(|(name, it)| (id(&name), it)).collect();
    }
    let fragment = SchemaFragment::from_json_value(json).ok()?;
    fragment.to_cedarschema().ok()
}

/// The policies of a file in their order; nothing if there are templates.
pub fn policies(text: &str) -> Option<String> {
    let policies = PolicySet::from_str(text).unwrap();
    if policies.templates().next().is_some() {
        return None;
    }
    let mut renamed = String::new();
    for position in 0..policies.policies().count() {
        let name = PolicyId::new(format!("policy{position}"));
        let mut json = policies.policy(&name)?.to_json().ok()?;
        rename(&mut json);
        let policy = Policy::from_json(Some(name), json).ok()?;
        let _ = writeln!(renamed, "{}", policy.to_cedar()?);
    }
    Some(renamed)
}

fn rename(json: &mut Json) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(rename),
        Json::Object(members) => {
            let text = |name: &str| members.get(name).and_then(Json::as_str);
            if let (2, Some(_), Some(given)) = (members.len(), text("type"), text("id")) {
                let given = id(given);
                members.insert("id".to_owned(), given.into());
                return;
            }
            members.values_mut().for_each(rename);
        }
        _ => {}
    }
}
