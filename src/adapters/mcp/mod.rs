//! The Model Context Protocol (MCP), shared by all adapters whose gateways forward its messages.
//!
//! Start at [`message`]: bytes become one JSON-RPC message. [`methods`] is the table of all methods of both revisions,
//! the stateless one (2026-07-28) and the one with sessions (2025-11-25). [`request`] maps a client's message to the
//! operations that are decided, [`response`] filters what a server sends. `member_spelling` rejects misspelled members;
//! [`server_set`] knows which server a name in a merged list belongs to.
//!
//! Invariant: nothing here is about one gateway, and nothing is guessed. What two readers could read differently (a
//! duplicate key, another spelling, an unknown method) is an error, because the server is the other reader.

pub(in crate::adapters) mod member_spelling;
pub mod message;
pub mod methods;
pub mod request;
pub mod response;
pub mod server_set;
