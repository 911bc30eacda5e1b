use std::fs;

use super::*;
use crate::audit::tree::merkle;

pub(super) struct Log {
    first: u64,
    pub(super) leaves: Vec<TreeHash>,
    lost: Vec<u64>,
}

impl Leaves for Log {
    fn first(&self) -> u64 {
        self.first
    }

    fn end(&self) -> u64 {
        self.leaves.len() as u64
    }

    fn each_from(&mut self, start: u64, each: &mut dyn FnMut(Option<TreeHash>)) -> io::Result<()> {
        let start = usize::try_from(start.max(self.first)).expect("small");
        let leaves = self.leaves.iter().zip(0..).skip(start);
        leaves.for_each(|(leaf, index)| each((!self.lost.contains(&index)).then_some(*leaf)));
        Ok(())
    }
}

pub(super) struct Desk {
    dir: tempfile::TempDir,
    pub(super) log: Log,
}

fn key() -> SigningKey {
    SigningKey::from_seed("callgate/test", [9; 32]).expect("a key")
}

impl Desk {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let log = Log {
            first: 0,
            leaves: Vec::new(),
            lost: Vec::new(),
        };
        Self { dir, log }
    }

    pub(super) fn dir(&self) -> TileDir {
        TileDir::new(self.dir.path().join("tree"))
    }

    pub(super) fn open(&mut self) -> Result<TreeWriter, TreeError> {
        TreeWriter::open(self.dir(), key(), &mut self.log)
    }

    /// Logs records; `tree` is told of them.
    pub(super) fn log(&mut self, count: u64, tree: &mut TreeWriter) {
        for _ in 0..count {
            let leaf = TreeHash::leaf(&self.log.leaves.len().to_le_bytes());
            self.log.leaves.push(leaf);
            tree.append(leaf);
        }
    }

    pub(super) fn checkpoint(&self) -> Checkpoint {
        let note = self
            .dir()
            .read_checkpoint()
            .expect("readable")
            .expect("a checkpoint");
        Checkpoint::open(&note, &key().verifying_key()).expect("a checkpoint")
    }

    /// A desk with a checkpoint over so many records, and a few after it.
    pub(super) fn with(signed: u64, after: u64) -> Self {
        let mut desk = Self::new();
        let mut tree = desk.open().expect("a tree");
        desk.log(signed, &mut tree);
        tree.checkpoint(|| Ok(())).expect("written");
        desk.log(after, &mut tree);
        desk
    }
}

#[test]
fn a_tree_begins_with_a_checkpoint_over_nothing() {
    let mut desk = Desk::new();
    desk.open().expect("a tree");
    assert_eq!(desk.checkpoint().size, 0);
    assert_eq!(desk.checkpoint().root, TreeHash::empty_root());
}

#[test]
fn a_tree_goes_on_after_a_crash_where_the_log_is() {
    for (signed, after) in [
        (0, 0),
        (0, 3),
        (1, 0),
        (255, 2),
        (256, 0),
        (256, 256),
        (600, 700),
    ] {
        let mut desk = Desk::with(signed, after);
        let mut tree = desk.open().expect("a tree");
        assert_eq!((tree.size(), tree.signed_size()), (signed + after, signed));
        desk.log(10, &mut tree);
        tree.checkpoint(|| Ok(())).expect("written");
        let mut whole = Frontier::default();
        desk.log
            .leaves
            .iter()
            .for_each(|leaf| whole.push(*leaf, |_, _| {}));
        assert_eq!(desk.checkpoint().root, whole.root(), "{signed} {after}");
        // All tiles are there.
        let size = desk.checkpoint().size;
        let mut read = TreeReader::new(desk.dir(), size);
        assert_eq!(merkle::root(&mut read, size).expect("tiles"), whole.root());
        for (index, leaf) in (0..).zip(&desk.log.leaves) {
            assert_eq!(read.leaf(index).expect("a tile"), *leaf);
        }
    }
}

