use proptest::prelude::*;

use super::*;
use crate::domain::request::target::canonical::place;

/// The names of what a text is, on the server `files`.
fn names(kind: Option<TargetKind>, text: &str) -> Vec<String> {
    let targets = parse("files", kind, text, Some("/srv/work")).unwrap_or_else(|fault| {
        panic!("`{text}` {fault}");
    });
    targets.iter().map(name).collect()
}

fn name(target: &Target) -> String {
    let name: &str = target.uid().eid().as_ref();
    name.to_owned()
}

fn is_refused(kind: Option<TargetKind>, text: &str) -> bool {
    parse("files", kind, text, Some("/srv/work")).is_err()
}

fn attribute(target: &Target, name: &str) -> Option<String> {
    let attributes = &target.overlay.attributes;
    let (_, value) = attributes.iter().find(|(known, _)| known == name)?;
    Some(value.to_string().trim_matches('"').to_owned())
}

#[test]
fn a_path_has_one_name() {
    for (text, wanted) in [
        ("/srv/a b/c.txt", "file:///srv/a b/c.txt"),
        ("/srv/./a b//c.txt", "file:///srv/a b/c.txt"),
        ("/srv/key.pem/", "file:///srv/key.pem"),
        ("/srv/key.pem/.", "file:///srv/key.pem"),
        ("/srv/key.pem//./", "file:///srv/key.pem"),
        ("/srv/bücher", "file:///srv/bücher"),
        ("/srv/100%", "file:///srv/100%25"),
        ("/srv/c#/x?y", "file:///srv/c%23/x%3Fy"),
        ("/", "file:///"),
        ("src/main.rs", "file:///srv/work/src/main.rs"),
        ("./a/./b/", "file:///srv/work/a/b"),
        (".", "file:///srv/work"),
        (".env", "file:///srv/work/.env"),
    ] {
        assert_eq!(names(Some(TargetKind::Path), text), [wanted], "{text}");
    }
}

#[test]
fn a_name_has_one_spelling_that_says_no_more() {
    let is_canonical = |kind, text: &str| {
        let targets = parse("files", kind, text, Some("/srv/work")).expect(text);
        let said = attribute(&targets[0], "canonical");
        assert_eq!(said, Some(targets[0].is_canonical.to_string()));
        targets[0].is_canonical
    };
    let (path, url) = (Some(TargetKind::Path), Some(TargetKind::Url));
    let (email, uuid, id) = (
        Some(TargetKind::Email),
        Some(TargetKind::Uuid),
        Some(TargetKind::Id),
    );
    for (kind, text) in [
        (url, "https://example.com"),
        (url, "https://example.com/"),
        (url, "https://example.com/a/b"),
        (url, "https://example.com/a/b/"),
        (url, "https://example.com:8443/a%20b"),
        (url, "https://example.com/a b"),
        (url, "https://example.com/50%25"),
        (url, "https://example.com/b%C3%BCcher"),
        (url, "https://example.com/bücher"),
        (path, "/srv/a b"),
        (path, "/srv/a/"),
        (path, "/srv/50%"),
        (path, "/"),
        (path, "src/main.rs"),
        (None, "file:///srv/a%20b"),
        (email, "bob@example.com"),
        (None, "mailto:bob@example.com"),
        (uuid, "0f4e1d2c-3b4a-5968-8776-655443322110"),
        (id, "C04/x/"),
        (id, "50%"),
    ] {
        assert!(is_canonical(kind, text), "{text}");
    }
    for (kind, text) in [
        (url, "https://example.com//"),
        (url, "https://example.com//a"),
        (url, "https://example.com/a///"),
        (url, "https://example.com/./a"),
        (url, "https://example.com/%61"),
        (url, "https://example.com/a%2Db"),
        (url, "https://example.com/b%c3%bccher"),
        (url, "https://example.com/a%20b c"),
        (url, "https://Example.com/a"),
        (url, "https://example.com./a"),
        (url, "https://example.com:443/a"),
        (url, "HTTPS://example.com/a"),
        (url, "https://example.com/a?"),
        (url, "https://example.com/a?x=1"),
        (url, "https://example.com/a#x"),
        (path, "/srv//a"),
        (path, "/srv/./a"),
        (path, "./a"),
        (path, "."),
        (email, "Bob@example.com"),
        (email, "all that was read <bob@example.com>"),
        (email, "bob@example.com, eve@example.com"),
        (uuid, "0F4E1D2C3B4A59688776655443322110"),
    ] {
        assert!(!is_canonical(kind, text), "{text}");
    }
}

