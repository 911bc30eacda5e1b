//! The HTTP decision point that ToolHive asks: `POST {url}/decision` with principal, operation, resource
//! and context, answered with `{"allow": …}`.
//!
//! Start at [`endpoint::Toolhive`]; `parse` makes a call of what ToolHive sends.
//!
//! Invariant: an operation that is not known is denied, and so is everything that ToolHive cannot be told
//! more about: it reads one flag and nothing else.

pub mod endpoint;
mod parse;
