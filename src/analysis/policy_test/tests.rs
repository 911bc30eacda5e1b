use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::mutate::{Fate, MutationKind, mutate};
use super::*;

const POLICIES: &str = r#"
@id("read.staff")
permit (
  principal in Mcp::Group::"staff",
  action in Mcp::Action::"call_read",
  resource
);

@id("write.small")
@obligation("log:full")
permit (
  principal in Mcp::Group::"staff",
  action in Mcp::Action::"call_write",
  resource
)
when { context has usage && context.usage.last_hour < 10 }
unless { context.labels.contains("secret") };
"#;

const FIXTURES: &str = r#"
about: a small company
now: 2026-03-01T09:00:00Z
fixtures:
  groups: {staff: {}}
  users: {ana: {in: [staff]}, ben: {}}
  agents: {helper: {owner: ana}}
  servers: {git: {owner: ana}}
  tools:
    git/log: {owner: ana, attrs: {access: read}}
    git/commit: {owner: ana, attrs: {access: write}}
  usage: {calm: {last_hour: 2}}
  sessions: {fresh: []}
"#;

/// A directory with these policies and this test file.
fn directory(tests: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("all.cedar"), POLICIES).expect("written");
    fs::create_dir(dir.path().join("tests")).expect("made");
    write_tests(dir.path(), tests);
    dir
}

fn write_tests(dir: &Path, tests: &str) {
    let text = format!("{FIXTURES}{tests}");
    fs::write(dir.join("tests/all.yaml"), text).expect("written");
}

fn run(tests: &str) -> RunReport {
    let dir = directory(tests);
    let tested = TestedBundle::load(dir.path(), None).unwrap_or_else(|faults| panic!("{faults}"));
    tested
        .run(None, true)
        .unwrap_or_else(|faults| panic!("{faults}"))
}

fn fault(tests: &str) -> String {
    let dir = directory(tests);
    let faults = TestedBundle::load(dir.path(), None).expect_err("a fault");
    faults.to_string()
}

const GOOD: &str = r#"
tests:
  - name: staff writes
    user: ana
    call: git/commit
    usage: calm
    session: fresh
    want: allow
    policies: [write.small]
    obligations: [log:full]
  - name: too much
    user: ana
    call: git/commit
    usage: {last_hour: 10}
    session: []
    want: deny
    code: NO_PERMIT
    policies: []
  - name: nobody has counted
    user: ana
    call: git/commit
    session: []
    want: deny
  - name: after a secret
    user: ana
    call: {tool: git/commit}
    usage: calm
    session: {labels: [secret], calls: 3, tools: [git/log]}
    want: deny
    challenge: []
tables:
  - name: reading
    given: {session: fresh}
    calls: [git/log, git/commit]
    rows:
      - [user:ana, allow, deny]
      - [user:ben, deny NO_PERMIT, deny NO_PERMIT]
"#;

#[test]
fn cases_and_tables_are_decided() {
    let report = run(GOOD);
    let failed: Vec<_> = report.failures().collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let names: Vec<&str> = report.cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), 8);
    assert_eq!(names[7], "reading: user:ben, git/commit");
}

