use super::*;

#[test]
fn a_text_is_made_once() {
    let lately: Lately<String> = Lately::default();
    let first = lately.get_or_make("alice", || "made".into());
    let again = lately.get_or_make("alice", || panic!("it is there"));
    assert!(Arc::ptr_eq(&first, &again));
}

#[test]
fn keys_that_share_a_place_do_not_share_a_text() {
    let lately: Lately<String> = Lately::default();
    for round in 0..3 {
        for number in 0..4 * PLACES {
            let key = number.to_string();
            let text = lately.get_or_make(&*key, || key.as_str().into());
            assert_eq!(&*text, key, "round {round}");
        }
    }
    let kept = lately
        .places
        .iter()
        .filter(|place| place.lock().unwrap().is_some());
    assert!(kept.count() <= PLACES);
}

#[test]
fn nobody_waits_for_a_place() {
    let lately: Lately<String> = Lately::default();
    let held = lately.place("alice").unwrap().lock().unwrap();
    assert_eq!(&*lately.get_or_make("alice", || "made".into()), "made");
    drop(held);
}
