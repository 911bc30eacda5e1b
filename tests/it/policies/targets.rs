//! Targets through the real decision: what the shipped policies and registrations say of texts that mean something else
//! than they show.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use callgate::bundle::{self, Bundle};
use serde_json::{Value as Json, json};

use crate::policies::rows::decide;

static SHIPPED: LazyLock<Bundle> = LazyLock::new(|| {
    let policies = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("policies");
    bundle::load(&policies).unwrap_or_else(|faults| panic!("{faults}"))
});

/// What comes of a developer's, or the web reader's, call: `allow`, or the code of the first reason.
fn ask(server: &str, tool: &str, arguments: Json) -> String {
    let mut case = json!({
        "name": "a call", "want": "deny",
        "call": {"tool": format!("{server}/{tool}"), "arguments": arguments},
    });
    match server {
        "fetch" => {
            case["agent"] = json!("research");
            case["for"] = json!("noor");
            case["session"] = json!([]);
        }
        _ => case["user"] = json!("owen"),
    }
    let decision = decide(&SHIPPED, &case);
    match decision.reasons.first() {
        None => "allow".to_owned(),
        Some(reason) => reason.code.as_str().to_owned(),
    }
}

fn read(path: &str) -> String {
    ask("filesystem", "read_text_file", json!({"path": path}))
}

#[test]
fn a_key_is_a_key_however_its_path_is_written() {
    for path in [
        "/srv/shop/key.pem",
        "/srv/shop/key.pem/",
        "/srv/shop/key.pem/.",
        "/srv/shop/./key.pem",
        "/srv/shop//key.pem",
        "/srv//secrets/k",
        "/srv/./secrets/k",
        "/srv/secrets/",
        "/srv/shop/.git",
        "/srv/shop/.git/",
        "/srv/shop/.env",
    ] {
        assert_eq!(read(path), "FORBIDDEN", "{path}");
    }
    for path in [
        "/srv/shop/key.pe%6D",
        "/srv/shop/key%2Epem",
        "/srv/shop/../secrets/k",
        "/srv/shop/..;/secrets/k",
        "/srv/shop/%2e%2e/secrets/k",
        "/srv/shop\\..\\secrets\\k",
        "/srv/shop/\u{ff0e}\u{ff0e}/secrets/k",
        "/srv/shop/key\u{ff0e}pem",
        "/srv/shop/key.pem\u{200b}",
        "/srv/shop/key.pem ",
        "secrets/k",
        "~/k",
        "file:///srv/shop/a.rs",
    ] {
        assert_eq!(read(path), "CONTEXT_INVALID", "{path}");
    }
    assert_eq!(read("/srv/shop/a.rs"), "allow");
    assert_eq!(read("/srv/shop/a.rs/"), "allow");
}

#[test]
fn paths_of_a_repository_begin_there() {
    let add = |files: Json| {
        ask(
            "git",
            "git_add",
            json!({"repo_path": "/srv/shop", "files": files}),
        )
    };
    assert_eq!(add(json!(["src/a.rs", "."])), "allow");
    assert_eq!(add(json!(["src/a.rs", "key.pem"])), "FORBIDDEN");
    assert_eq!(add(json!(["/etc/passwd"])), "FORBIDDEN");
    assert_eq!(add(json!(["../secrets/k"])), "CONTEXT_INVALID");
    assert_eq!(add(json!([7])), "CONTEXT_INVALID");
    assert_eq!(add(json!([])), "CONTEXT_MISSING");
    let outside = json!({"repo_path": "/home/owen", "files": ["a"]});
    assert_eq!(ask("git", "git_add", outside), "FORBIDDEN");
    let relative = json!({"repo_path": "shop", "files": ["a"]});
    assert_eq!(ask("git", "git_add", relative), "CONTEXT_INVALID");
}

