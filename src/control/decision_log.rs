//! What a recorded decision is explained from: the decision log, and the bundle in service.

use crate::audit::log::AuditLog;
use crate::control::error::ControlError;
use crate::control::write::Control;
use crate::service::generation::LoadedBundle;

impl Control {
    /// The decision log of this server.
    ///
    /// # Errors
    ///
    /// [`ControlError::Precondition`] if there is none.
    pub fn decision_log(&self) -> Result<&AuditLog, ControlError> {
        let log = self.service.recorder().audit();
        log.ok_or_else(|| {
            ControlError::Precondition(
                "this server keeps no decision log (`audit.mode` is `off`)".to_owned(),
            )
        })
    }

    /// The bundle in service, without what was stored over the API.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotReady`].
    pub fn bundle_in_service(&self) -> Result<LoadedBundle, ControlError> {
        let live = self.service.live().ok_or(ControlError::NotReady)?;
        Ok(live.bundle())
    }
}
