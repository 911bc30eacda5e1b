//! The domain: from a call and its facts to Cedar requests, and from their answers to one decision.
//!
//! Start at [`decide::decide`]. The question is [`context::CallContext`], the answer
//! [`decision::Decision`]. On the way: [`evidence`] (does what the call claims hold?), [`plan`] (which
//! action, on what), [`facts`] (what policies may know), [`answer`] (all must allow). [`listing`] asks about
//! what a server offers before anybody uses it. [`model`] names the entities and actions of the `Mcp` schema.
//!
//! Invariant: pure. No IO, no storage, no wire formats, no clock of its own; the same inputs give the
//! same decision.

#![expect(
    clippy::result_large_err,
    reason = "a reason is made once for a denied call and moves straight into its decision"
)]

pub mod answer;
pub mod answers;
pub mod arguments;
pub mod asking;
pub mod canonical;
pub mod chain;
pub mod challenge;
pub mod claims;
pub mod context;
pub mod decide;
pub mod decision;
pub mod definition;
pub mod elicitation;
pub mod evidence;
pub mod facts;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod govern;
pub mod input;
pub mod json_text;
pub mod links;
pub mod listing;
pub mod live;
pub mod model;
pub mod order;
pub mod plan;
pub mod registration;
mod secrets;
pub mod target;
pub mod visible;
pub mod world;
