//! Roots and proofs of the Merkle tree of RFC 6962, section 2.1, from the hashes of its complete subtrees; and their
//! verification as in RFC 9162, sections 2.1.3.2 and 2.1.4.2.

use crate::audit::tree::hash::TreeHash;

/// Proofs are never longer: one hash for each level of a tree of 2^64 leaves, and one more for consistency.
pub const MAX_PROOF_HASHES: usize = 65;

/// The hashes of complete subtrees.
pub trait Nodes {
    /// Why a hash cannot be had.
    type Error;

    /// The hash of the subtree over the leaves from `index << level` up to, not including, `(index + 1) << level`.
    ///
    /// # Errors
    ///
    /// If the hash cannot be read. Callers ask for complete subtrees of the tree alone.
    fn node(&mut self, level: u32, index: u64) -> Result<TreeHash, Self::Error>;
}

/// Why a proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The index is not in the tree, or the first tree is larger than the second.
    #[error("the proof is about a tree that does not have this size")]
    Size,
    /// The proof has too few or too many hashes.
    #[error("the proof has the wrong number of hashes")]
    Length,
    /// The hashes lead to another root.
    #[error("the proof leads to another root hash")]
    Root,
}

/// The root of the tree with the first `size` leaves.
///
/// # Errors
///
/// If a node cannot be read.
pub fn root<N: Nodes>(nodes: &mut N, size: u64) -> Result<TreeHash, N::Error> {
    match size {
        0 => Ok(TreeHash::empty_root()),
        size => range(nodes, 0, size),
    }
}

/// The inclusion proof of a leaf, from the leaf's sibling up: `PATH(index, D[size])`. `index` must be below `size`.
///
/// # Errors
///
/// If a node cannot be read.
pub fn inclusion_proof<N: Nodes>(
    nodes: &mut N,
    index: u64,
    size: u64,
) -> Result<Vec<TreeHash>, N::Error> {
    debug_assert!(index < size);
    let (mut start, mut end) = (0, size);
    let mut siblings = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        let sibling = if index < middle {
            let sibling = (middle, end);
            end = middle;
            sibling
        } else {
            let sibling = (start, middle);
            start = middle;
            sibling
        };
        siblings.push(sibling);
    }
    let hashes = siblings.into_iter().rev();
    hashes
        .map(|(start, end)| range(nodes, start, end))
        .collect()
}

/// The proof that the tree of `old` leaves is the beginning of the tree of `new` leaves: `PROOF(old, D[new])`; empty
/// if `old` is 0 or `new`. `old` must not be above `new`.
///
/// # Errors
///
/// If a node cannot be read.
pub fn consistency_proof<N: Nodes>(
    nodes: &mut N,
    old: u64,
    new: u64,
) -> Result<Vec<TreeHash>, N::Error> {
    debug_assert!(old <= new);
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let (mut start, mut end) = (0, new);
    let mut ranges = Vec::new();
    while end > old {
        let middle = start + split(end - start);
        if old <= middle {
            ranges.push((middle, end));
            end = middle;
        } else {
            ranges.push((start, middle));
            start = middle;
        }
    }
    // The verifier has the old root itself when it is the hash of the leftmost subtree.
    if start > 0 {
        ranges.push((start, end));
    }
    let hashes = ranges.into_iter().rev();
    hashes
        .map(|(start, end)| range(nodes, start, end))
        .collect()
}

/// Checks that `leaf` has this index in the tree of this size and root.
///
/// # Errors
///
/// If it has not, or the proof has another form.
pub fn verify_inclusion(
    proof: &[TreeHash],
    index: u64,
    leaf: TreeHash,
    size: u64,
    root: TreeHash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Size);
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            hash = TreeHash::node(sibling, &hash);
            // A node without a right sibling rises until it has a left one.
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = TreeHash::node(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    match (last, hash == root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        _ => Err(ProofError::Length),
    }
}

/// Checks that the tree of `old` leaves is the beginning of the tree of `new` leaves.
///
/// # Errors
///
/// If it is not, or the proof has another form.
pub fn verify_consistency(
    proof: &[TreeHash],
    (old, old_root): (u64, TreeHash),
    (new, new_root): (u64, TreeHash),
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Size);
    }
    if old == 0 || old == new {
        let is_root = match old {
            0 => old_root == TreeHash::empty_root(),
            _ => old_root == new_root,
        };
        return match (proof, is_root) {
            ([], true) => Ok(()),
            ([], false) => Err(ProofError::Root),
            _ => Err(ProofError::Length),
        };
    }
    let mut hashes = proof.iter();
    let (mut node, mut last) = (old - 1, new - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let first = if old.is_power_of_two() {
        old_root
    } else {
        *hashes.next().ok_or(ProofError::Length)?
    };
    let (mut old_hash, mut new_hash) = (first, first);
    for sibling in hashes {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            old_hash = TreeHash::node(sibling, &old_hash);
            new_hash = TreeHash::node(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = TreeHash::node(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    match last {
        0 if old_hash == old_root && new_hash == new_root => Ok(()),
        0 => Err(ProofError::Root),
        _ => Err(ProofError::Length),
    }
}

/// The number of leaves left of the root: the largest power of two below `size`, which is above 1.
fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

/// The hash over the leaves from `start` to `end`, where `start` is a multiple of the smallest power of two that is not
/// below their number.
fn range<N: Nodes>(nodes: &mut N, start: u64, end: u64) -> Result<TreeHash, N::Error> {
    let mut peaks = Vec::new();
    let mut at = start;
    while at < end {
        let level = u64::BITS - 1 - (end - at).leading_zeros();
        peaks.push(nodes.node(level, at >> level)?);
        at += 1 << level;
    }
    Ok(fold(&peaks))
}

/// Joins complete subtrees, the largest first, to one hash. Without any it is the root of the empty tree.
pub fn fold(peaks: &[TreeHash]) -> TreeHash {
    let mut from_right = peaks.iter().rev();
    let Some(&last) = from_right.next() else {
        return TreeHash::empty_root();
    };
    from_right.fold(last, |right, left| TreeHash::node(left, &right))
}

#[cfg(test)]
#[path = "merkle_tests.rs"]
mod tests;
