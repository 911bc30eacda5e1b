use super::*;

#[test]
fn what_is_added_may_be_stored_until_it_is_removed() {
    let mut index = SessionIndex::default();
    assert!(!index.has(&"s1".into()));
    index.add("s1", 64);
    index.add("s2", 64);
    assert!(index.has(&"s1".into()) && index.has(&"s2".into()) && !index.has(&"s3".into()));
    index.remove(&"s1".into());
    assert!(!index.has(&"s1".into()) && index.has(&"s2".into()));
    assert_eq!(index.len(), 1);
}

#[test]
fn with_too_many_any_session_may_be_stored() {
    let mut index = SessionIndex::default();
    for id in ["s1", "s2", "s3"] {
        index.add(id, MAX_KNOWN / 2);
    }
    assert!(index.has(&"never seen".into()));
    index.remove(&"s1".into());
    index.add("s4", MAX_KNOWN / 2);
    assert!(index.has(&"s1".into()), "it cannot be told any more");
    assert_eq!(index.len(), 0, "nothing is kept for that");
}
