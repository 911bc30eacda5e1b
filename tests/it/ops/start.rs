//! A start whose database is away.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, ExitStatus, Stdio};

use crate::fleet::proxy::{Link, Proxy};
use crate::ops::admin::get;
use crate::support::port::free_port;
use crate::support::postgres::Cluster;
use crate::support::process::{Bundle, callgate, free_address, wait_for};

/// A server that was started with the database at this port.
struct Starting {
    process: Child,
    bundle: Bundle,
    admin: SocketAddr,
}

impl Starting {
    fn at(port: u16, wait_seconds: u32) -> Self {
        let bundle = Bundle::notes();
        let admin = free_address();
        let config = format!(
            "[listen]\nadmin = \"{admin}\"\n[state]\nurl = \"postgres://callgate@127.0.0.1:{port}/callgate\"\n\
             wait_seconds = {wait_seconds}\n"
        );
        bundle.file("callgate.toml", &config);
        let log = fs::File::create(bundle.folder().join("server.log")).unwrap();
        let process = callgate(bundle.folder())
            .args(["serve", "--without-callers", "--listen", "127.0.0.1:0"])
            .args(["--http", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self {
            process,
            bundle,
            admin,
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.bundle.folder().join("server.log")).unwrap()
    }

    fn wait_for_log(&self, text: &str) {
        wait_for(text, || self.log().contains(text).then_some(()));
    }

    fn ended(&mut self) -> ExitStatus {
        wait_for("its end", || self.process.try_wait().unwrap())
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_start_waits_for_its_database_and_tells_so_until_it_is_stopped() {
    let mut server = Starting::at(free_port(), 3_600);
    server.wait_for_log("the database is away");
    let log = server.log();
    assert!(log.contains("\"wait_seconds\":3600"), "{log}");
    assert!(log.contains("refused"), "{log}");
    assert_eq!(get(server.admin, "/livez").status, 200);
    let ready = get(server.admin, "/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("waits for its database"), "{ready:?}");
    assert_eq!(get(server.admin, "/statusz").status, 503);
    assert_eq!(get(server.admin, "/other").status, 404);
    let pid = server.process.id().to_string();
    let told = std::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status();
    assert!(told.unwrap().success());
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
}

#[test]
fn a_start_waits_for_its_database_no_longer_than_it_may() {
    let mut server = Starting::at(free_port(), 1);
    assert_eq!(server.ended().code(), Some(1));
    let log = server.log();
    for part in ["has waited 1 s", "state.wait_seconds", "is away"] {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert!(!log.contains("\"listening\""), "{log}");
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_start_goes_on_once_its_database_is_there() {
    let cluster = Cluster::start();
    cluster.create("callgate");
    let proxy = Proxy::before(cluster.port());
    proxy.set(Link::Cut);
    let server = Starting::at(proxy.port(), 3_600);
    server.wait_for_log("the database is away");
    proxy.set(Link::Whole);
    wait_for("readiness", || {
        (get(server.admin, "/readyz").status == 200).then_some(())
    });
    assert!(server.log().contains("\"listening\""), "{}", server.log());
}
