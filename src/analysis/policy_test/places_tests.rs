use std::fs;

use crate::analysis::policy_test::TestedBundle;
use crate::analysis::policy_test::files::read;

const POLICIES: &str = r#"
@id("read")
permit (principal in Mcp::Group::"staff", action in Mcp::Action::"call_read", resource);
"#;

const FIXTURES: &str = "fixtures:
  groups: {staff: {}}
  users: {ana: {in: [staff]}}
  servers: {git: {owner: ana}}
  tools: {git/log: {owner: ana, attrs: {access: read}}}
";

/// A test, where a file has to have one.
const ONE: &str = "tests: [{name: z, user: ana, call: git/log, want: deny}]\n";

/// What a test file's faults look like.
fn faults(text: &str) -> String {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("all.cedar"), POLICIES).expect("written");
    fs::create_dir(dir.path().join("tests")).expect("made");
    fs::write(dir.path().join("tests/all.yaml"), text).expect("written");
    match TestedBundle::load(dir.path(), None) {
        Ok(_) => panic!("no fault in\n{text}"),
        Err(faults) => faults.to_string(),
    }
}

/// Holds that the fault says this, and underlines just what stands between `«` and `»` in the text.
fn located(marked: &str, said: &str) {
    let start = marked.find('«').expect("a beginning");
    let text = marked.replace(['«', '»'], "");
    let until = marked.find('»').expect("an end") - '«'.len_utf8();
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[..start].matches('\n').count() + 1;
    let column = text[line_start..start].chars().count() + 1;
    let carets = "^".repeat(text[start..until].chars().count());
    let found = faults(&text);
    assert!(found.contains(said), "{said:?} in\n{found}");
    let place = format!("all.yaml:{line}:{column}\n");
    assert!(found.contains(&place), "{place:?} in\n{found}");
    let underlined = found
        .lines()
        .find(|it| it.trim_start().starts_with("| ") && it.contains('^'));
    let underlined = underlined.unwrap_or_else(|| panic!("no caret in\n{found}"));
    assert!(
        underlined.ends_with(&format!(" {carets}")),
        "{carets} in\n{found}"
    );
    assert!(found.ends_with("1 fault"), "{found}");
}

/// The same after fixtures in order.
fn in_case(marked: &str, said: &str) {
    located(&format!("{FIXTURES}{marked}"), said);
}

#[test]
fn a_fault_in_a_case_is_where_it_is_written() {
    let of = |lines: &str| format!("tests:\n  - name: x\n    user: ana\n{lines}");
    for (lines, said) in [
        (
            "    call: «push»\n    want: deny\n",
            "`call`: there is no fixture `push`",
        ),
        (
            "    call: {tool: «push»}\n    want: deny\n",
            "`call.tool`: `push` is not",
        ),
        (
            "    «call»: {kind: read_resource}\n    want: deny\n",
            "`call.uri`: is required",
        ),
        (
            "    call: git/log\n    session: «old»\n    want: deny\n",
            "`session`: there is no fixture `old`",
        ),
        (
            "    call: git/log\n    task: «old»\n    want: deny\n",
            "`task`: there is no fixture `old`",
        ),
        (
            "    call: git/log\n    usage: «\"old\"»\n    want: deny\n",
            "`usage`: there is no fixture `old`",
        ),
        (
            "    call: git/log\n    approval: «old»\n    want: deny\n",
            "`approval`: there is no fixture `old`",
        ),
        (
            "    call: git/log\n    delegations: [«old»]\n    want: deny\n",
            "there is no delegation `old`",
        ),
        (
            "    call: git/log\n    stopped: [«ana»]\n    want: deny\n",
            "`stopped`: `ana` is none of",
        ),
        (
            "    call: git/log\n    claims_of: {«eve»: {}}\n    for: ana\n    want: deny\n",
            "`claims_of`: `eve` is none of",
        ),
        (
            "    call: git/log\n    source_address: «10.0.0»\n    want: deny\n",
            "is no IP address",
        ),
        (
            "    call: git/log\n    now: «yesterday»\n    want: deny\n",
            "`now`: `yesterday` is no time",
        ),
        (
            "    call: git/log\n    want: deny\n    code: «NO»\n",
            "`NO` is no reason code",
        ),
        (
            "    call: git/log\n    want: allow\n    code: «NO_PERMIT»\n",
            "an allow has no reason code",
        ),
        (
            "    call: git/log\n    want: deny\n    policies: [read, «reed»]\n",
            "there is no policy `reed`",
        ),
        (
            "    call: git/log\n    want: deny\n    challenge:\n      - «reed»\n",
            "there is no policy `reed`",
        ),
        (
            "    call: git/log\n    want: «maybe»\n",
            "unknown variant `maybe`",
        ),
        (
            "    call: git/log\n    «wnt»: allow\n",
            "unknown field `wnt`",
        ),
        (
            "    call: {tool: git/log, «arg»: 1}\n    want: deny\n",
            "unknown field `arg`",
        ),
        (
            "    call: git/log\n    session: {labels: [], «cals»: 1}\n    want: deny\n",
            "unknown field `cals`",
        ),
        (
            "    govern: {action: «approve_call»}\n    want: deny\n",
            "`govern.action`: `approve_call` is none of",
        ),
    ] {
        in_case(&of(lines), said);
    }
}

