//! The verbs of the write side, as a person runs them: what is delegated, asked for and revoked is what
//! `callgate authorize` then answers by.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value as Json;

use crate::support::process::{Bundle, Server};

/// Alice may change everything, Bob nothing; sharing a note takes a person's word.
const GOVERNING: &str = r#"
@id("test.alice-governs")
permit (principal == Mcp::User::"alice", action in Mcp::Action::"govern", resource);

@id("test.sharing-needs-a-word")
forbid (principal is Mcp::Agent, action == Mcp::Action::"call_write", resource == Mcp::Tool::"notes/share_note")
unless { context has approval };
"#;

/// A server over the small company, and somebody who types.
struct Desk {
    bundle: Bundle,
    server: Server,
    endpoint: String,
}

/// A program that goes on until it is stopped.
struct Running {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Desk {
    fn new() -> Self {
        let bundle = Bundle::notes();
        bundle.file("governing.cedar", GOVERNING);
        let server = Server::start(&bundle, &[]);
        let endpoint = format!("http://{}", server.target());
        Self {
            bundle,
            server,
            endpoint,
        }
    }

    /// Types the words, with the server's address after them.
    fn type_in(&self, line: &str) -> Output {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if !words.contains(&"--endpoint") {
            words.extend(["--endpoint", &self.endpoint]);
        }
        self.bundle.run(&words)
    }

    /// Types the words, which must lead to this exit code, and gives what is said.
    fn told(&self, code: i32, line: &str) -> String {
        let output = self.type_in(line);
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}\n{said}");
        said
    }

    /// The same, for programs.
    fn json(&self, code: i32, line: &str) -> Json {
        let output = self.type_in(&format!("{line} --output json"));
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}\n{said}{errors}");
        assert_eq!(errors, "", "{line}");
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{line}: {error}\n{said}"))
    }

    /// Why the call is denied; empty if it is allowed.
    fn denied(&self, call: &str) -> Vec<String> {
        let output = self.type_in(&format!("authorize {call} --output json"));
        let answer: Json = serde_json::from_slice(&output.stdout).unwrap();
        let reasons = answer["reasons"].as_array().cloned().unwrap_or_default();
        let codes = reasons.iter().map(|reason| {
            let code = reason["code"].as_str().unwrap();
            code.trim_start_matches("REASON_CODE_").to_owned()
        });
        let codes: Vec<String> = codes.collect();
        let is_allow = answer["decision"] == "DECISION_ALLOW";
        assert_eq!(is_allow, codes.is_empty(), "{answer}");
        assert_eq!(output.status.code(), Some(if is_allow { 0 } else { 2 }));
        codes
    }

    /// Starts a verb that goes on.
    fn start(&self, line: &str) -> Running {
        let mut process = Command::new(env!("CARGO_BIN_EXE_callgate"))
            .args(line.split_whitespace())
            .args(["--endpoint", &self.endpoint])
            .current_dir(self.bundle.folder())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Running { process, lines }
    }
}

