//! What JSON says is not there.

use serde_json::{Map, Value as Json};

/// Takes out the members that are null, at any depth: JSON clients write null for "not given", and Cedar has no such
/// value. A null among the items of a list stays what it is, a fault: a list that lost it would be another list.
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