#[test]
fn the_uri_of_a_file_is_the_path() {
    for text in [
        "file:///srv/a%20b/c.txt",
        "file:/srv/a%20b/c.txt",
        "FILE://LOCALHOST/srv/a%20b/./c.txt/",
        "/srv/a b/c.txt",
    ] {
        assert_eq!(names(None, text), ["file:///srv/a b/c.txt"], "{text}");
        let target = parse_one("files", text).expect("a target");
        assert_eq!(attribute(&target, "kind").as_deref(), Some("path"));
        assert_eq!(attribute(&target, "uri"), Some(name(&target)));
    }
    assert_eq!(
        names(None, "file:///srv/key.pe%6D"),
        ["file:///srv/key.pem"]
    );
    for text in [
        "file:///srv/handbook/a?x=/../../secrets/k",
        "file:///srv/handbook/a#/../k",
        "file:///srv/a?",
        "file:///srv/a#",
        "file:etc/passwd",
        "file:../etc/passwd",
        "file://server/share/a",
        "file:////server\\share",
        "file:////evil.example/share",
        "file://///evil.example/share",
        "file://localhost//evil.example/share",
        "file://srv",
        "file://localhost:80/a",
        "file://user@/a",
        "file:///C:/a",
        "file:///c|/a",
        "file:///srv/%252e%252e/k",
        "file:///srv/a%2Fb",
        "file:///srv/%2e%2e/etc",
        "file:///srv/%5cetc",
        "file:///srv/a%00b",
        "file:///%ff",
        "file:///srv/%c0%ae%c0%ae/k",
        "file:///srv/..;/k",
        "file:///srv/..%3B/k",
    ] {
        assert!(is_refused(None, text), "{text}");
        assert!(is_refused(Some(TargetKind::Url), text), "{text}");
    }
}

#[test]
fn what_paths_are_read_in_two_ways_is_refused() {
    for text in [
        "/srv/app/../../etc/passwd",
        "//srv/a",
        "//127.0.0.1/x",
        "///srv/a",
        "//",
        "a/../b",
        "..",
        "/srv/..;/k",
        "/srv/..;x=1/k",
        "/srv/.;/k",
        "/srv/;/k",
        "/srv/.. /k",
        "/srv/key.pe%6D",
        "/srv/%2e%2e/k",
        "/srv/a%2Fb",
        "/srv\\etc",
        "/srv/a\0b",
        "/srv/a\nb",
        " /etc/passwd",
        "/etc/passwd ",
        "/srv/key.pem /",
        "\u{a0}/etc/passwd",
        "/srv/\u{ff0e}\u{ff0e}/k",
        "/srv/\u{2025}/k",
        "/srv/a\u{2024}pem",
        "/srv\u{ff0f}k",
        "/srv\u{2215}k",
        "/srv\u{2044}k",
        "/srv/a\u{3002}pem",
        "/srv/a\u{ff61}pem",
        "/srv/a\u{200b}b",
        "/srv/a\u{202e}b",
        "/srv/u\u{308}",
        "C:/x",
        "/C:/x",
        "~/x",
        "~bob/x",
        "$HOME/x",
        "file:///srv/a",
        "https://example.com/a",
        ":(top)a",
        "",
    ] {
        assert!(is_refused(Some(TargetKind::Path), text), "{text:?}");
    }
    assert!(is_refused(None, "//evil.example/x"), "by its look, too");
    let below_root = parse("files", Some(TargetKind::Path), "a", Some("/")).expect("a path");
    assert_eq!(name(&below_root[0]), "file:///a");
    let relative = parse("files", Some(TargetKind::Path), "a", None).map(|_| ());
    assert_eq!(relative, Err(TargetError::Relative));
    for base in ["srv", "", "/srv/../etc", "/srv/%41"] {
        assert!(
            parse("files", Some(TargetKind::Path), "a", Some(base)).is_err(),
            "{base}"
        );
    }
    let refused = |text: &str| parse_one("files", text).expect_err(text);
    assert_eq!(refused(""), TargetError::Empty);
    assert_eq!(
        refused(&"a".repeat(MAX_TARGET_BYTES + 1)),
        TargetError::TooLong
    );
    assert_eq!(
        refused(&"/a".repeat(MAX_TARGET_SEGMENTS + 1)),
        TargetError::TooDeep
    );
    assert_eq!(refused("/srv/../a"), TargetError::Climbs);
    let long = "a".repeat(MAX_TARGET_BYTES);
    let joined = parse("files", Some(TargetKind::Path), &long, Some("/srv"));
    assert_eq!(joined.map(|_| ()), Err(TargetError::TooLong));
}

