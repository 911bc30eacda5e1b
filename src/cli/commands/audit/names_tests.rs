use super::*;

#[test]
fn a_name_is_told_from_the_words_around_it() {
    for plain in [
        "support",
        "sam@example.com",
        "git/log",
        "SOC2-CC6.1",
        "größe",
        "",
    ] {
        assert_eq!(name(plain), plain);
    }
    assert_eq!(name("a \u{2192} b"), "\"a \u{2192} b\"");
    assert_eq!(name(r#"a" b\"#), r#""a\" b\\""#);
    assert_eq!(name("a\u{202e}b"), "\"a\\u{202e}b\"");
    assert_eq!(names(&["a", "b, c", ""]), r#"a, "b, c", """#);
}

#[test]
fn an_entity_is_short_only_if_its_id_is_plain() {
    assert_eq!(entity(r#"Mcp::User::"ines""#), "user:ines");
    let forged = r#"Mcp::User::"ines → agent:planner""#;
    assert_eq!(entity(forged), forged);
    let escaped = r#"Mcp::User::"a\" → agent:\"b""#;
    assert_eq!(entity(escaped), escaped);
    assert_eq!(
        entity("Mcp::Resource::hmac:00ff"),
        "Mcp::Resource::hmac:00ff"
    );
    // Its own quote has no end.
    let cut = "Mcp::User::\"x → agent:y…sha256:00";
    assert_eq!(entity(cut), r#""Mcp::User::\"x → agent:y…sha256:00""#);
    // Ids that only look like entities.
    assert_eq!(object(r#"x y::"z""#), r#""x y::\"z\"""#);
    assert_eq!(object(r#"x::"y" done "z""#), r#""x::\"y\" done \"z\"""#);
}
