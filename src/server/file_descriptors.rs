//! File descriptors: raises the limit, and reserves some that connections cannot take.
//!
//! Bundle loads, the store and exporters open files while the server runs. If connections could take all descriptors, a
//! peer that opens connections could keep a new `forbid` from being loaded.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::limits::Limits;

/// Descriptors reserved for other uses than connections.
pub const RESERVED_FILES: u64 = 256;

/// Raises the soft limit on open files to the hard limit. Returns the limit in force; `None` for no limit.
pub fn raise_limit() -> Option<u64> {
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    if now.current != now.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, "the limit on open files cannot be raised");
    }
    getrlimit(Resource::Nofile).current
}

/// The limits, with `connections` reduced to what the limit on open files allows.
pub fn fit_connections(limits: &Limits, open_files: Option<u64>) -> Limits {
    let mut fitted = limits.clone();
    let Some(open_files) = open_files else {
        return fitted;
    };
    let room = open_files - RESERVED_FILES.min(open_files / 2);
    let room = u32::try_from(room).unwrap_or(u32::MAX).max(1);
    fitted.connections = limits.connections.min(room);
    fitted
}

#[cfg(test)]
#[path = "file_descriptors_tests.rs"]
mod tests;
