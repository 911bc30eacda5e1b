use std::fs;
use std::path::Path;

use super::*;
use crate::analysis::access::{AccessQuery, access, diff};
use crate::bundle::{self, Bundle};

/// A directory where everybody reads what is not below `/etc`.
fn directory(server_yields: &Json, log: &Json) -> Bundle {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: String| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("a directory");
        fs::write(path, text).expect("written");
    };
    let users = json!([{"uid": {"type": "Mcp::User", "id": "ana"}, "attrs": {}, "parents": []}]);
    write("entities/people.json", users.to_string());
    let mut server = json!({"name": "git", "owner": "ana"});
    if !server_yields.is_null() {
        server["yields"] = server_yields.clone();
    }
    let registration = json!({"server": server, "tools": {"log": log}});
    write("tools/git.json", registration.to_string());
    let policies = r#"@id("all") permit (principal, action, resource);
@id("etc") forbid (principal, action in Mcp::Action::"call_tool", resource)
when { context has target && context.target has uri && context.target.uri like "file:///etc*" };"#;
    write("all.cedar", policies.to_owned());
    bundle::load(dir.path()).unwrap_or_else(|faults| panic!("{faults}"))
}

fn log() -> Json {
    json!({
        "access": "read", "status": "confirmed", "yields": ["private"], "egress": false,
        "sensitivity": "internal", "digest": format!("sha256:{}", "a".repeat(64)),
        "target_arguments": [{"argument": "path", "kind": "path"}],
        "input_schema": {"type": "object", "required": ["path"], "properties": {"path": {"type": "string"}}},
    })
}

fn changes(old: &Bundle, new: &Bundle) -> Vec<(String, &'static str, Direction)> {
    let report = |bundle| access(bundle, &AccessQuery::default()).expect("a report");
    let (before, after) = (report(old), report(new));
    assert!(diff::compare(&before, &after).is_empty());
    let snapshots = (&old.snapshot, &new.snapshot);
    let found = compare(snapshots, (&before, &after)).into_iter();
    found.map(|it| (it.of, it.part, it.direction)).collect()
}

#[test]
fn a_check_less_is_wider_and_one_more_is_narrower() {
    let of_server = json!(["untrusted"]);
    let full = directory(&of_server, &log());
    assert_eq!(changes(&full, &full), []);
    let without = |change: &dyn Fn(&mut Json)| {
        let mut entry = log();
        change(&mut entry);
        directory(&of_server, &entry)
    };
    type Edit = (&'static str, &'static dyn Fn(&mut Json));
    let edits: [Edit; 4] = [
        ("target_arguments", &|it| it["target_arguments"] = json!([])),
        ("target_arguments", &|it| {
            it["target_arguments"][0]["optional"] = json!(true)
        }),
        ("yields", &|it| it["yields"] = json!([])),
        ("digest", &|it| {
            it.as_object_mut().expect("an object").remove("digest");
        }),
    ];
    for (part, edit) in edits {
        let less = without(edit);
        let of = |direction| [("git/log".to_owned(), part, direction)];
        assert_eq!(changes(&full, &less), of(Direction::Wider), "{part}");
        assert_eq!(changes(&less, &full), of(Direction::Narrower), "{part}");
    }
    // In the contents of files less counts as a link.
    let contents = without(&|it| it["file_contents"] = json!(["path"]));
    let of = |direction| [("git/log".to_owned(), "file_contents", direction)];
    assert_eq!(changes(&full, &contents), of(Direction::Wider));
    assert_eq!(changes(&contents, &full), of(Direction::Narrower));
    // A target that need not be there may be one whose argument is not required.
    let optional = without(&|it| it["target_arguments"][0]["optional"] = json!(true));
    let unrequired = without(&|it| {
        it["target_arguments"][0]["optional"] = json!(true);
        it["input_schema"]["required"] = json!([]);
    });
    assert_eq!(
        changes(&optional, &unrequired),
        [("git/log".to_owned(), "input_schema", Direction::Wider)]
    );
    let other = without(&|it| it["input_schema"]["properties"]["more"] = json!({"type": "string"}));
    assert_eq!(
        changes(&full, &other),
        [("git/log".to_owned(), "input_schema", Direction::Different)]
    );
}

#[test]
fn what_a_server_does_not_say_is_untrusted_and_what_its_tools_yield() {
    let unsaid = directory(&Json::Null, &log());
    let none = directory(&json!([]), &log());
    let less = directory(&json!(["untrusted"]), &log());
    let said = directory(&json!(["private", "untrusted"]), &log());
    assert_eq!(changes(&unsaid, &said), []);
    let wider = [("git".to_owned(), "yields", Direction::Wider)];
    assert_eq!(changes(&unsaid, &none), wider);
    assert_eq!(changes(&unsaid, &less), wider);
}

#[test]
fn a_lower_level_and_less_egress_are_wider() {
    let with = |access: &str, egress: bool, status: &str| {
        let mut entry = log();
        entry["access"] = json!(access);
        entry["egress"] = json!(egress);
        entry["status"] = json!(status);
        directory(&Json::Null, &entry)
    };
    let full = with("write", true, "confirmed");
    for (part, less) in [
        ("access", with("read", true, "confirmed")),
        ("egress", with("write", false, "confirmed")),
    ] {
        let of = |direction| [("git/log".to_owned(), part, direction)];
        assert_eq!(changes(&full, &less), of(Direction::Wider), "{part}");
        assert_eq!(changes(&less, &full), of(Direction::Narrower), "{part}");
    }
    let proposed = with("write", true, "proposed");
    // Until it is confirmed it counts as admin, and brings what is untrusted.
    let status = |direction| {
        ["access", "status", "yields"].map(|part| ("git/log".to_owned(), part, direction))
    };
    assert_eq!(changes(&proposed, &full), status(Direction::Wider));
    assert_eq!(changes(&full, &proposed), status(Direction::Narrower));
}