#[test]
fn a_failure_is_a_diff_with_the_condition_that_decided() {
    let report = run("
tests:
  - name: too much
    user: ana
    call: git/commit
    usage: {last_hour: 12}
    session: []
    want: allow
    policies: [write.small]
");
    let [case] = &report.cases[..] else {
        panic!("one case");
    };
    let lines = report::failure_lines(case).join("\n");
    for part in [
        "- want: allow\n+ want: deny\n",
        "- policies: write.small\n",
        "does not apply to Mcp::User::\"ana\"",
        "line 16: `context.usage.last_hour < 10` is false   [context.usage.last_hour = 12]",
    ] {
        assert!(lines.contains(part), "{part:?} in\n{lines}");
    }
    let junit = report::junit(&report, &[]);
    assert!(junit.contains("tests=\"1\" failures=\"1\""), "{junit}");
    assert!(junit.contains("context.usage.last_hour &lt; 10"), "{junit}");
    let tap = report::tap(&report, &[]);
    assert!(
        tap.starts_with("TAP version 14\n1..1\nnot ok 1 - too much\n"),
        "{tap}"
    );
    // What is demanded besides is a test of its own.
    let demand = |name: &str, lacking: &[&str]| report::Demand {
        name: name.to_owned(),
        lacking: lacking.iter().map(|it| (*it).to_owned()).collect(),
    };
    let demands = [demand("# met", &[]), demand("noticed", &["a.cedar:1: <a>"])];
    let junit = report::junit(&report, &demands);
    for part in [
        "<testsuites name=\"callgate\" tests=\"3\" failures=\"2\"",
        "<testsuite name=\"demands\" tests=\"2\" failures=\"1\"",
        "<testcase name=\"# met\" classname=\"demands\" time=\"0\"/>",
        "a.cedar:1: &lt;a&gt;",
    ] {
        assert!(junit.contains(part), "{part} in {junit}");
    }
    let tap = report::tap(&report, &demands);
    assert!(tap.starts_with("TAP version 14\n1..3\n"), "{tap}");
    let end =
        "ok 2 - \\# met\nnot ok 3 - noticed\n  ---\n  lacking:\n    - \"a.cedar:1: <a>\"\n  ...\n";
    assert!(tap.ends_with(end), "{tap}");
}

#[test]
fn faults_name_file_line_and_field() {
    let first = FIXTURES.lines().count() + 1;
    for (tests, line, said) in [
        (
            "tests:\n  - name: x\n    user: ana\n    cal: git/log\n",
            4,
            "cal",
        ),
        (
            "tests:\n  - name: x\n    user: ana\n    user: ben\n",
            4,
            "user",
        ),
        (
            "tests:\n  - name: x\n    user: ana\n    call: git/log\n",
            2,
            "`want`",
        ),
        (
            "tests:\n  - user: ana\n    call: git/log\n    want: allow\n",
            2,
            "`name`",
        ),
        (
            "tests:\n  - name: x\n    call: git/log\n    want: allow\n",
            2,
            "`user`",
        ),
        (
            "tests:\n  - name: x\n    user: ana\n    want: allow\n",
            2,
            "`call`",
        ),
        (
            "tests:\n  - name: x\n    user: ana\n    call: push\n    want: deny\n",
            4,
            "there is no fixture `push`",
        ),
        (
            "tests:\n  - name: x\n    user: ana\n    call: git/log\n    session: old\n    want: deny\n",
            5,
            "there is no fixture `old`",
        ),
        (
            "tests:\n  - name: x\n    user: ana\n    call: git/log\n    want: allow\n    policies: [none]\n",
            6,
            "there is no policy `none`",
        ),
        (
            "tests:\n  - name: x\n    user: ana\n    call: git/log\n    want: deny\n    code: NO\n",
            6,
            "`NO` is no reason code",
        ),
        (
            "tables:\n  - name: x\n    calls: [git/log]\n    rows: [[user:ana, allow, deny]]\n",
            4,
            "has 2 decisions for 1 calls",
        ),
        (
            "tables:\n  - name: x\n    calls: [git/log]\n    rows: [[user:ana, maybe]]\n",
            4,
            "`maybe` is none of",
        ),
        ("tests:\n  - name: [1, 2]\n", 2, "string"),
    ] {
        let found = fault(tests);
        let place = format!("tests/all.yaml:{}", first + line - 1);
        assert!(found.contains(said), "{said:?} in {found}");
        assert!(found.contains(&place), "{place} in {found}");
    }
}

#[test]
fn what_grows_when_it_is_read_is_refused() {
    let mut bomb = "tests: []\nabout: &a0 [x, x]\n".to_owned();
    for level in 1..30 {
        let below = level - 1;
        bomb.push_str(&format!(
            "a{level}: &a{level} [*a{below}, *a{below}, *a{below}]\n"
        ));
    }
    assert!(!fault(&bomb).is_empty());
    let deep = format!("tests: {}{}\n", "[".repeat(50_000), "]".repeat(50_000));
    assert!(!fault(&deep).is_empty());
}

#[test]
fn a_directory_without_tests_is_a_fault() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("all.cedar"), POLICIES).expect("written");
    let faults = TestedBundle::load(dir.path(), None).expect_err("a fault");
    assert!(
        faults.to_string().contains("cannot read the directory"),
        "{faults}"
    );
}

