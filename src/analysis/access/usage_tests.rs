use std::sync::Arc;

use super::*;
use crate::analysis::access::outcome::{Access, Outcome};
use crate::analysis::access::{Case, Cell};
use crate::audit::record::schema::{Decision, Notice};

fn decision(subject: &str, tool: &str, verdict: Verdict, is_dry_run: bool) -> Record {
    let (server, tool) = tool.split_once('/').expect("server/tool");
    Record {
        at: 1_800_000_000_000_000_000,
        kind: Some(Kind::Decision(Decision {
            verdict: verdict.into(),
            is_dry_run,
            operation: "tools/call".to_owned(),
            server: server.to_owned(),
            tool: tool.to_owned(),
            subject: subject.to_owned(),
            ..Decision::default()
        })),
        ..Record::default()
    }
}

fn cell(tool: &str, access: Access) -> Cell {
    Cell {
        tool: tool.to_owned(),
        access,
        needs_approval: false,
        used: None,
        cases: vec![Case {
            on_behalf_of: Vec::new(),
            outcome: Arc::new(Outcome::Always),
        }],
    }
}

fn report() -> AccessReport {
    AccessReport {
        tools: vec!["a/x".to_owned(), "a/y".to_owned(), "a/z".to_owned()],
        rows: vec![Row {
            who: "Mcp::Agent::\"bot\"".to_owned(),
            cells: vec![
                cell("a/x", Access::Always),
                cell("a/y", Access::Conditional),
                cell("a/z", Access::Never),
            ],
        }],
        usage: None,
        observed: None,
        claims: Vec::new(),
    }
}

#[test]
fn only_allowed_calls_count_as_use() {
    let bot = "Mcp::Agent::\"bot\"";
    let mut usage = Usage::default();
    usage.add(&decision(bot, "a/x", Verdict::Allow, false));
    usage.add(&decision(bot, "a/x", Verdict::Allow, false));
    usage.add(&decision(bot, "a/y", Verdict::Deny, false));
    usage.add(&decision(bot, "a/y", Verdict::Allow, true));
    usage.add(&Record {
        kind: Some(Kind::Notice(Notice::default())),
        ..Record::default()
    });
    assert_eq!((usage.count(bot, "a/x"), usage.count(bot, "a/y")), (2, 0));
    let mut report = report();
    usage.mark(&mut report);
    let unused: Vec<bool> = report.rows[0].cells.iter().map(Cell::is_unused).collect();
    // What may not be called is not unused.
    assert_eq!(unused, [false, true, false]);
    assert_eq!(report.usage.expect("a span").records, 5);
}

#[test]
fn a_deny_that_was_only_observed_is_a_use() {
    let bot = "Mcp::Agent::\"bot\"";
    let observed = |is_dry_run| {
        let mut record = decision(bot, "a/y", Verdict::Deny, is_dry_run);
        if let Some(Kind::Decision(decision)) = &mut record.kind {
            decision.is_observed = true;
        }
        record
    };
    let mut usage = Usage::default();
    usage.add(&observed(false));
    usage.add(&observed(true));
    assert_eq!(usage.count(bot, "a/y"), 1);
    let mut report = report();
    usage.mark(&mut report);
    assert!(!report.rows[0].cells[1].is_unused());
}
