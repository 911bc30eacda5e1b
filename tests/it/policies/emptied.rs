//! What is absent, empty, blank or null in a question: nothing is decided about something that nobody named, and null
//! is as good as absent.

use callgate::proto::v1;
use callgate::proto::v1::is_authorized_request::ContextForm;
use serde_json::{Value as Json, json};

use crate::http::authzen::{
    ACTIONS, EVALUATION, EVALUATIONS, RESOURCES, SUBJECTS, certified, tuple,
};
use crate::support::bundle_dir::BundleDir;
use crate::support::in_process::{self, entity};
use crate::support::plain_http::post;

/// Whoever may read everything asks for several things.
fn several(items: Json) -> Json {
    let mut request = tuple("alice", "read", "record-1");
    request["evaluations"] = items;
    request
}

#[tokio::test]
async fn an_item_that_lost_what_it_is_about_is_denied_and_not_decided_about_the_default() {
    let server = certified("").await;
    for (item, wanted) in [
        (
            json!({"resource": {"type": "record"}}),
            "`resource.id` is required",
        ),
        (json!({"resource": {}}), "`resource.id` is required"),
        (
            json!({"resource": {"id": null}}),
            "`resource.id` is required",
        ),
        (json!({"resource": {"id": ""}}), "`resource.id` is required"),
        (
            json!({"resource": {"type": "", "id": "record-1"}}),
            "`resource.type` is required",
        ),
        (
            json!({"resource": {"properties": {"status": "active"}}}),
            "`resource.id` is required",
        ),
        (
            json!({"subject": {"type": "user"}}),
            "`subject.id` is required",
        ),
        (json!({"subject": {}}), "`subject.id` is required"),
        (
            json!({"subject": {"id": " \t"}}),
            "`subject.id` holds a control character",
        ),
        (
            json!({"subject": {"id": "  "}}),
            "`subject.id` holds nothing but blanks",
        ),
        (
            json!({"subject": {"properties": {"role": "admin"}}}),
            "`subject.id` is required",
        ),
        (json!({"action": {}}), "`action.name` is required"),
        (json!({"action": {"name": ""}}), "`action.name` is required"),
        (
            json!({"action": {"properties": {"soft": true}}}),
            "`action.name` is required",
        ),
    ] {
        let good = json!({"resource": {"type": "record", "id": "record-2"}});
        let reply = post(&server, EVALUATIONS, &several(json!([item, good]))).await;
        assert_eq!(reply.status, 200, "{item}: {reply:?}");
        let answers = &reply.json()["evaluations"];
        assert_eq!(answers[0]["decision"], json!(false), "{item}");
        let error = &answers[0]["context"]["error"];
        assert_eq!(*error, json!({"status": 400, "message": wanted}), "{item}");
        assert_eq!(answers[1]["decision"], json!(true), "{item}");
    }
}

#[tokio::test]
async fn an_item_inherits_a_whole_field_or_its_type() {
    let server = certified("").await;
    for item in [
        json!({}),
        json!({"resource": null}),
        json!({"resource": {"id": "record-2"}}),
        json!({"resource": {"type": null, "id": "record-2"}}),
        json!({"subject": {"id": "bob"}}),
        json!({"context": {}}),
        json!({"context": {"time": "now"}}),
    ] {
        let reply = post(&server, EVALUATIONS, &several(json!([item])))
            .await
            .json();
        assert_eq!(reply["evaluations"][0]["decision"], json!(true), "{item}");
    }
    // A member of the context that is called like that is none of a type.
    let mut request = several(json!([{"context": {"soft": true}}]));
    request["action"]["name"] = json!("delete");
    request["context"] = json!({"type": "hard", "soft": false});
    let reply = post(&server, EVALUATIONS, &request).await.json();
    assert_eq!(reply["evaluations"][0]["decision"], json!(true));
}

