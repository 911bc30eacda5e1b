//! How names of entities and moments are written down: `{"type": …, "id": …}`, and milliseconds since
//! the Unix epoch.

use std::time::{Duration, SystemTime};

use callgate_engine::cedar::{Eid, EntityType, EntityUID};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use smol_str::SmolStr;

/// The written form of an entity's name.
#[derive(Serialize, Deserialize)]
struct Name {
    #[serde(rename = "type")]
    ty: SmolStr,
    id: SmolStr,
}

impl Name {
    fn of(uid: &EntityUID) -> Self {
        let id: &str = uid.eid().as_ref();
        Self {
            ty: uid.entity_type().to_string().into(),
            id: id.into(),
        }
    }

    fn uid<E: de::Error>(self) -> Result<EntityUID, E> {
        let ty = EntityType::from_normalized_str(&self.ty).map_err(E::custom)?;
        Ok(EntityUID::from_components(ty, Eid::new(self.id), None))
    }
}

/// For `#[serde(with)]` on one name.
pub mod uid {
    use super::*;

    /// Writes a name.
    pub fn serialize<S: Serializer>(uid: &EntityUID, serializer: S) -> Result<S::Ok, S::Error> {
        Name::of(uid).serialize(serializer)
    }

    /// Reads a name.
    pub fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<EntityUID, D::Error> {
        Name::deserialize(deserializer)?.uid()
    }
}

/// For `#[serde(with)]` on a list of names.
pub mod uids {
    use super::*;

    /// Writes names.
    pub fn serialize<S: Serializer>(uids: &[EntityUID], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(uids.iter().map(Name::of))
    }

    /// Reads names.
    pub fn deserialize<'d, D: Deserializer<'d>>(
        deserializer: D,
    ) -> Result<Vec<EntityUID>, D::Error> {
        let names = Vec::<Name>::deserialize(deserializer)?;
        names.into_iter().map(Name::uid).collect()
    }
}

/// For `#[serde(with)]` on a name that may be absent.
pub mod maybe_uid {
    use super::*;

    /// Writes a name or nothing.
    pub fn serialize<S: Serializer>(
        uid: &Option<EntityUID>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        uid.as_ref().map(Name::of).serialize(serializer)
    }

    /// Reads a name or nothing.
    pub fn deserialize<'d, D: Deserializer<'d>>(
        deserializer: D,
    ) -> Result<Option<EntityUID>, D::Error> {
        let name = Option::<Name>::deserialize(deserializer)?;
        name.map(Name::uid).transpose()
    }
}

/// For `#[serde(with)]` on a moment.
pub mod moment {
    use super::*;

    /// Writes milliseconds; what is before the epoch is written as the epoch.
    pub fn serialize<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        millis(*at).serialize(serializer)
    }

    /// Reads milliseconds.
    pub fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<SystemTime, D::Error> {
        from_millis(u64::deserialize(deserializer)?)
            .ok_or_else(|| de::Error::custom("a moment beyond what this system can tell"))
    }
}

/// For `#[serde(with)]` on a moment that may be absent.
pub mod maybe_moment {
    use super::*;

    /// Writes milliseconds or nothing.
    pub fn serialize<S: Serializer>(
        at: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        at.map(millis).serialize(serializer)
    }

    /// Reads milliseconds or nothing.
    pub fn deserialize<'d, D: Deserializer<'d>>(
        deserializer: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        let written = Option::<u64>::deserialize(deserializer)?;
        let read = |millis| {
            from_millis(millis)
                .ok_or_else(|| de::Error::custom("a moment beyond what this system can tell"))
        };
        written.map(read).transpose()
    }
}

/// Milliseconds since the epoch; 0 for what is before it.
pub fn millis(at: SystemTime) -> u64 {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The moment that many milliseconds after the epoch, if the system can tell it.
pub fn from_millis(millis: u64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}
