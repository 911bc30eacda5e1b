use proptest::prelude::*;

use super::*;

fn names(text: &str) -> (String, Vec<String>) {
    let overlay = resource("files", text).expect("a target");
    let eid = |uid: &EntityUID| AsRef::<str>::as_ref(uid.eid()).to_owned();
    (eid(&overlay.uid), overlay.parents.iter().map(eid).collect())
}

#[test]
fn a_path_and_its_uri_are_the_same_place() {
    let wanted = (
        "file:///srv/a b/c.txt".to_owned(),
        vec![
            "file:///".to_owned(),
            "file:///srv".to_owned(),
            "file:///srv/a b".to_owned(),
        ],
    );
    assert_eq!(names("/srv/a b/c.txt"), wanted);
    assert_eq!(names("file:///srv/a%20b/c.txt"), wanted);
    assert_eq!(names("//srv/./a b//c.txt"), wanted);
}

#[test]
fn the_root_contains_itself_only() {
    assert_eq!(names("/"), ("file:///".to_owned(), vec![]));
    assert_eq!(
        names("https://Example.com"),
        ("https://example.com".to_owned(), vec![])
    );
}

#[test]
fn a_url_is_known_by_host_and_path() {
    let wanted = (
        "https://example.com:8443/v1/items".to_owned(),
        vec![
            "https://example.com:8443".to_owned(),
            "https://example.com:8443/v1".to_owned(),
        ],
    );
    assert_eq!(
        names("https://user:pw@Example.com:8443/v1/items?id=7#top"),
        wanted
    );
}

#[test]
fn a_host_is_the_same_with_a_dot_at_its_end() {
    assert_eq!(
        names("https://example.com./a/b"),
        names("https://example.com/a/b")
    );
}

#[test]
fn what_is_no_uri_belongs_to_the_server() {
    assert_eq!(
        names("docs/a.md"),
        (
            "files:docs/a.md".to_owned(),
            vec!["files:".to_owned(), "files:docs".to_owned()]
        )
    );
    assert_eq!(names("urn:isbn:12"), ("urn:isbn:12".to_owned(), vec![]));
}

#[test]
fn what_can_be_read_two_ways_is_refused() {
    let refused = |text: &str| resource("files", text).expect_err(text);
    for climbing in [
        "/srv/app/../../etc/passwd",
        "file:///srv/%2e%2e/etc",
        "a/../b",
        "https://h/a/%2E./b",
    ] {
        assert_eq!(refused(climbing), TargetFault::Climbs, "{climbing}");
    }
    for ambiguous in [
        "/srv\\etc",
        "/srv/a\0b",
        "file:///srv/a%00b",
        "file:///srv/%5cetc",
        "file:///%ff",
    ] {
        assert_eq!(refused(ambiguous), TargetFault::Ambiguous, "{ambiguous}");
    }
    assert_eq!(refused(""), TargetFault::Empty);
    assert_eq!(
        refused(&"a".repeat(MAX_TARGET_BYTES + 1)),
        TargetFault::TooLong
    );
    assert_eq!(
        refused(&"/a".repeat(MAX_TARGET_SEGMENTS + 1)),
        TargetFault::TooDeep
    );
}

proptest! {
    /// A boundary drawn around a place holds for every text: what is named as inside it lies inside it.
    #[test]
    fn a_target_lies_in_each_place_that_contains_it(text in "[a-z/:.%2eEfF ]{0,40}") {
        if let Ok(overlay) = resource("files", &text) {
            let name: &str = overlay.uid.eid().as_ref();
            for parent in &overlay.parents {
                let place: &str = parent.eid().as_ref();
                prop_assert!(name.starts_with(place), "{name} in {place}");
                prop_assert!(!name[place.len()..].split('/').any(|segment| segment == ".."));
            }
        }
    }
}
