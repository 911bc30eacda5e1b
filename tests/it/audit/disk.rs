//! A disk without room, or read-only, below the decision log of a running server.

use std::process::Command;
use std::time::Duration;

use callgate::audit::record::schema::notice::Kind;
use callgate::proto::v1;
use tonic::Code;

use crate::audit::log_reading::Contents;
use crate::hold::disk::Disk;
use crate::hold::faults::delegate;
use crate::store::crash::company::{self, Doors, agent, in_session, is_allow, why};
use crate::support::process::{Bundle, Server};

struct Stage {
    bundle: Bundle,
    disk: Disk,
    server: Server,
    runtime: tokio::runtime::Runtime,
}

impl Stage {
    fn new(on_failure: &str) -> Self {
        Self::in_mode("written", on_failure)
    }

    fn in_mode(mode: &str, on_failure: &str) -> Self {
        let bundle = company::bundle();
        let disk = Disk::mount(&bundle.folder().join("disk"));
        let directory = disk.path().join("audit");
        let settings = format!(
            "[audit]\ndirectory = {:?}\nmode = {mode:?}\non_failure = {on_failure:?}\n",
            directory.display().to_string()
        );
        bundle.file("callgate.toml", &settings);
        let server = Server::start(&bundle, &[]);
        Self {
            bundle,
            disk,
            server,
            runtime: tokio::runtime::Runtime::new().unwrap(),
        }
    }

    fn doors(&self) -> Doors {
        self.runtime.block_on(Doors::of(&self.server))
    }

    fn decide(&self, doors: &Doors) -> v1::AuthorizeResponse {
        let call = in_session("mail/list", "session");
        self.runtime.block_on(doors.decide(call)).unwrap()
    }

    fn audit(&self, doors: &mut Doors) -> v1::AuditStatus {
        let status = doors.control.get_status(v1::GetStatusRequest {});
        let status = self.runtime.block_on(status).unwrap();
        status.into_inner().audit.unwrap()
    }

    fn contents(&self) -> Contents {
        Contents::read(&self.disk.path().join("audit"))
    }

