//! What the system below a server may do to it while it loads and writes: a file whose reading never ends, watches that are
//! not to be had, a sync that fails, a process that is killed while it compiles.
//!
//! The faults are those of `faults/faults.c`, a library that is loaded before the C library.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value as Json;

use crate::audit::log_reading::Contents;
use crate::store::crash::company::{
    Doors, actor, agent, by_delegation, in_session, is_allow, moment_in, scope, user,
};
use crate::support::process::{Bundle, Server, wait_for};
use callgate::proto::v1;

const FORBID: &str = "@id(\"kill-switch\") forbid (principal, action, resource);\n";

/// Faults that can be switched on and off.
struct Faults {
    folder: tempfile::TempDir,
}

impl Faults {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = "tests/it/hold/faults/faults.c";
        let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(source);
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(folder.path().join("faults.so"))
            .arg(source)
            .arg("-ldl")
            .status()
            .unwrap();
        assert!(built.success());
        Self { folder }
    }

    fn set(&self, fault: &str, is_there: bool) {
        let path = self.folder.path().join(fault);
        match is_there {
            true => fs::write(path, "").unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
    }

    fn server(&self, bundle: &Bundle) -> Server {
        let folder = self.folder.path().to_str().unwrap();
        let library = format!("{folder}/faults.so");
        Server::start(bundle, &[("LD_PRELOAD", &library), ("FAULTS", folder)])
    }
}

fn with_settings(bundle: Bundle, settings: &str) -> Bundle {
    let config = bundle.policies().join("callgate.toml");
    let before = fs::read_to_string(&config).unwrap_or_default();
    bundle.file("callgate.toml", &format!("{before}\n{settings}"));
    bundle
}

/// What `callgate status` says of the directory.
fn directory(bundle: &Bundle, server: &Server) -> Json {
    let endpoint = format!("http://{}", server.target());
    let output = bundle.run(&["status", "--output", "json", "--endpoint", &endpoint]);
    let said: Json = serde_json::from_slice(&output.stdout).unwrap();
    said["directory"].clone()
}

fn first_fault(bundle: &Bundle, server: &Server) -> String {
    let directory = directory(bundle, server);
    directory["faults"][0]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn told(server: &Server, what: &str) {
    wait_for(what, || server.log().contains(what).then_some(()));
}

/// Whether a read of the company's mail is allowed now.
fn reads(server: &Server) -> bool {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let doors = Doors::of(server).await;
        is_allow(&doors.probe(in_session("mail/list", "probe")).await)
    })
}

#[test]
fn a_file_whose_reading_never_ends_is_named_and_what_was_in_service_answers() {
    let faults = Faults::new();
    let settings = "[reload]\ndeadline_ms = 1000\n";
    let bundle = with_settings(crate::store::crash::company::bundle(), settings);
    let server = faults.server(&bundle);
    assert!(reads(&server));
    faults.set("hung-reads", true);
    bundle.file("stop.cedar", FORBID);
    told(
        &server,
        "took longer than `reload.deadline_ms`, 1000 ms; it was at reading this file",
    );
    let fault = first_fault(&bundle, &server);
    assert!(
        fault.starts_with("./policies/policies.cedar: loading took longer"),
        "{fault}"
    );
    assert!(reads(&server), "what was in service stays");
    // Loads that hang are counted, and no more than three begin.
    let asked_for = |what: &str| {
        wait_for(what, || {
            server.signal("-HUP");
            server.log().contains(what).then_some(())
        });
    };
    asked_for("earlier loads hang; the directory does not answer");
    assert!(reads(&server));
    assert_eq!(directory(&bundle, &server)["revision"], "1");
    faults.set("hung-reads", false);
    asked_for("the directory is in service");
    wait_for("the kill switch", || (!reads(&server)).then_some(()));
    assert!(first_fault(&bundle, &server).is_empty());
    let (status, log) = server.stop();
    assert!(status.success(), "{log}");
}

#[test]
fn where_the_system_has_no_watches_changes_are_looked_for_and_watches_tried_again() {
    for fault in ["no-watches", "no-inotify"] {
        let faults = Faults::new();
        faults.set(fault, true);
        let bundle = crate::store::crash::company::bundle();
        let server = faults.server(&bundle);
        told(&server, "the system tells of no changes");
        assert!(
            directory(&bundle, &server).get("isWatched").is_none(),
            "{fault}"
        );
        assert!(reads(&server), "{fault}");
        bundle.file("stop.cedar", FORBID);
        wait_for("the kill switch", || (!reads(&server)).then_some(()));
        faults.set(fault, false);
        wait_for("a watch", || {
            (directory(&bundle, &server)["isWatched"] == true).then_some(())
        });
        fs::remove_file(bundle.policies().join("stop.cedar")).unwrap();
        wait_for("its end", || reads(&server).then_some(()));
        assert_eq!(
            server
                .log()
                .matches("the system tells of no changes")
                .count(),
            1
        );
    }
}

/// The process in which a server tries what it is going to compile.
fn trial_of(server: &Server) -> Option<u32> {
    let parent = format!("PPid:\t{}\n", server.pid());
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let command = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        (status.contains(&parent) && command.contains("try-compiling")).then_some(pid)
    })
}

