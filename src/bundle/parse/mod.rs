//! Parses each kind of file in a bundle; what is invalid becomes diagnostics.
//!
//! [`schema`] merges the schema fragments, [`policies`] and [`template_links`] build the policy set, [`entities`] and
//! [`registration`] the entities, and [`typed_input`] types the arguments of tools. [`json`] rejects duplicate keys and
//! locates values. [`nesting`] and `schema_limits` bound the input of Cedar's recursive parsers and validators.
//!
//! Invariant: no file access.

pub mod entities;
pub mod json;
pub mod nesting;
pub mod policies;
pub mod registration;
pub mod schema;
pub(crate) mod schema_limits;
pub mod template_links;
pub mod typed_input;