#[test]
fn what_is_missing_is_told_at_what_lacks_it() {
    for (text, said) in [
        (
            "tests:\n  - «n»ame: x\n    user: ana\n    call: git/log\n",
            "`want`: say `allow` or `deny`",
        ),
        (
            "tests:\n  - «u»ser: ana\n    call: git/log\n    want: deny\n",
            "`name`: a test has a name",
        ),
        (
            "tests:\n  - «n»ame: x\n    call: git/log\n    want: deny\n",
            "`user`: a test has one subject",
        ),
        (
            "tables:\n  - «c»alls: [git/log]\n    rows: [[user:ana, allow]]\n",
            "`name`: a table has a name",
        ),
    ] {
        in_case(text, said);
    }
}

#[test]
fn a_fault_of_a_table_is_in_its_row_column_or_what_is_given() {
    let of = |lines: &str| format!("tables:\n  - name: x\n{lines}");
    for (lines, said) in [
        (
            "    calls: [git/log]\n    rows:\n      - [user:ana, allow]\n      - [«user:ana», allow, deny]\n",
            "has 2 decisions for 1 calls",
        ),
        (
            "    calls: [git/log]\n    rows:\n      - [user:ana, deny]\n      - [user:ana, «maybe»]\n",
            "`maybe` is none of",
        ),
        (
            "    calls: [git/log]\n    rows:\n      - [user:ana, deny]\n      - [user:ana, «deny NO»]\n",
            "`NO` is no reason code",
        ),
        (
            "    calls: [git/log]\n    rows:\n      - [«ana», deny]\n",
            "`ana` is no subject",
        ),
        (
            "    calls: [git/log, «push»]\n    rows:\n      - [user:ana, deny, deny]\n",
            "there is no fixture `push`",
        ),
        (
            "    given: {session: «old»}\n    calls: [git/log]\n    rows:\n      - [user:ana, deny]\n",
            "there is no fixture `old`",
        ),
        (
            "    «given»: {user: ana}\n    calls: [git/log]\n    rows:\n      - [user:ana, deny]\n",
            "subject, operation and decision are those of",
        ),
    ] {
        in_case(&of(lines), said);
    }
}

#[test]
fn a_fault_in_a_fixture_is_where_it_is_written_whether_or_not_a_case_names_it() {
    for (text, said) in [
        (
            "fixtures:\n  users:\n    eve: {attrs: {«nme»: Eve}}\n",
            "attribute `nme`",
        ),
        (
            "fixtures:\n  users:\n    eve: {attrs: {«active»: 1}}\n",
            "`fixtures.users.eve`",
        ),
        (
            "fixtures:\n  resources:\n    https://a.example/b.c: {attrs: {«kind»: 1}}\n",
            "`fixtures.resources.https://a.example/b.c`",
        ),
        (
            "fixtures:\n  entities:\n    - {uid: {type: «Nobody», id: x}, attrs: {}, parents: []}\n",
            "`fixtures.entities[0]`",
        ),
        (
            "fixtures:\n  groups:\n    «a»: {in: [b]}\n    b: {in: [a]}\n",
            "is its own ancestor",
        ),
        (
            "fixtures:\n  calls:\n    push: {tool: «git_push»}\n",
            "`fixtures.calls.push.tool`: `git_push` is not",
        ),
        (
            "fixtures:\n  calls:\n    «ask»: {kind: elicit_url}\n",
            "`fixtures.calls.ask.url`: is required",
        ),
        (
            "fixtures:\n  delegations:\n    d: {from: «ana», to: helper, servers: [git]}\n",
            "`fixtures.delegations.d.from`: `ana` is none of",
        ),
        (
            "fixtures:\n  delegations:\n    «d»: {from: \"user:ana\", to: helper}\n",
            "`fixtures.delegations.d`: say what it covers",
        ),
        (
            "fixtures:\n  delegations:\n    d: {from: \"user:ana\", to: helper, servers: [git], parent: «e»}\n",
            "there is no delegation `e`",
        ),
        (
            "fixtures:\n  approvals:\n    yes: {by: ana, policies: [«reed»]}\n",
            "there is no policy `reed`",
        ),
        ("now: «noon»\n", "`now`: `noon` is no time"),
        ("fixtures: {«user»: {}}\n", "unknown field `user`"),
        (
            "fixtures:\n  tools: {git/log: {«acces»: read}}\n",
            "unknown field `acces`",
        ),
    ] {
        located(&format!("{text}{ONE}"), said);
    }
}

