//! Reads each kind of file of a bundle into typed values, within limits, with the place of every fault.

pub mod entities;
pub mod json;
pub mod nesting;
pub mod policies;
pub mod registration;
pub mod schema;
pub(crate) mod schema_limits;
pub mod template_links;
pub mod typed_input;
