//! What can be written in more than one way.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{DeserializeOwned, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A named fixture, or the same written out.
#[derive(Debug, Clone)]
pub enum Given<T> {
    /// The name of a fixture.
    Name(String),
    /// The thing itself.
    Inline(T),
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct GivenVisitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: DeserializeOwned> Visitor<'de> for GivenVisitor<T> {
            type Value = Given<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a fixture, or the same written out")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Given::Name(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Given::Inline)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                T::deserialize(SeqAccessDeserializer::new(seq)).map(Given::Inline)
            }
        }
        deserializer.deserialize_any(GivenVisitor(std::marker::PhantomData))
    }
}

/// A session: its labels alone, or all of it.
#[derive(Debug, Default, Clone)]
pub struct SessionForm {
    /// What its calls have read.
    pub labels: Vec<String>,
    /// How many calls were allowed in it.
    pub calls: Option<u64>,
    /// The tools called, latest last.
    pub tools: Vec<String>,
}

impl<'de> Deserialize<'de> for SessionForm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct Whole {
            labels: Vec<String>,
            calls: Option<u64>,
            tools: Vec<String>,
        }
        struct SessionVisitor;
        impl<'de> Visitor<'de> for SessionVisitor {
            type Value = SessionForm;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of labels, or a session with `labels`, `calls` and `tools`")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let whole = Whole::deserialize(MapAccessDeserializer::new(map))?;
                Ok(SessionForm {
                    labels: whole.labels,
                    calls: whole.calls,
                    tools: whole.tools,
                })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                let labels = Vec::deserialize(SeqAccessDeserializer::new(seq))?;
                Ok(SessionForm {
                    labels,
                    ..SessionForm::default()
                })
            }
        }
        deserializer.deserialize_any(SessionVisitor)
    }
}
