//! What every store has to do, whatever database it is. A new one gets a line in `STORES`.
//!
//! What is particular to SQLite, such as files and their locks, is tested beside it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use callgate::domain::authority::approval::{Approval, ApprovalDecision, ApprovedCall};
use callgate::domain::authority::change::{Change, ChangeOrigin, ChangeRecord, IdempotencyKey};
use callgate::domain::authority::delegation::Delegation;
use callgate::domain::authority::labels::LabelCarrier;
use callgate::domain::authority::ownership::AgentOwners;
use callgate::domain::authority::published::PublishedBundle;
use callgate::domain::authority::scope::Scope;
use callgate::domain::authority::stop::Stop;
use callgate::domain::authority::task::{Task, TaskStep};
use callgate::domain::ids::{ApprovalId, BudgetId, DelegationId, SessionId, TaskId};
use callgate::domain::schema::{AccessLevel, TYPES, entity_uid, server_uid, tool_uid};
use callgate::store::backend::{
    LabelTimes, PUBLISHED_KEPT, Pruned, Retention, Store, StoreError, StoreWrite, StoredKey,
    StoredSession, StoredState, StoredUsage,
};
use callgate::store::postgres::PostgresStore;
use callgate::store::sqlite::SqliteStore;
use callgate::store::turned_back::{TurnedBack, TurnedBackHow};
use callgate_engine::cedar::EntityUID;
use proptest::prelude::*;
use smol_str::SmolStr;

use crate::support::postgres::{Bouncer, Cluster};

/// A kind of store.
struct Kind {
    name: &'static str,
    /// Opens the store that lives in this folder.
    open: fn(&Path) -> Box<dyn Store>,
    /// Whether it is still there after it was closed.
    lasts: bool,
}

const STORES: [Kind; 2] = [
    Kind {
        name: "SQLite in a file",
        open: |folder| Box::new(SqliteStore::open(&folder.join("callgate.db")).unwrap()),
        lasts: true,
    },
    Kind {
        name: "SQLite in memory",
        open: |_| Box::new(SqliteStore::in_memory().unwrap()),
        lasts: false,
    },
];

/// A store under test.
struct Bench {
    kind: &'static Kind,
    folder: tempfile::TempDir,
    store: Box<dyn Store>,
}

impl Bench {
    fn new(kind: &'static Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = (kind.open)(folder.path());
        Self {
            kind,
            folder,
            store,
        }
    }

    /// Closes and opens it, if it lasts.
    fn reopen(self) -> Self {
        let Self {
            kind,
            folder,
            store,
        } = self;
        if !kind.lasts {
            return Self {
                kind,
                folder,
                store,
            };
        }
        drop(store);
        let store = (kind.open)(folder.path());
        Self {
            kind,
            folder,
            store,
        }
    }

    fn commit(&mut self, writes: &[StoreWrite]) {
        self.store.commit(writes).unwrap();
    }

    fn load(&mut self) -> Plain {
        read_all(&mut *self.store)
    }

    /// What is loaded, by the open store and by one that is opened again.
    fn load_twice(mut self) -> (Self, Plain) {
        let now = self.load();
        let mut again = self.reopen();
        assert_eq!(again.load(), now, "{}: opened again", again.kind.name);
        (again, now)
    }
}

