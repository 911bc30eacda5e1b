//! What a crash, a loss of power, and somebody with an older checkpoint leave behind.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use super::tests::{Desk, tiles};
use super::*;

/// All files below a directory, with their contents.
fn files(folder: &std::path::Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    if !folder.is_dir() {
        return BTreeMap::new();
    }
    let paths = tiles(folder).into_iter();
    paths
        .map(|path| (path.clone(), fs::read(path).expect("a file")))
        .collect()
}

fn put(path: &std::path::Path, content: &[u8]) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, content).expect("written");
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn holds(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// A server that is killed, or loses its power, at any point of what it writes.
struct Honest {
    desk: Desk,
    random: Random,
    /// Every record that was ever written has other bytes, also where a lost one had the same index.
    written: u64,
    /// The records that a loss of power leaves.
    synced: usize,
    /// The tiles that one leaves.
    durable: BTreeMap<std::path::PathBuf, Vec<u8>>,
}

impl Honest {
    fn log(&mut self, tree: &mut TreeWriter) {
        let most = [3, 40, 300, 700][self.random.below(4) as usize];
        for _ in 0..self.random.below(most) {
            let leaf = TreeHash::leaf(&self.written.to_le_bytes());
            self.written += 1;
            self.desk.log.leaves.push(leaf);
            tree.append(leaf);
        }
    }

    /// One life: it begins where the last one ended, and ends anywhere.
    fn live(&mut self) {
        let root = self.desk.dir().path().to_owned();
        let opened = self.desk.open();
        let mut tree = opened.unwrap_or_else(|error| panic!("an honest log: {error}"));
        let mut before = files(&root);
        let mut is_within = false;
        for _ in 0..self.random.below(6) {
            self.log(&mut tree);
            before = files(&root);
            let end = self.desk.log.leaves.len();
            if self.random.below(8) == 0 && tree.size() > tree.signed_size() {
                tree.checkpoint(|| Err(io::Error::other("no disk")))
                    .expect_err("not synced");
                continue;
            }
            tree.checkpoint(|| Ok(())).expect("written");
            self.synced = end;
            is_within = self.random.below(4) == 0;
            if is_within {
                break;
            }
            if self.random.below(3) == 0 {
                tree.sync_tiles().expect("synced");
                self.durable = files(&root.join("tile"));
            }
        }
        drop(tree);
        if is_within {
            self.end_within_a_checkpoint(&root, &before);
        }
        // Records are written before the tree hears of them.
        if self.random.holds() {
            let leaf = TreeHash::leaf(&self.written.to_le_bytes());
            self.written += 1;
            self.desk.log.leaves.push(leaf);
        }
        if self.random.holds() {
            self.lose_power(&root);
        }
    }

    /// Takes back the last of what a checkpoint writes: first tiles, then the checkpoint, then partial tiles are removed.
    fn end_within_a_checkpoint(
        &mut self,
        root: &std::path::Path,
        before: &BTreeMap<std::path::PathBuf, Vec<u8>>,
    ) {
        let after = files(root);
        let removed = before.iter().filter(|(path, _)| !after.contains_key(*path));
        removed.for_each(|(path, content)| put(path, content));
        if self.random.below(4) == 0 {
            return;
        }
        let checkpoint = root.join("checkpoint");
        put(&checkpoint, &before[&checkpoint]);
        for path in after.keys().filter(|path| !before.contains_key(*path)) {
            if self.random.below(4) == 0 {
                fs::remove_file(path).expect("removed");
            }
        }
    }

    /// Takes of what was not synced whatever it likes.
    fn lose_power(&mut self, root: &std::path::Path) {
        let lost = self.desk.log.leaves.len() - self.synced;
        let lost = self.random.below(lost as u64 + 1) as usize;
        let left = self.desk.log.leaves.len() - lost;
        self.desk.log.leaves.truncate(left);
        let now = files(&root.join("tile"));
        for (path, content) in &now {
            if self.durable.get(path) == Some(content) {
                continue;
            }
            match self.random.below(6) {
                0 => fs::remove_file(path).expect("removed"),
                1 => put(path, b""),
                2 => put(path, &vec![0; content.len()]),
                3 => {
                    let sectors = content.len() / 2 / 512 * 512;
                    let mut half = content.clone();
                    half[sectors..].fill(0);
                    put(path, &half);
                }
                // What was in these blocks before.
                4 => put(
                    path,
                    &(0..content.len()).map(|it| it as u8).collect::<Vec<_>>(),
                ),
                _ => {}
            }
        }
        for (path, content) in &self.durable {
            if !now.contains_key(path) && self.random.holds() {
                put(path, content);
            }
        }
        self.durable = files(&root.join("tile"));
    }
}

#[test]
fn every_state_that_a_crash_or_a_loss_of_power_leaves_is_continued() {
    for seed in 0..6 {
        let mut desk = Desk::new();
        drop(desk.open().expect("a tree"));
        let mut honest = Honest {
            desk,
            random: Random(seed),
            written: 0,
            synced: 0,
            durable: BTreeMap::new(),
        };
        for _ in 0..12 {
            honest.live();
        }
        honest.desk.open().expect("a tree");
    }
}

#[test]
fn an_older_checkpoint_signs_no_records_that_were_changed_or_cut() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let mut desk = Desk::with(random.below(400), 0);
        let signed = desk.checkpoint().size;
        let older = fs::read(desk.dir().path().join("checkpoint")).expect("a checkpoint");
        let mut tree = desk.open().expect("a tree");
        for _ in 0..=random.below(5) {
            let count = 1 + random.below(400);
            desk.log(count, &mut tree);
            tree.checkpoint(|| Ok(())).expect("written");
            if random.holds() {
                tree.sync_tiles().expect("synced");
            }
        }
        drop(tree);
        if random.holds() {
            // Who knows of the file removes it.
            fs::remove_file(desk.dir().path().join("frontier")).expect("removed");
        }
        fs::write(desk.dir().path().join("checkpoint"), older).expect("written");
        let end = desk.log.leaves.len() as u64;
        if random.holds() {
            let cut = signed + random.below(end - signed);
            desk.log
                .leaves
                .truncate(usize::try_from(cut).expect("small"));
        } else {
            // A block with no other hash might be what a loss of power left.
            let changed = signed + random.below(end - signed);
            if changed.is_multiple_of(128) && changed + 1 == end {
                continue;
            }
            desk.log.leaves[usize::try_from(changed).expect("small")] = TreeHash::leaf(b"another");
        }
        let before = files(desk.dir().path());
        let opened = desk.open();
        assert!(
            matches!(
                opened,
                Err(TreeError::RolledBack { .. }
                    | TreeError::Record { .. }
                    | TreeError::Hashed { .. })
            ),
            "{seed}: {opened:?}"
        );
        // What shows it stays.
        assert_eq!(files(desk.dir().path()), before);
    }
}
