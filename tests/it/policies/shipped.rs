//! The shipped policies: in order, and every test beside them decided as it says.

use std::fs;
use std::path::PathBuf;

use callgate::analysis::policy_test::TestedBundle;
use callgate::analysis::policy_test::mutate::{Fate, MutationKind, MutationReport, mutate};
use callgate::bundle::{self, Bundle};
use callgate::domain::reason::ReasonCode;
use serde_json::{Value as Json, json};

use crate::policies::rows::decide;
use crate::support::bundle_dir::BundleDir;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn shipped() -> Bundle {
    bundle::load(&root().join("policies")).unwrap_or_else(|faults| panic!("{faults}"))
}

fn tested(dir: &str) -> TestedBundle {
    TestedBundle::load(&root().join(dir), None).unwrap_or_else(|faults| panic!("{dir}: {faults}"))
}

#[test]
fn every_shipped_test_is_decided_as_it_says_and_every_condition_is_seen_true_and_false() {
    let ran = tested("policies").run(None, true).expect("the tests run");
    let failed: Vec<_> = ran.failures().collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(ran.cases.len() >= 170, "only {} cases", ran.cases.len());
    let coverage = ran.coverage.expect("it was asked for");
    for policy in &coverage.policies {
        assert!(policy.is_covered(), "{} never applies", policy.id);
        for condition in &policy.conditions {
            let (id, text, lacks) = (&policy.id, &condition.text, condition.lacks());
            assert!(condition.is_covered(), "{id}: {lacks}: {text}");
        }
    }
}

/// The changes of the shipped policies that mean the same as the policy: the policy, what is changed, the part. That they do is
/// proven by the solver, in the second of the tests below.
const EQUIVALENT: [(&str, MutationKind, &str); 6] = [
    (
        "admin.new_repository",
        MutationKind::ConditionDropped,
        "principal is Mcp::User",
    ),
    (
        "delegation.to_active",
        MutationKind::ScopeWidened,
        "resource is Mcp::Agent",
    ),
    (
        "discovery.handbook",
        MutationKind::ScopeWidened,
        "action in [Mcp::Action::\"use_context\"]",
    ),
    (
        "server_initiated.verified_peer",
        MutationKind::ScopeWidened,
        "principal is Mcp::Server",
    ),
    (
        "server_initiated.verified_peer",
        MutationKind::ScopeWidened,
        "action in [Mcp::Action::\"server_initiated\"]",
    ),
    (
        "tasks.advance",
        MutationKind::ScopeWidened,
        "principal is Mcp::User",
    ),
];

/// Those of a report with a fate, as [`EQUIVALENT`] lists them.
fn with_fate(
    report: &MutationReport,
    is_meant: impl Fn(&Fate) -> bool,
) -> Vec<(&str, MutationKind, &str)> {
    let meant = report.mutants.iter().filter(|it| is_meant(&it.fate));
    meant
        .map(|it| (it.policy.as_str(), it.kind, it.part.as_str()))
        .collect()
}

#[test]
fn every_change_of_a_shipped_policy_is_noticed_but_for_those_known_to_mean_the_same() {
    let report = mutate(&tested("policies"), None, false).expect("the tests run");
    assert!(report.mutants.len() >= 800, "{}", report.mutants.len());
    let survived = with_fate(&report, |fate| matches!(fate, Fate::Survived { .. }));
    assert_eq!(survived, EQUIVALENT);
}

#[test]
#[ignore = "needs the solver cvc5"]
fn the_changes_that_no_test_notices_are_proven_to_mean_the_same() {
    let report = mutate(&tested("policies"), None, true).expect("the tests run");
    let survivors: Vec<_> = report.survivors().collect();
    assert!(survivors.is_empty(), "{survivors:#?}");
    assert_eq!(
        with_fate(&report, |fate| *fate == Fate::Equivalent),
        EQUIVALENT
    );
}

#[test]
fn every_policy_set_gives_the_answers_of_its_original() {
    let mut sets = 0;
    for entry in fs::read_dir(root().join("tests/policy_sets")).expect("the policy sets") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sets += 1;
            let ran = tested(path.to_str().expect("a path")).run(None, true);
            let ran = ran.expect("the tests run");
            let failed: Vec<_> = ran.failures().collect();
            assert!(failed.is_empty(), "{failed:#?}");
            let coverage = ran.coverage.expect("it was asked for");
            assert_eq!(coverage.percent(), 100, "{}: {coverage:#?}", path.display());
        }
    }
    assert!(sets >= 14, "only {sets} policy sets were found");
}

#[test]
fn every_policy_says_who_answers_for_it_and_why() {
    let bundle = shipped();
    assert!(bundle.warnings.is_empty(), "{:?}", bundle.warnings);
    assert!(bundle.counts.level <= 2);
    assert!(
        bundle
            .policies
            .iter()
            .all(|policy| policy.owner.is_some() && !policy.id.contains('#'))
    );
    for entry in fs::read_dir(root().join("policies")).expect("the policies") {
        let path = entry.expect("an entry").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "cedar")
        {
            let text = fs::read_to_string(&path).expect("policies");
            for policy in text.split("@id(").skip(1) {
                for annotation in ["@owner(\"", "@controls(\"", "@reason(\""] {
                    assert!(
                        policy.contains(annotation),
                        "{}: no {annotation} in {policy}",
                        path.display()
                    );
                }
            }
        }
    }
}

/// The shipped directory with one change.
fn changed(file: &str, change: impl FnOnce(String) -> String) -> Bundle {
    let before = fs::read_to_string(root().join("policies").join(file)).expect("a file");
    let after = change(before.clone());
    assert_ne!(before, after);
    let changed = BundleDir::copy_of("policies").file(file, after);
    changed
        .compile()
        .unwrap_or_else(|faults| panic!("{faults}"))
}

fn answer(bundle: &Bundle, case: Json, code: ReasonCode, policies: &[&str]) {
    let verdict = decide(bundle, &case);
    let codes: Vec<_> = verdict.reasons.iter().map(|reason| reason.code).collect();
    assert_eq!(codes.first(), Some(&code), "{case}");
    let determining = verdict.determining_policies.iter();
    let determining: Vec<&str> = determining.map(|policy| policy.id.as_str()).collect();
    assert_eq!(determining, policies, "{case}");
}

#[test]
fn one_word_takes_a_server_out_of_service() {
    let suspended = changed("tools/slack.json", |text| {
        text.replace("\"messaging\"", "\"messaging\", \"suspended\"")
    });
    answer(
        &suspended,
        json!({"name": "its tools are not called", "user": "tara", "call": "slack/slack_list_channels", "want": "deny"}),
        ReasonCode::Forbidden,
        &["kill_switch.suspended"],
    );
    let inactive = changed("tools/github.json", |text| {
        text.replace("\"active\": true", "\"active\": false")
    });
    for case in [
        json!({"name": "it asks nothing", "from_server": "github", "call": {"kind": "sample"}, "want": "deny"}),
        json!({"name": "nobody calls it", "user": "sam", "call": "github/get_issue", "want": "deny"}),
    ] {
        answer(&inactive, case, ReasonCode::ServerUnknown, &[]);
    }
}