/// A case by its name.
type Case = (&'static str, fn());

/// Every case below.
const CASES: &[Case] = &[
    ("a_new_store_holds_nothing", a_new_store_holds_nothing),
    ("what_was_written_is_loaded", what_was_written_is_loaded),
    ("changes_are_told_in_order", changes_are_told_in_order),
    (
        "a_published_bundle_is_kept_with_its_archive_and_the_oldest_goes",
        a_published_bundle_is_kept_with_its_archive_and_the_oldest_goes,
    ),
    (
        "a_change_out_of_order_is_refused_with_all_that_came_with_it",
        a_change_out_of_order_is_refused_with_all_that_came_with_it,
    ),
    (
        "a_key_is_kept_with_what_it_led_to",
        a_key_is_kept_with_what_it_led_to,
    ),
    (
        "what_was_used_never_becomes_less",
        what_was_used_never_becomes_less,
    ),
    (
        "what_is_taken_is_never_more_than_there_is",
        what_is_taken_is_never_more_than_there_is,
    ),
    (
        "revisions_go_on_above_those_that_were_given_out",
        revisions_go_on_above_those_that_were_given_out,
    ),
    ("time_never_goes_back", time_never_goes_back),
    (
        "a_session_keeps_its_labels_and_its_end",
        a_session_keeps_its_labels_and_its_end,
    ),
    (
        "a_stop_stays_until_it_is_lifted",
        a_stop_stays_until_it_is_lifted,
    ),
    (
        "labels_keep_their_latest_moment_and_go_with_what_carries_them",
        labels_keep_their_latest_moment_and_go_with_what_carries_them,
    ),
    (
        "what_has_long_ended_is_pruned",
        what_has_long_ended_is_pruned,
    ),
    (
        "what_belongs_to_a_task_goes_with_it",
        what_belongs_to_a_task_goes_with_it,
    ),
    (
        "the_newest_change_and_the_keys_outlive_their_time",
        the_newest_change_and_the_keys_outlive_their_time,
    ),
    (
        "a_store_holds_what_was_committed_and_nothing_else",
        a_store_holds_what_was_committed_and_nothing_else,
    ),
];

thread_local! {
    /// What [`each`] runs a case against: a server is not there for every test.
    static KINDS: Cell<&'static [Kind]> = const { Cell::new(&STORES) };
}

/// Runs a case against every store.
fn each(case: impl Fn(Bench)) {
    for kind in KINDS.get() {
        println!("{}", kind.name);
        case(Bench::new(kind));
    }
}

/// The database of a folder, on the one server of this process.
fn database(folder: &Path) -> (&'static (Cluster, Bouncer), String) {
    static SERVER: LazyLock<(Cluster, Bouncer)> = LazyLock::new(|| {
        let cluster = Cluster::start();
        let bouncer = Bouncer::before(&cluster);
        (cluster, bouncer)
    });
    let name = folder.file_name().unwrap().to_str().unwrap();
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let name = format!("t_{}", name.to_lowercase());
    SERVER.0.create(&name);
    (&SERVER, name)
}

fn postgres(url: &str) -> Box<dyn Store> {
    Box::new(PostgresStore::open(url, Path::new("."), None).unwrap())
}

/// Every case holds in PostgreSQL, and behind a pooler that gives each transaction another connection.
#[test]
#[ignore = "needs PostgreSQL"]
fn every_case_holds_in_postgresql() {
    const SERVERS: [Kind; 2] = [
        Kind {
            name: "PostgreSQL",
            open: |folder| {
                let (server, name) = database(folder);
                postgres(&server.0.url(&name))
            },
            lasts: true,
        },
        Kind {
            name: "PostgreSQL behind PgBouncer in transaction mode",
            open: |folder| {
                let (server, name) = database(folder);
                postgres(&server.1.url(&name))
            },
            lasts: true,
        },
    ];
    KINDS.set(&SERVERS);
    for (name, case) in CASES {
        println!("{name}");
        case();
    }
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_newer_store_in_postgresql_is_refused_and_several_servers_migrate_once() {
    let folder = tempfile::tempdir().unwrap();
    let (server, name) = database(folder.path());
    let url = server.0.url(&name);
    let starting: Vec<_> = (0..6)
        .map(|_| {
            let url = url.clone();
            std::thread::spawn(move || drop(postgres(&url)))
        })
        .collect();
    for started in starting {
        started.join().unwrap();
    }
    let newer = "UPDATE callgate.version SET number = 99";
    server.0.query_in(&name, newer).unwrap();
    let refused = PostgresStore::open(&url, Path::new("."), None).err();
    let found = matches!(refused, Some(StoreError::TooNew { found: 99, .. }));
    assert!(found, "{refused:?}");
}

#[test]
fn every_case_is_in_the_list_of_cases() {
    let text = include_str!("suite.rs");
    let cases = text
        .lines()
        .filter(|line| line.trim_start().starts_with("each(|"));
    assert_eq!(cases.count(), CASES.len());
}

/// What was loaded, in an order of its own, so that it can be compared.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Plain {
    pub(super) revision: u64,
    pub(super) clock: Option<SystemTime>,
    pub(super) bundle_digest: Option<SmolStr>,
    pub(super) entities: BTreeMap<EntityUID, Arc<str>>,
    pub(super) delegations: BTreeMap<DelegationId, Delegation>,
    pub(super) tasks: BTreeMap<TaskId, Task>,
    pub(super) approvals: BTreeMap<ApprovalId, Approval>,
    pub(super) stops: BTreeMap<EntityUID, Stop>,
    pub(super) keys: BTreeMap<(SmolStr, SmolStr), StoredKey>,
    pub(super) approval_uses: BTreeMap<ApprovalId, u32>,
    pub(super) task_spent: BTreeMap<BudgetId, u64>,
    pub(super) sessions: BTreeMap<SessionId, StoredSession>,
    pub(super) labels: BTreeMap<(LabelCarrier, SmolStr), LabelTimes>,
    pub(super) usage: BTreeMap<(EntityUID, Option<EntityUID>), StoredUsage>,
}

/// Ids as texts.
fn texts(ids: impl IntoIterator<Item = impl ToString>) -> Vec<String> {
    ids.into_iter().map(|id| id.to_string()).collect()
}

/// Everything that a store holds, its sessions included, which are read one by one.
pub(super) fn read_all(store: &mut dyn Store) -> Plain {
    let loaded = store.load().unwrap();
    let mut ids = Vec::new();
    let mut take = |id: &str| ids.push(SessionId::from(id));
    store.session_ids(&mut take).unwrap();
    let read = |id: &SessionId| store.session(id).unwrap().expect("it has an id");
    let sessions: Vec<StoredSession> = ids.iter().map(read).collect();
    for unbegun in &loaded.unbegun {
        assert!(sessions.contains(unbegun), "{unbegun:?}");
    }
    let is_unbegun = |it: &&StoredSession| it.is_ended && it.calls == 0 && it.labels.is_empty();
    let count = sessions.iter().filter(is_unbegun).count();
    assert_eq!(loaded.unbegun.len(), count);
    assert_eq!(store.session(&"of nobody".into()).unwrap(), None);
    plain(loaded, sessions)
}

fn plain(loaded: StoredState, sessions: Vec<StoredSession>) -> Plain {
    let authority = &loaded.authority;
    let delegations = authority.delegations.iter();
    let tasks = authority.tasks.iter();
    let approvals = authority.approvals.iter();
    let stops = authority.stops.iter();
    Plain {
        revision: loaded.revision,
        clock: loaded.clock,
        bundle_digest: loaded.bundle_digest,
        entities: unique(loaded.entities.iter().cloned()),
        delegations: unique(
            delegations.map(|(id, delegation)| (id.clone(), Delegation::clone(delegation))),
        ),
        tasks: unique(tasks.map(|(id, task)| (id.clone(), Task::clone(task)))),
        approvals: unique(approvals.map(|(id, one)| (id.clone(), Approval::clone(one)))),
        stops: unique(stops.map(|(uid, stop)| (uid.clone(), Stop::clone(stop)))),
        keys: unique(
            (loaded.keys.into_iter()).map(|key| ((key.caller.clone(), key.text.clone()), key)),
        ),
        approval_uses: unique(loaded.approval_uses),
        task_spent: unique(loaded.task_spent),
        sessions: unique(sessions.into_iter().map(|mut session| {
            session.labels.sort();
            (session.id.clone(), session)
        })),
        labels: unique(
            (loaded.labels.into_iter())
                .map(|it| ((it.carrier, it.brought.label.clone()), it.brought)),
        ),
        usage: unique(
            (loaded.usage.into_iter())
                .map(|usage| ((usage.actor.clone(), usage.tool.clone()), usage)),
        ),
    }
}

fn unique<K: Ord + std::fmt::Debug, V>(pairs: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs {
        let named = format!("{key:?}");
        assert!(map.insert(key, value).is_none(), "{named} was loaded twice");
    }
    map
}

/// A moment, in milliseconds after some other. Stores keep no finer time.
pub(super) fn at(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_000 + millis)
}

pub(super) fn agent(id: &str) -> EntityUID {
    entity_uid(&TYPES.agent, id)
}

