//! The certification scenario of OpenID AuthZEN, through plain HTTP: Basic, Batch, Search and Discovery,
//! Core and Properties.

use serde_json::{Value as Json, json};

use crate::grpc::transport::digest;
use crate::support::bundle_dir::BundleDir;
use crate::support::in_process::Running;
use crate::support::plain_http::{post, post_as, send};

pub const EVALUATION: &str = "/access/v1/evaluation";
pub const EVALUATIONS: &str = "/access/v1/evaluations";
pub const SUBJECTS: &str = "/access/v1/search/subject";
pub const RESOURCES: &str = "/access/v1/search/resource";
pub const ACTIONS: &str = "/access/v1/search/action";
const DISCOVERY: &str = "/.well-known/authzen-configuration";

const SCHEMA: &str = r#"
entity team;
entity user in [team] { role?: String };
entity record { status?: String };
action read, write appliesTo { principal: [user], resource: [record], context: { time?: String } };
action delete appliesTo { principal: [user], resource: [record], context: { soft?: Bool } };
"#;

const POLICIES: &str = r#"
@id("read") @obligation("log:full") @owner("security")
permit (principal in team::"staff", action == Action::"read", resource is record);

@id("write-own")
permit (principal == user::"alice", action == Action::"write", resource is record)
unless { resource has status && resource.status == "archived" };

@id("write-archived")
permit (principal is user, action == Action::"write", resource is record)
when { principal has role && principal.role == "admin" && resource has status && resource.status == "archived" };

@id("delete-softly")
permit (principal == user::"alice", action == Action::"delete", resource is record)
when { context has soft && context.soft };
"#;

/// The records, the people and the types of the certification fixture, added to a directory.
pub fn with_records(dir: BundleDir) -> BundleDir {
    let staff = [("team", "staff")];
    dir.file("records.cedarschema", SCHEMA)
        .entity(("team", "staff"), json!({}), &[])
        .entity(("user", "alice"), json!({}), &staff)
        .entity(("user", "bob"), json!({"role": "admin"}), &staff)
        .entity(("record", "record-1"), json!({"status": "active"}), &[])
        .entity(("record", "record-2"), json!({"status": "archived"}), &[])
}

/// The directory of the certification fixture. Without `stored_properties` the policies see those of the
/// request alone.
fn fixture(stored_properties: bool) -> BundleDir {
    let dir = with_records(BundleDir::new().policies(POLICIES));
    if stored_properties {
        return dir;
    }
    dir.entity(("user", "bob"), json!({}), &[("team", "staff")])
        .entity(("record", "record-1"), json!({}), &[])
        .entity(("record", "record-2"), json!({}), &[])
}

/// A server with the certification fixture.
pub async fn certified(config: &str) -> Running {
    fixture(true).start(config).await
}

pub fn tuple(subject: &str, action: &str, resource: &str) -> Json {
    json!({
        "subject": {"type": "user", "id": subject},
        "action": {"name": action},
        "resource": {"type": "record", "id": resource},
    })
}

