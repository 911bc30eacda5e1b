use super::*;
use crate::audit::fixtures::{START, id, records};
use crate::audit::record::schema::ControlWrite;

/// The indices of the records that a filter lets pass.
fn passed(filter: &Filter) -> Vec<u64> {
    let records = records();
    let passed = records.iter().filter(|record| filter.matches(record));
    passed.filter_map(|record| record.index).collect()
}

fn text(text: &str) -> Vec<String> {
    vec![text.to_owned()]
}

#[test]
fn without_conditions_everything_passes() {
    assert_eq!(passed(&Filter::default()).len(), records().len());
}

#[test]
fn each_condition_chooses() {
    let base = Filter::default;
    let principal = |name: &str| Filter {
        principals: vec![text(name)],
        ..base()
    };
    let cases = [
        (
            Filter {
                kinds: vec![Kind::Write, Kind::Outcome],
                ..base()
            },
            vec![4, 6, 7, 11],
        ),
        (principal("Mcp::Agent::\"support\""), vec![2]),
        (principal("Mcp::Agent::\"planner\""), vec![2]),
        (principal("Mcp::User::\"sam\""), vec![2, 6, 7]),
        (principal("Mcp::User::\"support\""), vec![]),
        (
            Filter {
                servers: text("github"),
                ..base()
            },
            vec![2],
        ),
        (
            Filter {
                tools: vec![(None, "git_log".to_owned())],
                ..base()
            },
            vec![1, 3, 5],
        ),
        (
            Filter {
                tools: vec![(Some("git".to_owned()), "create_issue".to_owned())],
                ..base()
            },
            vec![],
        ),
        (
            Filter {
                decision: Some(Verdict::Deny),
                ..base()
            },
            vec![2, 7],
        ),
        (
            Filter {
                codes: text("no_permit"),
                ..base()
            },
            vec![7],
        ),
        (
            Filter {
                policies: text("mcp.new-rule"),
                ..base()
            },
            vec![2],
        ),
        (
            Filter {
                is_shadow: true,
                ..base()
            },
            vec![2],
        ),
        (
            Filter {
                policies: text("mcp.agents"),
                ..base()
            },
            vec![1, 2, 3, 5, 8, 9],
        ),
        (
            Filter {
                owners: text("security"),
                ..base()
            },
            vec![2],
        ),
        (
            Filter {
                controls: text("ISO-A.5"),
                ..base()
            },
            vec![2],
        ),
        (
            Filter {
                sessions: text("session-1"),
                ..base()
            },
            vec![2],
        ),
        (
            Filter {
                tasks: text("task-1"),
                ..base()
            },
            vec![2],
        ),
        (
            Filter {
                decision_ids: vec![id(3)],
                ..base()
            },
            vec![3, 4],
        ),
        (
            Filter {
                trace_ids: vec![vec![0x0a; 16]],
                ..base()
            },
            vec![2],
        ),
        (
            Filter {
                since: Some(START + 9 * 1_500_000_000),
                ..base()
            },
            vec![9, 10, 11],
        ),
        (
            Filter {
                until: Some(START + 1),
                ..base()
            },
            vec![0],
        ),
    ];
    for (filter, wanted) in cases {
        assert_eq!(passed(&filter), wanted, "{filter:?}");
    }
}

#[test]
fn a_write_about_a_task_or_a_session_is_one_of_it() {
    let write = |verb: &str| Record {
        kind: Some(record::Kind::Write(ControlWrite {
            verb: verb.to_owned(),
            id: "it".to_owned(),
            ..ControlWrite::default()
        })),
        ..Record::default()
    };
    let of_task = Filter {
        tasks: text("it"),
        ..Filter::default()
    };
    let of_session = Filter {
        sessions: text("it"),
        ..Filter::default()
    };
    for (verb, has_task, has_session) in [
        ("OpenTask", true, false),
        ("AdvanceTask", true, false),
        ("CloseTask", true, false),
        ("EndSession", false, true),
        ("StopEntity", false, false),
    ] {
        assert_eq!(of_task.matches(&write(verb)), has_task, "{verb}");
        assert_eq!(of_session.matches(&write(verb)), has_session, "{verb}");
    }
}

#[test]
fn conditions_compose() {
    let filter = Filter {
        principals: vec![text("Mcp::Agent::\"support\""), text("Mcp::User::\"sam\"")],
        decision: Some(Verdict::Deny),
        tools: vec![
            (None, "git_log".to_owned()),
            (Some("github".to_owned()), "create_issue".to_owned()),
        ],
        ..Filter::default()
    };
    assert_eq!(passed(&filter), [2]);
    let none = Filter {
        decision: Some(Verdict::Allow),
        ..filter
    };
    assert_eq!(passed(&none), [0_u64; 0]);
}

#[test]
fn approvals_and_delegations_choose_calls_and_writes_about_them() {
    let approval = |id: &str| Filter {
        approvals: text(id),
        ..Filter::default()
    };
    let delegation = |id: &str| Filter {
        delegations: text(id),
        ..Filter::default()
    };
    assert_eq!(passed(&approval("a-1")), [2]);
    assert!(passed(&approval("d-1")).is_empty());
    assert_eq!(passed(&delegation("d-2")), [2]);
    assert!(passed(&delegation("a-1")).is_empty());
    let write = |verb: &str| {
        record::Kind::Write(ControlWrite {
            verb: verb.to_owned(),
            id: "x".to_owned(),
            ..ControlWrite::default()
        })
    };
    let record = |verb| Record {
        kind: Some(write(verb)),
        ..Record::default()
    };
    for verb in ["RequestApproval", "ApproveCall", "RejectCall"] {
        assert!(approval("x").matches(&record(verb)));
        assert!(!delegation("x").matches(&record(verb)));
    }
    for verb in ["GrantDelegation", "NarrowDelegation", "RevokeDelegation"] {
        assert!(delegation("x").matches(&record(verb)));
        assert!(!approval("x").matches(&record(verb)));
    }
    assert!(!approval("x").matches(&record("PutEntity")));
}

#[test]
fn a_record_whose_lists_are_cut_may_have_what_is_asked_for() {
    let filter = Filter {
        approvals: vec!["a-99".to_owned()],
        servers: vec!["git".to_owned()],
        ..Filter::default()
    };
    let without = filter.without_lists().expect("it looks into a list");
    assert_eq!(
        without,
        Filter {
            servers: vec!["git".to_owned()],
            ..Filter::default()
        }
    );
    assert_eq!(without.without_lists(), None);
}
