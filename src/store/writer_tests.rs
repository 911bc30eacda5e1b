use std::sync::mpsc;

use super::*;
use crate::domain::authority::change::ChangeRecord;
use crate::domain::ids::SessionId;
use crate::store::backend::{StoredSession, StoredState};
use crate::store::turned_back::TurnedBack;

type Commits = Arc<Mutex<Vec<Vec<String>>>>;

/// Remembers its commits. A write for the approval `bad` fails, one for `panic` panics.
#[derive(Default)]
struct Fake {
    commits: Commits,
    prunes_left: usize,
}

impl Store for Fake {
    fn load(&mut self) -> Result<StoredState, StoreError> {
        Ok(StoredState::default())
    }

    fn session_ids(&mut self, _: &mut dyn FnMut(&str)) -> Result<(), StoreError> {
        Ok(())
    }

    fn session(&mut self, _: &SessionId) -> Result<Option<StoredSession>, StoreError> {
        Ok(None)
    }

    fn commit(&mut self, writes: &[StoreWrite]) -> Result<(), StoreError> {
        let names: Vec<String> = writes.iter().map(name).collect();
        assert!(!names.contains(&"panic".to_owned()), "as asked");
        if names.contains(&"bad".to_owned()) {
            return Err(StoreError::Write("bad".to_owned()));
        }
        self.commits.lock().unwrap().push(names);
        Ok(())
    }

    fn go_on_above(&mut self, _: &TurnedBack) -> Result<(), StoreError> {
        Ok(())
    }

    fn entries_after(&mut self, _: u64, _: usize) -> Result<Vec<ChangeRecord>, StoreError> {
        Ok(Vec::new())
    }

    fn prune(&mut self, _: &Retention) -> Result<Pruned, StoreError> {
        self.prunes_left -= 1;
        Ok(Pruned {
            tasks: vec![format!("{}", self.prunes_left).into()],
            is_partial: self.prunes_left > 0,
            ..Pruned::default()
        })
    }
}

fn name(write: &StoreWrite) -> String {
    match write {
        StoreWrite::ApprovalUsed { id, .. } => id.to_string(),
        other => panic!("not a write of these tests: {other:?}"),
    }
}

fn used(id: &str) -> Vec<StoreWrite> {
    vec![StoreWrite::ApprovalUsed {
        id: id.into(),
        uses: 1,
    }]
}

/// A writer, what it committed, and a thread that is held up until the sender is used.
fn held_up(fake: Fake) -> (Writer, Commits, mpsc::Sender<()>) {
    let commits = Arc::clone(&fake.commits);
    let writer = Writer::start(Box::new(fake)).unwrap();
    let (go, wait) = mpsc::channel::<()>();
    let (holds, held) = mpsc::channel();
    let hold = move |_: Result<&mut dyn Store, StoreError>| {
        holds.send(()).unwrap();
        wait.recv().unwrap();
    };
    writer.access(hold).unwrap();
    held.recv().unwrap();
    (writer, commits, go)
}

type Told = Arc<Mutex<Vec<(String, Result<(), StoreError>)>>>;

fn submit(writer: &Writer, id: &str, told: &Told) {
    let told = Arc::clone(told);
    let id = id.to_owned();
    let writes = used(&id);
    let done = move |result| told.lock().unwrap().push((id, result));
    writer.submit(writes, done).unwrap();
}

#[test]
fn what_waits_is_one_commit_and_is_told_in_order() {
    let (writer, commits, go) = held_up(Fake::default());
    let told = Told::default();
    let names: Vec<String> = (0..300).map(|number| number.to_string()).collect();
    for name in &names {
        submit(&writer, name, &told);
    }
    assert_eq!(writer.waiting(), 300);
    go.send(()).unwrap();
    writer.close();
    assert_eq!(*commits.lock().unwrap(), [&names[..GROUP], &names[GROUP..]]);
    let told = told.lock().unwrap();
    assert!(told.iter().all(|(_, result)| result.is_ok()));
    assert!(told.iter().map(|(name, _)| name).eq(&names));
}

#[test]
fn a_write_that_fails_takes_no_other_with_it() {
    let (writer, commits, go) = held_up(Fake::default());
    let told = Told::default();
    for name in ["a", "bad", "b"] {
        submit(&writer, name, &told);
    }
    go.send(()).unwrap();
    writer.close();
    assert_eq!(*commits.lock().unwrap(), [["a"], ["b"]]);
    let failed = Err(StoreError::Write("bad".to_owned()));
    let expected = [("a", Ok(())), ("bad", failed), ("b", Ok(()))];
    let expected = expected.map(|(name, result)| (name.to_owned(), result));
    assert_eq!(*told.lock().unwrap(), expected);
}