pub(super) fn person(id: &str) -> EntityUID {
    entity_uid(&TYPES.user, id)
}

fn scope() -> Scope {
    Scope {
        tools: vec![
            tool_uid("github", "get_issue"),
            tool_uid("github", "\"quoted\" \u{1f980}"),
        ],
        servers: vec![server_uid(&"slack".into())],
        groups: vec![entity_uid(&TYPES.group, "readers")],
        access: AccessLevel::Write,
        targets: vec![entity_uid(&TYPES.resource, "file:///tmp/a b")],
    }
}

pub(super) fn grant(id: &str) -> Delegation {
    Delegation {
        id: id.into(),
        from: person("sam"),
        to: agent("support"),
        scope: scope(),
        task: None,
        parent: Some("g0".into()),
        max_redelegations: 2,
        not_before: at(1),
        expires_at: at(1_000),
        revoked_at: None,
        created_at: at(0),
        owners: AgentOwners {
            from: None,
            to: Some(person("ana")),
        },
    }
}

pub(super) fn task(id: &str) -> Task {
    let step = TaskStep {
        name: "look".into(),
        scope: scope(),
    };
    Task {
        id: id.into(),
        agent: agent("support"),
        agent_owner: Some(person("ana")),
        person: person("sam"),
        purpose: "answer a ticket; DROP TABLE tasks".into(),
        scope: Some(scope()),
        terms: Default::default(),
        call_budget: Some(u64::from(u32::MAX) + 1),
        steps: vec![step],
        at_step: 0,
        opened_at: at(0),
        deadline: at(1_000),
        closed_at: None,
    }
}

pub(super) fn approval(id: &str) -> Approval {
    Approval {
        id: id.into(),
        digest: "sha256:00".into(),
        call: ApprovedCall {
            subject: agent("support"),
            root: Some(person("sam")),
            actors: vec![agent("planner")],
            initiator: Default::default(),
            responses: None,
            request_state: None,
            server: "github".into(),
            tool: "get_issue".into(),
            definition: Some("sha256:11".into()),
            arguments: r#"{"number":1}"#.into(),
            target: None,
            task: None,
        },
        circumstances: Default::default(),
        requested_at: at(0),
        expires_at: at(1_000),
        word: None,
    }
}

pub(super) fn word(uses: u32, millis: u64) -> Option<ApprovalDecision> {
    Some(ApprovalDecision {
        by: person("sam"),
        at: at(millis),
        uses,
        comment: Some("fine".into()),
        claims: Default::default(),
        identity: None,
    })
}

pub(super) fn entry(revision: u64, change: Change) -> ChangeRecord {
    ChangeRecord {
        revision,
        at: at(revision),
        verb: "Test".into(),
        change,
        asker: ChangeOrigin {
            caller: "admin".into(),
            principal: Some(person("sam")),
            key: None,
        },
    }
}

pub(super) fn write(revision: u64, change: Change) -> StoreWrite {
    StoreWrite::Entry {
        entry: entry(revision, change),
        id: "id".into(),
    }
}

pub(super) fn bundle(digest: &str) -> Change {
    Change::Bundle {
        digest: digest.into(),
    }
}

pub(super) fn entity_put(id: &str, json: &str) -> Change {
    Change::Entity {
        uid: person(id),
        json: json.into(),
    }
}

pub(super) fn ended(session: &str) -> Change {
    Change::SessionEnded {
        session: session.into(),
    }
}

pub(super) fn labels(id: &str, labels: &[&str], millis: u64) -> StoreWrite {
    StoreWrite::SessionLabels {
        id: id.into(),
        labels: labels.iter().map(SmolStr::new).collect(),
        at: at(millis),
    }
}

/// Labels of what carries them beside a session.
pub(super) fn brought(
    carrier: LabelCarrier,
    label: &str,
    millis: u64,
    through: u64,
    loose: Option<u64>,
) -> StoreWrite {
    StoreWrite::Labels {
        carrier,
        labels: vec![LabelTimes {
            label: label.into(),
            through: at(through),
            loose_through: loose.map(at),
        }],
        at: at(millis),
    }
}

pub(super) fn session(id: &str, calls: u64, millis: u64) -> StoreWrite {
    StoreWrite::Session {
        id: id.into(),
        calls,
        tools: vec![tool_uid("a", "b")],
        last: vec![tool_uid("a", "b"); calls.min(8) as usize],
        at: at(millis),
    }
}

pub(super) fn used(id: &str, uses: u32) -> StoreWrite {
    let id = id.into();
    StoreWrite::ApprovalUsed { id, uses }
}

pub(super) fn spent(id: &str, spent: u64, is_exact: bool) -> StoreWrite {
    StoreWrite::TaskSpent {
        id: id.into(),
        spent,
        is_exact,
        lost: 0,
    }
}

pub(super) fn usage(
    actor: &str,
    tool: Option<EntityUID>,
    counters: &[u8],
    millis: u64,
) -> StoreWrite {
    StoreWrite::Usage {
        actor: agent(actor),
        tool,
        counters: counters.to_vec(),
        at: at(millis),
    }
}

/// Prunes until nothing is left to prune.
fn prune(bench: &mut Bench, ended: u64, recent: u64, changes: u64) -> Pruned {
    let before = Retention {
        ended: at(ended),
        recent: at(recent),
        places: at(recent),
        changes: at(changes),
    };
    let mut gone = Pruned::default();
    loop {
        let step = bench.store.prune(&before).unwrap();
        gone.delegations.extend(step.delegations);
        gone.tasks.extend(step.tasks);
        gone.approvals.extend(step.approvals);
        if !step.is_partial {
            break;
        }
    }
    gone.delegations.sort();
    gone.tasks.sort();
    gone.approvals.sort();
    gone
}

#[test]
fn a_new_store_holds_nothing() {
    each(|bench| {
        let (mut bench, loaded) = bench.load_twice();
        assert_eq!(loaded, Plain::default());
        assert_eq!(bench.store.entries_after(0, 10), Ok(Vec::new()));
        bench.commit(&[]);
        prune(&mut bench, 1, 1, 1);
        assert_eq!(bench.load(), Plain::default());
    });
}

