use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::adapters::envoy::request::{AlteredText, HttpRequest};
use crate::adapters::mcp::request::mirrored_headers::HeaderFields;
use crate::config::envoy::EnvoyConfig;
use crate::domain::request::operation::OperationKind;

const SETTINGS: &str = r#"
routes = [
  { method = "GET", path = "/", server = "shop", tool = "home" },
  { method = "GET", path = "/items/{id}", server = "shop", tool = "get_item", query = ["lang", "q"] },
  { method = "DELETE", path = "/items/{id}", server = "shop", tool = "delete_item" },
  { method = "GET", path = "/items/new", server = "shop", tool = "new_item" },
  { method = "GET", path = "/{kind}/all", server = "shop", tool = "list" },
  { method = "GET", host = "other.example.org", path = "/{kind}/{id}", server = "other", tool = "get" },
]
"#;

fn request(method: &str, path: &str) -> HttpRequest {
    HttpRequest {
        method: method.to_owned(),
        path: path.to_owned(),
        host: "shop.example.org".to_owned(),
        headers: HeaderFields::default(),
        body: Ok(Bytes::new()),
        server: None,
        principal: String::new(),
        source: Ok(None),
        metadata: BTreeMap::new(),
        altered: AlteredText::default(),
    }
}

fn asked(http: &HttpRequest) -> Result<Option<Operation>, RouteError> {
    let settings: EnvoyConfig = toml::from_str(SETTINGS).expect("settings");
    operation(http.target(), &settings.routes, &Limits::default())
}

/// The tool and the arguments of what is asked.
fn call(http: &HttpRequest) -> Option<(String, Json)> {
    let operation = asked(http).unwrap_or_else(|odd| panic!("{odd:?}: {http:?}"))?;
    let OperationKind::CallTool(call) = operation.kind else {
        panic!("{operation:?}");
    };
    let name = format!("{}/{}", operation.server, call.tool);
    Some((name, Json::Object(call.arguments)))
}

#[test]
fn a_request_is_the_call_of_the_closest_route() {
    for (method, path, expected) in [
        ("GET", "/", Some(("shop/home", json!({})))),
        ("GET", "/?", Some(("shop/home", json!({})))),
        (
            "GET",
            "/items/7",
            Some(("shop/get_item", json!({"id": "7"}))),
        ),
        (
            "DELETE",
            "/items/7",
            Some(("shop/delete_item", json!({"id": "7"}))),
        ),
        ("GET", "/items/new", Some(("shop/new_item", json!({})))),
        // The earlier segment counts.
        (
            "GET",
            "/items/all",
            Some(("shop/get_item", json!({"id": "all"}))),
        ),
        (
            "GET",
            "/things/all",
            Some(("shop/list", json!({"kind": "things"}))),
        ),
        (
            "GET",
            "/items/a%20b%C3%A9%25",
            Some(("shop/get_item", json!({"id": "a b\u{e9}%"}))),
        ),
        (
            "GET",
            "/items/7?q=a%26b+c&lang=",
            Some((
                "shop/get_item",
                json!({"id": "7", "q": "a&b c", "lang": ""}),
            )),
        ),
        ("POST", "/items/7", None),
        ("HEAD", "/items/7", None),
        ("get", "/items/7", None),
        ("GET", "/Items/7", None),
        ("GET", "/items", None),
        ("GET", "/items/7/8", None),
        ("GET", "/things/7", None),
    ] {
        let expected = expected.map(|(tool, arguments)| (tool.to_owned(), arguments));
        assert_eq!(call(&request(method, path)), expected, "{method} {path}");
    }
    let other = HttpRequest {
        host: "Other.Example.org".to_owned(),
        ..request("GET", "/items/7")
    };
    let expected = Some(("other/get".to_owned(), json!({"kind": "items", "id": "7"})));
    assert_eq!(call(&other), expected, "a route that names the host");
    for host in ["other.example.org:443", "other.example.org."] {
        let host = host.to_owned();
        assert_eq!(
            call(&HttpRequest {
                host,
                ..request("GET", "/items/7")
            }),
            expected
        );
    }
    let elsewhere = HttpRequest {
        host: "other.example.org:8443".to_owned(),
        ..request("GET", "/items/7")
    };
    assert_eq!(
        call(&elsewhere),
        None,
        "a route for every host is not meant"
    );
}

