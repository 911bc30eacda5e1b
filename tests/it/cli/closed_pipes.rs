//! A reader that goes away, as `| head` does, ends no verb with a panic, and changes no exit code.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use crate::evidence::fixtures::{FULL, records, write_log};
use crate::support::command::Workplace;

const POLICY: &str = "@id(\"read\")\n@owner(\"it\")\npermit (principal, action in Mcp::Action::\"call_read\", resource);\n";
const LIST: &str =
    "{\"tools\": [{\"name\": \"git_log\", \"inputSchema\": {\"type\": \"object\"}}]}";
const PEOPLE: &str = r#"[
    {"uid": {"type": "Mcp::User", "id": "sam"}, "attrs": {}, "parents": []},
    {"uid": {"type": "Mcp::Agent", "id": "a"}, "parents": [],
        "attrs": {"owner": {"__entity": {"type": "Mcp::User", "id": "sam"}}, "active": true}}
]"#;
const TOOLS: &str = r#"{"server": {"name": "git", "owner": "sam"}, "tools": {"git_log": {"access": "read",
    "status": "confirmed", "yields": [], "egress": false, "sensitivity": "internal"}}}"#;
/// Where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:1";

/// Every verb with arguments that let it say something: `DIR` is the directory, `OUT` a name that is not there.
pub const VERBS: &[&str] = &[
    "access --policies DIR",
    "approval approve a-1 --as user:sam --endpoint AT",
    "approval list --endpoint AT",
    "approval reject a-1 --as user:sam --endpoint AT",
    "approval request --agent a --server git --tool git_log --endpoint AT",
    "approval revoke a-1 --as user:sam --endpoint AT",
    "approval watch --endpoint AT",
    "audit export --format csv --log audit",
    "audit prove ID --log audit",
    "audit query --log audit",
    "audit show ID --log audit",
    "audit tail -n 3 --output json --log audit",
    "audit verify --log audit",
    "audit verify-proof absent --key absent",
    "authorize --policies DIR --agent a --server git --tool git_log",
    "backup OUT --state absent.db",
    "bundle build DIR --version 3 --out OUT",
    "bundle verify absent --key absent",
    "bundles --endpoint AT",
    "changes --endpoint AT",
    "check DIR --details",
    "clock repair --as user:sam --reason x --endpoint AT",
    "completions bash",
    "delegation grant --as user:sam --to a --for 1h --server git --access read --endpoint AT",
    "delegation list --endpoint AT",
    "delegation narrow d-1 --as user:sam --server git --access read --endpoint AT",
    "delegation revoke d-1 --as user:sam --endpoint AT",
    "entity delete group:x --as user:sam --endpoint AT",
    "entity get group:x --endpoint AT",
    "entity list --endpoint AT",
    "entity put group:x --as user:sam --endpoint AT",
    "explain --policies DIR --agent a --server git --tool git_log",
    "export coaz DIR",
    "fleet status DIR --state postgres://127.0.0.1:1/x",
    "fmt DIR --check",
    "health --endpoint AT",
    "import policies foreign.cedar --from toolhive --server git --policies DIR --dry-run",
    "import tools list.json --server git --policies DIR --dry-run",
    "init OUT --user sam --agent a",
    "man OUT",
    "manifest DIR",
    "prove DIR",
    "publish DIR --as user:sam --endpoint AT",
    "replay DIR --log audit",
    "restore absent --state OUT",
    "resume agent:a --as user:sam --endpoint AT",
    "rollback 1 --as user:sam --endpoint AT",
    "schema DIR",
    "serve absent",
    "session end s-1 --as user:sam --endpoint AT",
    "status --endpoint AT",
    "stop agent:a --as user:sam --reason x --endpoint AT",
    "task advance t-1 --as user:sam --step x --endpoint AT",
    "task close t-1 --as user:sam --endpoint AT",
    "task list --endpoint AT",
    "task open --agent a --user sam --purpose x --as user:sam --for 1h --endpoint AT",
    "test DIR",
    "tool pin git/git_log --definition tool.json --as user:sam --endpoint AT",
    "tool register git/git_log --access read --owner sam --sensitivity internal --as user:sam --endpoint AT",
];

/// Verbs that compile a directory, which may have faults.
const OF_DIRECTORIES: &[&str] = &[
    "access",
    "authorize",
    "bundle build",
    "check",
    "explain",
    "export",
    "fmt",
    "import policies",
    "prove",
    "publish",
    "replay",
    "test",
];

/// A folder with what the verbs of the table read.
pub fn workplace() -> Workplace {
    let workplace = Workplace::new(&[
        ("good/a.cedar", POLICY),
        (
            "good/tests/a.yaml",
            "tests:\n  - {name: x, user: sam, call: git/git_log, want: deny}\n",
        ),
        ("bad/a.cedar", "permit (\n"),
        ("bad/tests/a.yaml", "tests:\n  - {name: x, usr: sam}\n"),
        ("untested/a.cedar", POLICY),
        ("untested/tests/a.yaml", "tests:\n  - {name: x, usr: sam}\n"),
        ("good/entities/people.json", PEOPLE),
        ("good/tools/git.json", TOOLS),
        ("list.json", LIST),
        (
            "tool.json",
            "{\"name\": \"git_log\", \"inputSchema\": {\"type\": \"object\"}}",
        ),
        (
            "foreign.cedar",
            "permit(principal, action == Action::\"call_tool\", resource);",
        ),
    ]);
    write_log(&workplace.path().join("audit"), &records(), 4);
    workplace
}

