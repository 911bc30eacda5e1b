//! The write side: what is lent, open and approved, the entities, and how all of it stands.
//!
//! Start at [`write::Control`]. Each write goes the same way: limits and shape; then, against the newest
//! state, what must be so whatever the policies say; then Cedar, under one of the `govern` actions; then
//! the ledger, and the record. One file a noun: [`delegations`], [`tasks`], [`approvals`], [`entities`],
//! [`tools`], [`sessions`], [`stops`], [`clock`]; [`changes`] is what watchers follow, [`past`] how changes were when they
//! were made, [`status`] how things stand.
//!
//! Invariant: no wire formats and no storage. What is allowed is Cedar's word; what is checked here is
//! evidence, and no policy can change that.

#![expect(
    clippy::result_large_err,
    reason = "an error ends the request, and is made once for it"
)]

pub mod approvals;
pub mod clock;
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
