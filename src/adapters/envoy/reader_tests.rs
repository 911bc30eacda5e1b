use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::*;
use crate::adapters::envoy::request::AlteredText;
use crate::config::envoy::{EnvoyIdentitySource, ServerRoute};

fn settings() -> EnvoyConfig {
    EnvoyConfig {
        servers: vec![ServerRoute {
            host: None,
            path: "/mcp".to_owned(),
            server: "files".to_owned(),
        }],
        identity: vec![EnvoyIdentitySource::Header {
            agent: "x-agent".to_owned(),
            person: None,
            verified: false,
            callers: Vec::new(),
        }],
        body: BodyRequirement::Optional,
        ..EnvoyConfig::default()
    }
}

fn request(method: &str, body: &str, metadata: Option<Json>) -> HttpRequest {
    let headers = [("content-type", "application/json"), ("x-agent", "helper")];
    let headers = headers.map(|(name, value)| (name.into(), value.into()));
    let metadata = metadata.map(|it| {
        let found = json::to_struct(it.as_object().expect("an object"));
        (MCP_NAMESPACE.to_owned(), found)
    });
    HttpRequest {
        method: method.to_owned(),
        path: "/mcp".to_owned(),
        host: "a.example".to_owned(),
        headers: HeaderFields::from_iter(headers),
        body: Ok(Bytes::from(body.to_owned())),
        server: None,
        principal: String::new(),
        source: Ok(None),
        metadata: BTreeMap::from_iter(metadata),
        altered: AlteredText::default(),
    }
}

fn read(
    settings: &EnvoyConfig,
    mut http: HttpRequest,
) -> Result<AuthorizationQuery, RejectedRequest> {
    let reader = RequestReader {
        caller: &Caller::local(),
        limits: &Limits::default(),
        settings,
        transport_trace: &TraceContext::default(),
        sees_servers: false,
    };
    reader.question(&mut http)
}

fn refused(method: &str, body: &str) -> RejectedRequest {
    read(&settings(), request(method, body, None)).expect_err(body)
}

const CALL: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_directory"}}"#;

