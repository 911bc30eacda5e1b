//! Converts `EntityRef` to a Cedar entity uid, caching parsed type names.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use callgate_engine::cedar::{Eid, EntityType, EntityUID};

use crate::adapters::callgate_v1::parse::MessageParser;
use crate::adapters::input::field_error::{FieldContext, FieldError, FieldProblem, TextExcerpt};
use crate::adapters::input::limits::check_length;
use crate::proto::v1;

/// The types of the `Mcp` schema, known from the start so that looking them up takes no lock.
const KNOWN: [&str; 9] = [
    "Action", "Agent", "Gateway", "Group", "Prompt", "Resource", "Server", "Task", "Tool",
];
/// The most other types that are cached, so that callers cannot fill the memory with names.
const REMEMBERED: usize = 1_024;

/// Parsed entity types by their names on the wire.
pub struct EntityTypeCache {
    known: HashMap<String, EntityType>,
    others: RwLock<HashMap<String, EntityType>>,
}

impl Default for EntityTypeCache {
    fn default() -> Self {
        let mut known = HashMap::new();
        for name in KNOWN.into_iter().chain(["User"]) {
            let full = format!("Mcp::{name}");
            if let Ok(parsed) = EntityType::from_normalized_str(&full) {
                known.insert(name.to_owned(), parsed.clone());
                known.insert(full, parsed);
            }
        }
        Self {
            known,
            others: RwLock::default(),
        }
    }
}

impl EntityTypeCache {
    /// The type of a name; a name without a namespace is in `Mcp`.
    fn mcp(&self, name: &str) -> Result<EntityType, FieldProblem> {
        match self.known.get(name) {
            Some(found) => Ok(found.clone()),
            None if name.contains("::") => self.other(name),
            None => self
                .other(&format!("Mcp::{name}"))
                .map_err(|_| FieldProblem::NotAnEntityType(TextExcerpt::new(name))),
        }
    }

    /// The type of a name exactly as given: a plain Cedar request may use types without a namespace.
    pub(in crate::adapters) fn exact(&self, name: &str) -> Result<EntityType, FieldProblem> {
        if name.contains("::")
            && let Some(found) = self.known.get(name)
        {
            return Ok(found.clone());
        }
        self.other(name)
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.others
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    fn other(&self, name: &str) -> Result<EntityType, FieldProblem> {
        // The maps only hold complete values, so a poisoned lock guards nothing inconsistent.
        if let Some(found) = self
            .others
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
        {
            return Ok(found.clone());
        }
        let parsed = EntityType::from_normalized_str(name)
            .map_err(|_| FieldProblem::NotAnEntityType(TextExcerpt::new(name)))?;
        let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
        if others.len() < REMEMBERED {
            others.insert(name.to_owned(), parsed.clone());
        }
        Ok(parsed)
    }
}

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
        let id = self.required_id(wire.id, "id")?;
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
        let id = self.required_id(wire.id, "id").within(field)?;
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
