use std::fs;

use smol_str::SmolStr;

use super::*;
use crate::domain::authority::change::{Change, ChangeOrigin};
use crate::store::columns;
use crate::store::turned_back::TurnedBackHow;

fn entry(revision: u64) -> StoreWrite {
    StoreWrite::Entry {
        entry: ChangeRecord {
            revision,
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(revision),
            verb: "Load".into(),
            change: Change::Bundle {
                digest: SmolStr::new(format!("sha256:{revision}")),
            },
            asker: ChangeOrigin {
                caller: "callgate".into(),
                principal: None,
                key: None,
            },
        },
        id: "bundle".into(),
    }
}

fn refusal(path: &Path) -> String {
    SqliteStore::open(path).unwrap_err().to_string()
}

#[test]
fn one_server_at_a_time_opens_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("callgate.db");
    let mut first = SqliteStore::open(&path).unwrap();
    assert!(refusal(&path).contains("another process has it open"));
    // Still so once it was written to, and the refused ones took nothing away from the first.
    first.commit(&[entry(1)]).unwrap();
    assert!(refusal(&path).contains("another process has it open"));
    first.commit(&[entry(2)]).unwrap();
    drop(first);
    let mut second = SqliteStore::open(&path).unwrap();
    assert_eq!(second.load().unwrap().revision, 2);
    assert!(refusal(&path).contains("another process has it open"));
}

#[cfg(unix)]
#[test]
fn only_its_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(&folder.path().join("callgate.db")).unwrap();
    store.commit(&[entry(1)]).unwrap();
    let modes: Vec<(String, u32)> = fs::read_dir(folder.path())
        .unwrap()
        .map(|file| {
            let file = file.unwrap();
            let mode = file.metadata().unwrap().permissions().mode() & 0o777;
            (file.file_name().into_string().unwrap(), mode)
        })
        .collect();
    assert_eq!(
        modes.len(),
        3,
        "the file, its log and its marker: {modes:?}"
    );
    assert!(modes.iter().all(|(_, mode)| *mode == 0o600), "{modes:?}");
}

#[test]
fn what_was_committed_is_in_the_files_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(&folder.path().join("callgate.db")).unwrap();
    for revision in 1..=20 {
        store.commit(&[entry(revision)]).unwrap();
        // What a process leaves behind that is killed now.
        let copy = tempfile::tempdir().unwrap();
        for name in ["callgate.db", "callgate.db-wal"] {
            fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
        }
        let mut left = SqliteStore::open(&copy.path().join("callgate.db")).unwrap();
        assert_eq!(left.load().unwrap().revision, revision);
    }
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    fs::write(
        &text,
        "not a database, and longer than a header of one".repeat(99),
    )
    .unwrap();
    let before = fs::read(&text).unwrap();
    let refused = refusal(&text);
    assert!(refused.contains("text cannot be opened"), "{refused}");
    assert!(refused.contains("not a SQLite database"), "{refused}");
    assert_eq!(fs::read(&text).unwrap(), before);

    let foreign = folder.path().join("foreign");
    let other = Connection::open(&foreign).unwrap();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(other);
    let refused = refusal(&foreign);
    assert!(refused.contains("of another program"), "{refused}");
    let other = Connection::open(&foreign).unwrap();
    let tables: i64 = other
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .unwrap();
    assert_eq!(tables, 1);

    assert!(refusal(folder.path()).contains("cannot be opened"));
    assert!(refusal(&folder.path().join("none/callgate.db")).contains("cannot be opened"));
}

#[test]
fn a_file_of_a_newer_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("callgate.db");
    let store = SqliteStore::open(&path).unwrap();
    store
        .connection
        .pragma_update(None, "user_version", 99)
        .unwrap();
    drop(store);
    let refused = SqliteStore::open(&path).unwrap_err();
    assert!(
        matches!(
            refused,
            StoreError::TooNew {
                found: 99,
                known: 2,
                ..
            }
        ),
        "{refused}"
    );
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", -1).unwrap();
    drop(connection);
    assert!(matches!(
        SqliteStore::open(&path),
        Err(StoreError::TooNew { .. })
    ));
}

#[test]
fn damage_is_found_when_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("callgate.db");
    let mut store = SqliteStore::open(&path).unwrap();
    for revision in 1..=200 {
        store.commit(&[entry(revision)]).unwrap();
    }
    drop(store);
    let whole = fs::read(&path).unwrap();
    // Every page but the first few is torn.
    let mut torn = whole.clone();
    for byte in torn.iter_mut().skip(4096) {
        *byte = 0xa5;
    }
    fs::write(&path, &torn).unwrap();
    let read = SqliteStore::open(&path).and_then(|mut store| store.load());
    let error = read.unwrap_err();
    assert!(
        matches!(error, StoreError::Damaged(_) | StoreError::Open { .. }),
        "{error}"
    );
    // The rest is missing.
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let read = SqliteStore::open(&path).and_then(|mut store| store.load());
    assert!(read.is_err());
}

