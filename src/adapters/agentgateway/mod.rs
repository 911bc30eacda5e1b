//! agentgateway, which asks twice about a request: before a server receives it (`ExtMcp/CheckRequest`) and
//! before the client receives the response (`ExtMcp/CheckResponse`).
//!
//! Start at [`rpcs::ExtMcp`], which admits, calls the service and has [`reply`] encode. [`request`] parses
//! what a client asks for and of which servers; [`identity`] reads the conversation from the gateway's
//! metadata, the only source that responses have too.
//!
//! Invariant: what cannot be parsed or is ambiguous is rejected; only an allow of the service lets a message
//! through; no entry of a merged list passes that its server may not show to the client.

mod identity;
mod reply;
mod request;
pub mod rpcs;
