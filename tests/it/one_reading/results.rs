//! What servers send: what needs no judging passes byte for byte, and what cannot be judged is answered.

use callgate::proto::agentgateway::ext_mcp::McpResponse;
use callgate::proto::agentgateway::ext_mcp::mcp_response_result::Result as OfResponse;
use serde_json::{Value as Json, json};

use crate::envoy::ext_proc::Exchange;
use crate::one_reading::panel::{self, Tree};
use crate::one_reading::world::{Doors, start};
use crate::support::wire::structure;

/// What becomes of something that a server sends.
#[derive(Debug, Clone, PartialEq)]
pub enum Passage {
    /// The same bytes reach the client.
    Unchanged,
    /// This result does in its place.
    Changed(String),
    /// An error does, for this id.
    Error(Json),
    /// A request that no client has does.
    Defused,
    /// Nothing does.
    Nothing,
}

impl Passage {
    /// Whether a gateway that keeps the ids to itself would say the same.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Error(_), Self::Error(_)) => true,
            (one, other) => one == other,
        }
    }
}

/// How a client of `ext_proc` gets an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Json,
    Events,
}

/// A message of a server through `ext_proc`, in answer to the request 7 of this method.
pub async fn through_envoy(doors: &Doors, form: Form, method: &str, message: &[u8]) -> Passage {
    let params = match method {
        "tools/call" => json!({"name": "read_text_file", "arguments": {"path": "/a"}}),
        _ => json!({}),
    };
    let asked = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
    let mut exchange = Exchange::open_with(doors.channel.clone(), None).await;
    exchange.pass(&asked).await;
    let (of_type, sent) = match form {
        Form::Json => ("application/json", message.to_vec()),
        Form::Events => {
            let event = [b"id: 1\ndata: ", message, b"\n\n"].concat();
            ("text/event-stream", event)
        }
    };
    exchange.answered_with(of_type).await.expect("headers");
    let passed = exchange.body(&[&sent]).await.expect("a body");
    if passed == sent {
        return Passage::Unchanged;
    }
    let text = String::from_utf8(passed).expect("text");
    let text = match form {
        Form::Json => text.as_str(),
        Form::Events => match text.lines().find_map(|line| line.strip_prefix("data: ")) {
            None => return Passage::Nothing,
            Some(data) => data,
        },
    };
    let tree = panel::parse(text.as_bytes()).unwrap_or_else(|| panic!("no JSON: {text}"));
    if panel::found(&tree, &["method"]) == [&Tree::Text("callgate/denied".to_owned())] {
        return Passage::Defused;
    }
    match panel::found(&tree, &["error"]).is_empty() {
        true => {
            let from = text.find("\"result\":").expect("a result") + "\"result\":".len();
            Passage::Changed(text[from..text.len() - 1].to_owned())
        }
        false => {
            let json: Json = serde_json::from_str(text).expect("JSON");
            Passage::Error(json["id"].clone())
        }
    }
}

/// A result through `ExtMcp`.
pub async fn through_agentgateway(doors: &mut Doors, method: &str, result: &[u8]) -> Passage {
    let response = McpResponse {
        service_names: vec!["files".to_owned()],
        method: method.to_owned(),
        metadata_context: Some(structure(&json!({"agent": "coder"}))),
        mcp_response: result.to_vec().into(),
    };
    let answer = doors.ext_mcp.check_response(response).await;
    match answer.expect("an answer").into_inner().result {
        Some(OfResponse::Pass(_)) => Passage::Unchanged,
        Some(OfResponse::Mutated(result)) => {
            Passage::Changed(String::from_utf8(result.to_vec()).expect("text"))
        }
        Some(OfResponse::Error(error)) => {
            assert!(!error.reason.is_empty());
            Passage::Error(Json::Null)
        }
        None => panic!("no result"),
    }
}