/// The arguments of a line of the table.
pub fn arguments(line: &str, directory: &str) -> Vec<String> {
    let words = line.split(' ').map(|word| match word {
        "DIR" => directory.to_owned(),
        "AT" => NOWHERE.to_owned(),
        "ID" => FULL.to_owned(),
        "OUT" => format!("new-{}", line.split(' ').next().unwrap_or_default()),
        word => word.to_owned(),
    });
    words.collect()
}

/// The exit code and what was said on stderr, with readers that are there, or not.
fn code(workplace: &Workplace, arguments: &[String], closed: (bool, bool)) -> (i32, String) {
    let (code, _, said) = outcome(workplace, arguments, closed);
    (code, said)
}

/// The exit code, stdout and stderr.
pub fn outcome(
    workplace: &Workplace,
    arguments: &[String],
    closed: (bool, bool),
) -> (i32, String, String) {
    // What a verb has written before would be in its way.
    for entry in fs::read_dir(workplace.path())
        .expect("a directory")
        .flatten()
    {
        if entry.file_name().to_string_lossy().starts_with("new-") {
            let path = entry.path();
            let removed = match path.is_dir() {
                true => fs::remove_dir_all(path),
                false => fs::remove_file(path),
            };
            removed.expect("removed");
        }
    }
    let broken = || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        Stdio::from(writer)
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_callgate"));
    command
        .args(arguments)
        .current_dir(workplace.path())
        .env("CVC5", "/nonexistent/cvc5")
        .stdin(Stdio::null())
        .stdout(if closed.0 { broken() } else { Stdio::piped() })
        .stderr(if closed.1 { broken() } else { Stdio::piped() });
    let output = command.output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code();
    let code = code.unwrap_or_else(|| panic!("{arguments:?} was killed: {said}"));
    (
        code,
        String::from_utf8_lossy(&output.stdout).into_owned(),
        said,
    )
}

#[test]
fn the_table_has_every_verb() {
    let workplace = Workplace::new(&[]);
    assert_eq!(workplace.run(&["man", "pages"]).code, 0);
    let pages: BTreeSet<String> = fs::read_dir(workplace.path().join("pages"))
        .expect("pages")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter_map(|name| {
            Some(
                name.strip_prefix("callgate-")?
                    .strip_suffix(".1")?
                    .to_owned(),
            )
        })
        .collect();
    // A page is that of a group if others begin with its name.
    let is_group = |page: &&String| pages.iter().any(|it| it.starts_with(&format!("{page}-")));
    let leaves: BTreeSet<String> = pages.iter().filter(|it| !is_group(it)).cloned().collect();
    let listed: BTreeSet<String> = VERBS
        .iter()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').take(2).collect();
            let both = words.join("-");
            if leaves.contains(&both) {
                both
            } else {
                words[0].to_owned()
            }
        })
        .collect();
    let missing: Vec<_> = leaves.difference(&listed).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(listed.len() >= 50, "{}", listed.len());
}

#[test]
fn a_closed_reader_ends_no_verb_with_a_panic() {
    let workplace = workplace();
    for line in VERBS {
        let arguments = arguments(line, "good");
        let (open, said) = code(&workplace, &arguments, (false, false));
        assert!(
            open != 101 && !said.contains("Usage:"),
            "{line}: {open}: {said}"
        );
        for closed in [(true, false), (true, true), (false, true)] {
            let (code, said) = code(&workplace, &arguments, closed);
            assert!(!said.contains("panicked"), "{line} {closed:?}: {said}");
            assert_eq!(code, open, "{line} {closed:?}: {said}");
        }
    }
}

#[test]
fn a_directory_with_faults_is_exit_code_3_whether_anybody_reads_it_or_not() {
    let workplace = workplace();
    let is_meant = |line: &&&str| OF_DIRECTORIES.iter().any(|verb| line.starts_with(verb));
    let meant: Vec<&&str> = VERBS.iter().filter(is_meant).collect();
    assert_eq!(meant.len(), OF_DIRECTORIES.len());
    for line in meant {
        let arguments = arguments(line, "bad");
        for closed in [(false, false), (true, false), (true, true)] {
            let (code, said) = code(&workplace, &arguments, closed);
            assert_eq!(code, 3, "{line} {closed:?}: {said}");
            assert!(closed.1 || said.contains("bad/a.cedar:"), "{line}: {said}");
        }
    }
    let arguments = arguments("test DIR", "untested");
    for closed in [(false, false), (true, false), (true, true)] {
        let (code, said) = code(&workplace, &arguments, closed);
        assert_eq!(code, 3, "{closed:?}: {said}");
        assert!(
            closed.1 || said.contains("untested/tests/a.yaml:2:"),
            "{said}"
        );
    }
}