    /// Waits until the log is written again.
    fn recovered(&self, doors: &mut Doors) {
        for _ in 0..100 {
            if self.audit(doors).failing_since.is_none() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{:?}", self.audit(doors));
    }

    /// Calls until the answer is not what it was: what is left of the last page may have room for a few.
    fn until<T: PartialEq>(
        &self,
        doors: &Doors,
        of: fn(&v1::AuthorizeResponse) -> T,
        expected: T,
    ) -> Vec<v1::AuthorizeResponse> {
        let mut answers = Vec::new();
        for _ in 0..1_000 {
            let answer = self.decide(doors);
            let is_expected = of(&answer) == expected;
            answers.push(answer);
            if is_expected {
                return answers;
            }
        }
        panic!("{:?}", answers.last());
    }
}

#[test]
#[ignore = "needs the right to mount a tmpfs"]
fn without_room_for_its_record_nothing_is_allowed() {
    let stage = Stage::new("deny");
    let mut doors = stage.doors();
    assert!(is_allow(&stage.decide(&doors)));
    stage.disk.fill();
    let mut answers = stage.until(&doors, why, v1::ReasonCode::AuditUnavailable);
    for _ in 0..20 {
        answers.push(stage.decide(&doors));
    }
    let told = stage.audit(&mut doors);
    assert!(
        told.failing_since.is_some() && !told.fault.is_empty(),
        "{told:?}"
    );
    assert!(told.unrecorded >= 21, "{told:?}");
    // A change that cannot be put on record is not made; what takes something away is.
    let refused = stage.runtime.block_on(delegate(&mut doors)).unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    let stop = v1::StopEntityRequest {
        actor: company::actor(company::user("ana")),
        uid: Some(agent("one")),
        reason: "the log is broken".into(),
        ..Default::default()
    };
    let stopped = stage.runtime.block_on(doors.control.stop_entity(stop));
    assert!(stopped.unwrap().into_inner().not_recorded);
    assert_eq!(why(&stage.decide(&doors)), v1::ReasonCode::Stopped);

    stage.disk.empty();
    stage.recovered(&mut doors);
    let resume = v1::ResumeEntityRequest {
        actor: company::actor(company::user("ana")),
        uid: Some(agent("one")),
        ..Default::default()
    };
    stage
        .runtime
        .block_on(doors.control.resume_entity(resume))
        .unwrap();
    answers.push(stage.decide(&doors));
    assert!(is_allow(answers.last().unwrap()));
    let contents = stage.contents();
    for allowed in answers.iter().filter(|answer| is_allow(answer)) {
        contents.decision(&allowed.decision_id);
    }
    // Once for each time that it was found unwritable: the signed tree finds that out by itself, too.
    assert!(!contents.told(Kind::Degraded).is_empty());
    let dropped: u64 = contents.told(Kind::Dropped).iter().map(|it| it.count).sum();
    assert_eq!(dropped, stage.audit(&mut doors).unrecorded);
    let log = stage.server.log();
    assert!(log.contains("the decision log cannot be written"), "{log}");
    drop(stage.bundle);
}

/// In mode `async` nothing is allowed without its record from when on it is known that the log cannot be written, also where a disk
/// that is full has room for a few records now and then.
#[test]
#[ignore = "needs the right to mount a tmpfs"]
fn without_room_nothing_is_allowed_also_where_nothing_waits() {
    let stage = Stage::in_mode("async", "deny");
    let mut doors = stage.doors();
    assert!(is_allow(&stage.decide(&doors)));
    stage.disk.fill();
    stage.until(&doors, why, v1::ReasonCode::AuditUnavailable);
    let mut answers = Vec::new();
    for _ in 0..300 {
        answers.push(stage.decide(&doors));
        std::thread::sleep(Duration::from_millis(5));
    }
    let denied = answers.iter().filter(|answer| !is_allow(answer));
    assert!(denied.count() > 0);
    stage.disk.empty();
    stage.recovered(&mut doors);
    answers.push(stage.decide(&doors));
    assert!(is_allow(answers.last().unwrap()));
    let contents = stage.contents();
    for allowed in answers.iter().filter(|answer| is_allow(answer)) {
        contents.decision(&allowed.decision_id);
    }
    drop(stage.bundle);
}

/// A log that cannot be written from the beginning is a fault of the configuration, also where it may degrade.
#[test]
#[ignore = "needs the right to mount a tmpfs"]
fn on_a_read_only_disk_no_server_starts() {
    for on_failure in ["deny", "degrade"] {
        let bundle = company::bundle();
        let disk = Disk::mount(&bundle.folder().join("disk"));
        let remount = Command::new("mount")
            .args(["-o", "remount,ro"])
            .arg(disk.path())
            .status();
        assert!(remount.unwrap().success());
        let settings = format!(
            "[audit]\ndirectory = {:?}\non_failure = {on_failure:?}\n",
            disk.path().join("audit").display().to_string()
        );
        bundle.file("callgate.toml", &settings);
        let ended = bundle.run(&["serve", "--without-callers", "--listen", "127.0.0.1:0"]);
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains("the decision log in"), "{said}");
        assert!(said.contains("Read-only file system"), "{said}");
    }
}

#[test]
#[ignore = "needs the right to mount a tmpfs"]
fn a_log_that_may_degrade_lets_calls_pass_and_says_how_many() {
    let stage = Stage::new("degrade");
    let mut doors = stage.doors();
    let mut answers = vec![stage.decide(&doors)];
    stage.disk.fill();
    for _ in 0..1_000 {
        answers.push(stage.decide(&doors));
        if answers.len() % 100 == 0 && stage.audit(&mut doors).unrecorded > 0 {
            break;
        }
    }
    assert!(answers.iter().all(is_allow));
    let told = stage.audit(&mut doors);
    assert!(
        told.unrecorded > 0 && told.failing_since.is_some(),
        "{told:?}"
    );
    stage.disk.empty();
    stage.recovered(&mut doors);
    let contents = stage.contents();
    let missing = answers
        .iter()
        .filter(|it| !contents.decisions.contains_key(&it.decision_id));
    let missing = missing.count() as u64;
    let dropped: u64 = contents.told(Kind::Dropped).iter().map(|it| it.count).sum();
    assert_eq!((missing, dropped), (told.unrecorded, told.unrecorded));
}
