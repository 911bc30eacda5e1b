//! Names of members that one reader takes for another: refused at every depth, by every adapter.

use crate::one_reading::requests::{assert_call, assert_params, denied};
use crate::one_reading::world::{Doors, Said, start};

/// Each name in a call that is otherwise fine, at every depth at which a member can stand.
const NAMES_OF_NOBODY: [&str; 16] = [
    r"path\u0000",
    r"\u0000path",
    r"path\u200b",
    r"\u200dpath",
    r"pa\u00adth",
    r"path\u202e",
    r"\u2066path",
    r"path\ufeff",
    r"path\ufe0f",
    r"path\n",
    r"path\t",
    r"path\u007f",
    r"path\u0085",
    r"path\u2028",
    r"path\u00a0",
    r"path\udb40\udc41",
];

#[tokio::test]
async fn names_with_what_nobody_sees_are_refused_at_every_depth() {
    let mut doors = Doors::open(start(&[]).await).await;
    for name in NAMES_OF_NOBODY {
        for (tool, arguments) in [
            (
                "read_text_file",
                format!(r#"{{"path":"/a","{name}":"/b"}}"#),
            ),
            ("read_text_file", format!(r#"{{"{name}":"/b"}}"#)),
            (
                "compare",
                format!(r#"{{"path":"/a","Path":"/b","{name}":"/c"}}"#),
            ),
            (
                "read_many",
                format!(r#"{{"files":[{{"path":"/a","{name}":"/b"}}]}}"#),
            ),
            ("free", format!(r#"{{"a":{{"b":[{{"{name}":1}}]}}}}"#)),
        ] {
            assert_call(&mut doors, tool, arguments.as_bytes(), &Said::Refused).await;
        }
    }
    // As it is written, without an escape.
    for raw in [
        "{\"path\":\"/a\",\"path\u{200b}\":\"/b\"}",
        "{\"path\u{7f}\":1}",
    ] {
        assert_call(&mut doors, "read_text_file", raw.as_bytes(), &Said::Refused).await;
    }
    for (params, expected) in [
        (
            r#"{"name":"read_text_file","name\u0000":"write_file","arguments":{"path":"/a"}}"#,
            Said::Refused,
        ),
        (
            r#"{"name":"read_text_file","arguments":{"path":"/a"},"arguments\u0000":{"path":"/b"}}"#,
            Said::Refused,
        ),
        (
            r#"{"name":"read_text_file","arguments":{"path":"/a"},"argu\u200bments":{"path":"/b"}}"#,
            Said::Refused,
        ),
        (
            r#"{"name":"read_text_file","\ufeffname":"write_file","arguments":{"path":"/a"}}"#,
            Said::Refused,
        ),
        (
            r#"{"name":"read_text_file","na\u00adme":"write_file","arguments":{"path":"/a"}}"#,
            Said::Refused,
        ),
        (
            r#"{"name":"read_text_file","arguments":{"path":"/a"},"_meta":{"x":{"y\u0000":1}}}"#,
            Said::Refused,
        ),
        (
            r#"{"name":"read_text_file","arguments":{"path":"/a"},"other":[{"y\u0000":1}]}"#,
            Said::Refused,
        ),
        // A letter as an escape is that letter to everybody.
        (
            r#"{"\u006eame":"read_text_file","\u0061rguments":{"\u0070ath":"/a"}}"#,
            Said::Allowed,
        ),
        (
            r#"{"\u006eame":"write_file","arguments":{"path":"/a"}}"#,
            denied("FORBIDDEN"),
        ),
        (
            r#"{"name":"read_text_file","\u006eame":"write_file","arguments":{"path":"/a"}}"#,
            Said::Refused,
        ),
    ] {
        assert_params(&mut doors, params, &expected).await;
    }
}

#[tokio::test]
async fn names_that_fold_to_one_are_refused_unless_the_schema_declares_both() {
    let mut doors = Doors::open(start(&[]).await).await;
    let invalid = || denied("CONTEXT_INVALID");
    for (tool, arguments, expected) in [
        ("read_text_file", r#"{"path":"/a"}"#, Said::Allowed),
        ("read_text_file", r#"{"path":"/a","Path":"/b"}"#, invalid()),
        ("read_text_file", r#"{"path":"/a","PATH":"/b"}"#, invalid()),
        ("read_text_file", r#"{"Path":"/b"}"#, invalid()),
        (
            "read_text_file",
            r#"{"path":"/a","\uff50ath":"/b"}"#,
            invalid(),
        ),
        (
            "read_text_file",
            r#"{"path":"/a","p\u1d43th":"/b"}"#,
            invalid(),
        ),
        ("read_text_file", r#"{"path":"/a","Head":3}"#, invalid()),
        ("compare", r#"{"path":"/a","Path":"/b"}"#, Said::Allowed),
        ("compare", r#"{"Path":"/a","path":"/b"}"#, Said::Allowed),
        (
            "compare",
            r#"{"path":"/a","Path":"/b","PATH":"/c"}"#,
            invalid(),
        ),
        ("compare", r#"{"path":"/a"}"#, denied("CONTEXT_MISSING")),
        (
            "compare",
            r#"{"path":"/a","path":"/b","Path":"/c"}"#,
            Said::Refused,
        ),
        (
            "read_many",
            r#"{"files":[{"path":"/a","mode":"r"},{"path":"/b"}]}"#,
            Said::Allowed,
        ),
        (
            "read_many",
            r#"{"files":[{"path":"/a"},{"path":"/a","Path":"/b"}]}"#,
            invalid(),
        ),
        (
            "read_many",
            r#"{"files":[{"path":"/a","MODE":"w"}]}"#,
            invalid(),
        ),
        (
            "read_many",
            r#"{"files":[{"path":"/a"}],"Files":[]}"#,
            invalid(),
        ),
        (
            "read_many",
            r#"{"files":[{"path":"/a","x":{"s":1,"\u017f":2}}]}"#,
            invalid(),
        ),
        ("pay", r#"{"amount":5,"Amount":500}"#, invalid()),
        ("pay", r#"{"Amount":500,"amount":5}"#, invalid()),
        ("pay", r#"{"amount":5,"\u1d2cmount":500}"#, invalid()),
        ("free", r#"{"task":1,"tas\u212a":2}"#, invalid()),
        ("free", r#"{"a":[[{"s":1,"\u017f":2}]]}"#, invalid()),
        ("free", r#"{"caf\u00e9":1,"cafe\u0301":2}"#, invalid()),
        ("free", r#"{"stra\u00dfe":1,"STRASSE":2}"#, invalid()),
        ("free", r#"{"id":1,"ID":2}"#, invalid()),
        ("free", r#"{"ID":1,"x":{"id":2}}"#, Said::Allowed),
    ] {
        assert_call(&mut doors, tool, arguments.as_bytes(), &expected).await;
    }
    for params in [
        r#"{"name":"read_text_file","Name":"write_file","arguments":{"path":"/a"}}"#,
        r#"{"Name":"read_text_file","arguments":{"path":"/a"}}"#,
        r#"{"name":"read_text_file","arguments":{"path":"/a"},"Arguments":{"path":"/b"}}"#,
        r#"{"name":"read_text_file","arguments":{"path":"/a"},"argument\u017f":{"path":"/b"}}"#,
        r#"{"name":"read_text_file","arguments":{"path":"/a"},"\uff41rguments":{"path":"/b"}}"#,
        r#"{"name":"read_text_file","arguments":{"path":"/a"},"other":{"a":1,"A":2}}"#,
        r#"{"name":"read_text_file","arguments":{"path":"/a"},"tas\u212a":{},"task":{}}"#,
    ] {
        assert_params(&mut doors, params, &Said::Refused).await;
    }
}

#[tokio::test]
async fn names_of_a_prompts_arguments_have_one_reading() {
    let mut doors = Doors::open(start(&[]).await).await;
    for (arguments, expected) in [
        (r#"{"path":"a"}"#, Said::Allowed),
        (r#"{"path":"a","Path":"b"}"#, Said::Refused),
        (r#"{"path":"a","path":"b"}"#, Said::Refused),
        (r#"{"path":"a","path\u0000":"b"}"#, Said::Refused),
        (r#"{"path\u200b":"b"}"#, Said::Refused),
        (r#"{"task":"a","tas\u212a":"b"}"#, Said::Refused),
        (r#"{"caf\u00e9":"a","cafe\u0301":"b"}"#, Said::Refused),
    ] {
        let mut all = doors.prompt(arguments).await;
        if arguments.matches("\"path\"").count() == 2 {
            // A map of the protocol has no name twice.
            all.remove("native");
        }
        for (door, said) in &all {
            assert_eq!(*said, expected, "{door} with {arguments}");
        }
    }
}
