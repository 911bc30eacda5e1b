use serde_json::json;

use super::*;
use crate::domain::request::target::argument::TargetArgumentForm;

fn ask(wanted: Json, arguments: Json) -> Result<Vec<(String, Option<String>)>, CallTargetError> {
    let wanted: Vec<TargetArgumentForm> = serde_json::from_value(wanted).expect("they read");
    let wanted: Vec<TargetArgument> = wanted
        .iter()
        .map(|it| TargetArgument::read(it).expect("it can work"))
        .collect();
    let found = targets(
        "files",
        &wanted,
        arguments.as_object().expect("an object"),
        4,
    )?;
    let shown = found.iter().map(|it| {
        let name: &str = it.uid().eid().as_ref();
        (name.to_owned(), it.role.as_ref().map(ToString::to_string))
    });
    Ok(shown.collect())
}

fn plain(names: &[&str]) -> Result<Vec<(String, Option<String>)>, CallTargetError> {
    Ok(names.iter().map(|it| ((*it).to_owned(), None)).collect())
}

#[test]
fn targets_are_found_wherever_they_are() {
    let nested = json!([{"argument": "files[].path", "kind": "path", "base": "repo_path"}]);
    let arguments = json!({"repo_path": "/srv/r", "files": [{"path": "a"}, {"path": "/b"}]});
    assert_eq!(
        ask(nested.clone(), arguments),
        plain(&["file:///srv/r/a", "file:///b"])
    );
    let page = json!([{"argument": "parent.page_id", "kind": "uuid"}]);
    let arguments = json!({"parent": {"page_id": "0F4E1D2C3B4A59688776655443322110"}});
    assert_eq!(
        ask(page, arguments),
        plain(&["files:0f4e1d2c-3b4a-5968-8776-655443322110"])
    );
    let numbers = json!([{"argument": "rows", "kind": "id"}]);
    assert_eq!(
        ask(numbers, json!({"rows": [1, "1", 2]})),
        plain(&["files:1", "files:2"])
    );
    let two = json!([{"argument": "from", "kind": "path", "role": "source"}, {"argument": "to", "kind": "path", "role": "destination"}]);
    let role = |name: &str| Some(name.to_owned());
    assert_eq!(
        ask(two, json!({"from": "/a", "to": "/a"})),
        Ok(vec![
            ("file:///a".into(), role("source")),
            ("file:///a".into(), role("destination"))
        ])
    );
    let urls = json!(["urls"]);
    let found = ask(
        urls,
        json!({"urls": ["https://h.com/a?x=1", "https://h.com/a?x=2", "https://h.com/a?x=1"]}),
    );
    assert_eq!(found, plain(&["https://h.com/a", "https://h.com/a"]));
}

#[test]
fn what_is_missing_is_told_with_its_place() {
    let nested = json!(["files[].path"]);
    let missing = |at: &str| Err(CallTargetError::Missing(at.to_owned()));
    assert_eq!(ask(nested.clone(), json!({})), missing("arguments.files"));
    assert_eq!(
        ask(nested.clone(), json!({"files": []})),
        missing("arguments.files")
    );
    assert_eq!(
        ask(nested.clone(), json!({"files": [{"path": "/a"}, {"x": 1}]})),
        missing("arguments.files[1].path")
    );
    assert_eq!(
        ask(nested, json!({"files": [{"path": null}]})),
        missing("arguments.files[0].path")
    );
    let based = json!([{"argument": "a", "kind": "path", "base": "cwd"}]);
    assert_eq!(
        ask(based.clone(), json!({"a": "x"})),
        missing("arguments.cwd")
    );
    assert_eq!(ask(based, json!({"a": "/x"})), plain(&["file:///x"]));
    let optional = json!([{"argument": "files[].path", "optional": true}]);
    for arguments in [
        json!({}),
        json!({"files": null}),
        json!({"files": []}),
        json!({"files": [{}, {"path": null}]}),
    ] {
        assert_eq!(
            ask(optional.clone(), arguments.clone()),
            plain(&[]),
            "{arguments}"
        );
    }
}