#[test]
fn what_two_servers_could_read_differently_is_no_request() {
    for (what, path, odd) in [
        ("a step up", "/items/../admin", RouteError::Path),
        ("a step up at the end", "/items/..", RouteError::Path),
        ("a step nowhere", "/items/./7", RouteError::Path),
        (
            "an escaped step up",
            "/items/%2e%2e/admin",
            RouteError::Escape,
        ),
        (
            "half an escaped step up",
            "/items/.%2E/admin",
            RouteError::Escape,
        ),
        (
            "a step up, escaped twice",
            "/items/%252e%252e/admin",
            RouteError::Escape,
        ),
        (
            "a step up with a backslash",
            "/items/..\\admin",
            RouteError::Path,
        ),
        ("an escaped slash", "/items/7%2f8", RouteError::Path),
        (
            "an escaped slash in capitals",
            "/items/7%2F8",
            RouteError::Path,
        ),
        (
            "a slash, escaped twice",
            "/items/7%252f8",
            RouteError::Escape,
        ),
        ("an escaped backslash", "/items/7%5c8", RouteError::Path),
        ("two slashes", "/items//7", RouteError::Path),
        (
            "two slashes at the beginning",
            "//items/7",
            RouteError::Path,
        ),
        ("a slash at the end", "/items/7/", RouteError::Path),
        ("a parameter of a segment", "/items/7;v=1", RouteError::Path),
        ("an escaped parameter", "/items/7%3bv=1", RouteError::Path),
        ("a letter that is escaped", "/%69tems/7", RouteError::Escape),
        ("an escaped zero", "/items/7%00", RouteError::Escape),
        (
            "an escaped line end",
            "/items/7%0d%0aX: y",
            RouteError::Path,
        ),
        (
            "an escaped line end alone",
            "/items/7%0A",
            RouteError::Escape,
        ),
        (
            "a control character by two bytes",
            "/items/%C2%85",
            RouteError::Escape,
        ),
        ("half an escape", "/items/7%2", RouteError::Escape),
        ("no escape", "/items/%zz", RouteError::Escape),
        ("a percent sign", "/items/100%", RouteError::Escape),
        ("an overlong slash", "/items/%c0%af", RouteError::Escape),
        ("bytes that are no text", "/items/%ff", RouteError::Escape),
        ("letters beyond ASCII", "/items/\u{e9}", RouteError::Path),
        (
            "a look-alike of a slash",
            "/items/7\u{2215}8",
            RouteError::Path,
        ),
        ("a space", "/items/a b", RouteError::Path),
        ("a fragment", "/items/7#x", RouteError::Path),
        (
            "a whole URL",
            "http://shop.example.org/items/7",
            RouteError::Path,
        ),
        ("no path", "", RouteError::Path),
        ("a star", "*", RouteError::Path),
        ("an unknown key", "/items/7?admin=1", RouteError::Key),
        ("a key in capitals", "/items/7?LANG=en", RouteError::Key),
        ("an escaped key", "/items/7?l%61ng=en", RouteError::Key),
        ("an array's key", "/items/7?q[]=1", RouteError::Key),
        ("a key of the path", "/items/7?id=8", RouteError::Key),
        (
            "a key where there are none",
            "/items/new?lang=en",
            RouteError::Key,
        ),
        ("a key twice", "/items/7?q=1&q=2", RouteError::Twice),
        (
            "a key twice, the same",
            "/items/7?q=1&lang=en&q=1",
            RouteError::Twice,
        ),
        ("a key without a value", "/items/7?q", RouteError::Query),
        ("an empty pair", "/items/7?q=1&", RouteError::Query),
        (
            "another separator",
            "/items/7?q=1;lang=en",
            RouteError::Query,
        ),
        (
            "a value escaped twice",
            "/items/7?q=%2541",
            RouteError::Escape,
        ),
        (
            "a letter that is escaped in a value",
            "/items/7?q=%41",
            RouteError::Escape,
        ),
    ] {
        assert_eq!(
            asked(&request("GET", path)).err(),
            Some(odd),
            "{what}: {path}"
        );
    }
    let long = format!(
        "/items/{}",
        "a".repeat(Limits::default().text_bytes as usize)
    );
    assert_eq!(asked(&request("GET", &long)).err(), Some(RouteError::Long));
}