#[test]
fn a_row_that_makes_no_sense_is_named() {
    let bad = [
        ("INSERT INTO grants VALUES ('g1', NULL, 0, '{}')", "body"),
        (
            "INSERT INTO entities VALUES ('not a type', 'x', '{}')",
            "type",
        ),
        ("INSERT INTO task_spent VALUES ('t1', -1, 0)", "spent"),
        (
            "INSERT INTO approval_uses VALUES ('a1', 4294967296)",
            "uses",
        ),
        (
            "INSERT INTO sessions (id, tools, at) VALUES ('s1', 'x', 0)",
            "tools",
        ),
        (
            "INSERT INTO idempotency_keys VALUES ('c1', 'k', x'00', 1, 'x', 0)",
            "request",
        ),
    ];
    for (sql, column) in bad {
        let mut store = SqliteStore::in_memory().unwrap();
        store.connection.execute_batch(sql).unwrap();
        let read = store.load().and_then(|_| store.session(&"s1".into()));
        let error = read.unwrap_err();
        let StoreError::Damaged(why) = &error else {
            panic!("{error}");
        };
        assert!(why.contains(&format!("column `{column}`")), "{why}");
    }
}

#[test]
fn a_row_whose_body_is_of_something_else_is_not_read() {
    use crate::domain::authority::stop::Stop;
    use crate::domain::authority::task::Task;
    use crate::domain::schema::{TYPES, entity_uid};
    let at = SystemTime::UNIX_EPOCH;
    let stop = Stop {
        uid: entity_uid(&TYPES.user, "ana"),
        reason: "leaking".into(),
        at,
        by: entity_uid(&TYPES.user, "ines"),
    };
    let task = Task {
        id: "t1".into(),
        agent: entity_uid(&TYPES.agent, "support"),
        agent_owner: None,
        person: entity_uid(&TYPES.user, "ana"),
        purpose: "triage".into(),
        scope: None,
        terms: Default::default(),
        call_budget: None,
        steps: Vec::new(),
        at_step: 0,
        opened_at: at,
        deadline: at,
        closed_at: None,
    };
    let change = |revision: u64, change: Change| match entry(revision) {
        StoreWrite::Entry { entry, id } => StoreWrite::Entry {
            entry: ChangeRecord { change, ..entry },
            id,
        },
        other => other,
    };
    let writes = [
        change(1, Change::Stopped(stop.into())),
        change(2, Change::Task(task.into())),
    ];
    for sql in [
        "UPDATE stops SET id = 'anb'",
        "UPDATE stops SET type = 'Mcp::Agent'",
        "UPDATE stops SET body = replace(body, '\"ana\"', '\"`na\"')",
        "UPDATE tasks SET id = 't2'",
        "UPDATE tasks SET body = replace(body, '\"t1\"', '\"t0\"')",
    ] {
        let mut store = SqliteStore::in_memory().unwrap();
        store.commit(&writes).unwrap();
        store.load().expect("as it was written");
        store.connection.execute_batch(sql).unwrap();
        let error = store.load().unwrap_err();
        let StoreError::Damaged(why) = &error else {
            panic!("{error}");
        };
        assert!(why.contains(columns::OTHER_KEY), "{sql}: {why}");
    }
}

#[test]
fn pruning_takes_a_few_rows_at_a_time() {
    let mut store = SqliteStore::in_memory().unwrap();
    let writes: Vec<StoreWrite> = (1..=25).map(entry).collect();
    store.commit(&writes).unwrap();
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
    let before = Retention {
        ended: at,
        recent: at,
        places: at,
        changes: at,
    };
    let mut left = Vec::new();
    for _ in 0..4 {
        let is_partial = prune::step(&store.connection, &before, 10)
            .unwrap()
            .is_partial;
        left.push((is_partial, store.entries_after(0, 100).unwrap().len()));
    }
    assert_eq!(left, [(true, 15), (true, 5), (false, 1), (false, 1)]);
    assert_eq!(store.entries_after(0, 100).unwrap()[0].revision, 25);
}

#[test]
fn a_full_disk_refuses_and_takes_writes_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("callgate.db");
    let mut store = SqliteStore::open(&path).unwrap();
    store.commit(&[entry(1)]).unwrap();
    let limit = |store: &SqliteStore, pages: i64| {
        let pragma = format!("PRAGMA max_page_count = {pages}");
        let got: i64 = store
            .connection
            .query_row(&pragma, [], |row| row.get(0))
            .unwrap();
        got
    };
    limit(&store, 1);
    let mut revision = 1;
    let error = loop {
        match store.commit(&[entry(revision + 1)]) {
            Ok(()) => revision += 1,
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("full"), "{error}");
    assert_eq!(store.load().unwrap().revision, revision);
    limit(&store, 100_000);
    store.commit(&[entry(revision + 1)]).unwrap();
    drop(store);
    let mut store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.load().unwrap().revision, revision + 1);
}

