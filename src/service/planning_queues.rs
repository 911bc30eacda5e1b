//! Queues of writes that wait to be planned.

use tokio::sync::Mutex;

/// One write is planned at a time. Others wait here in order and block no thread. Restrictions have a queue of their
/// own, so that they never wait behind other writes.
#[derive(Default)]
pub(super) struct PlanningQueues {
    /// For ordinary writes.
    pub(super) ordinary: Mutex<()>,
    /// For restrictions.
    pub(super) restrictions: Mutex<()>,
}