#[test]
fn the_inside_is_not_the_web() {
    let fetch = |url: &str| ask("fetch", "fetch", json!({"url": url}));
    for url in [
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://172.16.0.1/",
        "https://172.31.255.255/",
        "https://192.168.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://0.0.0.0/",
        "https://100.64.0.1/",
        "https://198.18.0.1/",
        "https://198.19.255.255/",
        "https://192.0.2.1/",
        "https://240.0.0.1/",
        "https://224.0.0.1/",
        "https://[::1]/",
        "https://[::]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://[2002:a00:1::]/",
        "https://[fd00::1]/",
        "https://[fe80::1]/",
        "https://[2001:db8::1]/",
        "https://intranet/",
        "https://intranet./",
        "https://localhost/",
        "https://db.internal/",
        "https://printer.local/",
        "https://a.test/",
        "https://abc.onion/",
        "https://router.home.arpa/",
        "https://wiki.corp/",
        "http://www.example.org/",
    ] {
        assert_eq!(fetch(url), "FORBIDDEN", "{url}");
    }
    for url in [
        "https://2130706433/",
        "https://0x7f000001/",
        "https://127.1/",
        "https://0300.0250.0.1/",
        "https://user@example.org/",
        "https://example.org\\@intranet/",
        "https://example.org/%2e%2e/a",
        "https://example.org/a%2Fb",
        "https://example.org/..;/a",
        "https://example.org/%252e%252e/a",
        "https://example\u{ff0e}org/",
        "https:example.org/",
        "https:///example.org/",
        "/srv/a",
        "www.example.org",
        "file://example.org/a",
    ] {
        assert_eq!(fetch(url), "CONTEXT_INVALID", "{url}");
    }
    for url in [
        "https://example.org/",
        "https://8.8.8.8/",
        "https://172.32.0.1/",
        "https://[2606:4700::1111]/",
        "HTTPS://Example.ORG:443/a%20b?x=/../y#z",
    ] {
        assert_eq!(fetch(url), "allow", "{url}");
    }
}

#[test]
fn the_handbook_is_a_folder_and_not_a_beginning_of_texts() {
    let read = |uri: &str| {
        let case = json!({
            "name": "a page", "user": "owen", "want": "allow",
            "call": {"kind": "read_resource", "server": "filesystem", "uri": uri},
        });
        decide(&SHIPPED, &case).is_allow()
    };
    for uri in [
        "file:///srv/handbook/a",
        "file:///srv/handbook",
        "/srv/handbook/a%20b".replace("%20", " ").as_str(),
    ] {
        assert!(read(uri), "{uri}");
    }
    for uri in [
        "file:///srv/handbook/a?x=/../../secrets/k",
        "file:///srv/handbook/a#/../../secrets/k",
        "file:///srv/handbook/..%2Fsecrets/k",
        "file:///srv/handbook/%2e%2e/secrets/k",
        "file:///srv/handbook/%252e%252e/secrets/k",
        "file:///srv/handbook/..;/secrets/k",
        "file:///srv/handbook\u{2215}a",
        "file://host/srv/handbook/a",
        "file://user@localhost/srv/handbook/a",
        "file:///srv/handbookx",
        "file:srv/handbook/a",
    ] {
        assert!(!read(uri), "{uri}");
    }
}

#[test]
fn a_channel_is_known_by_its_id_alone() {
    let mut case = json!({
        "name": "a message", "agent": "support", "for": "tara", "session": ["untrusted", "private"], "want": "allow",
        "call": {
            "tool": "slack/slack_post_message",
            "arguments": {"channel_id": "C04SUPPORT", "text": "hello"},
        },
    });
    let decide = |case: &Json| decide(&SHIPPED, case);
    let decision = decide(&case);
    assert!(decision.is_allow(), "{decision:?}");
    let [target] = &decision.targets[..] else {
        panic!("{:?}", decision.targets);
    };
    assert_eq!((&*target.id, target.kind), ("slack:C04SUPPORT", "id"));
    assert_eq!(target.role.as_deref(), Some("destination"));
    for channel in [
        "C04SUPPORT/C9",
        "C04SUPPORT/",
        "slack:C04SUPPORT",
        "c04support",
        "C04SUPPORT ",
    ] {
        case["call"]["arguments"]["channel_id"] = json!(channel);
        assert!(!decide(&case).is_allow(), "{channel}");
    }
}

#[test]
fn an_explanation_shows_what_a_call_acts_upon() {
    let policies = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("policies");
    let explain = |tool: &str, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_callgate"));
        command.args([
            "authorize",
            "--explain",
            "--user",
            "owen",
            "--server",
            "filesystem",
        ]);
        command
            .arg("--policies")
            .arg(&policies)
            .args(["--tool", tool]);
        command.args(arguments.iter().flat_map(|it| ["--arg", it]));
        let output = command.output().expect("it runs");
        String::from_utf8(output.stdout).expect("text")
    };
    let said = explain("move_file", &["source=/srv/./a b/", "destination=/srv//c"]);
    for line in [
        "  target    file:///srv/a b, of the kind path, as source\n",
        "  target    file:///srv/c, of the kind path, as destination\n",
    ] {
        assert!(said.contains(line), "{line} in {said}");
    }
}
