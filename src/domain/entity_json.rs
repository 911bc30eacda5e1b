//! Entities in Cedar's JSON form.

use callgate_engine::cedar::{
    CoreSchema, Entity, EntityJsonParser, Extensions, TCComputation, ValidatorSchema,
};
use serde_json::Value as Json;

use crate::domain::error_chain::with_causes;
use crate::domain::request::cedar_number;
use crate::domain::request::target::stored;
use crate::domain::unconfirmed_tool;

/// Parses an entity of the store, as [`parse_entity`] does, and leaves out what a resource must not state
/// ([`stored::derived_attribute`]).
///
/// # Errors
///
/// As [`parse_entity`].
pub fn parse_stored(schema: Option<&ValidatorSchema>, json: &str) -> Result<Entity, String> {
    parse_entity(schema, json).map(stored::without_derived)
}

/// Parses an entity in Cedar's JSON form and checks it against the schema. Of an unconfirmed tool it has what counts
/// ([`unconfirmed_tool`]).
///
/// # Errors
///
/// The parser's message, with its causes.
pub fn parse_entity(schema: Option<&ValidatorSchema>, json: &str) -> Result<Entity, String> {
    let value = serde_json::from_str(json).map_err(|error| error.to_string())?;
    parse_value(schema, value)
}

/// The same of JSON that is parsed already.
///
/// # Errors
///
/// As [`parse_entity`].
pub fn parse_value(schema: Option<&ValidatorSchema>, value: Json) -> Result<Entity, String> {
    let core = schema.map(CoreSchema::new);
    let extensions = Extensions::all_available();
    let parser = EntityJsonParser::new(
        core.as_ref(),
        extensions,
        TCComputation::AssumeAlreadyComputed,
    );
    if let Some(said) = cedar_number::unfit(&value, "") {
        return Err(said);
    }
    let parsed = parser.single_from_json_value(value);
    parsed
        .map(unconfirmed_tool::in_force)
        .map_err(|error| with_causes(&error))
}