async fn decide(server: &Running, request: &Json) -> bool {
    let reply = post(server, EVALUATION, request).await;
    assert_eq!(reply.status, 200, "{request}: {reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    reply.json()["decision"].as_bool().expect("a boolean")
}

async fn decide_batch(server: &Running, request: &Json) -> Vec<bool> {
    let reply = post(server, EVALUATIONS, request).await;
    assert_eq!(reply.status, 200, "{request}: {reply:?}");
    let json = reply.json();
    assert!(json.get("decision").is_none());
    let answers = json["evaluations"].as_array().expect("an array");
    answers
        .iter()
        .map(|it| it["decision"].as_bool().expect("a boolean"))
        .collect()
}

/// Searches, and gives the ids or names that were found, in order.
pub async fn found(server: &Running, path: &str, request: &Json) -> Vec<String> {
    let reply = post(server, path, request).await;
    assert_eq!(reply.status, 200, "{request}: {reply:?}");
    let json = reply.json();
    assert!(json["page"]["next_token"].is_string(), "{json}");
    let results = json["results"].as_array().expect("an array");
    let key = if path == ACTIONS { "name" } else { "id" };
    let mut found: Vec<String> = results
        .iter()
        .map(|it| it[key].as_str().expect("a text").to_owned())
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn basic_core() {
    let server = certified("").await;
    for (subject, action, resource, wanted) in [
        ("alice", "read", "record-1", true),
        ("alice", "write", "record-1", true),
        ("bob", "read", "record-1", true),
        ("bob", "write", "record-1", false),
    ] {
        let mut request = tuple(subject, action, resource);
        // The same many times over, and with any context.
        for _ in 0..3 {
            assert_eq!(decide(&server, &request).await, wanted, "{request}");
        }
        request["context"] = json!({"time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1"});
        assert_eq!(decide(&server, &request).await, wanted, "{request}");
        request["foo"] = json!("bar");
        request["futureField"] = json!({"nested": true});
        assert_eq!(decide(&server, &request).await, wanted, "{request}");
    }
    let more = json!({
        "subject": {"type": "user", "id": "alice", "properties": {"department": "Sales", "role": "manager"}},
        "action": {"name": "read", "properties": {"method": "GET"}},
        "resource": {"type": "record", "id": "record-1", "properties": {"status": "active", "owner": "bob"}},
    });
    assert!(decide(&server, &more).await);
}

#[tokio::test]
async fn basic_properties_from_the_request_as_from_the_store() {
    for stored_properties in [true, false] {
        let server = fixture(stored_properties).start("").await;
        let archived =
            json!({"type": "record", "id": "record-2", "properties": {"status": "archived"}});
        let mut request = tuple("alice", "write", "record-2");
        request["resource"] = archived.clone();
        assert!(!decide(&server, &request).await);
        request["subject"] = json!({"type": "user", "id": "bob", "properties": {"role": "admin"}});
        assert!(decide(&server, &request).await);
        for soft in [true, false] {
            let mut request = tuple("alice", "delete", "record-1");
            request["action"]["properties"] = json!({"soft": soft});
            assert_eq!(decide(&server, &request).await, soft);
        }
    }
}

#[tokio::test]
async fn batch_core() {
    let server = certified("").await;
    let records = json!({
        "subject": {"type": "user", "id": "alice"}, "action": {"name": "read"},
        "context": {"time": "2025-06-27T18:03-07:00"},
        "evaluations": [
            {"resource": {"type": "record", "id": "record-1"}},
            {"resource": {"type": "record", "id": "record-2"},
             "context": {"time": "2025-06-27T19:00-07:00", "source": "batch-override"}},
        ],
    });
    assert_eq!(decide_batch(&server, &records).await, [true, true]);
    let ordered = json!({
        "subject": {"type": "user", "id": "bob"}, "resource": {"type": "record", "id": "record-1"},
        "evaluations": [{"action": {"name": "read"}}, {"action": {"name": "write"}}],
    });
    assert_eq!(decide_batch(&server, &ordered).await, [true, false]);
    let whole = json!({
        "evaluations": [tuple("alice", "read", "record-1"), tuple("bob", "write", "record-1")],
    });
    assert_eq!(decide_batch(&server, &whole).await, [true, false]);

    // One that cannot be read is denied and says why; the others are answered.
    let mut broken = records.clone();
    broken["evaluations"] = json!([{"resource": {"type": "record", "id": "record-1"}}, {}, 7]);
    assert_eq!(decide_batch(&server, &broken).await, [true, false, false]);
    let reply = post(&server, EVALUATIONS, &broken).await.json();
    let error = &reply["evaluations"][1]["context"]["error"];
    assert_eq!(
        error,
        &json!({"status": 400, "message": "`resource` is required"})
    );

    // Without evaluations it is a single one.
    let mut single = tuple("alice", "read", "record-1");
    for evaluations in [None, Some(json!([])), Some(Json::Null)] {
        if let Some(evaluations) = evaluations {
            single["evaluations"] = evaluations;
        }
        let reply = post(&server, EVALUATIONS, &single).await;
        assert_eq!(
            (reply.status, &reply.json()["decision"]),
            (200, &json!(true))
        );
    }
}

#[tokio::test]
async fn batch_properties() {
    for stored_properties in [true, false] {
        let server = fixture(stored_properties).start("").await;
        let active =
            json!({"type": "record", "id": "record-1", "properties": {"status": "active"}});
        let archived =
            json!({"type": "record", "id": "record-2", "properties": {"status": "archived"}});
        let by_resource = json!({
            "subject": {"type": "user", "id": "alice"}, "action": {"name": "write"},
            "evaluations": [{"resource": active}, {"resource": archived}],
        });
        assert_eq!(decide_batch(&server, &by_resource).await, [true, false]);
        let by_subject = json!({
            "action": {"name": "write"}, "resource": archived,
            "evaluations": [
                {"subject": {"type": "user", "id": "alice"}},
                {"subject": {"type": "user", "id": "bob", "properties": {"role": "admin"}}},
            ],
        });
        assert_eq!(decide_batch(&server, &by_subject).await, [false, true]);
        let merged = json!({
            "subject": {"type": "user", "id": "alice"}, "action": {"name": "write"},
            "resource": {"type": "record"},
            "evaluations": [
                {"resource": {"id": "record-1", "properties": {"status": "active"}}},
                {"resource": archived},
            ],
        });
        assert_eq!(decide_batch(&server, &merged).await, [true, false]);
    }
}

#[tokio::test]
async fn a_batch_stops_where_it_is_told_to() {
    let server = certified("").await;
    let with = |semantic: Json| {
        let actions = ["read", "write", "read", "write"];
        let evaluations: Vec<Json> = actions.map(|it| json!({"action": {"name": it}})).to_vec();
        json!({
            "subject": {"type": "user", "id": "bob"}, "resource": {"type": "record", "id": "record-1"},
            "options": {"evaluations_semantic": semantic}, "evaluations": evaluations,
        })
    };
    for (semantic, wanted) in [
        (json!("execute_all"), &[true, false, true, false][..]),
        (Json::Null, &[true, false, true, false]),
        (json!("deny_on_first_deny"), &[true, false]),
        (json!("permit_on_first_permit"), &[true]),
    ] {
        assert_eq!(decide_batch(&server, &with(semantic)).await, wanted);
    }
    // What cannot be read is a deny here too.
    let mut broken = with(json!("deny_on_first_deny"));
    broken["evaluations"] = json!([{}, {"action": {"name": "read"}}]);
    assert_eq!(decide_batch(&server, &broken).await, [false]);
}

#[tokio::test]
async fn search_core() {
    let server = certified("").await;
    let mut subjects = tuple("", "read", "record-1");
    subjects["subject"] = json!({"type": "user"});
    assert_eq!(found(&server, SUBJECTS, &subjects).await, ["alice", "bob"]);
    let mut resources = tuple("alice", "read", "");
    resources["resource"] = json!({"type": "record"});
    assert_eq!(
        found(&server, RESOURCES, &resources).await,
        ["record-1", "record-2"]
    );
    let mut actions = tuple("alice", "", "record-1");
    actions.as_object_mut().expect("an object").remove("action");
    assert_eq!(found(&server, ACTIONS, &actions).await, ["read", "write"]);

    for request in [&mut subjects, &mut resources, &mut actions] {
        request["context"] = json!({"time": "2024-10-26T01:22-07:00"});
    }
    assert_eq!(found(&server, SUBJECTS, &subjects).await, ["alice", "bob"]);
    assert_eq!(found(&server, ACTIONS, &actions).await, ["read", "write"]);
    // An id of what is sought is ignored.
    subjects["subject"]["id"] = json!("alice");
    assert_eq!(found(&server, SUBJECTS, &subjects).await, ["alice", "bob"]);

    actions["subject"]["id"] = json!("nonexistent-user");
    assert!(found(&server, ACTIONS, &actions).await.is_empty());
    for ty in ["spaceship", "space ship", "record"] {
        subjects["subject"] = json!({"type": ty});
        assert!(found(&server, SUBJECTS, &subjects).await.is_empty(), "{ty}");
    }
}

#[tokio::test]
async fn search_properties() {
    let server = certified("").await;
    let bob = json!({"type": "user", "id": "bob", "properties": {"role": "admin"}});
    let archived =
        json!({"type": "record", "id": "record-2", "properties": {"status": "archived"}});
    let write = json!({"name": "write"});
    let subjects = json!({"subject": {"type": "user"}, "action": write, "resource": archived});
    assert_eq!(found(&server, SUBJECTS, &subjects).await, ["bob"]);
    let resources = json!({"subject": bob, "action": write, "resource": {"type": "record"}});
    assert_eq!(found(&server, RESOURCES, &resources).await, ["record-2"]);
    let actions = json!({"subject": bob, "resource": archived});
    assert_eq!(found(&server, ACTIONS, &actions).await, ["read", "write"]);
}

#[tokio::test]
async fn pages_follow_each_other_and_bring_everything_once() {
    let server = certified("").await;
    let subjects = json!({"subject": {"type": "user"}, "action": {"name": "read"},
        "resource": {"type": "record", "id": "record-1"}});
    let actions = json!({"subject": {"type": "user", "id": "alice"},
        "resource": {"type": "record", "id": "record-1"}});
    for (path, request, wanted) in [(SUBJECTS, subjects, 2), (ACTIONS, actions, 2)] {
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let mut request = request.clone();
            request["page"] = json!({"limit": 1, "token": token});
            let reply = post(&server, path, &request).await;
            assert_eq!(reply.status, 200, "{reply:?}");
            let json = reply.json();
            let results = json["results"].as_array().expect("an array");
            assert!(results.len() <= 1);
            assert_eq!(json["page"]["count"], results.len());
            seen.extend(results.iter().map(Json::to_string));
            token = json["page"]["next_token"]
                .as_str()
                .expect("a token")
                .to_owned();
            if token.is_empty() {
                break;
            }
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), wanted, "{path}: {seen:?}");
    }
}

