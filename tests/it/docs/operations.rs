//! What `docs/operations.md` tells of the way from one binary to three replicas is true: its commands are run against a real
//! PostgreSQL, in their order, and must say what it says they say.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use crate::docs::readme::{ADDRESS, fences_of, shell, try_console};
use crate::support::port::free_address;
use crate::support::postgres::Cluster;
use crate::support::process::Bundle;

const PAGE: &str = include_str!("../../../docs/operations.md");
const HEADING: &str = "## From one binary to three replicas";
/// How the ports of the page begin, each followed by the number of a server.
const PORTS: [&str; 2] = ["127.0.0.1:5006", "127.0.0.1:819"];

/// Ends the servers that the page has started.
struct Started(PathBuf);

impl Drop for Started {
    fn drop(&mut self) {
        let files = [
            "server.pid",
            "replica-1/pid",
            "replica-2/pid",
            "replica-3/pid",
        ];
        for file in files {
            let pid = fs::read_to_string(self.0.join(file)).unwrap_or_default();
            // It may have ended, or never begun.
            let _ = Command::new("kill").args(["-9", pid.trim()]).output();
        }
    }
}

/// For each beginning the addresses of the servers 0 to 3.
fn ports() -> Vec<(&'static str, [SocketAddr; 4])> {
    PORTS
        .map(|port| (port, [(); 4].map(|()| free_address())))
        .to_vec()
}

/// Puts other ports for those of the page, since those may be taken: also for that of the server `$n` of a loop.
fn with_ports(text: &str, ports: &[(&str, [SocketAddr; 4])]) -> String {
    let mut text = text.to_owned();
    for (port, addresses) in ports {
        let [_, one, two, three] = addresses;
        let of_loop =
            format!("$(case $n in 1) echo {one};; 2) echo {two};; 3) echo {three};; esac)");
        text = text.replace(&format!("{port}$n"), &of_loop);
        for (number, address) in addresses.iter().enumerate() {
            text = text.replace(&format!("{port}{number}"), &address.to_string());
        }
    }
    text
}

#[test]
#[ignore = "needs PostgreSQL"]
fn the_way_to_three_replicas_goes_as_told() {
    let bundle = Bundle::shipped();
    let folder = bundle.folder();
    let cluster = Cluster::start();
    cluster.create("callgate");
    let database = cluster.url("callgate");
    let _started = Started(folder.to_owned());
    let ports = ports();
    let mut compared = 0;
    for fence in fences_of(PAGE, HEADING) {
        let text = with_ports(&fence.text, &ports).replace("$DATABASE", &database);
        match fence.language {
            "sh" | "shell" => assert_eq!(shell(folder, &text), "", "{text}"),
            "console" => {
                try_console(folder, &text, ADDRESS).unwrap_or_else(|said| panic!("{said}"));
                compared += 1;
            }
            other => panic!("a fence in {other}"),
        }
    }
    assert!(compared >= 5, "{compared} commands");
}
