//! Files that verbs read and write: what they name is read as one thing, and what was there keeps what it is.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::process::Command;
use std::thread;

use crate::support::command::{Ran, Workplace};

const SMALL: &[(&str, &str)] = &[
    (
        "policies/a.cedar",
        "@id(\"a\") @owner(\"owen\")\npermit(principal,action in Mcp::Action::\"call_tool\",resource);\n\
         @id(\"s\") @reason(\"etc\")\nforbid (principal, action in Mcp::Action::\"call_tool\", resource)\n\
         when { context has target && context.target has uri && context.target.uri like \"file:///etc*\" };\n",
    ),
    (
        "policies/entities/people.json",
        "[{\"uid\": {\"type\": \"Mcp::User\", \"id\": \"owen\"}, \"attrs\": {}, \"parents\": []}]",
    ),
    (
        "policies/tools/git.json",
        "{\"server\": {\"name\": \"git\", \"owner\": \"owen\"}, \"tools\": {\n\
         \"git_log\": {\"access\": \"read\", \"status\": \"confirmed\", \"yields\": [], \"egress\": false, \"sensitivity\": \"internal\"}}}",
    ),
];

fn small() -> Workplace {
    Workplace::new(SMALL)
}

fn fails(ran: &Ran, code: i32, said: &str) {
    let is_so = ran.code == code && ran.stderr.contains(said);
    assert!(is_so, "{said}: {}", ran.transcript());
}

