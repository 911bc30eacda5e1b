//! The interop scenario "Todo" of OpenID AuthZEN, through plain HTTP.
//!
//! The cases are not part of this repository: the test needs them in the folder that `CALLGATE_SHARED` names, as
//! `data/authzen`.

use std::path::Path;

use serde_json::{Map, Value as Json, json};

use crate::http::authzen::{EVALUATION, EVALUATIONS};
use crate::support::bundle_dir::BundleDir;
use crate::support::parts::public_data;
use crate::support::plain_http::post;

const SCHEMA: &str = r#"
entity user { id?: String, roles?: Set<String> };
entity todo { ownerID?: String };
action can_read_user appliesTo { principal: [user], resource: [user] };
action can_read_todos, can_create_todo, can_update_todo, can_delete_todo
  appliesTo { principal: [user], resource: [todo] };
"#;

const POLICIES: &str = r#"
@id("everyone-reads")
permit (principal is user, action in [Action::"can_read_user", Action::"can_read_todos"], resource);

@id("create")
permit (principal is user, action == Action::"can_create_todo", resource)
when { principal has roles && principal.roles.containsAny(["admin", "editor"]) };

@id("update-any")
permit (principal is user, action == Action::"can_update_todo", resource)
when { principal has roles && principal.roles.contains("evil_genius") };

@id("update-own")
permit (principal is user, action == Action::"can_update_todo", resource is todo)
when {
  principal has roles && principal.roles.containsAny(["admin", "editor"])
  && principal has id && resource has ownerID && resource.ownerID == principal.id
};

@id("delete-any")
permit (principal is user, action == Action::"can_delete_todo", resource)
when { principal has roles && principal.roles.contains("admin") };

@id("delete-own")
permit (principal is user, action == Action::"can_delete_todo", resource is todo)
when {
  principal has roles && principal.roles.contains("editor")
  && principal has id && resource has ownerID && resource.ownerID == principal.id
};
"#;

fn read(folder: &Path, name: &str) -> Json {
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
#[ignore = "needs public data: data/authzen"]
async fn every_decision_of_the_scenario() {
    let folder = public_data("authzen");
    let users: Map<String, Json> = read(&folder, "todo-users.json")
        .as_object()
        .unwrap()
        .clone();
    let dir = BundleDir::new()
        .file("todo.cedarschema", SCHEMA)
        .policies(POLICIES);
    let add = |dir: BundleDir, (id, attrs): (&String, &Json)| {
        dir.entity(("user", id), attrs.clone(), &[])
    };
    let server = users.iter().fold(dir, add).start("").await;
    let cases = read(&folder, "todo-decisions.json");
    let single = cases["evaluation"].as_array().unwrap();
    for case in single {
        let reply = post(&server, EVALUATION, &case["request"]).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.json()["decision"], case["expected"], "{case}");
    }
    let several = cases["evaluations"].as_array().unwrap();
    for case in several {
        let reply = post(&server, EVALUATIONS, &case["request"]).await.json();
        let answers = reply["evaluations"].as_array().unwrap().iter();
        let decisions: Vec<Json> = answers
            .map(|it| json!({"decision": it["decision"]}))
            .collect();
        assert_eq!(Json::from(decisions), case["expected"], "{case}");
    }
    assert!(single.len() >= 40 && several.len() >= 3);
}
