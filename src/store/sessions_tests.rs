use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use callgate_engine::cedar::EntityUID;

use super::*;
use crate::domain::schema;

const ID: SessionId = SessionId::new_static("s1");

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
}

fn tool(name: &str) -> EntityUID {
    schema::tool_uid("server", name)
}

fn labels(names: &[&str]) -> Vec<SmolStr> {
    names.iter().map(SmolStr::new).collect()
}

/// A session that is in memory, or new.
fn held(sessions: &Sessions, id: &SessionId) -> Session {
    sessions.get(id).expect("in memory")
}

/// A call that is decided on what the session is now.
fn call(sessions: &Sessions, id: &SessionId, yields: &[&str], now: SystemTime) -> SessionUpdate {
    let seen = held(sessions, id);
    let next = seen.after(Some(&tool("t")), &labels(yields));
    sessions.advance(id, seen.version, next, now).unwrap()
}

fn changed(result: Result<SessionUpdate, AdvanceError>) -> Session {
    match result {
        Err(AdvanceError::Conflict(session)) => session,
        other => panic!("not changed: {other:?}"),
    }
}

#[test]
fn a_decision_on_what_was_before_does_not_count() {
    let sessions = Sessions::new(100);
    let before = held(&sessions, &ID);
    let one = before.after(Some(&tool("a")), &labels(&["private"]));
    let other = before.after(Some(&tool("b")), &labels(&["untrusted"]));
    sessions.advance(&ID, before.version, one, at(0)).unwrap();
    let now = changed(sessions.advance(&ID, before.version, other, at(0)));
    assert_eq!(now.labels.items(), labels(&["private"]));
    let other = now.after(Some(&tool("b")), &labels(&["untrusted"]));
    sessions.advance(&ID, now.version, other, at(1)).unwrap();
    let now = held(&sessions, &ID);
    assert_eq!(now.labels.items(), labels(&["private", "untrusted"]));
    assert_eq!(
        (now.calls, now.last_tools().cloned().collect()),
        (2, vec![tool("a"), tool("b")])
    );
}

#[test]
fn every_answer_waits_for_all_labels_that_are_not_written() {
    let sessions = Sessions::new(100);
    let first = call(&sessions, &ID, &["private"], at(0));
    assert_eq!(first.labels, labels(&["private"]));
    // It adds nothing, but was decided with a label that a crash could lose.
    let second = call(&sessions, &ID, &[], at(0));
    assert_eq!(second.labels, labels(&["private"]));
    let third = call(&sessions, &ID, &["untrusted"], at(0));
    assert_eq!(third.labels, labels(&["private", "untrusted"]));
    let write = third.write(&ID, at(0)).unwrap();
    assert!(matches!(write, StoreWrite::SessionLabels { labels, .. } if labels.len() == 2));
    sessions.mark_written(&ID, &first.labels);
    assert_eq!(
        call(&sessions, &ID, &[], at(0)).labels,
        labels(&["untrusted"])
    );
    sessions.mark_written(&ID, &third.labels);
    let settled = call(&sessions, &ID, &["private"], at(0));
    assert!(settled.labels.is_empty() && settled.write(&ID, at(0)).is_none());
}

#[test]
fn an_ended_session_stays_ended() {
    let sessions = Sessions::new(100);
    call(&sessions, &ID, &["private"], at(0));
    let before = held(&sessions, &ID);
    sessions.end(&ID, at(1));
    let next = before.after(Some(&tool("t")), &[]);
    let now = changed(sessions.advance(&ID, before.version, next.clone(), at(1)));
    assert!(now.is_ended);
    // Not even for one who saw that it is.
    assert!(changed(sessions.advance(&ID, now.version, next, at(1))).is_ended);
    // One that nobody knew.
    let unknown = SessionId::new("unknown");
    let seen = held(&sessions, &unknown);
    sessions.end(&unknown, at(1));
    let next = seen.after(Some(&tool("t")), &[]);
    assert!(changed(sessions.advance(&unknown, seen.version, next, at(1))).is_ended);
}