#[tokio::test]
async fn an_empty_name_is_none_in_every_request() {
    let server = certified("").await;
    for (field, member, wanted) in [
        ("subject", "id", "`subject.id`"),
        ("subject", "type", "`subject.type`"),
        ("action", "name", "`action.name`"),
        ("resource", "id", "`resource.id`"),
        ("resource", "type", "`resource.type`"),
    ] {
        for (value, said) in [
            (json!(""), "is required"),
            (json!(null), "is required"),
            (json!("   "), "holds nothing but blanks"),
            (json!("a\u{200b}"), "holds a character that nobody sees"),
            (json!("\u{202e}a"), "holds a character that nobody sees"),
            (json!("a\u{0}"), "holds a control character"),
            (json!(["a"]), "must be a string"),
        ] {
            let mut request = tuple("alice", "read", "record-1");
            request[field][member] = value.clone();
            // What is sought has no id, and of actions nothing is told.
            let searches = match (field, member) {
                ("subject", "id") => [RESOURCES, ACTIONS].as_slice(),
                ("resource", "id") => &[SUBJECTS, ACTIONS],
                ("action", _) => &[SUBJECTS, RESOURCES],
                _ => &[SUBJECTS, RESOURCES, ACTIONS],
            };
            for path in [EVALUATION, EVALUATIONS].iter().chain(searches) {
                let reply = post(&server, path, &request).await;
                assert_eq!(reply.status, 400, "{path} {request}: {reply:?}");
                assert_eq!(
                    reply.message(),
                    format!("{wanted} {said}"),
                    "{path} {request}"
                );
            }
        }
    }
}

const SCHEMA: &str = r#"
entity user { role?: String, home?: { town?: String } };
entity record { status?: String };
action read appliesTo {
  principal: [user], resource: [record],
  context: { time?: String, place?: { room?: String }, seen?: Set<String> },
};
"#;

/// Allows as long as nothing is given.
const POLICY: &str = r#"
permit (principal, action, resource)
unless { principal has role || (principal has home && principal.home has town) || resource has status ||
         context has time || (context has place && context.place has room) || context has seen };
"#;

fn directory() -> BundleDir {
    BundleDir::new()
        .file("a.cedarschema", SCHEMA)
        .policies(POLICY)
}

#[tokio::test]
async fn null_is_absent_wherever_authzen_has_values() {
    let dir = directory().entity(("user", "alice"), json!({}), &[]);
    let dir = dir.entity(("record", "record-1"), json!({}), &[]);
    let server = dir.start("").await;
    for (field, given, wanted) in [
        ("/subject/properties", json!({"role": null}), Ok(true)),
        (
            "/subject/properties",
            json!({"home": {"town": null}}),
            Ok(true),
        ),
        (
            "/subject/properties",
            json!({"home": null, "other": null}),
            Ok(true),
        ),
        ("/subject/properties", json!({"role": "admin"}), Ok(false)),
        ("/resource/properties", json!({"status": null}), Ok(true)),
        ("/resource/properties", json!(null), Ok(true)),
        ("/action/properties", json!({"time": null}), Ok(true)),
        (
            "/action/properties",
            json!({"place": {"room": null}}),
            Ok(true),
        ),
        (
            "/context",
            json!({"time": null, "place": null, "seen": null}),
            Ok(true),
        ),
        ("/context", json!({"place": {"room": null}}), Ok(true)),
        ("/context", json!({"place": {"room": "1"}}), Ok(false)),
        ("/context", json!(null), Ok(true)),
        (
            "/context",
            json!({"seen": [null]}),
            Err("`context` is not a Cedar context: "),
        ),
        (
            "/context",
            json!({"seen": ["a", null]}),
            Err("`context` is not a Cedar context: "),
        ),
    ] {
        let mut request = tuple("alice", "read", "record-1");
        let (holder, member) = field.rsplit_once('/').expect("a path");
        request.pointer_mut(holder).expect("there")[member] = given.clone();
        let reply = post(&server, EVALUATION, &request).await;
        match wanted {
            Ok(wanted) => assert_eq!(reply.json()["decision"], json!(wanted), "{request}"),
            Err(wanted) => {
                assert_eq!(reply.status, 400, "{request}");
                assert!(reply.message().starts_with(wanted), "{request}: {reply:?}");
            }
        }
    }
    // What is said once and left out the other time is no contradiction.
    let mut request = tuple("alice", "read", "record-1");
    request["context"] = json!({"time": "now"});
    request["action"]["properties"] = json!({"time": null});
    let reply = post(&server, EVALUATION, &request).await;
    assert_eq!(
        (reply.status, &reply.json()["decision"]),
        (200, &json!(false))
    );
    // Searches and batches read the same.
    let mut request = tuple("alice", "read", "record-1");
    request["subject"]["properties"] = json!({"role": null});
    request["context"] = json!({"time": null});
    let reply = post(&server, RESOURCES, &request).await.json();
    assert_eq!(reply["results"][0]["id"], json!("record-1"));
    request["evaluations"] = json!([{}]);
    let reply = post(&server, EVALUATIONS, &request).await.json();
    assert_eq!(reply["evaluations"][0]["decision"], json!(true));
}

