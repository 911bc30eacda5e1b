//! agentgateway, which asks twice about a call: before a server sees it (`ExtMcp/CheckRequest`) and before the
//! client sees what the server answers (`ExtMcp/CheckResponse`).
//!
//! Start at [`rpcs::ExtMcp`], which is thin: it admits, asks the service and has [`reply`] encode. In between,
//! [`request`] reads what a client asks for and of which servers, and [`identity`] says whose conversation it
//! is, out of the metadata alone: an answer comes with nothing else.
//!
//! Invariant: what cannot be read, or is read in two ways, is refused; only an allow of the service lets
//! anything through, and nothing of a merged list gets through that its server may not show.

mod identity;
mod reply;
mod request;
pub mod rpcs;
