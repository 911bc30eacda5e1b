//! A server that is killed under load has every decision on record that it has answered, as its mode promises.
//!
//! `CALLGATE_CRASHES` sets how often it is killed in each mode (default 2).

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callgate::audit::record::schema::notice::Kind;
use tokio::runtime::Runtime;

use crate::audit::log_reading::{Contents, directory};
use crate::evidence::witness::Witness;
use crate::hold::faults::delegate;
use crate::store::crash::company::{self, Doors, in_session, is_gone};
use crate::store::crash::load::Dice;
use crate::support::process::{Bundle, Server};

const CLIENTS: usize = 8;
/// A server that serves is killed within this time.
const LIFE_MILLIS: u64 = 400;

/// What clients were told.
#[derive(Default)]
struct Acknowledged {
    decisions: Mutex<HashSet<String>>,
    writes: Mutex<HashSet<String>>,
    is_dead: AtomicBool,
}

impl Acknowledged {
    /// Calls, and now and then changes something, until the server is gone.
    async fn work(self: Arc<Self>, mut doors: Doors, client: usize) {
        for count in 0.. {
            let told = if count % 50 == 10 {
                delegate(&mut doors).await.map(|id| (&self.writes, id))
            } else {
                let session = format!("session {client} {}", count % 7);
                let answer = doors.decide(in_session("mail/list", &session)).await;
                answer.map(|answer| (&self.decisions, answer.decision_id))
            };
            match told {
                Ok((of, id)) => {
                    of.lock().unwrap().insert(id);
                }
                Err(status) => {
                    let is_dead = self.is_dead.load(Ordering::SeqCst);
                    assert!(is_dead && is_gone(&status), "{status:?}");
                    return;
                }
            }
        }
    }
}

fn live_and_die(bundle: &Bundle, told: &Arc<Acknowledged>, dice: &mut Dice) {
    let server = Server::start(bundle, &[]);
    told.is_dead.store(false, Ordering::SeqCst);
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..CLIENTS {
            let doors = Doors::of(&server).await;
            clients.spawn(Arc::clone(told).work(doors, client));
        }
        tokio::time::sleep(Duration::from_millis(100 + dice.below(LIFE_MILLIS))).await;
        told.is_dead.store(true, Ordering::SeqCst);
        drop(server);
        while let Some(done) = clients.join_next().await {
            done.unwrap();
        }
    });
}

fn crashes() -> u64 {
    let text = std::env::var("CALLGATE_CRASHES").ok();
    text.map_or(2, |text| text.parse().expect("a number"))
}

/// Kills servers on one log, and gives what was acknowledged and what is on record.
fn killed(mode: &str) -> (Arc<Acknowledged>, Contents) {
    let bundle = company::bundle();
    bundle.file(
        "callgate.toml",
        &format!("[audit]\nmode = \"{mode}\"\nsegment_mib = 1\n"),
    );
    let mut dice = Dice(getrandom::u64().unwrap());
    let told = Arc::new(Acknowledged::default());
    // The tree is consistent with every checkpoint that anybody saw, whenever the server was killed.
    let mut witness = Witness::default();
    for _ in 0..crashes() {
        live_and_die(&bundle, &told, &mut dice);
        witness.look(&directory(&bundle));
    }
    let (status, log) = Server::start(&bundle, &[]).stop();
    assert!(status.success(), "{log}");
    let report = witness.look(&directory(&bundle));
    assert_eq!(report.uncovered, 0, "a clean stop signs everything");
    let contents = Contents::read(&directory(&bundle));
    assert_eq!(contents.lost, []);
    assert_eq!(contents.told(Kind::Lost), Vec::<&_>::new());
    let starts = contents.told(Kind::Start).len() as u64;
    assert_eq!(starts, crashes() + 1, "a start is synced with its log line");
    assert_eq!(contents.told(Kind::Stop).len(), 1);
    (told, contents)
}

fn all_that_was_acknowledged_is_on_record(mode: &str) {
    let (told, contents) = killed(mode);
    let decisions = told.decisions.lock().unwrap();
    let writes = told.writes.lock().unwrap();
    assert!(decisions.len() > 20, "there was no load");
    for id in decisions.iter() {
        contents.decision(id);
    }
    let recorded: HashSet<&str> = contents.writes.iter().map(|it| it.id.as_str()).collect();
    for id in writes.iter() {
        assert!(recorded.contains(id.as_str()), "{id} is not on record");
    }
    println!(
        "{mode}: {} kills, {} decisions and {} writes acknowledged, {} records",
        crashes(),
        decisions.len(),
        writes.len(),
        contents.next
    );
}

#[test]
fn what_was_answered_is_on_record_after_kill_9() {
    all_that_was_acknowledged_is_on_record("written");
}

#[test]
fn what_was_answered_is_on_record_after_kill_9_with_each_record_synced() {
    all_that_was_acknowledged_is_on_record("synced");
}

/// Nothing is promised but that what is there can be read, and that what is missing is the end of a life.
#[test]
fn an_asynchronous_log_is_whole_up_to_what_waited_at_kill_9() {
    let (told, contents) = killed("async");
    let decisions = told.decisions.lock().unwrap();
    let missing = decisions
        .iter()
        .filter(|id| !contents.decisions.contains_key(*id));
    let missing = missing.count() as u64;
    assert_eq!(contents.told(Kind::Dropped), Vec::<&_>::new());
    assert!(
        missing < 200 * crashes(),
        "{missing} of {}",
        decisions.len()
    );
}

/// The last file of records.
fn last_segment(bundle: &Bundle) -> std::path::PathBuf {
    let files = std::fs::read_dir(directory(bundle).join("segments")).unwrap();
    let paths = files.map(|it| it.unwrap().path());
    paths.max().expect("a file")
}

#[test]
fn a_start_that_is_refused_leaves_the_records_as_they_are() {
    let bundle = company::bundle();
    drop(Server::start(&bundle, &[]));
    let last = last_segment(&bundle);
    let mut torn = std::fs::read(&last).unwrap();
    torn.extend([200, 0, 0, 0, 1, 2, 3]);
    std::fs::write(&last, &torn).unwrap();
    bundle.file(
        "callgate.toml",
        "[audit]\norigin = \"log.elsewhere.example\"\n",
    );
    let serve = ["serve", "--without-callers", "--listen", "127.0.0.1:0"];
    let output = bundle.run(&serve);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the configured origin is `log.elsewhere.example`"),
        "{said}"
    );
    assert_eq!(std::fs::read(&last).unwrap(), torn, "nothing is cut off");
    bundle.file("callgate.toml", "");
    let (status, log) = Server::start(&bundle, &[]).stop();
    assert!(status.success(), "{log}");
    let contents = Contents::read(&directory(&bundle));
    assert_eq!(contents.told(Kind::RepairedTail).len(), 1);
    assert_eq!(contents.lost, []);
}
