//! Places: how many of a kind are taken, by all and by one caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many are taken. Its clones count together.
#[derive(Debug, Clone, Default)]
pub struct UsageCount(Arc<AtomicUsize>);

impl UsageCount {
    /// How many are taken now.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// Whether both count together.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Takes some, unless that would be more than `limit`.
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

    /// Takes some.
    pub fn add(&self, amount: usize) {
        self.0.fetch_add(amount, Ordering::AcqRel);
    }

    /// Gives some back.
    pub fn sub(&self, amount: usize) {
        self.0.fetch_sub(amount, Ordering::AcqRel);
    }
}

/// What one caller holds. A reload of the callers keeps it.
#[derive(Debug, Clone, Default)]
pub struct CallerUsage {
    /// Requests under way.
    pub requests: UsageCount,
    /// Bytes of request bodies.
    pub bytes: UsageCount,
    /// Open streams of questions and answers.
    pub streams: UsageCount,
    /// Open watches.
    pub watches: UsageCount,
    /// Whether there are other callers to leave room for.
    pub has_others: bool,
}

/// How many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapacityLimit {
    /// Of all callers together.
    pub limit: usize,
    /// Of one caller.
    pub share: usize,
}

impl CapacityLimit {
    /// So many in all, of which one caller may have `percent` while there are others, and one in any case.
    pub fn of(limit: usize, percent: u32, held: &CallerUsage) -> Self {
        let percent = usize::try_from(percent).unwrap_or(100);
        let share = match held.has_others {
            true => (limit.saturating_mul(percent) / 100).max(1),
            false => limit,
        };
        Self { limit, share }
    }
}

/// Why nothing is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapacityError {
    /// All of them are taken.
    All,
    /// The caller has its share.
    Share,
}

/// Places that are taken until this is dropped.
#[derive(Debug)]
pub struct CapacityPermit {
    all: UsageCount,
    own: UsageCount,
    amount: usize,
}

impl CapacityPermit {
    /// None yet.
    pub fn none(all: &UsageCount, own: &UsageCount) -> Self {
        Self {
            all: all.clone(),
            own: own.clone(),
            amount: 0,
        }
    }

    /// One place.
    pub fn one(
        all: &UsageCount,
        own: &UsageCount,
        bound: CapacityLimit,
    ) -> Result<Self, CapacityError> {
        let mut taken = Self::none(all, own);
        taken.grow(1, bound)?;
        Ok(taken)
    }

    /// Takes more.
    pub fn grow(&mut self, amount: usize, bound: CapacityLimit) -> Result<(), CapacityError> {
        if !self.own.add_up_to(amount, bound.share) {
            return Err(CapacityError::Share);
        }
        if !self.all.add_up_to(amount, bound.limit) {
            self.own.sub(amount);
            return Err(CapacityError::All);
        }
        self.amount += amount;
        Ok(())
    }

    /// Gives back all but so many.
    pub fn shrink_to(&mut self, amount: usize) {
        let over = self.amount.saturating_sub(amount);
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
