//! Messages of clients: the operations that they ask for, and the headers that mirror them.
//!
//! Start at [`operations`], which parses a method and its parameters. [`client_responses`] parses what a client sends back
//! to a server that asked for input, [`intent`] is the result of both. `mirrored_headers` holds the headers `Mcp-Method`,
//! `Mcp-Name` and `Mcp-Param-...` against the body.

pub mod client_responses;
pub mod header_value;
pub mod intent;
pub(in crate::adapters) mod mirrored_headers;
pub mod operations;
