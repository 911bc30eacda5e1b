use serde_json::json;

use super::*;

#[test]
fn both_spellings_of_a_field_are_read() {
    let text = r#"{"subject":{"entity":{"type":"Agent","id":"a"}},"approval_ids":["x"],
        "operation":{"server":"git","callTool":{"tool":"log","arguments":{"n":3}}}}"#;
    let call: v1::CallContext = read("CallContext", text).expect("a message");
    assert_eq!(call.approval_ids, ["x"]);
    let again: v1::CallContext =
        read("CallContext", &text.replace("approval_ids", "approvalIds")).expect("a message");
    assert_eq!(call, again);
    assert!(matches!(
        call.operation.and_then(|operation| operation.kind),
        Some(v1::operation::Kind::CallTool(_))
    ));
}

#[test]
fn a_field_that_does_not_exist_is_refused_by_name() {
    for (text, wanted) in [
        (r#"{"subjekt":{}}"#, "subjekt"),
        (r#"{"operation":{"callTool":{"toool":"x"}}}"#, "toool"),
        ("{} {}", "trailing"),
        ("[]", "sequence"),
        ("", "EOF"),
    ] {
        let error = read::<v1::CallContext>("CallContext", text)
            .expect_err(text)
            .to_string();
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn a_key_that_occurs_twice_is_refused_at_any_depth_and_in_either_spelling() {
    for (text, wanted) in [
        (r#"{"subject":{},"subject":{}}"#, "subject"),
        (
            r#"{"subject":{"entity":{"type":"Agent","id":"a","id":"b"}}}"#,
            "id",
        ),
        (r#"{"operation":{"server":"git","server":"hub"}}"#, "server"),
        (
            r#"{"operation":{"callTool":{"tool":"x"},"callTool":{"tool":"y"}}}"#,
            "callTool",
        ),
        (
            r#"{"operation":{"callTool":null,"callTool":{"tool":"y"}}}"#,
            "callTool",
        ),
        (
            r#"{"operation":{"callTool":{"tool":"x","arguments":{"p":"/a","p":"/b"}}}}"#,
            "p",
        ),
        (
            r#"{"operation":{"callTool":{"tool":"x","arguments":{"a":[{"p":1,"p":1}]}}}}"#,
            "p",
        ),
        (
            r#"{"approvalIds":["x"],"approval_ids":["y"]}"#,
            "approval_ids",
        ),
        (
            r#"{"operation":{"call_tool":{"tool":"x"},"callTool":null}}"#,
            "callTool",
        ),
    ] {
        let error = read::<v1::CallContext>("CallContext", text)
            .expect_err(text)
            .to_string();
        let wanted = format!("the key `{wanted}` occurs twice at line 1");
        assert!(error.contains(&wanted), "{error}");
    }
}

#[test]
fn what_only_looks_alike_is_no_repetition() {
    // Arguments have names of their own: a field's two spellings are two arguments.
    let text = r#"{"operation":{"server":"git","callTool":{"tool":"log","arguments":
        {"approval_ids":1,"approvalIds":2,"fields":{"fields":3},"list":[{"a":1},{"a":1}]}}}}"#;
    assert!(read::<v1::CallContext>("CallContext", text).is_ok());
}

#[test]
fn an_answer_is_written_in_protobufs_own_form() {
    let response = v1::AuthorizeResponse {
        decision: v1::Decision::Deny.into(),
        revision: 7,
        reasons: vec![v1::Reason {
            code: v1::ReasonCode::NoPermit.into(),
            ..v1::Reason::default()
        }],
        ..v1::AuthorizeResponse::default()
    };
    assert_eq!(
        write("AuthorizeResponse", &response).expect("json"),
        json!({"decision": "DECISION_DENY", "revision": "7", "reasons": [{"code": "REASON_CODE_NO_PERMIT"}]})
    );
}
