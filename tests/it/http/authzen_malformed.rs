//! AuthZEN requests that cannot be used: the status, the field that is named, and the request id that
//! comes back all the same.

use serde_json::{Value as Json, json};

use crate::http::authzen::{
    ACTIONS, EVALUATION, EVALUATIONS, RESOURCES, SUBJECTS, certified, tuple,
};
use crate::support::plain_http::{post, send};

fn spoilt(spoil: impl FnOnce(&mut Json)) -> Json {
    let mut request = tuple("alice", "read", "record-1");
    spoil(&mut request);
    request
}

fn without(field: &str, inner: Option<&str>) -> Json {
    spoilt(|request| {
        let object = match inner {
            None => request,
            Some(_) => &mut request[field],
        };
        let name = inner.unwrap_or(field);
        object.as_object_mut().expect("an object").remove(name);
    })
}

#[tokio::test]
async fn what_is_missing_or_of_the_wrong_type_is_a_400_that_names_it() {
    let server = certified("").await;
    let long = "x".repeat(1_025);
    for (path, request, wanted) in [
        (
            EVALUATION,
            without("subject", None),
            "`subject` is required",
        ),
        (EVALUATION, without("action", None), "`action` is required"),
        (
            EVALUATION,
            without("resource", None),
            "`resource` is required",
        ),
        (
            EVALUATION,
            without("subject", Some("type")),
            "`subject.type` is required",
        ),
        (
            EVALUATION,
            without("subject", Some("id")),
            "`subject.id` is required",
        ),
        (
            EVALUATION,
            without("action", Some("name")),
            "`action.name` is required",
        ),
        (
            EVALUATION,
            without("resource", Some("type")),
            "`resource.type` is required",
        ),
        (
            EVALUATION,
            without("resource", Some("id")),
            "`resource.id` is required",
        ),
        (
            EVALUATION,
            spoilt(|it| it["subject"] = json!("alice")),
            "`subject` must be an object",
        ),
        (
            EVALUATION,
            spoilt(|it| it["action"]["name"] = json!(123)),
            "`action.name` must be a string",
        ),
        (
            EVALUATION,
            spoilt(|it| it["subject"]["id"] = json!(1)),
            "`subject.id` must be a string",
        ),
        (
            EVALUATION,
            spoilt(|it| it["context"] = json!([])),
            "`context` must be an object",
        ),
        (
            EVALUATION,
            spoilt(|it| it["subject"]["properties"] = json!("admin")),
            "`subject.properties` must be an object",
        ),
        (
            EVALUATION,
            spoilt(|it| it["action"]["properties"] = json!(1)),
            "`action.properties` must be an object",
        ),
        (
            EVALUATION,
            spoilt(|it| it["subject"]["id"] = json!(long)),
            "`subject.id` has 1025 bytes",
        ),
        (
            EVALUATION,
            spoilt(|it| {
                it["context"] = json!({"time": "1"});
                it["action"]["properties"] = json!({"time": "2"});
            }),
            "`action.properties.time` says something else than `context`",
        ),
        (
            EVALUATIONS,
            spoilt(|it| it["evaluations"] = json!({})),
            "`evaluations` must be an array",
        ),
        (
            EVALUATIONS,
            spoilt(|it| it["evaluations"] = vec![json!({}); 257].into()),
            "`evaluations` has 257 items",
        ),
        (
            EVALUATIONS,
            spoilt(|it| {
                it["evaluations"] = json!([{}]);
                it["options"] = json!({"evaluations_semantic": "sometimes"});
            }),
            "`options.evaluations_semantic` `sometimes` is not",
        ),
        (
            EVALUATIONS,
            spoilt(|it| {
                it["evaluations"] = json!([{}]);
                it["subject"] = json!("alice");
            }),
            "`subject` must be an object",
        ),
        (SUBJECTS, without("action", None), "`action` is required"),
        (
            SUBJECTS,
            without("resource", Some("id")),
            "`resource.id` is required",
        ),
        (RESOURCES, without("subject", None), "`subject` is required"),
        (
            RESOURCES,
            without("subject", Some("id")),
            "`subject.id` is required",
        ),
        (ACTIONS, without("resource", None), "`resource` is required"),
        (
            SUBJECTS,
            spoilt(|it| it["page"] = json!({"limit": -1})),
            "`page.limit` must be a whole number from 0 on",
        ),
        (
            SUBJECTS,
            spoilt(|it| it["page"] = json!({"limit": 1.5})),
            "`page.limit` must be a whole number from 0 on",
        ),
        (
            ACTIONS,
            spoilt(|it| it["context"] = json!("x")),
            "`context` must be an object",
        ),
        (
            ACTIONS,
            spoilt(|it| it["context"] = json!([])),
            "`context` must be an object",
        ),
        (
            ACTIONS,
            spoilt(|it| it["context"] = json!({"soft": [null]})),
            "`context` is not a Cedar context: ",
        ),
        (
            SUBJECTS,
            spoilt(|it| it["page"] = json!({"token": "x"})),
            "`page.token` is of another search",
        ),
    ] {
        let reply = post(&server, path, &request).await;
        assert_eq!(reply.status, 400, "{request}: {reply:?}");
        assert!(
            reply.message().starts_with(wanted),
            "{request}: {reply:?}\n wanted {wanted}"
        );
    }
}

