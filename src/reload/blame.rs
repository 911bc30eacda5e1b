//! Which file it is that a trial does not survive.
//!
//! Start at [`Suspects::of`] and [`Suspects::found`]. A process that crashed cannot say what it was at. So it is tried
//! again with fewer files, half of those in question at a time.
//!
//! Invariant: a file is named only if a trial without it, and without what comes behind it, ended well, or if it is the
//! only one that changed.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use crate::bundle::files::manifest::FileDigests;
use crate::bundle::files::{BundleFiles, SourceFile};

#[cfg(test)]
#[path = "blame_tests.rs"]
mod tests;

/// Files that are told at most.
const MOST_TOLD: usize = 5;

/// The files of a directory: those that are in service as they are, and those that are not.
pub(super) struct Suspects {
    known: Vec<SourceFile>,
    changed: Vec<SourceFile>,
}

impl Suspects {
    /// What of these files is not in service.
    pub(super) fn of(files: &BundleFiles, dir: &Path, live: Option<&FileDigests>) -> Self {
        let is_live = |(name, digest): &(&Arc<str>, &[u8; 32])| {
            live.is_some_and(|live| live.get(*name) == Some(digest))
        };
        let shown = |name: &Arc<str>| dir.join(&**name).display().to_string();
        let in_service: HashSet<String> = files
            .digests
            .iter()
            .filter(is_live)
            .map(|(name, _)| shown(name))
            .collect();
        let is_known = |source: &SourceFile| in_service.contains(&*source.file);
        let (known, changed) = files.sources.iter().cloned().partition(is_known);
        Self { known, changed }
    }

    /// The files in question, as people know them.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        names(&self.changed)
    }

    /// The file that a trial does not survive; several if it cannot be found out which, none if the trial ended well the
    /// second time. `ends_well` tries some files; `None` says that there is no time left. A trial of all has failed.
    pub(super) fn found(
        &self,
        mut ends_well: impl FnMut(&[SourceFile]) -> Option<bool>,
    ) -> Vec<Arc<str>> {
        let mut with = |count: usize| {
            let some = self.changed.iter().take(count);
            let tried: Vec<SourceFile> = self.known.iter().chain(some).cloned().collect();
            ends_well(&tried)
        };
        let all = self.changed.len();
        // With so many it ends well, and with so many not.
        let (mut well, mut badly) = (0, all);
        while badly - well > 1 {
            let middle = well + (badly - well) / 2;
            match with(middle) {
                Some(true) => well = middle,
                Some(false) => badly = middle,
                None => return names(&self.changed[well..badly]),
            }
        }
        // What failed once may have been ended from outside.
        let is_confirmed = badly < all || all < 2 || with(all) != Some(true);
        match is_confirmed {
            true => names(&self.changed[well..badly]),
            false => Vec::new(),
        }
    }
}

fn names(sources: &[SourceFile]) -> Vec<Arc<str>> {
    sources
        .iter()
        .map(|source| Arc::clone(&source.file))
        .collect()
}

/// Some names in words.
pub(super) fn listed(names: &[Arc<str>]) -> String {
    let told: Vec<&str> = names.iter().take(MOST_TOLD).map(|name| &**name).collect();
    let text = told.join(", ");
    match names.len().saturating_sub(MOST_TOLD) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}
