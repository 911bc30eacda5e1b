//! AuthZEN to the letter: what its text asks for beyond the certification scenario, and what deployments send.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use crate::grpc::transport::digest;
use crate::http::authzen::{
    ACTIONS, EVALUATION, EVALUATIONS, RESOURCES, SUBJECTS, certified, found, tuple,
};
use crate::support::bundle_dir::BundleDir;
use crate::support::in_process::Running;
use crate::support::plain_http::{Reply, exchange, post, send};
use crate::support::process::{Bundle, Server};

const DISCOVERY: &str = "/.well-known/authzen-configuration";

/// An obligation as it is on the wire.
fn obliged(name: &str) -> Json {
    json!([{"id": name, "type": "custom", "properties": {"name": name}}])
}

#[tokio::test]
async fn what_is_found_comes_with_what_it_obliges_to() {
    for config in ["", "[authzen]\ncontext = false\n"] {
        let server = certified(config).await;
        let read = tuple("alice", "read", "record-1");
        for path in [SUBJECTS, RESOURCES] {
            let reply = post(&server, path, &read).await.json();
            let results = reply["results"].as_array().expect("an array").clone();
            assert_eq!(results.len(), 2, "{path}");
            for result in results {
                assert_eq!(
                    result["obligations"],
                    obliged("log:full"),
                    "{path} {result}"
                );
            }
        }
        let write = tuple("alice", "write", "record-1");
        let reply = post(&server, RESOURCES, &write).await.json();
        assert_eq!(
            reply["results"],
            json!([{"type": "record", "id": "record-1"}])
        );
        let reply = post(&server, ACTIONS, &read).await.json();
        let wanted =
            json!([{"name": "read", "obligations": obliged("log:full")}, {"name": "write"}]);
        assert_eq!(reply["results"], wanted);
        let reply = send(server.http_address, "GET", DISCOVERY, &[], "").await;
        assert_eq!(
            reply.json()["supported_obligations"],
            json!(["step-up", "notification", "session_termination", "custom"])
        );
    }
}

#[tokio::test]
async fn without_context_every_allow_still_obliges_and_answers_repeat_word_for_word() {
    let server = certified("[authzen]\ncontext = false\n").await;
    let mut batch = tuple("alice", "read", "record-1");
    batch["evaluations"] =
        json!([{}, {"action": {"name": "write"}}, {"action": {"name": "delete"}}, {"action": {}}]);
    let first = post(&server, EVALUATIONS, &batch).await;
    let error = json!({"error": {"status": 400, "message": "`action.name` is required"}});
    let wanted = json!({"evaluations": [
        {"decision": true, "context": {"obligations": obliged("log:full")}},
        {"decision": true},
        {"decision": false},
        {"decision": false, "context": error},
    ]});
    assert_eq!(first.json(), wanted);
    for _ in 0..3 {
        assert_eq!(post(&server, EVALUATIONS, &batch).await.body, first.body);
    }
}

#[tokio::test]
async fn a_search_for_actions_takes_no_action_and_overlooks_no_fault() {
    let server = certified("").await;
    let plain = json!({"subject": {"type": "user", "id": "alice"}, "resource": {"type": "record", "id": "record-1"}});
    assert_eq!(found(&server, ACTIONS, &plain).await, ["read", "write"]);
    for action in [
        json!({"name": "read", "properties": {"soft": true}}),
        json!({"name": "", "properties": "x"}),
        json!("view"),
        json!(5),
        json!([]),
        json!(null),
    ] {
        let mut request = plain.clone();
        request["action"] = action;
        assert_eq!(
            found(&server, ACTIONS, &request).await,
            ["read", "write"],
            "{request}"
        );
    }
    // The context counts, for the actions that declare it.
    for (context, wanted) in [
        (
            json!({"soft": true}),
            Ok(["delete", "read", "write"].as_slice()),
        ),
        (json!({"soft": null}), Ok(&["read", "write"])),
        (json!({"unheard": [null]}), Ok(&["read", "write"])),
        (json!("x"), Err("`context` must be an object")),
        (json!([]), Err("`context` must be an object")),
        (
            json!({"soft": [null]}),
            Err("`context` is not a Cedar context: "),
        ),
        (
            json!({"time": [null]}),
            Err("`context` is not a Cedar context: "),
        ),
    ] {
        let mut request = plain.clone();
        request["context"] = context;
        match wanted {
            Ok(wanted) => assert_eq!(found(&server, ACTIONS, &request).await, wanted, "{request}"),
            Err(wanted) => {
                let reply = post(&server, ACTIONS, &request).await;
                assert_eq!(reply.status, 400, "{request}");
                assert!(reply.message().starts_with(wanted), "{request}: {reply:?}");
            }
        }
    }
}

