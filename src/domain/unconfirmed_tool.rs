//! What a tool counts as that nobody has confirmed: the most restricted one that there is.
//!
//! An import proposes an entry by names that the server chose, so nothing proposed may make a call easier. Start at
//! [`in_force`], through which every parsed entity passes before a policy may read it; [`attributes`] are those of an
//! unregistered tool.
//!
//! Invariant: of an unconfirmed tool no policy reads another access level than `admin`, that it sends nothing out, a
//! sensitivity below `restricted`, or results that are not `untrusted`.

use callgate_engine::Overlay;
use callgate_engine::cedar::{Entity, PartialValue, Value, ValueKind};
use smol_str::SmolStr;

use crate::domain::registration_entry::Sensitivity;
use crate::domain::schema::{AccessLevel, TYPES};

/// The label of results of which nobody has said what they bring.
pub const UNTRUSTED: SmolStr = SmolStr::new_static("untrusted");

const CONFIRMED: &str = "confirmed";
/// The attributes whose proposed value does not count.
const HELD: [&str; 4] = ["access", "egress", "sensitivity", "yields"];

/// The attributes of a tool of which nothing is known.
pub fn attributes() -> Vec<(SmolStr, Value)> {
    let nothing = Value::empty_set(None);
    let held = HELD.into_iter().filter_map(|name| {
        let value = counting(name, &nothing)?;
        Some((SmolStr::new_static(name), value))
    });
    let confirmed = (SmolStr::new_static(CONFIRMED), Value::from(false));
    held.chain([confirmed]).collect()
}

/// The entity as policies may read it: a tool that is not confirmed with what counts in place of what is proposed, any
/// other as it is.
pub fn in_force(entity: Entity) -> Entity {
    let confirmed = PartialValue::from(Value::from(true));
    if *entity.uid().entity_type() != TYPES.tool || entity.get(CONFIRMED) == Some(&confirmed) {
        return entity;
    }
    let (uid, mut attributes, indirect, parents, tags) = entity.into_inner();
    for (name, value) in &mut attributes {
        if let PartialValue::Value(proposed) = value
            && let Some(counts) = counting(name, proposed)
        {
            *value = counts.into();
        }
    }
    Entity::new_with_attr_partial_value(uid, attributes, indirect, parents, tags)
}

/// The same for what a caller asserts of a tool, if it says that the tool is not confirmed.
pub fn asserted_in_force(mut overlay: Overlay) -> Overlay {
    let unconfirmed = (SmolStr::new_static(CONFIRMED), Value::from(false));
    if overlay.uid.entity_type() == &TYPES.tool && overlay.attributes.contains(&unconfirmed) {
        for (name, value) in &mut overlay.attributes {
            if let Some(counts) = counting(name, value) {
                *value = counts;
            }
        }
    }
    overlay
}

/// What counts of an attribute in place of what is proposed; `None` if what is proposed counts.
fn counting(attribute: &str, proposed: &Value) -> Option<Value> {
    let text = |text: &'static str| Value::from(SmolStr::new_static(text));
    Some(match attribute {
        "access" => text(AccessLevel::Admin.as_str()),
        "egress" => Value::from(true),
        "sensitivity" => text(Sensitivity::Restricted.as_str()),
        "yields" => {
            let proposed = match &proposed.value {
                ValueKind::Set(labels) => labels.iter().cloned().collect(),
                _ => Vec::new(),
            };
            Value::set(proposed.into_iter().chain([UNTRUSTED.into()]), None)
        }
        _ => return None,
    })
}

#[cfg(test)]
#[path = "unconfirmed_tool_tests.rs"]
mod tests;
