use callgate_engine::cedar::Value;
use smol_str::SmolStr;

use super::*;
use crate::domain::schema::entity_uid;

fn resource(id: &str) -> EntityUID {
    entity_uid(&TYPES.resource, SmolStr::new(id))
}

fn stating(id: &str, attributes: &[(&str, &str)]) -> Entity {
    let attributes = attributes.iter().map(|(name, text)| {
        let value = Value::new(SmolStr::new(text), None);
        (SmolStr::new(name), PartialValue::Value(value))
    });
    let none = std::collections::HashSet::new();
    Entity::new_with_attr_partial_value(resource(id), attributes, none.clone(), none, [])
}

/// Checks that these names are canonical, and that each of those has another that is.
fn check_names(is_server: fn(&str) -> bool, canonical: &[&str], others: &[(&str, &str)]) {
    for fine in canonical {
        assert_eq!(other_name(&resource(fine), is_server), None, "{fine}");
    }
    for (other, meant) in others {
        let found = other_name(&resource(other), is_server);
        assert_eq!(found, Some(Ok((*meant).to_owned())), "{other}");
    }
}

#[test]
fn a_resource_is_stored_under_its_canonical_name() {
    let is_server = |name: &str| name == "slack";
    check_names(
        is_server,
        &[
            "known-destinations",
            "team/contracts",
            "file:///srv/hr",
            "https://example.com/a",
            "mailto:ana@example.com",
            "slack:C04",
            "slack:0f4e1d2c-3b4a-5968-8776-655443322110",
            "slack:0F4E1D2C3B4A59688776655443322110",
            "urn:isbn:1",
        ],
        &[
            ("/srv/hr", "file:///srv/hr"),
            ("file:///srv/hr/", "file:///srv/hr"),
            ("https://Example.com:443/", "https://example.com"),
            ("mailto:Ana@Example.com", "mailto:ana@example.com"),
            (
                "slack:0F4E1D2C-3B4A-5968-8776-655443322110",
                "slack:0f4e1d2c-3b4a-5968-8776-655443322110",
            ),
        ],
    );
    let found = other_name(&resource("file:///srv/../hr"), is_server);
    assert!(matches!(found, Some(Err(_))), "{found:?}");
    // A user may be called as a path is.
    let user = entity_uid(&TYPES.user, SmolStr::new("/srv/hr"));
    assert_eq!(other_name(&user, is_server), None);
}

#[test]
fn a_server_that_is_called_like_a_scheme_takes_no_place_from_it() {
    let is_server = |name: &str| ["file", "https", "mailto", "urn"].contains(&name);
    check_names(
        is_server,
        &[
            "file:///srv/hr",
            "https://example.com/a",
            "mailto:ana@example.com",
            "urn:isbn:1",
            "file:F04",
            "https:0f4e1d2c-3b4a-5968-8776-655443322110",
        ],
        &[
            ("file:///srv/hr/", "file:///srv/hr"),
            ("https://Example.com:443/", "https://example.com"),
            (
                "file:0F4E1D2C-3B4A-5968-8776-655443322110",
                "file:0f4e1d2c-3b4a-5968-8776-655443322110",
            ),
        ],
    );
    let place = read("file:///srv/hr", is_server).map(|target| target.kind);
    assert_eq!(place, Ok(TargetKind::Path));
    let found = other_name(&resource("file:///srv/../hr"), is_server);
    assert!(matches!(found, Some(Err(_))), "{found:?}");
}

#[test]
fn what_a_name_determines_is_not_stated() {
    for name in DERIVED {
        let stating = stating("file:///etc/x", &[("sensitivity", "internal"), (name, "y")]);
        assert_eq!(derived_attribute(&stating), Some(name));
        let left = without_derived(stating);
        assert_eq!(left.keys().collect::<Vec<_>>(), ["sensitivity"], "{name}");
    }
    let fine = stating(
        "file:///etc/x",
        &[("uri", "file:///etc/x"), ("sensitivity", "restricted")],
    );
    assert_eq!(derived_attribute(&fine), None);
    assert_eq!(without_derived(fine).keys().count(), 2);
}
