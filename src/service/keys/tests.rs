use std::time::{Duration, SystemTime};

use crate::call::live::change::{Asked, Key};
use crate::service::keys::{KeyRoom, Keys, Known};
use crate::state::store::KnownKey;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn known(caller: &str, text: &str, revision: u64) -> KnownKey {
    KnownKey {
        caller: caller.into(),
        text: text.into(),
        request: [1; 32],
        revision,
        id: "made".into(),
        at: at(revision),
    }
}

fn asked(caller: &str, text: &str, request: u8) -> Asked {
    Asked {
        caller: caller.into(),
        principal: None,
        key: Some(Key {
            text: text.into(),
            request: [request; 32],
        }),
    }
}

fn keys(all: usize, caller: usize) -> Keys {
    Keys::new(Vec::new(), KeyRoom { all, caller })
}

fn limit_of(known: Known) -> String {
    match known {
        Known::Full(message) => message,
        known => panic!("{known:?}"),
    }
}

#[test]
fn one_caller_cannot_use_up_the_room_of_the_others() {
    let mut keys = keys(3, 2);
    keys.remember(known("edge", "a", 1));
    keys.remember(known("edge", "b", 2));
    let full = limit_of(keys.look(&asked("edge", "c", 1)));
    assert!(
        full.contains("`limits.idempotency_keys_per_caller`"),
        "{full}"
    );
    assert_eq!(keys.look(&asked("other", "c", 1)), Known::New);
    keys.remember(known("other", "c", 3));
    let full = limit_of(keys.look(&asked("third", "d", 1)));
    assert!(full.contains("`limits.idempotency_keys`"), "{full}");
}

#[test]
fn what_is_known_is_known_however_full_it_is() {
    let mut keys = keys(1, 1);
    keys.remember(known("edge", "a", 1));
    assert_eq!(
        keys.look(&asked("edge", "a", 1)),
        Known::Same(known("edge", "a", 1))
    );
    assert_eq!(keys.look(&asked("edge", "a", 2)), Known::Other);
}

#[test]
fn what_is_forgotten_makes_room() {
    let mut keys = keys(2, 2);
    keys.remember(known("edge", "a", 1));
    keys.remember(known("edge", "b", 5));
    keys.forget(at(3));
    assert_eq!(keys.look(&asked("edge", "a", 1)), Known::New);
    assert_eq!(
        keys.look(&asked("edge", "b", 1)),
        Known::Same(known("edge", "b", 5))
    );
    keys.remember(known("edge", "c", 6));
    limit_of(keys.look(&asked("edge", "d", 1)));
}

#[test]
fn what_was_not_carried_out_is_not_known_and_takes_no_room() {
    let mut keys = keys(2, 2);
    keys.remember(known("edge", "a", 1));
    keys.remember(known("edge", "b", 2));
    keys.fall_back(1);
    assert_eq!(keys.look(&asked("edge", "b", 1)), Known::New);
    keys.remember(known("edge", "b", 2));
    limit_of(keys.look(&asked("edge", "c", 1)));
}
