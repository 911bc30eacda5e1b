use super::*;

#[test]
fn paths_are_those_of_the_specification() {
    for (level, index, width, path) in [
        (0, 0, 256, "tile/0/000"),
        (0, 1_234_067, 256, "tile/0/x001/x234/067"),
        (0, 1_234_067, 8, "tile/0/x001/x234/067.p/8"),
        (1, 999, 255, "tile/1/999.p/255"),
        (2, 1_000, 256, "tile/2/x001/000"),
    ] {
        let id = TileId { level, index };
        assert_eq!(id.path(width).to_str(), Some(path));
    }
}

#[test]
fn widths_are_those_of_the_specification() {
    let size = 70_000;
    for (level, index, width) in [
        (0, 272, 256),
        (0, 273, 112),
        (0, 274, 0),
        (1, 0, 256),
        (1, 1, 17),
        (2, 0, 1),
        (3, 0, 0),
    ] {
        assert_eq!(
            TileId { level, index }.width(size),
            width,
            "{level} {index}"
        );
    }
    let id = TileId { level: 8, index: 0 };
    assert_eq!(id.width(u64::MAX), 0);
}

#[test]
fn a_subtree_is_found_in_its_tile() {
    let id = |level, index| TileId { level, index };
    assert_eq!(tile_of(0, 0), (id(0, 0), 0, 1));
    assert_eq!(tile_of(0, 300), (id(0, 1), 44, 1));
    assert_eq!(tile_of(3, 32), (id(0, 1), 0, 8));
    assert_eq!(tile_of(7, 3), (id(0, 1), 128, 128));
    assert_eq!(tile_of(8, 257), (id(1, 1), 1, 1));
    assert_eq!(tile_of(17, 5), (id(2, 0), 10, 2));
}

#[test]
fn only_whole_tiles_are_read() {
    let hashes = [TreeHash::leaf(b"a"), TreeHash::leaf(b"b")];
    let bytes = to_bytes(&hashes);
    assert_eq!(from_bytes(&bytes, 2).as_deref(), Some(&hashes[..]));
    assert_eq!(from_bytes(&bytes, 1), None);
    assert_eq!(from_bytes(&bytes[1..], 2), None);
}
