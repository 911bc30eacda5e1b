//! A store whose files are damaged: while the server runs, between two runs, and at random.
//!
//! Either the server says so, or everything that it acknowledged holds.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use callgate::proto::v1;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::store::crash::company::{Doors, actor, agent, in_session, moment_in, scope, user, why};
use crate::store::crash::load::Dice;
use crate::support::process::{Bundle, Server, endpoint};

/// How soon damage has to be noticed.
const SOON: Duration = Duration::from_millis(1_500);

fn file(bundle: &Bundle, more: &str) -> PathBuf {
    bundle.folder().join(format!("callgate.db{more}"))
}

fn cut(path: &Path) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

/// What is done to the files of a store, and how that is called.
type Damage = (&'static str, fn(&Bundle));

const DAMAGES: [Damage; 5] = [
    ("the file is removed", |bundle| {
        fs::remove_file(file(bundle, "")).unwrap();
    }),
    ("its log is removed", |bundle| {
        fs::remove_file(file(bundle, "-wal")).unwrap();
    }),
    ("the file is cut", |bundle| cut(&file(bundle, ""))),
    ("its log is cut", |bundle| cut(&file(bundle, "-wal"))),
    ("all is removed but the marker", |bundle| {
        fs::remove_file(file(bundle, "")).unwrap();
        fs::remove_file(file(bundle, "-wal")).unwrap();
    }),
];

async fn end(doors: &mut Doors, session: &str) -> Result<bool, Status> {
    let request = v1::EndSessionRequest {
        actor: actor(user("ana")),
        session_id: session.into(),
        ..Default::default()
    };
    let ended = doors.control.end_session(request).await?;
    Ok(!ended.into_inner().not_durable)
}

async fn delegate(doors: &mut Doors) -> Result<(), Status> {
    let request = v1::GrantDelegationRequest {
        actor: actor(user("ana")),
        to: Some(agent("one")),
        scope: Some(scope(&["mail/list"], v1::AccessLevel::Read)),
        expires_at: Some(moment_in(3_600)),
        ..Default::default()
    };
    doors.control.grant_delegation(request).await.map(|_| ())
}

async fn is_over(doors: &Doors, session: &str) -> bool {
    let answer = doors.probe(in_session("mail/list", session)).await;
    why(&answer) == v1::ReasonCode::SessionEnded
}

/// Starts a server that may refuse, and gives what it says then.
fn start(bundle: &Bundle) -> Result<Server, String> {
    let started = std::panic::catch_unwind(|| Server::start(bundle, &[]));
    started.map_err(|_| fs::read_to_string(bundle.folder().join("server.log")).unwrap())
}

#[test]
fn damage_is_noticed_within_a_second_and_told_at_the_next_start() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (what, damage) in DAMAGES {
        let bundle = crate::store::crash::company::bundle();
        let server = Server::start(&bundle, &[]);
        runtime.block_on(async {
            let mut doors = Doors::of(&server).await;
            assert!(end(&mut doors, "before").await.unwrap());
            damage(&bundle);
            let begun = Instant::now();
            loop {
                let status = doors.control.get_status(v1::GetStatusRequest {}).await;
                let fault = status.unwrap().into_inner().store_fault;
                if fault.contains("STORE_LOST") {
                    break;
                }
                assert!(begun.elapsed() < SOON, "{what}: not noticed: {fault}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let refused = delegate(&mut doors).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unavailable, "{what}");
            assert!(refused.message().contains("STORE_LOST"), "{refused:?}");
            // What has to be written before an answer is denied.
            let read = doors.decide(in_session("files/read", "other")).await;
            assert_eq!(
                why(&read.unwrap()),
                v1::ReasonCode::StoreUnavailable,
                "{what}"
            );
            // What is taken away takes force, and is said not to last.
            assert!(!end(&mut doors, "after").await.unwrap(), "{what}");
            for session in ["before", "after"] {
                assert!(is_over(&doors, session).await, "{what}");
            }
            let health = format!("http://{}", server.target());
            let channel = endpoint(health);
            let mut health = HealthClient::new(channel.connect().await.unwrap());
            let request = HealthCheckRequest {
                service: "callgate.store".into(),
            };
            // It follows the fault, told by a task of its own.
            let begun = Instant::now();
            loop {
                let told = health.check(request.clone()).await.unwrap().into_inner();
                if told.status() == ServingStatus::NotServing {
                    break;
                }
                assert!(begun.elapsed() < SOON, "{what}: {told:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        assert!(server.log().contains("STORE_LOST"), "{what}");
        drop(server);
        match start(&bundle) {
            Err(said) => assert!(
                said.contains("--new-store") || said.contains("damaged"),
                "{what}: {said}"
            ),
            // Where the log still has all of it, nothing is lost.
            Ok(server) => runtime.block_on(async {
                assert!(is_over(&Doors::of(&server).await, "before").await, "{what}");
            }),
        }
    }
}

#[test]
fn a_new_store_begins_only_where_that_is_said() {
    let bundle = crate::store::crash::company::bundle();
    let (status, log) = Server::start(&bundle, &[]).stop();
    assert!(status.success());
    assert!(log.contains("a new one begins"), "{log}");
    fs::remove_file(file(&bundle, "")).unwrap();
    let said = start(&bundle).map(|_| ()).unwrap_err();
    assert!(said.contains("says that there was one"), "{said}");
    let output = bundle.run(&[
        "serve",
        "--without-callers",
        "--new-store",
        "--store-as-it-is",
    ]);
    assert!(!output.status.success(), "one or the other");
}

/// `CALLGATE_CRASHES` sets how often the server is killed (default 6); two of three times something is damaged.
#[test]
fn nothing_that_was_ended_comes_back_without_a_word() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap())
    };
    let kills = number("CALLGATE_CRASHES").unwrap_or(6);
    let seed = number("CALLGATE_CRASH_SEED").unwrap_or_else(|| getrandom::u64().unwrap());
    println!("CALLGATE_CRASH_SEED={seed}");
    let mut dice = Dice(seed);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut bundle = crate::store::crash::company::bundle();
    let mut ended: Vec<String> = Vec::new();
    let (mut told, mut held) = (0, 0);
    for kill in 0..kills {
        let server = match start(&bundle) {
            Ok(server) => server,
            Err(said) => {
                assert!(
                    [
                        "STORE_LOST",
                        "--new-store",
                        "damaged",
                        "cannot be opened",
                        "fault:"
                    ]
                    .iter()
                    .any(|part| said.contains(part)),
                    "{said}"
                );
                told += 1;
                bundle = crate::store::crash::company::bundle();
                ended.clear();
                Server::start(&bundle, &[])
            }
        };
        let is_damaged = kill % 3 != 0;
        let is_while_it_runs = dice.below(2) == 0;
        let damage = dice.below(DAMAGES.len() as u64 + 1) as usize;
        let harm = || match DAMAGES.get(damage) {
            Some((_, damage)) => damage(&bundle),
            None => drop(bundle.file("policies.cedar", "permit (")),
        };
        runtime.block_on(async {
            let mut doors = Doors::of(&server).await;
            for session in &ended {
                assert!(is_over(&doors, session).await, "{session} came back");
            }
            held += ended.len();
            let count = 1 + dice.below(40);
            for step in 0..count {
                if is_damaged && is_while_it_runs && step == count / 2 {
                    harm();
                }
                let session = format!("{kill}-{step}");
                if end(&mut doors, &session).await.unwrap() {
                    ended.push(session.clone());
                }
                assert!(is_over(&doors, &session).await);
            }
        });
        drop(server);
        if is_damaged && !is_while_it_runs {
            harm();
        }
    }
    println!("{kills} kills: {held} endings held, {told} losses told");
}
