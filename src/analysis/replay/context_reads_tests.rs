use super::*;
use crate::domain::fixtures::world;

#[test]
fn who_takes_part_and_that_there_is_a_task_is_no_label() {
    for (condition, is_read) in [
        ("true", false),
        ("context has delegation", false),
        ("context has task && context has delegation", false),
        (
            r#"context has delegation.root && context.delegation.root == Mcp::User::"alice""#,
            false,
        ),
        (
            "context has delegation && context.delegation.verified && context.delegation.actors.isEmpty()",
            false,
        ),
        ("context has task && context.task.lists_tools", false),
        (
            r#"context has session && context.session.labels.contains("private")"#,
            false,
        ),
        (r#"context.labels.contains("private")"#, true),
        ("context has recent", true),
        (
            r#"context has recent && context.recent.labels.contains("private")"#,
            true,
        ),
        (
            "context has task && context.task has labels && context.task.labels.isEmpty()",
            true,
        ),
        (
            "context has task.labels && context.task.labels.isEmpty()",
            true,
        ),
        ("context has delegation.labels", true),
        (
            "context has delegation && context.delegation == context.delegation",
            true,
        ),
        ("context == context", true),
        (
            "principal has tag || (if context has task then context.labels.isEmpty() else false)",
            true,
        ),
    ] {
        let snapshot = world(&format!(
            "permit (principal, action, resource) when {{ {condition} }};"
        ));
        assert_eq!(reads_labels(&snapshot), is_read, "{condition}");
    }
}