#[test]
fn a_session_that_began_anew_is_not_what_it_was() {
    let sessions = Sessions::new(100);
    for _ in 0..3 {
        call(&sessions, &ID, &["private"], at(0));
    }
    let old = held(&sessions, &ID);
    sessions.forget(at(1));
    let next = old.after(Some(&tool("t")), &[]);
    let now = changed(sessions.advance(&ID, old.version, next.clone(), at(1)));
    assert_eq!((now.version, now.labels.items().len()), (0, 0));
    for _ in 0..5 {
        call(&sessions, &ID, &[], at(1));
        changed(sessions.advance(&ID, old.version, next.clone(), at(1)));
    }
}

/// What the store would have of the sessions, from the writes that were made.
#[derive(Default)]
struct Rows(std::collections::HashMap<SessionId, StoredSession>);

impl Rows {
    fn row(&mut self, id: &SessionId, at: SystemTime) -> &mut StoredSession {
        let row = self.0.entry(id.clone()).or_insert_with(|| StoredSession {
            id: id.clone(),
            is_ended: false,
            calls: 0,
            labels: Vec::new(),
            tools: Vec::new(),
            last: Vec::new(),
            at,
        });
        row.at = row.at.max(at);
        row
    }

    fn write(&mut self, write: StoreWrite) {
        match write {
            StoreWrite::SessionLabels { id, labels, at } => {
                let row = self.row(&id, at);
                for label in labels {
                    if !row.labels.contains(&label) {
                        row.labels.push(label);
                    }
                }
            }
            StoreWrite::Session {
                id,
                calls,
                tools,
                last,
                at,
            } => {
                let row = self.row(&id, at);
                (row.calls, row.tools, row.last) = (calls, tools, last);
            }
            other => panic!("not of a session: {other:?}"),
        }
    }

    fn flush(&mut self, sessions: &Sessions) {
        let (writes, versions) = sessions.dirty();
        writes.into_iter().for_each(|it| self.write(it));
        sessions.end_writing(&versions, true);
    }

    /// A call as the service makes it: the session is read first if it is not in memory, and labels are written.
    fn call(&mut self, sessions: &Sessions, id: &SessionId, yields: &[&str], now: SystemTime) {
        if !sessions.is_held(id) {
            let stored = self.0.get(id).cloned();
            sessions.adopt_stored(id, stored).expect("room");
        }
        let update = call(sessions, id, yields, now);
        if let Some(write) = update.write(id, now) {
            self.write(write);
            sessions.mark_written(id, &update.labels);
        }
    }
}

#[test]
fn a_full_memory_leaves_to_the_store_what_is_written_and_silent_for_the_longest() {
    let (sessions, mut rows) = (Sessions::new(3), Rows::default());
    let id = |number: u64| SessionId::new(format!("s{number}"));
    for number in 0..3 {
        rows.call(&sessions, &id(number), &["private"], at(number));
    }
    let new = Session::new().after(Some(&tool("t")), &[]);
    let refused = sessions.advance(&id(3), 0, new.clone(), at(3));
    assert!(
        matches!(refused, Err(AdvanceError::Full)),
        "nothing is written"
    );
    rows.flush(&sessions);
    sessions.advance(&id(3), 0, new.clone(), at(3)).unwrap();
    assert_eq!((sessions.len(), sessions.stored()), (3, 1));
    assert!(!sessions.is_held(&id(0)) && sessions.get(&id(0)).is_none());
    assert!(sessions.is_held(&id(1)) && sessions.is_known(&id(0)));
    // Who has seen it before has to have it again.
    let late = sessions.advance(&id(0), 1, new.clone(), at(4));
    assert!(matches!(late, Err(AdvanceError::NotHeld)));
    let unseen = sessions.advance(&id(0), 0, new, at(4));
    assert!(
        matches!(unseen, Err(AdvanceError::NotHeld)),
        "not as a new one"
    );
    rows.call(&sessions, &id(0), &[], at(5));
    let again = held(&sessions, &id(0));
    assert_eq!(again.labels.items(), labels(&["private"]));
    assert_eq!(again.calls, 2);
    assert!(!sessions.is_held(&id(1)), "it was silent for the longest");
}

