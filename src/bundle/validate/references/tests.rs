use crate::bundle::validate::references::known_entities::nearest;

#[test]
fn what_is_meant_is_a_slip_of_the_pen_away() {
    let names = [
        "notion/API-patch-page",
        "notion/API-get-page",
        "ana",
        "read",
        "write",
        "admin",
        "id",
    ];
    for (name, meant) in [
        ("notion/API-patch-pgae", Some("notion/API-patch-page")),
        ("Notion/api-patch-page", Some("notion/API-patch-page")),
        ("anna", Some("ana")),
        ("an", Some("ana")),
        ("READ", Some("read")),
        ("wirte", Some("write")),
        ("admn", Some("admin")),
        ("bob", None),
        ("x", None),
        ("delete", None),
        ("notion/API-post-search", None),
        ("", None),
    ] {
        assert_eq!(nearest(name, names.into_iter()), meant, "{name}");
    }
    let long = "a".repeat(100_000);
    assert_eq!(nearest(&long, [&*long].into_iter()), None);
}
