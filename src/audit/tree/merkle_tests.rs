use std::convert::Infallible;

use proptest::prelude::*;

use super::*;
use crate::audit::tree::frontier::Frontier;

/// A tree by the definitions of RFC 6962, section 2.1, and nothing else.
struct Defined(Vec<TreeHash>);

impl Defined {
    fn new(size: u64) -> Self {
        Self(
            (0..size)
                .map(|it| TreeHash::leaf(&it.to_le_bytes()))
                .collect(),
        )
    }

    fn hash(&self, start: u64, end: u64) -> TreeHash {
        match end - start {
            0 => TreeHash::empty_root(),
            1 => self.0[usize::try_from(start).expect("small")],
            count => {
                let middle = start
                    + (1_u64..)
                        .map(|it| 1 << (it - 1))
                        .take_while(|it| *it < count)
                        .last()
                        .expect("above 1");
                TreeHash::node(&self.hash(start, middle), &self.hash(middle, end))
            }
        }
    }
}

impl Nodes for Defined {
    type Error = Infallible;

    fn node(&mut self, level: u32, index: u64) -> Result<TreeHash, Infallible> {
        Ok(self.hash(index << level, (index + 1) << level))
    }
}

/// The inputs and roots of the test data of Certificate Transparency.
const VECTORS: [(&str, &str); 8] = [
    (
        "",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    ),
    (
        "00",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    ),
    (
        "10",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    ),
    (
        "2021",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (
        "3031",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    ),
    (
        "40414243",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    ),
    (
        "5051525354555657",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    ),
    (
        "606162636465666768696a6b6c6d6e6f",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ),
];

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|it| u8::from_str_radix(std::str::from_utf8(it).expect("text"), 16).expect("hex"))
        .collect()
}

#[test]
fn roots_are_those_of_certificate_transparency() {
    assert_eq!(
        TreeHash::empty_root().to_hex(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    let mut leaves = Defined(Vec::new());
    let mut frontier = Frontier::default();
    for (size, (entry, wanted)) in (1..).zip(VECTORS) {
        let leaf = TreeHash::leaf(&bytes(entry));
        leaves.0.push(leaf);
        frontier.push(leaf, |_, _| {});
        assert_eq!(frontier.root().to_hex(), wanted, "{size}");
        let Ok(root) = root(&mut leaves, size);
        assert_eq!(root.to_hex(), wanted, "{size}");
    }
}

#[test]
fn every_leaf_of_every_small_tree_is_proven_and_nothing_else() {
    for size in 1..=40 {
        let mut tree = Defined::new(size);
        let whole = tree.hash(0, size);
        for index in 0..size {
            let Ok(proof) = inclusion_proof(&mut tree, index, size);
            let leaf = tree.0[usize::try_from(index).expect("small")];
            assert_eq!(verify_inclusion(&proof, index, leaf, size, whole), Ok(()));
            for other in (0..size + 2).filter(|other| *other != index) {
                assert!(verify_inclusion(&proof, other, leaf, size, whole).is_err());
            }
            let long = [proof.as_slice(), &[leaf]].concat();
            assert_eq!(
                verify_inclusion(&long, index, leaf, size, whole),
                Err(ProofError::Length)
            );
            if let Some((_, short)) = proof.split_last() {
                assert!(verify_inclusion(short, index, leaf, size, whole).is_err());
            }
            let other = TreeHash::leaf(b"another");
            assert_eq!(
                verify_inclusion(&proof, index, other, size, whole),
                Err(ProofError::Root)
            );
        }
    }
}

#[test]
fn every_beginning_of_every_small_tree_is_proven_and_nothing_else() {
    for new in 0..=40 {
        let mut tree = Defined::new(new);
        let new_root = tree.hash(0, new);
        for old in 0..=new {
            let Ok(proof) = consistency_proof(&mut tree, old, new);
            let old_root = tree.hash(0, old);
            let verify = |proof: &[TreeHash], old, old_root| {
                verify_consistency(proof, (old, old_root), (new, new_root))
            };
            assert_eq!(verify(&proof, old, old_root), Ok(()), "{old} {new}");
            assert!(verify(&proof, old, TreeHash::leaf(b"another")).is_err());
            let long = [proof.as_slice(), &[new_root]].concat();
            assert!(verify(&long, old, old_root).is_err());
            assert_eq!(verify(&proof, new + 1, old_root), Err(ProofError::Size));
            for at in 0..proof.len() {
                let mut changed = proof.clone();
                changed[at] = TreeHash::leaf(b"another");
                assert!(verify(&changed, old, old_root).is_err(), "{old} {new} {at}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn tiles_and_definitions_agree(size in 1_u64..2_000, at in any::<u64>(), old in any::<u64>()) {
        let (index, old) = (at % size, old % (size + 1));
        let mut tree = Defined::new(size);
        let mut frontier = Frontier::default();
        for leaf in &tree.0 {
            frontier.push(*leaf, |_, _| {});
        }
        let whole = tree.hash(0, size);
        prop_assert_eq!(frontier.root(), whole);
        let Ok(proof) = inclusion_proof(&mut tree, index, size);
        let leaf = tree.hash(index, index + 1);
        prop_assert_eq!(verify_inclusion(&proof, index, leaf, size, whole), Ok(()));
        let Ok(proof) = consistency_proof(&mut tree, old, size);
        let old_root = tree.hash(0, old);
        prop_assert_eq!(verify_consistency(&proof, (old, old_root), (size, whole)), Ok(()));
    }
}