#[test]
fn a_checkpoint_is_written_only_for_new_records_and_only_once_they_are_durable() {
    let mut desk = Desk::with(5, 0);
    let mut tree = desk.open().expect("a tree");
    tree.checkpoint(|| panic!("nothing to sync"))
        .expect("nothing to do");
    desk.log(1, &mut tree);
    let failed = tree.checkpoint(|| Err(io::Error::other("no disk")));
    assert!(failed.is_err());
    assert_eq!((desk.checkpoint().size, tree.signed_size()), (5, 5));
    tree.checkpoint(|| Ok(())).expect("written");
    assert_eq!((desk.checkpoint().size, tree.signed_size()), (6, 6));
}

#[test]
fn a_log_that_was_cut_is_told() {
    let mut desk = Desk::with(300, 0);
    desk.log.leaves.truncate(299);
    assert!(matches!(
        desk.open(),
        Err(TreeError::Cut {
            records: 299,
            signed: 300
        })
    ));
}

#[test]
fn a_changed_record_of_the_last_tile_is_told() {
    for at in [256, 299] {
        let mut desk = Desk::with(300, 0);
        desk.log.leaves[at] = TreeHash::leaf(b"another");
        let opened = desk.open();
        assert!(matches!(opened, Err(TreeError::Record { index }) if index == at as u64));
    }
    let mut desk = Desk::with(256, 7);
    desk.log.leaves[255] = TreeHash::leaf(b"another");
    assert!(matches!(desk.open(), Err(TreeError::Record { index: 255 })));
}

#[test]
fn a_removed_checkpoint_is_told() {
    let mut desk = Desk::with(3, 0);
    fs::remove_file(desk.dir().path().join("checkpoint")).expect("removed");
    assert!(matches!(
        desk.open(),
        Err(TreeError::Missing { records: 3 })
    ));
    fs::remove_dir_all(desk.dir().path()).expect("removed");
    assert!(matches!(
        desk.open(),
        Err(TreeError::Missing { records: 3 })
    ));
    // The records too, but not the tiles.
    let mut desk = Desk::with(3, 0);
    desk.log.leaves.clear();
    fs::remove_file(desk.dir().path().join("checkpoint")).expect("removed");
    assert!(matches!(
        desk.open(),
        Err(TreeError::Missing { records: 0 })
    ));
}

#[test]
fn a_checkpoint_by_another_key_is_told() {
    let mut desk = Desk::with(3, 0);
    let other = SigningKey::from_seed("callgate/test", [8; 32]).expect("a key");
    let opened = TreeWriter::open(desk.dir(), other, &mut desk.log);
    assert!(matches!(opened, Err(TreeError::Checkpoint(_))));
}

#[test]
fn damaged_tiles_are_made_anew_from_records() {
    for file in ["tile/0/001.p/44", "tile/1/000.p/1"] {
        for damage in [None, Some(vec![0; 32]), Some(Vec::new())] {
            let mut desk = Desk::with(300, 2);
            let path = desk.dir().path().join(file);
            match &damage {
                Some(bytes) => fs::write(&path, bytes).expect("written"),
                None => fs::remove_file(&path).expect("removed"),
            }
            let mut tree = desk.open().expect("a tree");
            tree.checkpoint(|| Ok(())).expect("written");
            let mut read = TreeReader::new(desk.dir(), 302);
            let root = merkle::root(&mut read, 302).expect("tiles");
            assert_eq!(desk.checkpoint().root, root);
            // Not if the records are others, or not all there.
            for change in [0, 1] {
                let mut desk = Desk::with(300, 2);
                let path = desk.dir().path().join(file);
                fs::write(&path, [0; 31]).expect("written");
                match change {
                    0 => desk.log.leaves[7] = TreeHash::leaf(b"another"),
                    _ => desk.log.first = 5,
                }
                assert!(matches!(desk.open(), Err(TreeError::Root(_))));
            }
        }
    }
}

#[test]
fn removed_records_are_no_fault() {
    let mut desk = Desk::with(600, 5);
    desk.log.first = 590;
    let tree = desk.open().expect("a tree");
    assert_eq!(tree.size(), 605);
}

