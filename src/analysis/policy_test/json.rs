//! JSON in test files: its numbers are read as those of a request are.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value as Json};

use crate::domain::request::json_text::{self, InexactNumber};

/// Reads a value as the YAML says it, and its numbers as a server reads them: `1.0` and `1e0` are `1`.
///
/// # Errors
///
/// Those of YAML, and a whole number beyond 64 bits.
pub(super) fn served<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Numbers,
{
    let mut value = T::deserialize(deserializer)?;
    let read = value.read_numbers();
    read.map_err(|_| D::Error::custom("a whole number does not fit 64 bits"))?;
    Ok(value)
}

/// What may hold numbers.
pub(super) trait Numbers {
    fn read_numbers(&mut self) -> Result<(), InexactNumber>;
}

impl Numbers for Json {
    fn read_numbers(&mut self) -> Result<(), InexactNumber> {
        match self {
            Self::Number(number) => *number = json_text::of_parsed(number)?,
            Self::Array(items) => items.read_numbers()?,
            Self::Object(members) => members.read_numbers()?,
            Self::Null | Self::Bool(_) | Self::String(_) => {}
        }
        Ok(())
    }
}

impl Numbers for Map<String, Json> {
    fn read_numbers(&mut self) -> Result<(), InexactNumber> {
        self.values_mut().try_for_each(Numbers::read_numbers)
    }
}

impl<T: Numbers> Numbers for Vec<T> {
    fn read_numbers(&mut self) -> Result<(), InexactNumber> {
        self.iter_mut().try_for_each(Numbers::read_numbers)
    }
}

impl<T: Numbers> Numbers for BTreeMap<String, T> {
    fn read_numbers(&mut self) -> Result<(), InexactNumber> {
        self.values_mut().try_for_each(Numbers::read_numbers)
    }
}
