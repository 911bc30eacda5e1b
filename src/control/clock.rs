//! The clock, and its repair.

use std::time::SystemTime;

use smol_str::SmolStr;

use crate::control::error::ControlError;
use crate::control::requester::WriteRequester;
use crate::control::write::{Control, whole_millis};
use crate::control::write_context::{GovernContext, WriteContext};
use crate::domain::authority::change::Change;
use crate::service::ledger::PlannedChange;

impl Control {
    /// The time in service.
    pub fn now(&self) -> SystemTime {
        self.service.now()
    }

    /// Continues from the machine's clock, also if Callgate's was later. Returns the revision.
    ///
    /// # Errors
    ///
    /// [`ControlError::Denied`] if Cedar does not allow it, and the errors of a write.
    pub async fn repair_clock(
        &self,
        author: &WriteRequester,
        reason: SmolStr,
    ) -> Result<u64, ControlError> {
        let to = whole_millis(self.service.clock().source_now());
        let plan = move |context: &WriteContext<'_>| {
            context.govern("repair_clock", &context.gateway(), GovernContext::default())?;
            Ok(PlannedChange {
                verb: "RepairClock",
                id: SmolStr::new_static("clock"),
                change: Change::ClockRepaired {
                    from: context.now,
                    to,
                    reason,
                },
            })
        };
        let written = self.write("RepairClock", author, plan).await?;
        self.service.clock().reset(to);
        tracing::warn!(revision = written.revision, "the clock was taken for right");
        Ok(written.revision)
    }
}