#[tokio::test]
async fn only_what_is_declared_can_contradict_itself() {
    let server = certified("").await;
    let mut request = tuple("alice", "read", "record-1");
    request["context"] = json!({"method": "POST", "time": "now"});
    request["action"]["properties"] = json!({"method": "GET", "time": "now"});
    assert_eq!(
        post(&server, EVALUATION, &request).await.json()["decision"],
        true
    );
    request["action"]["properties"]["time"] = json!("then");
    let reply = post(&server, EVALUATION, &request).await;
    assert_eq!(reply.status, 400);
    let wanted = "`action.properties.time` says something else than `context`";
    assert_eq!(reply.message(), wanted);
}

#[tokio::test]
async fn pages_may_be_empty_and_a_walk_does_not_mind_the_order_of_members() {
    let server = certified("").await;
    let of = |page: &Json| {
        [
            json!({"subject": {"type": "user"}, "action": {"name": "read"},
                "resource": {"type": "record", "id": "record-1"}, "page": page}),
            json!({"page": page, "resource": {"id": "record-1", "type": "record"},
                "action": {"name": "read"}, "subject": {"type": "user"}}),
            json!({"action": {"name": "read"}, "context": {}, "unheard": 1, "page": page,
                "subject": {"type": "user"}, "resource": {"type": "record", "id": "record-1"}}),
            json!({"action": {"name": "read"}, "context": null, "options": null, "page": page,
                "subject": {"type": "user"}, "resource": {"type": "record", "id": "record-1"}}),
        ]
    };
    for request in of(&json!({"limit": 0})) {
        let reply = post(&server, SUBJECTS, &request).await;
        assert!(reply.body.starts_with("{\"page\":"), "{}", reply.body);
        let page = &reply.json()["page"];
        assert_eq!(
            (reply.json()["results"].clone(), &page["count"]),
            (json!([]), &json!(0))
        );
        // The page after none is the first.
        let token = page["next_token"].as_str().expect("a token").to_owned();
        assert!(!token.is_empty());
        for request in of(&json!({"limit": 1, "token": token})) {
            let reply = post(&server, SUBJECTS, &request).await.json();
            let first = reply["results"][0]["id"].clone();
            let token = reply["page"]["next_token"].clone();
            for request in of(&json!({"limit": 0, "token": token})) {
                let reply = post(&server, SUBJECTS, &request).await.json();
                assert_eq!(reply["page"]["next_token"], token, "{request}");
            }
            for request in of(&json!({"token": token})) {
                let reply = post(&server, SUBJECTS, &request).await.json();
                let results = reply["results"].as_array().expect("an array");
                assert_eq!(results.len(), 1, "{request}");
                assert_ne!(results[0]["id"], first, "{request}");
            }
        }
        let mut other = of(&json!({"token": token}))[0].clone();
        other["action"]["name"] = json!("write");
        assert_eq!(post(&server, SUBJECTS, &other).await.status, 400);
    }
    let mut unknown = of(&json!({"limit": 0}))[0].clone();
    unknown["subject"]["type"] = json!("no type");
    let reply = post(&server, SUBJECTS, &unknown).await.json();
    assert_eq!(reply["page"]["next_token"], json!(""));
}