#[test]
fn a_call_in_a_file_has_one_reading() {
    let workplace = small();
    let call = |path: &str| {
        format!(
            r#"{{"subject":{{"entity":{{"type":"User","id":"owen"}},"identity":{{"method":"jwt","verified":true}}}},
            "operation":{{"server":"git","callTool":{{"tool":"git_log","arguments":{{{path}}}}}}}}}"#
        )
    };
    workplace.write("once.json", call(r#""a":"/srv""#));
    workplace.write("twice.json", call(r#""a":"/etc/x","a":"/srv""#));
    let ran = workplace.run(&["authorize", "--file", "once.json"]);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    for verb in ["authorize", "explain"] {
        let ran = workplace.run(&[verb, "--file", "twice.json"]);
        fails(&ran, 1, "the key `a` occurs twice");
        for flag in [
            &["--unverified"][..],
            &["--actor", "x"],
            &["--scope", "x"],
            &["--source-address", "10.0.0.1"],
        ] {
            let words = [&[verb, "--file", "once.json"][..], flag].concat();
            fails(&workplace.run(&words), 1, "cannot be used with");
        }
    }
    workplace.write("authz.json", r#"{"cedar":{"policies":[],"x":1,"x":2}}"#);
    let toolhive = [
        "import",
        "policies",
        "authz.json",
        "--from",
        "toolhive",
        "--server",
        "git",
    ];
    fails(&workplace.run(&toolhive), 3, "the key `x` occurs twice");
}

#[test]
fn what_is_written_keeps_what_was_there() {
    let workplace = small();
    let path = |name: &str| workplace.path().join(name);
    let mode = |name: &str| {
        fs::metadata(path(name))
            .expect("a file")
            .permissions()
            .mode()
            & 0o777
    };

    fs::set_permissions(path("policies/a.cedar"), Permissions::from_mode(0o600)).expect("a mode");
    let ran = workplace.run(&["fmt"]);
    assert_eq!(
        (ran.code, mode("policies/a.cedar")),
        (0, 0o600),
        "{}",
        ran.transcript()
    );

    symlink("real.zst", path("out.zst")).expect("a link");
    let build = ["bundle", "build", "-o", "out.zst", "--version", "1"];
    for _ in 0..2 {
        let ran = workplace.run(&build);
        assert_eq!(ran.code, 0, "{}", ran.transcript());
        assert!(path("out.zst").is_symlink() && path("real.zst").is_file());
    }

    fs::create_dir(path("elsewhere")).expect("a folder");
    fs::rename(path("policies/tools/git.json"), path("policies/tools/real")).expect("renamed");
    symlink("real", path("policies/tools/git.json")).expect("a link");
    workplace.write(
        "list.json",
        r#"{"tools":[{"name":"git_log","inputSchema":{"type":"object"}}]}"#,
    );
    let ran = workplace.run(&["import", "tools", "list.json", "--server", "git"]);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    assert!(path("policies/tools/git.json").is_symlink());
    assert!(workplace.read("policies/tools/real").contains("sha256:"));

    assert!(
        Command::new("mkfifo")
            .arg(path("pipe"))
            .status()
            .expect("mkfifo")
            .success()
    );
    let pipe = path("pipe");
    let reader = thread::spawn(move || fs::read_to_string(pipe));
    let ran = workplace.run(&["schema", "--out", "pipe"]);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    let read = reader.join().expect("a reader").expect("a text");
    assert!(read.contains("namespace Mcp"));
    let kind = fs::symlink_metadata(path("pipe"))
        .expect("a pipe")
        .file_type();
    assert!(kind.is_fifo());

    let ran = workplace.run(&["schema", "--out", "elsewhere"]);
    fails(&ran, 1, "it is a directory");
    for words in [
        &["schema", "--out", "-"][..],
        &["bundle", "build", "-o", "-"],
        &["man", "-"],
        &["init", "-", "--user", "a", "--agent", "b"],
        &["backup", "-"],
    ] {
        fails(&workplace.run(words), 1, "`-` is not standard output here");
    }
    assert!(!path("-").exists());
}

#[test]
fn a_directory_in_place_of_a_file_is_told() {
    for name in ["callgate.toml", "manifest.sha256", "b.cedar"] {
        let workplace = small();
        fs::create_dir(workplace.path().join("policies").join(name)).expect("a folder");
        let said = "this is a directory, and a file is read by this name";
        for verb in [
            "check",
            "bundle build",
            "authorize --user owen --server git",
        ] {
            let words: Vec<&str> = verb.split(' ').collect();
            fails(&workplace.run(&words), 3, said);
        }
    }
}

#[test]
fn an_import_is_written_where_it_is_read() {
    let workplace = small();
    workplace.write(
        "foreign.cedar",
        "permit (principal, action == Action::\"call_tool\", resource == Tool::\"git_log\");\n",
    );
    let import = |more: &[&str]| {
        let words = [
            "import",
            "policies",
            "foreign.cedar",
            "--from",
            "toolhive",
            "--server",
            "git",
        ];
        workplace.run(&[&words, more].concat())
    };
    for to in [
        "elsewhere.cedar",
        "policies/new",
        "policies/.new.cedar",
        "policies/new.CEDAR",
    ] {
        fails(&import(&["--to", to]), 1, "would not be read as a policy");
        assert!(!workplace.path().join(to).exists());
    }
    let ran = import(&["--to", "policies/named.cedar", "--dry-run"]);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    let ran = import(&[]);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    for more in [&[][..], &["--dry-run"]] {
        fails(&import(more), 1, "is there already");
    }
    workplace.write("list.json", r#"{"tools":[]}"#);
    let ran = workplace.run(&["import", "tools", "list.json", "--server", "a.links"]);
    fails(&ran, 1, "is not read as a registration");
}

#[test]
fn access_knows_every_name_or_says_so() {
    let workplace = small();
    let access = |more: &[&str]| workplace.run(&[&["access"][..], more].concat());
    let ran = access(&["--tool", "git/git_log", "--tool", "git/nope"]);
    fails(&ran, 1, "no tool `git/nope` is registered");
    let ran = access(&["--server", "git", "--server", "gti"]);
    fails(&ran, 1, "no tool of a server `gti` is registered");
    let named = [
        "user:owen",
        "--for",
        "user:misspelt",
        "--assume-group",
        "wrong",
    ];
    let ran = access(&named);
    assert_eq!(ran.code, 0, "{}", ran.transcript());
    for name in ["Mcp::User::\"misspelt\"", "Mcp::Group::\"wrong\""] {
        let note = format!("note: `{name}` is not stored");
        assert!(ran.stderr.contains(&note), "{}", ran.transcript());
    }
    assert!(!ran.stderr.contains("owen"), "{}", ran.transcript());
}

#[test]
fn a_registration_is_brought_up_to_date_where_it_is() {
    let workplace = small();
    let path = |name: &str| workplace.path().join(name);
    fs::create_dir(path("policies/tools/team")).unwrap();
    let (usual, below) = ("policies/tools/git.json", "policies/tools/team/git.json");
    fs::rename(path(usual), path(below)).unwrap();
    let list = r#"{"tools": [{"name": "git_log", "inputSchema": {"type": "object"}}]}"#;
    workplace.write("list.json", list);
    let import = || workplace.run(&["import", "tools", "list.json", "--server", "git"]);
    let ran = import();
    assert!(
        ran.code == 0 && ran.stdout.contains(below),
        "{}",
        ran.transcript()
    );
    assert!(!path(usual).exists());
    // What a person said of it stays.
    let kept = fs::read_to_string(path(below)).unwrap();
    assert!(
        kept.contains("\"owner\": \"owen\"") && kept.contains("git_log"),
        "{kept}"
    );
    fs::copy(path(below), path(usual)).unwrap();
    fails(&import(), 1, "`git` is registered more than once");
}

#[test]
fn a_line_of_any_length_ends_no_verb_with_a_panic() {
    let workplace = small();
    let blanks = " ".repeat(70_000);
    workplace.write("policies/entities/extra.json", format!("[{blanks}"));
    fails(&workplace.run(&["check"]), 3, "extra.json:1:");
    workplace.write("list.json", blanks);
    let import = workplace.run(&["import", "tools", "list.json", "--server", "git"]);
    fails(&import, 3, "list.json:1:");
    fs::remove_file(workplace.path().join("policies/entities/extra.json")).unwrap();
    // A condition far to the right.
    let names: Vec<String> = (0..4_000)
        .map(|it| format!("\"/srv/notes/{it:05}\""))
        .collect();
    let policy = format!(
        "@id(\"a\") permit (principal, action, resource)\n\
         when {{ !([{}].contains(\"x\")) && context.identity.verified }};\n",
        names.join(", ")
    );
    workplace.write("policies/a.cedar", policy);
    let call = [
        "--user",
        "owen",
        "--unverified",
        "--server",
        "git",
        "--tool",
        "git_log",
    ];
    let ran = workplace.run(&[&["explain"][..], &call].concat());
    let marked: Vec<&str> = ran.stdout.lines().filter(|it| it.contains('^')).collect();
    let is_short = marked.iter().all(|line| line.chars().count() < 200);
    assert!(!marked.is_empty() && is_short, "{}", ran.transcript());
}
