//! Ids of new records.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use smol_str::{SmolStr, format_smolstr};
use uuid::{ContextV7, Timestamp, Uuid};

/// Generates ids that sort by the order of their creation.
#[derive(Debug, Default)]
pub(super) struct IdGenerator(Mutex<ContextV7>);

impl IdGenerator {
    /// A new id, e.g. `delegation-019a…`.
    pub(super) fn next(&self, kind: &'static str, now: SystemTime) -> SmolStr {
        let since = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        // The counter is valid also after a panic while it was locked.
        let context = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let moment = Timestamp::from_unix(&*context, since.as_secs(), since.subsec_nanos());
        format_smolstr!("{kind}-{}", Uuid::new_v7(moment))
    }
}
