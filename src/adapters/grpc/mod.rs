//! The native front door: `callgate.v1.Authorization` over gRPC.
//!
//! Start at [`authorization::Authorization`]: who asks, may it ask this, [`parse`], ask the service,
//! [`encode`]. [`refusal`] is the one table from everything that can go wrong to a status; [`stream`]
//! answers `AuthorizeStream`.
//!
//! Invariant: a deny is an answer and never a status; a status is never an allow.

pub mod authorization;
pub mod encode;
pub mod parse;
pub mod refusal;
mod stream;