#[tokio::test]
async fn bodies_that_are_no_json_object_are_400() {
    let server = certified("").await;
    let good = tuple("alice", "read", "record-1").to_string();
    let twice = good.replacen(
        '{',
        "{\"subject\": {\"type\": \"user\", \"id\": \"bob\"}, ",
        1,
    );
    let nested = format!("{}1{}", "[".repeat(60), "]".repeat(60));
    let deep = good.replacen('{', &format!("{{\"context\": {{\"x\": {nested}}}, "), 1);
    let huge = good.replacen('{', "{\"context\": {\"n\": 9223372036854775808}, ", 1);
    let json = "application/json";
    for (content_type, body, wanted) in [
        (json, "", "the body is empty"),
        (json, "{", "`body` is not JSON"),
        (json, "[]", "`body` is not JSON"),
        (json, "\"x\"", "`body` is not JSON"),
        (json, &good[..good.len() - 2], "`body` is not JSON"),
        (json, &format!("{good}{good}"), "`body` is not JSON"),
        (
            json,
            &twice,
            "`body` is not JSON that can be used: the key `subject` appears twice",
        ),
        (
            json,
            &deep,
            "`body` is not JSON that can be used: nested deeper",
        ),
        (
            json,
            &good.replacen('{', "{\"Subject\": {}, ", 1),
            "`body` is not JSON that can be used: the keys `Subject` and `subject`",
        ),
        (
            json,
            &good.replacen('{', "{\"context\": {\"z\": 1, \"z\": 2}, ", 1),
            "`body` is not JSON that can be used: the key `z` appears twice",
        ),
        (
            json,
            &huge,
            "`body` is not JSON that can be used: the whole number",
        ),
        ("text/plain", &good, "the `content-type` must be"),
        ("application/jsonx", &good, "the `content-type` must be"),
        ("", &good, "the `content-type` must be"),
    ] {
        let headers = [("content-type", content_type), ("x-request-id", "r-1")];
        let reply = send(server.http_address, "POST", EVALUATION, &headers, body).await;
        assert_eq!(reply.status, 400, "{body}: {reply:?}");
        assert!(reply.message().starts_with(wanted), "{body}: {reply:?}");
        assert_eq!(reply.header("x-request-id"), Some("r-1"));
    }
    let charset = [("content-type", "application/json; charset=utf-8")];
    let reply = send(server.http_address, "POST", EVALUATION, &charset, &good).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn keys_that_nobody_reads_may_differ_in_case_alone() {
    let server = certified("").await;
    let request = spoilt(|it| {
        it["context"] = json!({"z": 7, "Z": 1});
        it["other"] = json!(1);
        it["Other"] = json!(2);
    });
    let reply = post(&server, EVALUATION, &request).await;
    assert_eq!(
        (reply.status, &reply.json()["decision"]),
        (200, &json!(true))
    );
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    for (levels, status) in [(31, 200), (32, 400)] {
        let request = spoilt(|it| it["context"] = json!({"z": nested(levels)}));
        let reply = post(&server, EVALUATION, &request).await;
        assert_eq!(reply.status, status, "{levels}: {reply:?}");
    }
}

#[tokio::test]
async fn a_number_that_cedar_does_not_have_is_denied_and_named() {
    let server = certified("").await;
    let fraction = spoilt(|it| it["context"] = json!({"time": 6.5}));
    for (path, request) in [
        (EVALUATION, fraction.clone()),
        (
            EVALUATION,
            spoilt(|it| it["action"]["properties"] = json!({"time": [0.5]})),
        ),
    ] {
        let reply = post(&server, path, &request).await;
        assert_eq!(reply.status, 200, "{request}: {reply:?}");
        let context = &reply.json()["context"];
        assert_eq!(context["reason"], "CONTEXT_INVALID", "{request}");
        let said = context["reasons"][0]["message"]
            .as_str()
            .expect("a message");
        assert!(said.starts_with("`context.time"), "{said}");
    }
    let found = post(&server, SUBJECTS, &fraction).await;
    assert_eq!((found.status, &found.json()["results"]), (200, &json!([])));
}

#[tokio::test]
async fn a_body_that_is_encoded_is_a_415() {
    let server = certified("").await;
    let body = tuple("alice", "read", "record-1").to_string();
    for (path, coding, status) in [
        (EVALUATION, "identity", 200),
        (EVALUATION, "gzip", 415),
        (SUBJECTS, "br", 415),
        ("/toolhive/decision", "gzip", 415),
    ] {
        let headers = [
            ("content-type", "application/json"),
            ("content-encoding", coding),
        ];
        let reply = send(server.http_address, "POST", path, &headers, &body).await;
        assert_eq!(reply.status, status, "{path} {coding}: {reply:?}");
        let accepted = (status == 415).then_some("identity");
        assert_eq!(reply.header("accept-encoding"), accepted, "{path} {coding}");
    }
}

#[tokio::test]
async fn a_request_id_comes_back_and_need_not_be_there() {
    let server = certified("").await;
    let body = tuple("bob", "write", "record-1").to_string();
    let json = ("content-type", "application/json");
    let id = ("x-request-id", "bfe9eb29-ab87-4ca3-be83-a1d5d8305716");
    let reply = send(server.http_address, "POST", EVALUATION, &[json, id], &body).await;
    assert_eq!(
        (reply.status, reply.header("x-request-id")),
        (200, Some(id.1))
    );
    let reply = send(server.http_address, "POST", EVALUATION, &[json], &body).await;
    assert_eq!((reply.status, reply.header("x-request-id")), (200, None));
}

#[tokio::test]
async fn other_methods_and_paths_are_told_apart() {
    let server = certified("").await;
    for (method, path, status, allow) in [
        ("GET", EVALUATION, 405, Some("POST")),
        ("PUT", EVALUATIONS, 405, Some("POST")),
        ("DELETE", SUBJECTS, 405, Some("POST")),
        (
            "POST",
            "/.well-known/authzen-configuration",
            405,
            Some("GET, HEAD"),
        ),
        ("GET", "/toolhive/decision", 405, Some("POST")),
        ("POST", "/access/v1/evaluation/", 404, None),
        ("POST", "/access/v1/Evaluation", 404, None),
        ("GET", "/", 404, None),
    ] {
        let reply = send(
            server.http_address,
            method,
            path,
            &[("x-request-id", "7")],
            "{}",
        )
        .await;
        assert_eq!(
            (reply.status, reply.header("allow")),
            (status, allow),
            "{method} {path}"
        );
        assert_eq!(reply.header("x-request-id"), Some("7"));
    }
}

#[tokio::test]
async fn what_the_schema_does_not_know_is_denied() {
    let server = certified("").await;
    for (field, value) in [
        ("action", json!({"name": "destroy"})),
        ("action", json!({"name": "READ"})),
        ("action", json!({"name": "reаd"})),
        ("action", json!({"name": "Mcp::Action::\"call_read\""})),
        ("subject", json!({"type": "spaceship", "id": "alice"})),
        ("subject", json!({"type": "a user", "id": "alice"})),
        ("subject", json!({"type": "record", "id": "record-1"})),
        ("resource", json!({"type": "record", "id": "record-1 "})),
        ("subject", json!({"type": "user", "id": "Alice"})),
    ] {
        let request = spoilt(|it| {
            // Whoever may read everything, but for the one thing that is changed.
            it[field] = value.clone();
        });
        let reply = post(&server, EVALUATION, &request).await;
        let is_reading = field == "resource";
        assert_eq!(
            (reply.status, &reply.json()["decision"]),
            (200, &json!(is_reading)),
            "{value}"
        );
    }
}

#[tokio::test]
async fn damaged_bytes_are_answered_or_refused_and_never_break_the_server() {
    let server = certified("").await;
    let mut question = tuple("bob", "write", "record-1");
    question["action"]["properties"] = json!({"soft": true});
    question["subject"]["properties"] = json!({"role": "admin"});
    question["page"] = json!({"limit": 1, "token": ""});
    question["evaluations"] = json!([{"context": {"time": "now"}}]);
    let whole = question.to_string();
    let json = [("content-type", "application/json")];
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    let (mut answered, mut refused) = (0, 0);
    for path in [
        EVALUATION,
        EVALUATIONS,
        SUBJECTS,
        RESOURCES,
        ACTIONS,
        "/toolhive/decision",
    ] {
        for _ in 0..200 {
            let mut text: Vec<char> = whole.chars().collect();
            for _ in 0..=random(2) {
                let at = random(text.len());
                let replacement = ['"', '{', '}', '[', ',', ':', '0', 'é', '\\', 'n'][random(10)];
                match random(3) {
                    0 => text[at] = replacement,
                    1 => text.insert(at, replacement),
                    _ => drop(text.remove(at)),
                }
            }
            let text: String = text.into_iter().collect();
            let reply = send(server.http_address, "POST", path, &json, &text).await;
            match reply.status {
                200 => answered += 1,
                400 => refused += 1,
                other => panic!("{other} for {path}: {text}"),
            }
            if path == EVALUATION && reply.status == 200 {
                // Nothing of this can make bob write an active record.
                assert_eq!(reply.json()["decision"], false, "{text}");
            }
        }
    }
    assert!(
        answered > 20 && refused > 20,
        "{answered} answered, {refused} refused"
    );
}
