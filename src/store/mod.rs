//! The store: durable control data and live facts, ordered by revision.
//!
//! Start at [`backend::Store`], the trait of a database. [`writer`] is the thread that writes, [`sqlite`] the embedded
//! default, [`postgres`] the one that several servers share. [`sessions`], [`carrier_labels`], [`pair_links`],
//! [`resource_labels`], [`usage`], [`quotas`] and [`shared_budgets`] hold the facts that change with every call: they live in memory, and what
//! must not be lost is written before the response. [`shown_definitions`] holds tool definitions that lists have shown.
//! [`turned_back`] is where revisions go on after an older state was put back. `session_index` knows which sessions are in the store alone. `sharded` spreads what is in memory over several locks.
//!
//! Invariant: no decisions. Whether a call is allowed is decided elsewhere; here it is only written down.

pub mod backend;
pub mod carrier_labels;
mod columns;
mod error;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod pair_links;
pub mod postgres;
pub mod quotas;
pub mod resource_labels;
mod session_index;
pub mod sessions;
mod sharded;
pub mod shared_budgets;
pub mod shown_definitions;
pub mod sqlite;
pub mod turned_back;
pub mod usage;
pub mod writer;