#[test]
fn what_fails_to_be_written_stays_in_memory_and_is_written_again() {
    let sessions = Sessions::new(1);
    call(&sessions, &ID, &[], at(0));
    let (writes, versions) = sessions.dirty();
    assert_eq!(writes.len(), 1);
    sessions.end_writing(&versions, false);
    let new = Session::new().after(Some(&tool("t")), &[]);
    let other = SessionId::new("s2");
    let refused = sessions.advance(&other, 0, new.clone(), at(1));
    assert!(matches!(refused, Err(AdvanceError::Full)));
    let (writes, versions) = sessions.dirty();
    assert_eq!(writes.len(), 1, "once more");
    // What has changed while it was written is not written.
    call(&sessions, &ID, &[], at(1));
    sessions.end_writing(&versions, true);
    let refused = sessions.advance(&other, 0, new.clone(), at(1));
    assert!(matches!(refused, Err(AdvanceError::Full)));
    let (_, versions) = sessions.dirty();
    sessions.end_writing(&versions, true);
    sessions.advance(&other, 0, new, at(1)).unwrap();
}

#[test]
fn what_ends_while_the_store_has_it_has_ended_when_it_is_read() {
    let (sessions, mut rows) = (Sessions::new(1), Rows::default());
    rows.call(&sessions, &ID, &["private"], at(0));
    rows.flush(&sessions);
    rows.call(&sessions, &SessionId::new("s2"), &[], at(1));
    rows.flush(&sessions);
    assert!(!sessions.is_held(&ID));
    // Read before the end is written, and taken over after it.
    let stored = rows.0.get(&ID).cloned();
    sessions.end(&ID, at(2));
    sessions.adopt_stored(&ID, stored).unwrap();
    let ended = held(&sessions, &ID);
    assert!(ended.is_ended);
    assert_eq!((ended.calls, ended.labels.items().len()), (1, 1));
    assert!(
        sessions.dirty().0.is_empty(),
        "nothing of it is written over"
    );
    assert_eq!(sessions.ended_unbegun(), 0);
}

#[test]
fn what_was_ended_before_it_began_stays_in_memory() {
    let (sessions, mut rows) = (Sessions::new(2), Rows::default());
    sessions.end(&ID, at(0));
    rows.flush(&sessions);
    for number in 0..5 {
        let id = SessionId::new(format!("other-{number}"));
        rows.call(&sessions, &id, &[], at(1 + number));
        rows.flush(&sessions);
    }
    assert!(held(&sessions, &ID).is_ended);
    assert_eq!(sessions.ended_unbegun(), 1);
}

#[test]
fn what_is_no_longer_kept_starts_anew_also_if_the_store_still_has_it() {
    let (sessions, mut rows) = (Sessions::new(1), Rows::default());
    rows.call(&sessions, &ID, &["private"], at(0));
    rows.flush(&sessions);
    rows.call(&sessions, &SessionId::new("s2"), &[], at(100));
    sessions.forget(at(50));
    let stored = rows.0.get(&ID).cloned();
    rows.flush(&sessions);
    sessions.adopt_stored(&ID, stored).unwrap();
    let anew = held(&sessions, &ID);
    assert_eq!((anew.calls, anew.labels.items().len()), (0, 0));
    // One that the store has removed is not asked for.
    sessions.note_stored("s3");
    assert!(!sessions.is_held(&"s3".into()));
    sessions.forget_stored(&["s3".into()]);
    assert!(sessions.is_held(&"s3".into()));
}

proptest::proptest! {
    /// However small memory is, what sessions are is what they would be with room for all.
    #[test]
    fn memory_makes_no_difference(
        calls in proptest::collection::vec((0..6_u64, 0..3_usize, proptest::bool::ANY), 1..80),
        room in 1..4_usize,
    ) {
        let (small, mut small_rows) = (Sessions::new(room), Rows::default());
        let (large, mut large_rows) = (Sessions::new(100), Rows::default());
        for (number, (session, label, is_flushed)) in calls.iter().enumerate() {
            let id = SessionId::new(format!("s{session}"));
            let yields = &["a", "b", "c"][label % 3..=label % 3];
            let now = at(number as u64);
            small_rows.flush(&small);
            small_rows.call(&small, &id, yields, now);
            if *is_flushed {
                large_rows.flush(&large);
            }
            large_rows.call(&large, &id, yields, now);
            proptest::prop_assert!(small.len() <= room);
            let (one, other) = (held(&small, &id), held(&large, &id));
            proptest::prop_assert_eq!(one.calls, other.calls);
            proptest::prop_assert_eq!(one.labels.items(), other.labels.items());
            let last = |it: &Session| it.last_tools().cloned().collect::<Vec<_>>();
            proptest::prop_assert_eq!(last(&one), last(&other));
        }
        small_rows.flush(&small);
        large_rows.flush(&large);
        proptest::prop_assert_eq!(small_rows.0, large_rows.0);
    }
}

