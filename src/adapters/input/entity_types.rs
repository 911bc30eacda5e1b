//! Parsed names of entity types, so that a name is parsed once and not with every request.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use callgate_engine::cedar::EntityType;

use crate::adapters::input::field_error::{FieldProblem, TextExcerpt};
use crate::domain::schema::TYPES;

/// The most other types that are cached, so that callers cannot fill the memory with names.
const REMEMBERED: usize = 1_024;
/// The longest name that is cached, in bytes.
const REMEMBERED_BYTES: usize = 256;

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
        self.full(name).map_or_else(|| self.other(name), Ok)
    }

    /// The same, which is not remembered: a name in a context, of which one request may have many.
    pub(in crate::adapters) fn exact_uncached(
        &self,
        name: &str,
    ) -> Result<EntityType, FieldProblem> {
        let found = self.full(name).or_else(|| self.found(name).ok());
        found.map_or_else(|| parse(name), Ok)
    }

    #[cfg(test)]
    pub(in crate::adapters) fn remembered(&self) -> usize {
        self.others
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// The type of the `Mcp` schema with this name, namespace and all.
    fn full(&self, name: &str) -> Option<EntityType> {
        let is_full = name.contains("::");
        self.known.get(name).filter(|_| is_full).cloned()
    }

    fn other(&self, name: &str) -> Result<EntityType, FieldProblem> {
        let has_room = match self.found(name) {
            Ok(found) => return Ok(found),
            Err(remembered) => remembered < REMEMBERED && name.len() <= REMEMBERED_BYTES,
        };
        let parsed = parse(name)?;
        if has_room {
            let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
            if others.len() < REMEMBERED {
                others.insert(name.to_owned(), parsed.clone());
            }
        }
        Ok(parsed)
    }

    /// A type that is remembered, or how many are.
    fn found(&self, name: &str) -> Result<EntityType, usize> {
        // The map only holds complete values, so a poisoned lock guards nothing inconsistent.
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        others.get(name).cloned().ok_or(others.len())
    }
}

fn parse(name: &str) -> Result<EntityType, FieldProblem> {
    EntityType::from_normalized_str(name)
        .map_err(|_| FieldProblem::NotAnEntityType(TextExcerpt::new(name)))
}
