//! The order in which a schema declares its properties, used to display arguments.
//!
//! Parsed JSON objects are unordered, so the order is read from the text.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

/// The maximum number of names put in order; further ones follow alphabetically.
pub const MAX_NAMES: usize = 1_024;

/// The member names of an object in text order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MemberNames(pub Vec<SmolStr>);

#[derive(Default, Deserialize)]
#[serde(default)]
struct SchemaProperties {
    properties: MemberNames,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DefinitionSchema {
    #[serde(rename = "inputSchema")]
    schema: SchemaProperties,
}

/// The properties of a JSON SchemaProperties; empty if there are none or the text is invalid.
pub fn schema_order(text: &str) -> Vec<SmolStr> {
    let read: Option<SchemaProperties> = serde_json::from_str(text).ok();
    read.unwrap_or_default().properties.0
}

/// The properties in the `inputSchema` of a tool definition; empty if the text is invalid.
pub fn definition_order(text: &[u8]) -> Vec<SmolStr> {
    let read: Option<DefinitionSchema> = serde_json::from_slice(text).ok();
    read.unwrap_or_default().schema.properties.0
}

/// The properties for each tool of a `tools/list` result, or of the response around it; empty if the text is
/// invalid.
pub fn tool_list_orders(text: &str) -> Vec<Vec<SmolStr>> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Tools {
        tools: Vec<DefinitionSchema>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Response {
        result: Tools,
    }
    let here = serde_json::from_str::<Tools>(text).ok();
    let tools = match here.filter(|it| !it.tools.is_empty()) {
        Some(here) => here.tools,
        None => {
            let response = serde_json::from_str::<Response>(text).ok();
            response.unwrap_or_default().result.tools
        }
    };
    tools.into_iter().map(|it| it.schema.properties.0).collect()
}

/// The properties of each `input_schema` in a registration file, by tool name.
pub fn registration_orders(text: &str) -> BTreeMap<String, Vec<SmolStr>> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Entry {
        input_schema: SchemaProperties,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Registration {
        tools: BTreeMap<String, Entry>,
    }
    let read: Option<Registration> = serde_json::from_str(text).ok();
    let tools = read.unwrap_or_default().tools.into_iter();
    tools
        .map(|(name, entry)| (name, entry.input_schema.properties.0))
        .collect()
}

/// The text of a JSON SchemaProperties with its properties in this order, followed by those not listed.
pub fn schema_text(schema: &Json, order: &[SmolStr]) -> String {
    let Json::Object(words) = schema else {
        return schema.to_string();
    };
    let members = words.iter().map(|(word, value)| {
        let value = match value {
            Json::Object(properties) if word == "properties" => ordered_text(properties, order),
            other => other.to_string(),
        };
        (word.as_str(), value)
    });
    object_text(members)
}

fn ordered_text(object: &Map<String, Json>, order: &[SmolStr]) -> String {
    let names = arrange(object.keys().map(String::as_str), |_| false, order);
    let member = |name: &SmolStr| {
        let value = object.get(name.as_str());
        (name.clone(), value.unwrap_or(&Json::Null).to_string())
    };
    object_text(names.iter().map(member))
}

fn object_text(members: impl Iterator<Item = (impl AsRef<str>, String)>) -> String {
    let member = |(name, value): (_, String)| {
        let name: &str = AsRef::as_ref(&name);
        format!("{}:{value}", Json::from(name))
    };
    let members: Vec<String> = members.map(member).collect();
    format!("{{{}}}", members.join(","))
}

/// Sorts names for display: targets first, then in declaration order, then alphabetically.
pub fn arrange<'n>(
    names: impl Iterator<Item = &'n str>,
    is_target: impl Fn(&str) -> bool,
    declared: &[SmolStr],
) -> Vec<SmolStr> {
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(declared.len());
    for (place, name) in declared.iter().enumerate() {
        places.entry(name).or_insert(place);
    }
    let place = |name: &str| places.get(name).copied().unwrap_or(usize::MAX);
    let mut arrange: Vec<_> = names
        .map(|name| (!is_target(name), place(name), name))
        .collect();
    arrange.sort_unstable();
    arrange
        .into_iter()
        .map(|(_, _, name)| SmolStr::new(name))
        .collect()
}

impl<'de> Deserialize<'de> for MemberNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = MemberNames;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<MemberNames, A::Error> {
                let mut names: Vec<SmolStr> = Vec::new();
                while let Some((name, IgnoredAny)) = members.next_entry::<SmolStr, _>()? {
                    if names.len() < MAX_NAMES {
                        names.push(name);
                    }
                }
                Ok(MemberNames(names))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
#[path = "argument_order_tests.rs"]
mod tests;
