//! Numbers that Cedar does not have.
//!
//! Cedar's parser says of one only that it fits no form of a value, and neither which it is nor where.

use serde_json::Value as Json;

use crate::domain::request::visible::shown;

/// Says of the first number in a value that is not whole, or does not fit 64 bits, where it is. `place` is the
/// value's own place.
pub fn unfit(value: &Json, place: &str) -> Option<String> {
    match value {
        Json::Number(number) if number.as_i64().is_none() => Some(format!(
            "`{place}` is not a whole number of 64 bits, and Cedar has no other numbers: a decimal is \
             `{{\"__extn\": {{\"fn\": \"decimal\", \"arg\": …}}}}`, with a text"
        )),
        Json::Array(items) => {
            let mut items = items.iter().enumerate();
            items.find_map(|(index, item)| unfit(item, &format!("{place}[{index}]")))
        }
        Json::Object(members) => {
            let mut members = members.iter();
            members.find_map(|(name, value)| unfit(value, &member(place, name)))
        }
        _ => None,
    }
}

/// The place of a member.
pub fn member(place: &str, name: &str) -> String {
    match place {
        "" => shown(name),
        place => format!("{place}.{}", shown(name)),
    }
}

#[cfg(test)]
#[path = "cedar_number_tests.rs"]
mod tests;
