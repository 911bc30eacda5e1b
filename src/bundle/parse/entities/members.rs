//! The members of an entity in JSON.
//!
//! Start at [`unknown`].

use serde_json::{Map, Value as Json};

use crate::bundle::parse::json::Step;
use crate::bundle::validate::references::nearest;

const ENTITY: [&str; 4] = ["uid", "attrs", "parents", "tags"];
const UID: [&str; 2] = ["type", "id"];
const ESCAPED: [&str; 1] = ["__entity"];

/// An unknown member: its path, the message, and a suggestion.
type Unknown<'a> = (Vec<Step<'a>>, String, Option<String>);

/// The first unknown member of an entity, its uid or its parents' uids.
pub(super) fn unknown(entity: &Json) -> Option<Unknown<'_>> {
    let entity = entity.as_object()?;
    if let Some(found) = among(entity, &ENTITY, "an entity") {
        return Some(found);
    }
    let uid = entity.get("uid").map(|uid| (vec![Step::Key("uid")], uid));
    let parents = entity.get("parents").and_then(Json::as_array);
    let parents = parents.into_iter().flatten().enumerate();
    let parents =
        parents.map(|(index, parent)| (vec![Step::Key("parents"), Step::Index(index)], parent));
    let mut names = uid.into_iter().chain(parents);
    names.find_map(|(mut path, name)| {
        let (inner, message, help) = of_name(name)?;
        path.extend(inner);
        Some((path, message, help))
    })
}

/// The first unknown member of a uid, with or without `__entity`.
fn of_name(name: &Json) -> Option<Unknown<'_>> {
    let name = name.as_object()?;
    let Some(escaped) = name.get("__entity") else {
        return among(name, &UID, "an entity's name");
    };
    among(name, &ESCAPED, "an escaped name").or_else(|| {
        let (mut path, message, help) = among(escaped.as_object()?, &UID, "an entity's name")?;
        path.insert(0, Step::Key("__entity"));
        Some((path, message, help))
    })
}

fn among<'a>(object: &'a Map<String, Json>, known: &[&str], whole: &str) -> Option<Unknown<'a>> {
    let key = object.keys().find(|key| !known.contains(&key.as_str()))?;
    let list: Vec<String> = known.iter().map(|it| format!("`{it}`")).collect();
    let help = match nearest(key, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("what it has is {}", list.join(", ")),
    };
    Some((
        vec![Step::Key(key)],
        format!("{whole} has no member `{key}`"),
        Some(help),
    ))
}
