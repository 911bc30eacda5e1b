use std::collections::{BTreeMap, HashMap, HashSet};

use crate::domain::ids::{ApprovalId, BudgetId, SessionId, TaskId};

#[test]
fn an_id_is_shown_and_written_as_its_text() {
    let id = TaskId::new("task-1 \"x\"");
    assert_eq!(id.to_string(), "task-1 \"x\"");
    assert_eq!(
        format!("{id:>12}|{id:?}"),
        "  task-1 \"x\"|\"task-1 \\\"x\\\"\""
    );
    assert_eq!(
        serde_json::to_string(&id).ok().as_deref(),
        Some(r#""task-1 \"x\"""#)
    );
    let read: Vec<TaskId> = serde_json::from_str(r#"["a","b"]"#).unwrap_or_default();
    assert_eq!(read, ["a", "b"]);
}

#[test]
fn maps_of_ids_are_searched_with_texts_too() {
    let id = || ApprovalId::from("appr-1");
    let (hashed, sorted) = (HashMap::from([(id(), 1)]), BTreeMap::from([(id(), 1)]));
    assert_eq!(
        (hashed.get("appr-1"), hashed.get(&id())),
        (Some(&1), Some(&1))
    );
    assert_eq!(
        (sorted.get("appr-1"), sorted.get("appr-2")),
        (Some(&1), None)
    );
}

#[test]
fn the_empty_id_sorts_before_all_others() {
    let least = SessionId::from("\0");
    assert!(SessionId::default() < least);
}

#[test]
fn a_budget_belongs_to_its_task() {
    let task = TaskId::from("task-1");
    let (whole, tool) = (
        BudgetId::of_task(&task),
        BudgetId::of_tool(&task, "notes/read"),
    );
    assert_eq!(
        (whole.as_str(), tool.as_str()),
        ("task-1", "task-1/notes/read")
    );
    let tasks = |id: &str| HashSet::from([TaskId::from(id)]);
    assert!(whole.is_within(&tasks("task-1")) && tool.is_within(&tasks("task-1")));
    assert!(!whole.is_within(&tasks("task")) && !tool.is_within(&tasks("task-10")));
}