/// Anybody may read any table, and anything may be asked about.
async fn tables(config: &str) -> Running {
    let schema = "namespace Polaris {\n  entity User;\n  entity Table;\n}\naction read appliesTo { principal: [Polaris::User], resource: [Polaris::Table] };\n";
    let dir = BundleDir::new()
        .file("a.cedarschema", schema)
        .policies("permit (principal, action, resource);\n")
        .entity(("Polaris::Table", "t1"), json!({}), &[])
        .entity(("Polaris::User", "ana"), json!({}), &[]);
    dir.start(config).await
}

#[tokio::test]
async fn a_type_that_cedar_has_no_name_for_is_denied_like_any_that_is_not_declared() {
    let server = tables("").await;
    let ask = |subject: &str, resource: &str| {
        json!({"subject": {"type": subject, "id": "ana"}, "action": {"name": "read"},
            "resource": {"type": resource, "id": "t1", "properties": {"a": 1}}})
    };
    let good = ask("Polaris::User", "Polaris::Table");
    assert_eq!(
        post(&server, EVALUATION, &good).await.json()["decision"],
        true
    );
    for name in [
        "polaris:TABLE_LIKE",
        "ref/prompt",
        "mcp-server",
        "http-route",
        "urn:example:x",
        "https://example.com/table",
        "api.route",
        "if",
        "Polaris::Table::",
        "a b",
        "Spaceship",
        "Table",
        "\"Table\"",
    ] {
        for request in [
            ask("Polaris::User", name),
            ask(name, "Polaris::Table"),
            ask(name, name),
        ] {
            let reply = post(&server, EVALUATION, &request).await;
            assert_eq!(reply.status, 200, "{request}: {reply:?}");
            let answer = reply.json();
            assert_eq!(answer["decision"], json!(false), "{request}");
            assert_eq!(
                answer["context"]["reason"],
                json!("CONTEXT_INVALID"),
                "{request}"
            );
            let mut batch = good.clone();
            batch["evaluations"] = json!([request, {}]);
            let reply = post(&server, EVALUATIONS, &batch).await.json();
            let decisions = [
                &reply["evaluations"][0]["decision"],
                &reply["evaluations"][1]["decision"],
            ];
            assert_eq!(decisions, [&json!(false), &json!(true)], "{request}");
            assert!(
                found(&server, RESOURCES, &request).await.is_empty(),
                "{request}"
            );
        }
    }
}

#[tokio::test]
async fn a_type_can_be_given_the_name_that_callers_have_for_it() {
    let config = "[authzen.types]\n\"polaris:TABLE_LIKE\" = \"Polaris::Table\"\n\"user\" = \"Polaris::User\"\n";
    let server = tables(config).await;
    let request = json!({"subject": {"type": "user", "id": "ana"}, "action": {"name": "read"},
        "resource": {"type": "polaris:TABLE_LIKE", "id": "t1"}});
    assert_eq!(
        post(&server, EVALUATION, &request).await.json()["decision"],
        true
    );
    let reply = post(&server, RESOURCES, &request).await.json();
    assert_eq!(
        reply["results"],
        json!([{"type": "polaris:TABLE_LIKE", "id": "t1"}])
    );
    let reply = post(&server, SUBJECTS, &request).await.json();
    assert_eq!(reply["results"], json!([{"type": "user", "id": "ana"}]));
    assert_eq!(found(&server, ACTIONS, &request).await, ["read"]);
    let mut batch = request.clone();
    batch["evaluations"] =
        json!([{"resource": {"id": "t2"}}, {"resource": {"type": "polaris:VIEW", "id": "t1"}}]);
    let reply = post(&server, EVALUATIONS, &batch).await.json();
    let decided = reply["evaluations"].as_array().expect("an array").iter();
    let decided: Vec<&Json> = decided.map(|it| &it["decision"]).collect();
    assert_eq!(decided, [&json!(true), &json!(false)]);
}

async fn discovery_of(server: &Running, path: &str, host: &str) -> Reply {
    let stream = tokio::net::TcpStream::connect(server.http_address)
        .await
        .expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    exchange(stream, request.as_bytes()).await
}

