use std::sync::Arc;

use callgate_engine::cedar::{Expr, parse_policyset};

use super::*;
use crate::analysis::access::{Case, Row};

fn residual(policy: &str, text: &str, may_fail: bool) -> Residual {
    let set = parse_policyset(&format!(
        "permit (principal, action, resource) when {{ {text} }};"
    ));
    let set = set.expect("a policy");
    let policies: Vec<_> = set.policies().collect();
    let condition: Expr = policies[0]
        .non_scope_constraints()
        .expect("a condition")
        .clone();
    Residual {
        policy: policy.into(),
        reason: None,
        words: text.to_owned(),
        cedar: text.to_owned(),
        may_fail,
        condition: Arc::new(condition),
    }
}

fn conditional(any_of: Vec<Residual>, none_of: Vec<Residual>) -> Outcome {
    Outcome::Conditional {
        needs_approval: false,
        principals: vec![PrincipalConditions {
            principal: "Mcp::User::\"sam\"".to_owned(),
            any_of,
            none_of,
            no_error_in: Vec::new(),
        }],
    }
}

fn report(outcome: Outcome) -> AccessReport {
    let access = outcome.access();
    AccessReport {
        tools: vec!["a/x".to_owned()],
        rows: vec![Row {
            who: "Mcp::User::\"sam\"".to_owned(),
            cells: vec![Cell {
                tool: "a/x".to_owned(),
                access,
                needs_approval: false,
                used: None,
                cases: vec![Case {
                    on_behalf_of: Vec::new(),
                    outcome: Arc::new(outcome),
                }],
            }],
        }],
        usage: None,
        observed: None,
        claims: Vec::new(),
    }
}

fn directions(before: Outcome, after: Outcome) -> Vec<Direction> {
    let changes = compare(&report(before), &report(after));
    changes.into_iter().map(|it| it.direction).collect()
}

#[test]
fn a_change_is_wider_narrower_or_different() {
    let never = || Outcome::Never {
        because: Vec::new(),
    };
    let one = || residual("one", "context has approval", false);
    let two = || residual("two", "context has task", false);
    let failing = || residual("three", "context.usage.last_day + 1 > 2", true);
    let some = || conditional(vec![one()], vec![two()]);
    assert_eq!(directions(never(), Outcome::Always), [Direction::Wider]);
    assert_eq!(directions(Outcome::Always, some()), [Direction::Narrower]);
    assert_eq!(directions(some(), never()), [Direction::Narrower]);
    assert_eq!(directions(some(), some()), []);
    // One forbid less, one permit more.
    assert_eq!(
        directions(some(), conditional(vec![one()], vec![])),
        [Direction::Wider]
    );
    assert_eq!(
        directions(some(), conditional(vec![one(), two()], vec![two()])),
        [Direction::Wider]
    );
    assert_eq!(
        directions(conditional(vec![one()], vec![]), some()),
        [Direction::Narrower]
    );
    assert_eq!(
        directions(some(), conditional(vec![two()], vec![one()])),
        [Direction::Different]
    );
    // A further permit that may fail may deny what was allowed.
    let more = conditional(vec![one(), failing()], vec![two()]);
    assert_eq!(directions(some(), more), [Direction::Different]);
}

#[test]
fn what_was_not_there_could_do_nothing() {
    let empty = AccessReport {
        tools: Vec::new(),
        rows: Vec::new(),
        usage: None,
        observed: None,
        claims: Vec::new(),
    };
    let changes = compare(&empty, &report(Outcome::Always));
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].direction, Direction::Wider);
    assert!(changes[0].before.is_none());
}
