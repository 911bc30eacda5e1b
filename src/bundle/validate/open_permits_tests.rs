use crate::bundle;
use crate::bundle::files::{BundleFiles, FileKind, SourceFile};

/// The files of a bundle with one policy file and this configuration.
fn files(policies: &str, config: &str) -> BundleFiles {
    let source = |kind, file: &str, text: &str| SourceFile {
        kind,
        file: file.into(),
        stem: "a".into(),
        text: text.into(),
        digest: None,
    };
    BundleFiles::from_sources(vec![
        source(FileKind::Policies, "a.cedar", policies),
        source(FileKind::Config, "callgate.toml", config),
    ])
}

fn warnings(policies: &str, config: &str) -> usize {
    let bundle = bundle::compile(&files(policies, config));
    let bundle = bundle.unwrap_or_else(|faults| panic!("{policies}: {faults}"));
    bundle.warnings.len()
}

#[test]
fn whatever_permits_everything_is_a_warning_and_what_asks_for_something_is_none() {
    for open in [
        "permit (principal, action, resource);",
        "permit (principal, action, resource) when { true };",
        "permit (principal, action, resource) when { true } unless { false };",
    ] {
        assert_eq!(warnings(open, ""), 1, "{open}");
        let files = files(open, "");
        assert!(bundle::compile_strictly(&files).is_err(), "{open}");
    }
    for not in [
        "forbid (principal, action, resource);",
        "permit (principal, action, resource is Mcp::Tool);",
        "permit (principal is Mcp::User, action, resource);",
        "permit (principal, action in Mcp::Action::\"call_read\", resource);",
        "permit (principal, action, resource) when { context has approval };",
        "@mode(\"shadow\") permit (principal, action, resource);",
    ] {
        assert_eq!(warnings(not, ""), 0, "{not}");
    }
}

#[test]
fn it_is_allowed_where_somebody_says_so() {
    let open = "permit (principal, action, resource);";
    let said = format!("@allow(\"wide-permit, permit-everything\") {open}");
    assert_eq!(warnings(&said, ""), 0);
    assert_eq!(
        warnings(open, "[bundle]\nallow = [\"permit-everything\"]"),
        0
    );
    let other = format!("@allow(\"wide-permit\") {open}");
    assert_eq!(warnings(&other, ""), 1);
}
