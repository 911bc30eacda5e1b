//! What `README.md` and the pages it leads to show is true: their commands are run, in their order, and must say what the
//! pages say they say.
//!
//! The language of a fence tells what becomes of it. `sh` is run, `console` is run and compared, `cedar`
//! is checked beside the shipped policies, `python` is run where there is a Python for it. In what a
//! command is to say, `…` stands for anything: for any lines if it stands alone.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use callgate::proto::v1::ReasonCode;
use serde_json::{Value as Json, json};

use crate::support::process::{Bundle, Server, python};

const README: &str = include_str!("../../../README.md");
const FIRST_STEPS: &str = include_str!("../../../docs/first-steps.md");
const DECISIONS: &str = include_str!("../../../docs/decisions.md");
const POLICIES: &str = include_str!("../../../docs/policies.md");
const NATIVE: &str = include_str!("../../../docs/gateways/native-grpc.md");
/// What the first steps lead through, in this order.
const STORY: [(&str, &str); 2] = [
    (README, "## Your first decision, from an empty directory"),
    (FIRST_STEPS, "## From a directory to a running server"),
];
/// What gateways need beside them.
const GATEWAYS: [(&str, &str); 3] = [
    (
        include_str!("../../../docs/gateways/README.md"),
        "## Conversations need a policy, too",
    ),
    (
        include_str!("../../../docs/gateways/authzen.md"),
        "## Try it",
    ),
    (
        include_str!("../../../docs/gateways/toolhive.md"),
        "## Try it",
    ),
];
/// Where the pages' server listens.
pub(super) const ADDRESS: &str = "127.0.0.1:50051";
/// Where it listens for plain HTTP.
const HTTP_ADDRESS: &str = "127.0.0.1:8180";

pub(super) struct Fence<'a> {
    pub(super) language: &'a str,
    pub(super) text: String,
}

