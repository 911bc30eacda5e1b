//! Whether the configuration of a directory is still there: one that goes while the server runs takes no settings with it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::bundle::diagnostic::{BundleDiagnostic, BundleError};

/// Whether a configuration was ever read. Copies know the same.
#[derive(Debug, Clone, Default)]
pub(super) struct ConfigPresence(Arc<AtomicBool>);

impl ConfigPresence {
    /// Notes whether there is one at this path.
    ///
    /// # Errors
    ///
    /// The fault of one that was there and is gone.
    pub(super) fn note(&self, is_there: bool, path: &Path) -> Result<(), BundleError> {
        if is_there {
            self.0.store(true, Ordering::Relaxed);
        }
        if is_there || !self.0.load(Ordering::Relaxed) {
            return Ok(());
        }
        let said = "the configuration was there and is gone: its settings stay in service";
        let fault = BundleDiagnostic::for_file(&Arc::from(path.display().to_string()), said);
        let help = "put it back; to serve without it, start the server again";
        Err(BundleError::single(fault.with_help(help)))
    }
}
