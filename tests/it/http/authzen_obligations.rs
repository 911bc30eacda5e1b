//! Typed obligations, from `@obligation` to every door that carries them.

use callgate::proto::v1;
use prost_types::value::Kind;
use serde_json::{Value as Json, json};

use crate::http::authzen::{ACTIONS, EVALUATION, EVALUATIONS, RESOURCES, SUBJECTS, tuple};
use crate::support::bundle_dir::BundleDir;
use crate::support::command::Workplace;
use crate::support::in_process::Running;
use crate::support::plain_http::{post, send};

const SCHEMA: &str = r#"
entity user;
entity record;
action read, write, erase, look appliesTo {
  principal: [user], resource: [record], context: { supported_obligations?: Set<String> } };
"#;

/// One policy for each type, a forbid that obliges, and one that asks what can be met.
const POLICIES: &str = r#"
@id("step-up") @obligation("{\"id\": \"obl-1\", \"type\": \"step-up\", \"properties\": {\"acr_value\": \"urn:com:example:loa:3\", \"amr_values\": [\"mfa\", \"hwk\"]}}")
permit (principal, action == Action::"read", resource);

@id("told") @obligation("[{\"id\": \"obl-2\", \"type\": \"notification\", \"properties\": {\"to\": \"manager@example.com\", \"topic\": \"Écriture\", \"body\": \"A record was written.\"}}, {\"id\": \"mark\", \"type\": \"custom\", \"properties\": {\"name\": \"mark\"}}]")
permit (principal, action == Action::"write", resource);

@id("ends") @reason("records stay") @obligation("{\"id\": \"obl-3\", \"type\": \"session_termination\", \"properties\": {\"subject\": \"?principal\"}}")
forbid (principal, action == Action::"erase", resource);

@id("able") @obligation("log:full")
permit (principal, action == Action::"look", resource)
when { context has supported_obligations && context.supported_obligations.contains("custom") };

@id("unable")
forbid (principal, action == Action::"look", resource)
when { context has supported_obligations && context.supported_obligations.contains("telepathy") };
"#;

async fn server(config: &str) -> Running {
    let dir = BundleDir::new()
        .file("a.cedarschema", SCHEMA)
        .policies(POLICIES);
    let dir = dir.entity(("user", "alice"), json!({}), &[]);
    let dir = dir.entity(("record", "record-1"), json!({}), &[]);
    dir.start(config).await
}