#[tokio::test]
async fn a_search_looks_at_a_bounded_number_of_entities_and_goes_on_from_there() {
    let mut dir = fixture(true);
    for n in 0..200 {
        let parents: &[_] = if n % 10 == 0 {
            &[("team", "staff")]
        } else {
            &[]
        };
        dir = dir.entity(("user", &format!("u{n}")), json!({}), parents);
    }
    let server = dir.start("[limits]\nsearch_candidates = 7\n").await;
    let mut request = json!({"subject": {"type": "user"}, "action": {"name": "read"},
        "resource": {"type": "record", "id": "record-1"}});
    let (mut seen, mut pages, mut empty) = (Vec::new(), 0, 0);
    loop {
        let json = post(&server, SUBJECTS, &request).await.json();
        let results = json["results"].as_array().expect("an array");
        pages += 1;
        empty += usize::from(results.is_empty());
        seen.extend(results.iter().map(|it| it["id"].to_string()));
        let token = json["page"]["next_token"].as_str().expect("a token");
        if token.is_empty() {
            break;
        }
        request["page"] = json!({"token": token});
    }
    assert_eq!(seen.len(), 22, "{seen:?}");
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 22, "nobody twice");
    assert!(
        pages >= 202 / 7 && empty > 0,
        "{pages} pages, {empty} empty"
    );
}