#[test]
fn what_a_case_finds_wrong_in_a_fixture_is_told_in_the_fixture() {
    let fixtures =
        format!("{FIXTURES}  calls:\n    log: {{tool: git/log, «answers»: [{{what: 1}}]}}\n");
    let text = format!("{fixtures}tests:\n  - {{name: x, user: ana, call: log, want: deny}}\n");
    located(&text, "`call.answers`");
}

#[test]
fn places_are_right_after_other_letters_marks_and_line_ends() {
    in_case(
        "tests:\n  - {name: größer, user: ana, call: «push», want: deny}\n",
        "there is no fixture `push`",
    );
    let text =
        format!("{FIXTURES}tests:\n  - name: x\n    user: ana\n    call: «push»\n    want: deny\n");
    located(&text.replace('\n', "\r\n"), "there is no fixture `push`");
}

#[test]
fn what_is_no_text_is_told_and_a_pipe_is_not_waited_for() {
    let mark = faults("\u{feff}tests: []\n");
    assert!(
        mark.contains("the file begins with a byte order mark"),
        "{mark}"
    );
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("all.yaml");
    fs::write(&path, b"tests:\n  - name: \xff\n").expect("written");
    let fault = read(&path).expect_err("a fault").to_string();
    assert!(
        fault.contains("all.yaml:2:11") && fault.contains("not UTF-8"),
        "{fault}"
    );
    fs::remove_file(&path).expect("removed");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.expect("mkfifo runs").success());
    let fault = read(dir.path()).expect_err("a fault").to_string();
    assert!(fault.contains("not a regular file"), "{fault}");
}

#[test]
fn every_case_has_its_own_fault() {
    let text = format!(
        "{FIXTURES}tests:\n  - {{name: x, user: ana, call: a, want: deny}}\n  - {{name: y, user: ana, call: b, want: deny}}\n"
    );
    let found = faults(&text);
    assert!(
        found.contains("all.yaml:7:32") && found.contains("all.yaml:8:32"),
        "{found}"
    );
    assert!(found.ends_with("2 faults"), "{found}");
}

#[test]
fn ten_thousand_faults_are_found_in_a_moment() {
    let mut text = format!("{FIXTURES}tests:\n");
    for index in 0..10_000 {
        text += &format!("  - {{name: c{index}, user: ana, call: nowhere, want: deny}}\n");
    }
    let began = std::time::Instant::now();
    let found = faults(&text);
    assert!(found.ends_with("10000 faults"), "{found}");
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

#[test]
fn what_the_parser_says_is_in_words_for_authors() {
    for (text, said) in [
        ("«h»ello\n", "a mapping is expected here"),
        ("tests: «h»ello\n", "a list is expected here"),
        (
            "fixtures: {usage: {u: {last_minute: «-»1}}}\n",
            "a whole number is expected here, 0 or more",
        ),
        ("tests:\n\t«-» name: x\n", "tabs disallowed"),
        (
            "tests: []\n---\n«t»ests: []\n",
            "fault: multiple YAML documents detected\n",
        ),
        ("tests:\n  - «h»ello\n", "a mapping is expected here"),
    ] {
        located(text, said);
    }
    for text in ["", "# nothing yet\n", "about: nothing\n", "tests: []\n"] {
        assert!(faults(text).contains("the file holds no test"), "{text:?}");
    }
}
