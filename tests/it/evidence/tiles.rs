//! The crate `tlog_tiles`, a port of Go's packages by others, verifies tiles, records and checkpoints that Callgate writes.

use std::fs;
use std::path::{Path, PathBuf};

use tlog_tiles::{
    Checkpoint, Error, Hash, HashReader as _, Tile, TileHashReader, TileReader, check_record,
    check_tree, prove_record, prove_tree, record_hash, stored_hash_index, tree_hash,
};

use crate::evidence::fixtures::{bytes, many, write_log};

/// The tiles of a log, as plain files.
struct Tiles(PathBuf);

impl TileReader for Tiles {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        let read = |tile: &Tile| {
            // C2SP tlog-tiles leaves out the height, which is always 8.
            let path = tile.path().replacen("tile/8/", "tile/", 1);
            let file = self.0.join(&path);
            fs::read(&file).map_err(|error| Error::InvalidInput(format!("{path}: {error}")))
        };
        tiles.iter().map(read).collect()
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

/// The size and root of the checkpoint of a log. Its signature is for others to check.
fn checkpoint(log: &Path) -> (u64, Hash) {
    let note = fs::read_to_string(log.join("tree/checkpoint")).expect("a checkpoint");
    let (text, _) = note.split_once("\n\n").expect("a signed note");
    let parsed = Checkpoint::from_bytes(format!("{text}\n").as_bytes()).expect("it parses");
    (parsed.size(), *parsed.hash())
}

/// Verifies every record of a log against its checkpoint, by its tiles alone.
fn verify(log: &Path, records: &[Vec<u8>]) -> Result<(), Error> {
    let (size, root) = checkpoint(log);
    assert_eq!(size, records.len() as u64);
    let tiles = Tiles(log.join("tree"));
    let reader = TileHashReader::new(size, root, &tiles);
    if tree_hash(size, &reader)? != root {
        return Err(Error::InvalidProof);
    }
    for (index, record) in (0..size).zip(records) {
        let proof = prove_record(size, index, &reader)?;
        check_record(&proof, size, root, index, record_hash(record))?;
    }
    Ok(())
}

#[test]
fn a_crate_of_others_verifies_every_record_and_finds_changes() {
    let dir = tempfile::tempdir().expect("a directory");
    for count in [1, 2, 255, 256, 257, 1_000] {
        let log = dir.path().join(count.to_string());
        let records = many(count);
        write_log(&log, &records, 4);
        let mut records: Vec<Vec<u8>> = records.iter().map(bytes).collect();
        verify(&log, &records).expect("it is as it was logged");
        let middle = records.len() / 2;
        records[middle][0] ^= 1;
        verify(&log, &records).expect_err("a record was changed");
    }
    // A tile that was changed does not fit the checkpoint.
    let log = dir.path().join("1000");
    let tile = log.join("tree/tile/0/001");
    let mut content = fs::read(&tile).expect("a tile");
    content[40] ^= 1;
    fs::write(&tile, content).expect("room");
    let records: Vec<Vec<u8>> = many(1_000).iter().map(bytes).collect();
    verify(&log, &records).expect_err("a tile was changed");
}

#[test]
fn a_crate_of_others_sees_that_a_log_only_grew() {
    let dir = tempfile::tempdir().expect("a directory");
    let [small, large] = [300, 1_000].map(|count| {
        let log = dir.path().join(count.to_string());
        write_log(&log, &many(count), 4);
        log
    });
    let (old_size, old_root) = checkpoint(&small);
    let (size, root) = checkpoint(&large);
    let tiles = Tiles(large.join("tree"));
    let reader = TileHashReader::new(size, root, &tiles);
    let proof = prove_tree(size, old_size, &reader).expect("a proof");
    check_tree(&proof, size, root, old_size, old_root).expect("the log grew");
    let first = reader
        .read_hashes(&[stored_hash_index(0, 0)])
        .expect("the first leaf");
    check_tree(&proof, size, root, old_size, first[0]).expect_err("another log");
}
