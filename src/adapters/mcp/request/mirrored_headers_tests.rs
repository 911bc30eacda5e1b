use std::time::Instant;

use serde_json::json;

use super::*;

fn headers(all: &[(&str, &str)]) -> HeaderFields {
    let all = all.iter().map(|(n, v)| ((*n).into(), (*v).into()));
    all.collect()
}

#[test]
fn names_are_found_in_either_case_and_whatever_comes_around_them() {
    let fields = headers(&[
        ("X-B", "2"),
        ("x-a", "1"),
        ("X-C", "3"),
        ("x-c", "4"),
        ("x", "0"),
        ("x-b-", "5"),
    ]);
    for (name, expected) in [
        ("x", Ok(Some("0"))),
        ("X-A", Ok(Some("1"))),
        ("x-b", Ok(Some("2"))),
        ("x-B-", Ok(Some("5"))),
        ("x-C", Err(RepeatedHeaderError("x-C".to_owned()))),
        ("x-", Ok(None)),
        ("y", Ok(None)),
        ("", Ok(None)),
    ] {
        assert_eq!(fields.get(name), expected, "{name}");
        assert_eq!(fields.has(name), expected != Ok(None), "{name}");
    }
}

#[test]
fn headers_must_say_what_the_body_says() {
    let body = MirroredFields {
        method: Some("tools/call"),
        names: vec!["log".into(), "git_log".into()],
        version: Some("2026-07-28"),
        ..MirroredFields::default()
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
        let expected = expected.map_err(HeaderMismatchError::Header);
        assert_eq!(agree(&headers(all), &body), expected, "{all:?}");
    }
    let twice = headers(&[("mcp-name", "log"), ("MCP-NAME", "log")]);
    let expected = RepeatedHeaderError("mcp-name".to_owned()).into();
    assert_eq!(agree(&twice, &body), Err(expected));
}

#[test]
fn several_in_one_value_are_as_good_as_repeated() {
    let nameless = MirroredFields {
        method: Some("tools/list"),
        ..MirroredFields::default()
    };
    let name = "mcp-protocol-version";
    let expected = Err(RepeatedHeaderError(name.to_owned()).into());
    for all in [
        &[(name, "2025-11-25,2026-07-28")][..],
        &[(name, "2025-11-25, 2025-11-25")],
        &[(name, "2025-11-25"), (name, "2026-07-28")],
    ] {
        assert_eq!(agree(&headers(all), &nameless), expected, "{all:?}");
    }
    let named = MirroredFields {
        names: vec!["file:///a,b".into()],
        ..MirroredFields::default()
    };
    assert_eq!(
        agree(&headers(&[("mcp-name", "file:///a,b")]), &named),
        Ok(())
    );
    let fields = headers(&[("x-session", "a,b"), ("x-task", "a")]);
    assert!(fields.single("x-session").is_err());
    assert_eq!(fields.single("x-task"), Ok(Some("a")));
    assert_eq!(fields.single("x-other"), Ok(None));
}

#[test]
fn what_the_body_does_not_say_no_header_may_add() {
    let nameless = MirroredFields {
        method: Some("tools/list"),
        ..MirroredFields::default()
    };
    let named = headers(&[("mcp-name", "log")]);
    let expected = Err(HeaderMismatchError::Header("mcp-name"));
    assert_eq!(agree(&named, &nameless), expected);
    // A request that names no revision may have one in its header, as before 2026-07-28.
    let version = headers(&[("mcp-protocol-version", "2025-11-25")]);
    assert_eq!(agree(&version, &nameless), Ok(()));
}

#[test]
fn a_header_with_an_argument_repeats_one() {
    let arguments = json!({"region": "eu west", "deep": {"size": 42, "dry": true}, "list": ["x"]});
    let body = MirroredFields {
        method: Some("tools/call"),
        arguments: arguments.as_object(),
        ..MirroredFields::default()
    };
    for (value, repeats) in [
        ("eu west", true),
        ("=?base64?ZXUgd2VzdA==?=", true),
        ("42", true),
        ("42.0", true),
        ("true", true),
        ("us", false),
        ("x", false),
        ("43", false),
        ("", false),
        ("=?base64?ZXUgd2VzdA=", false),
    ] {
        let told = agree(&headers(&[("Mcp-Param-Region", value)]), &body);
        let expected = if repeats {
            Ok(())
        } else {
            Err(HeaderMismatchError::Argument)
        };
        assert_eq!(told, expected, "{value}");
    }
    let twice = headers(&[("mcp-param-a", "42"), ("Mcp-Param-A", "42")]);
    let expected = RepeatedHeaderError("mcp-param-a".to_owned()).into();
    assert_eq!(agree(&twice, &body), Err(expected));
    let without = agree(
        &headers(&[("mcp-param-a", "42")]),
        &MirroredFields::default(),
    );
    assert_eq!(without, Err(HeaderMismatchError::Argument));
}

#[test]
fn a_number_in_a_header_is_the_same_in_every_digit() {
    for (body, header, is_same) in [
        ("9007199254740992", "9007199254740992", true),
        ("9007199254740993", "9007199254740992", false),
        ("9007199254740992", "9007199254740993", false),
        ("1", "1", true),
        ("1", "1.0", true),
        ("1.0", "1", true),
        ("1000", "1e3", true),
        ("1e3", "1000", true),
        ("0.1", "0.1", true),
        ("0.1", "1e-1", true),
        ("0.1", "0.1000000000000000055", false),
        ("1", "+1", false),
        ("1", "01", false),
        ("1", " 1", false),
        ("1", "1\t", false),
        ("1", "1 2", false),
        ("1", "0x1", false),
        ("1", "true", false),
        ("\"1.0\"", "1.0", true),
        ("\"1.0\"", "1", false),
        ("\"01\"", "01", true),
    ] {
        let text = format!(r#"{{"n":{body}}}"#);
        let arguments = strict_json::object(text.as_bytes(), 8, KeyPolicy::Protocol, "");
        let arguments = arguments.expect("an object");
        let body = MirroredFields {
            method: Some("tools/call"),
            arguments: Some(&arguments),
            ..MirroredFields::default()
        };
        let told = agree(&headers(&[("mcp-param-n", header)]), &body);
        assert_eq!(told.is_ok(), is_same, "{text} {header:?}: {told:?}");
    }
}

#[test]
fn many_headers_cost_no_more_than_one_look_at_the_arguments() {
    let arguments: Map<String, Json> = (0..20_000)
        .map(|number| (format!("a{number:05}"), json!(format!("value {number}"))))
        .collect();
    let body = MirroredFields {
        method: Some("tools/call"),
        arguments: Some(&arguments),
        ..MirroredFields::default()
    };
    let took = |count: usize| {
        let names: Vec<_> = (0..count).map(|it| format!("mcp-param-{it}")).collect();
        let all: Vec<_> = names.iter().map(|it| (&**it, "value 19999")).collect();
        let fields = headers(&all);
        let rounds = (0..5).map(|_| {
            let begin = Instant::now();
            assert_eq!(agree(&fields, &body), Ok(()));
            begin.elapsed()
        });
        rounds.min().expect("rounds")
    };
    let (one, many) = (took(1), took(500));
    assert!(many < one * 20, "{one:?} {many:?}");
}
