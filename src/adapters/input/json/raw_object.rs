//! JSON objects and lists split into raw members and items. What is not inspected is not parsed, and what
//! passes keeps its bytes.

use std::fmt;

use serde::Deserialize as _;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::adapters::input::field_error::{FieldError, FieldProblem, TextExcerpt};
use crate::adapters::input::json::KeyPolicy;

/// An object whose members are unparsed text.
#[derive(Debug, Clone)]
pub struct RawObject<'t>(Vec<(String, &'t RawValue)>);

impl<'t> RawObject<'t> {
    /// Splits an object. Duplicate names and names equal after folding are errors.
    pub(in crate::adapters) fn read(text: &'t [u8], field: &str) -> Result<Self, FieldError> {
        let invalid = |said: String| FieldError::new(field, FieldProblem::Json(said));
        let members = Self::with_own_names(text, field)?;
        let mut names: Vec<&String> = members.0.iter().map(|(name, _)| name).collect();
        if let Some(fault) = KeyPolicy::Distinct.fault(names.iter().copied()) {
            return Err(invalid(fault));
        }
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let name = TextExcerpt::new(twice[0]);
            return Err(invalid(format!("the key `{name}` appears twice")));
        }
        Ok(members)
    }

    /// Splits an object whose members its sender names: any names, also one twice.
    pub(in crate::adapters) fn with_own_names(
        text: &'t [u8],
        field: &str,
    ) -> Result<Self, FieldError> {
        let mut reader = serde_json::Deserializer::from_slice(text);
        let members = reader.deserialize_map(Members);
        let members = members.and_then(|members| reader.end().map(|()| members));
        let members = members
            .map_err(|error| FieldError::new(field, FieldProblem::Json(error.to_string())))?;
        Ok(Self(members))
    }

    /// The raw text of a member.
    pub fn get(&self, name: &str) -> Option<&'t str> {
        let member = self.0.iter().find(|(known, _)| known == name);
        member.map(|(_, value)| value.get())
    }

    /// Names and raw members in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'t str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.get()))
    }

    /// Removes a member.
    pub(in crate::adapters) fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// The names of the members.
    pub(in crate::adapters) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Writes the object with other texts for some members.
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

/// Splits a list; `None` if the text is no list.
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
