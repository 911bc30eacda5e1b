//! Requests that were rejected since their caller has no right to what they ask for: counted by right until they are put on record.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// The counts of one caller; clones share them. There are as many as rights at most.
#[derive(Debug, Clone, Default)]
pub struct RefusedRequests(Arc<Mutex<BTreeMap<&'static str, RefusedCount>>>);

/// How many requests for the same right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedCount {
    /// How many.
    pub count: u64,
    /// When the first one was rejected.
    pub since: SystemTime,
}

impl RefusedRequests {
    /// Counts a request for this right.
    pub fn add(&self, right: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = counts.entry(right).or_insert_with(|| RefusedCount {
            count: 0,
            since: SystemTime::now(),
        });
        counted.count += 1;
    }

    /// Takes the counts by the names of the rights.
    pub fn take(&self) -> BTreeMap<&'static str, RefusedCount> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
