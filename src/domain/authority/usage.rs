//! Usage of actors and tools over sliding windows, as a decision sees it.

use serde::{Deserialize, Serialize};

/// Counts over sliding windows. They never undercount: a call leaves a window late by up to 1/12 (minute,
/// hour) or 1/24 (day) of its length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Allowed calls of this tool by this actor.
    pub tool: WindowCounts,
    /// Allowed calls of any tool by this actor.
    pub actor: WindowCounts,
    /// Denied calls of this actor in the last hour.
    pub recent_denials: u64,
    /// Whether no call of this tool by this actor was ever allowed.
    pub is_first_use: bool,
    /// The number of different tools with allowed calls by this actor in the last day.
    pub distinct_tools: u64,
}

/// A count over three windows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowCounts {
    /// Calls in the last minute.
    pub minute: u64,
    /// Calls in the last hour.
    pub hour: u64,
    /// Calls in the last day.
    pub day: u64,
}
