use proptest::prelude::*;

use super::*;
use crate::adapters::mcp::methods::Sender;
use crate::adapters::mcp::request::intent::MessageIntent;
use crate::adapters::mcp::request::operations::from_request;
use crate::adapters::mcp::request::{client_responses, header_value};
use crate::domain::request::call_context::Told;

fn read_text(text: &str) -> Result<ClientMessage, MessageRejection> {
    read(text.as_bytes(), &Limits::default())
}

fn fault(text: &str) -> MessageError {
    read_text(text).expect_err(text).fault
}

#[test]
fn the_three_kinds_of_messages_are_told_apart() {
    let request =
        read_text(r#" {"jsonrpc":"2.0","id":7,"method":"tools/list","params":{"cursor":"x"}} "#);
    let Ok(ClientMessage::Request { id, method, params }) = request else {
        panic!("{request:?}");
    };
    assert_eq!((id, method.as_str()), (JsonRpcId::Number(7), "tools/list"));
    assert_eq!(params["cursor"], "x");

    let without_params = read_text(r#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#);
    let expected = ClientMessage::Request {
        id: JsonRpcId::Text("a".to_owned()),
        method: "ping".to_owned(),
        params: Map::new(),
    };
    assert_eq!(without_params, Ok(expected));

    let notification = read_text(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    assert!(matches!(
        notification,
        Ok(ClientMessage::Notification { .. })
    ));

    for (text, expected) in [
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, false),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{"action":"accept"}}"#,
            true,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}"#,
            false,
        ),
    ] {
        let Ok(ClientMessage::Reply { id, content }) = read_text(text) else {
            panic!("{text} is a reply");
        };
        assert_eq!(id, JsonRpcId::Number(1));
        let tells = !content.expect("all of it is there").tells_nothing();
        assert_eq!(tells, expected, "{text}");
    }
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    for (what, text, said) in [
        (
            "a batch",
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
            "batches",
        ),
        ("an empty batch", "[]", "batches"),
        ("a text", r#""tools/call""#, "a JSON object"),
        ("nothing", "", "not JSON"),
        (
            "a cut body",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/ca"#,
            "not JSON",
        ),
        (
            "a second message",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}{}"#,
            "not JSON",
        ),
        (
            "two methods",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#,
            "twice",
        ),
        (
            "two methods, one escaped",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","\u006dethod":"tools/call"}"#,
            "twice",
        ),
        (
            "two names below",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#,
            "twice",
        ),
        (
            "two arguments",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":1,"x":2}}}"#,
            "twice",
        ),
        (
            "a method in capitals",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#,
            "`Method`",
        ),
        (
            "a long s",
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"param\u{17f}\":{}}",
            "no such member",
        ),
        (
            "method and result",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
            "either",
        ),
        (
            "result and error",
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
            "either",
        ),
        (
            "a reply with parameters",
            r#"{"jsonrpc":"2.0","id":1,"result":{},"params":{}}"#,
            "either",
        ),
        (
            "a reply to nothing",
            r#"{"jsonrpc":"2.0","result":{}}"#,
            "either",
        ),
        ("nothing but a version", r#"{"jsonrpc":"2.0"}"#, "either"),
        ("no version", r#"{"id":1,"method":"ping"}"#, "jsonrpc"),
        (
            "a version of another kind",
            r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#,
            "jsonrpc",
        ),
        (
            "a method that is no text",
            r#"{"jsonrpc":"2.0","id":1,"method":["ping"]}"#,
            "`method`",
        ),
        (
            "parameters in a list",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}"#,
            "`params`",
        ),
        (
            "parameters that are null",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#,
            "`params`",
        ),
        (
            "half a character",
            r#"{"jsonrpc":"2.0","id":1,"method":"\ud800"}"#,
            "not JSON",
        ),
        (
            "a byte order mark",
            "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
            "not JSON",
        ),
        (
            "a number beyond 64 bits",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"n":9223372036854775808}}}"#,
            "64 bits",
        ),
        (
            "a number far beyond 64 bits",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"n":123456789012345678901234567890}}}"#,
            "64 bits",
        ),
    ] {
        let shown = fault(text).to_string();
        assert!(shown.contains(said), "{what}: {shown}");
    }
    let not_utf8 = read(
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}",
        &Limits::default(),
    );
    assert_eq!(not_utf8.expect_err("not UTF-8").fault.code(), -32700);
}

