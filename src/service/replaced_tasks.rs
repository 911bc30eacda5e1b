//! Which states of tasks a request may still decide from.
//!
//! A request decides from the generation that it has pinned, and reads labels as they are at that moment. So a closed task
//! keeps its labels until nobody has a generation any more in which it is open: there is no moment at which a task is open
//! to somebody and its labels are gone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::domain::authority::task::Task;
use crate::domain::ids::TaskId;

/// Tasks that have changed, as long as somebody may have what they were before.
#[derive(Debug, Default)]
pub struct ReplacedTasks {
    tasks: Mutex<HashMap<TaskId, EarlierStates, RandomState>>,
}

#[derive(Debug, Default)]
struct EarlierStates {
    /// The states in which it was open. They live as long as the generations that have them.
    open: Vec<Weak<Task>>,
    is_closed: bool,
}

impl ReplacedTasks {
    /// Notes that a task takes the place of what it was in service.
    pub fn note(&self, before: Option<&Arc<Task>>, task: &Task) {
        let is_closed = task.closed_at.is_some();
        if before.is_none() && !is_closed {
            return;
        }
        let mut tasks = self.lock();
        let states = tasks.entry_ref(&task.id).or_default();
        states.forget();
        let open = before.filter(|before| before.closed_at.is_none());
        states.open.extend(open.map(Arc::downgrade));
        states.is_closed |= is_closed;
    }

    /// The closed tasks that are open to nobody any more. Each is told once.
    pub fn take_over(&self) -> Vec<TaskId> {
        let mut over = Vec::new();
        self.lock().retain(|id, states| {
            states.forget();
            let stays = !states.open.is_empty();
            if !stays && states.is_closed {
                over.push(id.clone());
            }
            stays
        });
        over
    }

    /// Forgets everything: what was closed may be open again.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Each change is made in one step, so it is whole also after a panic.
    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, EarlierStates, RandomState>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EarlierStates {
    /// Forgets what nobody has any more.
    fn forget(&mut self) {
        self.open.retain(|state| state.strong_count() > 0);
    }
}

#[cfg(test)]
#[path = "replaced_tasks_tests.rs"]
mod tests;
