//! How much an actor and a tool have been used lately, as a decision sees it.

/// Counts over sliding windows. They never count too little: a call leaves a window up to a twelfth
/// (of a minute or hour) or a twenty-fourth (of a day) of it late.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Allowed calls of this tool by this actor.
    pub tool: WindowCounts,
    /// Allowed calls by this actor, whatever the tool.
    pub actor: WindowCounts,
    /// Denied calls of this actor in the last hour.
    pub recent_denials: u64,
    /// Whether this actor has never been allowed this tool.
    pub is_first_use: bool,
    /// Different tools that this actor was allowed in the last day.
    pub distinct_tools: u64,
}

/// One count over three windows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WindowCounts {
    /// In the last minute.
    pub minute: u64,
    /// In the last hour.
    pub hour: u64,
    /// In the last day.
    pub day: u64,
}
