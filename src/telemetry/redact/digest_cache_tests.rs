use std::sync::Arc;

use super::*;

#[test]
fn a_text_is_made_once() {
    let lately: DigestCache<String, Arc<str>> = DigestCache::default();
    let first = lately.get_or_insert_with("alice", || "made".into());
    let again = lately.get_or_insert_with("alice", || panic!("it is there"));
    assert!(Arc::ptr_eq(&first, &again));
}

#[test]
fn keys_that_share_a_place_do_not_share_a_text() {
    let lately: DigestCache<String, Arc<str>> = DigestCache::default();
    for round in 0..3 {
        for number in 0..4 * SLOTS {
            let key = number.to_string();
            let text = lately.get_or_insert_with(&*key, || key.as_str().into());
            assert_eq!(&*text, key, "round {round}");
        }
    }
    let kept = lately
        .places
        .iter()
        .filter(|place| place.lock().unwrap().is_some());
    assert!(kept.count() <= SLOTS);
}

#[test]
fn nobody_waits_for_a_place() {
    let lately: DigestCache<String, Arc<str>> = DigestCache::default();
    let held = lately.place("alice").unwrap().lock().unwrap();
    assert_eq!(
        &*lately.get_or_insert_with("alice", || "made".into()),
        "made"
    );
    drop(held);
}
