//! Requests of clients, a table for each kind of text that readers take for different ones. Those of names are in
//! [`names`](crate::one_reading::names).

use crate::one_reading::panel;
use crate::one_reading::world::{Doors, Said, known, known_params, start};

/// Denied for this reason.
pub fn denied(code: &str) -> Said {
    Said::Denied(Some(code.to_owned()))
}

/// Asks every adapter about a tool with a text of arguments.
pub async fn assert_call(doors: &mut Doors, tool: &str, arguments: &[u8], expected: &Said) {
    let shown = String::from_utf8_lossy(arguments);
    let all = doors.call(tool, arguments).await;
    let may_be_rounded = panel::parse(arguments).is_some_and(|it| panel::may_be_rounded(&it));
    for (door, said) in &all {
        let expected = match *door {
            "toolhive" if may_be_rounded => &Said::Refused,
            _ => expected,
        };
        assert!(
            said.is_like(expected),
            "{door} of {tool} with {shown}: {said:?} in place of {expected:?}"
        );
    }
    if *expected == Said::Allowed {
        let tree = panel::parse(arguments).expect("JSON");
        panel::same_to_all(&tree, &known(tool)).unwrap_or_else(|why| panic!("{shown}: {why}"));
    }
}

/// Asks every adapter that reads the parameters of a call.
pub async fn assert_params(doors: &mut Doors, params: &str, expected: &Said) {
    let all = doors.params(params.as_bytes()).await;
    assert_eq!(all.len(), 3);
    for (door, said) in &all {
        assert!(
            said.is_like(expected),
            "{door} with {params}: {said:?} in place of {expected:?}"
        );
    }
    if *expected == Said::Allowed {
        let tree = panel::parse(params.as_bytes()).expect("JSON");
        let known = known_params("read_text_file");
        panel::same_to_all(&tree, &known).unwrap_or_else(|why| panic!("{params}: {why}"));
    }
}

#[tokio::test]
async fn members_of_a_message_have_one_reading() {
    let mut doors = Doors::open(start(&[]).await).await;
    let call = r#""params":{"name":"read_text_file","arguments":{"path":"/a"}}"#;
    let other = r#""params":{"name":"write_file","arguments":{"path":"/a"}}"#;
    let start = r#""jsonrpc":"2.0","id":7"#;
    let method = r#""method":"tools/call""#;
    for (text, expected) in [
        (format!("{{{start},{method},{call}}}"), Said::Allowed),
        (format!("{{{call},{method},{start}}}"), Said::Allowed),
        (format!("{{{start},{method},{other}}}"), denied("FORBIDDEN")),
        (
            format!("{{{start},{method},{call},{other}}}"),
            Said::Refused,
        ),
        (
            format!(
                "{{{start},{method},{call},{}}}",
                other.replace("params", "Params")
            ),
            Said::Refused,
        ),
        (
            format!(
                "{{{start},{method},{call},{}}}",
                other.replace("params", r"params\u0000")
            ),
            Said::Refused,
        ),
        (
            format!(
                "{{{start},{method},{call},{}}}",
                other.replace("params", r"param\u017f")
            ),
            Said::Refused,
        ),
        (
            format!("{{{start},{method},\"Method\":\"ping\",{call}}}"),
            Said::Refused,
        ),
        (
            format!("{{{start},{method},\"method\\u200b\":\"ping\",{call}}}"),
            Said::Refused,
        ),
        (
            format!("{{{start},{method},{call},\"result\":{{}}}}"),
            Said::Refused,
        ),
        (
            format!("{{\"jsonrpc\":\"2.0\",\"id\":7.5,{method},{call}}}"),
            Said::Refused,
        ),
        (
            format!("{{\"jsonrpc\":\"2.0\",\"id\":99999999999999999999,{method},{call}}}"),
            Said::Refused,
        ),
        (
            format!("\u{feff}{{{start},{method},{call}}}"),
            Said::Refused,
        ),
        (
            format!("{{{start},{method},{call}}}{{{start},{method},{other}}}"),
            Said::Refused,
        ),
        (format!("{{{start},{method},{call}}}\0"), Said::Refused),
        (format!("[{{{start},{method},{call}}}]"), Said::Refused),
        (format!("/* */{{{start},{method},{call}}}"), Said::Refused),
        (format!("{{{start},{method},{call},}}"), Said::Refused),
        (
            format!("{{{start},{method},{call}}}").replace('"', "'"),
            Said::Refused,
        ),
        (
            format!("{{{start},{method},{call}}}").replace("\"id\"", "id"),
            Said::Refused,
        ),
        (
            format!("{{{start},{method},\"params\":null}}"),
            Said::Refused,
        ),
        (String::new(), Said::Refused),
    ] {
        let all = doors.message(text.as_bytes()).await;
        for (door, said) in &all {
            assert!(said.is_like(&expected), "{door} with {text}: {said:?}");
        }
    }
    // What is no UTF-8, and what is JSON in another one of Unicode's forms.
    let plain = format!("{{{start},{method},{call}}}");
    let wide = |of: fn(u16) -> [u8; 2]| plain.encode_utf16().flat_map(of).collect::<Vec<u8>>();
    for bytes in [
        plain
            .replace("/a", "/\u{80}")
            .into_bytes()
            .into_iter()
            .filter(|byte| *byte != 0xc2)
            .collect(),
        [b"\xff\xfe".to_vec(), wide(u16::to_le_bytes)].concat(),
        wide(u16::to_be_bytes),
        [b"\xef\xbb\xbf", plain.as_bytes()].concat(),
        plain.replace("/a", "\u{0}").into_bytes(),
    ] {
        let all = doors.message(&bytes).await;
        assert!(
            all.values().all(|said| *said == Said::Refused),
            "{bytes:?}: {all:?}"
        );
    }
}

