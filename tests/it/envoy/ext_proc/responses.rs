//! What servers send is judged before it passes.

use callgate::proto::envoy::processing::HttpTrailers;
use callgate::proto::envoy::processing::processing_request::Request;
use callgate::proto::envoy::processing::processing_response::Response;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value as Json, json};

use crate::envoy::ext_proc::{
    CONFIG, Exchange, POST, asking, body, event, first, headers, list, message_of, request,
};
use crate::support::in_process::start;

#[tokio::test]
async fn lists_lose_what_the_client_may_not_use() {
    let server = asking().await;
    let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
    let listed = |id: Json| json!({"jsonrpc": "2.0", "id": id, "result": {"tools": [tool("log"), tool("purge"), tool("what")], "nextCursor": "c"}});
    let kept = json!({"tools": [tool("log")], "nextCursor": "c"});
    let events = |id: Json| {
        let noise = ": hello\n\nid: 1\ndata: \n\nretry: 5\n\n";
        format!("{noise}{}", event(&listed(id)))
    };
    for (of_type, text, is_awaited) in [
        ("application/json", listed(json!(7)).to_string(), true),
        ("text/event-stream", events(json!(7)), true),
        ("text/event-stream", events(json!("7")), true),
        // The reply to a request of before: some clients take any for the one they wait for.
        ("text/event-stream", events(json!(8)), false),
    ] {
        let mut exchange = Exchange::open(&server).await;
        match is_awaited {
            true => exchange.pass(&list()).await,
            false => exchange.listen().await,
        }
        let told = exchange.answered_with(of_type).await;
        assert!(matches!(told, Ok(Response::ResponseHeaders(_))), "{told:?}");
        let passed = exchange.body(&[text.as_bytes()]).await.expect("a body");
        let text = String::from_utf8(passed.clone()).expect("text");
        let message = match of_type {
            "application/json" => serde_json::from_slice(&passed).expect("JSON"),
            _ => {
                assert!(text.starts_with(": hello\n\nid: 1\ndata: \n\nretry: 5\n\n"));
                assert!(text.contains("event: message\nid: e-1\n"), "{text}");
                let (_, event) = text.split_at(text.find("event").unwrap());
                message_of(event.as_bytes())
            }
        };
        assert_eq!(message["result"], kept, "{of_type}");
    }

    // What says nothing of lists passes byte by byte, in an answer to a call even if it looks like one.
    let unchanged = "{ \"jsonrpc\" : \"2.0\", \"id\":7,\n \"result\": {\"tools\": [{\"name\": \"purge\"}], \"x\": 1.50} }";
    let mut exchange = Exchange::open(&server).await;
    exchange
        .pass(&request("tools/call", json!({"name": "log"})))
        .await;
    exchange
        .answered_with("application/json")
        .await
        .expect("go on");
    let passed = exchange
        .body(&[&unchanged.as_bytes()[..9], &unchanged.as_bytes()[9..]])
        .await;
    assert_eq!(passed.expect("a body"), unchanged.as_bytes());
}