#[test]
fn metadata_in_place_of_a_body_does_not_tell_all_arguments() {
    let found = json!({"is_mcp_request": true, "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "list_directory"}});
    let strict = settings();
    let lenient = EnvoyConfig {
        require_arguments: false,
        ..settings()
    };
    for (settings, body, told) in [
        (&strict, "", Told::Part),
        (&lenient, "", Told::All),
        (&strict, CALL, Told::All),
    ] {
        let asked = read(settings, request("POST", body, Some(found.clone())));
        let asked = asked.expect("a call");
        assert_eq!(asked.operations[0].told, told, "{body}");
    }
}

#[test]
fn what_a_message_of_the_connection_asks_for_may_be_left_out_of_the_metadata() {
    let (uris, responses) = (
        r#"{"notifications":{"resourceSubscriptions":["file:///srv/hr/x"]}}"#,
        r#"{"taskId":"t","inputResponses":{"a":{"action":"accept"}}}"#,
    );
    for (method, params, told) in [
        ("subscriptions/listen", uris, Told::Part),
        ("tasks/update", responses, Told::Part),
        ("tasks/get", r#"{"taskId":"t"}"#, Told::All),
        ("ping", "{}", Told::All),
    ] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        let found = json!({"is_mcp_request": true, "jsonrpc": "2.0", "id": 1, "method": method,
            "params": {"taskId": "t"}});
        let whole = read(&settings(), request("POST", &text, None)).expect("it has a body");
        assert!(
            whole.operations.iter().all(|it| it.told == Told::All),
            "{method}"
        );
        let asked = read(&settings(), request("POST", "", Some(found))).expect("told in part");
        assert_eq!(asked.operations.len(), 1, "{method}");
        assert_eq!(asked.operations[0].told, told, "{method}");
    }
}

#[test]
fn text_that_envoy_may_have_altered_is_refused_unless_it_is_trusted() {
    let path = AlteredText {
        path: true,
        body: false,
    };
    let body = AlteredText {
        path: false,
        body: true,
    };
    let mut settings = settings();
    let routes =
        r#"routes = [{ method = "GET", path = "/items/{id}", server = "shop", tool = "get" }]"#;
    settings.routes = toml::from_str::<EnvoyConfig>(routes)
        .expect("routes")
        .routes;
    for (method, at, altered, is_refused) in [
        ("POST", "/mcp", AlteredText::default(), false),
        ("POST", "/mcp", body, true),
        ("POST", "/mcp", path, true),
        ("GET", "/items/a!", path, true),
        ("GET", "/items/a!", AlteredText::default(), false),
        // Nobody reads it.
        ("GET", "/items/a", body, false),
    ] {
        for trust_text in [false, true] {
            settings.trust_text = trust_text;
            let http = HttpRequest {
                path: at.to_owned(),
                altered,
                ..request(method, CALL, None)
            };
            let read = read(&settings, http);
            let what = format!("{method} {at} {altered:?} {trust_text}: {read:?}");
            assert_eq!(read.is_err(), is_refused && !trust_text, "{what}");
            if let Err(RejectedRequest { rejection, .. }) = read {
                let setting = if altered.body { SHOWS_BODY } else { SHOWS_PATH };
                assert_eq!(rejection.status, 400, "{what}");
                assert!(rejection.message.contains(setting), "{what}");
            }
        }
    }
}

#[test]
fn a_request_that_goes_on_a_stream_names_one_revision() {
    for method in ["GET", "DELETE"] {
        for (versions, is_fine) in [
            (&["2025-11-25"][..], true),
            (&["2025-06-18,2025-11-25"], false),
            (&["2025-06-18", "2025-11-25"], false),
        ] {
            let mut http = request(method, "", None);
            let versions = versions.iter().map(|it| ("mcp-protocol-version", *it));
            let headers = [("x-agent", "helper"), ("mcp-session-id", "s")];
            let all = headers.into_iter().chain(versions);
            http.headers = all
                .map(|(name, value)| (name.into(), value.into()))
                .collect();
            let read = read(&settings(), http);
            assert_eq!(read.is_ok(), is_fine, "{method}: {read:?}");
        }
    }
}

/// Where responses are not seen, nobody can tell what comes on a stream that a client goes on with.
#[test]
fn a_stream_that_is_gone_on_with_may_bring_any_result_where_none_is_seen() {
    for (method, header, sees_servers, expected) in [
        ("GET", "last-event-id", false, "resume"),
        ("GET", "Last_Event-ID", false, "resume"),
        ("GET", "last-event-id", true, "GET"),
        ("GET", "x-other", false, "GET"),
        ("DELETE", "last-event-id", false, "DELETE"),
    ] {
        let mut http = request(method, "", None);
        let headers = [("x-agent", "helper"), ("mcp-session-id", "s"), (header, "")];
        http.headers = headers
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let reader = RequestReader {
            caller: &Caller::local(),
            limits: &Limits::default(),
            settings: &settings(),
            sees_servers,
            transport_trace: &TraceContext::default(),
        };
        let asked = reader.question(&mut http).expect("a stream");
        assert_eq!(
            asked.operations[0].kind.method(),
            expected,
            "{method} {header}"
        );
    }
}

#[test]
fn a_method_that_mcp_has_not_is_answered_with_those_that_it_has() {
    let put = refused("PUT", CALL).rejection;
    assert_eq!(
        (put.status, put.allowed_methods),
        (405, Some("POST, GET, DELETE"))
    );
    let stream = refused("GET", "").rejection;
    assert_eq!((stream.status, stream.allowed_methods), (405, Some("POST")));
}

#[test]
fn parameters_of_no_use_are_answered_alike_wherever_they_are_found() {
    for params in [
        "null",
        "[]",
        r#"{"name":"a","arguments":null}"#,
        r#"{"name":"a","arguments":{"n":9223372036854775808}}"#,
        r#"{"name":"a","arguments":{"b":1,"b":2}}"#,
    ] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{params}}}"#);
        let RejectedRequest { id, rejection, .. } = refused("POST", &text);
        assert_eq!(id, Some(JsonRpcId::Number(5)), "{params}");
        assert_eq!(
            (rejection.status, rejection.code),
            (200, -32602),
            "{params}"
        );
    }
    let text = r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"a"}}"#;
    let rejection = refused("POST", text).rejection;
    assert_eq!((rejection.status, rejection.code), (400, -32600));
    assert!(rejection.message.contains("`id`"), "{}", rejection.message);
    let rejection = refused("POST", r#"{"jsonrpc":"2.0","id":5"#).rejection;
    assert_eq!((rejection.status, rejection.code), (400, -32700));
}

#[test]
fn a_reply_passes_unseen_servers_only_if_it_tells_nothing() {
    for (content, passes) in [
        (r#""result":{}"#, true),
        (r#""error":{"code":-32601,"message":"not here"}"#, true),
        (
            r#""error":{"code":1,"message":"m","data":"the private text"}"#,
            false,
        ),
        (r#""error":"the private text""#, false),
        (r#""result":{"_meta":{"x":"the private text"}}"#, false),
        (r#""result":{"roots":[]}"#, false),
    ] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":7,{content}}}"#);
        let asked = read(&settings(), request("POST", &text, None));
        assert_eq!(asked.is_ok(), passes, "{content}: {asked:?}");
    }
}
