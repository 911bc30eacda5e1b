//! `[memory]`: retention of labels where no task and no trusted session bounds it.

use serde::Deserialize;

/// What is remembered of those who act.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryConfig {
    /// Minutes for which what an agent has read for a person counts in whatever session it goes on; 1 to 1,440. Restart.
    pub pair_minutes: u32,
    /// Days for which what was written to a place after reading something brings the labels of that to whoever reads it
    /// there; 1 to 365. Restart.
    pub place_days: u32,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            pair_minutes: 60,
            place_days: 30,
        }
    }
}