#[tokio::test]
async fn what_a_server_asks_for_is_decided_in_its_name() {
    let server = asking().await;
    let form = |field: &str| json!({"message": "m", "requestedSchema": {"type": "object", "properties": {field: {"type": "string"}}}});
    let sampling = |tokens: i64| json!({"messages": [], "maxTokens": tokens});
    let visit =
        |url: &str| json!({"mode": "url", "elicitationId": "e", "message": "m", "url": url});
    let asks = |method: &str, params: Json| json!({"jsonrpc": "2.0", "id": 3, "method": method, "params": params});
    let visit_first = |url: &str| json!({"jsonrpc": "2.0", "id": 7, "error": {"code": -32042, "message": "m", "data": {"elicitations": [visit(url)]}}});
    let input = |params: Json| json!({"jsonrpc": "2.0", "id": 7, "result": {"resultType": "input_required", "inputRequests": {"a": {"method": "elicitation/create", "params": params}}}});
    for (message, expected) in [
        (asks("elicitation/create", form("colour")), None),
        (
            asks("elicitation/create", form("password")),
            Some("NO_PERMIT"),
        ),
        (
            asks("elicitation/create", visit("https://github.com/login")),
            None,
        ),
        (
            asks(
                "elicitation/create",
                visit("https://evil.example.com/login"),
            ),
            Some("NO_PERMIT"),
        ),
        (asks("sampling/createMessage", sampling(100)), None),
        (
            asks("sampling/createMessage", sampling(101)),
            Some("NO_PERMIT"),
        ),
        (asks("roots/list", json!({})), Some("NO_PERMIT")),
        (asks("ping", json!({})), None),
        (asks("tools/delete", json!({})), Some("-32601")),
        (asks("sampling/createMessage", json!({})), Some("-32602")),
        (visit_first("https://github.com/login"), None),
        (
            visit_first("https://evil.example.com/login"),
            Some("NO_PERMIT"),
        ),
        (input(form("colour")), None),
        (input(form("password")), Some("NO_PERMIT")),
    ] {
        for is_call in [true, false] {
            let mut exchange = Exchange::open(&server).await;
            match is_call {
                true => {
                    exchange
                        .pass(&request("tools/call", json!({"name": "log"})))
                        .await
                }
                false => exchange.listen().await,
            }
            exchange
                .answered_with("text/event-stream")
                .await
                .expect("go on");
            let text = event(&message);
            let passed = exchange.body(&[text.as_bytes()]).await.expect("a body");
            let Some(expected) = expected else {
                assert_eq!(String::from_utf8(passed).unwrap(), text);
                continue;
            };
            assert!(passed.starts_with(b"event: message\nid: e-1\n"));
            let passed = message_of(&passed);
            assert_eq!(passed["id"], message["id"]);
            let said = if message["method"].is_string() {
                assert_eq!(passed["method"], "callgate/denied", "no client has it");
                &passed["params"]
            } else {
                assert_eq!(passed["result"], Json::Null);
                &passed["error"]
            };
            let reason = &said["data"]["authorization"]["reason"];
            let reason = reason
                .as_str()
                .map_or(said["code"].to_string(), str::to_owned);
            assert_eq!(reason, expected, "{message}");
        }
    }
}

#[tokio::test]
async fn notifications_and_what_cannot_be_read_are_dropped() {
    let server = asking().await;
    let harmless = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}"#;
    for (data, expected) in [
        (harmless, harmless),
        (
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            "",
        ),
        (r#"{"jsonrpc":"2.0","method":"notifications/else"}"#, ""),
        ("hello", ""),
        ("[]", ""),
        (
            r#"{"jsonrpc":"2.0","method":"notifications/message","method":"ping"}"#,
            "",
        ),
    ] {
        let mut exchange = Exchange::open(&server).await;
        exchange.listen().await;
        exchange
            .answered_with("text/event-stream")
            .await
            .expect("go on");
        let text = format!("data: {data}\n\n: end\n\n");
        let passed = exchange.body(&[text.as_bytes()]).await.expect("a body");
        let expected = match expected {
            "" => ": end\n\n".to_owned(),
            data => format!("data: {data}\n\n: end\n\n"),
        };
        assert_eq!(String::from_utf8(passed).unwrap(), expected, "{data}");
    }
    // What has an id is answered for the server.
    let mut exchange = Exchange::open(&server).await;
    exchange.pass(&list()).await;
    exchange
        .answered_with("text/event-stream")
        .await
        .expect("go on");
    let text = "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{},\"Result\":{}}\n\n";
    let passed = exchange.body(&[text.as_bytes()]).await.expect("a body");
    assert_eq!(message_of(&passed)["error"]["code"], -32001);
    // A server that could not read a request says so to nobody; what it wants of a person is decided still.
    let nobody = |data: Json| json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32042, "message": "m", "data": data}});
    let visit = |url: &str| json!({"elicitations": [{"mode": "url", "elicitationId": "e", "message": "m", "url": url}]});
    for (message, expected) in [
        (nobody(json!({})), "-32602"),
        (nobody(json!({"elicitations": []})), "-32042"),
        (nobody(visit("https://github.com/a")), "-32042"),
        (nobody(visit("https://evil.example.com/a")), "-32001"),
        (
            json!({"jsonrpc": "2.0", "error": {"code": -32000, "message": "m"}}),
            "-32000",
        ),
        (json!({"jsonrpc": "2.0", "error": "m"}), "-32001"),
        (
            json!({"jsonrpc": "2.0", "id": null, "error": {}, "result": {}}),
            "-32001",
        ),
    ] {
        let mut exchange = Exchange::open(&server).await;
        exchange.pass(&list()).await;
        let answer = [(":status", "404"), ("content-type", "application/json")];
        exchange
            .tell(Request::ResponseHeaders(headers(&answer, false)))
            .await;
        exchange.hear().await.expect("go on");
        let passed = exchange
            .body(&[message.to_string().as_bytes()])
            .await
            .expect("a body");
        let passed: Json = serde_json::from_slice(&passed).expect("JSON");
        assert_eq!(passed["error"]["code"].to_string(), expected, "{message}");
    }
    // So is a whole answer that is none.
    for text in [
        "hello",
        "[]",
        "{\"jsonrpc\":\"2.0\",\"result\":{}}",
        "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"a\":1,\"a\":2}}",
    ] {
        let mut exchange = Exchange::open(&server).await;
        exchange.pass(&list()).await;
        exchange
            .answered_with("application/json")
            .await
            .expect("go on");
        let passed = exchange.body(&[text.as_bytes()]).await.expect("a body");
        let passed: Json = serde_json::from_slice(&passed).expect("JSON");
        assert_eq!(
            (&passed["id"], &passed["error"]["code"]),
            (&json!(7), &json!(-32001)),
            "{text}"
        );
    }
}