#[test]
fn a_url_has_one_name() {
    for (text, wanted) in [
        ("https://Example.com", "https://example.com"),
        ("https://Example.com/", "https://example.com"),
        ("HTTPS://example.com:443/a/", "https://example.com/a"),
        (
            "https://example.com:8443/v1//./x",
            "https://example.com:8443/v1/x",
        ),
        ("https://example.com./a/b", "https://example.com/a/b"),
        ("https://example.com/a?id=7#top", "https://example.com/a"),
        ("https://example.com/a%20b", "https://example.com/a b"),
        ("https://example.com/k.pe%6D", "https://example.com/k.pem"),
        (
            "https://example.com/100%25/a%3Fb%23c",
            "https://example.com/100%25/a%3Fb%23c",
        ),
        ("http://[0:0:0:0:0:0:0:1]:80/", "http://[::1]"),
        ("http://127.0.0.1/a", "http://127.0.0.1/a"),
        (
            "https://xn--bcher-kva.example/a",
            "https://xn--bcher-kva.example/a",
        ),
        ("db://Orders/7", "db://orders/7"),
        ("db:///orders/7", "db:///orders/7"),
        ("db:/orders/7", "db:///orders/7"),
        ("x://y/z", "x://y/z"),
        ("users://123/profile", "users://123/profile"),
        ("release://1.2.3/notes", "release://1.2.3/notes"),
        ("ticket://00042/x", "ticket://00042/x"),
        ("docs://v1.2/a", "docs://v1.2/a"),
        (
            "eth://0x52908400098527886e0f7030069857d2e4169ee7/x",
            "eth://0x52908400098527886e0f7030069857d2e4169ee7/x",
        ),
        ("https://example.com/a?x=1;y=2", "https://example.com/a"),
    ] {
        assert_eq!(names(None, text), [wanted], "{text}");
        assert_eq!(names(Some(TargetKind::Url), text), [wanted], "{text}");
        let again = names(None, wanted);
        assert_eq!(again, [wanted], "its name is the name of its name");
    }
    let target = parse_one("files", "https://example.com/a?id=7&x=%2F#top").expect("a URL");
    assert_eq!(attribute(&target, "query").as_deref(), Some("id=7&x=%2F"));
    assert_eq!(attribute(&target, "kind").as_deref(), Some("url"));
    assert_eq!(attribute(&target, "host").as_deref(), Some("example.com"));
    assert_eq!(attribute(&target, "public").as_deref(), Some("true"));
}

