use super::*;

#[test]
fn a_template_stands_for_what_lies_in_its_fixed_folder() {
    for (template, folder) in [
        ("file:///srv/a/{p}", "file:///srv/a/"),
        ("file:///srv/a/x{p}.md", "file:///srv/a/"),
        ("file:///srv/{a}/{b}", "file:///srv/"),
        ("file:///srv/a/x", "file:///srv/a/x"),
        ("files://docs{/path*}", "files://docs/"),
        ("file:///srv/a{/p}", "file:///srv/a/"),
        ("file:///srv/a/{+p}", "file:///srv/a/"),
        ("file:///srv/a/x{.kind}", "file:///srv/a/"),
        ("file:///srv/a/x{;v}", "file:///srv/a/"),
        ("search://docs{?q,page}", "search://docs"),
        ("search://docs/all{?q}", "search://docs/all"),
        ("search://docs?a=1/2{&q}", "search://docs?a=1/2"),
        ("https://a.example/x{#part}", "https://a.example/x"),
        ("{+uri}", "{+uri}"),
        ("{?q}", "{?q}"),
        ("x{p}", "x{p}"),
        ("a/{", "a/"),
    ] {
        assert_eq!(fixed_folder(template), folder, "{template}");
    }
}

/// What is asked for of a template with these values, `name=value`.
fn asked(template: &str, values: &[&str]) -> Option<String> {
    let values = values.iter().map(|written| {
        let (name, value) = written.split_once('=').expect("a name and a value");
        (name.to_owned(), value.to_owned())
    });
    with_values(template, values).map(Cow::into_owned)
}

#[test]
fn a_value_that_may_lead_elsewhere_is_part_of_what_is_asked_for() {
    let template = "file:///srv/a/{p}";
    for value in ["", ".", "x", "x.md", "..x", "x y"] {
        let same = Some(template.to_owned());
        assert_eq!(asked(template, &[&format!("p={value}")]), same, "{value}");
    }
    for value in [
        "..", "../b/", "b/c", "/etc", "%2e%2e", "..\\b", "http:x", "?x", "#x",
    ] {
        let whole = Some(format!("file:///srv/a/{value}"));
        let written = format!("p={value}");
        assert_eq!(asked(template, &[&written]), whole, "{value}");
        assert_eq!(asked(template, &["o=x", &written]), whole, "{value}");
        let of_another = format!("o={value}");
        assert_eq!(asked(template, &[&of_another]), whole, "{value}");
    }
    for (template, value, whole) in [
        ("file:///srv/se{p}", "cret/x", "file:///srv/secret/x"),
        ("files://docs{/path*}", "secret/x", "files://docs/secret/x"),
        ("file:///srv/a{/p:3}", "secrets/", "file:///srv/a/secrets/"),
        ("file:///srv/a/{+p}", "b/c", "file:///srv/a/b/c"),
        ("file:///srv/a/x{.p}", "b/c", "file:///srv/a/x.b/c"),
        ("file:///srv/.{p}", ".", "file:///srv/.."),
        ("file:///srv/{.p}", ".", "file:///srv/.."),
        ("file:///srv/a", "../b", "file:///srv/a"),
    ] {
        let found = asked(template, &[&format!("p={value}")]);
        assert_eq!(found.as_deref(), Some(whole), "{template}");
    }
    assert_eq!(asked(template, &["p=ok/x", "q=../../etc"]), None);
    // Another value does not make it one that stays within.
    assert_eq!(asked(template, &["p=secret/x", "q=a/b"]), None);
    assert_eq!(asked(template, &["p={x}/../../etc/"]), None);
}

#[test]
fn of_several_variables_a_value_leads_further_down_or_is_refused() {
    let contents = "repo://{owner}/{repo}/contents{/path*}";
    let branch = "repo://{owner}/{repo}/refs/heads/{branch}/contents{/path*}";
    let pair = "file:///srv/{a,b}";
    for (template, values) in [
        (
            contents,
            &["path=pkg/", "owner=github", "repo=x"] as &[&str],
        ),
        (contents, &["path=pkg/.github/work", "owner=github"]),
        (contents, &["path=."]),
        (branch, &["path=pkg", "branch=feature/x"]),
        (branch, &["path=app/users.$id/[id].tsx", "branch=feature/x"]),
        (pair, &["a=x", "b=y/z"]),
        ("file:///srv/{a}.{b}", &["a=x", "b=y"]),
    ] {
        let same = Some(template.to_owned());
        assert_eq!(asked(template, values), same, "{template} {values:?}");
    }
    for value in [
        "..",
        "../b",
        "/etc",
        "./x",
        "b/..",
        "b/../c",
        "b/./c",
        "b/...",
        "b\\c",
        "b%2fc",
        "c:/x",
        "b/c?x",
        "b/#c",
        "b/.. /c",
        "b/..;x/c",
        "b/{.,.}/c",
        "b/$x../c",
        "b/．．/c",
    ] {
        let written = format!("path={value}");
        for template in [contents, branch] {
            assert_eq!(asked(template, &[&written]), None, "{value}");
        }
    }
    assert_eq!(asked(pair, &["a=../x"]), None);
    for template in [
        "file:///srv/.{a}/{b}",
        "file:///srv/{a}{b}/",
        "file:///srv/{a}./{b}",
    ] {
        assert_eq!(asked(template, &["a=.", "b=x"]), None, "{template}");
    }
}

#[test]
fn a_value_of_a_query_leads_nowhere() {
    for (template, values) in [
        ("search://docs{?q}", &["q=50% off: x"] as &[&str]),
        ("search://docs{?q,page}", &["q=../x", "page=#"]),
        ("search://docs?a=1{&q*}", &["q=/etc"]),
        ("https://a.example/x{#part}", &["part=/a/../b"]),
        ("repo://{owner}/issues{?q}", &["q=is:open", "owner=github"]),
    ] {
        let same = Some(template.to_owned());
        assert_eq!(asked(template, values), same, "{template}");
    }
    let twice = "file:///srv/{q}/x{?q}";
    let whole = Some("file:///srv/../etc".to_owned());
    assert_eq!(asked(twice, &["q=../etc"]), whole);
    let both = "repo://{owner}/{repo}{?q}";
    assert_eq!(asked(both, &["q=a:b", "repo=../x"]), None);
    assert_eq!(asked("file:///srv/x{;v}", &["v=/../../etc"]), None);
}
