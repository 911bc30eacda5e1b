use super::*;

fn pattern(text: &str) -> Result<PathPattern, &'static str> {
    PathPattern::try_from(text.to_owned())
}

#[test]
fn a_path_is_segments_and_arguments() {
    let exact = |it: &str| PathSegment::Exact(it.to_owned());
    let argument = |it: &str| PathSegment::Argument(it.to_owned());
    for (text, expected) in [
        ("/", vec![]),
        ("/a", vec![exact("a")]),
        (
            "/a/{b}/c-1.2~",
            vec![exact("a"), argument("b"), exact("c-1.2~")],
        ),
        ("/{a}/{b_2}", vec![argument("a"), argument("b_2")]),
    ] {
        assert_eq!(pattern(text).map(|it| it.segments), Ok(expected), "{text}");
    }
    for text in [
        "", "a", "a/b", "/a/", "//", "/a//b", "/.", "/a/../b", "/a%2fb", "/a?b", "/a#b", "/a\\b",
        "/a;b", "/{}", "/{a}b", "/b{a}", "/{a b}", "/{a}/{a}", "/\u{e9}", "/a b", "/a\n",
    ] {
        assert!(pattern(text).is_err(), "{text}");
    }
}

#[test]
fn routes_for_the_same_requests_are_seen() {
    let route = |host: Option<&str>, method: &str, path: &str| HttpRouteConfig {
        host: host.map(str::to_owned),
        method: method.to_owned(),
        path: pattern(path).expect("a path"),
        server: "s".to_owned(),
        tool: "t".to_owned(),
        query: Vec::new(),
    };
    let one = route(Some("h"), "GET", "/a/{b}");
    for (is_same, other) in [
        (true, route(Some("H"), "GET", "/a/{c}")),
        (false, route(None, "GET", "/a/{b}")),
        (false, route(Some("h"), "PUT", "/a/{b}")),
        (false, route(Some("h"), "GET", "/a/b")),
        (false, route(Some("h"), "GET", "/a/{b}/c")),
    ] {
        assert_eq!(one.is_for_same(&other), is_same, "{other:?}");
    }
}