#[tokio::test]
async fn an_event_passes_before_the_next_one_comes() {
    let server = asking().await;
    let mut exchange = Exchange::open(&server).await;
    exchange.listen().await;
    exchange
        .answered_with("text/event-stream")
        .await
        .expect("go on");
    for at in 0..3 {
        let text = event(
            &json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": at}}),
        );
        let (early, late) = text.split_at(20);
        exchange
            .tell(Request::ResponseBody(body(early.as_bytes(), false)))
            .await;
        exchange
            .tell(Request::ResponseBody(body(late.as_bytes(), false)))
            .await;
        assert_eq!(
            exchange.piece().await.expect("a piece"),
            (text.into_bytes(), false)
        );
    }
    // An event without an end is none.
    exchange
        .tell(Request::ResponseBody(body(b"data: {}\n", false)))
        .await;
    exchange
        .tell(Request::ResponseTrailers(HttpTrailers::default()))
        .await;
    assert_eq!(
        exchange.piece().await.expect("a piece"),
        (Vec::new(), false)
    );
    let told = exchange.hear().await;
    assert!(
        matches!(told, Ok(Response::ResponseTrailers(_))),
        "{told:?}"
    );

    // A whole message may be followed by trailers, too.
    let mut exchange = Exchange::open(&server).await;
    exchange.pass(&list()).await;
    exchange
        .answered_with("application/json")
        .await
        .expect("go on");
    let text = json!({"jsonrpc": "2.0", "id": 7, "result": {"tools": []}}).to_string();
    exchange
        .tell(Request::ResponseBody(body(text.as_bytes(), false)))
        .await;
    exchange
        .tell(Request::ResponseTrailers(HttpTrailers::default()))
        .await;
    assert_eq!(
        exchange.piece().await.expect("a piece"),
        (text.into_bytes(), false)
    );
    let told = exchange.hear().await;
    assert!(
        matches!(told, Ok(Response::ResponseTrailers(_))),
        "{told:?}"
    );
}

#[tokio::test]
async fn what_is_no_mcp_comes_back_as_it_is() {
    const ROUTE: &str = r#"
[[envoy.routes]]
method = "GET"
path = "/log"
server = "git"
tool = "log"
"#;
    let server = start(&format!("{CONFIG}\n{ROUTE}")).await;
    let mut exchange = Exchange::open(&server).await;
    let mut get = POST.to_vec();
    get[0].1 = "GET";
    get[1].1 = "/log";
    let asked = Request::RequestHeaders(headers(&get, true));
    exchange.say(first(asked)).await;
    let told = exchange.hear().await;
    assert!(matches!(told, Ok(Response::RequestHeaders(_))), "{told:?}");
    exchange
        .answered_with("application/json")
        .await
        .expect("go on");
    let text = b"{\"tools\": [{\"name\": \"purge\"}]}";
    assert_eq!(exchange.body(&[text]).await.expect("a body"), text);
}

/// What streams are made of that are meant to be read in two ways.
const FRAGMENTS: [&str; 29] = [
    "data: ",
    "data:",
    "data",
    "Data: ",
    "data : ",
    " data: ",
    "\u{feff}data: ",
    "id: 1",
    "event: message",
    ": ",
    "\n",
    "\n",
    "\n\n",
    "\r",
    "\r\n",
    "\u{b}",
    "\u{85}",
    "\u{2028}",
    "\u{0}",
    " ",
    "\"",
    r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"purge"}]}}"#,
    r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"log"}]},"x":""#,
    r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":""#,
    r#""}}"#,
    // Whole ones, because so little else comes to an event.
    concat!(
        r#"data: {"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"purge"}]}}"#,
        "\n\n"
    ),
    concat!(
        r#"data:{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"purge"}]}}"#,
        "\r\n\r\n"
    ),
    concat!(
        r#"data: {"jsonrpc":"2.0","id":7,"#,
        "\ndata: ",
        r#""result":{"tools":[{"name":"purge"}]}}"#,
        "\n\n"
    ),
    "\n\n",
];

