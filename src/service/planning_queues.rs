//! Whose turn it is to plan a write.

use tokio::sync::Mutex;

/// One write is planned at a time. Those that wait for their turn do so here, in order, and hold no thread that could
/// decide meanwhile; what takes something away has a queue of its own and never waits behind the others.
#[derive(Default)]
pub(super) struct PlanningQueues {
    /// For what gives something.
    pub(super) usual: Mutex<()>,
    /// For what takes something away.
    pub(super) first: Mutex<()>,
}