#[test]
fn what_urls_are_read_in_two_ways_is_refused() {
    for text in [
        "https:example.com/a",
        "https:/example.com/a",
        "https:///example.com/a",
        "https://example.com\\a",
        "https:\\\\example.com",
        "https://user:pw@example.com/",
        "https://user@example.com/",
        "https://@example.com/",
        "https://example.com@evil.test/",
        "https://example.com/a/../b",
        "https://example.com/a/%2e%2e/b",
        "https://example.com/a/%2E./b",
        "https://example.com/a/%2e/b",
        "https://example.com/a%2Fb",
        "https://example.com/a%5Cb",
        "https://example.com/a%00b",
        "https://example.com/a%0d%0ab",
        "https://example.com/%252e%252e/b",
        "https://example.com/%25%32%65/b",
        "https://example.com/..;/b",
        "https://example.com/..;a=1/b",
        "https://example.com/.%3B/b",
        "https://example.com/hr;x=1/a",
        "https://example.com/hr;/a",
        "https://example.com/page;a",
        "https://example.com/a;",
        "db://orders/hr;x/7",
        "https://example.com/100%",
        "https://example.com/a%2",
        "https://example.com/a%20",
        "https://example\u{ff0e}com/",
        "https://example\u{3002}com/",
        "https://exam\u{ad}ple.com/",
        "https://ex%61mple.com/",
        "https://b\u{fc}cher.example/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://010.0.0.1/",
        "http://0177.0.0.1/",
        "ssh://0x0a000001/x",
        "ssh://0X7f.1/x",
        "git://010.0.0.1/x",
        "gopher://0x7f000001:70/",
        "https://example.com:99999/",
        "https://exa mple.com/",
        "https://example.com/a\u{2215}b",
        "https://example.com/%EF%BC%8F",
        "db://orders/7#x",
        "https://",
        "https://:80/",
    ] {
        assert!(is_refused(None, text), "{text:?}");
        assert!(is_refused(Some(TargetKind::Url), text), "{text:?}");
    }
    for text in ["/srv/a", "a", "mailto:a@example.com", "urn:isbn:12"] {
        assert!(is_refused(Some(TargetKind::Url), text), "{text}");
    }
}

#[test]
fn other_uris_are_themselves_and_lie_in_nothing() {
    let target = parse_one("files", "URN:isbn:12").expect("a URI");
    assert_eq!(name(&target), "urn:isbn:12");
    assert!(target.overlay.parents.is_empty());
    for text in [
        "C:x",
        "c:/x",
        "https:x",
        "x:a/../b",
        "x:key.pem/",
        "x:key.pem/.",
        "x:key.pe%6D",
    ] {
        assert!(is_refused(None, text), "{text}");
    }
}

#[test]
fn what_is_no_path_and_no_url_lies_in_nothing() {
    for (text, wanted) in [
        ("docs/a.md", "files:docs/a.md"),
        ("known@example.com", "files:known@example.com"),
        ("12:30", "files:12:30"),
        ("a, b", "files:a, b"),
    ] {
        let target = parse_one("files", text).expect(text);
        assert_eq!(name(&target), wanted);
        assert!(target.overlay.parents.is_empty(), "{text}");
    }
    for text in [
        "a/../b",
        "key.pem/",
        "key.pem/.",
        "./key.pem",
        "a//b",
        "key.pe%6D",
        "a\u{ff0f}b",
        "..;/a",
    ] {
        assert!(is_refused(None, text), "{text}");
    }
    let id = |text| names(Some(TargetKind::Id), text);
    assert_eq!(id("C04SUPPORT"), ["files:C04SUPPORT"]);
    assert_eq!(id("https://example.com/a"), ["files:https://example.com/a"]);
    assert_eq!(id("/ab+/="), ["files:/ab+/="]);
    for text in ["//x/y", "../a", "a/..", "a ", "a\u{200b}"] {
        assert!(is_refused(Some(TargetKind::Id), text), "{text:?}");
    }
}

