//! A server that is killed at any moment has kept every promise that it made.
//!
//! The real program over a real file, with clients that change, call and watch. After each `kill -9` it
//! is started again on the same file, and everything that was acknowledged is looked for: see [`audit`].
//! Start at [`live_and_die`].
//!
//! `CALLGATE_CRASHES` sets how often it is killed (default 5), `CALLGATE_CRASH_SEED` which numbers are
//! thrown.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use callgate::proto::v1;
use tokio::runtime::Runtime;

use crate::store::crash::book::Book;
use crate::store::crash::company::Doors;
use crate::store::crash::load::{Client, Dice};
use crate::support::process::{Bundle, Server};

mod audit;
mod book;
mod carriers;
pub mod company;
pub mod load;

/// Clients at once.
const CLIENTS: usize = 8;
/// Kills on one file, before the next begins with a new one.
const KILLS_OF_A_FILE: u64 = 10;
/// A server that serves is killed within this time.
const LIFE_MILLIS: u64 = 300;
/// One in so many servers is killed while it starts, within this time.
const STILLBORN: u64 = 6;
const BIRTH_MILLIS: u64 = 400;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number")),
    )
}

#[test]
fn whatever_was_acknowledged_survives_kill_9() {
    let kills = variable("CALLGATE_CRASHES").unwrap_or(5);
    let seed = variable("CALLGATE_CRASH_SEED").unwrap_or_else(|| getrandom::u64().unwrap());
    println!("CALLGATE_CRASH_SEED={seed}");
    let begun = Instant::now();
    let mut dice = Dice(seed);
    let mut left = kills;
    let (mut answers, mut changes, mut ended) = (0, 0, 0);
    while left > 0 {
        let now = left.min(KILLS_OF_A_FILE);
        left -= now;
        let book = live_and_die(now, &mut dice);
        answers += book.answers;
        changes += book.changes.len();
        ended += book.ended();
        assert!(book.allows > 0 && book.ended() > 0, "there was no load");
    }
    println!(
        "{kills} kills in {:.0?}: {answers} answers, {changes} changes, {ended} things that ended or \
         were used, none lost",
        begun.elapsed()
    );
}

/// One file: so many servers on it are killed, and each one is checked by the next.
fn live_and_die(kills: u64, dice: &mut Dice) -> Book {
    let bundle = company::bundle();
    let runtime = Runtime::new().unwrap();
    let book = Arc::new(Mutex::new(Book::default()));
    let mut checked = 0;
    for _ in 0..kills {
        if dice.below(STILLBORN) == 0 {
            let mut process = company::spawn(&bundle);
            std::thread::sleep(Duration::from_millis(dice.below(BIRTH_MILLIS)));
            process.kill().unwrap();
            process.wait().unwrap();
            book.lock().unwrap().crash();
            continue;
        }
        checked = runtime.block_on(live(&bundle, &book, checked, dice));
    }
    let server = Server::start(&bundle, &[]);
    runtime.block_on(async {
        let mut doors = Doors::of(&server).await;
        audit::check(&mut doors, &book, 0).await;
        audit::drain(&doors, &book).await;
    });
    drop(server);
    drop(runtime);
    std::mem::take(&mut *book.lock().unwrap())
}

/// One life of a server: it is checked, used and killed. Returns how far its changes were checked.
async fn live(bundle: &Bundle, book: &Arc<Mutex<Book>>, checked: u64, dice: &mut Dice) -> u64 {
    let server = tokio::task::block_in_place(|| Server::start(bundle, &[]));
    let mut doors = Doors::of(&server).await;
    let checked = audit::check(&mut doors, book, checked).await;
    book.lock().unwrap().is_dead = false;
    let mut clients = tokio::task::JoinSet::new();
    for owner in 0..CLIENTS {
        let client = Client {
            owner,
            doors: Doors::of(&server).await,
            book: Arc::clone(book),
            dice: Dice(dice.roll()),
        };
        clients.spawn(client.work());
    }
    clients.spawn(watch(doors, Arc::clone(book)));
    tokio::time::sleep(Duration::from_millis(dice.below(LIFE_MILLIS))).await;
    book.lock().unwrap().is_dead = true;
    drop(server);
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    book.lock().unwrap().crash();
    checked
}

/// Follows the changes until the server is gone. What was told must not be lost either.
async fn watch(mut doors: Doors, book: Arc<Mutex<Book>>) {
    let mut last = book.lock().unwrap().newest;
    let request = v1::WatchChangesRequest {
        after_revision: last,
    };
    let Ok(told) = doors.control.watch_changes(request).await else {
        return;
    };
    let mut told = told.into_inner();
    while let Ok(Some(change)) = told.message().await {
        assert_eq!(change.revision, last + 1, "a gap");
        last = change.revision;
        audit::note(&mut book.lock().unwrap(), &change);
    }
}

/// Runs `callgate serve` to its end, which must be an error, and gives what it says.
fn refused(bundle: &Bundle, options: &[&str]) -> String {
    let mut arguments = vec!["serve", "--without-callers", "--listen", "127.0.0.1:0"];
    arguments.extend(options);
    let output = bundle.run(&arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

#[test]
fn a_file_belongs_to_one_server_at_a_time() {
    let bundle = company::bundle();
    let server = Server::start(&bundle, &[]);
    let said = refused(&bundle, &[]);
    let expected = "callgate.db cannot be opened: another process has it open; a store belongs to one \
                    server at a time";
    assert!(said.contains(expected), "{said}");
    drop(server);
    let (status, log) = Server::start(&bundle, &[]).stop();
    assert!(status.success(), "{log}");
}

#[test]
fn a_file_of_a_newer_program_is_left_alone() {
    let bundle = company::bundle();
    let (status, log) = Server::start(&bundle, &[]).stop();
    assert!(status.success(), "{log}");
    let file = bundle.folder().join("callgate.db");
    let newer = rusqlite::Connection::open(&file).unwrap();
    newer.pragma_update(None, "user_version", 4_711).unwrap();
    drop(newer);
    let before = std::fs::read(&file).unwrap();
    let said = refused(&bundle, &[]);
    assert!(
        said.contains("has version 4711; this program knows versions up to"),
        "{said}"
    );
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn a_file_that_cannot_be_is_named() {
    let bundle = company::bundle();
    let said = refused(&bundle, &["--state", "absent/state.db"]);
    let expected = "the store absent/state.db cannot be opened: No such file or directory";
    assert!(said.contains(expected), "{said}");
    bundle.file("../text.db", &"this is no database\n".repeat(100));
    let said = refused(&bundle, &["--state", "text.db"]);
    assert!(
        said.contains("text.db cannot be opened: it is not a SQLite database"),
        "{said}"
    );
}
