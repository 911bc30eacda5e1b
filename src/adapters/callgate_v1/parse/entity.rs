//! Converts `EntityRef` to a Cedar entity uid.

use bytes::Bytes;
use callgate_engine::cedar::{Eid, EntityType, EntityUID};
use smol_str::SmolStr;

use crate::adapters::callgate_v1::parse::MessageParser;
use crate::adapters::input::entity_types::EntityTypeCache;
use crate::adapters::input::field_error::{FieldContext, FieldError, FieldProblem};
use crate::adapters::input::limits::check_length;
use crate::adapters::input::wire_text;
use crate::proto::{served, v1};

impl MessageParser<'_> {
    /// Parses a required entity; `Agent` alone means `Mcp::Agent`.
    pub(in crate::adapters::callgate_v1) fn entity(
        &self,
        wire: Option<impl Into<served::EntityRef>>,
        field: &'static str,
    ) -> Result<EntityUID, FieldError> {
        let wire = wire.ok_or_else(|| FieldError::new(field, FieldProblem::Missing))?;
        self.mcp_entity(wire).within(field)
    }

    /// Parses an entity of a list; `Agent` alone means `Mcp::Agent`.
    pub(in crate::adapters::callgate_v1) fn mcp_entity(
        &self,
        wire: impl Into<served::EntityRef>,
    ) -> Result<EntityUID, FieldError> {
        let wire = wire.into();
        let entity_type = self.mcp_type(&wire.r#type)?;
        let id: SmolStr = self.required_id(wire.id, "id")?;
        Ok(EntityUID::from_components(entity_type, Eid::new(id), None))
    }

    /// Parses a required entity of exactly the given type.
    pub(in crate::adapters::callgate_v1) fn exact_entity(
        &self,
        wire: Option<impl Into<served::EntityRef>>,
        field: &'static str,
    ) -> Result<EntityUID, FieldError> {
        let wire = wire.ok_or_else(|| FieldError::new(field, FieldProblem::Missing))?;
        let wire = wire.into();
        let entity_type = self
            .entity_type(&wire.r#type, EntityTypeCache::exact)
            .within(field)?;
        let id: SmolStr = self.required_id(wire.id, "id").within(field)?;
        Ok(EntityUID::from_components(entity_type, Eid::new(id), None))
    }

    /// Parses the name of a type; `Agent` alone means `Mcp::Agent`.
    pub(in crate::adapters::callgate_v1) fn mcp_type(
        &self,
        name: &Bytes,
    ) -> Result<EntityType, FieldError> {
        self.entity_type(name, EntityTypeCache::mcp)
    }

    /// The whole name of a type, if it is one; `Agent` alone means `Mcp::Agent`.
    pub(in crate::adapters::callgate_v1) fn whole_type(&self, name: &str) -> Option<String> {
        let is_short = name.len() <= self.limits.id_bytes as usize;
        let of_type = is_short.then(|| self.types.mcp(name));
        of_type?.ok().map(|it| it.to_string())
    }

    fn entity_type(
        &self,
        name: &Bytes,
        type_of: impl Fn(&EntityTypeCache, &str) -> Result<EntityType, FieldProblem>,
    ) -> Result<EntityType, FieldError> {
        let name = wire_text::text(name, "type")?;
        if name.is_empty() {
            return Err(FieldError::new("type", FieldProblem::Missing));
        }
        check_length(name, self.limits.id_bytes, "type")?;
        type_of(self.types, name).map_err(|problem| FieldError::new("type", problem))
    }
}

impl From<v1::EntityRef> for served::EntityRef {
    fn from(wire: v1::EntityRef) -> Self {
        Self {
            r#type: wire.r#type.into(),
            id: wire.id.into(),
        }
    }
}

impl From<v1::Identity> for served::Identity {
    fn from(wire: v1::Identity) -> Self {
        Self {
            method: wire.method.into(),
            verified: wire.verified,
        }
    }
}
