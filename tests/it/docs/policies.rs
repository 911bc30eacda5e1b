//! What `docs/policies.md` leads a newcomer through is true: its commands are run, in their order.

use std::thread;
use std::time::Duration;

use crate::docs::readme::{Fence, fences_of, shell, try_console};
use crate::support::process::{Bundle, Server};

const POLICIES: &str = include_str!("../../../docs/policies.md");

#[test]
fn a_rule_goes_from_the_first_permit_to_enforcement_as_told() {
    let bundle = Bundle::empty();
    let folder = bundle.folder();
    let mut server: Option<Server> = None;
    let mut compared = 0;
    let mut faults = Vec::new();
    for Fence { language, text } in fences_of(POLICIES, "## From the first permit to enforcement") {
        match language {
            "sh" => assert_eq!(shell(folder, &text), "", "{text}"),
            "shell" => server = Some(Server::start(&bundle, &[])),
            "console" => {
                let address = server.as_ref().map_or("127.0.0.1:1", Server::target);
                let mut said = try_console(folder, &text, address);
                // A running server takes a moment to notice a change.
                let is_asked = text.contains("--endpoint");
                for _ in 0..if is_asked { 50 } else { 0 } {
                    if said.is_ok() {
                        break;
                    }
                    thread::sleep(Duration::from_millis(100));
                    said = try_console(folder, &text, address);
                }
                faults.extend(said.err());
                compared += 1;
            }
            _ => {}
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(compared, 12);
}

/// With a solver, what the page has proven is proven.
#[test]
#[ignore = "needs the solver cvc5"]
fn the_property_of_the_page_is_proven() {
    let bundle = Bundle::empty();
    let folder = bundle.folder();
    let mut proven = 0;
    for Fence { language, text } in fences_of(POLICIES, "## From the first permit to enforcement") {
        let begins = |command: &str| text.starts_with(command);
        match language {
            "sh" => assert_eq!(shell(folder, &text), "", "{text}"),
            "console" if begins("$ callgate init ") || begins("$ callgate test ") => {
                let said = try_console(folder, &text, "127.0.0.1:1");
                assert!(said.is_ok(), "{said:?}");
            }
            "text" if begins("callgate prove ") => {
                let said = shell(folder, &text);
                assert!(
                    said.starts_with("PROVEN    proof.no_admin_by_agents"),
                    "{said}"
                );
                proven += 1;
            }
            _ => {}
        }
    }
    assert_eq!(proven, 1);
}