/// What each action obliges alice to.
fn wanted() -> [(&'static str, bool, Json); 3] {
    let step_up = json!({"id": "obl-1", "type": "step-up",
        "properties": {"acr_value": "urn:com:example:loa:3", "amr_values": ["mfa", "hwk"]}});
    let notification = json!({"id": "obl-2", "type": "notification",
        "properties": {"to": "manager@example.com", "topic": "Écriture", "body": "A record was written."}});
    let mark = json!({"id": "mark", "type": "custom", "properties": {"name": "mark"}});
    let ends =
        json!({"id": "obl-3", "type": "session_termination", "properties": {"subject": "alice"}});
    [
        ("read", true, json!([step_up])),
        ("write", true, json!([notification, mark])),
        ("erase", false, json!([ends])),
    ]
}

#[tokio::test]
async fn an_evaluation_and_each_of_a_batch_have_them_as_the_profile_does() {
    for config in ["", "[authzen]\ncontext = false\n"] {
        let server = server(config).await;
        for (action, allowed, obligations) in wanted() {
            let request = tuple("alice", action, "record-1");
            let answer = post(&server, EVALUATION, &request).await.json();
            assert_eq!(answer["decision"], allowed, "{action}");
            assert_eq!(answer["context"]["obligations"], obligations, "{action}");
        }
        let mut batch = tuple("alice", "read", "record-1");
        let each = wanted().map(|(action, ..)| json!({"action": {"name": action}}));
        batch["evaluations"] = json!(each);
        let answers = post(&server, EVALUATIONS, &batch).await.json();
        for (index, (action, allowed, obligations)) in wanted().into_iter().enumerate() {
            let answer = &answers["evaluations"][index];
            assert_eq!(answer["decision"], allowed, "{action}");
            assert_eq!(answer["context"]["obligations"], obligations, "{action}");
        }
    }
}

#[tokio::test]
async fn each_result_of_a_search_has_its_own() {
    let server = server("").await;
    let request = tuple("alice", "write", "record-1");
    let [_, (_, _, obligations), _] = wanted();
    for path in [SUBJECTS, RESOURCES] {
        let found = post(&server, path, &request).await.json();
        let results = found["results"].as_array().expect("results");
        assert_eq!(results.len(), 1, "{path}");
        assert_eq!(results[0]["obligations"], obligations, "{path}");
    }
    let found = post(&server, ACTIONS, &request).await.json();
    let obligations_of = |name: &str| {
        let mut results = found["results"].as_array().expect("results").iter();
        let result = results.find(|it| it["name"] == name);
        result.map(|it| it["obligations"].clone())
    };
    for (action, allowed, obligations) in wanted() {
        assert_eq!(
            obligations_of(action),
            allowed.then_some(obligations),
            "{action}"
        );
    }
}

#[tokio::test]
async fn the_document_names_the_types_and_a_request_those_that_can_be_met() {
    let server = server("").await;
    let path = "/.well-known/authzen-configuration";
    let document = send(server.http_address, "GET", path, &[], "").await.json();
    let types = json!(["step-up", "notification", "session_termination", "custom"]);
    assert_eq!(document["supported_obligations"], types);
    for (supported, allowed) in [
        (json!(["custom"]), true),
        (json!(["custom", "step-up"]), true),
        (json!(["step-up"]), false),
        (json!([]), false),
        (Json::Null, false),
        // What the document does not name is as good as absent: no policy sees it.
        (json!(["custom", "telepathy"]), true),
        (json!(["watermark"]), false),
    ] {
        let mut request = tuple("alice", "look", "record-1");
        request["context"] = json!({"supported_obligations": supported});
        let answer = post(&server, EVALUATION, &request).await.json();
        assert_eq!(answer["decision"], allowed, "{supported}");
    }
}

#[tokio::test]
async fn the_native_protocol_has_the_same() {
    let server = server("").await;
    let uid = |r#type: &str, id: &str| {
        Some(v1::EntityRef {
            r#type: r#type.into(),
            id: id.into(),
        })
    };
    let mut client = server.client().await;
    for (action, _, obligations) in wanted() {
        let question = v1::IsAuthorizedRequest {
            principal: uid("user", "alice"),
            action: uid("Action", action),
            resource: uid("record", "record-1"),
            ..v1::IsAuthorizedRequest::default()
        };
        let answer = client
            .is_authorized(question)
            .await
            .expect("an answer")
            .into_inner();
        let wanted = obligations.as_array().expect("a list");
        assert_eq!(answer.obligations.len(), wanted.len(), "{action}");
        for (told, wanted) in answer.obligations.iter().zip(wanted) {
            assert_eq!(
                (json!(told.id), json!(told.r#type)),
                (wanted["id"].clone(), wanted["type"].clone())
            );
            let properties = &told.properties.as_ref().expect("properties").fields;
            let wanted = wanted["properties"].as_object().expect("properties");
            assert_eq!(properties.len(), wanted.len());
            for (name, wanted) in wanted {
                let value = properties[name].kind.as_ref().expect("a value");
                match value {
                    Kind::StringValue(text) => assert_eq!(json!(text), *wanted),
                    Kind::ListValue(list) => {
                        assert_eq!(list.values.len(), wanted.as_array().expect("a list").len());
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_read_is_a_fault_with_its_place() {
    let policy = |obligation: &str| {
        let text = serde_json::to_string(obligation).expect("a text");
        format!(
            "@id(\"a\")\n@obligation({text})\npermit (principal, action in Mcp::Action::\"call_read\", resource);\n"
        )
    };
    for (obligation, said) in [
        (
            r#"{"type": "step-up", "properties": {}}"#,
            "missing field `acr_value`",
        ),
        (
            r#"{"type": "stepup", "properties": {}}"#,
            "the type `stepup`",
        ),
        (
            r#"{"type": "notification", "properties": {"to": "a", "to": "b", "body": "c"}}"#,
            "the key `to`",
        ),
        (r#"{"type": "step-up""#, "is not JSON"),
        ("step-up", "without its properties"),
        ("log:\u{200b}full", "a character that nobody sees"),
    ] {
        let text = policy(obligation);
        let ran = Workplace::new(&[("policies/a.cedar", &text)])
            .run(&["check", "policies", "--output", "json"]);
        assert_eq!(ran.code, 3, "{obligation}: {}", ran.transcript());
        let json = ran.json();
        let fault = &json["faults"][0];
        assert!(
            fault["message"]
                .as_str()
                .is_some_and(|it| it.contains(said)),
            "{obligation}: {fault}"
        );
        assert_eq!(
            (&fault["line"], &fault["file"]),
            (&json!(2), &json!("policies/a.cedar")),
            "{fault}"
        );
    }
    // One id for two different obligations: an answer may have both.
    let [one, other] = ["a", "b"].map(|acr| {
        let text =
            json!({"id": "up", "type": "step-up", "properties": {"acr_value": acr}}).to_string();
        policy(&text).replace("@id(\"a\")", &format!("@id(\"{acr}\")"))
    });
    let files = [
        ("policies/a.cedar", one.as_str()),
        ("policies/b.cedar", &other),
    ];
    let ran = Workplace::new(&files).run(&["check", "policies", "--output", "json"]);
    let message = ran.json()["faults"][0]["message"].to_string();
    assert!(
        message.contains("the id `up`") && message.contains("`policies/a.cedar` line 1"),
        "{message}"
    );
}

#[test]
fn a_person_reads_them_on_the_command_line() {
    let obligation = r#"{"id": "obl-2", "type": "notification", "properties": {"to": "m@example.com", "body": "read"}}"#;
    let text = serde_json::to_string(obligation).expect("a text");
    let policy = format!("@obligation({text})\npermit (principal, action, resource);\n");
    let dir = BundleDir::new().policies(&policy).user("owen", &[]);
    let dir = dir.server("git", "owen").tool("git_log", "read");
    let ran = Workplace::of(&dir).run(&[
        "authorize",
        "--user",
        "owen",
        "--server",
        "git",
        "--tool",
        "git_log",
        "--policies",
        "policies",
    ]);
    let shown = ran.transcript();
    assert!(
        shown.contains("provided  obl-2, notification: body read, to m@example.com"),
        "{shown}"
    );
}
