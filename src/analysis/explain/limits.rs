//! How much an explanation looks at.

use std::time::Instant;

/// How much an explanation looks at.
#[derive(Debug, Clone, Copy)]
pub struct ExplainLimits {
    /// The most decisions that the search for changes makes; 0 for no search.
    pub decisions: usize,
    /// The most sets of changes that are proposed.
    pub proposals: usize,
    /// The most policies of one Cedar request that are explained.
    pub policies: usize,
    /// When the search for changes ends at the latest; `None`: it takes its time.
    pub until: Option<Instant>,
}

impl ExplainLimits {
    /// Whether the time is up.
    pub fn is_late(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

impl Default for ExplainLimits {
    fn default() -> Self {
        Self {
            decisions: 400,
            proposals: 8,
            policies: 256,
            until: None,
        }
    }
}
