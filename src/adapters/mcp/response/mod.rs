//! Messages of MCP servers: what is filtered from them, and errors in JSON-RPC's form.

pub mod filter;
pub mod json_rpc_error;
