//! What `docs/incident.md` tells from observing to the evidence is true: its commands are run after those of `docs/observe.md`, in
//! their order, and what is handed over is verified.

use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::docs::observe::OBSERVE;
use crate::docs::readme::{Fence, fences_of, shell, try_console};
use crate::support::process::{Bundle, Server};

const PAGE: &str = include_str!("../../../docs/incident.md");
const BEFORE: [&str; 2] = ["## Try it", "## From observing to enforcing"];
const STORY: [&str; 3] = ["## Enforce", "## An incident", "## Hand over the evidence"];

/// The commands of a console, each with what it says.
fn commands(text: &str) -> Vec<String> {
    let text = format!("\n{text}");
    let commands = text.split("\n$ ").skip(1);
    commands.map(|it| format!("$ {it}")).collect()
}

/// Runs a command until it says what it should: a running server takes a moment to notice a change.
fn in_a_moment(folder: &Path, command: &str, address: &str) -> Result<(), String> {
    let mut said = try_console(folder, command, address);
    for _ in 0..100 {
        if said.is_ok() {
            break;
        }
        thread::sleep(Duration::from_millis(100));
        said = try_console(folder, command, address);
    }
    said
}

#[test]
fn the_story_ends_with_evidence_that_verifies() {
    let bundle = Bundle::empty();
    let folder = bundle.folder();
    let mut server: Option<Server> = None;
    let before = BEFORE.iter().flat_map(|it| fences_of(OBSERVE, it));
    let story = STORY.iter().flat_map(|it| fences_of(PAGE, it));
    let mut compared = 0;
    for Fence { language, text } in before.chain(story) {
        match language {
            "sh" => assert_eq!(shell(folder, &text), "", "{text}"),
            "shell" => server = Some(Server::start(&bundle, &[])),
            "console" => {
                let address = server.as_ref().expect("a server").target();
                for command in commands(&text) {
                    let said = in_a_moment(folder, &command, address);
                    assert!(said.is_ok(), "{}", said.unwrap_err());
                    compared += 1;
                }
            }
            _ => {}
        }
    }
    assert_eq!(compared, 13);
    let verified = "cd handover && tar -xf log.tar && \
        callgate audit verify --log audit --key log.pub --checkpoint checkpoint && \
        callgate audit verify-proof decision.tlog-proof --key log.pub && ls audit/tree && cat verified.txt helper.csv";
    let said = shell(folder, verified);
    assert!(said.starts_with("ok: callgate/"), "{said}");
    assert!(
        said.contains("\nkey.pub\n") && !said.contains("\nkey\n"),
        "{said}"
    );
    for told in ["extends 1 older checkpoint", "INC-4711", "StopEntity"] {
        assert!(said.contains(told), "{told}: {said}");
    }
}
