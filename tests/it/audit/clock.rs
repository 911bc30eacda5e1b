//! A wall clock that jumps both ways, under load: every allow that was answered is on record, in order, and nothing is removed.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use callgate::audit::record::schema::Verdict;
use callgate::audit::record::schema::notice::Kind;
use tokio::runtime::Runtime;

use crate::audit::log_reading::{Contents, directory};
use crate::evidence::witness::Witness;
use crate::store::crash::company::{self, Doors, in_session, is_allow};
use crate::support::process::Server;

/// Lets a process believe in another time.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
const CLIENTS: usize = 4;
/// How far the clock is off, in seconds: years ahead, beyond what the log keeps; back behind the start; and the moment before.
const JUMPS: [i64; 8] = [
    3_600,
    -3_600,
    400 * 86_400,
    0,
    -30 * 86_400,
    5,
    800 * 86_400,
    -1,
];

/// What clients were told: the ids of all decisions, and of those that allow.
#[derive(Default)]
struct Told {
    decisions: HashSet<String>,
    allows: HashSet<String>,
}

async fn work(doors: Doors, client: usize, is_over: Arc<AtomicBool>) -> Told {
    let mut told = Told::default();
    for count in 0.. {
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        let session = format!("session {client} {}", count % 7);
        let answer = doors.decide(in_session("mail/list", &session)).await;
        let answer = answer.expect("an answer, whatever the clock says");
        if is_allow(&answer) {
            told.allows.insert(answer.decision_id.clone());
        }
        told.decisions.insert(answer.decision_id);
    }
    told
}

#[test]
#[ignore = "needs libfaketime"]
fn every_allow_is_on_record_whatever_the_clock_does() {
    assert!(Path::new(FAKETIME).exists(), "{FAKETIME}");
    let bundle = company::bundle();
    bundle.file(
        "callgate.toml",
        "[audit]\nsegment_mib = 1\nkeep_days = 1\nkeep_capsules_days = 1\n",
    );
    let clock = bundle.folder().join("clock");
    let jump = |seconds: i64| fs::write(&clock, format!("{seconds:+}")).expect("the clock");
    jump(0);
    let variables = [
        ("LD_PRELOAD", FAKETIME),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().expect("a path")),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        // Times of files are those that the disk has.
        ("NO_FAKE_STAT", "1"),
    ];
    let server = Server::start(&bundle, &variables);
    let is_over = Arc::new(AtomicBool::new(false));
    let told = Runtime::new().expect("a runtime").block_on(async {
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..CLIENTS {
            let doors = Doors::of(&server).await;
            clients.spawn(work(doors, client, Arc::clone(&is_over)));
        }
        for seconds in JUMPS {
            jump(seconds);
            // Beyond the interval in which closed files are looked at, all jumps together.
            tokio::time::sleep(Duration::from_millis(1_500)).await;
        }
        is_over.store(true, Ordering::SeqCst);
        let mut all = Told::default();
        while let Some(one) = clients.join_next().await {
            let one = one.expect("no client fails");
            all.decisions.extend(one.decisions);
            all.allows.extend(one.allows);
        }
        all
    });
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
    assert!(told.decisions.len() > 100, "there was no load");
    assert!(!told.allows.is_empty(), "nothing was allowed");

    let mut witness = Witness::default();
    let report = witness.look(&directory(&bundle));
    assert_eq!(report.uncovered, 0, "a clean stop signs everything");
    let contents = Contents::read(&directory(&bundle));
    assert_eq!(contents.lost, []);
    for kind in [Kind::Lost, Kind::Dropped, Kind::Degraded, Kind::Removed] {
        assert_eq!(contents.told(kind), Vec::<&_>::new(), "{kind:?}");
    }
    for id in &told.decisions {
        let record = contents.decision(id);
        let is_allow = record.verdict() == Verdict::Allow;
        assert_eq!(is_allow, told.allows.contains(id), "{id}");
    }
    println!(
        "{} decisions, {} allows, {} unrecorded",
        told.decisions.len(),
        told.allows.len(),
        told.allows
            .iter()
            .filter(|id| !contents.decisions.contains_key(*id))
            .count()
    );
}
