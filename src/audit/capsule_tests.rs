use std::fs;
use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;
use ring::aead::Aad;

use super::{CapsuleError, CapsuleKey, CapsuleSealer, SealedCapsules, first_index, nonce};
use crate::audit::batch::BatchCapsules;
use crate::audit::frame::Contents;

fn key(byte: u8) -> CapsuleKey {
    CapsuleKey::new(&[byte; 32])
}

fn group_of(capsules: &[(u64, &[u8])]) -> BatchCapsules {
    let mut group = BatchCapsules::default();
    for (position, capsule) in capsules {
        group.push(*position, capsule);
    }
    group
}

fn sealed(payload: &[u8]) -> Option<SealedCapsules> {
    SealedCapsules::new(Contents::CapsuleGroups, payload.to_vec())
}

#[test]
fn a_capsule_opens_with_its_key_and_for_its_record_alone() {
    let mut sealer = CapsuleSealer::new(&key(1)).unwrap();
    let group = group_of(&[(0, b"what was asked"), (2, b"and then")]);
    let group = group.groups().next().unwrap();
    let payload = sealer.seal(7, 3, group).unwrap().to_vec();
    assert_eq!(first_index(&payload), Some(7));
    let opened = sealed(&payload).unwrap();
    assert_eq!(opened.indices(), 7..10);
    let capsule = |index| opened.capsule(&key(1), index).unwrap();
    assert_eq!(capsule(7), Some(&b"what was asked"[..]));
    assert_eq!(capsule(8), None);
    assert_eq!(capsule(9), Some(&b"and then"[..]));
    let fails = |payload: &[u8], key: CapsuleKey| {
        let Some(opened) = sealed(payload) else {
            return;
        };
        assert!(matches!(
            opened.capsule(&key, 7),
            Err(CapsuleError::DoesNotOpen(7))
        ));
    };
    fails(&payload, key(2));
    for at in 0..payload.len() {
        let mut changed = payload.clone();
        changed[at] ^= 1;
        fails(&changed, key(1));
        fails(&payload[..at], key(1));
    }
}

#[test]
fn a_capsule_of_a_file_of_before_is_read() {
    let (key, salt, counter) = (key(1), [3; 16], 9_u64.to_le_bytes());
    let mut bytes = zstd::bulk::compress(b"what was asked", 1).unwrap();
    let cipher = key.cipher(&salt).unwrap();
    let aad = Aad::from(7_u64.to_le_bytes());
    cipher
        .seal_in_place_append_tag(nonce(counter), aad, &mut bytes)
        .unwrap();
    let payload = [&7_u64.to_le_bytes()[..], &salt, &counter, &bytes].concat();
    let single = SealedCapsules::new(Contents::Records, payload.clone()).unwrap();
    assert_eq!(single.indices(), 7..8);
    let read = |index| single.capsule(&key, index).unwrap();
    assert_eq!(read(7), Some(&b"what was asked"[..]));
    assert_eq!(read(8), None);
    let as_group = sealed(&payload).unwrap();
    assert!(as_group.capsule(&key, 7).is_err());
}

proptest! {
    #[test]
    fn every_capsule_of_a_batch_is_found_in_one_of_its_groups(
        sizes in prop::collection::vec(prop::option::of(0_usize..100_000), 1..20),
    ) {
        let capsules: Vec<Option<Vec<u8>>> = sizes
            .iter()
            .enumerate()
            .map(|(at, size)| size.map(|size| vec![at as u8; size]))
            .collect();
        let mut batch = BatchCapsules::default();
        for (position, capsule) in capsules.iter().enumerate() {
            if let Some(capsule) = capsule {
                batch.push(position as u64, capsule);
            }
        }
        let mut sealer = CapsuleSealer::new(&key(1)).unwrap();
        let groups: Vec<SealedCapsules> = batch
            .groups()
            .map(|group| sealed(sealer.seal(40, capsules.len() as u64, group).unwrap()).unwrap())
            .collect();
        for (position, capsule) in capsules.iter().enumerate() {
            let index = 40 + position as u64;
            let found: Vec<&[u8]> = groups
                .iter()
                .filter_map(|group| group.capsule(&key(1), index).unwrap())
                .collect();
            prop_assert_eq!(found, capsule.as_deref().into_iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn no_two_groups_share_salt_and_counter() {
    let nonce = |payload: &[u8]| payload[16..40].to_vec();
    let mut one = CapsuleSealer::new(&key(1)).unwrap();
    let mut other = CapsuleSealer::new(&key(1)).unwrap();
    let mut seen = std::collections::HashSet::new();
    for first in [0, 0, 1, 2] {
        assert!(seen.insert(nonce(one.seal(first, 1, b"same").unwrap())));
        assert!(seen.insert(nonce(other.seal(first, 1, b"same").unwrap())));
    }
}

#[test]
fn a_key_file_is_made_for_its_owner_alone_and_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("capsule.key");
    let made = CapsuleKey::read_or_create(&path).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let read = CapsuleKey::read_or_create(&path).unwrap();
    assert_eq!(
        (made.id(), made.digest(b"x")),
        (read.id(), read.digest(b"x"))
    );
    assert_ne!(made.id(), key(1).id());
    fs::write(&path, "short").unwrap();
    let error = CapsuleKey::read_or_create(&path).unwrap_err();
    assert!(error.to_string().ends_with("is not 64 hexadecimal digits"));
    let missing = directory.path().join("no").join("key");
    assert!(CapsuleKey::read_or_create(&missing).is_err());
}

#[test]
fn neither_key_nor_debug_text_shows_the_secret() {
    let shown = format!("{:?} {}", key(0x5a), key(0x5a).id());
    assert!(!shown.contains(&"5a".repeat(8)) && !shown.contains("90, 90"));
}
