use serde_json::json;

use super::*;

fn object(value: Json) -> Map<String, Json> {
    value.as_object().expect("an object").clone()
}

const PLACE: Cursor = Cursor {
    order: u64::MAX,
    shard: 17,
    done: 3,
};

#[test]
fn a_token_leads_back_to_its_place_in_the_same_search_alone() {
    let search = object(json!({"subject": {"type": "user"}}));
    let print = fingerprint("edge", "/subject", &search);
    let token = token(Some(PLACE), print);
    let with_page = |page: Json| {
        let mut search = search.clone();
        search.insert("page".into(), page);
        search
    };
    let next = with_page(json!({"token": token, "limit": 5}));
    assert_eq!(fingerprint("edge", "/subject", &next), print);
    let page = of(&next, print, 100).expect("a page");
    assert_eq!((page.after, page.most), (Some(PLACE), 5));
    for other in [
        fingerprint("other", "/subject", &search),
        fingerprint("edge", "/resource", &search),
        fingerprint(
            "edge",
            "/subject",
            &object(json!({"subject": {"type": "robot"}})),
        ),
    ] {
        assert_eq!(of(&next, other, 100), Err(HttpRejection::OtherPage));
    }
}

#[test]
fn a_token_does_not_depend_on_how_the_search_is_written() {
    let print = |text: &str| {
        let search: Map<String, Json> = serde_json::from_str(text).expect("an object");
        fingerprint("edge", "/subject", &search)
    };
    let search = r#"{"subject": {"type": "user", "id": "a"}, "context": {"n": 1}}"#;
    for same in [
        r#"{"context": {"n": 1}, "subject": {"id": "a", "type": "user"}}"#,
        r#"{"page": {"limit": 3}, "context": {"n": 1.0}, "subject": {"type": "\u0075ser", "id": "a"}}"#,
    ] {
        assert_eq!(print(same), print(search), "{same}");
    }
    for other in [
        r#"{"subject": {"type": "user", "id": "a"}, "context": {"n": 2}}"#,
        r#"{"subject": {"type": "user", "id": "a"}}"#,
        r#"{"subject": {"type": "user", "id": "a", "context": {"n": 1}}}"#,
        r#"{"subject": {"type": "user"}, "id": "a", "context": {"n": 1}}"#,
    ] {
        assert_ne!(print(other), print(search), "{other}");
    }
    let numbered = |n: u64| print(&format!(r#"{{"context": {{"n": {n}}}}}"#));
    assert_ne!(
        numbered(1_122_334_455_667_788_990),
        numbered(1_122_334_455_667_788_991)
    );
}

#[test]
fn what_is_no_page_is_refused() {
    let print = Fingerprint::default();
    for (page, wanted) in [
        (json!("x"), "`page` must be an object"),
        (
            json!({"limit": -1}),
            "`page.limit` must be a whole number from 0 on",
        ),
        (
            json!({"limit": "1"}),
            "`page.limit` must be a whole number from 0 on",
        ),
        (json!({"token": 1}), "`page.token` must be a string"),
        (json!({"token": "zz"}), "`page.token` is of another search"),
        (
            json!({"token": "é".repeat(28)}),
            "`page.token` is of another search",
        ),
    ] {
        let refusal = of(&object(json!({"page": page})), print, 100).expect_err("refused");
        assert!(refusal.to_string().starts_with(wanted), "{refusal}");
    }
}

#[test]
fn no_page_asks_for_more_than_the_limit() {
    let print = Fingerprint::default();
    for page in [
        json!({"page": {"limit": u64::MAX}}),
        json!({}),
        json!({"page": {"token": ""}}),
    ] {
        let page = of(&object(page), print, 100).expect("a page");
        assert_eq!((page.after, page.most), (None, 100));
    }
    assert_eq!(token(None, print), "");
}

#[test]
fn a_page_of_nothing_leads_to_where_it_would_have_been() {
    let print = fingerprint(
        "edge",
        "/subject",
        &object(json!({"subject": {"type": "user"}})),
    );
    for after in [None, Some(PLACE)] {
        let token = again(after, print);
        assert!(!token.is_empty());
        let next = object(json!({"page": {"token": token, "limit": 0}}));
        let page = of(&next, print, 100).expect("a page");
        assert_eq!((page.after, page.most), (after, 0));
        let other = Fingerprint::default();
        assert_eq!(of(&next, other, 100), Err(HttpRejection::OtherPage));
    }
}
