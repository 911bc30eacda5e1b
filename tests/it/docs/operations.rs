//! What `docs/operations.md` tells of the way from one binary to three replicas is true: its commands are run against a real
//! PostgreSQL, in their order, and must say what it says they say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::docs::readme::{fences_of, lines_match, shell};
use crate::support::port::free_port;
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

/// Runs commands of the page with other ports, since those may be taken.
fn run(folder: &Path, ports: &[(String, String)], database: &str, script: &str) -> String {
    let variables = ports.iter().fold(script.to_owned(), |script, (from, to)| {
        script.replace(from, to)
    });
    shell(
        folder,
        &format!("export DATABASE={database:?}\n{variables}"),
    )
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
    // `$n` stands in a loop, so its ports are chosen by a shell's own arithmetic.
    let ports: Vec<(String, String)> = PORTS
        .iter()
        .flat_map(|port| {
            (0..4).map(move |number| {
                (
                    format!("{port}{number}"),
                    format!("127.0.0.1:{}", free_port()),
                )
            })
        })
        .collect();
    let in_loop = |text: &str| {
        let mut text = text.to_owned();
        for port in PORTS {
            let of = |number: usize| {
                ports
                    .iter()
                    .find(|(from, _)| *from == format!("{port}{number}"))
            };
            let cases: String = (1..4)
                .filter_map(|number| Some(format!("{number}) echo {};;", of(number)?.1)))
                .collect();
            text = text.replace(&format!("{port}$n"), &format!("$(case $n in {cases} esac)"));
        }
        text
    };
    let mut compared = 0;
    for fence in fences_of(PAGE, HEADING) {
        let text = in_loop(&fence.text);
        match fence.language {
            "sh" | "shell" => assert_eq!(run(folder, &ports, &database, &text), "", "{text}"),
            "console" => {
                let (command, expected) = text.split_once('\n').expect("a command");
                let command = command.strip_prefix("$ ").expect("a prompt");
                let expected: Vec<&str> = expected.lines().collect();
                let mut said = String::new();
                // Servers take a moment to start.
                let is_as_told = (0..100).any(|_| {
                    said = run(folder, &ports, &database, command);
                    let is_as_told = lines_match(&expected, &said.lines().collect::<Vec<_>>());
                    if !is_as_told {
                        std::thread::sleep(Duration::from_millis(100));
                    }
                    is_as_told
                });
                assert!(is_as_told, "{command}\nsays\n{said}");
                compared += 1;
            }
            other => panic!("a fence in {other}"),
        }
    }
    assert!(compared >= 5, "{compared} commands");
}
