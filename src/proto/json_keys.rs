//! No field of a message is given twice in its JSON form, by one spelling or by both, and no key of anything else.
//!
//! Protobuf's reader takes the last of several values. Start at [`check`].

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// What a value is, as far as its keys are concerned.
#[derive(Debug, Clone)]
enum Keys {
    /// A message, whose fields have two spellings each.
    Message(MessageDescriptor),
    /// A map of the protocol, with values that are this.
    Map(Box<Keys>),
    /// Whatever has keys of its own: two different ones are never the same.
    Own,
}

/// Checks that no key of a message in its JSON form occurs twice, at any depth.
///
/// # Errors
///
/// The key that does, with its place; or that the text is not JSON.
pub(super) fn check(message: MessageDescriptor, text: &str) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    Keys::of_message(message).deserialize(&mut reader)
}

impl Keys {
    fn of_message(message: MessageDescriptor) -> Self {
        // `Struct` and its kind have a JSON form of their own, whose keys are not their fields.
        match message.package_name() {
            "google.protobuf" => Self::Own,
            _ => Self::Message(message),
        }
    }

    fn of_field(field: &FieldDescriptor) -> Self {
        match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let value = entry.map_entry_value_field();
                Self::Map(Box::new(Self::of_field(&value)))
            }
            Kind::Message(message) => Self::of_message(message),
            _ => Self::Own,
        }
    }

    /// The one name of what a key means, and what is below it.
    fn member(&self, key: Cow<'_, str>) -> (String, Self) {
        match self {
            Self::Message(message) => {
                let field = message.get_field_by_json_name(&key);
                match field.or_else(|| message.get_field_by_name(&key)) {
                    Some(field) => (field.name().to_owned(), Self::of_field(&field)),
                    // The reader of messages refuses it.
                    None => (key.into_owned(), Self::Own),
                }
            }
            Self::Map(values) => (key.into_owned(), (**values).clone()),
            Self::Own => (key.into_owned(), Self::Own),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Keys {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keys {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while elements.next_element_seed(self.clone())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = members.next_key::<Cow<'de, str>>()? {
            let shown = key.to_string();
            let (name, below) = self.member(key);
            if !seen.insert(name) {
                return Err(A::Error::custom(format_args!(
                    "the key `{shown}` occurs twice"
                )));
            }
            members.next_value_seed(below)?;
        }
        Ok(())
    }
}