#[test]
fn a_store_that_panics_answers_everybody_and_is_not_asked_again() {
    let (writer, commits, go) = held_up(Fake::default());
    let told = Told::default();
    for name in ["a", "panic", "b"] {
        submit(&writer, name, &told);
    }
    let (say, said) = mpsc::channel();
    writer
        .access(move |store| say.send(store.is_err()).unwrap())
        .unwrap();
    let (say_gone, gone) = mpsc::channel();
    let before = Retention {
        ended: std::time::UNIX_EPOCH,
        recent: std::time::UNIX_EPOCH,
        places: std::time::UNIX_EPOCH,
        changes: std::time::UNIX_EPOCH,
    };
    writer
        .prune(before, move |result| say_gone.send(result).unwrap())
        .unwrap();
    go.send(()).unwrap();
    assert!(said.recv().unwrap());
    assert_eq!(gone.recv().unwrap(), Err(StoreError::Closed));
    writer.close();
    assert!(commits.lock().unwrap().is_empty());
    let closed = |name: &str| (name.to_owned(), Err(StoreError::Closed));
    assert_eq!(
        *told.lock().unwrap(),
        [closed("a"), closed("panic"), closed("b")]
    );
}

#[test]
fn a_thread_that_panics_beside_its_store_answers_everybody_and_says_so() {
    let (writer, commits, go) = held_up(Fake::default());
    let told = Told::default();
    let (done, is_done) = mpsc::channel::<()>();
    let waits = move |_| drop(done);
    writer
        .submit_if(used("a"), || panic!("as asked"), waits)
        .unwrap();
    go.send(()).unwrap();
    assert_eq!(is_done.recv(), Err(mpsc::RecvError));
    submit(&writer, "b", &told);
    writer.close();
    assert!(commits.lock().unwrap().is_empty());
    let closed = ("b".to_owned(), Err(StoreError::Closed));
    assert_eq!(*told.lock().unwrap(), [closed]);
    assert_eq!(*writer.health().borrow(), Some(StoreError::Closed));
}

#[test]
fn a_panic_of_one_who_is_told_is_his_own() {
    let (writer, commits, go) = held_up(Fake::default());
    let told = Told::default();
    writer.submit(used("a"), |_| panic!("as asked")).unwrap();
    submit(&writer, "b", &told);
    go.send(()).unwrap();
    writer.close();
    assert_eq!(*commits.lock().unwrap(), [["a", "b"]]);
    assert_eq!(*told.lock().unwrap(), [("b".to_owned(), Ok(()))]);
}

#[test]
fn access_sees_what_was_submitted_before() {
    let (writer, commits, go) = held_up(Fake::default());
    let told = Told::default();
    submit(&writer, "a", &told);
    let (say, said) = mpsc::channel();
    let seen = Arc::clone(&commits);
    writer
        .access(move |_| say.send(seen.lock().unwrap().clone()).unwrap())
        .unwrap();
    submit(&writer, "b", &told);
    go.send(()).unwrap();
    assert_eq!(said.recv().unwrap(), [["a"]]);
    writer.close();
    assert_eq!(*commits.lock().unwrap(), [["a"], ["b"]]);
}

#[test]
fn pruning_goes_on_until_nothing_is_left_and_lets_others_write() {
    let fake = Fake {
        prunes_left: 3,
        ..Fake::default()
    };
    let (writer, commits, go) = held_up(fake);
    let before = Retention {
        ended: std::time::UNIX_EPOCH,
        recent: std::time::UNIX_EPOCH,
        places: std::time::UNIX_EPOCH,
        changes: std::time::UNIX_EPOCH,
    };
    let (say, said) = mpsc::channel();
    let so_far = Arc::clone(&commits);
    let done = move |result: Result<Pruned, StoreError>| {
        let written_before = so_far.lock().unwrap().len();
        say.send((result.unwrap(), written_before)).unwrap();
    };
    writer.prune(before, done).unwrap();
    submit(&writer, "a", &Told::default());
    go.send(()).unwrap();
    let steps: Vec<(Pruned, usize)> = said.iter().take(3).collect();
    let removed: Vec<&str> = steps.iter().map(|(it, _)| it.tasks[0].as_str()).collect();
    assert_eq!(removed, ["2", "1", "0"], "each step is told by itself");
    let partial: Vec<bool> = steps.iter().map(|(it, _)| it.is_partial).collect();
    assert_eq!(partial, [true, true, false]);
    assert_eq!(steps[0].1, 0, "before anything else is written");
    assert_eq!(steps[2].1, 1, "the write did not wait for the last step");
}