#[test]
fn a_page_is_the_same_however_its_uuid_is_written() {
    let wanted = "files:0f4e1d2c-3b4a-5968-8776-655443322110";
    for text in [
        "0f4e1d2c-3b4a-5968-8776-655443322110",
        "0F4E1D2C-3B4A-5968-8776-655443322110",
        "0f4e1d2c3b4a59688776655443322110",
        "0F4E1D2C3B4A59688776655443322110",
        "0f4E1d2C3b4A59688776655443322110",
    ] {
        assert_eq!(names(Some(TargetKind::Uuid), text), [wanted], "{text}");
    }
    for text in [
        "0f4e1d2c-3b4a-5968-8776-65544332211",
        "{0f4e1d2c-3b4a-5968-8776-655443322110}",
        "urn:uuid:0f4e1d2c-3b4a-5968-8776-655443322110",
        "0f4e-1d2c3b4a59688776655443322110",
        "0g4e1d2c3b4a59688776655443322110",
        "page",
    ] {
        assert!(is_refused(Some(TargetKind::Uuid), text), "{text}");
    }
}

#[test]
fn an_address_has_one_name_and_two_are_two() {
    for (text, wanted) in [
        ("bob@example.com", vec!["mailto:bob@example.com"]),
        ("Bob@Example.COM", vec!["mailto:bob@example.com"]),
        ("Bob <bob@example.com>", vec!["mailto:bob@example.com"]),
        (
            "\"Bob B.\" <bob@example.com>",
            vec!["mailto:bob@example.com"],
        ),
        ("<bob@example.com>", vec!["mailto:bob@example.com"]),
        ("mailto:bob@example.com", vec!["mailto:bob@example.com"]),
        (
            "bob+x@xn--bcher-kva.de",
            vec!["mailto:bob+x@xn--bcher-kva.de"],
        ),
        ("a@x.com, b@x.com", vec!["mailto:a@x.com", "mailto:b@x.com"]),
        (
            "a@x.com;B <b@x.com>",
            vec!["mailto:a@x.com", "mailto:b@x.com"],
        ),
        // As Outlook writes them.
        ("\"Menon, Ravi\" <ravi@x.com>", vec!["mailto:ravi@x.com"]),
        (
            "\"Menon, Ravi; shop\" <a@x.com>; \"B, b\" <b@x.com>, c@x.com",
            vec!["mailto:a@x.com", "mailto:b@x.com", "mailto:c@x.com"],
        ),
    ] {
        assert_eq!(names(Some(TargetKind::Email), text), wanted, "{text}");
    }
    assert_eq!(
        names(None, "MailTo:Bob@example.com"),
        ["mailto:bob@example.com"]
    );
    let target = &parse(
        "mail",
        Some(TargetKind::Email),
        "a@mail.example.co.uk",
        None,
    )
    .expect("one")[0];
    assert_eq!(
        attribute(target, "domain").as_deref(),
        Some("example.co.uk")
    );
    assert!(target.overlay.parents.is_empty());
}

