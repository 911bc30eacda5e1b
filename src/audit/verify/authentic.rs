//! A tree whose tiles are believed only as far as they lead to a known root.

use std::collections::HashMap;

use crate::audit::log_files::TREE;
use crate::audit::tree::hash::TreeHash;
use crate::audit::tree::merkle;
use crate::audit::tree::tile::{self, TILE_WIDTH, TileId};
use crate::audit::tree::tile_dir::TreeReader;

/// A tree with a known root.
///
/// A partial tile is authentic if the right edge of the tree leads to the root; a full tile if its hash is in an
/// authentic tile above.
#[derive(Debug)]
pub struct AuthenticTree {
    tiles: TreeReader,
    /// Whether the tiles at the right edge lead to the root.
    is_edge_authentic: bool,
    authentic: HashMap<TileId, bool>,
    /// The last tile of leaves that was asked for.
    current: Option<(TileId, Option<Vec<TreeHash>>)>,
    faults: Vec<(String, String)>,
}

impl AuthenticTree {
    /// A tree of the size of `tiles`.
    pub fn new(mut tiles: TreeReader, root: TreeHash) -> Self {
        let size = tiles.size();
        let mut faults = Vec::new();
        let is_edge_authentic = match merkle::root(&mut tiles, size) {
            Ok(found) if found == root => true,
            Ok(_) => {
                let why = "the last tiles of its levels do not lead to the root of the checkpoint";
                faults.push((format!("{TREE}/tile"), why.to_owned()));
                false
            }
            Err(error) => {
                faults.push((format!("{TREE}/tile"), error.to_string()));
                false
            }
        };
        Self {
            tiles,
            is_edge_authentic,
            authentic: HashMap::new(),
            current: None,
            faults,
        }
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.tiles.size()
    }

    /// The hash of a leaf, if its tile is authentic.
    pub fn leaf(&mut self, index: u64) -> Option<TreeHash> {
        let (id, offset, _) = tile::tile_of(0, index);
        if self
            .current
            .as_ref()
            .is_none_or(|(current, _)| *current != id)
        {
            let is_authentic = self.check(id);
            let hashes = self.tiles.tile(id).ok().map(<[TreeHash]>::to_vec);
            self.current = Some((id, hashes.filter(|_| is_authentic)));
        }
        let (_, hashes) = self.current.as_ref()?;
        hashes.as_ref()?.get(offset).copied()
    }

    /// Whether a tile of the tree is authentic. One that is not is a fault.
    pub fn check(&mut self, id: TileId) -> bool {
        if let Some(known) = self.authentic.get(&id) {
            return *known;
        }
        let is_authentic = match id.width(self.size()) {
            TILE_WIDTH => self.check_full(id),
            _ => self.is_edge_authentic,
        };
        self.authentic.insert(id, is_authentic);
        is_authentic
    }

    fn check_full(&mut self, id: TileId) -> bool {
        let above = TileId {
            level: id.level + 1,
            index: id.index / TILE_WIDTH as u64,
        };
        if !self.check(above) {
            return false;
        }
        let at = usize::try_from(id.index % TILE_WIDTH as u64).unwrap_or_default();
        let wanted = self
            .tiles
            .tile(above)
            .ok()
            .and_then(|it| it.get(at).copied());
        let why = match self.tiles.tile(id) {
            Ok(hashes) if Some(tile::subtree(hashes)) == wanted => return true,
            Ok(_) => "it does not lead to the root of the checkpoint".to_owned(),
            Err(error) => error.to_string(),
        };
        let file = format!("{TREE}/{}", id.path(TILE_WIDTH).display());
        self.faults.push((file, why));
        false
    }

    /// The tiles that are not authentic, each with the reason.
    pub fn take_faults(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.faults)
    }
}
