//! Which records a log says that it has removed.
//!
//! Whoever can write the files can add records after the last checkpoint, and the next start signs what it finds. So a notice
//! that records were removed counts only if a checkpoint covered it before: one that was found without a signature, as
//! `KIND_FOUND_UNSIGNED` says, accounts for nothing. Neither does a `KIND_FOUND_UNSIGNED` that was found so itself.

use std::cmp::Reverse;
use std::ops::RangeInclusive;

use crate::audit::archive::REMOVED_RECORDS;
use crate::audit::record::schema::Notice;
use crate::audit::record::schema::notice::Kind;

/// What the notices of a log say, in whatever order they are read.
#[derive(Debug, Default)]
pub struct Removals {
    /// The index of a notice, and the index after the last record that it names.
    said: Vec<(u64, u64)>,
    /// The index of a notice, and the records that it says were found without a signature.
    found: Vec<(u64, RangeInclusive<u64>)>,
}

impl Removals {
    /// Takes note of a notice with this index.
    pub fn note(&mut self, index: u64, notice: &Notice) {
        match notice.kind() {
            // Capsules are removed as well, and are no records.
            Kind::Removed if notice.text == REMOVED_RECORDS => {
                self.said.push((index, notice.last.saturating_add(1)));
            }
            // It knows only of what was there before it.
            Kind::FoundUnsigned if notice.last < index => {
                self.found.push((index, notice.first..=notice.last));
            }
            _ => {}
        }
    }

    /// The index after the last record that is accounted for. The oldest are removed first, so a notice accounts for all up to
    /// the last that it names.
    pub fn end(&self) -> u64 {
        let mut found: Vec<_> = self.found.iter().collect();
        // A later one may say of an earlier one that it counts for nothing.
        found.sort_unstable_by_key(|(index, _)| Reverse(*index));
        let mut unsigned: Vec<&RangeInclusive<u64>> = Vec::new();
        for (index, range) in found {
            if !unsigned.iter().any(|it| it.contains(index)) {
                unsigned.push(range);
            }
        }
        let is_unsigned = |index: &u64| unsigned.iter().any(|it| it.contains(index));
        let counted = self.said.iter().filter(|(index, _)| !is_unsigned(index));
        counted.map(|(_, end)| *end).max().unwrap_or_default()
    }

    /// The same, by all notices, also those that account for nothing.
    pub fn said(&self) -> u64 {
        let ends = self.said.iter().map(|(_, end)| *end);
        ends.max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_that_was_found_unsigned_neither_accounts_for_records_nor_takes_that_from_others() {
        let notice = |kind: Kind, first, last| Notice {
            kind: kind.into(),
            text: REMOVED_RECORDS.to_owned(),
            first,
            last,
            ..Notice::default()
        };
        let mut removals = Removals::default();
        removals.note(50, &notice(Kind::Removed, 0, 19));
        removals.note(60, &notice(Kind::FoundUnsigned, 40, 70));
        removals.note(61, &notice(Kind::FoundUnsigned, 40, 60));
        removals.note(62, &notice(Kind::Removed, 0, 49));
        assert_eq!((removals.end(), removals.said()), (50, 50));
        removals.note(65, &notice(Kind::FoundUnsigned, 60, 64));
        assert_eq!((removals.end(), removals.said()), (20, 50));
        removals.note(70, &notice(Kind::FoundUnsigned, 50, 50));
        assert_eq!(removals.end(), 0);
    }
}