#[test]
fn what_addresses_are_read_in_two_ways_is_refused() {
    for text in [
        "known@example.com/ <stranger@example.com>",
        "known@example.com <stranger@example.com>",
        "stranger@example.com (known@example.com)",
        "\"known@example.com\" <stranger@example.com>",
        "\"a b\"@example.com",
        "a(comment)@example.com",
        "a@[127.0.0.1]",
        "a@127.0.0.1",
        "a@127.1",
        "<<a@example.com>>",
        "<a@example.com> <b@example.com>",
        "a@example.com>",
        "a@b@example.com",
        "a%b@example.com",
        "b!a@example.com",
        "@relay.com:a@example.com",
        "group: a@example.com;",
        "a@example.com?cc=b@example.com",
        "mailto:a@example.com?cc=b@example.com",
        "mailto:a%40example.com",
        "a@example.com,",
        "a@example.com,,b@example.com",
        ".a@example.com",
        "a..b@example.com",
        "a@example..com",
        "a@example.com.",
        "a@-example.com",
        "a@exa mple.com",
        "a\u{ff20}example.com",
        "a@example\u{ff0e}com",
        "a@example\u{3002}com",
        "a\u{200b}@example.com",
        // Domains that another standard encodes otherwise, and those that it does not.
        "bob@stra\u{df}e.de",
        "bob@\u{3b2}\u{3cc}\u{3bb}\u{3bf}\u{3c2}.com",
        "bob@b\u{fc}cher.de",
        "Bob <bob@b\u{fc}cher.de>",
        "bob@STRA\u{1e9e}E.de",
        // Quotes and encoded words that may end elsewhere, or hold an address.
        "\"a@x.com, b\" <b@x.com>",
        "\"a\\\", b@x.com, \"c\" <c@x.com>",
        "\"a\\\" <b@x.com>",
        "\"a, b <b@x.com>",
        "a\", \"b <b@x.com>",
        "\"a, b\"@x.com",
        "=?utf-8?b?ZXZlQGV2aWwuY29tLA==?=<bob@x.com>",
        "a",
        "@example.com",
        "a@",
    ] {
        assert!(is_refused(Some(TargetKind::Email), text), "{text:?}");
    }
}

#[test]
fn only_paths_and_urls_contain_one_another() {
    for (whole, inner) in [
        ("file:///srv", "file:///srv/a"),
        ("file:///", "file:///srv"),
        ("https://example.com", "https://example.com/a"),
        ("https://example.com/", "https://example.com/a"),
        ("file:///srv/", "file:///srv"),
        ("db:///", "db:///orders"),
        ("x:same", "x:same"),
    ] {
        assert!(contains(&place(whole), &place(inner)), "{inner} in {whole}");
    }
    for (whole, outside) in [
        ("file:///srv", "file:///srvx"),
        ("https://example.com", "https://example.com:8443/a"),
        ("https://example.com", "https://example.com.evil.test"),
        ("https://", "https://example.com"),
        ("https:", "https://example.com"),
        ("files:", "files:a"),
        ("files:docs", "files:docs/a"),
        (
            "mail:known@example.com",
            "mail:known@example.com/ <x@example.com>",
        ),
        ("mailto:a@example.com", "mailto:a@example.com/b"),
        ("urn:isbn", "urn:isbn/12"),
        ("", "file:///srv"),
    ] {
        assert!(
            !contains(&place(whole), &place(outside)),
            "{outside} in {whole}"
        );
    }
}

const TEXTS: &str = "(https://|file:///|file:/|/|db://|urn:|)[a-zA-Z/:.%2eEfF @;?#,<>-]{0,40}";

