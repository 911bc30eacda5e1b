//! The HTTP decision point that ToolHive calls: `POST {url}/decision` with principal, operation, resource and
//! context, answered with `{"allow": …}`.
//!
//! Start at [`endpoint::Toolhive`]; `parse` turns a request into a call.
//!
//! Invariant: an unknown operation is denied, and so is everything that needs more than a flag to answer,
//! because ToolHive reads nothing else.

pub mod endpoint;
mod parse;
