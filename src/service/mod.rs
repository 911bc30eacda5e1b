//! The use case: take one generation, decide, take what an allow uses up, record, answer.
//!
//! Start at [`decisions::Service`]. [`generation`] is everything of one revision, [`ledger`] the order in
//! which revisions come about, [`effects`] what allowed calls use up and leave behind, [`carriers`] what
//! else remembers what they have read, [`keeper`] what is written behind, [`clock`] the one clock, [`deadline`]
//! when an answer has to be there. [`listing`] says what of a list may be used, [`search`] asks Cedar's own
//! question of many entities, [`several`] is for questions of either kind,
//! [`load`] what the server carries, [`pressure`] how much of that it can carry in time, and [`directory`] tells how the directory on disk stands.
//!
//! Invariant: no wire formats. Adapters parse before and encode after.

#![expect(
    clippy::result_large_err,
    reason = "a reason is made once for a denied call and moves straight into its decision"
)]

pub mod bundle_status;
pub mod call_carriers;
pub mod clock;
pub mod deadline;
pub mod decisions;
pub mod generation;
pub mod idempotency;
mod is_authorized;
pub mod ledger;
pub mod maintenance;
pub mod side_effects;

pub mod batch;
mod claim_warnings;
pub mod concurrency_limit;
mod in_flight;
mod listing;
mod planning_queues;
pub mod search;
pub mod server_load;
pub mod settings;
