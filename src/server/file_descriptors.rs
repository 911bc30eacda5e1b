//! File descriptors: as many as the system gives, and some of them never a connection's.
//!
//! Loading the directory, the store and exporters open files while the server runs. If connections could take every
//! descriptor, whoever opens connections could keep a new `forbid` out of service.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::limits::Limits;

/// Descriptors that connections leave to everything else.
pub const RESERVED_FILES: u64 = 256;

/// Raises the limit on open files as far as this process may, and says what it is then; `None` if there is none.
pub fn raise() -> Option<u64> {
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

/// The limits, with no more connections than the limit on open files leaves room for.
pub fn fit(limits: &Limits, open_files: Option<u64>) -> Limits {
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
