//! The names of the `Mcp` schema, made once.

/// The schema of the namespace `Mcp`, part of every bundle.
pub const SCHEMA: &str = include_str!("mcp.cedarschema");
