//! Three servers on one database, while they are cut off, paused, killed and led to another primary.
//!
//! Start at [`nothing_acknowledged_is_undone_whatever_happens_to_replicas`]. [`history`] says what must not happen,
//! [`run`] makes it likely, with those who write under keys ([`keyed`]), [`proxy`] stands between a server and its database; [`mutations`] are weaker
//! protocols that [`history`] has to find fault with. `CALLGATE_SEED` repeats a run,
//! `CALLGATE_FLEET_RUNS` says how many there are, `CALLGATE_MUTATION` which weaker protocols are tried: those whose
//! description has it.

mod database;
mod history;
mod keyed;
mod mutations;
pub mod proxy;
mod run;

use std::path::Path;
use std::process::Command;

use crate::fleet::run::Fleet;
use crate::support::postgres::Cluster;

/// How many runs, unless the environment says otherwise.
const RUNS: u64 = 5;
/// How many runs a mutation of the protocol has to be found in.
const MUTATION_RUNS: u64 = 40;

fn from_environment(name: &str) -> Option<u64> {
    let given = std::env::var(name).ok()?;
    Some(given.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL"]
async fn nothing_acknowledged_is_undone_whatever_happens_to_replicas() {
    let cluster = Cluster::start();
    let mut fleet = Fleet::start(&cluster, "history").await;
    let first = from_environment("CALLGATE_SEED");
    let runs = first.map_or(
        from_environment("CALLGATE_FLEET_RUNS").unwrap_or(RUNS),
        |_| 1,
    );
    let first = first.unwrap_or(1);
    let mut failed = Vec::new();
    for seed in first..first + runs {
        let (told, violations) = fleet.run(seed).await;
        println!("CALLGATE_SEED={seed}: {told}");
        if !violations.is_empty() {
            println!("  {}", violations.join("\n  "));
            failed.push((seed, violations));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The history of each mutation has something in it that must not happen: so the checker would see it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL and a long time"]
async fn the_checker_sees_what_a_weaker_protocol_allows() {
    let cluster = Cluster::start();
    let only = std::env::var("CALLGATE_MUTATION").unwrap_or_default();
    let mut unseen = Vec::new();
    for (number, mutation) in mutations::ALL.iter().enumerate() {
        let what = mutation.what;
        if !what.contains(&only) {
            continue;
        }
        let database = format!("mutation_{number}");
        cluster.create(&database);
        run::migrate(&cluster.url(&database));
        mutation.apply(&cluster, &database);
        let mut fleet = Fleet::start(&cluster, &database).await;
        if let Some(faults) = mutation.faults {
            (fleet.window, fleet.longest_fault) = faults;
        }
        let mut seen = None;
        for seed in 1..=MUTATION_RUNS {
            let (_, violations) = fleet.run(seed).await;
            if let Some(first) = violations.first() {
                seen = Some((seed, first.clone()));
                break;
            }
        }
        println!("{what}: {seen:?}");
        if seen.is_none() {
            unseen.push(what);
        }
    }
    assert!(unseen.is_empty(), "not seen: {unseen:?}");
}

/// A standby that follows synchronously is promoted: nothing that was acknowledged is lost, and what the servers know is
/// loaded again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL"]
async fn what_was_acknowledged_is_kept_when_a_standby_is_promoted() {
    let mut primary = Cluster::start();
    let standby = primary.standby(&["fsync=off", "hot_standby=on"]);
    primary
        .query("ALTER SYSTEM SET synchronous_standby_names = '*'")
        .unwrap();
    primary.query("SELECT pg_reload_conf()").unwrap();
    let mut fleet = Fleet::start(&primary, "failover").await;
    let (told, violations) = fleet
        .run_and(11, || {
            primary.kill();
            standby.promote();
            standby
                .query("ALTER SYSTEM RESET synchronous_standby_names")
                .unwrap();
            standby.query("SELECT pg_reload_conf()").unwrap();
            standby.port()
        })
        .await;
    println!("{told}");
    assert!(violations.is_empty(), "{violations:#?}");
    for log in fleet.logs() {
        assert!(
            log.contains("the database is another one, or has lost something"),
            "{log}"
        );
    }
}

/// `callgate fleet status` says who is there, also when one is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL"]
async fn the_status_of_a_fleet_tells_who_lags() {
    let cluster = Cluster::start();
    let fleet = Fleet::start(&cluster, "status").await;
    let ask_of = |database: &str, more: &[&str]| {
        let said = Command::new(env!("CARGO_BIN_EXE_callgate"))
            .args(["fleet", "status", "--state", &cluster.url(database)])
            .args(more)
            .current_dir(Path::new("/"))
            .output()
            .unwrap();
        let text = String::from_utf8([said.stdout, said.stderr].concat()).unwrap();
        (said.status.code(), text)
    };
    let ask = || ask_of("status", &[]);
    let (code, text) = ask();
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.matches(", 0 behind").count(), 3, "{text}");
    assert_eq!(ask_of("status", &["--expect", "3"]).0, Some(0));
    assert_eq!(ask_of("status", &["--expect", "4"]).0, Some(1));
    cluster.create("unused");
    let (code, text) = ask_of("unused", &[]);
    assert_eq!(code, Some(1));
    assert!(
        text.contains("no Callgate has used this database yet"),
        "{text}"
    );
    fleet.signal(1, "-STOP");
    let late = (0..100).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        let (code, text) = ask();
        (code == Some(1)).then_some(text)
    });
    fleet.signal(1, "-CONT");
    println!("{}", late.expect("it is told"));
}
