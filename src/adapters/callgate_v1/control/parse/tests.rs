use super::*;

fn named(text: &str) -> Result<String, String> {
    match place(text, "targets[0]") {
        Ok(uid) => {
            assert_eq!(*uid.entity_type(), TYPES.resource);
            Ok(AsRef::<str>::as_ref(uid.eid()).to_owned())
        }
        Err(invalid) => Err(invalid.to_string()),
    }
}

#[test]
fn places_have_one_name_and_keep_it() {
    for (text, name) in [
        ("/srv/app", "file:///srv/app"),
        ("/srv//app/", "file:///srv/app"),
        ("/", "file:///"),
        ("file:///srv/a%20b", "file:///srv/a b"),
        ("https://Example.org/x?q#f", "https://example.org/x"),
        ("/srv/c#/100%?", "file:///srv/c%23/100%25%3F"),
        ("mailto:Bob@Example.org", "mailto:bob@example.org"),
        ("GitHub:acme", "GitHub:acme"),
        ("github:acme/widgets", "github:acme/widgets"),
        ("my_server:acme/widgets", "my_server:acme/widgets"),
    ] {
        assert_eq!(named(text).as_deref(), Ok(name), "{text}");
        // What an answer says can be sent again.
        assert_eq!(named(name).as_deref(), Ok(name), "{text}");
    }
}

#[test]
fn what_could_be_anywhere_is_no_place() {
    for (text, said) in [
        ("acme/widgets", "it is neither an absolute path nor a URI"),
        (":acme", "it is neither"),
        ("/srv/../etc", "it contains a `..` segment"),
        ("my_server:a/../b", "it contains a `..` segment"),
        ("/srv\\app", "it has a backslash"),
        ("my_server:", "it is empty"),
        (
            "https://user@example.org/x",
            "it has a user before the host",
        ),
    ] {
        let refused = named(text).expect_err(text);
        assert!(refused.starts_with("`targets[0]` "), "{refused}");
        assert!(refused.contains(said), "{refused}");
    }
}

#[test]
fn a_tool_is_named_with_its_server() {
    for (text, is_name) in [
        ("git/log", true),
        ("git/a/b", true),
        ("git", false),
        ("git/", false),
        ("/log", false),
    ] {
        assert_eq!(is_tool_name(text), is_name, "{text}");
    }
}