#[test]
fn what_was_written_is_loaded() {
    each(|mut bench| {
        let mut revoked = grant("g1");
        revoked.revoked_at = Some(at(5));
        let mut advanced = task("t1");
        advanced.closed_at = Some(at(6));
        let mut approved = approval("a1");
        approved.word = word(3, 7);
        bench.commit(&[
            write(1, bundle("sha256:1")),
            write(2, entity_put("kim", "{}")),
            write(3, entity_put("ann", "{}")),
            write(4, Change::Grant(grant("g1").into())),
            write(5, Change::Grant(grant("g2").into())),
            write(6, Change::Task(task("t1").into())),
        ]);
        bench.commit(&[
            write(7, Change::Approval(approval("a1").into())),
            write(8, bundle("sha256:2")),
            write(9, entity_put("kim", r#"{"attrs":{"\u0000":1}}"#)),
            write(10, Change::EntityGone { uid: person("ann") }),
            write(11, Change::Grant(revoked.clone().into())),
            write(12, Change::Task(advanced.clone().into())),
            write(13, Change::Approval(approved.clone().into())),
            used("a1", 2),
            spent("t1", u64::from(u32::MAX) + 7, false),
            usage("support", None, &[], 14),
            usage("support", Some(tool_uid("a", "b")), &[0, 255], 15),
            labels("s1", &["private"], 16),
            brought(LabelCarrier::Task("t1".into()), "private", 16, 16, None),
            brought(
                LabelCarrier::Pair {
                    actor: agent("a \"b\""),
                    root: None,
                },
                "x",
                16,
                90,
                Some(80),
            ),
            session("s1", 3, 17),
        ]);
        let (_, loaded) = bench.load_twice();
        let expected = Plain {
            revision: 13,
            clock: Some(at(17)),
            bundle_digest: Some("sha256:2".into()),
            entities: BTreeMap::from([(person("kim"), r#"{"attrs":{"\u0000":1}}"#.into())]),
            delegations: BTreeMap::from([("g1".into(), revoked), ("g2".into(), grant("g2"))]),
            tasks: BTreeMap::from([("t1".into(), advanced)]),
            stops: BTreeMap::new(),
            approvals: BTreeMap::from([("a1".into(), approved)]),
            keys: BTreeMap::new(),
            approval_uses: BTreeMap::from([("a1".into(), 2)]),
            task_spent: BTreeMap::from([("t1".into(), u64::from(u32::MAX) + 7)]),
            sessions: unique([(
                "s1".into(),
                StoredSession {
                    id: "s1".into(),
                    is_ended: false,
                    calls: 3,
                    labels: vec!["private".into()],
                    tools: vec![tool_uid("a", "b")],
                    last: vec![tool_uid("a", "b"); 3],
                    at: at(17),
                },
            )]),
            labels: [
                (LabelCarrier::Task("t1".into()), "private", 16, None),
                (
                    LabelCarrier::Pair {
                        actor: agent("a \"b\""),
                        root: None,
                    },
                    "x",
                    90,
                    Some(80),
                ),
            ]
            .into_iter()
            .map(|(carrier, label, through, loose)| {
                let brought = LabelTimes {
                    label: label.into(),
                    through: at(through),
                    loose_through: loose.map(at),
                };
                ((carrier, SmolStr::new(label)), brought)
            })
            .collect(),
            usage: [
                (None, vec![], 14),
                (Some(tool_uid("a", "b")), vec![0, 255], 15),
            ]
            .into_iter()
            .map(|(tool, counters, millis)| {
                let stored = StoredUsage {
                    actor: agent("support"),
                    tool: tool.clone(),
                    counters,
                    at: at(millis),
                };
                ((agent("support"), tool), stored)
            })
            .collect(),
        };
        assert_eq!(loaded, expected);
    });
}

#[test]
fn changes_are_told_in_order() {
    each(|mut bench| {
        let mut delegations = entry(2, Change::Grant(grant("g1").into()));
        delegations.asker.key = Some(IdempotencyKey {
            text: "k1".into(),
            request: [7; 32],
        });
        let mut opens = entry(3, Change::Task(task("t1").into()));
        opens.asker.principal = None;
        let entries = [
            entry(1, bundle("sha256:1")),
            delegations,
            opens,
            entry(4, Change::Approval(approval("a1").into())),
            entry(5, entity_put("kim", "{}")),
            entry(6, Change::EntityGone { uid: person("kim") }),
            entry(7, ended("s1")),
        ];
        let write = |entry: &ChangeRecord| StoreWrite::Entry {
            entry: entry.clone(),
            id: "id".into(),
        };
        bench.commit(&entries.iter().map(write).collect::<Vec<_>>());
        let mut bench = bench.reopen();
        assert_eq!(bench.store.entries_after(0, 100).unwrap(), entries);
        assert_eq!(bench.store.entries_after(2, 3).unwrap(), entries[2..5]);
        assert_eq!(bench.store.entries_after(6, 0).unwrap(), []);
        assert_eq!(bench.store.entries_after(7, 10).unwrap(), []);
        assert_eq!(bench.store.entries_after(u64::MAX, 10).unwrap(), []);
    });
}

fn published(id: &str, version: u64) -> PublishedBundle {
    PublishedBundle {
        id: id.into(),
        digest: format!("sha256:{id}").into(),
        version,
        newest_version: version,
        signed_by: Some("sha256:key".into()),
        back_to: None,
    }
}

fn publish(revision: u64, id: &str) -> StoreWrite {
    write(revision, Change::Published(published(id, revision).into()))
}

fn archive(id: &str, millis: u64) -> StoreWrite {
    StoreWrite::Bundle {
        id: id.into(),
        archive: format!("archive {id}").into_bytes().into(),
        at: at(millis),
    }
}

#[test]
fn a_published_bundle_is_kept_with_its_archive_and_the_oldest_goes() {
    each(|mut bench| {
        let refused = bench.store.commit(&[publish(1, "a")]);
        assert!(matches!(refused, Err(StoreError::Write(_))), "{refused:?}");
        bench.commit(&[archive("a", 1), archive("unused", 1), publish(1, "a")]);
        bench.commit(&[archive("b", 2), archive("b", 3), publish(2, "b")]);
        let mut bench = bench.reopen();
        let loaded = bench.store.load().unwrap();
        assert_eq!(loaded.bundle_digest.as_deref(), Some("sha256:b"));
        assert_eq!(loaded.published.as_deref(), Some(&published("b", 2)));
        let stored = |bench: &mut Bench, id: &str| bench.store.bundle(&id.into()).unwrap();
        assert_eq!(stored(&mut bench, "a").as_deref(), Some(&b"archive a"[..]));
        assert_eq!(stored(&mut bench, "nothing"), None);
        assert!(stored(&mut bench, "unused").is_some());
        let listed = bench.store.published().unwrap();
        assert_eq!(listed[0].bundle, published("b", 2));
        assert_eq!((listed[0].revision, listed[0].at), (2, at(2)));
        assert_eq!(listed[0].principal, Some(person("sam")));
        assert_eq!(listed[1].bundle, published("a", 1));
        // Much later: what was never published and what is no longer kept is gone.
        let later = 10_000_000;
        for revision in 3..=52 {
            let id = format!("n{revision}");
            let mut record = entry(revision, Change::Published(published(&id, revision).into()));
            record.at = at(later);
            let record = StoreWrite::Entry {
                entry: record,
                id: "id".into(),
            };
            bench.commit(&[archive(&id, later), record]);
        }
        assert_eq!(bench.store.published().unwrap().len(), PUBLISHED_KEPT);
        assert_eq!(stored(&mut bench, "unused"), None);
        assert_eq!(stored(&mut bench, "a"), None);
        assert!(stored(&mut bench, "n52").is_some());
    });
}

#[test]
fn a_change_out_of_order_is_refused_with_all_that_came_with_it() {
    each(|mut bench| {
        bench.commit(&[write(1, bundle("sha256:1"))]);
        let before = bench.load();
        for (revisions, last, found) in [
            (&[1][..], 1, 1),
            (&[3], 1, 3),
            (&[0], 1, 0),
            (&[2, 2], 2, 2),
            (&[2, 4], 2, 4),
        ] {
            let mut writes = vec![labels("s1", &["private"], 9), StoreWrite::Clock(at(99))];
            let entries = revisions
                .iter()
                .map(|revision| write(*revision, bundle("sha256:2")));
            writes.extend(entries);
            let refused = bench.store.commit(&writes);
            assert_eq!(refused, Err(StoreError::OutOfOrder { last, found }));
            assert_eq!(bench.load(), before);
        }
        bench.commit(&[write(2, bundle("sha256:2"))]);
        let mut bench = bench.reopen();
        let refused = bench.store.commit(&[write(2, bundle("sha256:3"))]);
        assert_eq!(refused, Err(StoreError::OutOfOrder { last: 2, found: 2 }));
        bench.commit(&[write(3, bundle("sha256:3"))]);
    });
}

#[test]
fn revisions_go_on_above_those_that_were_given_out() {
    each(|mut bench| {
        bench.commit(&[write(1, bundle("sha256:1")), write(2, ended("s1"))]);
        let turned = |last| TurnedBack {
            how: TurnedBackHow::Older,
            from: 2,
            last,
        };
        bench.store.go_on_above(&turned(6)).unwrap();
        let mut bench = bench.reopen();
        let loaded = bench.store.load().unwrap();
        assert_eq!((loaded.revision, loaded.turned_back), (7, Some(turned(6))));
        // What is known already changes nothing.
        bench.store.go_on_above(&turned(5)).unwrap();
        assert_eq!(bench.store.load().unwrap().revision, 7);
        let out = bench.store.commit(&[write(3, ended("s2"))]).unwrap_err();
        assert!(
            matches!(out, StoreError::OutOfOrder { last: 7, .. }),
            "{out}"
        );
        bench.commit(&[write(8, ended("s2"))]);
        let mut bench = bench.reopen();
        assert_eq!(bench.store.load().unwrap().revision, 8);
        let told = bench.store.entries_after(0, 10).unwrap();
        let told: Vec<u64> = told.iter().map(|it| it.revision).collect();
        assert_eq!(told, [1, 2, 8]);
    });
}

#[test]
fn a_key_is_kept_with_what_it_led_to() {
    each(|mut bench| {
        let keyed = |revision, caller: &str, request, id: &str| {
            let mut entry = entry(revision, bundle("sha256:1"));
            entry.asker.caller = caller.into();
            entry.asker.key = Some(IdempotencyKey {
                text: "k1".into(),
                request: [request; 32],
            });
            let id = id.into();
            StoreWrite::Entry { entry, id }
        };
        bench.commit(&[keyed(1, "one", 1, "g1"), keyed(2, "two", 2, "g2")]);
        let (mut bench, loaded) = bench.load_twice();
        let key = |caller: &str, request, revision, id: &str| StoredKey {
            caller: caller.into(),
            text: "k1".into(),
            request: [request; 32],
            revision,
            id: id.into(),
            at: at(revision),
        };
        let keys: Vec<_> = loaded.keys.into_values().collect();
        assert_eq!(keys, [key("one", 1, 1, "g1"), key("two", 2, 2, "g2")]);
        // A key that memory has forgotten may come again.
        bench.commit(&[keyed(3, "one", 3, "g3")]);
        let keys: Vec<_> = bench.load().keys.into_values().collect();
        assert_eq!(keys, [key("one", 3, 3, "g3"), key("two", 2, 2, "g2")]);
    });
}

#[test]
fn what_was_used_never_becomes_less() {
    each(|mut bench| {
        bench.commit(&[used("a", 5), spent("t", 64, false)]);
        bench.commit(&[used("a", 3), spent("t", 10, false)]);
        let (mut bench, loaded) = bench.load_twice();
        assert_eq!((loaded.approval_uses["a"], loaded.task_spent["t"]), (5, 64));
        bench.commit(&[spent("t", 20, true), spent("new", 4, true)]);
        let (mut bench, loaded) = bench.load_twice();
        assert_eq!((loaded.task_spent["t"], loaded.task_spent["new"]), (20, 4));
        bench.commit(&[spent("t", 19, false), spent("t", 21, false)]);
        assert_eq!(bench.load().task_spent["t"], 21);
    });
}

#[test]
fn what_is_taken_is_never_more_than_there_is() {
    let approval = |id: &str, most| StoreWrite::ApprovalTaken {
        id: id.into(),
        most,
    };
    let budget = |id: &str, calls, most| StoreWrite::BudgetTaken {
        id: id.into(),
        calls,
        most,
    };
    let taken = |id: &str, used| {
        Err(StoreError::Taken {
            id: id.into(),
            used,
        })
    };
    each(|mut bench| {
        bench.commit(&[approval("a", 2), budget("t", 3, 10)]);
        bench.commit(&[approval("a", 2), budget("t", 7, 10)]);
        let before = bench.load();
        assert_eq!((before.approval_uses["a"], before.task_spent["t"]), (2, 10));
        // Nothing of a commit is written of which something is not to be had.
        let refused = bench
            .store
            .commit(&[labels("s", &["x"], 9), approval("a", 2)]);
        assert_eq!(refused, taken("a", 2));
        assert_eq!(bench.store.commit(&[budget("t", 1, 10)]), taken("t", 10));
        assert_eq!(bench.store.commit(&[budget("u", 11, 10)]), taken("u", 0));
        assert_eq!(bench.load(), before);
        bench.commit(&[StoreWrite::BudgetReturned {
            id: "t".into(),
            calls: 4,
        }]);
        bench.commit(&[budget("t", 4, 10)]);
        let (_, loaded) = bench.load_twice();
        assert_eq!((loaded.approval_uses["a"], loaded.task_spent["t"]), (2, 10));
    });
}

#[test]
fn time_never_goes_back() {
    each(|mut bench| {
        bench.commit(&[StoreWrite::Clock(at(50))]);
        bench.commit(&[StoreWrite::Clock(at(40)), write(1, bundle("sha256:1"))]);
        let (mut bench, loaded) = bench.load_twice();
        assert_eq!(loaded.clock, Some(at(50)));
        // Whatever says when it happened moves it.
        bench.commit(&[session("s1", 1, 60)]);
        assert_eq!(bench.load().clock, Some(at(60)));
        bench.commit(&[labels("s1", &["x"], 70)]);
        assert_eq!(bench.load().clock, Some(at(70)));
        bench.commit(&[usage("a", None, &[1], 80), StoreWrite::Clock(at(75))]);
        let (_, loaded) = bench.load_twice();
        assert_eq!(loaded.clock, Some(at(80)));
    });
}

#[test]
fn a_session_keeps_its_labels_and_its_end() {
    each(|mut bench| {
        bench.commit(&[labels("s1", &["private", "untrusted"], 5)]);
        bench.commit(&[session("s1", 2, 6), labels("s1", &["private", "secret"], 4)]);
        bench.commit(&[write(1, ended("s1")), write(2, ended("unknown"))]);
        bench.commit(&[
            session("s1", 3, 3),
            labels("s1", &[], 2),
            session("unknown", 1, 1),
        ]);
        let (_, loaded) = bench.load_twice();
        let expected = StoredSession {
            id: "s1".into(),
            is_ended: true,
            calls: 3,
            labels: ["private", "secret", "untrusted"]
                .map(SmolStr::new)
                .to_vec(),
            tools: vec![tool_uid("a", "b")],
            last: vec![tool_uid("a", "b"); 3],
            at: at(6),
        };
        assert_eq!(loaded.sessions["s1"], expected);
        let unknown = &loaded.sessions["unknown"];
        assert_eq!((unknown.is_ended, unknown.at), (true, at(2)));
    });
}

#[test]
fn a_stop_stays_until_it_is_lifted() {
    let stop = |uid: &EntityUID, reason: &str, millis| Stop {
        uid: uid.clone(),
        reason: reason.into(),
        at: at(millis),
        by: person("sam"),
    };
    let stopped = |stop: &Stop| Change::Stopped(Arc::new(stop.clone()));
    each(|mut bench| {
        let (bot, git) = (agent("bot"), server_uid(&"git".into()));
        let first = stop(&bot, "leaks", 1);
        let again = stop(&bot, "leaks \u{1f980} \"still\"", 2);
        let other = stop(&git, "gone", 3);
        bench.commit(&[write(1, stopped(&first)), write(2, stopped(&other))]);
        bench.commit(&[write(3, stopped(&again))]);
        prune(&mut bench, 1_000_000, 1_000_000, 0);
        let (mut bench, loaded) = bench.load_twice();
        let expected = [(bot.clone(), again), (git.clone(), other)];
        assert_eq!(loaded.stops, BTreeMap::from(expected));
        bench.commit(&[write(4, Change::Resumed { uid: bot })]);
        let (mut bench, loaded) = bench.load_twice();
        assert_eq!(loaded.stops.keys().collect::<Vec<_>>(), [&git]);
        bench.commit(&[write(5, Change::Resumed { uid: git })]);
        assert!(bench.load().stops.is_empty());
    });
}

#[test]
fn labels_keep_their_latest_moment_and_go_with_what_carries_them() {
    each(|mut bench| {
        let carriers = || {
            let pair = |root| LabelCarrier::Pair {
                actor: agent("a"),
                root,
            };
            [
                LabelCarrier::Task("t1".into()),
                LabelCarrier::Task("t2".into()),
                LabelCarrier::Delegation("g1".into()),
                pair(None),
                pair(Some(person("sam"))),
            ]
        };
        for (through, loose) in [(50, None), (99, Some(60)), (70, Some(40)), (80, None)] {
            for carrier in carriers() {
                bench.commit(&[brought(carrier, "x", 10, through, loose)]);
            }
        }
        let (mut bench, loaded) = bench.load_twice();
        let latest = LabelTimes {
            label: "x".into(),
            through: at(99),
            loose_through: Some(at(60)),
        };
        let held = |loaded: &Plain| {
            let carriers = loaded.labels.keys().map(|(carrier, _)| carrier.clone());
            carriers.collect::<Vec<_>>()
        };
        assert_eq!(held(&loaded), carriers());
        assert!(loaded.labels.values().all(|brought| *brought == latest));
        let mut closed = task("t1");
        closed.closed_at = Some(at(20));
        let mut expired = grant("g1");
        expired.expires_at = at(99);
        let overdue = Task {
            deadline: at(99),
            ..task("t2")
        };
        bench.commit(&[
            write(1, Change::Task(closed.into())),
            write(2, Change::Task(overdue.into())),
            write(3, Change::Grant(expired.into())),
        ]);
        assert_eq!(held(&bench.load()), carriers()[1..]);
        prune(&mut bench, 99, 99, 0);
        assert_eq!(held(&bench.load()), carriers()[1..]);
        prune(&mut bench, 100, 99, 0);
        assert_eq!(held(&bench.load()), carriers()[3..]);
        prune(&mut bench, 100, 100, 0);
        assert_eq!(held(&bench.load()), []);
    });
}

#[test]
fn what_has_long_ended_is_pruned() {
    each(|mut bench| {
        let with = |mut delegation: Delegation, expires_at, revoked_at: Option<u64>| {
            delegation.expires_at = at(expires_at);
            delegation.revoked_at = revoked_at.map(at);
            Change::Grant(delegation.into())
        };
        let opened = |id: &str, deadline, closed_at: Option<u64>| {
            let mut task = task(id);
            task.deadline = at(deadline);
            task.closed_at = closed_at.map(at);
            Change::Task(task.into())
        };
        let asked = |id: &str, expires_at, word| {
            let mut approval = approval(id);
            approval.expires_at = at(expires_at);
            approval.word = word;
            Change::Approval(approval.into())
        };
        let changes = [
            with(grant("expired"), 99, None),
            with(grant("just not"), 100, None),
            with(grant("revoked"), 500, Some(99)),
            with(grant("revoked later"), 500, Some(100)),
            opened("overdue", 99, None),
            opened("closed", 500, Some(99)),
            opened("closed later", 500, Some(100)),
            opened("open", 500, None),
            asked("pending", 500, None),
            asked("over", 99, word(1, 50)),
            asked("rejected", 500, word(0, 99)),
            asked("approved", 500, word(1, 50)),
            ended("ended"),
            bundle("sha256:1"),
        ];
        let write = |(number, change): (usize, Change)| write(number as u64 + 1, change);
        bench.commit(
            &changes
                .into_iter()
                .enumerate()
                .map(write)
                .collect::<Vec<_>>(),
        );
        bench.commit(&[
            used("over", 1),
            used("approved", 1),
            spent("overdue", 9, false),
            spent("open", 9, false),
            labels("silent", &["private"], 99),
            labels("active", &["private"], 99),
            session("active", 1, 100),
            usage("old", None, &[1], 9),
            usage("new", None, &[1], 10),
        ]);
        let gone = prune(&mut bench, 100, 10, 12);
        assert_eq!(gone.delegations, ["expired", "revoked"]);
        assert_eq!(gone.tasks, ["closed", "overdue"]);
        assert_eq!(gone.approvals, ["over", "rejected"]);
        let (mut bench, left) = bench.load_twice();
        assert_eq!(
            texts(left.delegations.keys()),
            ["just not", "revoked later"]
        );
        assert_eq!(texts(left.tasks.keys()), ["closed later", "open"]);
        assert_eq!(texts(left.approvals.keys()), ["approved", "pending"]);
        assert_eq!(texts(left.approval_uses.keys()), ["approved"]);
        assert_eq!(texts(left.task_spent.keys()), ["open"]);
        assert_eq!(texts(left.sessions.keys()), ["active"]);
        assert_eq!(left.sessions["active"].labels, ["private"]);
        assert_eq!(
            left.usage
                .keys()
                .map(|(actor, _)| actor)
                .collect::<Vec<_>>(),
            [&agent("new")]
        );
        assert_eq!((left.revision, left.clock), (14, Some(at(100))));
        let told = bench.store.entries_after(0, 100).unwrap();
        assert!(told.iter().map(|entry| entry.revision).eq(12..=14));
        assert_eq!(prune(&mut bench, 100, 10, 12), Pruned::default());
        // A session that comes again has nothing of what it was.
        bench.commit(&[session("silent", 1, 200)]);
        assert!(bench.load().sessions["silent"].labels.is_empty());
    });
}

#[test]
fn what_belongs_to_a_task_goes_with_it() {
    each(|mut bench| {
        let delegated = |id: &str, task: &str| {
            let mut delegation = grant(id);
            delegation.task = Some(task.into());
            Change::Grant(delegation.into())
        };
        let asked = |id: &str, task: &str| {
            let mut approval = approval(id);
            approval.call.task = Some(task.into());
            Change::Approval(approval.into())
        };
        let mut closed = task("closed");
        closed.closed_at = Some(at(9));
        let mut revision = 0;
        let mut writes = vec![
            Change::Task(closed.into()),
            Change::Task(task("open").into()),
        ];
        // More than go in one step, so that the task has to wait for the last.
        let names: Vec<String> = (0..1_200).map(|number| format!("g{number:04}")).collect();
        writes.extend(names.iter().map(|name| delegated(name, "closed")));
        writes.extend([
            delegated("stays", "open"),
            asked("a1", "closed"),
            asked("a2", "open"),
        ]);
        let write = |change| {
            revision += 1;
            write(revision, change)
        };
        bench.commit(&writes.into_iter().map(write).collect::<Vec<_>>());
        let gone = prune(&mut bench, 10, 0, 0);
        assert_eq!(texts(&gone.delegations), names);
        assert_eq!(
            (gone.tasks, gone.approvals),
            (vec!["closed".into()], vec!["a1".into()])
        );
        let (_, left) = bench.load_twice();
        assert_eq!(left.delegations.keys().collect::<Vec<_>>(), ["stays"]);
        assert_eq!(left.approvals.keys().collect::<Vec<_>>(), ["a2"]);
        assert_eq!(left.tasks.keys().collect::<Vec<_>>(), ["open"]);
    });
}

#[test]
fn the_newest_change_and_the_keys_outlive_their_time() {
    each(|mut bench| {
        let mut keyed = entry(1, bundle("sha256:1"));
        keyed.asker.key = Some(IdempotencyKey {
            text: "k1".into(),
            request: [0; 32],
        });
        let id = "id".into();
        bench.commit(&[
            StoreWrite::Entry { entry: keyed, id },
            write(2, bundle("sha256:2")),
        ]);
        prune(&mut bench, 0, 0, 1_000);
        let (mut bench, left) = bench.load_twice();
        assert_eq!((left.revision, left.keys.len()), (2, 1));
        assert_eq!(bench.store.entries_after(0, 9).unwrap().len(), 1);
        prune(&mut bench, 0, 1_000, 1_000);
        let (mut bench, left) = bench.load_twice();
        assert_eq!((left.revision, left.keys.len()), (2, 0));
        bench.commit(&[write(3, bundle("sha256:3"))]);
    });
}

/// A commit: what it writes, and whether its last change comes out of order.
fn commits() -> impl Strategy<Value = Vec<(Vec<u8>, bool)>> {
    let commit = (
        proptest::collection::vec(any::<u8>(), 0..6),
        prop::bool::weighted(0.2),
    );
    proptest::collection::vec(commit, 1..20)
}

/// One of several small writes, told by a byte.
fn small_write(byte: u8, revision: &mut u64) -> StoreWrite {
    let name = ["x", "y"][usize::from(byte >> 7)];
    let size = u64::from(byte >> 3 & 15);
    let mut change = |change| {
        *revision += 1;
        write(*revision, change)
    };
    match byte % 12 {
        0 => used(name, size as u32),
        1 => spent(name, size, false),
        2 => spent(name, size, true),
        3 => labels(name, &[["p", "q", "r"][size as usize % 3]], size),
        4 => session(name, size, size),
        5 => change(ended(name)),
        6 => brought(
            LabelCarrier::Pair {
                actor: agent(name),
                root: (size % 2 == 0).then(|| person(name)),
            },
            ["p", "q"][size as usize % 2],
            size,
            size + 7,
            (size % 3 == 0).then_some(size + 3),
        ),
        7 => change(entity_put(name, &size.to_string())),
        9 => StoreWrite::ApprovalTaken {
            id: name.into(),
            most: 1_000,
        },
        10 => StoreWrite::BudgetTaken {
            id: name.into(),
            calls: size,
            most: 1_000,
        },
        11 => StoreWrite::BudgetReturned {
            id: name.into(),
            calls: size,
        },
        _ => StoreWrite::Clock(at(size)),
    }
}

/// What a store should hold after these writes.
fn model(state: &mut Plain, writes: &[StoreWrite]) {
    for write in writes {
        state.clock = state.clock.max(write.at());
        let fresh = |id: &SessionId, at| StoredSession {
            id: id.clone(),
            is_ended: false,
            calls: 0,
            labels: Vec::new(),
            tools: Vec::new(),
            last: Vec::new(),
            at,
        };
        let mut session = |id: &SessionId, at: SystemTime, change: &dyn Fn(&mut StoredSession)| {
            let known = state.sessions.entry(id.clone());
            let known = known.or_insert_with(|| fresh(id, at));
            known.at = known.at.max(at);
            change(known);
        };
        match write {
            StoreWrite::Bundle { .. } => panic!("not in this test: {write:?}"),
            StoreWrite::ApprovalUsed { id, uses } => {
                let known = state.approval_uses.entry(id.clone()).or_default();
                *known = (*known).max(*uses);
            }
            StoreWrite::TaskSpent {
                id,
                spent,
                is_exact,
                ..
            } => {
                let known = state.task_spent.entry(id.clone()).or_default();
                *known = if *is_exact {
                    *spent
                } else {
                    (*known).max(*spent)
                };
            }
            StoreWrite::SessionLabels { id, labels, at } => session(id, *at, &|session| {
                session.labels.extend(labels.iter().cloned());
                session.labels.sort();
                session.labels.dedup();
            }),
            StoreWrite::Labels {
                carrier, labels, ..
            } => {
                for brought in labels {
                    let key = (carrier.clone(), brought.label.clone());
                    let known = state.labels.entry(key).or_insert_with(|| brought.clone());
                    known.through = known.through.max(brought.through);
                    known.loose_through = known.loose_through.max(brought.loose_through);
                }
            }
            StoreWrite::Session {
                id,
                calls,
                tools,
                last,
                at,
            } => session(id, *at, &|session| {
                session.calls = *calls;
                session.tools.clone_from(tools);
                session.last.clone_from(last);
            }),
            StoreWrite::Entry { entry, .. } => {
                match &entry.change {
                    Change::SessionEnded { session: id } => {
                        session(id, entry.at, &|session| session.is_ended = true);
                    }
                    Change::Entity { uid, json } => {
                        state.entities.insert(uid.clone(), Arc::clone(json));
                    }
                    other => panic!("not in this test: {other:?}"),
                }
                state.revision = entry.revision;
            }
            StoreWrite::ApprovalTaken { id, .. } => {
                *state.approval_uses.entry(id.clone()).or_default() += 1;
            }
            StoreWrite::BudgetTaken { id, calls, .. } => {
                *state.task_spent.entry(id.clone()).or_default() += calls;
            }
            StoreWrite::BudgetReturned { id, calls } => {
                if let Some(spent) = state.task_spent.get_mut(id) {
                    *spent = spent.saturating_sub(*calls);
                }
            }
            StoreWrite::SessionReleased { .. } => panic!("nobody owns a session here"),
            StoreWrite::DecidedAs(_)
            | StoreWrite::LabelsSeen { .. }
            | StoreWrite::UsageCounted(_)
            | StoreWrite::Usage { .. }
            | StoreWrite::Clock(_)
            | StoreWrite::Lease(_)
            | StoreWrite::ToolShown { .. } => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// Any history, some of whose commits are refused and leave nothing behind.
    #[test]
    fn a_store_holds_what_was_committed_and_nothing_else(commits in commits()) {
        each(|mut bench| {
            let mut expected = Plain::default();
            for (bytes, is_refused) in &commits {
                let mut revision = expected.revision;
                let mut writes: Vec<StoreWrite> =
                    bytes.iter().map(|byte| small_write(*byte, &mut revision)).collect();
                if *is_refused {
                    writes.push(write(revision + 2, bundle("sha256:0")));
                    let refused = bench.store.commit(&writes);
                    assert!(matches!(refused, Err(StoreError::OutOfOrder { .. })));
                } else {
                    bench.commit(&writes);
                    model(&mut expected, &writes);
                }
            }
            let (_, loaded) = bench.load_twice();
            assert_eq!(loaded, expected);
        });
    }
}
