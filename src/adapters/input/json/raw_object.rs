//! Objects and lists cut into their parts, which stay as they were written: what needs no judging is not read, and what
//! passes is the same bytes.

use std::fmt;

use serde::Deserialize as _;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::adapters::input::field_error::{FieldError, FieldProblem, TextExcerpt};
use crate::adapters::input::json::KeyPolicy;

/// An object whose members have not been read.
#[derive(Debug, Clone)]
pub struct RawObject<'t>(Vec<(String, &'t RawValue)>);

impl<'t> RawObject<'t> {
    /// Cuts an object. No name comes twice, nor do two that fold to one.
    pub(in crate::adapters) fn read(text: &'t [u8], field: &str) -> Result<Self, FieldError> {
        let invalid = |said: String| FieldError::new(field, FieldProblem::Json(said));
        let mut reader = serde_json::Deserializer::from_slice(text);
        let members = reader.deserialize_map(Members);
        let members = members.and_then(|members| reader.end().map(|()| members));
        let members = members.map_err(|error| invalid(error.to_string()))?;
        let mut names: Vec<&String> = members.iter().map(|(name, _)| name).collect();
        if let Some(fault) = KeyPolicy::Distinct.fault(names.iter().copied()) {
            return Err(invalid(fault));
        }
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let name = TextExcerpt::new(twice[0]);
            return Err(invalid(format!("the key `{name}` appears twice")));
        }
        Ok(Self(members))
    }

    /// The member of this name, as it is written.
    pub fn get(&self, name: &str) -> Option<&'t str> {
        let member = self.0.iter().find(|(known, _)| known == name);
        member.map(|(_, value)| value.get())
    }

    /// Names and members in the order in which they are written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'t str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.get()))
    }

    /// Leaves a member out.
    pub(in crate::adapters) fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// The members' names.
    pub(in crate::adapters) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The object as JSON, with other texts for some members.
    pub(in crate::adapters) fn with<'a>(
        &'a self,
        other: impl Fn(&str) -> Option<&'a str>,
    ) -> String {
        let mut text = String::from("{");
        for (name, value) in self.iter() {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(&serde_json::Value::from(name).to_string());
            text.push(':');
            text.push_str(other(name).unwrap_or(value));
        }
        text.push('}');
        text
    }
}

/// Cuts a list; `None` if it is none.
pub(in crate::adapters) fn list(text: &str) -> Option<Vec<&str>> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let items = Vec::<&RawValue>::deserialize(&mut reader).ok()?;
    Some(items.into_iter().map(RawValue::get).collect())
}

struct Members;

impl<'t> Visitor<'t> for Members {
    type Value = Vec<(String, &'t RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            members.push(entry);
        }
        Ok(members)
    }
}
