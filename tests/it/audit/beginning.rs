//! A log that begins.

use crate::audit::log_reading::directory;
use crate::support::process::{Bundle, Server, wait_for};
use crate::support::worlds;

#[test]
fn a_new_log_beside_the_store_in_the_working_directory_begins_without_a_fault() {
    let bundle = Bundle::of(&worlds::small());
    let server = Server::start(&bundle, &[]);
    let checkpoint = directory(&bundle).join("tree/checkpoint");
    wait_for("a checkpoint", || checkpoint.is_file().then_some(()));
    let (status, log) = server.stop();
    assert!(status.success());
    assert!(!log.contains(r#""level":"ERROR""#), "{log}");
}
