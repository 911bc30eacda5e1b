//! Cedar values as JSON and as text.

use callgate_engine::Snapshot;
use callgate_engine::cedar::{Context, EntityUID, Literal, Value, ValueKind};
use serde_json::{Map, Value as Json};

/// The longest text of one value, in characters.
const MAX_CHARS: usize = 400;

/// A value as JSON: an entity is its name, an extension value its text.
pub fn json(value: &Value) -> Json {
    match &value.value {
        ValueKind::Lit(Literal::Bool(bool)) => Json::from(*bool),
        ValueKind::Lit(Literal::Long(long)) => Json::from(*long),
        ValueKind::Lit(Literal::String(text)) => Json::from(text.as_str()),
        ValueKind::Lit(Literal::EntityUID(uid)) => Json::from(uid.to_string()),
        ValueKind::Set(set) => {
            let mut items: Vec<Json> = set.iter().map(json).collect();
            items.sort_by_cached_key(Json::to_string);
            Json::Array(items)
        }
        ValueKind::Record(fields) => {
            let fields = fields.iter();
            Json::Object(
                fields
                    .map(|(name, it)| (name.to_string(), json(it)))
                    .collect(),
            )
        }
        ValueKind::ExtensionValue(_) => Json::from(value.to_string()),
    }
}

/// A context as JSON.
pub fn context_json(context: &Context) -> Json {
    match context {
        Context::Value(fields) => {
            let fields = fields.iter();
            Json::Object(
                fields
                    .map(|(name, it)| (name.to_string(), json(it)))
                    .collect(),
            )
        }
        // Only partial evaluation makes residual contexts, and no decision does.
        Context::RestrictedResidual(_) => Json::Object(Map::new()),
    }
}

/// A value in one line, cut if it is long.
pub fn text(value: &Value) -> String {
    let text = match &value.value {
        ValueKind::Lit(Literal::EntityUID(uid)) => uid.to_string(),
        _ => json(value).to_string(),
    };
    if text.chars().count() <= MAX_CHARS {
        return text;
    }
    let beginning: String = text.chars().take(MAX_CHARS).collect();
    format!("{beginning}…")
}

/// The entity that an attribute of a stored entity names.
pub fn entity_attribute(snapshot: &Snapshot, uid: &EntityUID, name: &str) -> Option<EntityUID> {
    match snapshot.entity(uid)?.attribute(name)?.value {
        ValueKind::Lit(Literal::EntityUID(named)) => Some(EntityUID::clone(&named)),
        _ => None,
    }
}
