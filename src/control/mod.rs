//! The write side: delegations, tasks, approvals, stops, sessions, entities and tools, and their status.
//!
//! Start at [`write::Control`]. Each write takes the same steps: limits and shape; then, against the newest state,
//! what must hold whatever the policies say; then Cedar, under one of the `govern` actions; then the ledger, and the
//! record. One file for each noun: [`delegations`], [`tasks`], [`approvals`], [`entities`], [`tools`], [`sessions`],
//! [`stops`], [`clock`], [`bundles`]. `write_attempt` records each write, and [`decision_log`] is what recorded decisions are
//! explained from. `stored` lists and returns what the first three have stored, [`watch`] is what watchers follow,
//! [`historical_view`] changes as they were made, [`status`] the status of the service. [`blocking_lane`] runs what takes long
//! apart from the threads that decide.
//!
//! Invariant: no wire formats and no storage. Cedar decides what is allowed; what is checked here is evidence, and no
//! policy can change that.

#![expect(
    clippy::result_large_err,
    reason = "an error ends the request, and is made once for it"
)]

pub mod approvals;
pub mod blocking_lane;
pub mod bundles;
pub mod clock;
pub mod decision_log;
pub mod delegations;
pub mod entities;
pub mod error;
pub mod historical_view;
mod id_generator;
pub mod live_view;
pub mod page;
pub mod requester;
mod scopes;
pub mod sessions;
pub mod status;
pub mod stops;
mod stored;
pub mod tasks;
pub mod tools;
pub mod watch;
pub mod write;
mod write_attempt;
mod write_context;
