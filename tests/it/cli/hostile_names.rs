//! Names and texts of others cannot act on a terminal, begin a line of their own or hide: through every verb that
//! prints one.

use std::process::Output;

use serde_json::{Value as Json, json};

use crate::support::process::{Bundle, Server};

/// What others would like a terminal to do: clear it, turn the text around, hide a part, begin a line.
const HOSTILE: &str =
    "x\u{1b}[2J\u{202e}evil\u{200b}\u{2066}\u{feff}\u{e0041}\u{3164}\r\nallow\u{7}\u{9b}31m";

/// The same without control characters.
const SOFT: &str = "x\u{202e}evil\u{200b}\u{2066}\u{feff}\u{3164}";

/// Alice may change everything; whatever helper writes takes a person's word.
fn policies() -> String {
    let reason = "because\u{202e}\u{200b}\u{1b}[2J";
    format!(
        r#"
@id("test.alice-governs")
permit (principal == Mcp::User::"alice", action in Mcp::Action::"govern", resource);

@id("test.hostile") @owner("own\u{{202e}}er\u{{200b}}\u{{1b}}") @controls("SOC2\u{{202e}}") @reason("{reason}")
forbid (principal is Mcp::Agent, action == Mcp::Action::"call_write", resource)
unless {{ context has approval }};
"#
    )
}

struct Desk {
    bundle: Bundle,
    /// Ends with the desk.
    _server: Server,
    endpoint: String,
}

impl Desk {
    fn new() -> Self {
        let bundle = Bundle::notes();
        bundle.file("governing.cedar", &policies());
        let server = Server::start(&bundle, &[]);
        let endpoint = format!("http://{}", server.target());
        Self {
            bundle,
            _server: server,
            endpoint,
        }
    }

    fn run(&self, words: &[&str]) -> Output {
        let words = [words, &["--endpoint", &self.endpoint]].concat();
        self.bundle.run(&words)
    }

    /// Runs a verb, holds everything it says to be harmless, and gives it.
    fn said(&self, words: &[&str]) -> String {
        harmless(words, &self.run(words))
    }

    fn json(&self, words: &[&str]) -> Json {
        let words = [words, &["--output", "json"]].concat();
        let output = self.run(&words);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{words:?}: {error}: {output:?}"))
    }
}

fn is_harmful(c: char) -> bool {
    let hidden = [
        '\u{200b}',
        '\u{202e}',
        '\u{2066}',
        '\u{feff}',
        '\u{3164}',
        '\u{e0041}',
    ];
    c.is_control() && c != '\n' || hidden.contains(&c)
}

fn harmless(words: &[&str], output: &Output) -> String {
    let said = String::from_utf8(output.stdout.clone()).expect("text")
        + &String::from_utf8(output.stderr.clone()).expect("text");
    assert!(!said.contains(is_harmful), "{words:?}: {said:?}");
    // No line is the foreign text's own.
    assert!(
        !said.lines().any(|line| line.starts_with("allow\\u{7}")),
        "{words:?}: {said:?}"
    );
    said
}

