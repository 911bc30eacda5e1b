//! Serialized forms of entity uids (`{"type": …, "id": …}`) and times (milliseconds since the Unix epoch).

use std::time::{Duration, SystemTime};

use callgate_engine::cedar::{Eid, EntityType, EntityUID};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use smol_str::SmolStr;

/// The serialized form of an entity uid.
#[derive(Serialize, Deserialize)]
struct UidForm {
    #[serde(rename = "type")]
    ty: SmolStr,
    id: SmolStr,
}

impl UidForm {
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

/// `#[serde(with)]` for a uid.
pub mod uid {
    use super::*;

    /// Serializes a uid.
    pub fn serialize<S: Serializer>(uid: &EntityUID, serializer: S) -> Result<S::Ok, S::Error> {
        UidForm::of(uid).serialize(serializer)
    }

    /// Deserializes a uid.
    pub fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<EntityUID, D::Error> {
        UidForm::deserialize(deserializer)?.uid()
    }
}

/// `#[serde(with)]` for a list of uids.
pub mod uids {
    use super::*;

    /// Serializes uids.
    pub fn serialize<S: Serializer>(uids: &[EntityUID], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(uids.iter().map(UidForm::of))
    }

    /// Deserializes uids.
    pub fn deserialize<'d, D: Deserializer<'d>>(
        deserializer: D,
    ) -> Result<Vec<EntityUID>, D::Error> {
        let names = Vec::<UidForm>::deserialize(deserializer)?;
        names.into_iter().map(UidForm::uid).collect()
    }
}

/// `#[serde(with)]` for an optional uid.
pub mod maybe_uid {
    use super::*;

    /// Serializes an optional uid.
    pub fn serialize<S: Serializer>(
        uid: &Option<EntityUID>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        uid.as_ref().map(UidForm::of).serialize(serializer)
    }

    /// Deserializes an optional uid.
    pub fn deserialize<'d, D: Deserializer<'d>>(
        deserializer: D,
    ) -> Result<Option<EntityUID>, D::Error> {
        let name = Option::<UidForm>::deserialize(deserializer)?;
        name.map(UidForm::uid).transpose()
    }
}

/// `#[serde(with)]` for a time.
pub mod moment {
    use super::*;

    /// Serializes milliseconds since the Unix epoch; 0 for earlier times.
    pub fn serialize<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        millis(*at).serialize(serializer)
    }

    /// Deserializes milliseconds since the Unix epoch.
    pub fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<SystemTime, D::Error> {
        from_millis(u64::deserialize(deserializer)?)
            .ok_or_else(|| de::Error::custom("a moment beyond what this system can tell"))
    }
}

/// `#[serde(with)]` for an optional time.
pub mod maybe_moment {
    use super::*;

    /// Serializes an optional time.
    pub fn serialize<S: Serializer>(
        at: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        at.map(millis).serialize(serializer)
    }

    /// Deserializes an optional time.
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

/// Milliseconds since the Unix epoch; 0 for earlier times.
pub fn millis(at: SystemTime) -> u64 {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The time at these milliseconds since the Unix epoch; `None` if the platform cannot represent it.
pub fn from_millis(millis: u64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}
