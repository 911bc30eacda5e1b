//! The domain: from a call and its facts to Cedar requests, and from their answers to one decision.
//!
//! Start at [`call::decide`]. The question is [`call_context::CallContext`], the answer
//! [`verdict::Decision`]. On the way: [`evidence`] (does what the call claims hold?), [`plan`] (which
//! action, on what), [`facts`] (what policies may know), [`answer`] (all must allow). [`listing`] asks about
//! what a server offers before anybody uses it. [`model`] names the entities and actions of the `Mcp` schema.
//!
//! Invariant: pure. No IO, no storage, no wire formats, no clock of its own; the same inputs give the
//! same decision.

#![expect(
    clippy::result_large_err,
    reason = "a reason is made once for a denied call and moves straight into its decision"
)]

pub mod decide;
pub mod request;

pub mod authority;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod registration;
pub mod registration_entry;
pub mod schema;
