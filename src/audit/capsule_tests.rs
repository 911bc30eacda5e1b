use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{CapsuleError, CapsuleKey, CapsuleSealer, capsule_index};

fn key(byte: u8) -> CapsuleKey {
    CapsuleKey::new(&[byte; 32])
}

#[test]
fn a_capsule_opens_with_its_key_and_for_its_record_alone() {
    let mut sealer = CapsuleSealer::new(&key(1)).unwrap();
    let payload = sealer.seal(7, b"what was asked").unwrap();
    assert_eq!(capsule_index(&payload), Some(7));
    let opened = key(1).open(&payload).unwrap();
    assert_eq!(opened, (7, b"what was asked".to_vec()));
    let fails = |payload: &[u8], key: CapsuleKey| {
        assert!(matches!(
            key.open(payload),
            Err(CapsuleError::DoesNotOpen(_))
        ));
    };
    fails(&payload, key(2));
    let mut moved = payload.clone();
    moved[0] = 8;
    fails(&moved, key(1));
    for at in 0..payload.len() {
        let mut changed = payload.clone();
        changed[at] ^= 1;
        fails(&changed, key(1));
        fails(&payload[..at], key(1));
    }
}

#[test]
fn no_two_capsules_share_salt_and_counter() {
    let nonce = |payload: Vec<u8>| payload[8..32].to_vec();
    let mut one = CapsuleSealer::new(&key(1)).unwrap();
    let mut other = CapsuleSealer::new(&key(1)).unwrap();
    let mut seen = std::collections::HashSet::new();
    for index in [0, 0, 1, 2] {
        assert!(seen.insert(nonce(one.seal(index, b"same").unwrap())));
        assert!(seen.insert(nonce(other.seal(index, b"same").unwrap())));
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
