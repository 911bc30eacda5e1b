use super::*;

/// The target of a value below a base all of whose arguments have one value.
fn target_of(base: &str, value: &str, owner: &str) -> Result<Target, TargetError> {
    let base = UrlBase::parse(base).unwrap_or_else(|why| panic!("`{base}` {why}"));
    check_segment(owner)?;
    let segment = |segment: &BaseSegment| match segment {
        BaseSegment::Fixed(text) => Cow::Owned(text.to_string()),
        BaseSegment::Argument(_) => Cow::Owned(owner.to_owned()),
    };
    let segments: Vec<_> = base.segments().iter().map(segment).collect();
    base.target(&segments, part_below(value)?)
}

fn joined(base: &str, value: &str, owner: &str) -> Result<String, TargetError> {
    target_of(base, value, owner).map(|target| target.uid().eid().as_ref().to_owned())
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

/// A URL that is put together is the one that is read when somebody writes it as a whole.
#[test]
fn it_is_the_url_that_whoever_gets_it_reads() {
    let values = [
        "us", "shop", "a b", "ä", "e\u{301}", "\u{338}x", "x.y", "..x", "x:y", "C:", "[1]", "a'b",
        "a+b", "*", "@me", "x\u{3a3}", "1", "~", "a/b/c", "a/ä/c d", "/", "", "/x/", ".", "..",
        "a/./b", "%41", "x;y", "a\\b",
    ];
    let long = "x".repeat(4_090);
    let deep = "a/".repeat(62);
    let values = values.into_iter().chain([&*long, &*deep]);
    for base in [
        "https://a.com/{owner}",
        "https://a.com:8443/{owner}/x",
        "https://a.co.uk/v1/{owner}/contents/{owner}",
        "http://10.0.0.1/{owner}",
        "http://[::1]:81/{owner}",
        "git://host/{owner}",
        "store:///{owner}",
        "https://a.com/v1",
    ] {
        for owner in values.clone() {
            for value in values.clone() {
                let found = target_of(base, value, owner);
                let part = value.strip_prefix('/').unwrap_or(value);
                let part = part.strip_suffix('/').unwrap_or(part);
                let whole = format!("{}/{part}", base.replace("{owner}", owner));
                let read = crate::domain::request::target::parse(
                    "s",
                    None,
                    whole.trim_end_matches('/'),
                    None,
                );
                match (found, read) {
                    (Ok(found), Ok(read)) => {
                        assert_eq!(format!("{:?}", [found]), format!("{read:?}"), "{whole}")
                    }
                    (Ok(found), Err(why)) => panic!("{whole} is {found:?}, and {why}"),
                    // What a text may be that is read as a whole, no part of it may bring.
                    (Err(_), _) => {}
                }
            }
        }
    }
}

#[test]
fn how_a_base_is_written_is_not_what_a_call_writes() {
    let target = target_of("HTTPS://A.com:443/v1/./{owner}", "shop", "us").expect("a target");
    assert_eq!(
        target.uid().eid().as_ref() as &str,
        "https://a.com/v1/us/shop"
    );
    assert!(target.is_canonical);
}

#[test]
fn it_is_neither_too_long_nor_too_deep() {
    let base = "https://a.com/{owner}";
    let deep = vec!["a"; MAX_TARGET_SEGMENTS - 1].join("/");
    assert!(joined(base, &deep, "us").is_ok());
    assert_eq!(
        joined(base, &format!("{deep}/a"), "us"),
        Err(TargetError::TooDeep)
    );
    let most = 4096 - "https://a.com/us/".len();
    assert!(joined(base, &"x".repeat(most), "us").is_ok());
    assert_eq!(
        joined(base, &"x".repeat(most + 1), "us"),
        Err(TargetError::TooLong)
    );
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
        "file:///srv/{owner}",
        "https://a.com/{owner}/a;b",
    ] {
        assert!(UrlBase::parse(base).is_err(), "{base}");
    }
    let base = UrlBase::parse("https://a.com/{project.id}/{repo}").expect("a base");
    let names: Vec<_> = base.arguments().map(ToString::to_string).collect();
    assert_eq!(names, ["project.id", "repo"]);
}
