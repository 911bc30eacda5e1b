use super::*;

/// A status as the write side sends it: one `callgate.v1.Reason` for each reason.
fn with_reason(code: Code, message: &str) -> Status {
    let reason = v1::Reason {
        code: v1::ReasonCode::NoPermit.into(),
        message: "no policy permits this".to_owned(),
        principal: Some(v1::EntityRef {
            r#type: "Mcp::User".to_owned(),
            id: "bob\n".to_owned(),
        }),
        policy_ids: vec!["a".to_owned()],
        ..v1::Reason::default()
    };
    let details = tonic_types::pb::Status {
        code: code.into(),
        message: message.to_owned(),
        details: vec![prost_types::Any {
            type_url: "type.googleapis.com/callgate.v1.Reason".to_owned(),
            value: reason.encode_to_vec(),
        }],
    };
    Status::with_details(code, message, details.encode_to_vec().into())
}

#[test]
fn a_denied_change_says_why_and_to_whom() {
    let refused = RpcError::change(
        with_reason(Code::PermissionDenied, "no policy permits this"),
        "again".to_owned(),
    );
    assert!(refused.is_deny());
    assert_eq!(
        refused.to_string(),
        "nothing was changed\n  \
         because   no policy permits this (NO_PERMIT)\n            \
         for Mcp::User::\"bob\\n\"\n            by a"
    );
    let json = refused.json();
    assert_eq!(json["code"], "PermissionDenied");
    assert_eq!(json["reasons"][0]["code"], "REASON_CODE_NO_PERMIT");
    assert_eq!(json["reasons"][0]["policyIds"][0], "a");
    assert_eq!(json.get("hint"), None);
}

#[test]
fn only_who_cannot_know_is_told_to_ask_again() {
    for (code, is_told) in [
        (Code::Unavailable, true),
        (Code::DeadlineExceeded, true),
        (Code::Unknown, true),
        (Code::Internal, true),
        (Code::InvalidArgument, false),
        (Code::PermissionDenied, false),
        (Code::FailedPrecondition, false),
        (Code::NotFound, false),
        (Code::ResourceExhausted, false),
    ] {
        let refused = RpcError::change(Status::new(code, "it"), "ask again".to_owned());
        assert_eq!(
            refused.to_string().contains("ask again"),
            is_told,
            "{code:?}"
        );
    }
    let question = RpcError::question(Status::permission_denied("no right"));
    assert!(
        !question.is_deny(),
        "a question that is not answered is no deny"
    );
    assert!(!question.to_string().contains("changed"));
}

#[test]
fn details_that_are_none_and_texts_that_act_on_a_terminal_do_no_harm() {
    let status = Status::with_details(Code::NotFound, "a\u{1b}[2J", vec![0xff; 9].into());
    let text = RpcError::question(status).to_string();
    assert!(text.contains("a\\u{1b}[2J"), "{text}");
}

#[test]
fn a_token_may_lie_in_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    std::fs::write(&path, "open sesame\n").expect("a file");
    let credentials = ClientCredentials {
        token: Some("other".to_owned()),
        token_file: Some(path),
        ..ClientCredentials::default()
    };
    let header = credentials.header().expect("a header").expect("a token");
    assert_eq!(header.to_str().ok(), Some("Bearer open sesame"));
    let none = ClientCredentials::default().header().expect("no fault");
    assert!(none.is_none());
    let wrong = ClientCredentials {
        token: Some("a\nb".to_owned()),
        ..ClientCredentials::default()
    };
    assert!(wrong.header().is_err());
}

/// A proxy that has passed a write on, and did not hear what became of it, sends a page, too.
#[test]
fn a_page_leaves_open_what_became_of_a_write_unless_nobody_knew_of_it() {
    let mapped = "grpc-status header missing, mapped from HTTP status code";
    let read = "protocol error: received message with invalid compression flag: 60 (valid flags are 0 and 1) while receiving response with status:";
    for (said, is_open) in [
        (format!("{mapped} 404"), false),
        (format!("{mapped} 502"), true),
        (format!("{mapped} 504"), true),
        (format!("{mapped} 408"), true),
        (format!("{read} 404 Not Found"), false),
        (format!("{read} 504 Gateway Timeout"), true),
    ] {
        let status = Status::new(Code::Internal, &*said);
        assert!(is_no_grpc(&status), "{said}");
        let error = RpcError::change(status, "again".to_owned());
        let what = match is_open {
            true => "the change was not confirmed",
            false => "nothing was changed",
        };
        assert!(error.to_string().starts_with(what), "{error}");
    }
}
