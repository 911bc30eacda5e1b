use super::*;

fn read(status: u16, headers: &[(&str, &str)]) -> Result<ResponseContent, &'static str> {
    let headers = headers
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    from_headers(status, &headers.collect(), false)
}

#[test]
fn what_a_client_could_take_for_mcp_is_judged() {
    for (named, expected) in [
        ("application/json", ResponseContent::Message),
        ("Application/JSON; charset=UTF-8", ResponseContent::Message),
        ("application/problem+json", ResponseContent::Message),
        ("text/event-stream", ResponseContent::Events),
        (
            "text/event-stream;charset=\"utf-8\"",
            ResponseContent::Events,
        ),
    ] {
        for status in [200, 202, 400, 404, 500] {
            let read = read(status, &[("content-type", named)]);
            assert_eq!(read, Ok(expected), "{status} {named}");
        }
    }
    for (status, named, expected) in [
        (404, "text/plain", ResponseContent::ErrorText),
        (404, "text/html; charset=utf-8", ResponseContent::ErrorText),
        (404, "text/html; charset=utf-7", ResponseContent::Dropped),
        (200, "text/plain", ResponseContent::Dropped),
    ] {
        let read = read(status, &[("content-type", named)]);
        assert_eq!(read, Ok(expected), "{status} {named}");
    }
    assert_eq!(read(404, &[]), Ok(ResponseContent::Dropped));
    let none = HeaderFields::default();
    assert_eq!(from_headers(202, &none, true), Ok(ResponseContent::Empty));
}

#[test]
fn a_status_says_whether_clients_read_replies() {
    for (status, expected) in [
        (200, RepliesRead::All),
        (201, RepliesRead::All),
        (202, RepliesRead::None),
        (204, RepliesRead::None),
        (400, RepliesRead::Errors),
        (500, RepliesRead::Errors),
    ] {
        assert_eq!(RepliesRead::under(status), expected, "{status}");
    }
}

#[test]
fn what_readers_could_disagree_about_is_refused() {
    for headers in [
        &[
            ("content-type", "application/json"),
            ("content-type", "text/plain"),
        ][..],
        &[("content-type", "text/plain, application/json")],
        &[("content-type", "text/plain; as=text/event-stream")],
        &[("content-type", "application/jsonl")],
        &[("content-type", "application/json; charset=utf-7")],
        &[("content-type", "application/json; charset = utf-16")],
        &[(
            "content-type",
            "application/json; charset=utf-8; charset=utf-7",
        )],
        &[
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
        ],
        &[
            ("content-type", "application/json"),
            ("content-encoding", "identity"),
            ("content-encoding", "br"),
        ],
    ] {
        let why = read(200, headers).expect_err("a success that cannot be judged");
        // Of an error status and headers are left.
        for status in [400, 401, 404, 429, 503] {
            let error = read(status, headers);
            assert_eq!(error, Ok(ResponseContent::Unread(why)), "{headers:?}");
        }
    }
    for encoding in ["gzip", "br", "deflate", "zstd", "GZIP", "identity, gzip"] {
        for named in [
            "text/plain",
            "text/html",
            "application/json",
            "text/event-stream",
        ] {
            let packed = [("content-type", named), ("content-encoding", encoding)];
            let found = read(404, &packed);
            assert!(
                matches!(found, Ok(ResponseContent::Unread(_))),
                "{packed:?}"
            );
        }
    }
    let identity = [
        ("content-type", "text/json"),
        ("content-encoding", "identity"),
    ];
    assert_eq!(read(200, &identity), Ok(ResponseContent::Message));
}