#[tokio::test]
async fn a_token_ends_with_the_load_it_came_from() {
    let server = certified("").await;
    let mut request = json!({"subject": {"type": "user"}, "action": {"name": "read"},
        "resource": {"type": "record", "id": "record-1"}, "page": {"limit": 1}});
    let json = post(&server, SUBJECTS, &request).await.json();
    request["page"]["token"] = json["page"]["next_token"].clone();
    assert_eq!(post(&server, SUBJECTS, &request).await.status, 200);
    server
        .service
        .publish(fixture(true).load())
        .expect("published");
    let reply = post(&server, SUBJECTS, &request).await;
    assert_eq!(reply.status, 400, "{reply:?}");
    assert!(reply.message().contains("begin again"), "{reply:?}");
}

#[tokio::test]
async fn discovery_names_every_endpoint_under_the_servers_own_address() {
    for (config, base) in [
        ("", "http://localhost:8180"),
        (
            "[authzen]\nurl = \"https://pdp.example.com/t1\"\n",
            "https://pdp.example.com/t1",
        ),
    ] {
        let server = certified(config).await;
        let reply = send(server.http_address, "GET", DISCOVERY, &[], "").await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, Some("application/json"))
        );
        let at = |path: &str| json!(format!("{base}{path}"));
        let document = reply.json();
        assert_eq!(document["policy_decision_point"], at(""));
        assert_eq!(
            document["supported_obligations"],
            json!(["step-up", "notification", "session_termination", "custom"])
        );
        for (field, path) in [
            ("access_evaluation_endpoint", EVALUATION),
            ("access_evaluations_endpoint", EVALUATIONS),
            ("search_subject_endpoint", SUBJECTS),
            ("search_resource_endpoint", RESOURCES),
            ("search_action_endpoint", ACTIONS),
        ] {
            assert_eq!(document[field], at(path));
        }
    }
}

