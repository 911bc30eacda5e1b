//! Stores that programs of other versions wrote: older ones are brought up to date, newer ones are refused.
//!
//! `tests/data/store/version-<N>.db.zst` is a store as the program of that version wrote it. A new version of the tables gets a
//! fixture of its own before it is released: `CALLGATE_WRITE_FIXTURE=FILE cargo test --test it -- store::versions` writes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callgate::domain::authority::change::{Change, IdempotencyKey};
use callgate::domain::authority::labels::LabelCarrier;
use callgate::domain::authority::ownership::AgentOwners;
use callgate::domain::authority::stop::Stop;
use callgate::domain::schema::{server_uid, tool_uid};
use callgate::store::backend::{Store, StoreWrite};
use callgate::store::sqlite::SqliteStore;

use crate::store::suite::{
    Plain, agent, approval, at, brought, bundle, ended, entity_put, entry, grant, labels, person,
    read_all, session, spent, task, usage, used, word, write,
};
use crate::support::process::Bundle;

/// The version of the tables that this program writes.
const NEWEST: u32 = 2;

/// One write of every kind.
fn everything() -> Vec<StoreWrite> {
    let mut revoked = grant("g1");
    revoked.revoked_at = Some(at(5));
    let mut advanced = task("t1");
    advanced.closed_at = Some(at(6));
    let mut approved = approval("a1");
    approved.word = word(3, 7);
    let stopped = Stop {
        uid: server_uid(&"git".into()),
        reason: "leaks \u{1f980}".into(),
        at: at(9),
        by: person("sam"),
    };
    let mut keyed = entry(12, bundle("sha256:2"));
    keyed.asker.key = Some(IdempotencyKey {
        text: "key".into(),
        request: [7; 32],
    });
    let pair = LabelCarrier::Pair {
        actor: agent("support"),
        root: Some(person("ann")),
    };
    vec![
        write(1, bundle("sha256:1")),
        write(2, entity_put("kim", r#"{"attrs":{"active":true}}"#)),
        write(3, entity_put("ann", "{}")),
        write(4, Change::EntityGone { uid: person("ann") }),
        write(5, Change::Grant(revoked.into())),
        write(6, Change::Grant(grant("g2").into())),
        write(7, Change::Task(advanced.into())),
        write(8, Change::Approval(approved.into())),
        write(9, Change::Stopped(Arc::new(stopped))),
        write(10, Change::Approval(approval("a2").into())),
        write(11, ended("s2")),
        StoreWrite::Entry {
            entry: keyed,
            id: "bundle".into(),
        },
        used("a1", 2),
        spent("t1", 40, true),
        usage("support", None, &[1, 2, 3], 14),
        usage("support", Some(tool_uid("git", "log")), &[9], 15),
        session("s1", 3, 17),
        session("s2", 1, 17),
        labels("s1", &["private", "untrusted"], 18),
        brought(LabelCarrier::Task("t1".into()), "private", 16, 16, None),
        brought(pair, "secret", 16, 90, Some(80)),
        StoreWrite::Clock(at(20)),
        StoreWrite::Lease(at(21)),
    ]
}

fn fixture(version: u32) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/store");
    folder.join(format!("version-{version}.db.zst"))
}

/// A copy of a store of this version, on its own.
fn unpacked(version: u32, folder: &Path) -> PathBuf {
    let packed = fs::read(fixture(version)).expect("a fixture of each version");
    let path = folder.join("state.db");
    let bytes = zstd::decode_all(&packed[..]).expect("it is compressed");
    fs::write(&path, bytes).expect("room for it");
    path
}

fn tables(path: &Path) -> u32 {
    let database = rusqlite::Connection::open(path).expect("a database");
    let version = database.pragma_query_value(None, "user_version", |row| row.get(0));
    version.expect("a version")
}

#[test]
fn a_fixture_is_written_if_somebody_asks_for_it() {
    let Some(target) = std::env::var_os("CALLGATE_WRITE_FIXTURE") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let mut store = SqliteStore::open(&path).unwrap();
    store.commit(&everything()).unwrap();
    drop(store);
    let database = rusqlite::Connection::open(&path).unwrap();
    database
        .pragma_update(None, "journal_mode", "delete")
        .unwrap();
    database.execute_batch("VACUUM").unwrap();
    drop(database);
    let packed = zstd::encode_all(&fs::read(&path).unwrap()[..], 19).unwrap();
    fs::write(target, packed).unwrap();
}

/// Whose an agent was is in no store of these versions.
fn forget_owners(plain: &mut Plain) {
    for delegation in plain.delegations.values_mut() {
        delegation.owners = AgentOwners::default();
    }
    for task in plain.tasks.values_mut() {
        task.agent_owner = None;
    }
}

#[test]
fn a_store_of_every_version_is_brought_up_to_date_and_loses_nothing() {
    for version in 1..=NEWEST {
        let folder = tempfile::tempdir().unwrap();
        let path = unpacked(version, folder.path());
        assert_eq!(tables(&path), version);
        let mut store = SqliteStore::open(&path).unwrap();
        let loaded = read_all(&mut store);
        // What was written is what is loaded, whatever the tables looked like.
        let (beside, mut written) = (tempfile::tempdir().unwrap(), Vec::new());
        written.extend(everything());
        let mut now = SqliteStore::open(&beside.path().join("state.db")).unwrap();
        now.commit(&written).unwrap();
        let mut expected = read_all(&mut now);
        forget_owners(&mut expected);
        assert_eq!(loaded, expected, "version {version}");
        // And it goes on from there.
        store
            .commit(&[write(13, Change::Grant(grant("g3").into()))])
            .unwrap();
        drop(store);
        assert_eq!(tables(&path), NEWEST);
        let again = read_all(&mut SqliteStore::open(&path).unwrap());
        let mut expected = loaded;
        expected.revision = 13;
        expected.delegations.insert("g3".into(), grant("g3"));
        assert_eq!(again, expected, "version {version}");
    }
}

#[test]
fn a_store_of_a_newer_program_is_refused_and_left_as_it_is() {
    let bundle = Bundle::notes();
    let path = unpacked(NEWEST, bundle.folder());
    let database = rusqlite::Connection::open(&path).unwrap();
    let newer = NEWEST + 1;
    database.pragma_update(None, "user_version", newer).unwrap();
    drop(database);
    let before = fs::read(&path).unwrap();
    let state = path.to_str().unwrap();
    for command in [
        vec!["serve", "policies", "--without-callers", "--state", state],
        vec!["backup", "copy.db", "--state", state],
    ] {
        let out = bundle.run(&command);
        let said = String::from_utf8_lossy(&out.stderr).into_owned()
            + &String::from_utf8_lossy(&out.stdout);
        assert_eq!(out.status.code(), Some(1), "{said}");
        let told = format!("has version {newer}; this program knows versions up to {NEWEST}");
        assert!(said.contains(&told) && said.contains("state.db"), "{said}");
    }
    assert_eq!(fs::read(&path).unwrap(), before, "nothing was written");
}
