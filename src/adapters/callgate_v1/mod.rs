//! The native front doors: `callgate.v1.Authorization` and `callgate.v1.Control` over gRPC.
//!
//! Start at [`authorization::Authorization`]: who asks, may it ask this, [`parse`], ask the service,
//! [`encode`]. [`refusal`] is the one table from everything that can go wrong to a status; [`stream`]
//! answers `AuthorizeStream`; [`control`] is the write side.
//!
//! Invariant: a deny is an answer and never a status; a status is never an allow.

pub mod authorization;
pub mod control;
pub mod encode;
pub mod parse;
pub(in crate::adapters) mod stream;
