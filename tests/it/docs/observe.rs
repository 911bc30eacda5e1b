//! What `docs/observe.md` shows is true: its commands are run, in their order.

use std::thread;
use std::time::Duration;

use crate::docs::readme::{Fence, fences_of, shell, try_console};
use crate::support::process::{Bundle, Server};

pub(super) const OBSERVE: &str = include_str!("../../../docs/observe.md");
const STORY: [&str; 3] = ["## Try it", "## From observing to enforcing", "## Replay"];

#[test]
fn observing_and_enforcing_go_as_told() {
    let bundle = Bundle::empty();
    let folder = bundle.folder();
    let mut server: Option<Server> = None;
    let mut compared = 0;
    let fences = STORY.iter().flat_map(|heading| fences_of(OBSERVE, heading));
    for Fence { language, text } in fences {
        match language {
            "sh" => assert_eq!(shell(folder, &text), "", "{text}"),
            "shell" => server = Some(Server::start(&bundle, &[])),
            "console" => {
                let address = server.as_ref().expect("a server").target();
                let said = try_console(folder, &text, address);
                assert!(said.is_ok(), "{}", said.unwrap_err());
                compared += 1;
            }
            _ => {}
        }
    }
    assert_eq!(compared, 7);
    // Long enough for nothing, as it warns at the start.
    thread::sleep(Duration::from_millis(100));
    let log = server.expect("a server").log();
    assert!(log.contains("NOT ENFORCED"), "{log}");
}