#[test]
fn what_changed_is_written_once() {
    let sessions = Sessions::new(100);
    call(&sessions, &ID, &["private"], at(0));
    call(&sessions, &ID, &[], at(7));
    let mut writes = sessions.dirty().0;
    assert_eq!(writes.len(), 1);
    let Some(StoreWrite::Session {
        id,
        calls,
        tools,
        last,
        at: when,
    }) = writes.pop()
    else {
        panic!("not a session");
    };
    assert_eq!((id, calls, when), (ID, 2, at(7)));
    assert_eq!((tools.len(), last.len()), (1, 2));
    assert!(sessions.dirty().0.is_empty());
    call(&sessions, &ID, &[], at(8));
    assert_eq!(sessions.dirty().0.len(), 1);
}

#[test]
fn what_was_stored_goes_on() {
    let sessions = Sessions::new(100);
    let stored = |id: &str, is_ended| StoredSession {
        id: id.into(),
        is_ended,
        calls: 5,
        labels: labels(&["private"]),
        tools: vec![tool("a")],
        last: vec![tool("a")],
        at: at(0),
    };
    sessions.restore(vec![stored("s1", false), stored("s2", true)]);
    assert!(held(&sessions, &"s2".into()).is_ended);
    let session = held(&sessions, &ID);
    assert_ne!(session.version, 0, "it is not a new one");
    assert_eq!(session.labels.items(), labels(&["private"]));
    assert_eq!(
        (session.calls, session.last_tools().cloned().collect()),
        (5, vec![tool("a")])
    );
    assert!(sessions.dirty().0.is_empty());
    let next = call(&sessions, &ID, &["private"], at(1));
    assert!(next.labels.is_empty(), "it is written already");
}

#[test]
fn parallel_calls_of_one_session_follow_one_another() {
    const THREADS: usize = 8;
    const CALLS: usize = 200;
    let sessions = Sessions::new(100);
    let versions: Vec<u64> = thread::scope(|scope| {
        let one = |thread: usize| {
            let sessions = &sessions;
            move || {
                let mut versions = Vec::new();
                for number in 0..CALLS {
                    let label = [SmolStr::new(format!("{}", (thread + number) % 5))];
                    let mut seen = held(sessions, &ID);
                    loop {
                        let next = seen.after(Some(&tool("t")), &label);
                        match sessions.advance(&ID, seen.version, next, at(0)) {
                            Ok(advanced) => break versions.push(advanced.version),
                            Err(AdvanceError::Conflict(now)) => seen = now,
                            Err(AdvanceError::Full | AdvanceError::NotHeld) => {
                                panic!("there is room, and no other server")
                            }
                        }
                    }
                }
                versions
            }
        };
        let running: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(one(thread)))
            .collect();
        running
            .into_iter()
            .flat_map(|one| one.join().unwrap())
            .collect()
    });
    let session = held(&sessions, &ID);
    assert_eq!(session.calls as usize, THREADS * CALLS, "none was lost");
    assert_eq!(session.labels.items().len(), 5);
    let different: BTreeSet<u64> = versions.iter().copied().collect();
    assert_eq!(different.len(), versions.len());
}

#[test]
fn sessions_ended_before_they_began_are_counted_once_until_they_are_forgotten() {
    let sessions = Sessions::new(10);
    let [known, invented] = ["known", "invented"].map(SessionId::from);
    let next = held(&sessions, &known).after(None, &[]);
    sessions.advance(&known, 0, next, at(0)).unwrap();
    for id in [&known, &invented, &invented] {
        sessions.end(id, at(1));
    }
    assert_eq!(sessions.ended_unbegun(), 1);
    assert!(sessions.is_known(&known) && !sessions.is_known(&"other".into()));
    sessions.forget(at(2));
    assert_eq!(sessions.ended_unbegun(), 0);
}
