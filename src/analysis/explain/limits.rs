//! How much an explanation looks at.

/// How much an explanation looks at.
#[derive(Debug, Clone, Copy)]
pub struct ExplainLimits {
    /// The most decisions that the search for changes makes; 0 for no search.
    pub decisions: usize,
    /// The most sets of changes that are proposed.
    pub proposals: usize,
    /// The most policies of one Cedar request that are explained.
    pub policies: usize,
}

impl Default for ExplainLimits {
    fn default() -> Self {
        Self {
            decisions: 400,
            proposals: 8,
            policies: 256,
        }
    }
}
