//! How domain values stand in columns, in every database alike.

use std::time::SystemTime;

use callgate_engine::cedar::EntityUID;
use serde::Serialize;

use crate::domain::authority::form;
use crate::domain::authority::labels::LabelCarrier;
use crate::domain::schema::{self, TYPES};
use crate::store::backend::StoreError;

/// The type of an entity, and its id.
pub(super) fn of_uid(uid: &EntityUID) -> (String, String) {
    let id: &str = uid.eid().as_ref();
    (uid.entity_type().to_string(), id.to_owned())
}

/// The kind of a carrier, and its name within the kind.
pub(super) fn of_carrier(carrier: &LabelCarrier) -> Result<(&'static str, String), StoreError> {
    Ok(match carrier {
        LabelCarrier::Task(id) => ("task", id.to_string()),
        LabelCarrier::Delegation(id) => ("delegation", id.to_string()),
        LabelCarrier::Pair { actor, root } => {
            let both: Vec<EntityUID> = [Some(actor), root.as_ref()]
                .into_iter()
                .flatten()
                .cloned()
                .collect();
            ("pair", of_uids(&both)?)
        }
        LabelCarrier::Resource(place) => ("place", format!("is {}", place_name(place))),
        LabelCarrier::WithinResource(place) => ("place", format!("in {}", place_name(place))),
        LabelCarrier::AnyResource => ("place", "all".to_owned()),
    })
}

/// The carrier of a kind with this name.
///
/// # Errors
///
/// What is wrong with them.
pub(super) fn to_carrier(kind: &str, name: &str) -> Result<LabelCarrier, String> {
    let place = |name: &str| schema::entity_uid(&TYPES.resource, name);
    Ok(match kind {
        "task" => LabelCarrier::Task(name.into()),
        "delegation" => LabelCarrier::Delegation(name.into()),
        "pair" => {
            let mut both = to_uids(name)?.into_iter();
            match (both.next(), both.next(), both.next()) {
                (Some(actor), root, None) => LabelCarrier::Pair { actor, root },
                _ => return Err("not who acts and for whom".to_owned()),
            }
        }
        "place" => match name.split_once(' ') {
            Some(("is", name)) => LabelCarrier::Resource(place(name)),
            Some(("in", name)) => LabelCarrier::WithinResource(place(name)),
            None if name == "all" => LabelCarrier::AnyResource,
            _ => return Err("no place".to_owned()),
        },
        _ => return Err("no kind of carrier".to_owned()),
    })
}

/// The name of a resource, whose type is always `Mcp::Resource`.
fn place_name(place: &EntityUID) -> &str {
    place.eid().as_ref()
}

/// A value as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Write(error.to_string()))
}

/// Entities as JSON.
pub(super) fn of_uids(uids: &[EntityUID]) -> Result<String, StoreError> {
    let mut text = Vec::new();
    form::uids::serialize(uids, &mut serde_json::Serializer::new(&mut text))
        .map_err(|error| StoreError::Write(error.to_string()))?;
    String::from_utf8(text).map_err(|error| StoreError::Write(error.to_string()))
}

/// Reads what [`of_uids`] wrote.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn to_uids(text: &str) -> Result<Vec<EntityUID>, String> {
    let mut json = serde_json::Deserializer::from_str(text);
    form::uids::deserialize(&mut json).map_err(|error| error.to_string())
}

/// When something ends that may have ended before.
pub(super) fn earlier(ended: Option<SystemTime>, ends: SystemTime) -> SystemTime {
    ended.map_or(ends, |ended| ended.min(ends))
}
