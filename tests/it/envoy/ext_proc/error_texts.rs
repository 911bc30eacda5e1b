//! The text of an error: what reads as a message is judged as one whatever its type, and honest pages pass as they came.

use std::slice::Chunks;

use callgate::proto::envoy::processing::processing_request::Request;
use callgate::proto::envoy::processing::processing_response::Response;
use serde_json::{Value as Json, json};

use crate::envoy::ext_proc::{Exchange, asking, headers, list, request};
use crate::support::in_process::Running;

/// Types that no client has to take for MCP.
const TYPES: [&str; 5] = [
    "text/plain",
    "text/html; charset=utf-8",
    "text/html;charset=ISO-8859-1",
    "application/octet-stream",
    "x/y",
];

/// What passes of the body of an error: in one piece, and byte by byte.
async fn passed(server: &Running, (status, of_type): (&str, &str), text: &[u8]) -> [Vec<u8>; 2] {
    [
        passed_in(server, (status, of_type), text.chunks(text.len())).await,
        passed_in(server, (status, of_type), text.chunks(1)).await,
    ]
}

async fn passed_in(
    server: &Running,
    (status, of_type): (&str, &str),
    pieces: Chunks<'_, u8>,
) -> Vec<u8> {
    let mut exchange = Exchange::open(server).await;
    exchange.pass(&list()).await;
    let told = exchange.answered_under(status, of_type).await;
    assert!(matches!(told, Ok(Response::ResponseHeaders(_))), "{told:?}");
    let pieces: Vec<&[u8]> = pieces.collect();
    exchange.body(&pieces).await.expect("a body")
}

/// A page that the client has to visit first, which the server may ask for on one host alone.
fn visit(host: &str) -> Json {
    let url = format!("https://{host}/login");
    let page = json!({"mode": "url", "elicitationId": "e", "message": "m", "url": url});
    let error = json!({"code": -32042, "message": "m", "data": {"elicitations": [page]}});
    json!({"jsonrpc": "2.0", "id": 7, "error": error})
}

#[tokio::test]
async fn the_text_of_an_error_that_reads_as_a_message_is_judged_as_one() {
    let server = asking().await;
    let error =
        |id: Json| json!({"jsonrpc": "2.0", "id": id, "error": {"code": -1, "message": "m"}});
    let evil = visit("evil.example").to_string();
    let cases = [
        (evil.clone(), -32001),
        (visit("github.com").to_string(), -32042),
        (error(json!(7)).to_string(), -1),
        (error(json!(null)).to_string(), -1),
        (
            json!({"jsonrpc": "2.0", "id": 7, "result": {"tools": []}}).to_string(),
            -32001,
        ),
        (request("elicitation/create", json!({})).to_string(), -32602),
        (format!("[{evil}]"), -32001),
        (format!("{evil}{evil}"), -32001),
        (evil.replace("\"error\"", "\"Error\""), -32001),
        (evil.replace("\"jsonrpc\":\"2.0\",", ""), -32001),
        ("{".to_owned(), -32001),
    ];
    for (text, code) in &cases {
        for (status, of_type) in [("400", TYPES[0]), ("404", TYPES[1]), ("401", "x/y")] {
            for found in passed(&server, (status, of_type), text.as_bytes()).await {
                let found: Json = serde_json::from_slice(&found).expect("JSON");
                let error = match found["method"].is_null() {
                    true => &found["error"],
                    false => &found["params"],
                };
                assert_eq!(error["code"], *code, "{status} {of_type} {text}: {found}");
                assert_eq!(found["id"], 7, "{text}");
            }
        }
    }
    for of_type in TYPES {
        for blank in ["\u{feff}", " \r\n\t", "\u{feff}\u{feff}\n", "\u{b}\u{a0}"] {
            let text = format!("{blank}{evil}");
            for found in passed(&server, ("400", of_type), text.as_bytes()).await {
                let found = std::str::from_utf8(&found).expect("text");
                let found = found.strip_prefix(blank).expect("what readers leave out");
                let found: Json = serde_json::from_str(found).expect("JSON");
                assert_eq!(found["error"]["code"], -32001, "{of_type} {text:?}");
            }
        }
        let utf_16: Vec<u8> = evil.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for found in passed(&server, ("400", of_type), &utf_16).await {
            let found: Json = serde_json::from_slice(&found).expect("JSON");
            assert_eq!(found["error"]["code"], -32001, "{of_type}");
        }
    }
}

#[tokio::test]
async fn no_event_passes_in_the_text_of_an_error() {
    let server = asking().await;
    for (of_type, status) in TYPES.iter().flat_map(|it| [(*it, "400"), (*it, "503")]) {
        for before in [
            "",
            "\u{feff}",
            "event: message\nid: e-1\n",
            ": hello\r\n",
            "Not found\n\n",
            "<html>\u{2028}",
        ] {
            let text = format!("{before}data: {}\n\nmore", visit("evil.example"));
            for found in passed(&server, (status, of_type), text.as_bytes()).await {
                let found = String::from_utf8(found).expect("text");
                assert_eq!(found, format!("{before}data"), "{of_type}");
            }
        }
    }
}

