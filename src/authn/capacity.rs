//! Capacity in use: of the whole server, and by each caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::authn::refused::RefusedRequests;

/// A shared usage count; clones share it.
#[derive(Debug, Clone, Default)]
pub struct UsageCount(Arc<AtomicUsize>);

impl UsageCount {
    /// The current count.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// Whether both are clones of one count.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Adds `amount` unless the count would exceed `limit`. Returns whether it was added.
    pub fn add_up_to(&self, amount: usize, limit: usize) -> bool {
        let before = self.0.fetch_add(amount, Ordering::AcqRel);
        let fits = before
            .checked_add(amount)
            .is_some_and(|after| after <= limit);
        if !fits {
            self.sub(amount);
        }
        fits
    }

    /// Adds `amount`.
    pub fn add(&self, amount: usize) {
        self.0.fetch_add(amount, Ordering::AcqRel);
    }

    /// Subtracts `amount`.
    pub fn sub(&self, amount: usize) {
        self.0.fetch_sub(amount, Ordering::AcqRel);
    }
}

/// The capacity in use by one caller, kept across reloads of the callers.
#[derive(Debug, Clone, Default)]
pub struct CallerUsage {
    /// Requests in flight.
    pub requests: UsageCount,
    /// Bytes of request bodies.
    pub bytes: UsageCount,
    /// Open `AuthorizeStream` streams.
    pub streams: UsageCount,
    /// Open watches.
    pub watches: UsageCount,
    /// Requests that were rejected since it has no right to what they ask for.
    pub refused: RefusedRequests,
    /// Whether there are other callers, for whom capacity is reserved.
    pub has_others: bool,
}

/// A capacity and the share of it that one caller may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapacityLimit {
    /// Limit of all callers together.
    pub limit: usize,
    /// Limit of one caller.
    pub share: usize,
}

impl CapacityLimit {
    /// `limit` in all, of which one caller may use `percent` while there are others, but at least 1.
    pub fn new(limit: usize, percent: u32, held: &CallerUsage) -> Self {
        let percent = usize::try_from(percent).unwrap_or(100);
        let share = match held.has_others {
            true => (limit.saturating_mul(percent) / 100).max(1),
            false => limit,
        };
        Self { limit, share }
    }
}

/// Exhausted capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CapacityError {
    /// The whole capacity is in use.
    #[error("the whole capacity is in use")]
    All,
    /// The caller uses its share.
    #[error("the caller uses its share of the capacity")]
    Share,
}

/// Capacity in use until this is dropped.
#[derive(Debug)]
pub struct CapacityPermit {
    all: UsageCount,
    own: UsageCount,
    amount: usize,
}

impl CapacityPermit {
    /// A permit for nothing yet.
    pub fn none(all: &UsageCount, own: &UsageCount) -> Self {
        Self {
            all: all.clone(),
            own: own.clone(),
            amount: 0,
        }
    }

    /// A permit for one unit.
    ///
    /// # Errors
    ///
    /// If the limit or the caller's share is exhausted.
    pub fn one(
        all: &UsageCount,
        own: &UsageCount,
        bound: CapacityLimit,
    ) -> Result<Self, CapacityError> {
        let mut taken = Self::none(all, own);
        taken.grow(1, bound)?;
        Ok(taken)
    }

    /// Acquires `amount` more units.
    ///
    /// # Errors
    ///
    /// If the limit or the caller's share would be exceeded; nothing is acquired then.
    pub fn grow(&mut self, amount: usize, bound: CapacityLimit) -> Result<(), CapacityError> {
        if !self.own.add_up_to(amount, bound.share) {
            // Who is alone has no share: all there is is in use.
            return Err(match bound.share < bound.limit {
                true => CapacityError::Share,
                false => CapacityError::All,
            });
        }
        if !self.all.add_up_to(amount, bound.limit) {
            self.own.sub(amount);
            return Err(CapacityError::All);
        }
        self.amount += amount;
        Ok(())
    }

    /// Releases all but `amount` units.
    pub fn shrink_to(&mut self, amount: usize) {
        let over = self.amount.saturating_sub(amount);
        if over == 0 {
            return;
        }
        self.all.sub(over);
        self.own.sub(over);
        self.amount -= over;
    }
}

impl Drop for CapacityPermit {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
#[path = "capacity_tests.rs"]
mod tests;