#[test]
fn ids_come_back_as_they_came_or_not_at_all() {
    for id in [
        "0",
        "-9223372036854775808",
        "9223372036854775807",
        r#""""#,
        r#""a\nb""#,
    ] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let Ok(ClientMessage::Request { id: read, .. }) = read_text(&text) else {
            panic!("{text}");
        };
        assert_eq!(read.to_json().to_string(), id);
    }
    for id in ["null", "1.5", "true", "[1]", "{}", "9223372036854775808"] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        assert_eq!(read_text(&text).expect_err(id).id, None, "{id}");
    }
    // To JSON a number is what it is worth.
    for (id, worth) in [("1e3", 1_000), ("7.0", 7)] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        assert!(
            matches!(read_text(&text), Ok(ClientMessage::Request { id: JsonRpcId::Number(read), .. }) if read == worth),
            "{id}"
        );
    }
    let long = "x".repeat(Limits::default().id_bytes as usize + 1);
    let text = format!(r#"{{"jsonrpc":"2.0","id":"{long}","method":"ping"}}"#);
    assert_eq!(fault(&text), MessageError::Id(Limits::default().id_bytes));

    let unreadable = read_text(r#"{"jsonrpc":"2.0","id":5,"method":"ping","extra":1}"#);
    assert_eq!(
        unreadable.expect_err("a fault").id,
        Some(JsonRpcId::Number(5))
    );
}

#[test]
fn a_number_and_the_text_of_its_digits_may_be_taken_for_one_id() {
    let text = |text: &str| JsonRpcId::Text(text.to_owned());
    let seven = JsonRpcId::Number(7);
    for (one, other, are_alike) in [
        (&seven, JsonRpcId::Number(7), true),
        (&seven, text("7"), true),
        (&JsonRpcId::Number(-7), text("-7"), true),
        (&text("a"), text("a"), true),
        (&seven, JsonRpcId::Number(8), false),
        (&seven, text("07"), false),
        (&seven, text("7.0"), false),
        (&text("7"), text("7 "), false),
    ] {
        assert_eq!(one.may_be_taken_for(&other), are_alike, "{one:?} {other:?}");
        assert_eq!(other.may_be_taken_for(one), are_alike, "{one:?} {other:?}");
    }
}

#[test]
fn arguments_may_be_nested_as_deeply_as_elsewhere() {
    let limits = Limits {
        json_depth: 3,
        ..Limits::default()
    };
    let call = |arguments: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"a","arguments":{arguments}}}}}"#
        )
    };
    assert!(read(call(r#"{"a":{"b":[1]}}"#).as_bytes(), &limits).is_ok());
    let find_excess = read(call(r#"{"a":{"b":[[1]]}}"#).as_bytes(), &limits);
    let said = find_excess.expect_err("too deep").fault.to_string();
    assert!(said.contains("nested deeper"), "{said}");
}

/// Text that looks like a message, and is one now and then.
fn almost() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":"#,
        r#"{"jsonrpc":"2.0","id":"\ud800","result":"#,
        r#"{"name":"a","arguments":"#,
        r#"{"inputResponses":{"a":"#,
        r#"{"requestedSchema":{"properties":"#,
        r#"{"notifications":{"resourceSubscriptions":["#,
        r#"{"ref":{"type":"ref/prompt","name":"#,
        r#""a":"#,
        r#""a\u0000""#,
        r#""\udc00""#,
        "1e999",
        "-0",
        "18446744073709551616",
        "1.5",
        "null",
        "true",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\"",
        "}}",
        "}}}",
        "\u{feff}",
        " ",
    ]);
    prop::collection::vec(token, 1..12).prop_map(|tokens| tokens.concat())
}

#[test]
fn a_reply_tells_nothing_only_where_nothing_can_be_hidden_in_it() {
    let long = format!(r#""error":{{"code":1,"message":"{}"}}"#, "x".repeat(257));
    for (content, tells) in [
        (r#""result":{}"#, false),
        (r#""result":{"_meta":{}}"#, false),
        (r#""result":{"_meta":{"x":"the private text"}}"#, true),
        (r#""result":{"_meta":"the private text"}"#, true),
        (r#""error":{"code":-32601,"message":"not here"}"#, false),
        (
            r#""error":{"code":1,"message":"m","data":{"roots":[]}}"#,
            true,
        ),
        (r#""error":{"code":1,"message":"m","data":null}"#, true),
        (&long, true),
    ] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,{content}}}"#);
        let Ok(ClientMessage::Reply { content, .. }) = read_text(&text) else {
            panic!("{text}");
        };
        let content = content.expect("all of it is there");
        assert_eq!(!content.tells_nothing(), tells, "{text}");
        let Ok(MessageIntent::Authorize(operations)) =
            client_responses::from_reply(&"git".into(), &content)
        else {
            panic!("{text}");
        };
        assert_eq!(operations[0].answers.is_some(), tells, "{text}");
    }
}

#[test]
fn an_error_is_an_error_object() {
    for error in [
        r#""the private text""#,
        "null",
        "[]",
        "1",
        "{}",
        r#"{"code":1}"#,
        r#"{"message":"m"}"#,
        r#"{"code":1.5,"message":"m"}"#,
        r#"{"code":"1","message":"m"}"#,
        r#"{"code":1,"message":{"text":"m"}}"#,
        r#"{"code":1,"message":"m","more":"the private text"}"#,
    ] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"error":{error}}}"#);
        let refused = read_text(&text).expect_err(error);
        assert_eq!(refused.fault, MessageError::Error, "{text}");
        assert_eq!(refused.fault.code(), -32600);
    }
}

#[test]
fn what_is_json_and_of_no_use_is_answered_under_its_id() {
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    for (text, id, code) in [
        (
            r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"arguments":{"n":9223372036854775808}}}"#,
            true,
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"arguments":{"a":1,"a":2}}}"#,
            true,
            -32602,
        ),
        (
            &format!(
                r#"{{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{{"arguments":{{"a":{deep}}}}}}}"#
            ),
            true,
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":5,"method":"ping","result":{"a":1,"a":2}}"#,
            true,
            -32600,
        ),
        // Which of the two ids is meant is not known.
        (
            r#"{"jsonrpc":"2.0","id":5,"id":6,"method":"ping"}"#,
            false,
            -32600,
        ),
        (
            r#"{"jsonrpc":"2.0","id":9223372036854775808,"method":"ping"}"#,
            false,
            -32600,
        ),
        (r#"{"jsonrpc":"2.0","id":5,"method":"ping""#, false, -32700),
        (
            r#"{"jsonrpc":"2.0","id":5,"method":"ping"}{}"#,
            false,
            -32700,
        ),
    ] {
        let refused = read_text(text).expect_err(text);
        let expected = id.then_some(JsonRpcId::Number(5));
        assert_eq!(
            (refused.id, refused.fault.code()),
            (expected, code),
            "{text}"
        );
    }
    let refused = read(
        b"{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"\xff\"}",
        &Limits::default(),
    );
    assert_eq!(refused.expect_err("no UTF-8").fault.code(), -32700);
}