#[tokio::test]
async fn the_document_is_where_the_identifier_says_and_names_nobody_else() {
    let named = certified("[authzen]\nurl = \"https://pdp.example.com/callgate\"\n").await;
    for path in [DISCOVERY.to_owned(), format!("{DISCOVERY}/callgate")] {
        for host in ["pdp.example.com", "evil.example", "localhost:8180"] {
            let reply = discovery_of(&named, &path, host).await;
            assert_eq!(reply.status, 200, "{path} {host}");
            let identifier = json!("https://pdp.example.com/callgate");
            assert_eq!(
                reply.json()["policy_decision_point"],
                identifier,
                "{path} {host}"
            );
        }
    }
    for path in ["/callgate", "/other", "/", "/callgate/"] {
        let reply = discovery_of(&named, &format!("{DISCOVERY}{path}"), "pdp.example.com").await;
        let wanted = if path == "/callgate" { 200 } else { 404 };
        assert_eq!(reply.status, wanted, "{path}");
    }
    let nameless = certified("").await;
    for (host, status) in [
        ("localhost:8180", 200),
        ("127.0.0.1:8180", 200),
        ("[::1]:8180", 200),
        ("[::ffff:127.0.0.1]", 200),
        ("evil.example", 403),
        ("pdp.example.com:8180", 403),
        ("localhost.evil.example", 403),
        ("192.0.2.1", 403),
    ] {
        let reply = discovery_of(&nameless, DISCOVERY, host).await;
        assert_eq!(reply.status, status, "{host}: {reply:?}");
        if status == 403 {
            assert!(
                reply.message().contains("`[authzen] url`"),
                "{host}: {reply:?}"
            );
        }
    }
}

#[tokio::test]
async fn basic_credentials_may_be_encoded_as_oauth_has_it() {
    let token = "a+b/c%41=:x y";
    let config = format!(
        "[[callers]]\nid = \"edge one\"\ntoken_sha256 = [\"{}\"]\nrights = {{ rpcs = [\"authzen.Evaluation\"] }}\n",
        digest(token)
    );
    let server = certified(&config).await;
    let body = tuple("alice", "read", "record-1").to_string();
    for (user, secret, status) in [
        ("edge one", token, 200),
        ("edge+one", "a%2Bb%2Fc%2541%3D%3Ax+y", 200),
        ("edge%20one", "a%2bb%2fc%2541%3d%3ax%20y", 200),
        ("edge one", "a+b/c%2541=:x y", 401),
        ("edge+one", "a%2Bb%2Fc%2541%3D%3Ax+z", 401),
        ("edge+two", "a%2Bb%2Fc%2541%3D%3Ax+y", 401),
        ("edge+one", "a%2Bb%2FcA%3D%3Ax+y", 401),
        ("edge+one", "%ff", 401),
        ("", "", 401),
    ] {
        let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{secret}")));
        let headers = [
            ("content-type", "application/json"),
            ("authorization", basic.as_str()),
        ];
        let reply = send(server.http_address, "POST", EVALUATION, &headers, &body).await;
        assert_eq!(reply.status, status, "{user} {secret}: {reply:?}");
    }
}

#[tokio::test]
async fn a_decision_says_which_it_is_when_it_was_made_and_why_not() {
    let server = certified("").await;
    let before = std::time::SystemTime::now() - std::time::Duration::from_secs(1);
    let mut batch = tuple("alice", "read", "record-1");
    batch["evaluations"] = json!([{}, {"subject": {"id": "carol"}}]);
    let single = post(&server, EVALUATION, &tuple("bob", "write", "record-1"))
        .await
        .json();
    let several = post(&server, EVALUATIONS, &batch).await.json();
    for (answer, reason) in [
        (&single, Some("NO_PERMIT")),
        (&several["evaluations"][0], None),
        (&several["evaluations"][1], Some("NO_PERMIT")),
    ] {
        let context = &answer["context"];
        assert_eq!(context["evaluation_id"], context["id"], "{answer}");
        let at = context["evaluated_at"].as_str().expect("a time");
        let at = humantime::parse_rfc3339(at).expect("a time");
        assert!(
            at >= before && at <= std::time::SystemTime::now(),
            "{answer}"
        );
        assert_eq!(
            context.get("reason").and_then(Json::as_str),
            reason,
            "{answer}"
        );
        assert_eq!(
            context["reasons"][0].get("code").and_then(Json::as_str),
            reason,
            "{answer}"
        );
    }
}

