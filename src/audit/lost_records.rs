//! What is known to be gone from a log that is written.

/// What was in the files and is there no more, as far as it was noticed since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LostCounts {
    /// Records that are gone or damaged.
    pub records: u64,
    /// Records whose capsules are gone, if they had any.
    pub capsules: u64,
}

/// Ranges of records, first and last, that are gone. None overlaps another.
#[derive(Debug, Default)]
pub(super) struct LostRanges(Vec<(u64, u64)>);

impl LostRanges {
    /// Adds a range, and returns how many of its records were not known to be gone.
    pub(super) fn add(&mut self, (first, last): (u64, u64)) -> u64 {
        let mut known = 0;
        let mut all = (first, last);
        self.0.retain(|(from, to)| {
            let is_apart = *to < first || last < *from;
            if !is_apart {
                known += last.min(*to) - first.max(*from) + 1;
                all = (all.0.min(*from), all.1.max(*to));
            }
            is_apart
        });
        self.0.push(all);
        (last.saturating_sub(first) + 1).saturating_sub(known)
    }
}

#[cfg(test)]
#[path = "lost_records_tests.rs"]
mod tests;