#[test]
fn a_compiling_process_that_is_killed_is_told_with_the_file_that_changed() {
    let bundle = crate::store::crash::company::bundle();
    let server = Server::start(&bundle, &[]);
    let policy = "permit (principal, action, resource) when { context.identity.verified };\n";
    let many: String = (0..20_000)
        .map(|at| format!("@id(\"p{at}\") {policy}"))
        .collect();
    for (signal, said) in [
        ("-KILL", "signal: 9"),
        ("-SEGV", "signal: 11"),
        ("-ABRT", "signal: 6"),
    ] {
        bundle.file("many.cedar", &format!("// {signal}\n{many}"));
        let pid = wait_for("a trial", || trial_of(&server));
        // One that looks for stack overflows outlives the first SIGSEGV that comes from outside.
        while trial_of(&server) == Some(pid) {
            let killed = Command::new("kill")
                .args([signal, &pid.to_string()])
                .output();
            killed.unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
        let message = format!("compiling it does not end well ({said}");
        told(&server, &message);
        let log = server.log();
        let line = log.lines().find(|line| line.contains(&message)).unwrap();
        assert!(line.contains("policies/many.cedar"), "{line}");
        assert!(reads(&server), "what was in service stays");
        fs::remove_file(bundle.policies().join("many.cedar")).unwrap();
        wait_for("the directory without it", || {
            first_fault(&bundle, &server).is_empty().then_some(())
        });
    }
    assert_eq!(directory(&bundle, &server)["revision"], "1");
    bundle.file("stop.cedar", FORBID);
    wait_for("the kill switch", || (!reads(&server)).then_some(()));
}

#[test]
fn a_sync_that_fails_gives_nothing_and_takes_away_at_once() {
    let faults = Faults::new();
    // The decision log is kept out of it: its own syncs fail, too, and then it denies everything.
    let settings = "[audit]\nmode = \"off\"\n";
    let bundle = with_settings(crate::store::crash::company::bundle(), settings);
    let server = faults.server(&bundle);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (kept, revoked) = runtime.block_on(async {
        let mut doors = Doors::of(&server).await;
        let (kept, delegated) = (
            delegate(&mut doors).await.unwrap(),
            delegate(&mut doors).await.unwrap(),
        );
        faults.set("no-sync", true);
        let refused = delegate(&mut doors).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused:?}");
        assert!(
            !revoke(&mut doors, &delegated).await,
            "it is said not to last"
        );
        let made = by_delegation("one", "mail/list", &delegated);
        assert!(!is_allow(&doors.probe(made).await));
        assert!(is_allow(
            &doors.probe(by_delegation("one", "mail/list", &kept)).await
        ));
        let read = doors.decide(in_session("files/read", "s")).await.unwrap();
        assert!(!is_allow(&read), "what must be written is denied");
        faults.set("no-sync", false);
        for _ in 0..100 {
            let status = doors
                .control
                .get_status(v1::GetStatusRequest {})
                .await
                .unwrap();
            if status.into_inner().store_fault.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        delegate(&mut doors).await.unwrap();
        (kept, delegated)
    });
    drop(server);
    let server = Server::start(&bundle, &[]);
    runtime.block_on(async {
        let doors = Doors::of(&server).await;
        let answer =
            async |id: &str| is_allow(&doors.probe(by_delegation("one", "mail/list", id)).await);
        assert!(answer(&kept).await);
        assert!(
            !answer(&revoked).await,
            "what was taken away is written by now"
        );
    });
}

/// The decision log in mode `synced`: without a sync no record, and without a record no allow.
#[test]
fn a_sync_of_the_decision_log_that_fails_denies_and_is_told() {
    let faults = Faults::new();
    let settings = "[audit]\nmode = \"synced\"\n";
    let bundle = with_settings(crate::store::crash::company::bundle(), settings);
    let server = faults.server(&bundle);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut allowed = Vec::new();
    runtime.block_on(async {
        let mut doors = Doors::of(&server).await;
        let mut decide = async |doors: &Doors| {
            let answer = doors.decide(in_session("mail/list", "s")).await.unwrap();
            let is_allowed = is_allow(&answer);
            if is_allowed {
                allowed.push(answer.decision_id);
            }
            is_allowed
        };
        assert!(decide(&doors).await);
        faults.set("no-sync", true);
        assert!(!decide(&doors).await && !decide(&doors).await);
        faults.set("no-sync", false);
        let mut is_failing = true;
        for _ in 0..100 {
            let status = doors.control.get_status(v1::GetStatusRequest {}).await;
            let audit = status.unwrap().into_inner().audit.unwrap();
            is_failing = audit.failing_since.is_some();
            if !is_failing {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(!is_failing && decide(&doors).await);
    });
    let contents = Contents::read(&bundle.folder().join("audit"));
    for id in &allowed {
        contents.decision(id);
    }
    let dropped = contents.told(callgate::audit::record::schema::notice::Kind::Dropped);
    // A notice whose own sync failed is on the disk and told again: more may be told than were lost, never fewer.
    assert!(dropped.iter().map(|it| it.count).sum::<u64>() >= 2);
}

pub async fn delegate(doors: &mut Doors) -> Result<String, tonic::Status> {
    let request = v1::GrantDelegationRequest {
        actor: actor(user("ana")),
        to: Some(agent("one")),
        scope: Some(scope(&["mail/list"], v1::AccessLevel::Read)),
        expires_at: Some(moment_in(3_600)),
        ..Default::default()
    };
    let delegated = doors.control.grant_delegation(request).await?;
    Ok(delegated.into_inner().delegation.unwrap().id)
}

/// Whether that is durable.
pub async fn revoke(doors: &mut Doors, id: &str) -> bool {
    let request = v1::RevokeDelegationRequest {
        actor: actor(user("ana")),
        id: id.into(),
        ..Default::default()
    };
    let revoked = doors.control.revoke_delegation(request).await.unwrap();
    !revoked.into_inner().not_durable
}