#[test]
fn a_file_that_is_meant_to_be_a_test_does_not_go_unread() {
    let with = |name: &str| {
        let dir = directory(GOOD);
        fs::write(dir.path().join("tests").join(name), GOOD).expect("written");
        dir
    };
    for (name, help) in [
        ("x.YAML", "call it `x.yaml`"),
        ("x.yml", "tests are called `*.yaml`"),
        ("x.YML", "tests are called `*.yaml`"),
    ] {
        let dir = with(name);
        let faults = TestedBundle::load(dir.path(), None).expect_err(name);
        let faults = faults.to_string();
        assert!(faults.contains(name) && faults.contains(help), "{faults}");
    }
    for (name, is_told) in [
        (".x.yaml", true),
        ("x.yaml~", true),
        ("x.yaml.bak", true),
        ("x.ymal", true),
        ("x.json", true),
        ("../x.yaml", true),
        // While the original is there, copies are of no interest.
        ("all.yaml~", false),
        (".#all.yaml", false),
        ("README.md", false),
    ] {
        let dir = with(name);
        let tested = TestedBundle::load(dir.path(), None).unwrap_or_else(|it| panic!("{it}"));
        assert_eq!(
            tested.warnings.len(),
            usize::from(is_told),
            "{name}: {:?}",
            tested.warnings
        );
    }
}

#[test]
fn a_table_without_cells_is_a_fault() {
    for table in ["calls: []\n    rows: [[user:ana]]", "calls: [git/log]"] {
        let faults = fault(&format!("tables:\n  - name: t\n    {table}\n"));
        assert!(faults.contains("holds no test"), "{faults}");
    }
}

