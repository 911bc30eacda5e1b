//! Resources that are stored: in a bundle's files, or put over the control API.
//!
//! A call acts upon a resource under its canonical name, and what follows from that name is found at the call. So an entity
//! with another spelling of the name is never met, and a stored fact that contradicts the name would hide it from policies.
//!
//! Start at [`other_name`] and [`derived_attribute`].

use callgate_engine::cedar::{Entity, EntityUID, Literal, PartialValue, ValueKind};

use crate::domain::request::target::{self, Target, TargetError, TargetKind};
use crate::domain::schema::TYPES;

/// The attributes of a resource that its name and the call determine.
const DERIVED: [&str; 9] = [
    "uri",
    "kind",
    "scheme",
    "query",
    "canonical",
    "host",
    "address",
    "domain",
    "public",
];

/// The target of this name: an id of a server as such, anything else by its detected kind, so what is no id of a server that is
/// called like a scheme.
///
/// # Errors
///
/// Why no target has the name.
pub fn read(id: &str, is_server: impl FnOnce(&str) -> bool) -> Result<Target, TargetError> {
    if let Some((server, rest)) = id.split_once(':')
        && is_server(server)
        && let Ok(target) = target::parse_one_as(server, TargetKind::Id, rest)
    {
        return Ok(target);
    }
    target::parse_one("", id)
}

/// The canonical name of the target of this name.
///
/// # Errors
///
/// As [`read`].
pub fn canonical_name(
    id: &str,
    is_server: impl FnOnce(&str) -> bool,
) -> Result<String, TargetError> {
    read(id, is_server).map(|target| name_of(target.uid()).to_owned())
}

/// Why no call acts upon a stored resource under its name. `None` if calls do, and for what contains others under a name of
/// its own, such as `known-destinations`.
pub fn other_name(
    uid: &EntityUID,
    is_server: impl FnOnce(&str) -> bool,
) -> Option<Result<String, TargetError>> {
    let id = name_of(uid);
    if *uid.entity_type() != TYPES.resource || !(id.contains(':') || id.starts_with('/')) {
        return None;
    }
    match canonical_name(id, is_server) {
        Ok(name) if name == id => None,
        other => Some(other),
    }
}

/// The first attribute that a stored resource states although its name determines it. Its `uri` may be its name.
pub fn derived_attribute(entity: &Entity) -> Option<&'static str> {
    let uid = entity.uid();
    if *uid.entity_type() != TYPES.resource {
        return None;
    }
    let states = |name: &&str| match entity.get(name) {
        None => false,
        Some(value) => *name != "uri" || !is_text(value, name_of(uid)),
    };
    DERIVED.into_iter().find(states)
}

/// A stored entity without what its name determines. Entities stored before such attributes were refused may have some.
pub fn without_derived(entity: Entity) -> Entity {
    if derived_attribute(&entity).is_none() {
        return entity;
    }
    let (uid, mut attributes, indirect, parents, tags) = entity.into_inner();
    attributes.retain(|name, _| !DERIVED.contains(&name.as_str()));
    Entity::new_with_attr_partial_value(uid, attributes, indirect, parents, tags)
}

fn is_text(value: &PartialValue, text: &str) -> bool {
    let PartialValue::Value(value) = value else {
        return false;
    };
    matches!(value.value_kind(), ValueKind::Lit(Literal::String(it)) if it == text)
}

fn name_of(uid: &EntityUID) -> &str {
    uid.eid().as_ref()
}

#[cfg(test)]
#[path = "stored_tests.rs"]
mod tests;