impl Running {
    fn next_json(&mut self) -> Json {
        let line = self.lines.next().expect("a line").unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Interrupts it, as a person at a terminal does.
    fn interrupt(mut self) -> Option<i32> {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
        assert!(sent.success());
        self.process.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn text_of(json: &Json) -> String {
    json.as_str().unwrap_or_else(|| panic!("{json}")).to_owned()
}

#[test]
fn entities_are_put_shown_and_taken_away() {
    let desk = Desk::new();
    let put = "entity put user:kim --attr active=true --parent group:staff";
    let said = desk.told(2, &format!("{put} --as user:bob"));
    assert!(
        said.starts_with("denied: nothing was changed\n  because ") && said.contains("(NO_PERMIT)"),
        "{said}"
    );
    let refused = desk.json(2, &format!("{put} --as user:bob"));
    assert_eq!(refused["code"], "PermissionDenied");
    assert_eq!(refused["reasons"][0]["code"], "REASON_CODE_NO_PERMIT");

    let said = desk.told(0, &format!("{put} --as user:alice"));
    assert!(
        said.starts_with("Mcp::User::\"kim\" is put\n  revision  "),
        "{said}"
    );
    let said = desk.told(0, "entity get user:kim");
    for part in [
        "  source    put here\n",
        "  in        Mcp::Group::\"staff\"\n",
        "  attribute active = true\n",
    ] {
        assert!(said.contains(part), "{part} not in {said}");
    }
    let of_directory = desk.json(0, "entity get agent:helper");
    assert_eq!(of_directory["entity"]["source"], "ENTITY_SOURCE_BUNDLE");

    desk.told(0, "entity put group:friends --as user:alice");
    let all = desk.json(0, "entity list");
    assert_eq!(all["entities"].as_array().map(Vec::len), Some(2), "{all}");
    let users = desk.told(0, "entity list --type user");
    assert!(users.contains("1 entity at revision "), "{users}");
    let first = desk.told(0, "entity list --limit 1");
    assert!(first.contains("there are more"), "{first}");

    let said = desk.told(
        1,
        "entity put user:alice --attr active=false --as user:alice",
    );
    assert!(
        said.contains("alice") && said.contains("FailedPrecondition"),
        "{said}"
    );
    let said = desk.told(1, "entity put user:kim --attr active=7 --as user:alice");
    assert!(
        said.contains("`entity") && said.contains("InvalidArgument"),
        "{said}"
    );
    desk.told(0, "entity delete user:kim --as user:alice");
    let said = desk.told(1, "entity get user:kim");
    assert!(said.contains("NotFound"), "{said}");
}

#[test]
fn a_request_under_one_key_is_made_once() {
    let desk = Desk::new();
    let put = "entity put user:kim --attr active=true --as user:alice --key k-1";
    let first = desk.json(0, put);
    assert_eq!(desk.json(0, put), first);
    let said = desk.told(1, &put.replace("true", "false"));
    assert!(said.contains("`idempotency_key`"), "{said}");
    let changes = desk.json(0, "status");
    assert_eq!(changes["revision"], first["revision"]);
}

#[test]
fn the_same_words_under_one_key_are_one_request_whenever_they_are_said() {
    let desk = Desk::new();
    for words in [
        "delegation grant --to helper --server notes --access write --for 2h --as user:alice --key k-1",
        "task open --as user:alice --agent helper --user alice --purpose tidy --for 1h --key k-2",
    ] {
        let first = desk.json(0, words);
        // So long that a time worked out anew would be another one.
        std::thread::sleep(std::time::Duration::from_millis(1_100));
        assert_eq!(desk.json(0, words), first, "{words}");
    }
    // What a directory becomes without a version is another archive each time.
    let said = desk.told(1, "publish policies --as user:alice --key k-3");
    assert!(said.contains("`--key` needs `--version`"), "{said}");
}

#[test]
fn a_tool_is_registered_and_pinned() {
    let desk = Desk::new();
    let definition = r#"{"name": "find_note", "inputSchema": {"type": "object"}}"#;
    desk.bundle.file("../find_note.json", definition);
    let call = "--agent helper --server notes --tool find_note";
    assert_eq!(desk.denied(call), ["TOOL_UNKNOWN"]);
    let register = "tool register notes/find_note --access read --owner alice --sensitivity internal --as user:alice";
    let said = desk.told(0, &format!("{register} --definition find_note.json"));
    assert!(
        said.starts_with("notes/find_note is registered\n  pinned    sha256:"),
        "{said}"
    );
    assert!(desk.denied(call).is_empty());
    desk.bundle
        .file("../find_note.json", &definition.replace("object", "array"));
    let pinned = desk.json(
        0,
        "tool pin notes/find_note --definition find_note.json --as user:alice",
    );
    let digest = text_of(&pinned["digest"]);
    assert!(
        digest.starts_with("sha256:") && !said.contains(&digest),
        "{digest}"
    );
}

#[test]
fn what_is_delegated_can_be_narrowed_and_revoked() {
    let desk = Desk::new();
    let delegation = "delegation grant --to helper --server notes --access write --for 2h";
    desk.told(2, &format!("{delegation} --as user:bob"));
    let granted = desk.json(
        0,
        &format!("{delegation} --as user:alice --max-redelegations 1"),
    );
    let delegated = &granted["delegation"];
    assert_eq!(delegated["status"], "DELEGATION_STATUS_ACTIVE");
    assert_eq!(delegated["from"]["id"], "alice");
    let id = text_of(&delegated["id"]);
    let call = |tool: &str| {
        desk.denied(&format!(
            "--agent helper --delegation {id} --server notes --tool {tool}"
        ))
    };
    assert!(call("list_notes").is_empty());
    assert!(call("add_note").is_empty());

    let narrowed = desk.told(
        0,
        &format!(
            "delegation narrow {id} --as user:alice --tool notes/list_notes --access read --for 10m"
        ),
    );
    for part in [
        format!("delegation {id}\n  status    active\n"),
        "  tools     notes/list_notes\n  access    read at most\n".to_owned(),
        "  delegable 1 time\n".to_owned(),
    ] {
        assert!(narrowed.contains(&part), "{part} not in {narrowed}");
    }
    assert!(call("list_notes").is_empty());
    assert_eq!(call("add_note"), ["DELEGATION_OUT_OF_SCOPE"]);
    let said = desk.told(1, &format!("delegation narrow {id} --as user:alice"));
    assert!(said.contains("say what is narrowed"), "{said}");

    desk.told(0, &format!("delegation revoke {id} --as user:alice"));
    assert_eq!(call("list_notes"), ["DELEGATION_REVOKED"]);
    let active = desk.told(0, "delegation list --to helper --status active");
    assert!(active.starts_with("0 delegations at revision "), "{active}");
    let all = desk.json(0, "delegation list --from alice");
    assert_eq!(all["delegations"][0]["status"], "DELEGATION_STATUS_REVOKED");
}

#[test]
fn a_task_goes_from_step_to_step_and_ends() {
    let desk = Desk::new();
    let open = "task open --as user:alice --agent helper --user alice --purpose tidy --budget 5 --for 1h \
        --step gather:access=read,server=notes --step write:access=write,tool=notes/add_note";
    let opened = desk.json(0, open);
    let id = text_of(&opened["task"]["id"]);
    assert_eq!(opened["task"]["step"], "gather");
    let call = |tool: &str| {
        desk.denied(&format!(
            "--agent helper --user alice --task {id} --server notes --tool {tool}"
        ))
    };
    assert!(call("list_notes").is_empty());
    assert_eq!(call("add_note"), ["TASK_OUT_OF_SCOPE"]);
    let said = desk.told(0, &format!("task advance {id} --as user:alice"));
    assert!(
        said.contains("  calls     4 of 5 left\n")
            && said.contains("  step      write: write at most, notes/add_note, it is here\n"),
        "{said}"
    );
    assert!(call("add_note").is_empty());
    let said = desk.told(0, &format!("task close {id} --as user:alice"));
    assert!(
        said.starts_with(&format!("task {id}\n  status    closed\n")),
        "{said}"
    );
    assert_eq!(call("add_note"), ["TASK_CLOSED"]);
    let closed = desk.json(0, "task list --agent helper --status closed");
    assert_eq!(closed["tasks"][0]["id"], id.as_str());
    let said = desk.told(1, &open.replace("1h", "9000days"));
    assert!(
        said.contains("`deadline`") && said.contains("limits.task_hours"),
        "{said}"
    );
}

#[test]
fn a_deny_says_what_to_type_and_a_person_says_yes_once() {
    let desk = Desk::new();
    desk.told(
        0,
        "tool register notes/share_note --access write --owner alice --sensitivity internal --as user:alice",
    );
    let call = "--agent helper --user alice --server notes --tool share_note --arg note=7";
    let mut watched = desk.start("approval watch --output json");
    let said = desk.told(2, &format!("authorize {call}"));
    assert!(said.contains("(APPROVAL_REQUIRED)"), "{said}");
    assert!(
        said.contains("  approval  would allow it: sha256:"),
        "{said}"
    );
    let next = said
        .lines()
        .find_map(|line| line.trim().strip_prefix("callgate "));
    let asked = desk.json(0, next.expect("a command"));
    let approval = &asked["approval"];
    assert_eq!(approval["status"], "APPROVAL_STATUS_PENDING");
    assert!(said.contains(&text_of(&approval["digest"])), "{said}");
    let id = text_of(&approval["id"]);
    assert_eq!(watched.next_json()["approval"]["id"], id.as_str());

    let said = desk.told(1, &format!("approval approve {id} --as agent:helper"));
    assert!(said.contains("`actor.entity`"), "{said}");
    desk.told(2, &format!("approval approve {id} --as user:bob"));
    desk.told(
        1,
        &format!("approval approve {id} --as user:alice --digest sha256:00"),
    );
    let said = desk.told(
        0,
        &format!("approval approve {id} --as user:alice --comment fine"),
    );
    for part in [
        "  status    pending\n",
        "  tool      notes/share_note\n  access    write\n  argument  note: 7\n  asks      test.sharing-needs-a-word\n",
        "  status    approved\n",
        "  by        Mcp::User::\"alice\"\n  comment   fine\n",
    ] {
        assert!(said.contains(part), "{part} not in {said}");
    }
    assert_eq!(
        watched.next_json()["approval"]["status"],
        "APPROVAL_STATUS_APPROVED"
    );
    assert_eq!(watched.interrupt(), Some(0));

    let approved = format!("{call} --approval {id}");
    assert_eq!(desk.denied(&approved.replace("=7", "=8")).len(), 1);
    assert!(desk.denied(&approved).is_empty());
    assert_eq!(desk.denied(&approved).len(), 1, "it was for one call");
    let used = desk.told(0, "approval list --status used --agent helper");
    assert!(used.contains("  used      1 of 1 time\n"), "{used}");

    let second = desk.json(0, &format!("approval request {call} --purpose again"));
    let id = text_of(&second["approval"]["id"]);
    let said = desk.told(0, &format!("approval reject {id} --as user:alice"));
    assert!(said.contains("  status    rejected\n"), "{said}");
    let said = desk.told(1, "approval approve absent --as user:alice");
    assert!(said.contains("no approval `absent`"), "{said}");
}

#[test]
fn a_session_ends_and_every_change_is_told_in_order() {
    let desk = Desk::new();
    let call = "--agent helper --session s-1 --server notes --tool list_notes";
    assert!(desk.denied(call).is_empty());
    let said = desk.told(0, "session end s-1 --as user:alice");
    assert!(
        said.starts_with("session s-1 is over\n  revision  "),
        "{said}"
    );
    assert_eq!(desk.denied(call), ["SESSION_ENDED"]);
    let put = desk.json(0, "entity put user:kim --attr active=true --as user:alice");

    let status = desk.json(0, "status");
    assert_eq!(status["revision"], put["revision"]);
    assert_eq!(status["storedEntities"], "1");
    let said = desk.told(0, "status");
    assert!(
        said.starts_with("callgate ") && said.contains("  store     in order\n"),
        "{said}"
    );

    let mut told = desk.start("changes --output json");
    let verbs = [(); 3].map(|()| told.next_json());
    let is_in_order = verbs.windows(2).all(|pair| {
        text_of(&pair[0]["revision"]).parse::<u64>().unwrap() + 1
            == text_of(&pair[1]["revision"]).parse::<u64>().unwrap()
    });
    assert!(is_in_order, "{verbs:?}");
    assert!(verbs[0].get("bundleDigest").is_some(), "{verbs:?}");
    assert_eq!(verbs[1]["sessionEnded"], "s-1");
    assert_eq!(verbs[2]["entity"]["uid"]["id"], "kim");
    assert_eq!(verbs[2]["caller"], "local");
    desk.told(0, "entity delete user:kim --as user:alice");
    assert_eq!(told.next_json()["verb"], "DeleteEntity");
    assert_eq!(told.interrupt(), Some(0));

    let after = text_of(&put["revision"]);
    let mut told = desk.start(&format!("changes --after {after}"));
    let line = told.lines.next().expect("a line").unwrap();
    assert!(
        line.contains("DeleteEntity") && line.ends_with("by Mcp::User::\"alice\" through local"),
        "{line}"
    );
}

#[test]
fn who_may_ask_may_not_therefore_change_anything() {
    let desk = Desk::new();
    let refused = desk
        .bundle
        .run(&["status", "--endpoint", "http://127.0.0.1:1"]);
    assert_eq!(refused.status.code(), Some(1));
    // sha256 of `open sesame`
    desk.bundle.file(
        "callgate.toml",
        "[[callers]]\nid = \"edge\"\n\
         token_sha256 = [\"41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb\"]\n\
         rights = { rpcs = [\"*\", \"GetStatus\"], assert_identity = true }\n",
    );
    desk.bundle.file("../token", "open sesame\n");
    crate::support::process::wait_for("the callers to be in force", || {
        (desk.type_in("status").status.code() == Some(1)).then_some(())
    });
    desk.told(0, "status --token-file token");
    let said = desk.told(1, "task list --token-file token");
    assert!(said.contains("no right to use `ListTasks`"), "{said}");
    let said = desk.told(2, "session end s-1 --as user:alice --token-file token");
    assert!(said.contains("no right to use `EndSession`"), "{said}");
    let (status, log) = desk.server.stop();
    assert!(status.success(), "{log}");
}
