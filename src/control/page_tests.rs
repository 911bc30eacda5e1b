use super::*;

fn page(token: &str, list: u8) -> Option<PageRequest> {
    PageRequest::new(2, token, [list; 32])
}

fn collect(request: &PageRequest) -> ListPage<u32> {
    let entries: Vec<(String, u32)> = (1..=5).map(|it| (format!("key-{it}"), it)).collect();
    let after = request.after().map(ToString::to_string);
    let entries = entries
        .iter()
        .filter(|(key, _)| after.as_ref().is_none_or(|after| key > after))
        .map(|(key, value)| (key, value));
    let keep = |_: &String, value: &u32| Some(*value);
    let page = request.collect(entries, &Limits::default(), 1, keep);
    page.expect("a page")
}

#[test]
fn pages_follow_one_another_by_their_tokens() {
    let mut token = String::new();
    let mut found = Vec::new();
    loop {
        let next = collect(&page(&token, 1).expect("a token of this list"));
        found.push(next.items);
        match next.next {
            Some(next) => token = next.to_string(),
            None => break,
        }
    }
    assert_eq!(found, [vec![1, 2], vec![3, 4], vec![5]]);
}

#[test]
fn a_token_is_of_one_list_and_of_what_it_gave() {
    let token = collect(&page("", 1).expect("the first page"))
        .next
        .expect("more");
    assert!(page(&token, 1).is_some());
    assert!(page(&token, 2).is_none(), "of another list");
    let key = &token[PREFIX..];
    assert_eq!(key, "key-2");
    for odd in [
        "zzzz".to_owned(),
        key.to_owned(),
        token[..PREFIX].to_owned(),
        format!("{token}1"),
        token.to_uppercase(),
        format!("{}{key}", "0".repeat(PREFIX)),
        format!("{}é{key}", "0".repeat(PREFIX - 1)),
        format!("{token}\n"),
    ] {
        assert!(page(&odd, 1).is_none(), "{odd:?}");
    }
}
