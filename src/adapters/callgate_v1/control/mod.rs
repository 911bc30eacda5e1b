//! The gRPC adapter of the write side, `callgate.v1.Control`.
//!
//! Start at [`rpcs::ControlApi`]: admit, [`parse`], call [`crate::control`], [`encode`]. [`state`] is what
//! all RPCs share, [`author`] what all writes carry, [`same_request`] whether two requests are the same, [`bundles`]
//! published bundles,
//! [`recorded`] recorded decisions, [`watch`] the two streams, [`status`] the gRPC status of
//! each error.
//!
//! Invariant: nothing is decided here. A denial by Cedar is PERMISSION_DENIED with its reasons as details; a
//! response with OK means that the write was applied.

mod api;
mod author;
mod bundles;
mod encode;
mod encode_status;
mod parse;
mod recorded;
pub mod rpcs;
mod same_request;
mod state;
mod status;
mod watch;
