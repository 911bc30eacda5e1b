use super::*;
use crate::audit::tree::frontier::Frontier;
use crate::audit::tree::merkle;

fn leaf(index: u64) -> TreeHash {
    TreeHash::leaf(&index.to_le_bytes())
}

fn written(dir: &TileDir, sizes: &[u64]) -> Frontier {
    let mut frontier = Frontier::default();
    for &size in sizes {
        let mut full = Vec::new();
        while frontier.size() < size {
            frontier.push(leaf(frontier.size()), |id, hashes| full.push((id, hashes)));
        }
        let tiles = full.iter().map(|(id, hashes)| (*id, hashes.as_slice()));
        dir.write_tiles(tiles.chain(frontier.partial_tiles()), &mut None)
            .expect("written");
        dir.write_checkpoint("checkpoint\n").expect("written");
        full.iter().for_each(|(id, _)| dir.remove_partial(*id));
    }
    frontier
}

#[test]
fn roots_and_leaves_are_read_from_tiles() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = TileDir::new(temporary.path().join("tree"));
    assert!(dir.is_empty());
    assert_eq!(dir.read_checkpoint().expect("readable"), None);
    let frontier = written(&dir, &[1, 200, 256, 700]);
    let mut tree = TreeReader::new(dir.clone(), 700);
    assert_eq!(
        merkle::root(&mut tree, 700).expect("a root"),
        frontier.root()
    );
    for index in [0, 255, 256, 699] {
        assert_eq!(tree.leaf(index).expect("a leaf"), leaf(index));
    }
    assert!(tree.leaf(700).is_err());
    // Smaller trees are in the same tiles.
    let mut small = TreeReader::new(dir.clone(), 200);
    let wanted = written(&TileDir::new(temporary.path().join("other")), &[200]).root();
    assert_eq!(merkle::root(&mut small, 200).expect("a root"), wanted);
    assert_eq!(
        dir.read_checkpoint().expect("readable").as_deref(),
        Some("checkpoint\n")
    );
}

#[test]
fn partial_tiles_are_kept_until_the_full_one_is_there() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = TileDir::new(temporary.path());
    written(&dir, &[1, 2, 255]);
    for width in ["1", "2", "255"] {
        assert!(dir.path().join("tile/0/000.p").join(width).exists());
    }
    written(&dir, &[257]);
    assert!(!dir.path().join("tile/0/000.p").exists());
    assert!(dir.path().join("tile/0/000").exists());
    assert!(dir.path().join("tile/0/001.p/1").exists());
}

#[test]
fn a_partial_tile_takes_the_place_of_those_that_nobody_needs() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = TileDir::new(temporary.path());
    written(&dir, &[1, 2, 255]);
    let id = |index| TileId { level: 0, index };
    let hashes: Vec<_> = (256..300).map(leaf).collect();
    let above = TileId { level: 1, index: 0 };
    let mut unneeded = Some(id(0));
    // One of another level does not, and one that has partial tiles already does not.
    dir.write_tiles([(above, &hashes[..1])], &mut unneeded)
        .expect("written");
    dir.write_tiles([(id(0), &hashes[..9])], &mut unneeded)
        .expect("written");
    assert_eq!(unneeded, Some(id(0)));
    dir.write_tiles([(id(1), &hashes[..])], &mut unneeded)
        .expect("written");
    assert_eq!(unneeded, None);
    assert!(!dir.has_partial(id(0)) && dir.has_partial(id(1)));
    let left = fs::read_dir(dir.path().join("tile/0/001.p")).expect("a directory");
    let left: Vec<_> = left.map(|it| it.expect("a file").file_name()).collect();
    assert_eq!(left, ["44"]);
    assert_eq!(dir.read(id(1), 300).expect("a tile"), hashes);
    // What cannot be moved is removed, and the tile is written all the same.
    fs::create_dir(dir.path().join("tile/0/001.p/deeper")).expect("made");
    let mut unneeded = Some(id(1));
    dir.write_tiles([(id(2), &hashes[..])], &mut unneeded)
        .expect("written");
    assert_eq!(dir.read(id(2), 556).expect("a tile"), hashes);
}

#[test]
fn tiles_of_leaves_are_synced_as_far_as_they_are_there() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = TileDir::new(temporary.path());
    written(&dir, &[1_000]);
    dir.sync_leaves(0..3).expect("synced");
    fs::remove_file(dir.path().join("tile/0/001")).expect("removed");
    dir.sync_leaves(0..3).expect("synced");
}

#[test]
fn damaged_tiles_are_told() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = TileDir::new(temporary.path());
    written(&dir, &[3]);
    let file = dir.path().join("tile/0/000.p/3");
    fs::write(&file, [0; 95]).expect("written");
    let id = TileId { level: 0, index: 0 };
    assert!(matches!(
        dir.read(id, 3),
        Err(TileError::Width { width: 3, .. })
    ));
    fs::remove_file(&file).expect("removed");
    assert!(matches!(dir.read(id, 3), Err(TileError::Read { .. })));
}

#[test]
fn the_working_directory_is_above_what_is_relative() {
    let above = |path| above(Path::new(path)).collect::<Vec<_>>();
    assert_eq!(above("audit/tree"), [Path::new("audit"), Path::new(".")]);
    assert_eq!(above("key"), [Path::new(".")]);
    assert_eq!(above("/audit"), [Path::new("/")]);
}