#[tokio::test]
async fn a_call_without_its_arguments_is_not_decided() {
    let mut doors = Doors::open(start(&[]).await).await;
    let missing = || denied("CONTEXT_MISSING");
    for (tool, arguments, expected) in [
        ("read_text_file", "{}", missing()),
        ("read_text_file", r#"{"head":3}"#, missing()),
        ("read_text_file", r#"{"path":null}"#, missing()),
        ("read_text_file", r#"{"pathname":"/a"}"#, missing()),
        (
            "read_text_file",
            r#"{"arguments":{"path":"/a"}}"#,
            missing(),
        ),
        ("compare", r#"{"Path":"/a"}"#, missing()),
        ("read_many", "{}", missing()),
        ("read_many", r#"{"files":null}"#, missing()),
        ("read_many", r#"{"files":[{"path":"/a"},{}]}"#, missing()),
        ("read_many", r#"{"files":[{"mode":"r"}]}"#, missing()),
        ("pay", "{}", missing()),
        ("pay", r#"{"account":1,"memo":"x"}"#, missing()),
        ("pay", r#"{"amount":null}"#, missing()),
        ("write_file", "{}", missing()),
        ("free", "{}", Said::Allowed),
        (
            "read_text_file",
            r#"{"path":"","head":null}"#,
            Said::Allowed,
        ),
        ("read_text_file", "null", Said::Refused),
        ("read_text_file", "[]", Said::Refused),
        ("read_text_file", r#""{\"path\":\"/a\"}""#, Said::Refused),
    ] {
        if arguments == "null" {
            // ToolHive's `args` may be absent, and so null: it is no arguments.
            let all = doors
                .params(br#"{"name":"read_text_file","arguments":null}"#)
                .await;
            assert!(all.values().all(|said| *said == expected), "{all:?}");
            continue;
        }
        assert_call(&mut doors, tool, arguments.as_bytes(), &expected).await;
    }
    // A Struct that nobody filled, and no input at all.
    let empty = callgate::proto::v1::call_tool::Input::Arguments(prost_types::Struct::default());
    let nothing = callgate::proto::v1::call_tool::Input::ArgumentsJson(bytes::Bytes::new());
    for input in [Some(empty), Some(nothing), None] {
        assert_eq!(
            doors.native("read_text_file", input.clone()).await,
            missing(),
            "{input:?}"
        );
        assert_eq!(doors.native("free", input).await, Said::Allowed);
    }
    assert_params(&mut doors, r#"{"name":"read_text_file"}"#, &missing()).await;
    assert_params(&mut doors, r#"{"arguments":{"path":"/a"}}"#, &Said::Refused).await;
    assert_params(&mut doors, r#"{"name":"free"}"#, &Said::Allowed).await;
    let all = doors
        .message(br#"{"jsonrpc":"2.0","id":7,"method":"tools/call"}"#)
        .await;
    assert!(all.values().all(|said| *said == Said::Refused), "{all:?}");
}

#[tokio::test]
async fn numbers_are_the_same_to_every_reader_or_refused() {
    let mut doors = Doors::open(start(&[]).await).await;
    let invalid = || denied("CONTEXT_INVALID");
    let forbidden = || denied("FORBIDDEN");
    for (account, expected) in [
        ("9007199254740991", Said::Allowed),
        ("9007199254740992", forbidden()),
        ("9007199254740992.0", forbidden()),
        ("9.007199254740992e15", forbidden()),
        ("90071992547409920e-1", forbidden()),
        ("9007199254740993", invalid()),
        ("9007199254740993.0", Said::Refused),
        ("9007199254740993e0", Said::Refused),
        ("9.007199254740993e15", Said::Refused),
        ("9007199254740992.1", Said::Refused),
        ("9007199254740994", Said::Allowed),
        ("9223372036854775807", invalid()),
        ("9223372036854775808", Said::Refused),
        ("18446744073709551616", Said::Refused),
        ("1.0", Said::Allowed),
        ("1e0", Said::Allowed),
        ("10e-1", Said::Allowed),
        ("-0.0", Said::Allowed),
        ("1E+2", Said::Allowed),
        ("1.5", invalid()),
        ("1e400", Said::Refused),
        ("1e-400", Said::Refused),
        ("\"1\"", invalid()),
        ("01", Said::Refused),
        ("+1", Said::Refused),
        ("1.", Said::Refused),
        (".5", Said::Refused),
        ("0x10", Said::Refused),
        ("1_000", Said::Refused),
        ("NaN", Said::Refused),
        ("Infinity", Said::Refused),
        ("-", Said::Refused),
    ] {
        let arguments = format!(r#"{{"amount":5,"account":{account}}}"#);
        assert_call(&mut doors, "pay", arguments.as_bytes(), &expected).await;
    }
    for (amount, expected) in [
        ("99.9999", Said::Allowed),
        ("1e1", Said::Allowed),
        ("5.0", Said::Allowed),
        ("99.99990", Said::Allowed),
        ("100", forbidden()),
        ("100.0", forbidden()),
        ("1e2", forbidden()),
        ("1000000e-2", forbidden()),
        ("99.99999", invalid()),
        ("1e-5", invalid()),
        ("1e300", invalid()),
        ("99.99999999999999999", Said::Refused),
        ("0.1000000000000000055", Said::Refused),
        ("\"5\"", invalid()),
        ("true", invalid()),
    ] {
        let arguments = format!(r#"{{"amount":{amount}}}"#);
        assert_call(&mut doors, "pay", arguments.as_bytes(), &expected).await;
    }
}

#[tokio::test]
async fn a_text_of_json_is_whole_and_one() {
    let mut doors = Doors::open(start(&[]).await).await;
    for text in [
        &br#"{"path":"/a","path":"/b"}"#[..],
        br#"{"path":"/a","\u0070ath":"/b"}"#,
        br#"{"path":"/a","x":{"y":1,"y":2}}"#,
        br#"{"path":"\ud800"}"#,
        br#"{"path":"\udc00\ud800"}"#,
        br#"{"\ud800":1,"path":"/a"}"#,
        b"{\"path\":\"\xff\"}",
        b"{\"path\":\"\xc0\xaf\"}",
        b"{\"path\":\"\xed\xa0\x80\"}",
        b"{\"path\":\"/a\n\"}",
        b"{\"path\":\"/a\"}x",
        b"\xef\xbb\xbf{\"path\":\"/a\"}",
        br#"{"path":"/a",}"#,
        br#"{"path":"/a"/**/}"#,
        br#"{"path":"/a"}//"#,
        br#"{'path':'/a'}"#,
        br#"{path:"/a"}"#,
        br#"{"path":"\x2fa"}"#,
        br#"{"path":"\v"}"#,
        br#"{"path":"/a""#,
        b"{\x0c\"path\":\"/a\"}",
        "{\u{a0}\"path\":\"/a\"}".as_bytes(),
    ] {
        assert_call(&mut doors, "read_text_file", text, &Said::Refused).await;
    }
    // The same depth for everybody.
    for levels in 25..40_usize {
        let text = format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        let expected = match levels < 32 {
            true => Said::Allowed,
            false => Said::Refused,
        };
        assert_call(&mut doors, "free", text.as_bytes(), &expected).await;
    }
    for (text, expected) in [
        (&b" {\r\n\t\"path\" : \"/a\" } "[..], Said::Allowed),
        (br#"{"path":"\/a\ud83d\ude00"}"#, Said::Allowed),
    ] {
        assert_call(&mut doors, "read_text_file", text, &expected).await;
    }
}
