use super::*;

fn read(origins: &ServerSet, name: &str, called: IdentifierKind) -> Vec<(String, String)> {
    let found = origins.resolve(name, called);
    found
        .map(|(server, name)| (server.to_string(), name.to_string()))
        .collect()
}

fn servers(names: &[&str]) -> Vec<SmolStr> {
    names.iter().copied().map(SmolStr::new).collect()
}

#[test]
fn merged_names_are_read_as_agentgateway_writes_them() {
    let two = ServerSet::merged(servers(&["git", "git_hub"]));
    for (name, called, expected) in [
        ("git_log", IdentifierKind::ByName, &[("git", "log")][..]),
        // Both readings count; what one of them denies is not shown.
        (
            "git_hub_log",
            IdentifierKind::ByName,
            &[("git", "hub_log"), ("git_hub", "log")],
        ),
        ("log", IdentifierKind::ByName, &[]),
        ("Git_log", IdentifierKind::ByName, &[]),
        ("git", IdentifierKind::ByName, &[]),
        ("git+log", IdentifierKind::ByName, &[]),
        (
            "git+file:///a",
            IdentifierKind::ByUri,
            &[("git", "file:///a")],
        ),
        (
            "git+memo:a+b",
            IdentifierKind::ByUri,
            &[("git", "memo:a+b")],
        ),
        ("file:///a", IdentifierKind::ByUri, &[]),
        ("relative/path", IdentifierKind::ByUri, &[]),
        ("git_file:///a", IdentifierKind::ByUri, &[]),
        (
            "ui://git+a/b",
            IdentifierKind::ByUri,
            &[("git", "ui://a/b")],
        ),
        ("ui://a/b", IdentifierKind::ByUri, &[]),
        ("git+ui://a/b", IdentifierKind::ByUri, &[]),
    ] {
        let found = read(&two, name, called);
        let found: Vec<_> = found.iter().map(|(s, n)| (&**s, &**n)).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn one_server_is_plain_unless_said_otherwise() {
    let plain = ServerSet::merged(servers(&["git"]));
    assert_eq!(plain, ServerSet::one("git".into()));
    assert_eq!(
        read(&plain, "git_log", IdentifierKind::ByName),
        [("git".to_owned(), "git_log".to_owned())]
    );
    let prefixed = ServerSet::prefixed(servers(&["git"]));
    assert_eq!(
        read(&prefixed, "git_log", IdentifierKind::ByName),
        [("git".to_owned(), "log".to_owned())]
    );
    assert!(read(&prefixed, "log", IdentifierKind::ByName).is_empty());
    let unknown = ServerSet::plain(servers(&["git", "notes"]));
    assert!(read(&unknown, "git_log", IdentifierKind::ByName).is_empty());
}

#[test]
fn names_are_written_as_they_are_read() {
    let one = ServerSet::prefixed(servers(&["git"]));
    for (name, called) in [
        ("log", IdentifierKind::ByName),
        ("a_b", IdentifierKind::ByName),
        ("file:///a", IdentifierKind::ByUri),
        ("ui://a/b", IdentifierKind::ByUri),
    ] {
        let written = prefixed("git", name, called);
        let expected = [("git".to_owned(), name.to_owned())];
        assert_eq!(read(&one, &written, called), expected);
    }
}
