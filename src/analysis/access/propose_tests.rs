use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::analysis::access::OnBehalfOf;
use crate::analysis::access::outcome::Outcome;
use crate::analysis::access::usage::Usage;
use crate::analysis::access::{Case, Cell};
use crate::analysis::policy_test::TESTS_DIR;
use crate::audit::record::Record;
use crate::audit::record::schema::record::Kind;
use crate::audit::record::schema::{Decision, Verdict as Recorded};

fn allowed(subject: &str, tool: &str) -> Record {
    let (server, tool) = tool.split_once('/').expect("server/tool");
    Record {
        at: 1_800_000_000_000_000_000,
        kind: Some(Kind::Decision(Decision {
            verdict: Recorded::Allow.into(),
            operation: "tools/call".to_owned(),
            server: server.to_owned(),
            tool: tool.to_owned(),
            subject: subject.to_owned(),
            ..Decision::default()
        })),
        ..Record::default()
    }
}

const BOT: &str = "Mcp::Agent::\"bot\"";

#[test]
fn a_proposal_takes_away_what_was_not_used_and_parses() {
    let cell = |tool: &str| Cell {
        tool: tool.to_owned(),
        access: Access::Always,
        needs_approval: false,
        used: None,
        cases: vec![Case {
            on_behalf_of: Vec::new(),
            outcome: Arc::new(Outcome::Always),
        }],
    };
    let mut report = AccessReport {
        tools: vec!["a/x".to_owned(), "a/y".to_owned()],
        rows: vec![Row {
            who: BOT.to_owned(),
            cells: vec![cell("a/x"), cell("a/y")],
        }],
        usage: None,
        observed: None,
        claims: Vec::new(),
    };
    assert_eq!(policies(&report), None, "without a log nothing is unused");
    let mut usage = Usage::default();
    usage.add(&allowed(BOT, "a/x"));
    usage.mark(&mut report);
    let text = policies(&report).expect("a/y is unused");
    assert!(
        text.contains("Mcp::Tool::\"a/y\"") && !text.contains("a/x"),
        "{text}"
    );
    assert!(text.contains("principal == Mcp::Agent::\"bot\""));
    callgate_engine::cedar::parse_policyset(&text).expect("it parses");
}

/// The shipped directory, and what of it one agent has used.
fn shipped(agent: &str, used: &[&str]) -> (PathBuf, Bundle, AccessQuery, AccessReport) {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("policies");
    let bundle = bundle::load(&dir).expect("it is in order");
    let who = format!("Mcp::Agent::\"{agent}\"");
    let query = AccessQuery {
        who: vec![who.parse().expect("a uid")],
        on_behalf_of: OnBehalfOf::Anyone,
        ..AccessQuery::default()
    };
    let mut report = access(&bundle, &query).expect("a report");
    let mut usage = Usage::default();
    for tool in used {
        usage.add(&allowed(&who, tool));
    }
    usage.mark(&mut report);
    (dir, bundle, query, report)
}

#[test]
fn the_tests_of_a_proposal_pass_with_it_and_fail_without_it() {
    let (dir, before, query, report) = shipped("release", &["git/git_log", "github/get_issue"]);
    let proposal = propose(
        (&dir, None),
        &before,
        &query,
        &report,
        &dir.join("unused.cedar"),
    );
    let proposal = proposal.unwrap_or_else(|error| panic!("{error}"));
    let text = proposal.tests.expect("there are tests");
    assert!(proposal.cases >= 3, "{text}");
    assert!(text.contains("as before"), "{text}");

    // As the command writes them, in a copy of the directory.
    let copy = tempfile::tempdir().expect("a directory");
    let status = std::process::Command::new("cp")
        .arg("-r")
        .arg(dir.join("."))
        .arg(copy.path())
        .status();
    assert!(status.expect("cp runs").success());
    let tests = copy.path().join(TESTS_DIR).join("unused.yaml");
    std::fs::write(&tests, &text).expect("written");
    let policy = copy.path().join("unused.cedar");
    std::fs::write(&policy, &proposal.policies).expect("written");
    let run = || {
        let tested = TestedBundle::load(copy.path(), Some(&tests));
        let tested = tested.unwrap_or_else(|faults| panic!("{faults}"));
        tested.run(None, false).expect("they run")
    };
    let ran = run();
    let failed: Vec<_> = ran.failures().collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(ran.cases.len(), proposal.cases);
    assert!(ran.took < Duration::from_secs(60));

    // Where the policy takes nothing away, all tests of that fail, and those of what stays do not.
    let idle = "@id(\"unused.agent_release\")\n\
                forbid (principal == Mcp::Agent::\"nobody\", action in Mcp::Action::\"call_tool\", resource);\n";
    std::fs::write(&policy, idle).expect("written");
    let taken = text.matches("it was never used").count();
    assert!(taken > 0);
    assert_eq!(run().failures().count(), taken);
}

#[test]
fn a_policy_that_would_not_be_read_is_not_proposed() {
    let (dir, before, query, report) = shipped("release", &["git/git_log"]);
    for name in [
        "../unused.cedar",
        "unused2",
        ".h.cedar",
        "x.CEDAR",
        "proofs/x.cedar",
    ] {
        let proposal = propose((&dir, None), &before, &query, &report, &dir.join(name));
        let said = proposal.expect_err(name).to_string();
        assert!(said.contains("would not be read as a policy"), "{said}");
    }
}

#[test]
fn where_all_is_used_there_is_nothing_to_propose() {
    let (dir, before, query, mut report) = shipped("release", &[]);
    for cell in report.rows.iter_mut().flat_map(|row| &mut row.cells) {
        cell.used = Some(1);
    }
    let proposal = propose(
        (&dir, None),
        &before,
        &query,
        &report,
        &dir.join("unused.cedar"),
    );
    assert!(matches!(proposal, Err(ProposeError::NothingUnused)));
}