#[test]
fn a_lost_record_has_the_leaf_that_was_signed_or_none() {
    let mut desk = Desk::with(300, 4);
    // One that a checkpoint covers, one that none covers.
    desk.log.lost = vec![290, 301];
    let mut tree = desk.open().expect("a tree");
    tree.checkpoint(|| Ok(())).expect("written");
    let mut read = TreeReader::new(desk.dir(), 304);
    assert_eq!(read.leaf(290).expect("a leaf"), desk.log.leaves[290]);
    assert_eq!(read.leaf(301).expect("a leaf"), TreeHash::leaf(&[]));
    assert_eq!(read.leaf(303).expect("a leaf"), desk.log.leaves[303]);
}

/// All tiles of a tree, below its directory.
pub(super) fn tiles(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let found = paths.map(|path| match path.is_dir() {
        true => tiles(&path),
        false => vec![path],
    });
    found.flatten().collect()
}

#[test]
fn tiles_that_a_loss_of_power_takes_are_made_anew_from_the_newest_records() {
    for damage in [None, Some(vec![0; 32]), Some(Vec::new())] {
        let mut desk = Desk::with(700, 0);
        let mut tree = desk.open().expect("a tree");
        tree.sync_tiles().expect("synced");
        let durable = tiles(&desk.dir().path().join("tile"));
        desk.log(900, &mut tree);
        tree.checkpoint(|| Ok(())).expect("written");
        drop(tree);
        // Older records are removed; the newest are not, nor are the tiles that were made durable.
        desk.log.first = 650;
        let all = tiles(&desk.dir().path().join("tile"));
        let lost: Vec<_> = all.iter().filter(|it| !durable.contains(it)).collect();
        assert!(lost.len() >= 5, "{lost:?}");
        for path in lost {
            match &damage {
                Some(bytes) => fs::write(path, bytes).expect("written"),
                None => fs::remove_file(path).expect("removed"),
            }
        }
        let mut tree = desk.open().expect("a tree");
        assert_eq!((tree.size(), tree.signed_size()), (1_600, 1_600));
        let mut read = TreeReader::new(desk.dir(), 1_600);
        assert_eq!(
            merkle::root(&mut read, 1_600).expect("tiles"),
            desk.checkpoint().root
        );
        for (index, leaf) in (0..).zip(&desk.log.leaves) {
            assert_eq!(read.leaf(index).expect("a tile"), *leaf);
        }
        // Once they are durable, nothing is made anew.
        tree.sync_tiles().expect("synced");
        assert_eq!(tree.unsynced_tiles(), 0);
        fs::remove_file(desk.dir().path().join("tile/0/005")).expect("removed");
        desk.open().expect("a tree");
        assert!(TreeReader::new(desk.dir(), 1_600).leaf(1_300).is_err());
    }
}

#[test]
fn records_that_are_others_make_no_tiles() {
    let mut desk = Desk::with(700, 0);
    desk.log.leaves[600] = TreeHash::leaf(b"another");
    fs::remove_file(desk.dir().path().join("tile/0/001")).expect("removed");
    assert!(matches!(desk.open(), Err(TreeError::Record { index: 600 })));
    assert!(TreeReader::new(desk.dir(), 700).leaf(300).is_err());
}

#[test]
fn a_log_of_before_counts_as_durable() {
    let mut desk = Desk::with(700, 0);
    fs::remove_file(desk.dir().path().join("frontier")).expect("removed");
    desk.log.first = 690;
    desk.open().expect("a tree");
    let frontier = desk.dir().read_frontier().expect("readable");
    assert_eq!(frontier.expect("a frontier").root(), desk.checkpoint().root);
}

#[test]
fn a_partial_tile_that_is_there_is_not_written_again() {
    let mut desk = Desk::new();
    let mut tree = desk.open().expect("a tree");
    desk.log(300, &mut tree);
    tree.checkpoint(|| Ok(())).expect("written");
    let upper = desk.dir().path().join("tile/1/000.p/1");
    fs::remove_file(&upper).expect("removed");
    desk.log(10, &mut tree);
    tree.checkpoint(|| Ok(())).expect("written");
    assert!(!upper.exists());
    assert!(desk.dir().path().join("tile/0/001.p/54").exists());
    desk.log(300, &mut tree);
    tree.checkpoint(|| Ok(())).expect("written");
    assert!(desk.dir().path().join("tile/1/000.p/2").exists());
}