#[test]
fn coverage_tells_what_was_never_true_or_never_false() {
    let report = run("
tests:
  - name: staff writes
    user: ana
    call: git/commit
    usage: calm
    session: fresh
    want: allow
");
    let coverage = report.coverage.expect("it was asked for");
    assert_eq!((coverage.policies_covered, coverage.policies.len()), (1, 2));
    let lacking = coverage.policies.iter().flat_map(|it| &it.conditions);
    let lacking: Vec<_> = lacking
        .filter(|it| !it.is_covered())
        .map(|it| (it.text.as_str(), it.lacks()))
        .collect();
    // The `has` guards what follows it: that it was evaluated is enough.
    assert_eq!(
        lacking,
        [
            ("context.usage.last_hour < 10", "never false"),
            ("context.labels.contains(\"secret\")", "never true"),
        ]
    );
    let full = run(GOOD).coverage.expect("it was asked for");
    assert_eq!(full.percent(), 100, "{full:#?}");
}

#[test]
fn changes_that_no_test_notices_survive() {
    let dir = directory(GOOD);
    let tested = TestedBundle::load(dir.path(), None).unwrap_or_else(|faults| panic!("{faults}"));
    let report = mutate(&tested, Some("write.small"), false).expect("the tests run");
    let of = |kind: MutationKind| {
        let mutants = report.mutants.iter().filter(move |it| it.kind == kind);
        mutants
            .map(|it| (it.part.as_str(), &it.fate))
            .collect::<Vec<_>>()
    };
    let is_killed = |fate: &Fate| matches!(fate, Fate::Killed { .. });
    for kind in [
        MutationKind::PolicyRemoved,
        MutationKind::EffectFlipped,
        MutationKind::UnlessEmptied,
    ] {
        let found = of(kind);
        assert!(found.iter().all(|(_, fate)| is_killed(fate)), "{found:?}");
        assert_eq!(found.len(), 1);
    }
    // Without the guard the policy does not validate.
    let dropped = of(MutationKind::ConditionDropped);
    assert_eq!(dropped[0].0, "context has usage");
    assert_eq!(*dropped[0].1, Fate::Invalid);
    assert!(is_killed(dropped[1].1), "{dropped:?}");
    // No test asks for somebody else, or for another action, with usage counted.
    let survivors: Vec<_> = report.survivors().map(|it| it.part.as_str()).collect();
    assert_eq!(
        survivors,
        [
            "principal in Mcp::Group::\"staff\"",
            "action in [Mcp::Action::\"call_write\"]"
        ]
    );
    // A file without the test of a secret lets more pass.
    write_tests(
        dir.path(),
        "
tests:
  - name: staff writes
    user: ana
    call: git/commit
    usage: calm
    session: fresh
    want: allow
",
    );
    let tested = TestedBundle::load(dir.path(), None).unwrap_or_else(|faults| panic!("{faults}"));
    let report = mutate(&tested, Some("write.small"), false).expect("the tests run");
    let emptied = report
        .mutants
        .iter()
        .find(|it| it.kind == MutationKind::UnlessEmptied);
    let emptied = emptied.expect("there is an unless");
    assert_eq!(emptied.fate, Fate::Survived { unproven: None });
}

#[test]
fn a_denial_of_a_misspelt_name_is_a_fault() {
    let case = |what: &str| format!("\ntests:\n  - name: x\n{what}    want: deny\n");
    for (what, said, help) in [
        (
            "    user: annna\n    call: git/log\n",
            "there is no user `annna`",
            "did you mean `anna`?",
        ),
        (
            "    user: ben\n    call: git/lgo\n",
            "there is no tool `git/lgo`",
            "did you mean `git/log`?",
        ),
        (
            "    user: ben\n    call: {tool: git/lgo}\n",
            "there is no tool `git/lgo`",
            "did you mean `git/log`?",
        ),
        (
            "    user: ben\n    call: jira/make\n",
            "there is no tool `jira/make`",
            "`code: TOOL_UNKNOWN`",
        ),
    ] {
        let tests = case(what);
        let dir = directory("");
        let text = FIXTURES.replace("ben: {}}", "ben: {}, anna: {}}");
        assert_ne!(text, FIXTURES);
        fs::write(dir.path().join("tests/all.yaml"), format!("{text}{tests}")).expect("written");
        let faults = TestedBundle::load(dir.path(), None)
            .expect_err("a fault")
            .to_string();
        assert!(faults.contains(said) && faults.contains(help), "{faults}");
    }
    let table = "
tables:
  - name: t
    calls: [git/log, git/commit]
    rows:
      - [\"user:bne\", deny, deny]
      - [\"user:ben\", deny, deny]
";
    // `bne` is told once, at its row.
    let faults = fault(table);
    assert_eq!(
        faults.matches("there is no user `bne`").count(),
        1,
        "{faults}"
    );
    // Nobody is like a stranger, and a code says that a name is unknown on purpose.
    for right in [
        case("    user: stranger\n    call: git/log\n"),
        case("    user: ben\n    call: git/lgo\n    code: TOOL_UNKNOWN\n"),
        case("    user: bne\n    claims: {groups: []}\n    call: git/log\n"),
    ] {
        let dir = directory(&right);
        let tested = TestedBundle::load(dir.path(), None);
        assert!(tested.is_ok(), "{right}: {:?}", tested.err());
    }
}

/// A file of cases that want this decision.
fn wanting(want: &str, cases: &[&str]) -> String {
    let each = cases
        .iter()
        .enumerate()
        .map(|(index, it)| format!("  - {{name: t{index}, {it}, want: {want}}}\n"));
    format!("tests:\n{}", each.collect::<String>())
}

#[test]
fn a_denial_before_any_policy_is_asked_is_a_fault_unless_it_is_said() {
    let schema = r#"{"type": "object", "required": ["repo_path"], "properties": {"repo_path": {"type": "string"}}}"#;
    let fixtures = FIXTURES.replace(
        "git/commit: {",
        &format!("git/diff: {{owner: ana, attrs: {{access: read, input_schema: '{schema}'}}}}\n    git/commit: {{"),
    );
    let faults = |case: &str| {
        let dir = directory("");
        let text = format!("{fixtures}{}", wanting("deny", &[case]));
        fs::write(dir.path().join("tests/all.yaml"), text).expect("written");
        TestedBundle::load(dir.path(), None)
            .map(|_| ())
            .map_err(|it| it.to_string())
    };
    let request = |principal: &str, action: &str| {
        format!(
            r#"request: {{principal: 'Mcp::User::"{principal}"', action: 'Mcp::Action::"{action}"', resource: 'Mcp::Tool::"git/log"', context: {{}}}}"#
        )
    };
    for (case, said) in [
        (
            "user: ana, call: {tool: git/diff, arguments: {repo_pth: /srv}}".to_owned(),
            "did you mean `repo_path` by `repo_pth`?",
        ),
        (
            "user: ana, call: git/diff".to_owned(),
            "`code: CONTEXT_MISSING`",
        ),
        (request("ana", "call_reed"), "`code: CONTEXT_INVALID`"),
        (request("ana", "call_read"), "`code: CONTEXT_MISSING`"),
        (request("anna", "call_read"), "did you mean `ana`?"),
        (
            "user: ana, govern: {action: open_task, to: hepler}".to_owned(),
            "did you mean `helper`?",
        ),
    ] {
        let found = faults(&case).expect_err(&case);
        assert!(found.contains(said), "{case}: {found}");
    }
    for case in [
        "user: ben, call: {tool: git/diff, arguments: {repo_path: /srv}}".to_owned(),
        "user: ana, call: git/diff, code: CONTEXT_MISSING".to_owned(),
        format!("{}, code: CONTEXT_INVALID", request("ana", "call_reed")),
    ] {
        assert_eq!(faults(&case), Ok(()), "{case}");
    }
}

const BANK: &str = r#"{"server": {"name": "bank", "owner": "ana"}, "tools": {"pay": {
    "access": "read", "status": "confirmed", "yields": [], "egress": false, "sensitivity": "public", "typed": true,
    "input_schema": {"type": "object", "properties": {"amount": {"type": "number"}, "n": {"type": "integer"}}}}}}"#;