/// A caller with a token `trusted`, `plain` or `idle`.
fn callers() -> String {
    let caller = |id: &str, rights: &str| {
        let token = digest(id);
        format!(
            "[[callers]]\nid = \"{id}\"\ntoken_sha256 = [\"{token}\"]\nrights = {{ {rights} }}\n"
        )
    };
    let both = "rpcs = [\"authzen.Evaluation\", \"authzen.Search\"]";
    [
        caller(
            "trusted",
            &format!("{both}, assert_properties = true, explain = true"),
        ),
        caller("plain", both),
        caller(
            "idle",
            "rpcs = [\"*\", \"Control/*\"], assert_properties = true",
        ),
    ]
    .concat()
}

#[tokio::test]
async fn properties_count_for_callers_that_may_send_them_and_never_against_what_is_stored() {
    let mut promoted = tuple("alice", "write", "record-2");
    promoted["subject"]["properties"] = json!({"role": "admin"});
    let server = certified(&callers()).await;
    for (token, wanted) in [("trusted", true), ("plain", false)] {
        let reply = post_as(&server, token, EVALUATION, &promoted).await;
        assert_eq!(reply.json()["decision"], wanted, "{token}");
    }
    // Stored: record-1 is active, whatever anybody says.
    let mut relabelled = tuple("bob", "write", "record-1");
    relabelled["resource"]["properties"] = json!({"status": "archived"});
    let reply = post_as(&server, "trusted", EVALUATION, &relabelled).await;
    assert_eq!(reply.json()["decision"], false);
    // Of the wrong type: denied, and said so.
    promoted["subject"]["properties"] = json!({"role": 7});
    let reply = post_as(&server, "trusted", EVALUATION, &promoted).await;
    let json = reply.json();
    assert_eq!((reply.status, &json["decision"]), (200, &json!(false)));
    assert_eq!(json["context"]["reasons"][0]["code"], "CONTEXT_INVALID");
}

#[tokio::test]
async fn each_right_is_asked_for_and_the_star_does_not_include_it() {
    let server = certified(&callers()).await;
    let question = tuple("alice", "read", "record-1");
    for path in [EVALUATION, EVALUATIONS, SUBJECTS] {
        assert_eq!(post_as(&server, "plain", path, &question).await.status, 200);
        let refused = post_as(&server, "idle", path, &question).await;
        assert_eq!(refused.status, 403);
        assert!(
            refused.message().contains("has no right to use `authzen."),
            "{refused:?}"
        );
        let refused = post_as(&server, "nobody", path, &question).await;
        assert_eq!(
            (refused.status, refused.header("www-authenticate")),
            (401, Some("Bearer"))
        );
    }
    assert_eq!(post(&server, EVALUATION, &question).await.status, 401);
    // The discovery document is for everyone.
    assert_eq!(
        send(server.http_address, "GET", DISCOVERY, &[], "")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn the_context_of_a_decision_holds_what_the_caller_may_see() {
    let server = certified(&callers()).await;
    let read = tuple("alice", "read", "record-1");
    let allowed = post_as(&server, "plain", EVALUATION, &read).await.json();
    let context = &allowed["context"];
    assert!(uuid::Uuid::parse_str(context["id"].as_str().expect("an id")).is_ok());
    let obligation =
        json!({"id": "log:full", "type": "custom", "properties": {"name": "log:full"}});
    assert_eq!(context["obligations"], json!([obligation]));
    assert!(context.get("policies").is_none() && context.get("reasons").is_none());
    let explained = post_as(&server, "trusted", EVALUATION, &read).await.json();
    assert_eq!(explained["context"]["policies"][0]["id"], "read");
    assert_eq!(explained["context"]["policies"][0]["owner"], "security");

    let write = tuple("bob", "write", "record-1");
    let denied = post_as(&server, "plain", EVALUATION, &write).await.json();
    let reason = &denied["context"]["reasons"][0];
    assert_eq!(reason["code"], "NO_PERMIT");
    assert!(reason["message"].is_string() && reason.get("policies").is_none());

    let silent = certified("[authzen]\ncontext = false\n").await;
    let denied = post(&silent, EVALUATION, &write).await.json();
    assert_eq!(denied, json!({"decision": false}));
    // An allow does not hold without them.
    let allowed = post(&silent, EVALUATION, &read).await.json();
    let obligations = json!({"obligations": [obligation]});
    assert_eq!(allowed, json!({"decision": true, "context": obligations}));
}
