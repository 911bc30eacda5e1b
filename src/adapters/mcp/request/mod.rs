//! Messages of MCP clients: the operation they ask for, and the fields that headers mirror.

pub mod client_responses;
pub mod header_value;
pub mod intent;
pub(in crate::adapters) mod mirrored_headers;
pub mod operations;