/// Every message that the most careless of readers could find in a stream.
fn found_by_the_careless(text: &str) -> Vec<Json> {
    let ends = [
        '\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}',
    ];
    let mut found = Vec::new();
    for lines in [
        text.split(&ends[..]).collect::<Vec<_>>(),
        text.split(&ends[..2]).collect(),
    ] {
        for event in lines.split(|line| line.is_empty()) {
            let data = event.iter().filter_map(|line| {
                let (name, value) = line.split_once(':')?;
                let name = name.trim_matches(['\u{feff}', '\u{0}', ' ']).to_lowercase();
                (name == "data").then_some(value)
            });
            let data: Vec<_> = data.collect();
            let each = data.iter().map(|it| (*it).to_owned());
            let all = each.chain([data.join("\n"), data.concat(), event.concat()]);
            found.extend(all.filter_map(|text| serde_json::from_str(text.trim()).ok()));
        }
    }
    found
}

#[tokio::test]
async fn no_reader_finds_what_was_taken_out() {
    let server = start(CONFIG).await;
    let strategy = prop::collection::vec(prop::sample::select(&FRAGMENTS[..]), 1..16);
    let mut runner = TestRunner::deterministic();
    let (mut passed, mut changed) = (0, 0);
    for _ in 0..2_000 {
        let text = strategy.new_tree(&mut runner).unwrap().current().concat();
        let mut exchange = Exchange::open(&server).await;
        exchange.pass(&list()).await;
        exchange
            .answered_with("text/event-stream")
            .await
            .expect("go on");
        let (early, late) = text.split_at(text.floor_char_boundary(text.len() / 2));
        // A stream that is cut is as good.
        let Ok(bytes) = exchange.body(&[early.as_bytes(), late.as_bytes()]).await else {
            continue;
        };
        let seen = String::from_utf8(bytes).expect("text");
        for message in found_by_the_careless(&seen) {
            let tools = message["result"]["tools"].as_array();
            let names = tools.into_iter().flatten().map(|tool| &tool["name"]);
            assert!(
                names.clone().all(|name| name != "purge"),
                "{text:?} became {seen:?}"
            );
        }
        passed += usize::from(!seen.is_empty());
        changed += usize::from(seen != text && seen.contains("tools"));
    }
    assert!(
        passed > 100 && changed > 20,
        "{passed} passed, {changed} changed"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn where_a_stream_is_cut_does_not_change_what_passes(
        cuts in prop::collection::vec(0_usize..900, 0..8),
        end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
    ) {
        let tools = json!({"jsonrpc": "2.0", "id": 7, "result": {"tools": [{"name": "log"}, {"name": "purge"}]}});
        let asks = json!({"jsonrpc": "2.0", "id": 1, "method": "roots/list"});
        let harmless = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "\u{2028}x"}});
        let text = format!(": c\n\n{}data: nonsense\n\n{}{}", event(&harmless), event(&asks), event(&tools));
        let text = text.replace('\n', end);
        let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut < text.len()).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([text.len()]) {
            pieces.push(&text.as_bytes()[from..cut]);
            from = cut;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (whole, cut) = runtime.block_on(async {
            let server = start(CONFIG).await;
            let mut passed = Vec::new();
            for pieces in [vec![text.as_bytes()], pieces] {
                let mut exchange = Exchange::open(&server).await;
                exchange.pass(&list()).await;
                exchange.answered_with("text/event-stream").await.unwrap();
                passed.push(exchange.body(&pieces).await.unwrap());
            }
            // The denies are decided twice, so they are called differently.
            let plain = |bytes: &Vec<u8>| {
                let text = String::from_utf8(bytes.clone()).unwrap();
                let (before, after) = text.split_once("authorizationContextId\":\"").expect("a deny");
                (before.to_owned(), after[36..].to_owned())
            };
            (plain(&passed[0]), plain(&passed[1]))
        });
        prop_assert_eq!(whole, cut);
    }
}
