//! Somebody who keeps checkpoints of a log, and looks whether it still extends all of them.

use std::path::Path;

use callgate::audit::log_files::TREE;
use callgate::audit::tree::key_file::{PUBLIC_KEY_FILE, read_verifying_key};
use callgate::audit::tree::tile_dir::TileDir;
use callgate::audit::verify::{Report, Request, verify};

/// Checkpoints as they were seen.
#[derive(Default)]
pub struct Witness {
    seen: Vec<(String, String)>,
}

impl Witness {
    /// Verifies a log with all checkpoints seen so far, and keeps its last one. Panics if anything is wrong.
    pub fn look(&mut self, directory: &Path) -> Report {
        let tree = directory.join(TREE);
        let request = Request {
            directory: directory.to_owned(),
            key: read_verifying_key(&tree.join(PUBLIC_KEY_FILE)).expect("a key"),
            older: self.seen.clone(),
            from: 0,
            to: None,
        };
        let report = verify(&request).expect("a log");
        assert!(report.ok, "{report:?}");
        assert_eq!(report.older_checkpoints, self.seen.len());
        let note = TileDir::new(tree).read_checkpoint().expect("readable");
        let name = format!("seen {}", self.seen.len());
        self.seen.push((name, note.expect("a checkpoint")));
        report
    }
}