proptest! {
    #[test]
    fn whatever_comes_is_read_or_refused(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..64),
            almost().prop_map(String::into_bytes),
        ],
    ) {
        let limits = Limits::default();
        let server = "git".into();
        match read(&bytes, &limits) {
            Ok(ClientMessage::Request { method, params, .. }) => {
                for sender in [Sender::Client, Sender::Server] {
                    let asked = from_request(
                        sender,
                        &server,
                        &method,
                        params.clone(),
                        Told::All,
                        &limits,
                    );
                    if let Ok(MessageIntent::Authorize(operations)) = asked {
                        prop_assert!(!operations.is_empty());
                    }
                }
            }
            Ok(ClientMessage::Reply { content: Some(content), .. }) => {
                let _ = client_responses::from_reply(&server, &content);
            }
            Ok(_) | Err(_) => {}
        }
    }

    #[test]
    fn whatever_a_header_holds_is_decoded_or_refused(value in "(=\\?base64\\?)?[A-Za-z0-9+/=?]{0,20}(\\?=)?") {
        let _ = header_value::decoded(&value);
    }
}

#[test]
fn an_error_document_is_what_no_reader_takes_for_a_message() {
    for text in [
        r#"{"error":"invalid_token","error_description":"expired"}"#,
        r#" {"type":"about:blank","status":404,"detail":{"id":7,"error":{}}} "#,
        "{}",
    ] {
        assert!(is_error_document(text.as_bytes()), "{text}");
    }
    for text in [
        r#"{"jsonrpc":"2.0"}"#,
        r#"{"JsonRPC":"2.0"}"#,
        r#"{"error":{"code":1}}"#,
        r#"{"Error":"invalid_token"}"#,
        r#"{"id":7,"error":"invalid_token"}"#,
        r#"{"error":"a","error":{"code":1}}"#,
        r#"{"re\u200bsult":{}}"#,
        r#"{"m\u0065thod":"x"}"#,
        r#"{"a":1}{"b":2}"#,
        "[]",
        "\"error\"",
        "",
    ] {
        assert!(!is_error_document(text.as_bytes()), "{text}");
    }
}
