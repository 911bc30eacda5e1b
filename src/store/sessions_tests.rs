use std::collections::BTreeSet;
use std::thread;

use callgate_engine::cedar::EntityUID;

use super::*;
use crate::domain::schema;

const ID: SmolStr = SmolStr::new_static("s1");
const IDLE: Duration = Duration::from_secs(3_600);

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
}

fn tool(name: &str) -> EntityUID {
    schema::tool_uid("server", name)
}

fn labels(names: &[&str]) -> Vec<SmolStr> {
    names.iter().map(SmolStr::new).collect()
}

/// A call that is decided on what the session is now.
fn call(sessions: &Sessions, id: &SmolStr, yields: &[&str], now: SystemTime) -> SessionUpdate {
    let seen = sessions.get(id);
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
    let sessions = Sessions::new(100, IDLE);
    let before = sessions.get(&ID);
    let one = before.after(Some(&tool("a")), &labels(&["private"]));
    let other = before.after(Some(&tool("b")), &labels(&["untrusted"]));
    sessions.advance(&ID, before.version, one, at(0)).unwrap();
    let now = changed(sessions.advance(&ID, before.version, other, at(0)));
    assert_eq!(now.labels.items(), labels(&["private"]));
    let other = now.after(Some(&tool("b")), &labels(&["untrusted"]));
    sessions.advance(&ID, now.version, other, at(1)).unwrap();
    let now = sessions.get(&ID);
    assert_eq!(now.labels.items(), labels(&["private", "untrusted"]));
    assert_eq!(
        (now.calls, now.last_tools().cloned().collect()),
        (2, vec![tool("a"), tool("b")])
    );
}

#[test]
fn every_answer_waits_for_all_labels_that_are_not_written() {
    let sessions = Sessions::new(100, IDLE);
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
    let sessions = Sessions::new(100, IDLE);
    call(&sessions, &ID, &["private"], at(0));
    let before = sessions.get(&ID);
    sessions.end(&ID, at(1));
    let next = before.after(Some(&tool("t")), &[]);
    let now = changed(sessions.advance(&ID, before.version, next.clone(), at(1)));
    assert!(now.is_ended);
    // Not even for one who saw that it is.
    assert!(changed(sessions.advance(&ID, now.version, next, at(1))).is_ended);
    // One that nobody knew.
    let unknown = SmolStr::new("unknown");
    let seen = sessions.get(&unknown);
    sessions.end(&unknown, at(1));
    let next = seen.after(Some(&tool("t")), &[]);
    assert!(changed(sessions.advance(&unknown, seen.version, next, at(1))).is_ended);
}

#[test]
fn a_session_that_began_anew_is_not_what_it_was() {
    let sessions = Sessions::new(100, IDLE);
    for _ in 0..3 {
        call(&sessions, &ID, &["private"], at(0));
    }
    let old = sessions.get(&ID);
    sessions.forget(at(1));
    let next = old.after(Some(&tool("t")), &[]);
    let now = changed(sessions.advance(&ID, old.version, next.clone(), at(1)));
    assert_eq!((now.version, now.labels.items().len()), (0, 0));
    for _ in 0..5 {
        call(&sessions, &ID, &[], at(1));
        changed(sessions.advance(&ID, old.version, next.clone(), at(1)));
    }
}

#[test]
fn a_full_map_drops_the_silent_and_refuses_otherwise() {
    let sessions = Sessions::new(3, IDLE);
    let id = |number: u64| SmolStr::new(format!("s{number}"));
    for number in 0..3 {
        call(&sessions, &id(number), &["private"], at(number * 1_000));
    }
    sessions.end(&id(0), at(0));
    let new = Session::new().after(Some(&tool("t")), &[]);
    let refused = sessions.advance(&id(3), 0, new.clone(), at(3_000));
    assert!(matches!(refused, Err(AdvanceError::Full)));
    // The ended one is kept however long it is silent; the next one is idle now.
    let now = at(1_001) + IDLE;
    sessions.advance(&id(3), 0, new.clone(), now).unwrap();
    assert_eq!(sessions.len(), 3);
    assert!(sessions.get(&id(0)).is_ended);
    assert_eq!(sessions.get(&id(1)).version, 0);
    assert_eq!(sessions.get(&id(2)).calls, 1);
    let refused = sessions.advance(&id(4), 0, new.clone(), now);
    assert!(matches!(refused, Err(AdvanceError::Full)));
    // What is known has its room, and what was ended finds some.
    call(&sessions, &id(2), &[], now);
    sessions.end(&id(5), now);
    assert!(sessions.get(&id(5)).is_ended);
    let later = now + IDLE + IDLE;
    sessions.advance(&id(4), 0, new, later).unwrap();
    assert!(sessions.get(&id(0)).is_ended && sessions.get(&id(5)).is_ended);
}

#[test]
fn what_changed_is_written_once() {
    let sessions = Sessions::new(100, IDLE);
    call(&sessions, &ID, &["private"], at(0));
    call(&sessions, &ID, &[], at(7));
    let mut writes = sessions.dirty();
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
    assert!(sessions.dirty().is_empty());
    call(&sessions, &ID, &[], at(8));
    assert_eq!(sessions.dirty().len(), 1);
}

#[test]
fn what_was_stored_goes_on() {
    let sessions = Sessions::new(100, IDLE);
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
    assert!(sessions.get("s2").is_ended);
    let session = sessions.get(&ID);
    assert_ne!(session.version, 0, "it is not a new one");
    assert_eq!(session.labels.items(), labels(&["private"]));
    assert_eq!(
        (session.calls, session.last_tools().cloned().collect()),
        (5, vec![tool("a")])
    );
    assert!(sessions.dirty().is_empty());
    let next = call(&sessions, &ID, &["private"], at(1));
    assert!(next.labels.is_empty(), "it is written already");
}

#[test]
fn parallel_calls_of_one_session_follow_one_another() {
    const THREADS: usize = 8;
    const CALLS: usize = 200;
    let sessions = Sessions::new(100, IDLE);
    let versions: Vec<u64> = thread::scope(|scope| {
        let one = |thread: usize| {
            let sessions = &sessions;
            move || {
                let mut versions = Vec::new();
                for number in 0..CALLS {
                    let label = [SmolStr::new(format!("{}", (thread + number) % 5))];
                    let mut seen = sessions.get(&ID);
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
    let session = sessions.get(&ID);
    assert_eq!(session.calls as usize, THREADS * CALLS, "none was lost");
    assert_eq!(session.labels.items().len(), 5);
    let different: BTreeSet<u64> = versions.iter().copied().collect();
    assert_eq!(different.len(), versions.len());
}

#[test]
fn sessions_ended_before_they_began_are_counted_once_until_they_are_forgotten() {
    let sessions = Sessions::new(10, Duration::from_secs(60));
    let [known, invented] = ["known", "invented"].map(SmolStr::new);
    let next = sessions.get(&known).after(None, &[]);
    sessions.advance(&known, 0, next, at(0)).unwrap();
    for id in [&known, &invented, &invented] {
        sessions.end(id, at(1));
    }
    assert_eq!(sessions.ended_unbegun(), 1);
    assert!(sessions.is_known(&known) && !sessions.is_known("other"));
    sessions.forget(at(2));
    assert_eq!(sessions.ended_unbegun(), 0);
}