#[test]
fn every_verb_of_a_server_shows_hostile_names_as_they_are() {
    let desk = Desk::new();
    // One that is refused for its control characters, and one that is a name.
    for name in [HOSTILE, SOFT] {
        let entity = json!({
            "uid": {"type": "Mcp::User", "id": name},
            "attrs": {"active": true},
            "tags": {name: [name]}
        });
        desk.bundle.file("../hostile.json", &entity.to_string());
        let (user, tool) = (format!("user:{name}"), format!("notes/{name}"));
        let put = [
            "entity",
            "put",
            "--file",
            "hostile.json",
            "--as",
            "user:alice",
        ];
        let open = [
            "task", "open", "--agent", "helper", "--user", "alice", "--server", "notes", "--for",
            "1h",
        ];
        let delegation = [
            "delegation",
            "grant",
            "--to",
            "helper",
            "--server",
            name,
            "--for",
            "1h",
            "--as",
            "user:alice",
        ];
        for words in [
            &put[..],
            &["entity", "get", &user],
            &["entity", "list"],
            &["entity", "delete", &user, "--as", "user:alice"],
            &["entity", "delete", "user:alice", "--as", &user],
            &["session", "end", name, "--as", "user:alice"],
            &delegation,
            &["delegation", "list", "--to", name],
            &["delegation", "revoke", name, "--as", "user:alice"],
            &[&open[..], &["--purpose", name, "--as", "user:alice"]].concat(),
            &["task", "list"],
            &["task", "close", name, "--as", "user:alice"],
            &["approval", "approve", name, "--as", "user:alice"],
            &["approval", "reject", name, "--as", "user:alice"],
            &[
                "tool",
                "pin",
                &tool,
                "--definition",
                "hostile.json",
                "--as",
                "user:alice",
            ],
            &[
                "authorize",
                "--agent",
                name,
                "--server",
                "notes",
                "--tool",
                "list_notes",
            ],
            &[
                "authorize",
                "--agent",
                "helper",
                "--server",
                name,
                "--tool",
                "list_notes",
            ],
            &[
                "authorize",
                "--agent",
                "helper",
                "--server",
                "notes",
                "--tool",
                name,
            ],
        ] {
            assert!(!desk.said(words).is_empty(), "{words:?}");
        }
        // A directory decides, too.
        let words = [
            "authorize",
            "--agent",
            name,
            "--server",
            name,
            "--tool",
            name,
        ];
        harmless(&words, &desk.bundle.run(&words));
    }
}

#[test]
fn an_approval_shows_hostile_texts_as_they_are() {
    let desk = Desk::new();
    let note = format!("note={HOSTILE}");
    let call = [
        "--agent",
        "helper",
        "--user",
        "alice",
        "--server",
        "notes",
        "--tool",
        "add_note",
        "--arg",
        &note,
        "--arg",
        "id=1122334455667788991",
    ];
    let denied = desk.said(&[&["authorize"][..], &call, &["--explain"]].concat());
    assert!(denied.contains("APPROVAL_REQUIRED"), "{denied}");
    assert!(
        denied.contains("because\\u{202e}\\u{200b}\\u{1b}[2J"),
        "{denied}"
    );
    assert!(
        denied.contains("own\\u{202e}er\\u{200b}\\u{1b}"),
        "{denied}"
    );
    let asked = desk.json(&[&["approval", "request"][..], &call].concat());
    let id = asked["approval"]["id"].as_str().unwrap().to_owned();
    for words in [
        &["approval", "list"][..],
        &["approval", "list", "--full"],
        &[
            "approval",
            "approve",
            &id,
            "--as",
            "user:alice",
            "--comment",
            HOSTILE,
        ],
        &["approval", "list", "--status", "approved"],
    ] {
        let said = desk.said(words);
        assert!(
            said.contains("  argument  id: 1122334455667788991\n"),
            "{said}"
        );
        assert!(said.contains("  asks      test.hostile, owned by own\\u{202e}er\\u{200b}\\u{1b}: because\\u{202e}"), "{said}");
        assert!(
            said.contains("\\u{202e}evil\\u{200b}\\u{2066}\\u{feff}"),
            "{said}"
        );
    }
}

#[test]
fn a_directory_with_hostile_names_is_told_as_it_is() {
    let bundle = Bundle::notes();
    bundle.file("hostile.cedar", &policies());
    let words = ["check"];
    let said = harmless(&words, &bundle.run(&words));
    assert!(said.contains("own\\u{202e}er\\u{200b}"), "{said}");
    // A fault in a line that hides something.
    bundle.file(
        "broken.cedar",
        "permit (principal, action, resource) when { \"\u{202e}\u{200b}\u{1b}[2J\" .x };",
    );
    let said = harmless(&words, &bundle.run(&words));
    assert!(said.contains("broken.cedar"), "{said}");

    let list = json!({"tools": [{"name": HOSTILE, "inputSchema": {"type": "object", "properties": {HOSTILE: {}}}}]});
    bundle.file("../list.json", &list.to_string());
    let words = [
        "import",
        "tools",
        "list.json",
        "--server",
        "mail",
        "--dry-run",
    ];
    harmless(&words, &bundle.run(&words));
    let odd = "a\u{202e}\u{200b}";
    let list = json!({"tools": [{"name": odd, "inputSchema": {"type": "object", "properties": {odd: {"type": "string"}}, "required": [odd]}}]});
    bundle.file("../list.json", &list.to_string());
    harmless(&words, &bundle.run(&words));
}
