//! Reads what strangers send: strict JSON, ids, media types, and errors that name the field.

pub mod field_error;
pub(in crate::adapters) mod ids;
pub(in crate::adapters) mod json;
pub mod json_fields;
pub(in crate::adapters) mod limits;
pub(in crate::adapters) mod media_type;
pub(in crate::adapters) mod nulls;
