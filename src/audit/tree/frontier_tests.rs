use super::*;

#[test]
fn a_frontier_is_made_again_from_its_partial_tiles() {
    let mut frontier = Frontier::default();
    for size in 0..70_000_u64 {
        if size % 997 == 0 || size.is_power_of_two() || size % 256 < 2 {
            let mut levels = Vec::new();
            let mut rest = size;
            while rest > 0 {
                levels.push(Vec::new());
                rest /= 256;
            }
            for (id, hashes) in frontier.partial_tiles() {
                assert_eq!(hashes.len(), id.width(size), "{size}");
                levels[id.level as usize] = hashes.to_vec();
            }
            let again = Frontier::from_partial_tiles(size, levels).expect("fitting tiles");
            assert_eq!(again.root(), frontier.root(), "{size}");
            assert_eq!(again.size(), size);
        }
        frontier.push(TreeHash::leaf(&size.to_le_bytes()), |_, _| {});
    }
}

#[test]
fn tiles_that_do_not_fit_are_refused() {
    let hash = TreeHash::leaf(b"a");
    assert!(Frontier::from_partial_tiles(2, vec![vec![hash]]).is_none());
    assert!(Frontier::from_partial_tiles(256, vec![Vec::new()]).is_none());
    assert!(Frontier::from_partial_tiles(256, vec![Vec::new(), vec![hash]]).is_some());
}

#[test]
fn full_tiles_are_handed_out_once_and_in_order() {
    let mut frontier = Frontier::default();
    let mut tiles = Vec::new();
    for entry in 0..66_000_u64 {
        frontier.push(TreeHash::leaf(&entry.to_le_bytes()), |id, hashes| {
            assert_eq!(hashes.len(), TILE_WIDTH);
            tiles.push(id);
        });
    }
    let leaves = tiles.iter().filter(|it| it.level == 0);
    assert!(leaves.map(|it| it.index).eq(0..257));
    let above: Vec<_> = tiles.iter().filter(|it| it.level > 0).collect();
    assert_eq!(above, [&TileId { level: 1, index: 0 }]);
}

#[test]
fn a_frontier_is_read_as_it_was_written() {
    let mut frontier = Frontier::default();
    for size in 0..70_000_u64 {
        let text = frontier.to_text();
        if size % 255 < 2 || size > 65_500 && size < 65_600 {
            assert_eq!(
                Frontier::from_text(&text).as_ref(),
                Some(&frontier),
                "{size}"
            );
        }
        frontier.push(TreeHash::leaf(&size.to_le_bytes()), |_, _| {});
    }
    let text = frontier.to_text();
    let (size, rest) = text.split_once('\n').expect("two lines");
    let cut = &text[..text.len() - 2];
    let other = format!("{}\n{rest}", size.parse::<u64>().expect("a number") + 1);
    for spoilt in ["", "\n", "x\n", size, cut, &other] {
        assert_eq!(Frontier::from_text(spoilt), None, "{spoilt:.20}");
    }
}
