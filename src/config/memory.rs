//! `[memory]`: retention of labels where no task and no trusted session bounds it.

use serde::Deserialize;

/// Retention of labels.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryConfig {
    /// Minutes for which labels of an agent and user pair count in every session; 1 to 1,440. Restart.
    pub pair_minutes: u32,
    /// Days for which a place keeps the labels of what was written to it, which reading it adds to a session; 1 to
    /// 365. Restart.
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