#[test]
fn what_is_of_another_type_is_refused() {
    for (wanted, arguments) in [
        (json!(["a"]), json!({"a": true})),
        (json!(["a"]), json!({"a": {"b": 1}})),
        (json!(["a"]), json!({"a": [["x"]]})),
        (json!(["a"]), json!({"a": 1.5})),
        (json!(["a"]), json!({"a": 9007199254740992_u64})),
        (json!(["a"]), json!({"a": -9007199254740992_i64})),
        (json!([{"argument": "a", "kind": "path"}]), json!({"a": 7})),
        (
            json!([{"argument": "a", "optional": true}]),
            json!({"a": false}),
        ),
        (
            json!([{"argument": "a.b", "optional": true}]),
            json!({"a": "x"}),
        ),
        (
            json!([{"argument": "a[].b", "optional": true}]),
            json!({"a": {"b": "x"}}),
        ),
        (
            json!([{"argument": "a.b", "optional": true}]),
            json!({"a": [{"b": "x"}]}),
        ),
        (
            json!([{"argument": "a", "kind": "path", "base": "cwd"}]),
            json!({"a": "x", "cwd": "y"}),
        ),
        (
            json!([{"argument": "a", "kind": "path", "base": "cwd"}]),
            json!({"a": "x", "cwd": 7}),
        ),
        (
            json!([{"argument": "a", "kind": "path"}]),
            json!({"a": "x"}),
        ),
    ] {
        let answered = ask(wanted.clone(), arguments.clone());
        let is_invalid = matches!(answered, Err(CallTargetError::Invalid(_)));
        assert!(is_invalid, "{wanted} {arguments}: {answered:?}");
    }
    let many = json!({"a": ["1", "2", "3", "4", "5"]});
    assert_eq!(ask(json!(["a"]), many), Err(CallTargetError::TooMany));
}

#[test]
fn arguments_that_a_tool_puts_into_a_url_are_parts_of_one_target() {
    let repository =
        json!([{"argument": "repo", "kind": "url", "base": "https://github.com/{owner}"}]);
    let issue = json!([{"argument": "number", "kind": "url", "base": "https://github.com/{owner}/{repo}/issues"}]);
    let shop = json!({"owner": "larkwood", "repo": "shop", "number": 7});
    assert_eq!(
        ask(repository.clone(), shop.clone()),
        plain(&["https://github.com/larkwood/shop"])
    );
    assert_eq!(
        ask(issue.clone(), shop),
        plain(&["https://github.com/larkwood/shop/issues/7"])
    );
    let invalid = |at: &str, arguments: Json| {
        let found = ask(issue.clone(), arguments.clone());
        let Err(CallTargetError::Invalid(message)) = found else {
            panic!("{arguments}: {found:?}");
        };
        let named = format!("argument `{at}` ");
        assert!(message.starts_with(&named), "{arguments}: {message}");
    };
    for bad in [
        json!("../evil/loot"),
        json!("a/b"),
        json!("r?"),
        json!("%2e%2e"),
        json!(""),
        json!(true),
        json!(["r"]),
        json!(1.5),
    ] {
        invalid(
            "repo",
            json!({"owner": "larkwood", "repo": bad, "number": 7}),
        );
        invalid("owner", json!({"owner": bad, "repo": "shop", "number": 7}));
    }
    for bad in [
        json!("../../evil/loot"),
        json!("7?x"),
        json!(1.5),
        json!({}),
    ] {
        invalid(
            "number",
            json!({"owner": "larkwood", "repo": "shop", "number": bad}),
        );
    }
    assert_eq!(
        ask(repository.clone(), json!({"repo": "shop"})),
        Err(CallTargetError::Missing("arguments.owner".into()))
    );
    assert_eq!(
        ask(repository, json!({"owner": "larkwood"})),
        Err(CallTargetError::Missing("arguments.repo".into()))
    );
}
