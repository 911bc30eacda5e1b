//! What adapters parse from strangers: strict JSON, ids and limits, media types, and errors that name the field.
//!
//! Start at [`field_error`]. `json` is the one reader of JSON, with its limits on nesting, names and numbers; `ids` says
//! what an id is, `limits` how long and how many.
//!
//! Invariant: what two readers could read differently is an error, and no error repeats more than an excerpt of what was
//! sent.

pub(in crate::adapters) mod cedar_context;
pub mod entity_types;
pub mod field_error;
pub(in crate::adapters) mod ids;
pub(in crate::adapters) mod json;
pub mod json_fields;
pub(in crate::adapters) mod limits;
pub(in crate::adapters) mod media_type;
pub(in crate::adapters) mod nulls;
mod typed_context;
pub(in crate::adapters) mod wire_text;
