use super::*;

fn headers(all: &[(&str, &str)]) -> Headers {
    let all = all.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
    Headers::of(all)
}

#[test]
fn headers_must_say_what_the_body_says() {
    let body = Body {
        method: Some("tools/call"),
        names: vec!["log".into(), "git_log".into()],
        version: Some("2026-07-28"),
    };
    for (all, expected) in [
        (&[][..], Ok(())),
        (
            &[("Mcp-Method", "tools/call"), ("Mcp-Name", "git_log")][..],
            Ok(()),
        ),
        (&[("mcp-name", "=?base64?bG9n?=")], Ok(())),
        (&[("mcp-protocol-version", "2026-07-28")], Ok(())),
        (&[("mcp-method", "tools/list")], Err("mcp-method")),
        (&[("mcp-name", "purge")], Err("mcp-name")),
        (&[("mcp-name", "=?base64?bG9n")], Err("mcp-name")),
        (
            &[("mcp-protocol-version", "2025-11-25")],
            Err("mcp-protocol-version"),
        ),
    ] {
        let expected = expected.map_err(Disagreement::Header);
        assert_eq!(agree(&headers(all), &body), expected, "{all:?}");
    }
    let twice = headers(&[("mcp-name", "log"), ("MCP-NAME", "log")]);
    let expected = Twice("mcp-name".to_owned()).into();
    assert_eq!(agree(&twice, &body), Err(expected));
}

#[test]
fn what_the_body_does_not_say_no_header_may_add() {
    let nameless = Body {
        method: Some("tools/list"),
        ..Body::default()
    };
    let named = headers(&[("mcp-name", "log")]);
    let expected = Err(Disagreement::Header("mcp-name"));
    assert_eq!(agree(&named, &nameless), expected);
    // A request that names no revision may have one in its header, as before 2026-07-28.
    let version = headers(&[("mcp-protocol-version", "2025-11-25")]);
    assert_eq!(agree(&version, &nameless), Ok(()));
}
