//! The use case: pin one generation, decide, commit the side effects, record, respond.
//!
//! Start at [`decisions::Service`]. [`request`] is what requests and responses have in common, [`generation`]
//! everything of one revision, [`ledger`] the order of revisions, [`side_effects`] what allowed calls use up and leave
//! behind, [`call_carriers`] which tasks, delegations and pairs carry the labels of a call, [`maintenance`] background
//! writes and pruning, [`clock`] the one clock, [`deadline`] the deadline of a request. `recording` puts decisions on record, `listing` filters lists,
//! [`pending`] are responses that have to wait, [`fleet`] is what changes when several servers decide from one database.
//! `session_loader` reads sessions that are not in memory, one at a time by [`one_at_a_time`]. [`search`] asks Cedar
//! about many entities, [`batch`] decides several requests from one generation. [`observe`] lets pass what is only
//! observed, [`published`] compiles bundles that are published. [`server_load`]
//! counts what the server carries, [`concurrency_limit`] adapts how much it accepts, and [`bundle_status`] is the
//! state of the bundle on disk.
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
pub mod event_counter;
pub mod fleet;
pub mod generation;
pub mod idempotency;
pub mod ledger;
pub mod maintenance;
pub mod observe;
pub mod published;
pub mod side_effects;

pub mod batch;
mod claim_warnings;
pub mod concurrency_limit;
mod in_flight;
mod inspect;
mod listing;
pub mod one_at_a_time;
pub mod pending;
mod planning_queues;
mod recording;
pub mod request;
pub mod search;
pub mod server_load;
pub mod session_loader;
pub mod settings;
