use std::time::SystemTime;

use super::*;
use crate::domain::schema::{self, TYPES};

/// A task at a step, closed or not.
fn task(at_step: usize, is_closed: bool) -> Arc<Task> {
    let now = SystemTime::UNIX_EPOCH;
    Arc::new(Task {
        id: "t".into(),
        agent: schema::entity_uid(&TYPES.agent, "a"),
        agent_owner: None,
        person: schema::entity_uid(&TYPES.user, "u"),
        purpose: "p".into(),
        scope: None,
        terms: Default::default(),
        call_budget: None,
        steps: Vec::new(),
        at_step,
        opened_at: now,
        deadline: now,
        closed_at: is_closed.then_some(now),
    })
}

#[test]
fn a_task_is_over_once_nobody_has_a_state_in_which_it_was_open() {
    let replaced = ReplacedTasks::default();
    let (first, second, closed) = (task(0, false), task(1, false), task(1, true));
    replaced.note(None, &first);
    replaced.note(Some(&first), &second);
    assert!(replaced.take_over().is_empty(), "it is open");
    replaced.note(Some(&second), &closed);
    drop(second);
    assert!(replaced.take_over().is_empty(), "the first step is held");
    drop(first);
    assert_eq!(replaced.take_over(), [TaskId::new_static("t")]);
    assert!(replaced.take_over().is_empty(), "it is told once");
}

#[test]
fn a_task_that_goes_on_is_not_over() {
    let replaced = ReplacedTasks::default();
    let (first, second) = (task(0, false), task(1, false));
    replaced.note(Some(&first), &second);
    drop(first);
    assert!(replaced.take_over().is_empty());
    let closed = task(1, true);
    replaced.note(Some(&second), &closed);
    // As after a write that could not be made at first: it is closed once more.
    replaced.note(Some(&closed), &closed);
    drop(second);
    assert_eq!(replaced.take_over(), [TaskId::new_static("t")]);
}
