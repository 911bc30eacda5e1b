use super::*;

#[test]
fn a_template_stands_for_what_lies_in_its_fixed_folder() {
    for (template, folder) in [
        ("file:///srv/a/{p}", "file:///srv/a/"),
        ("file:///srv/a/x{p}.md", "file:///srv/a/"),
        ("file:///srv/{a}/{b}", "file:///srv/"),
        ("file:///srv/a/x", "file:///srv/a/x"),
        ("{+uri}", "{+uri}"),
        ("x{p}", "x{p}"),
    ] {
        assert_eq!(fixed_folder(template), folder, "{template}");
    }
}

#[test]
fn a_value_that_may_lead_elsewhere_is_part_of_what_is_asked_for() {
    let asked = |template: &str, values: &[&str]| {
        let values = values.iter().map(|value| (*value).to_owned());
        with_values(template.to_owned(), values)
    };
    let template = "file:///srv/a/{p}";
    for value in ["", "x", "x.md", "..x", "x y"] {
        let same = Some(template.to_owned());
        assert_eq!(asked(template, &[value]), same, "{value}");
    }
    for value in [
        "..", "../b/", "b/c", "/etc", "%2e%2e", "..\\b", "http:x", "?x", "#x",
    ] {
        let whole = Some(format!("file:///srv/a/{value}"));
        assert_eq!(asked(template, &[value]), whole, "{value}");
        assert_eq!(asked(template, &["x", value]), whole, "{value}");
    }
    let part = "file:///srv/se{p}";
    let whole = Some("file:///srv/secret/x".to_owned());
    assert_eq!(asked(part, &["cret/x"]), whole);
    let two = "file:///srv/{a}/{b}";
    assert_eq!(asked(two, &["x", "y"]), Some(two.to_owned()));
    assert_eq!(asked(two, &["x", "../b"]), None);
    assert_eq!(asked(template, &["ok/x", "../../etc"]), None);
    assert_eq!(asked(template, &["{x}/../../etc/"]), None);
    let plain = Some("file:///srv/a".to_owned());
    assert_eq!(asked("file:///srv/a", &["../b"]), plain);
}
