//! The domain: from a call and its facts to Cedar requests, and from their answers to one decision.
//!
//! Start at [`decide::decide`]; the question is [`context::CallContext`], the answer
//! [`decision::Decision`]. [`model`] names the entities and actions of the `Mcp` schema.
//!
//! Invariant: pure. No IO, no storage, no wire formats, no clock of its own; the same inputs give the
//! same decision.

pub mod context;
pub mod decide;
pub mod decision;
pub mod model;
