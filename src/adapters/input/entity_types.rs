//! Parsed names of entity types, so that a name is parsed once and not with every request.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use callgate_engine::cedar::EntityType;

use crate::adapters::input::field_error::{FieldProblem, TextExcerpt};
use crate::domain::schema::TYPES;

/// The most other types that are cached, so that callers cannot fill the memory with names.
const REMEMBERED: usize = 1_024;

/// Parsed entity types by their names on the wire.
pub struct EntityTypeCache {
    /// The types of the `Mcp` schema, so that looking them up takes no lock. They are clones of [`TYPES`], with which they are
    /// compared faster than others.
    known: HashMap<String, EntityType>,
    others: RwLock<HashMap<String, EntityType>>,
}

impl Default for EntityTypeCache {
    fn default() -> Self {
        let mut known = HashMap::new();
        for of_type in TYPES.all() {
            let name: &str = of_type.name().basename_as_ref().as_ref();
            known.insert(name.to_owned(), of_type.clone());
            known.insert(of_type.to_string(), of_type.clone());
        }
        Self {
            known,
            others: RwLock::default(),
        }
    }
}

impl EntityTypeCache {
    /// The type of a name; a name without a namespace is in `Mcp`.
    pub(in crate::adapters) fn mcp(&self, name: &str) -> Result<EntityType, FieldProblem> {
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
    pub(in crate::adapters) fn remembered(&self) -> usize {
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
