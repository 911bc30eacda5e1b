//! A disk without room below a running server: nothing is given that is not written, what is taken away takes force, and all
//! goes on once there is room.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use callgate::proto::v1;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tonic::Code;

use crate::hold::faults::{delegate, revoke};
use crate::store::crash::company::{Doors, by_delegation, in_session, is_allow, why};
use crate::support::process::{Bundle, Server};

/// A small file system of its own.
pub struct Disk(PathBuf);

impl Disk {
    pub fn mount(at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "none"])
            .arg(at)
            .status()
            .unwrap();
        assert!(mounted.success());
        Self(at.to_owned())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes until there is no room left.
    pub fn fill(&self) {
        let mut file = fs::File::create(self.0.join("fill")).unwrap();
        while file.write_all(&[0; 4_096]).is_ok() {}
        // A byte at a time, as what is left of the last page.
        while file.write_all(&[0]).is_ok() {}
    }

    pub fn empty(&self) {
        fs::remove_file(self.0.join("fill")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whatever still has files open there keeps them until it ends.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

async fn status(doors: &mut Doors) -> v1::GetStatusResponse {
    let status = doors.control.get_status(v1::GetStatusRequest {}).await;
    status.unwrap().into_inner()
}

/// What holds while nothing can be written, and after there is room again. `room` makes it.
async fn full(doors: &mut Doors, delegated: &[String; 2], room: impl FnOnce()) -> String {
    // What is in the log of the database already may have room for some.
    let mut given = Vec::new();
    let refused = loop {
        match delegate(doors).await {
            Ok(id) => given.push(id),
            Err(refused) => break refused,
        }
        assert!(given.len() < 10_000, "it is never full");
    };
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    let told = status(doors).await;
    assert!(!told.store_fault.is_empty(), "{told:?}");
    let before = told.delegations;
    assert!(delegate(doors).await.is_err());
    assert_eq!(status(doors).await.delegations, before, "nothing is given");
    let read = doors
        .decide(in_session("files/read", "full"))
        .await
        .unwrap();
    assert_eq!(why(&read), v1::ReasonCode::StoreUnavailable);
    // What needs no writing goes on.
    let [kept, taken] = delegated;
    let allows = async |doors: &Doors, id: &str| {
        is_allow(&doors.probe(by_delegation("one", "mail/list", id)).await)
    };
    assert!(allows(doors, kept).await && allows(doors, taken).await);
    assert!(!revoke(doors, taken).await, "it is said not to last");
    assert!(!allows(doors, taken).await, "and is in force");
    assert_eq!(status(doors).await.unwritten, 1);

    room();
    let mut left = 100;
    while !status(doors).await.store_fault.is_empty() {
        left -= 1;
        assert!(left > 0, "{}", status(doors).await.store_fault);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(status(doors).await.unwritten, 0);
    let read = doors
        .decide(in_session("files/read", "room"))
        .await
        .unwrap();
    assert!(is_allow(&read), "{read:?}");
    delegate(doors).await.unwrap()
}

/// All of it again from what is on disk.
async fn restarted(server: &Server, delegated: &[String; 2], later: &str) {
    let doors = Doors::of(server).await;
    for (id, holds) in [
        (&*delegated[0], true),
        (&*delegated[1], false),
        (later, true),
    ] {
        let answer = doors.probe(by_delegation("one", "mail/list", id)).await;
        assert_eq!(is_allow(&answer), holds, "{answer:?}");
    }
}

async fn two(doors: &mut Doors) -> [String; 2] {
    [
        delegate(doors).await.unwrap(),
        delegate(doors).await.unwrap(),
    ]
}

fn run(bundle: &Bundle, fill: impl FnOnce(&Server), room: impl FnOnce(&Server)) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = Server::start(bundle, &[]);
    let (delegated, later) = runtime.block_on(async {
        let mut doors = Doors::of(&server).await;
        let delegated = two(&mut doors).await;
        fill(&server);
        let later = full(&mut doors, &delegated, || room(&server)).await;
        (delegated, later)
    });
    let log = server.log();
    assert!(log.contains("NOT DURABLE"), "{log}");
    drop(server);
    let server = Server::start(bundle, &[]);
    runtime.block_on(restarted(&server, &delegated, &later));
}

#[test]
#[ignore = "needs the right to mount a tmpfs"]
fn a_full_disk_gives_nothing_and_goes_on_once_there_is_room() {
    let bundle = crate::store::crash::company::bundle();
    let disk = Disk::mount(&bundle.folder().join("disk"));
    let file = disk.0.join("callgate.db");
    // The decision log has a test of its own, and is elsewhere here.
    let settings = format!(
        "[state]\nfile = {:?}\n[audit]\ndirectory = \"../audit\"\n",
        file.display().to_string()
    );
    bundle.file("callgate.toml", &settings);
    run(&bundle, |_| disk.fill(), |_| disk.empty());
}

/// The same where files may not grow: a write beyond the limit would end a program that does not expect that.
#[test]
fn a_limit_on_the_size_of_files_is_a_full_disk() {
    let bundle = crate::store::crash::company::bundle();
    bundle.file("callgate.toml", "[audit]\nmode = \"off\"\n");
    let limit = |server: &Server, most: Option<u64>| {
        let pid = Pid::from_raw(server.pid().cast_signed());
        let limit = Rlimit {
            current: most,
            maximum: None,
        };
        prlimit(pid, Resource::Fsize, limit).unwrap();
    };
    let log = bundle.folder().join("callgate.db-wal");
    run(
        &bundle,
        |server| limit(server, Some(fs::metadata(&log).unwrap().len())),
        |server| limit(server, None),
    );
}
