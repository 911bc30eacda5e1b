//! Durable control data and live facts, ordered by revision.
//!
//! Start at [`store::Store`], what any database has to do. [`writer`] is the one thread that writes;
//! [`sqlite`] is the embedded default. [`sessions`], [`memory`], [`usage`] and [`meters`] are the facts that
//! change with every call: they live in memory, and what must not be lost is written before the answer.
//! [`definitions`] is what lists have shown of tools.
//!
//! Invariant: no decisions. Whether a call may happen is asked elsewhere; here it is only written down.

pub mod carrier_labels;
pub mod quotas;
pub mod resource_labels;
pub mod sessions;
pub mod shown_definitions;
pub mod sqlite;
pub mod store;
pub mod usage;
pub mod writer;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One part of what lives in memory. Whatever panicked while it was held, all that is in it is as it was before or after.
fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
