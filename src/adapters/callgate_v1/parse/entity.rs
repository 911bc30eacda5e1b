//! Converts `EntityRef` to a Cedar entity uid.

use callgate_engine::cedar::{Eid, EntityType, EntityUID};
use smol_str::SmolStr;

use crate::adapters::callgate_v1::parse::MessageParser;
use crate::adapters::input::entity_types::EntityTypeCache;
use crate::adapters::input::field_error::{FieldContext, FieldError, FieldProblem};
use crate::adapters::input::limits::check_length;
use crate::proto::v1;

impl MessageParser<'_> {
    /// Parses a required entity; `Agent` alone means `Mcp::Agent`.
    pub(in crate::adapters::callgate_v1) fn entity(
        &self,
        wire: Option<v1::EntityRef>,
        field: &'static str,
    ) -> Result<EntityUID, FieldError> {
        let wire = wire.ok_or_else(|| FieldError::new(field, FieldProblem::Missing))?;
        self.mcp_entity(wire).within(field)
    }

    /// Parses an entity of a list; `Agent` alone means `Mcp::Agent`.
    pub(in crate::adapters::callgate_v1) fn mcp_entity(
        &self,
        wire: v1::EntityRef,
    ) -> Result<EntityUID, FieldError> {
        let entity_type = self.entity_type(&wire.r#type, EntityTypeCache::mcp)?;
        let id: SmolStr = self.required_id(wire.id, "id")?;
        Ok(EntityUID::from_components(entity_type, Eid::new(id), None))
    }

    /// Parses a required entity of exactly the given type.
    pub(in crate::adapters::callgate_v1) fn exact_entity(
        &self,
        wire: Option<v1::EntityRef>,
        field: &'static str,
    ) -> Result<EntityUID, FieldError> {
        let wire = wire.ok_or_else(|| FieldError::new(field, FieldProblem::Missing))?;
        let entity_type = self
            .entity_type(&wire.r#type, EntityTypeCache::exact)
            .within(field)?;
        let id: SmolStr = self.required_id(wire.id, "id").within(field)?;
        Ok(EntityUID::from_components(entity_type, Eid::new(id), None))
    }

    fn entity_type(
        &self,
        name: &str,
        type_of: impl Fn(&EntityTypeCache, &str) -> Result<EntityType, FieldProblem>,
    ) -> Result<EntityType, FieldError> {
        if name.is_empty() {
            return Err(FieldError::new("type", FieldProblem::Missing));
        }
        check_length(name, self.limits.id_bytes, "type")?;
        type_of(self.types, name).map_err(|problem| FieldError::new("type", problem))
    }
}