proptest! {
    /// A boundary drawn around a place holds for every text: what is named as inside it lies inside it, and nothing
    /// else does.
    #[test]
    fn a_target_lies_in_each_place_that_contains_it(text in TEXTS, other in TEXTS) {
        let Ok(target) = parse_one("files", &text) else { return Ok(()) };
        let own = name(&target);
        for parent in &target.overlay.parents {
            let outer: &str = parent.eid().as_ref();
            prop_assert!(own.starts_with(outer), "{own} in {outer}");
            prop_assert!(!own[outer.len()..].split('/').any(|segment| segment == ".."));
            prop_assert!(contains(parent, target.uid()));
        }
        if let Ok(other) = parse_one("files", &other) {
            let known = target.overlay.parents.contains(other.uid()) || other.uid() == target.uid();
            prop_assert_eq!(contains(other.uid(), target.uid()), known);
        }
    }

    /// All spellings of a page make one target, and none that somebody may take for another makes a second one.
    #[test]
    fn a_page_is_one_target_however_it_is_spelt(id: u128, upper: u64, escaped in 0_usize..36) {
        let uuid = uuid::Uuid::from_u128(id);
        let wanted = [format!("files:{}", uuid.as_hyphenated())];
        let in_cases = |text: String| -> String {
            let signs = text.chars().enumerate();
            let signs = signs.map(|(at, sign)| match upper >> at & 1 {
                0 => sign,
                _ => sign.to_ascii_uppercase(),
            });
            signs.collect()
        };
        let hyphenated = in_cases(uuid.as_hyphenated().to_string());
        let simple = in_cases(uuid.as_simple().to_string());
        prop_assert_eq!(names(Some(TargetKind::Uuid), &hyphenated), wanted.clone());
        prop_assert_eq!(names(Some(TargetKind::Uuid), &simple), wanted.clone());
        prop_assert_eq!(names(None, &hyphenated), wanted.clone());
        prop_assert_eq!(names(Some(TargetKind::Id), &hyphenated), wanted.clone());
        let stored = format!("files:{hyphenated}");
        prop_assert_eq!(stored::canonical_name(&stored, |_| true), Ok(wanted[0].clone()));
        let sign = u32::from(hyphenated.as_bytes()[escaped]);
        let (before, after) = hyphenated.split_at(escaped);
        for kind in [None, Some(TargetKind::Uuid), Some(TargetKind::Id)] {
            let other = format!("{before}%{sign:02x}{}", &after[1..]);
            prop_assert!(is_refused(kind, &other), "{}", other);
        }
    }

    /// The name of a thing, read again, is the name of the same thing.
    #[test]
    fn names_are_canonical(text in TEXTS) {
        for kind in [Some(TargetKind::Path), Some(TargetKind::Url), Some(TargetKind::Email), Some(TargetKind::Uuid), None] {
            for target in parse("files", kind, &text, Some("/srv")).unwrap_or_default() {
                let own = name(&target);
                let again = match target.kind {
                    TargetKind::Path | TargetKind::Url | TargetKind::Uri | TargetKind::Email => parse("files", None, &own, None),
                    TargetKind::Uuid | TargetKind::Id => continue,
                };
                let again: Vec<String> = again.expect("canonical").iter().map(name).collect();
                prop_assert_eq!(again, [own]);
            }
        }
    }
}

#[test]
fn what_climbs_once_programs_have_replaced_it_is_refused_in_every_kind() {
    let (path, url, id) = (
        Some(TargetKind::Path),
        Some(TargetKind::Url),
        Some(TargetKind::Id),
    );
    for (kind, text) in [
        (path, "/srv/shop/.${NOPE}./etc/passwd"),
        (path, "x/.$1./etc/passwd"),
        (path, "/srv/shop/{x,../secrets}/key"),
        (url, "http://127.0.0.1/larkwood/{x,../evil}/secret"),
        (url, "http://127.0.0.1/larkwood/x%7B/y,/../../evil}"),
        (url, "http://{good,evil}.example.com/"),
        (id, "a/.$x./b"),
        (None, "file:///srv/{a,../b}"),
        (None, "a/{b,..}"),
        (None, "urn:a/.$x."),
    ] {
        assert!(is_refused(kind, text), "{text}");
    }
    for (kind, text) in [
        (path, "/srv/shop/users.$userId.tsx"),
        (path, "pages/[id].tsx"),
        (path, "{id}.tsx"),
        (url, "https://example.com/{id}/$metadata"),
        (url, "users://{id}/profile"),
        (id, "$me"),
    ] {
        assert_eq!(names(kind, text).len(), 1, "{text}");
    }
}

#[test]
fn a_name_has_nothing_of_the_one_before() {
    for length in [1, 20, 2_000, 4_000, 3, 23, 24] {
        let segment = "s".repeat(length);
        let path = format!("/srv/{segment}");
        assert_eq!(names(None, &path), [format!("file://{path}")]);
        let id = text::joined(|name| name.extend([segment.as_str(), ":", &segment]));
        assert_eq!(id, format!("{segment}:{segment}"));
        assert_eq!(text::joined(|_| ()), "");
    }
}
