use super::*;

fn joined(base: &str, value: &str, owner: &str) -> Result<String, TargetError> {
    let base = UrlBase::parse(base).unwrap_or_else(|why| panic!("`{base}` {why}"));
    check_segment(owner)?;
    let values = base.arguments().map(|_| owner);
    Ok(base.join(values, part_below(value)?))
}

#[test]
fn a_value_is_put_below_its_base() {
    for (base, value, url) in [
        ("https://a.com/{owner}", "shop", "https://a.com/us/shop"),
        ("https://a.com/{owner}/", "shop/", "https://a.com/us/shop"),
        (
            "https://a.com/{owner}/x/{owner}/c",
            "/d/e f.md",
            "https://a.com/us/x/us/c/d/e f.md",
        ),
        ("https://a.com", "x", "https://a.com/x"),
        ("https://a.com/v1/", "..x", "https://a.com/v1/..x"),
        (
            "https://a.com/{owner}/contents",
            "",
            "https://a.com/us/contents",
        ),
        (
            "https://a.com/{owner}/contents",
            "/",
            "https://a.com/us/contents",
        ),
        (
            "https://a.com/{owner}",
            "app/[...slug].tsx",
            "https://a.com/us/app/[...slug].tsx",
        ),
    ] {
        assert_eq!(
            joined(base, value, "us"),
            Ok(url.to_owned()),
            "{base} {value}"
        );
    }
}

#[test]
fn what_is_more_than_its_part_is_refused() {
    for value in [
        "..",
        "../evil/loot",
        "a/../../evil",
        "a/..",
        "./a",
        "a//b",
        "//evil.com",
        "a?",
        "a#",
        "%2e%2e/evil",
        "a%2fb",
        "a;b",
        "..\\evil",
        ".\t./evil",
        "a\nb",
        " a",
        "a\u{200b}",
        "\u{ff0e}\u{ff0e}/evil",
    ] {
        let base = "https://a.com/{owner}";
        assert!(joined(base, value, "us").is_err(), "{value:?}");
        assert!(
            joined(base, "shop", value).is_err(),
            "{value:?} for an owner"
        );
    }
    for owner in ["", ".", "us/shop", "us/", "/us"] {
        assert!(
            joined("https://a.com/{owner}", "x", owner).is_err(),
            "{owner:?}"
        );
    }
}

#[test]
fn a_base_is_a_url_with_whole_segments() {
    for base in [
        "",
        "/srv",
        "owner",
        "https://{host}/a",
        "https://a.com{owner}",
        "https://a.com/x{owner}",
        "https://a.com/{owner}x",
        "https://a.com/{owner}{repo}",
        "https://a.com/{owner",
        "https://a.com/{}",
        "https://a.com/{a[].b}",
        "https://a.com/{owner}/../x",
        "https://a.com/../{owner}",
        "https://a.com/{owner}?x=1",
        "https://user@a.com/{owner}",
        "mailto:{owner}",
    ] {
        assert!(UrlBase::parse(base).is_err(), "{base}");
    }
    let base = UrlBase::parse("https://a.com/{project.id}/{repo}").expect("a base");
    let names: Vec<_> = base.arguments().map(ToString::to_string).collect();
    assert_eq!(names, ["project.id", "repo"]);
}
