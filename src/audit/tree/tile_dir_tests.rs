use super::*;
use crate::audit::tree::frontier::Frontier;
use crate::audit::tree::merkle;

fn leaf(index: u64) -> TreeHash {
    TreeHash::leaf(&index.to_le_bytes())
}

fn written(dir: &TileDir, sizes: &[u64]) -> Frontier {
    let mut frontier = Frontier::default();
    for &size in sizes {
        let mut full: Vec<(TileId, Vec<TreeHash>)> = Vec::new();
        while frontier.size() < size {
            frontier.push(leaf(frontier.size()), |id, hashes| full.push((id, hashes)));
        }
        let tiles = full.iter().map(|(id, hashes)| (*id, hashes.as_slice()));
        let tiles: Vec<_> = tiles.chain(frontier.partial_tiles()).collect();
        dir.write_tiles(tiles.iter().copied()).expect("written");
        dir.write_checkpoint("checkpoint\n").expect("written");
        full.iter().for_each(|(id, _)| dir.remove_partial(*id));
        let widths = tiles.iter().map(|(id, hashes)| (*id, hashes.len()));
        dir.sync(widths).expect("synced");
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

#[test]
fn records_are_needed_from_the_frontier_on_while_it_moves() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = TileDir::new(temporary.path());
    let needed = |later| dir.needs_records_from(SystemTime::now() + Duration::from_secs(later));
    assert_eq!(needed(0).expect("readable"), u64::MAX);
    let frontier = written(&dir, &[300]);
    dir.write_frontier(&frontier).expect("written");
    assert_eq!(needed(0).expect("readable"), 300);
    assert_eq!(needed(700).expect("readable"), u64::MAX);
    for damage in [&b"300\n"[..], b"\xff", b""] {
        fs::write(dir.path().join("frontier"), damage).expect("written");
        let read = dir.read_frontier();
        assert!(matches!(read, Err(FrontierError::Damaged(_))), "{read:?}");
        assert_eq!(needed(0).expect("readable"), u64::MAX);
    }
}

#[test]
fn tiles_are_listed_from_an_index_on_also_behind_ones_that_are_missing() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = TileDir::new(temporary.path());
    let hash = [TreeHash::leaf(b"x")];
    let tile = |index| TileId { level: 0, index };
    let indices = [3, 67, 999, 1_000, 1_067, 380_001, 1_005_067];
    let tiles = indices.map(|index| (tile(index), &hash[..]));
    dir.write_tiles(tiles).expect("written");
    let full = [hash[0]; TILE_WIDTH];
    dir.write_tiles([(tile(67), &full[..])]).expect("written");
    for name in [
        "tile/0/x000/005",
        "tile/0/0067",
        "tile/0/001.p/256",
        "tile/0/y",
    ] {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, "").expect("written");
    }
    let from = |start| {
        let found = dir.tiles_from(0, start).expect("readable");
        let found = found.into_iter();
        found
            .map(|(id, width)| (id.index, width))
            .collect::<Vec<_>>()
    };
    let all = [
        (3, 1),
        (67, 1),
        (67, TILE_WIDTH),
        (999, 1),
        (1_000, 1),
        (1_067, 1),
        (380_001, 1),
        (1_005_067, 1),
    ];
    assert_eq!(from(0), all);
    for (start, skipped) in [(4, 1), (68, 3), (1_000, 4), (1_001, 5), (1_068, 6)] {
        assert_eq!(from(start), all[skipped..], "{start}");
    }
    assert_eq!(from(1_005_068), []);
    assert_eq!(dir.tiles_from(1, 0).expect("readable"), []);
}
