//! The domain: from a call and its facts to Cedar requests, and from Cedar's responses to one verdict.
//!
//! Start at [`decide::call::decide`]. Layers, lowest first: [`request`] (what is asked), [`registration`]
//! (what a tool is; [`unconfirmed_tool`]: what counts of one that nobody has confirmed), [`authority`] (who acts, under which delegation, task and approval), [`decide`]
//! (verification, facts, evaluation, verdict). [`schema`] names the entities and actions of the `Mcp` schema, [`hierarchy`]
//! bounds the depth of groups.
//!
//! Invariant: pure. No IO, no storage, no wire formats, no clock: the same inputs give the same verdict.

#![expect(
    clippy::result_large_err,
    reason = "a reason is made once for a denied call and moves straight into its decision"
)]

pub mod decide;
pub mod request;

pub mod authority;
pub mod entity_json;
pub mod error_chain;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod hierarchy;
pub mod ids;
pub mod names;
pub mod reason;
pub mod registration;
pub mod registration_entry;
pub mod schema;
pub mod shared_list;
pub mod unconfirmed_tool;