#[tokio::test]
async fn whoever_is_not_known_is_told_so() {
    let schema = "entity user { role: String };\nentity record { status: String };\naction read, look appliesTo { principal: [user], resource: [record] };\n";
    let policy = "permit (principal, action == Action::\"read\", resource) when { principal.role == \"admin\" };\n\
        permit (principal, action == Action::\"look\", resource) when { resource.status == \"open\" };\n";
    let dir = BundleDir::new()
        .file("a.cedarschema", schema)
        .policies(policy);
    let server = dir
        .entity(("user", "alice"), json!({"role": "admin"}), &[])
        .entity(("record", "record-1"), json!({"status": "open"}), &[])
        .start("")
        .await;
    for (subject, action, resource, code, said) in [
        (
            "zoe",
            "read",
            "record-1",
            "SUBJECT_UNKNOWN",
            "`user::\"zoe\"` is not known",
        ),
        (
            "zoe",
            "read",
            "record-9",
            "SUBJECT_UNKNOWN",
            "`user::\"zoe\"` is not known",
        ),
        (
            "alice",
            "look",
            "record-9",
            "EVALUATION_ERROR",
            "`record::\"record-9\"` is not known, and a policy that applies reads of it",
        ),
    ] {
        let reply = post(&server, EVALUATION, &tuple(subject, action, resource))
            .await
            .json();
        assert_eq!(reply["decision"], false, "{subject} {action} {resource}");
        let reason = &reply["context"]["reasons"][0];
        assert_eq!(
            (&reason["code"], &reason["message"]),
            (&json!(code), &json!(said))
        );
    }
    // Nobody has to be known whom no policy reads of.
    let allowed = tuple("zoe", "look", "record-1");
    assert_eq!(
        post(&server, EVALUATION, &allowed).await.json()["decision"],
        true
    );
}

#[test]
fn the_name_of_a_request_is_in_the_log() {
    let bundle = Bundle::notes();
    bundle.file("callgate.toml", "[telemetry]\ndecision_log = \"all\"\n");
    let server = Server::start(&bundle, &[("CALLGATE_LOG_FORMAT", "json")]);
    let address = server.http_target().parse().expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let question = tuple("alice", "read", "record-1").to_string();
    let json = ("content-type", "application/json");
    let asks = [
        ("decided-1", question.as_str()),
        ("refused-1", "{}"),
        ("a\u{a0}b", "{}"),
    ];
    for (id, body) in asks {
        let headers = [json, ("x-request-id", id)];
        let reply = runtime.block_on(send(address, "POST", EVALUATION, &headers, body));
        assert!([200, 400].contains(&reply.status), "{reply:?}");
    }
    // An item of a batch that cannot be used is one too, although the batch is answered.
    let batch = json!({"evaluations": [{"subject": 1}, tuple("alice", "read", "record-1")]});
    let headers = [json, ("x-request-id", "batch-1")];
    let batch = batch.to_string();
    let reply = send(address, "POST", EVALUATIONS, &headers, &batch);
    let reply = runtime.block_on(reply);
    assert_eq!(reply.status, 200, "{reply:?}");
    let (_, log) = server.stop();
    let lines = |message: &str| -> Vec<Json> {
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Json>(line).ok());
        lines.filter(|line| line["message"] == message).collect()
    };
    let ids = |message: &str| -> Vec<Option<String>> {
        let lines = lines(message).into_iter();
        lines
            .map(|line| line["request_id"].as_str().map(str::to_owned))
            .collect()
    };
    assert_eq!(
        ids("authorization decision"),
        [Some("decided-1".to_owned()), Some("batch-1".to_owned())],
        "{log}"
    );
    assert_eq!(
        ids("request rejected"),
        [
            Some("refused-1".to_owned()),
            None,
            Some("batch-1".to_owned())
        ],
        "{log}"
    );
}
