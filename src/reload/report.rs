//! What is reported of a load: the files it added, changed and removed, and the diagnostics of one that failed.

use std::sync::Arc;

use crate::bundle::diagnostic::{BundleDiagnostic, BundleError};
use crate::bundle::files::manifest::FileDigests;
use crate::service::bundle_status::FileChanges;

/// The most file names, and the most diagnostics, that are reported.
const MOST_TOLD: usize = 20;
/// The most bytes of one diagnostic.
const MOST_BYTES: usize = 500;

/// The differences between the files of two loads.
pub fn changes(before: &FileDigests, after: &FileDigests) -> FileChanges {
    let first =
        |names: &mut dyn Iterator<Item = &Arc<str>>| names.take(MOST_TOLD).cloned().collect();
    let is_other = |(name, digest): &(&Arc<str>, &[u8; 32])| {
        before.get(*name).is_some_and(|known| known != *digest)
    };
    FileChanges {
        added: first(&mut after.keys().filter(|name| !before.contains_key(*name))),
        changed: first(&mut after.iter().filter(is_other).map(|(name, _)| name)),
        removed: first(&mut before.keys().filter(|name| !after.contains_key(*name))),
    }
}

/// The first diagnostics, one line each.
pub fn faults(faults: &BundleError) -> Vec<String> {
    faults.iter().take(MOST_TOLD).map(line).collect()
}

fn line(fault: &BundleDiagnostic) -> String {
    let place = match (fault.line, fault.column) {
        (Some(line), Some(column)) => format!(":{line}:{column}"),
        _ => String::new(),
    };
    let mut text = format!("{}{place}: {}", fault.file, fault.message);
    if text.len() > MOST_BYTES {
        let mut ends = (0..=MOST_BYTES).rev();
        let end = ends.find(|&at| text.is_char_boundary(at));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
    text
}
