use std::time::{Duration, SystemTime};

use crate::domain::authority::change::{ChangeOrigin, IdempotencyKey};
use crate::service::idempotency::{IdempotencyKeys, KeyLimits, KeyLookup};
use crate::store::backend::StoredKey;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn known(caller: &str, text: &str, revision: u64) -> StoredKey {
    StoredKey {
        caller: caller.into(),
        text: text.into(),
        request: [1; 32],
        revision,
        id: "made".into(),
        at: at(revision),
    }
}

fn asked(caller: &str, text: &str, request: u8) -> ChangeOrigin {
    ChangeOrigin {
        caller: caller.into(),
        principal: None,
        key: Some(IdempotencyKey {
            text: text.into(),
            request: [request; 32],
        }),
    }
}

fn keys(all: usize, caller: usize) -> IdempotencyKeys {
    IdempotencyKeys::new(
        Vec::new(),
        KeyLimits {
            total: all,
            per_caller: caller,
        },
    )
}

fn limit_of(known: KeyLookup) -> String {
    match known {
        KeyLookup::Full(message) => message,
        known => panic!("{known:?}"),
    }
}

#[test]
fn one_caller_cannot_use_up_the_room_of_the_others() {
    let mut keys = keys(3, 2);
    keys.remember(known("edge", "a", 1));
    keys.remember(known("edge", "b", 2));
    let full = limit_of(keys.lookup(&asked("edge", "c", 1)));
    assert!(
        full.contains("`limits.idempotency_keys_per_caller`"),
        "{full}"
    );
    assert_eq!(keys.lookup(&asked("other", "c", 1)), KeyLookup::New);
    keys.remember(known("other", "c", 3));
    let full = limit_of(keys.lookup(&asked("third", "d", 1)));
    assert!(full.contains("`limits.idempotency_keys`"), "{full}");
}

#[test]
fn what_is_known_is_known_however_full_it_is() {
    let mut keys = keys(1, 1);
    keys.remember(known("edge", "a", 1));
    assert_eq!(
        keys.lookup(&asked("edge", "a", 1)),
        KeyLookup::Repeated(known("edge", "a", 1))
    );
    assert_eq!(keys.lookup(&asked("edge", "a", 2)), KeyLookup::Reused);
}

#[test]
fn what_is_forgotten_makes_room() {
    let mut keys = keys(2, 2);
    keys.remember(known("edge", "a", 1));
    keys.remember(known("edge", "b", 5));
    keys.forget(at(3));
    assert_eq!(keys.lookup(&asked("edge", "a", 1)), KeyLookup::New);
    assert_eq!(
        keys.lookup(&asked("edge", "b", 1)),
        KeyLookup::Repeated(known("edge", "b", 5))
    );
    keys.remember(known("edge", "c", 6));
    limit_of(keys.lookup(&asked("edge", "d", 1)));
}

#[test]
fn what_was_not_carried_out_is_not_known_and_takes_no_room() {
    let mut keys = keys(2, 2);
    keys.remember(known("edge", "a", 1));
    keys.remember(known("edge", "b", 2));
    keys.roll_back(1);
    assert_eq!(keys.lookup(&asked("edge", "b", 1)), KeyLookup::New);
    keys.remember(known("edge", "b", 2));
    limit_of(keys.lookup(&asked("edge", "c", 1)));
}