/// The fences of some sections, one section after the other.
fn fences(sections: &[(&'static str, &str)]) -> Vec<Fence<'static>> {
    let fences = sections
        .iter()
        .map(|(page, heading)| fences_of(page, heading));
    fences.flatten().collect()
}

/// The fences of one section of a text.
pub(super) fn fences_of(text: &'static str, heading: &str) -> Vec<Fence<'static>> {
    let start = text.find(heading).expect("the section") + heading.len();
    let section = text[start..].split("\n## ").next().unwrap_or_default();
    let mut fences: Vec<Fence> = Vec::new();
    let mut is_inside = false;
    for line in section.lines() {
        match line.strip_prefix("```") {
            Some(language) if !is_inside => {
                let text = String::new();
                fences.push(Fence { language, text });
                is_inside = true;
            }
            Some(_) => is_inside = false,
            None if is_inside => {
                let text = &mut fences.last_mut().expect("a fence").text;
                text.push_str(line);
                text.push('\n');
            }
            None => {}
        }
    }
    fences
}

/// What the public filesystem server offers, as far as an import looks at it.
fn filesystem_tools() -> Json {
    let tool = |name: &str, arguments: &[&str], is_reading: bool, is_destructive: bool| {
        let properties = arguments
            .iter()
            .map(|name| ((*name).to_owned(), json!({"type": "string"})));
        json!({
            "name": name,
            "inputSchema": {
                "type": "object",
                "properties": properties.collect::<serde_json::Map<_, _>>(),
                "required": arguments,
            },
            "annotations": {
                "readOnlyHint": is_reading,
                "destructiveHint": is_destructive,
                "openWorldHint": false,
            },
        })
    };
    let tools = json!([
        tool("read_file", &["path"], true, false),
        tool("read_text_file", &["path"], true, false),
        tool("read_media_file", &["path"], true, false),
        tool("read_multiple_files", &["paths"], true, false),
        tool("write_file", &["path", "content"], false, true),
        tool("edit_file", &["path", "edits"], false, true),
        tool("create_directory", &["path"], false, false),
        tool("list_directory", &["path"], true, false),
        tool("list_directory_with_sizes", &["path"], true, false),
        tool("directory_tree", &["path"], true, false),
        tool("move_file", &["source", "destination"], false, true),
        tool("search_files", &["path", "pattern"], true, false),
        tool("get_file_info", &["path"], true, false),
        tool("list_allowed_directories", &[], true, false),
    ]);
    json!({"jsonrpc": "2.0", "id": 2, "result": {"tools": tools}})
}

/// Runs a script as a reader would who has `callgate` on the path.
pub fn shell(folder: &Path, script: &str) -> String {
    let binaries = Path::new(env!("CARGO_BIN_EXE_callgate"))
        .parent()
        .expect("a directory");
    let before = env::var_os("PATH").unwrap_or_default();
    let path = [PathBuf::from(binaries)]
        .into_iter()
        .chain(env::split_paths(&before));
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1\n{script}")])
        .current_dir(folder)
        .env("PATH", env::join_paths(path).expect("a path"))
        .output()
        .expect("a shell");
    String::from_utf8(output.stdout).expect("text")
}

pub fn lines_match(expected: &[&str], said: &[&str]) -> bool {
    match expected.split_first() {
        None => said.is_empty(),
        Some((&"…", rest)) => (0..=said.len()).any(|skip| lines_match(rest, &said[skip..])),
        Some((first, rest)) => said
            .split_first()
            .is_some_and(|(line, more)| line_matches(first, line) && lines_match(rest, more)),
    }
}

/// `…` stands for anything, as often as it is there.
fn line_matches(expected: &str, line: &str) -> bool {
    let Some((start, rest)) = expected.split_once('…') else {
        return expected == line;
    };
    let Some(mut line) = line.strip_prefix(start) else {
        return false;
    };
    let (between, end) = rest.rsplit_once('…').unwrap_or(("", rest));
    for part in between.split('…') {
        match line.split_once(part) {
            Some((_, after)) => line = after,
            None => return false,
        }
    }
    line.ends_with(end)
}

/// Runs the one command of a console and holds what it says against what it is to say.
pub(super) fn try_console(folder: &Path, text: &str, address: &str) -> Result<(), String> {
    let (command, expected) = text.split_once('\n').expect("a command");
    let command = command.strip_prefix("$ ").expect("a prompt");
    let said = shell(folder, &command.replace(ADDRESS, address));
    let expected: Vec<&str> = expected.lines().collect();
    if lines_match(&expected, &said.lines().collect::<Vec<_>>()) {
        Ok(())
    } else {
        Err(format!("{command}\nsays\n{said}"))
    }
}

#[test]
fn the_first_decision_goes_as_told() {
    let bundle = Bundle::empty();
    let folder = bundle.folder();
    fs::write(folder.join("list.json"), filesystem_tools().to_string()).unwrap();
    let mut server: Option<Server> = None;
    let mut compared = 0;
    for fence in fences(&STORY) {
        match fence.language {
            "sh" => assert_eq!(shell(folder, &fence.text), "", "{}", fence.text),
            "shell" if fence.text == "callgate serve --without-callers\n" => {
                server = Some(Server::start(&bundle, &[]));
            }
            "console" => {
                let address = server.as_ref().map_or(ADDRESS, Server::target);
                let mut last = try_console(folder, &fence.text, address);
                // A running server takes a moment to notice a change.
                for _ in 0..if server.is_some() { 100 } else { 0 } {
                    if last.is_ok() {
                        break;
                    }
                    thread::sleep(Duration::from_millis(100));
                    last = try_console(folder, &fence.text, address);
                }
                assert!(last.is_ok(), "{}", last.unwrap_err());
                compared += 1;
            }
            _ => {}
        }
    }
    assert!(server.is_some() && compared >= 7, "{compared} consoles");
}

#[test]
fn what_is_said_of_policies_is_in_order() {
    let bundle = Bundle::shipped();
    let policies = fences_of(POLICIES, "## Writing policies");
    let policies = policies.iter().filter(|fence| fence.language == "cedar");
    let text: String = policies.map(|fence| fence.text.as_str()).collect();
    assert!(text.matches("@id(").count() >= 4, "{text}");
    bundle.file("readme.cedar", &text);
    let output = bundle.run(&["check"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
}

/// Codes that no answer carries.
const RESERVED: &[ReasonCode] = &[ReasonCode::Unspecified];

#[test]
fn every_code_is_explained() {
    let rows = DECISIONS.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let explained: BTreeSet<&str> = cells
        .flat_map(|cell| cell.split('`'))
        .filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase()))
        .collect();
    let codes = (0..i32::from(u8::MAX)).filter_map(|number| ReasonCode::try_from(number).ok());
    let codes: BTreeSet<&str> = codes
        .filter(|code| !RESERVED.contains(code))
        .map(|code| code.as_str_name().trim_start_matches("REASON_CODE_"))
        .collect();
    assert_eq!(explained, codes);
}

/// The directory that the first steps lead to.
fn after_the_story() -> Bundle {
    let bundle = Bundle::empty();
    let folder = bundle.folder();
    fs::write(folder.join("list.json"), filesystem_tools().to_string()).unwrap();
    for fence in fences(&STORY) {
        match fence.language {
            "sh" => drop(shell(folder, &fence.text)),
            "console" if fence.text.starts_with("$ callgate import") => {
                try_console(folder, &fence.text, ADDRESS).expect("imported");
            }
            _ => {}
        }
    }
    bundle
}

#[test]
fn clients_meet_a_server_only_once_the_shown_policy_says_so() {
    let bundle = after_the_story();
    let lists = [
        "authorize",
        "--agent",
        "helper",
        "--user",
        "ana",
        "--server",
        "files",
    ];
    assert_eq!(bundle.run(&lists).status.code(), Some(2));
    let fences = fences(&GATEWAYS);
    let policy = fences
        .iter()
        .find(|fence| fence.text.contains("files.meet"));
    assert_eq!(
        shell(bundle.folder(), &policy.expect("the policy").text),
        ""
    );
    assert_eq!(bundle.run(&lists).status.code(), Some(0));
    let checked = bundle.run(&["check"]);
    assert!(checked.stderr.is_empty() && checked.status.success());
}

#[test]
#[ignore = "needs curl"]
fn gateways_over_plain_http_hear_what_is_shown() {
    let bundle = after_the_story();
    let server = Server::start(&bundle, &[]);
    let mut compared = 0;
    for fence in fences(&GATEWAYS) {
        match fence.language {
            "sh" => assert_eq!(shell(bundle.folder(), &fence.text), "", "{}", fence.text),
            "console" => {
                let text = fence.text.replace(HTTP_ADDRESS, server.http_target());
                // A running server takes a moment to notice a change.
                let mut last = Err(String::new());
                for _ in 0..100 {
                    last = try_console(bundle.folder(), &text, ADDRESS);
                    if last.is_ok() {
                        break;
                    }
                    thread::sleep(Duration::from_millis(100));
                }
                assert!(last.is_ok(), "{}\n{}", last.unwrap_err(), server.log());
                compared += 1;
            }
            _ => {}
        }
    }
    assert_eq!(compared, 2);
}

#[test]
#[ignore = "needs the Python packages that tests/run installs"]
fn the_python_gateway_gets_the_answers_it_shows() {
    let bundle = after_the_story();
    let socket = bundle.folder().join("callgate.sock");
    let server = Server::with_socket(&bundle, socket.to_str().expect("text"));
    let fences = fences_of(NATIVE, "## In Python");
    let text_of = |language: &str| {
        let found = fences.iter().find(|fence| fence.language == language);
        &found.expect("a fence").text
    };
    let on_socket = format!("unix:{}", socket.display());
    for target in [server.target(), &on_socket] {
        let program = text_of("python").replace(ADDRESS, target);
        let output = Command::new(python())
            .args(["-c", &program])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert_eq!(&said, text_of("text"), "{target}: {complaints}");
    }
}