const PAYING: &str = r#"
    @id("pay") permit (principal is Mcp::User, action == Mcp::Action::"bank/pay", resource);
    @id("cap") forbid (principal, action == Mcp::Action::"bank/pay", resource)
    when { context.input has amount && context.input.amount.greaterThan(decimal("500.0")) };
    @id("few") forbid (principal, action == Mcp::Action::"bank/pay", resource)
    when { context.input has n && context.input.n > 3 };
    @id("asked") permit (principal, action == Action::"ask", resource) when { context.n == 1 };"#;
const ASKING: &str = "entity Thing;\naction ask appliesTo { principal: Thing, resource: Thing, context: { n: Long, m?: Long } };";

/// Runs tests of a bank's tool with typed arguments, and of an action with a context.
fn bank(tests: &str) -> Result<RunReport, String> {
    let dir = directory("");
    fs::create_dir(dir.path().join("tools")).expect("made");
    for (name, text) in [
        ("tools/bank.json", BANK),
        ("pay.cedar", PAYING),
        ("ask.cedarschema", ASKING),
    ] {
        fs::write(dir.path().join(name), text).expect("written");
    }
    write_tests(dir.path(), tests);
    let tested = TestedBundle::load(dir.path(), None).map_err(|faults| faults.to_string())?;
    Ok(tested.run(None, true).expect("it runs"))
}

#[test]
fn numbers_are_read_as_a_server_reads_them() {
    let pay = |arguments: &str| {
        format!("user: zed, call: {{tool: bank/pay, arguments: {{{arguments}}}}}")
    };
    let ask = |context: &str| {
        format!(
            "request: {{principal: 'Thing::\"a\"', action: 'Action::\"ask\"', resource: 'Thing::\"a\"', context: {{{context}}}}}"
        )
    };
    let allowed: Vec<String> = [
        "amount: 500.0",
        "amount: 500",
        "amount: 1e2",
        "amount: -0.0",
        "amount: 0.5",
        "n: 1.0",
        "n: 1e0",
        "n: -0",
    ]
    .into_iter()
    .map(pay)
    .chain(["n: 1.0", "n: 1e0", "n: 1, m: null"].map(ask))
    .collect();
    let denied = ["amount: 500.5", "amount: 501.0", "amount: 1e3", "n: 5.0"].map(pay);
    for (want, cases) in [("allow", &allowed[..]), ("deny, code: FORBIDDEN", &denied)] {
        let cases: Vec<&str> = cases.iter().map(String::as_str).collect();
        let report = bank(&wanting(want, &cases)).expect("no fault");
        let failed: Vec<_> = report.failures().collect();
        assert!(failed.is_empty(), "{want}: {failed:#?}");
    }
    let too_large = bank(&wanting("allow", &[&pay("n: 9223372036854775808")]));
    let said = too_large.expect_err("a fault");
    assert!(
        said.contains("a whole number does not fit 64 bits"),
        "{said}"
    );
}

#[test]
fn a_number_that_a_server_refuses_is_a_fault_where_it_is_written() {
    let with = |arguments: &str| {
        let call = format!("user: zed, call: {{tool: bank/pay, arguments: {{{arguments}}}}}");
        bank(&wanting("allow", &[&call]))
    };
    for number in [
        "0.1234567890123456789",
        "500.00000000000000001",
        "9007199254740993.0",
        "-1.00000000000000000001e2",
    ] {
        for (before, after) in [("", ""), ("note: a, n: ", ", m: 1"), ("n: [0, ", "]")] {
            let amount = match before {
                "" => format!("amount: {number}"),
                before => format!("{before}{number}{after}"),
            };
            let said = with(&amount).expect_err("a fault");
            let told = format!("`{number}` has more digits than a double holds");
            let marked = "^".repeat(number.len());
            assert!(said.contains(&told) && said.contains(&marked), "{said}");
        }
    }
    // Texts are none.
    let texts = "note: '0.1234567890123456789', other: \"1e400\", n: a 0.1234567890123456789";
    with(texts).expect("no fault");
    let commented =
        "# 0.1234567890123456789\n".to_owned() + &wanting("allow", &["user: zed, call: bank/pay"]);
    bank(&commented).expect("no fault");
}

