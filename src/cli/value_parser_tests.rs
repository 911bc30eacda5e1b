use super::*;

fn shown(read: Result<EntityRef, String>) -> Result<(String, String), String> {
    read.map(|it| (it.r#type, it.id))
}

fn pair(of_type: &str, id: &str) -> Result<(String, String), String> {
    Ok((of_type.to_owned(), id.to_owned()))
}

#[test]
fn a_name_may_be_short_or_whole() {
    for (text, of_type, id) in [
        ("user:sam", "Mcp::User", "sam"),
        ("agent:a:b", "Mcp::Agent", "a:b"),
        ("tool:github/get_issue", "Mcp::Tool", "github/get_issue"),
        ("Mcp::User::\"sam\"", "Mcp::User", "sam"),
        ("User::\"sam\"", "User", "sam"),
        ("Shop::Order::\"a \\\"b\\\"\"", "Shop::Order", "a \"b\""),
    ] {
        assert_eq!(shown(entity(text)), pair(of_type, id), "{text}");
        assert_eq!(shown(agent(text)), pair(of_type, id), "{text}");
    }
    for text in [
        "sam",
        "",
        "user:",
        "person:sam",
        "User::sam",
        "User::\"sam",
        "a b::\"c\"",
    ] {
        let said = entity(text).expect_err(text);
        assert!(said.contains("user:sam"), "{said}");
    }
}

#[test]
fn an_id_alone_is_of_the_expected_type() {
    assert_eq!(shown(agent("support")), pair("Mcp::Agent", "support"));
    assert_eq!(
        shown(user("spiffe://x/y")),
        pair("Mcp::User", "spiffe://x/y")
    );
    for text in ["", "agent:", "User::\"sam"] {
        assert!(agent(text).is_err(), "{text}");
    }
}

#[test]
fn values_are_json_or_else_strings() {
    assert_eq!(with_value("n=3"), Ok(("n".into(), Json::from(3))));
    assert_eq!(with_value("t=a=b"), Ok(("t".into(), Json::from("a=b"))));
    assert!(with_value("=1").is_err() && with_value("a").is_err());
    let twice = with_value(r#"o={"a":1,"b":{"a":1,"a":2}}"#).expect_err("a key twice");
    assert!(twice.contains("the key `a` occurs twice"), "{twice}");
    // A word that is no number of any kind stays a word.
    assert_eq!(with_value("n=1e999"), Ok(("n".into(), Json::from("1e999"))));
    assert_eq!(tool("a/b/c"), Ok(("a".into(), "b/c".into())));
    assert!(tool("a").is_err() && tool("/a").is_err() && tool("a/").is_err());
}
