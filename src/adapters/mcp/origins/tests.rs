use super::*;

fn read(origins: &Origins, name: &str, called: Called) -> Vec<(String, String)> {
    let found = origins.of(name, called);
    found
        .map(|(server, name)| (server.to_string(), name.to_string()))
        .collect()
}

fn servers(names: &[&str]) -> Vec<SmolStr> {
    names.iter().copied().map(SmolStr::new).collect()
}

#[test]
fn merged_names_are_read_as_agentgateway_writes_them() {
    let two = Origins::merged(servers(&["git", "git_hub"]));
    for (name, called, expected) in [
        ("git_log", Called::ByName, &[("git", "log")][..]),
        // Both readings count; what one of them denies is not shown.
        (
            "git_hub_log",
            Called::ByName,
            &[("git", "hub_log"), ("git_hub", "log")],
        ),
        ("log", Called::ByName, &[]),
        ("Git_log", Called::ByName, &[]),
        ("git", Called::ByName, &[]),
        ("git+log", Called::ByName, &[]),
        ("git+file:///a", Called::ByUri, &[("git", "file:///a")]),
        ("git+memo:a+b", Called::ByUri, &[("git", "memo:a+b")]),
        ("file:///a", Called::ByUri, &[]),
        ("relative/path", Called::ByUri, &[]),
        ("git_file:///a", Called::ByUri, &[]),
        ("ui://git+a/b", Called::ByUri, &[("git", "ui://a/b")]),
        ("ui://a/b", Called::ByUri, &[]),
        ("git+ui://a/b", Called::ByUri, &[]),
    ] {
        let found = read(&two, name, called);
        let found: Vec<_> = found.iter().map(|(s, n)| (&**s, &**n)).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn one_server_is_plain_unless_said_otherwise() {
    let plain = Origins::merged(servers(&["git"]));
    assert_eq!(plain, Origins::one("git".into()));
    assert_eq!(
        read(&plain, "git_log", Called::ByName),
        [("git".to_owned(), "git_log".to_owned())]
    );
    let prefixed = Origins::prefixed(servers(&["git"]));
    assert_eq!(
        read(&prefixed, "git_log", Called::ByName),
        [("git".to_owned(), "log".to_owned())]
    );
    assert!(read(&prefixed, "log", Called::ByName).is_empty());
    let unknown = Origins::plain(servers(&["git", "notes"]));
    assert!(read(&unknown, "git_log", Called::ByName).is_empty());
}

#[test]
fn names_are_written_as_they_are_read() {
    let one = Origins::prefixed(servers(&["git"]));
    for (name, called) in [
        ("log", Called::ByName),
        ("a_b", Called::ByName),
        ("file:///a", Called::ByUri),
        ("ui://a/b", Called::ByUri),
    ] {
        let written = prefixed("git", name, called);
        let expected = [("git".to_owned(), name.to_owned())];
        assert_eq!(read(&one, &written, called), expected);
    }
}