#[tokio::test]
async fn null_is_absent_in_the_context_of_cedars_own_question() {
    let server = directory().start("").await;
    let mut client = server.client().await;
    let null = prost_types::Value {
        kind: Some(prost_types::value::Kind::NullValue(0)),
    };
    let structure = prost_types::Struct {
        fields: [("time".to_owned(), null)].into(),
    };
    let json = |text: &str| ContextForm::ContextJson(text.to_owned().into());
    for (form, is_allow) in [
        (json(r#"{"time": null}"#), true),
        (json(r#"{"place": {"room": null}}"#), true),
        (json(r#"{"place": null, "seen": null}"#), true),
        (json(r#"{"seen": []}"#), false),
        (json(r#"{"time": ""}"#), false),
        (ContextForm::Context(structure), true),
    ] {
        let request = v1::IsAuthorizedRequest {
            principal: entity("user", "alice"),
            action: entity("Action", "read"),
            resource: entity("record", "record-1"),
            context_form: Some(form.clone()),
            ..v1::IsAuthorizedRequest::default()
        };
        let answer = client.is_authorized(request).await.expect("an answer");
        let wanted = if is_allow {
            v1::Decision::Allow
        } else {
            v1::Decision::Deny
        };
        assert_eq!(answer.into_inner().decision(), wanted, "{form:?}");
    }
}

#[tokio::test]
async fn toolhive_names_nobody_by_an_empty_text() {
    let server = in_process::start("").await;
    for (sub, wanted) in [
        (json!(""), "`principal.sub` is required"),
        (json!(null), "`principal.sub` is required"),
        (json!(" "), "`principal.sub` holds nothing but blanks"),
        (
            json!("ana\u{200d}"),
            "`principal.sub` holds a character that nobody sees",
        ),
        (json!("ana\n"), "`principal.sub` holds a control character"),
        (json!(7), "`principal.sub` must be a string"),
    ] {
        let question = json!({
            "principal": {"sub": sub}, "operation": "mcp:tool:list", "resource": "mrn:mcp:git:tool:x",
        });
        let reply = post(&server, "/toolhive/decision", &question).await;
        assert_eq!(
            (reply.status, reply.message().as_str()),
            (400, wanted),
            "{sub}"
        );
    }
    for (resource, wanted) in [
        ("mrn:mcp::tool:log", "`resource` is required"),
        ("mrn:mcp: :tool:log", "`resource` holds nothing but blanks"),
        ("mrn:mcp:git:tool:", "`resource` is required"),
        ("mrn:mcp:git:tool: ", "`resource` holds nothing but blanks"),
        (
            "mrn:mcp:git:tool:log\u{2060}",
            "`resource` holds a character that nobody sees",
        ),
    ] {
        let question = json!({
            "principal": {"sub": "ana"}, "operation": "mcp:tool:call", "resource": resource,
        });
        let reply = post(&server, "/toolhive/decision", &question).await;
        assert_eq!(
            (reply.status, reply.message().as_str()),
            (400, wanted),
            "{resource:?}"
        );
    }
}