#[test]
fn a_misspelt_circumstance_is_a_fault() {
    let allowed = |with: &str| wanting("allow", &[&format!("user: ana, call: git/log, {with}")]);
    for (with, said) in [
        ("stopped: ['agent:hleper']", "did you mean `helper`?"),
        ("stopped: ['agent: helper']", "did you mean `helper`?"),
        ("stopped: ['server:gti']", "did you mean `git`?"),
        ("stopped: ['user:somebody']", "there is no `user:somebody`"),
        ("stopped: ['tool:git']", "is not `tool:SERVER/TOOL`"),
        ("session: [untrsted]", "did you mean `untrusted`?"),
        ("labels: {recent: [secert]}", "did you mean `secret`?"),
        ("session: {tools: [git/lgo]}", "did you mean `git/log`?"),
        ("task: {agent: hepler, user: ana}", "did you mean `helper`?"),
        (
            "task: {read_from: ['/srv/hr']}",
            "its canonical name is `file:///srv/hr`",
        ),
        (
            "task: {send_to: ['git:0F4E1D2C-3B4A-5968-8776-655443322110']}",
            "its canonical name is `git:0f4e1d2c-3b4a-5968-8776-655443322110`",
        ),
        (
            "task: {uses: [{tool: git/log, targets: ['https://a.example/%2e%2e']}]}",
            "no call acts upon `https://a.example/%2e%2e` under this name",
        ),
    ] {
        let faults = fault(&allowed(with));
        assert!(faults.contains(said), "{with}: {faults}");
    }
    let contradicting = wanting(
        "allow",
        &["user: ana, call: {server: slack, tool: git/log}"],
    );
    let faults = fault(&contradicting);
    assert!(
        faults.contains("`slack` is not the server of `git/log`"),
        "{faults}"
    );
    // What is stopped may take part without being stored.
    let stranger = "user: zed, stopped: ['user:zed'], call: git/log";
    run(&wanting("deny", &[stranger]));
    run(&allowed(
        "stopped: ['user:ben', 'tool:git/commit'], session: [private]",
    ));
}

#[test]
fn a_misspelt_name_in_fixtures_is_a_fault() {
    for (right, wrong, said) in [
        ("ben: {}", "ben: {in: [staf]}", "did you mean `staff`?"),
        ("owner: ana}", "owner: anna}", "did you mean `ana`?"),
        (
            "access: read",
            "access: reed",
            "`reed` is none of read, write, admin",
        ),
        (
            "{fresh: []}",
            "{fresh: [privat]}",
            "did you mean `private`?",
        ),
        (
            "{calm: {last_hour: 2}}",
            "{calm: {last_hour: 2}}\n  delegations: {one: {from: user:ana, to: hepler, servers: [git]}}",
            "did you mean `helper`?",
        ),
        (
            "{calm: {last_hour: 2}}",
            "{calm: {last_hour: 2}}\n  delegations: {one: {from: user:ana, to: helper, servers: [git], targets: [/srv/hr]}}",
            "its canonical name is `file:///srv/hr`",
        ),
    ] {
        let text = FIXTURES.replacen(right, wrong, 1);
        assert_ne!(text, FIXTURES);
        let dir = directory("");
        fs::write(dir.path().join("tests/all.yaml"), format!("{text}{GOOD}")).expect("written");
        let faults = TestedBundle::load(dir.path(), None)
            .expect_err(wrong)
            .to_string();
        assert!(faults.contains(said), "{wrong}: {faults}");
    }
}

#[test]
fn the_file_of_the_documentation_passes_with_the_shipped_policies() {
    let page = include_str!("../../../docs/policy-tests.md");
    let fence = page.split("```yaml\n").nth(1).expect("a file");
    let text = fence.split("```").next().expect("its end");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("documented.yaml");
    fs::write(&file, text).expect("written");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let tested =
        TestedBundle::load(&shipped, Some(&file)).unwrap_or_else(|faults| panic!("{faults}"));
    let report = tested
        .run(None, false)
        .unwrap_or_else(|faults| panic!("{faults}"));
    let failed: Vec<_> = report.failures().collect();
    assert!(failed.is_empty() && report.cases.len() == 5, "{failed:#?}");
}