#[tokio::test]
async fn honest_errors_pass_as_they_came() {
    let server = asking().await;
    let json = ["application/json", "application/problem+json"];
    let oauth = r#"{"error":"invalid_token","error_description":"expired"}"#;
    let problem = r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"data: {}"}"#;
    let page = "<!doctype html>\n<style>a{background:url(data:image/png;base64,AA)}</style>";
    for (status, text, types) in [
        ("401", oauth, &json[..]),
        ("401", oauth, &TYPES),
        ("404", problem, &json),
        ("500", problem, &TYPES),
        (
            "403",
            r#" {"message": "Forbidden", "requestId": 3} "#,
            &json,
        ),
        ("401", "Jwt is missing", &TYPES),
        ("404", page, &TYPES),
        ("405", "Method Not Allowed\n", &TYPES),
        ("503", "upstream connect error: {\"jsonrpc\"}", &TYPES),
    ] {
        for of_type in types {
            for found in passed(&server, (status, of_type), text.as_bytes()).await {
                assert_eq!(String::from_utf8(found).expect("text"), text, "{of_type}");
            }
        }
    }
    // Of a success nothing passes that is no message.
    for found in passed(&server, ("200", "application/json"), oauth.as_bytes()).await {
        let found: Json = serde_json::from_slice(&found).expect("JSON");
        assert_eq!(found["error"]["code"], -32001);
    }
}

#[tokio::test]
async fn a_text_goes_on_as_it_comes_and_json_is_bounded() {
    let world = crate::support::worlds::small();
    let config = format!("{}\n[limits]\nmessage_bytes = 4096\n", super::CONFIG);
    let server = world.start(&config).await;
    let mut exchange = Exchange::open(&server).await;
    exchange.pass(&list()).await;
    exchange
        .answered_under("404", "text/html")
        .await
        .expect("go on");
    // Nobody waits for the end of it.
    for piece in ["<html>", "a page", " without an end"] {
        let piece = super::body(piece.as_bytes(), false);
        let sent = piece.body.clone();
        exchange.tell(Request::ResponseBody(piece)).await;
        assert_eq!(
            exchange.piece().await.expect("it passes"),
            (sent.to_vec(), false)
        );
    }
    let long = format!("{{\"message\":\"{}\"}}", "x".repeat(4_096));
    let found = passed_in(&server, ("404", "text/html"), long.as_bytes().chunks(1_000)).await;
    let found: Json = serde_json::from_slice(&found).expect("JSON");
    let said = found["error"]["message"].as_str().expect("a message");
    assert!(said.contains("4096 bytes"), "{said}");
}

#[tokio::test]
async fn what_is_no_text_of_ascii_letters_does_not_pass() {
    let server = asking().await;
    for charset in [
        "utf-7",
        "utf-16",
        "UTF-16LE",
        "cp037",
        "iso-2022-jp",
        "utf-8; charset=utf-7",
    ] {
        let of_type = format!("text/plain; charset={charset}");
        let found = passed(&server, ("400", &of_type), b"+AHsAIg-jsonrpc").await;
        assert_eq!(found, [b"", b""], "{charset}");
    }
}

#[tokio::test]
async fn of_an_error_that_cannot_be_read_status_and_headers_pass() {
    let server = asking().await;
    let cases = [
        ("401", "application/json", "gzip"),
        ("404", "text/html", "br"),
        ("429", "text/event-stream", "zstd"),
        ("503", "text/plain", "deflate"),
        ("400", "text/plain; as=text/event-stream", "identity"),
        // In letters that nobody reads.
        ("401", "text/html; charset=utf-16", "br"),
    ];
    for (status, of_type, encoding) in cases {
        let mut exchange = Exchange::open(&server).await;
        exchange.pass(&list()).await;
        let answer = [
            (":status", status),
            ("content-type", of_type),
            ("content-encoding", encoding),
            ("www-authenticate", "Bearer"),
            ("x-callgate-decision-id", "the server's"),
        ];
        let answer = Request::ResponseHeaders(headers(&answer, false));
        exchange.tell(answer).await;
        let told = exchange.hear().await.expect("an answer");
        let Response::ResponseHeaders(told) = told else {
            panic!("{status}: {told:?}");
        };
        let changed = told.response.and_then(|it| it.header_mutation);
        let mut without = changed.expect("a change").remove_headers;
        without.sort();
        assert_eq!(
            without,
            ["content-encoding", "x-callgate-decision-id"],
            "{status}"
        );
        // Whatever it is, also what is no compressed text at all.
        let evil = visit("evil.example").to_string();
        let passed = exchange.body(&[evil.as_bytes(), b"\x1f\x8b"]).await;
        assert_eq!(passed.expect("a body"), b"", "{status}");
    }
}