#[test]
fn a_request_is_nothing_but_what_it_says() {
    let with = |name: &str| HttpRequest {
        headers: HeaderFields::from_iter([(name.into(), "x".into())]),
        ..request("GET", "/items/7")
    };
    assert!(call(&with("x-else")).is_some());
    assert_eq!(asked(&with("Upgrade")).err(), Some(RouteError::Upgrade));
    for header in METHODS.iter().chain(&PATHS) {
        for name in [
            (*header).to_owned(),
            header.to_uppercase(),
            header.replace('-', "_"),
            header.replacen('-', "_", 1),
        ] {
            assert_eq!(
                asked(&with(&name)).err(),
                Some(RouteError::Header),
                "{name}"
            );
        }
    }
    for name in [
        "mcp_session_id",
        "Mcp-Protocol_Version",
        "x_callgate_obligations",
        "x-callgate_obligations",
    ] {
        assert_eq!(
            asked(&with(name)).err(),
            Some(RouteError::Underscore),
            "{name}"
        );
    }
    for name in [
        "x_else",
        "x_mcp_name",
        "mcp-session-id",
        "x-callgate-session",
    ] {
        assert!(call(&with(name)).is_some(), "{name}");
    }
    assert_eq!(
        asked(&request("CONNECT", "/items/7")).err(),
        Some(RouteError::Upgrade)
    );
}

#[test]
fn a_header_that_says_what_the_request_says_changes_nothing() {
    let with = |all: &[(&str, &str)]| {
        let all = all
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        let http = HttpRequest {
            headers: HeaderFields::from_iter(all),
            ..request("GET", "/items/7?lang=en")
        };
        asked(&http).map(|it| it.is_some())
    };
    let (method, path) = ("x-http-method-override", "x-original-uri");
    for header in [(method, "GET"), (path, "/items/7?lang=en")] {
        assert_eq!(with(&[header]), Ok(true), "{header:?}");
    }
    for all in [
        &[(method, "get")][..],
        &[(method, "GET,DELETE")],
        &[(method, "GET"), (method, "DELETE")],
        &[(method, "/items/7?lang=en")],
        &[(path, "/items/7")],
        &[(path, "GET")],
    ] {
        assert_eq!(with(all), Err(RouteError::Header), "{all:?}");
    }
}

#[test]
fn the_path_of_an_mcp_request_has_one_reading() {
    let checked = |path: &str| check_mcp(request("POST", path).target());
    for path in [
        "/",
        "/mcp",
        "/mcp/",
        "/a/b/mcp/",
        "/mcp?",
        "/mcp?x=..//;\\%2e&_=1#",
        "/mcp?next=/../git",
        "/@scope/name/mcp",
        "/a%20b%C3%A9/mcp",
        "/a:b,c=d+e~f!g/mcp",
    ] {
        assert_eq!(checked(path), Ok(()), "{path}");
    }
    for path in [
        "",
        "*",
        "mcp",
        "//",
        "//git/mcp",
        "/mcp//",
        "/filesystem//mcp",
        "/filesystem/../git/mcp",
        "/filesystem/..",
        "/filesystem/../",
        "/filesystem/./mcp",
        "/filesystem/..;/git/mcp",
        "/filesystem/..\\git\\mcp",
        "/filesystem/..%2fgit/mcp",
        "/filesystem/..%5Cgit/mcp",
        "/filesystem/%3b/mcp",
        "/filesystem/mcp#/x",
        "/filesystem/\u{e9}/mcp",
        "http://shop.example.org/mcp",
    ] {
        assert_eq!(checked(path), Err(RouteError::Path), "{path}");
    }
    for path in [
        "/filesystem/%2e%2e/git/mcp",
        "/filesystem/%252e%252e/git/mcp",
        "/%66ilesystem/mcp",
        "/%7Efilesystem/mcp",
        "/a%00/mcp",
        "/a%/mcp",
        "/%ff/mcp",
    ] {
        assert_eq!(checked(path), Err(RouteError::Escape), "{path}");
    }
    let override_it = HttpRequest {
        headers: HeaderFields::from_iter([("X-Original-URL".into(), "/git/mcp".into())]),
        ..request("POST", "/filesystem/mcp")
    };
    assert_eq!(check_mcp(override_it.target()), Err(RouteError::Header));
}