#[test]
fn what_nobody_waits_for_holds_nobody_up() {
    let (writer, commits, go) = held_up(Fake::default());
    let told = Told::default();
    let slow: Vec<StoreWrite> = (0..2 * BEHIND + 1).flat_map(|_| used("slow")).collect();
    let done = Arc::clone(&told);
    writer
        .submit_behind(slow, move |result| {
            done.lock().unwrap().push(("slow".to_owned(), result));
        })
        .unwrap();
    // Comes later, is written earlier, and does not hold up the slow ones for ever either.
    for number in 0..=GROUP {
        submit(&writer, &number.to_string(), &told);
    }
    go.send(()).unwrap();
    writer.close();
    let commits = commits.lock().unwrap();
    let sizes: Vec<(bool, usize)> = commits
        .iter()
        .map(|names| (names[0] == "slow", names.len()))
        .collect();
    let expected = [
        (false, GROUP),
        (true, BEHIND),
        (false, 1),
        (true, BEHIND),
        (true, 1),
    ];
    assert_eq!(sizes, expected);
    let told = told.lock().unwrap();
    assert_eq!(told.last(), Some(&("slow".to_owned(), Ok(()))));
}

#[test]
fn what_is_written_behind_is_told_its_first_error_and_goes_on() {
    let (writer, commits, go) = held_up(Fake::default());
    let told = Told::default();
    let mut writes = used("bad");
    writes.extend((0..BEHIND).flat_map(|_| used("good")));
    let done = Arc::clone(&told);
    writer
        .submit_behind(writes, move |result| {
            done.lock().unwrap().push((String::new(), result));
        })
        .unwrap();
    for _ in 1..BEHIND_WAITING {
        writer.submit_behind(Vec::new(), |_| {}).unwrap();
    }
    let refused = writer.submit_behind(Vec::new(), |_| panic!("never told"));
    assert_eq!(refused, Err(StoreError::Busy));
    go.send(()).unwrap();
    writer.close();
    assert_eq!(*commits.lock().unwrap(), [["good"]]);
    let failed = Err(StoreError::Write("bad".to_owned()));
    assert_eq!(*told.lock().unwrap(), [(String::new(), failed)]);
    let refused = writer.submit_behind(Vec::new(), |_| panic!("never told"));
    assert_eq!(refused, Err(StoreError::Closed));
}

#[test]
fn a_full_or_closed_writer_refuses() {
    let (writer, _, go) = held_up(Fake::default());
    for _ in 0..WAITING {
        writer.submit(Vec::new(), |_| {}).unwrap();
    }
    let refused = writer.submit(Vec::new(), |_| panic!("never told"));
    assert_eq!(refused, Err(StoreError::Busy));
    go.send(()).unwrap();
    writer.close();
    let refused = writer.submit(Vec::new(), |_| panic!("never told"));
    assert_eq!(refused, Err(StoreError::Closed));
    writer.close();
}

#[test]
fn a_writer_that_is_closed_from_its_own_thread_does_not_wait_for_itself() {
    let writer = Arc::new(Writer::start(Box::new(Fake::default())).unwrap());
    let (say, said) = mpsc::channel();
    let own = Arc::clone(&writer);
    let done = move |_| {
        own.close();
        say.send(()).unwrap();
    };
    writer.submit(used("a"), done).unwrap();
    said.recv().unwrap();
}

#[test]
fn what_was_planned_on_a_write_that_failed_is_not_written() {
    let (writer, commits, go) = held_up(Fake::default());
    let told = Told::default();
    let has_failed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    for id in ["a", "bad", "after bad"] {
        let (failed, told) = (Arc::clone(&has_failed), Arc::clone(&told));
        let is_current = {
            let failed = Arc::clone(&has_failed);
            move || !failed.load(std::sync::atomic::Ordering::SeqCst)
        };
        let done = move |result: Result<(), StoreError>| {
            if result.is_err() {
                failed.store(true, std::sync::atomic::Ordering::SeqCst);
            }
            told.lock().unwrap().push((id.to_owned(), result));
        };
        writer.submit_if(used(id), is_current, done).unwrap();
    }
    go.send(()).unwrap();
    writer.close();
    assert_eq!(*commits.lock().unwrap(), [["a"]]);
    let told = told.lock().unwrap();
    let outdated = StoreError::OutOfOrder { last: 0, found: 0 };
    assert_eq!(told[2], ("after bad".to_owned(), Err(outdated)));
}

#[test]
fn reading_divides_no_commit_and_sees_what_was_submitted_before() {
    let (writer, commits, go) = held_up(Fake::default());
    let told = Told::default();
    submit(&writer, "a", &told);
    let (say, said) = mpsc::channel();
    let so_far = Arc::clone(&commits);
    writer
        .read(move |store| {
            assert!(store.is_ok());
            say.send(so_far.lock().unwrap().clone()).unwrap();
        })
        .unwrap();
    submit(&writer, "b", &told);
    go.send(()).unwrap();
    assert_eq!(said.recv().unwrap(), [["a", "b"]]);
}
