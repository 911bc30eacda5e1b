use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use proptest::prelude::*;
use ring::aead::Aad;

use super::{
    CapsuleError, CapsuleKey, CapsuleLink, CapsuleSealer, SealedCapsules, first_index, nonce,
};
use crate::audit::batch::BatchCapsules;
use crate::audit::capsule_reader::CapsuleReader;
use crate::audit::envelope;
use crate::audit::frame::{self, Contents};
use crate::audit::log::AuditLog;
use crate::audit::log_files::{self, CAPSULES};
use crate::audit::outcome_record::{OutcomeRecord, Status};
use crate::audit::reader::LogReader;
use crate::audit::record::Record;
use crate::audit::record::schema::record::Kind;
use crate::config::audit::AuditConfig;

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

/// A capsule as it was kept before there were groups: the frame of one alone.
fn of_before(key: &CapsuleKey, index: u64, capsule: &[u8]) -> Vec<u8> {
    let (salt, counter) = ([3; 16], index.to_le_bytes());
    let mut bytes = zstd::bulk::compress(capsule, 1).unwrap();
    let cipher = key.cipher(&salt).unwrap();
    let aad = Aad::from(index.to_le_bytes());
    cipher
        .seal_in_place_append_tag(nonce(counter), aad, &mut bytes)
        .unwrap();
    [&index.to_le_bytes()[..], &salt, &counter, &bytes].concat()
}

#[test]
fn a_capsule_of_a_file_of_before_is_read() {
    let key = key(1);
    let payload = of_before(&key, 7, b"what was asked");
    let single = SealedCapsules::new(Contents::Records, payload.clone()).unwrap();
    assert_eq!(single.indices(), 7..8);
    let read = |index| single.capsule(&key, index).unwrap();
    assert_eq!(read(7), Some(&b"what was asked"[..]));
    assert_eq!(read(8), None);
    let as_group = sealed(&payload).unwrap();
    assert!(as_group.capsule(&key, 7).is_err());
}

/// Appends records with a capsule each, and closes the log.
fn append(directory: &Path, capsules: &[&[u8]]) {
    let config = AuditConfig::default();
    let log = AuditLog::open(directory, &directory.join("capsule.key"), &config);
    let log = log.unwrap().unwrap();
    for capsule in capsules {
        let mut envelope = Vec::new();
        envelope::outcome(
            &mut envelope,
            &OutcomeRecord {
                decision_id: None,
                status: Status::Result,
                size: 1,
                labels: &[],
                caller: "gateway",
                adapter: "test",
                about: None,
                at: SystemTime::now(),
            },
        );
        let receipt = log.append(&envelope, Some(capsule));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(receipt.recorded()).unwrap();
    }
    log.close();
}

/// The records of outcomes.
fn outcomes(directory: &Path) -> Vec<Record> {
    let records = LogReader::open(directory).unwrap().iter_from(0);
    let is_outcome = |kind: &Option<Kind>| matches!(kind, Some(Kind::Outcome(_)));
    records
        .map(|record| record.unwrap().decode().unwrap())
        .filter(|record| is_outcome(&record.kind))
        .collect()
}

#[test]
fn a_log_goes_on_after_a_file_of_capsules_of_before() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path();
    let old: [&[u8]; 3] = [b"first", b"second", b"third"];
    append(directory, &old);
    // The last program wrote each capsule by itself.
    let key = CapsuleKey::read(&directory.join("capsule.key")).unwrap();
    let place = directory.join(CAPSULES);
    let [file] = &log_files::list(&place).unwrap()[..] else {
        panic!("one file");
    };
    let mut bytes = frame::header(Contents::Records, file.first).to_vec();
    for (record, capsule) in outcomes(directory).iter().zip(old) {
        frame::push(&mut bytes, &of_before(&key, record.index.unwrap(), capsule));
    }
    fs::write(&file.path, &bytes).unwrap();

    let new: [&[u8]; 2] = [b"fourth", b"fifth"];
    append(directory, &new);
    assert_eq!(fs::read(&file.path).unwrap(), bytes, "it is left as it was");
    assert_eq!(
        log_files::list(&place).unwrap().len(),
        2,
        "a file of its own"
    );
    let records = outcomes(directory);
    assert_eq!(records.len(), 5);
    let mut reader = CapsuleReader::open(directory, 0).unwrap();
    let of_before = |capsule: &[u8]| CapsuleLink::Capsule(key.digest(capsule).to_vec().into());
    let links = old.into_iter().map(|capsule| Some(of_before(capsule)));
    let links = links.chain(records[old.len()..].iter().map(CapsuleLink::from_record));
    let capsules = old.into_iter().chain(new);
    for ((record, link), capsule) in records.iter().zip(links).zip(capsules) {
        let index = record.index.unwrap();
        let groups = reader.groups_of(index).unwrap();
        let opened = key.open_one_of(&groups, index, &link.unwrap()).unwrap();
        assert_eq!(opened.as_deref(), Some(capsule), "{index}");
        let other = key.open_one_of(&groups, index, &of_before(b"another"));
        assert_eq!(other.unwrap(), None, "{index}");
    }
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

#[test]
fn a_capsule_that_was_exchanged_is_not_taken_for_the_one_that_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path();
    append(directory, &[b"what was asked"]);
    let key = CapsuleKey::read(&directory.join("capsule.key")).unwrap();
    let [record] = &outcomes(directory)[..] else {
        panic!("one record");
    };
    let index = record.index.unwrap();
    let link = CapsuleLink::from_record(record).unwrap();
    let opened = |sealed: SealedCapsules| key.open_one_of(&[Arc::new(sealed)], index, &link);
    // Whoever has the key can seal another one for the same record.
    let other = group_of(&[(0, b"what was never asked")]);
    let mut sealer = CapsuleSealer::new(&key).unwrap();
    let other = sealer.seal(index, 1, other.groups().next().unwrap());
    let other = sealed(other.unwrap()).unwrap();
    assert!(other.capsule(&key, index).unwrap().is_some());
    assert!(matches!(opened(other), Err(CapsuleError::DoesNotOpen(_))));
}
