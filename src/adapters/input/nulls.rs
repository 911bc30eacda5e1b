//! Null members of JSON objects.

use serde_json::{Map, Value as Json};

/// Removes null members at any depth: JSON clients write null for an absent value, and Cedar has no null. A
/// null item of a list stays and is an error later, because a list without it would be another list.
pub(in crate::adapters) fn without_nulls(mut members: Map<String, Json>) -> Map<String, Json> {
    take_out(&mut members);
    members
}

fn take_out(members: &mut Map<String, Json>) {
    members.retain(|_, value| !value.is_null());
    members.values_mut().for_each(within);
}

fn within(value: &mut Json) {
    match value {
        Json::Object(members) => take_out(members),
        Json::Array(items) => items.iter_mut().for_each(within),
        _ => {}
    }
}

#[cfg(test)]
#[path = "nulls_tests.rs"]
mod tests;
