//! What tests put into service.

use crate::bundle;
use crate::service::generation::LoadedBundle;

/// A directory that holds these policies and nothing else, as it is put into service.
pub(crate) fn policies(text: &str) -> LoadedBundle {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("policies.cedar"), text).expect("written");
    let bundle = bundle::load(dir.path()).unwrap_or_else(|faults| panic!("{faults}"));
    LoadedBundle {
        snapshot: bundle.snapshot,
        claims: bundle.config.claims,
        policy_set_digest: bundle.digest,
    }
}