/// The message around a result.
pub fn reply(result: &[u8]) -> Vec<u8> {
    [br#"{"jsonrpc":"2.0","id":7,"result":"#, result, b"}"].concat()
}

/// A list of tools as a message, and what is to be left of it.
pub fn listing(names: &[&str], kept: &[&str]) -> (String, Json) {
    let tool = |name: &&str| json!({"name": name, "inputSchema": {"type": "object"}});
    let [all, kept] = [names, kept].map(|names| names.iter().map(tool).collect::<Json>());
    let message = json!({"jsonrpc": "2.0", "id": 7, "result": {"tools": all}});
    (message.to_string(), kept)
}

/// A result through every adapter that sees results: all of them make the same of it.
pub async fn passage(doors: &mut Doors, method: &str, result: &[u8]) -> Passage {
    let shown = String::from_utf8_lossy(result).into_owned();
    let message = reply(result);
    let json = through_envoy(doors, Form::Json, method, &message).await;
    let events = through_envoy(doors, Form::Events, method, &message).await;
    assert_eq!(json, events, "{method}: {shown}");
    let other = through_agentgateway(doors, method, result).await;
    assert!(
        json.is_like(&other),
        "{method}: {shown}: {json:?} and {other:?}"
    );
    json
}

#[tokio::test]
async fn what_needs_no_judging_passes_byte_for_byte() {
    let mut doors = Doors::open(start(&[]).await).await;
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    let text = |text: &str| format!(r#"{{"content":[{{"type":"text","text":"{text}"}}]}}"#);
    let data = |data: &str| format!(r#"{{"content":[],"structuredContent":{data}}}"#);
    for result in [
        text(r"\ud800"),
        text(r"half \udfff of a pair"),
        text(r"\ud83d\ude00 and \ud83d"),
        text(r"\u0000\u200b\u202e"),
        text("\u{202e}\u{feff}"),
        text(r#"{\"inputRequests\":{}}"#),
        data("18446744073709551616"),
        data("[18446744073709551615,-9223372036854775809]"),
        data("1e400"),
        data("-1E+999"),
        data("123456789012345678901234567890"),
        data("0.1000000000000000055511151231257827"),
        data("1.0"),
        data("-0"),
        data(r#"{"a":1,"A":2}"#),
        data(r#"{"a":1,"a":2}"#),
        data(r#"{"a\u0000":1,"a":{"\u200b":2}}"#),
        data(r#"{"\ud800":1}"#),
        data(r#"{"tools":[{"name":"write_file"}],"inputRequests":{"a":{"method":"x"}}}"#),
        data(&deep),
        data("  [ 1 ,\t2 ]"),
        r#"{"content":[{"type":"resource","resource":{"uri":"a:b","size":18446744073709551616}}]}"#.to_owned(),
        r#"{"content":[{"type":"audio","x":1e400}],"isError":false,"_meta":{"a":1,"A":1e400,"\ud800":2}}"#.to_owned(),
        r#"{"content":[],"isError":true,"other":[18446744073709551616,"\ud800"]}"#.to_owned(),
        // So does what the server names in the result that the state of a task has.
        r#"{"taskId":"t","result":{"content":[],"structuredContent":{"Id":1,"id":2,"n":1e400}}}"#.to_owned(),
        format!(r#"{{"result":{{"structuredContent":{deep},"_meta":{{"a":1,"A":2}}}}}}"#),
        r#"{"content":[{"type":"tool_result","structuredContent":{"PATH":1,"path":2}}]}"#.to_owned(),
        r#"{ "content" : [ ] }"#.to_owned(),
        r#"{"\u0063ontent":[]}"#.to_owned(),
    ] {
        for method in ["tools/call", "tools/list"] {
            let made = passage(&mut doors, method, result.as_bytes()).await;
            assert_eq!(made, Passage::Unchanged, "{method}: {result}");
        }
    }
}

#[tokio::test]
async fn members_that_decide_have_one_reading_in_results() {
    let mut doors = Doors::open(start(&[]).await).await;
    let asks =
        r#"{"a":{"method":"sampling/createMessage","params":{"maxTokens":1,"messages":[]}}}"#;
    for name in [
        "InputRequests",
        "inputrequests",
        r"inputRequests\u0000",
        r"input\u200bRequests",
        r"\ufeffinputRequests",
        r"inputReque\u017fts",
        r"\uff49nputRequests",
    ] {
        for result in [
            format!(r#"{{"content":[],"{name}":{asks}}}"#),
            format!(r#"{{"task":{{"taskId":"t","{name}":{asks}}}}}"#),
            format!(r#"{{"result":{{"content":[],"{name}":{asks}}}}}"#),
            format!(r#"{{"inputRequests":{{}},"{name}":{asks}}}"#),
        ] {
            let made = passage(&mut doors, "tools/call", result.as_bytes()).await;
            assert_eq!(made, Passage::Error(json!(7)), "{result}");
        }
    }
    for request in [
        r#"{"method":"sampling/createMessage","params":{"maxTokens":1,"messages":[]}}"#,
        r#"{"method":"elicitation/create","Method":"sampling/createMessage","params":{"maxTokens":1}}"#,
        r#"{"method":"elicitation/create","method\u0000":"sampling/createMessage"}"#,
        r#"{"\u006dethod":"sampling/createMessage","params":{"maxTokens":1,"messages":[]}}"#,
        r#"{"method":"elicitation/create","params":{"message":"","requestedSchema":{"type":"object","properties":{}}},"Params":{}}"#,
        r#"{"method":"elicitation/create","params":{"message":"","requestedSchema":{"properties":{}},"requestedschema":{"properties":{"password":{"type":"string"}}}}}"#,
        r#"{"method":"elicitation/create","params":{"message":"\ud800","requestedSchema":{"properties":{}}}}"#,
        r#"{"method":"elicitation/create","params":{"mode":"form","Mode":"url","url":"https://evil.example","message":"","requestedSchema":{"properties":{}}}}"#,
        r#"{"method":"elicitation/create","params":{"message":"","requestedSchema":{"properties":{"a":{"type":"string"},"a\u200b":{"type":"string"}}}}}"#,
        r#"{"method":"sampling/createMessage","params":{"maxTokens":1,"messages":[],"tools":[{"name":"a","Name":"write_file"}]}}"#,
        r#"{"method":"sampling/createMessage","params":{"maxTokens":1e400,"messages":[]}}"#,
    ] {
        let result = format!(r#"{{"content":[],"inputRequests":{{"a":{request}}}}}"#);
        let made = passage(&mut doors, "tools/call", result.as_bytes()).await;
        assert_eq!(made, Passage::Error(json!(7)), "{result}");
        // The same asked for in so many words.
        let (_, members) = request.split_once('{').expect("an object");
        let message = format!(r#"{{"jsonrpc":"2.0","id":1,{members}"#);
        for form in [Form::Json, Form::Events] {
            let made = through_envoy(&doors, form, "tools/call", message.as_bytes()).await;
            let turned_away = matches!(made, Passage::Defused | Passage::Error(_));
            assert!(turned_away, "{form:?} {message}: {made:?}");
        }
    }
    let form = r#"{"method":"elicitation/create","params":{"message":"Which?","requestedSchema":{"type":"object","properties":{"a":{"type":"string"}}}}}"#;
    let result = format!(r#"{{"content":[],"inputRequests":{{"a":{form}}}}}"#);
    let made = passage(&mut doors, "tools/call", result.as_bytes()).await;
    assert_eq!(made, Passage::Unchanged);
}

#[tokio::test]
async fn lists_lose_what_two_readers_could_call_by_another_name() {
    let mut doors = Doors::open(start(&[]).await).await;
    let good = r#"{"name":"read_text_file","inputSchema":{"type":"object"}}"#;
    // Another entry that cannot be judged costs nobody the good one.
    for entry in [
        r#"{"name":"write_file"}"#,
        r#"{"\u006eame":"write_file"}"#,
        r#"{"name":"nobody_registered_this"}"#,
        r#"{"name":"READ_TEXT_FILE"}"#,
        r#"{"name":"read_text_file\u0000"}"#,
        r#"{"name":"read_text_file\u200b"}"#,
        r#"{"name":"\ud800"}"#,
        r#"{"name":"write_file","inputSchema":{"maximum":1e400}}"#,
        r#"{"name":"read_text_file","annotations":{"title":"a","Title":"b"}}"#,
        r#"{"name":"read_text_file","name":"write_file"}"#,
        r#"{"name":"read_text_file","Name":"write_file"}"#,
        r#"{"name":"read_text_file","name\u0000":"write_file"}"#,
        r#"{"Name":"read_text_file"}"#,
        r#"{"name":["read_text_file"]}"#,
        r#""read_text_file""#,
    ] {
        let result = format!(r#"{{"tools":[{entry},{good}]}}"#);
        let made = passage(&mut doors, "tools/list", result.as_bytes()).await;
        assert_eq!(
            made,
            Passage::Changed(format!(r#"{{"tools":[{good}]}}"#)),
            "{entry}"
        );
    }
    for result in [
        format!(r#"{{"tools":[{good}],"Tools":[{{"name":"write_file"}}]}}"#),
        format!(r#"{{"tools":[{good}],"tool\u017f":[]}}"#),
        format!(r#"{{"tools":[{good}],"tools\u0000":[]}}"#),
        format!(r#"{{"tools":[{good}],"tools":[]}}"#),
        format!(r#"{{"Tools":[{good}]}}"#),
        r#"{"tools":{"name":"read_text_file"}}"#.to_owned(),
    ] {
        let made = passage(&mut doors, "tools/list", result.as_bytes()).await;
        assert_eq!(made, Passage::Error(json!(7)), "{result}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_answers_the_request() {
    let doors = Doors::open(start(&[]).await).await;
    for message in [
        &b"{"[..],
        b"null",
        b"[]",
        br#"[{"jsonrpc":"2.0","id":7,"result":{}}]"#,
        br#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}"#,
        br#"{"jsonrpc":"2.0","id":7,"result":{"content":[],"content":[]}}"#,
        br#"{"jsonrpc":"2.0","id":7,"id":8,"result":{}}"#,
        br#"{"jsonrpc":"2.0","id":7,"ID":8,"result":{}}"#,
        br#"{"jsonrpc":"2.0","id":7,"result":{},"Result":{}}"#,
        br#"{"jsonrpc":"2.0","id":7,"result":{},"error":{"code":1,"message":""}}"#,
        br#"{"jsonrpc":"2.0","id":7,"result":[]}"#,
        br#"{"jsonrpc":"1.0","id":7,"result":{}}"#,
        br#"{"jsonrpc":"2.0","id":7.5,"result":{}}"#,
        br#"{"jsonrpc":"2.0","id":18446744073709551616,"result":{}}"#,
        br#"{"jsonrpc":"2.0","id":7,"result":{"a\u0000":1}}"#,
        br#"{"jsonrpc":"2.0","id":7,"result":{"\ud800":1}}"#,
        br#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","Type":"x"}]}}"#,
        b"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}",
        b"\xef\xbb\xbf{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}",
    ] {
        let shown = String::from_utf8_lossy(message);
        for form in [Form::Json, Form::Events] {
            let made = through_envoy(&doors, form, "tools/call", message).await;
            assert_eq!(made, Passage::Error(json!(7)), "{form:?} {shown}");
        }
    }
}