#[test]
fn files_that_are_taken_away_are_noticed_before_anything_is_acknowledged() {
    type Damage = fn(&Path);
    let damages: [(Damage, &str); 5] = [
        (|path| fs::remove_file(path).unwrap(), "is gone"),
        (
            |path| fs::remove_file(marker::beside(path, "-wal")).unwrap(),
            "is gone",
        ),
        (
            |path| {
                let copy = marker::beside(path, ".copy");
                fs::copy(path, &copy).unwrap();
                fs::rename(&copy, path).unwrap();
            },
            "was replaced",
        ),
        (
            |path| {
                let log = marker::beside(path, "-wal");
                OpenOptions::new()
                    .write(true)
                    .open(log)
                    .unwrap()
                    .set_len(0)
                    .unwrap();
            },
            "was cut",
        ),
        (
            |path| {
                let folder = path.parent().unwrap();
                fs::rename(folder, folder.with_extension("away")).unwrap();
            },
            "is gone",
        ),
    ];
    for (damage, said) in damages {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("state");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("callgate.db");
        let mut store = SqliteStore::open(&path).unwrap();
        store.commit(&[entry(1)]).unwrap();
        store.check().unwrap();
        damage(&path);
        for _ in 0..2 {
            let error = store.commit(&[entry(2)]).unwrap_err().to_string();
            assert!(
                error.starts_with("STORE_LOST") && error.contains(said),
                "{error}"
            );
        }
        assert!(store.check().is_err());
    }
}

#[test]
fn a_store_that_has_lost_something_is_not_opened_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("callgate.db");
    let mut store = SqliteStore::open(&path).unwrap();
    store.commit(&[entry(1)]).unwrap();
    drop(store);
    let older = fs::read(&path).unwrap();
    let mut store = SqliteStore::open(&path).unwrap();
    store.commit(&[entry(2)]).unwrap();
    drop(store);
    let whole = fs::read(&path).unwrap();

    fs::write(&path, &older).unwrap();
    let said = refusal(&path);
    assert!(said.contains("the last 1 of"), "{said}");
    let mut taken = SqliteStore::open_or(&path, OnLoss::Continue).unwrap();
    let given = taken.load().unwrap().revision;
    assert!(given > 2, "above those that were given out: {given}");
    drop(taken);
    SqliteStore::open(&path).unwrap();

    fs::remove_file(&path).unwrap();
    assert!(refusal(&path).contains("--new-store"));
    assert!(SqliteStore::open_or(&path, OnLoss::Continue).is_err());
    let mut new = SqliteStore::open_or(&path, OnLoss::StartFresh).unwrap();
    let loaded = new.load().unwrap();
    assert!(loaded.revision > 0, "above those that were given out");
    assert_eq!(loaded.turned_back.unwrap().how, TurnedBackHow::NewStore);
    new.commit(&[entry(loaded.revision + 1)]).unwrap();
    drop(new);
    // Nothing is lost of this one, so that word changes nothing.
    let mut same = SqliteStore::open_or(&path, OnLoss::StartFresh).unwrap();
    assert_eq!(same.load().unwrap().revision, loaded.revision + 1);
    drop(same);

    fs::write(&path, &whole).unwrap();
    assert!(refusal(&path).contains("it is not the one that"));
    fs::write(marker::path_of(&path), "nothing of ours").unwrap();
    assert!(refusal(&path).contains("is no marker of a store"));
}

#[test]
fn a_damaged_store_is_found_at_the_start_and_set_aside_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("callgate.db");
    let mut store = SqliteStore::open(&path).unwrap();
    for revision in 1..=200 {
        store.commit(&[entry(revision)]).unwrap();
    }
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    let page = bytes.len() - 4_096;
    bytes[page..].fill(0x5a);
    fs::write(&path, &bytes).unwrap();
    let said = refusal(&path);
    assert!(
        said.contains("the store is damaged") && said.contains("--new-store"),
        "{said}"
    );
    let mut new = SqliteStore::open_or(&path, OnLoss::StartFresh).unwrap();
    assert_eq!(new.entries_after(0, 10).unwrap(), []);
    let aside = fs::read_dir(folder.path())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(aside.filter(|name| name.contains(".lost-")).count(), 1);
}

#[test]
fn the_counters_of_its_tools_are_pruned_with_a_task() {
    let mut store = SqliteStore::in_memory().unwrap();
    let sql = "INSERT INTO tasks VALUES ('task-1', 5, '{}');
        INSERT INTO task_spent VALUES
            ('task-1', 1, 0), ('task-1/git/log', 2, 0), ('task-10', 3, 0), ('task-10/git/log', 4, 0), ('task-1.', 5, 0);";
    store.connection.execute_batch(sql).unwrap();
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
    let before = Retention {
        ended: at,
        recent: at,
        places: at,
        changes: at,
    };
    let gone = prune::step(&store.connection, &before, 10).unwrap();
    assert_eq!(gone.tasks, ["task-1"]);
    let mut left = store.load().unwrap().task_spent;
    left.sort();
    let kept = [("task-1.", 5), ("task-10", 3), ("task-10/git/log", 4)];
    assert_eq!(left, kept.map(|(id, spent)| (id.into(), spent)));
}
