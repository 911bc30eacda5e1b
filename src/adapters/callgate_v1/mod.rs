//! The native gRPC adapter: `callgate.v1.Authorization` and `callgate.v1.Control`.
//!
//! Start at [`rpcs::Authorization`], which admits, then [`authorization`]: [`parse`], call the service, [`encode`]. [`explanation`] is
//! what `explain` adds; [`stream`] serves `AuthorizeStream`; [`control`] is the write side.
//!
//! Invariant: a deny is a response and never a status; a status is never an allow.

pub mod authorization;
pub mod control;
pub mod encode;
pub mod explanation;
pub mod parse;
pub mod rpcs;
pub(in crate::adapters) mod stream;
