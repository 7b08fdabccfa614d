//! The tree against two independent implementations of RFC 6962.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof};
use hbuf_core::ids::Hash;
use hbuf_core::tree::{
    Checkpoint, Frontier, Leaves, leaf_hash, prove_consistency, prove_inclusion,
    verify_consistency, verify_inclusion,
};
use proptest::prelude::*;
use sha2::Sha256;
use tlog_tiles::tlog;

/// A tree of tlog_tiles, all its hashes in memory.
struct Tlog {
    hashes: Vec<tlog::Hash>,
}

impl tlog::HashReader for Tlog {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
        Ok(indexes
            .iter()
            .map(|&index| self.hashes[index as usize])
            .collect())
    }
}

fn leaf(index: u64) -> Vec<u8> {
    format!("leaf {index}").into_bytes()
}

/// The same leaves in three trees.
fn trees(size: u64) -> (Vec<Hash>, Tlog, MemoryBackedTree<Sha256, Vec<u8>>) {
    let mut ours = Vec::new();
    let mut tiles = Tlog { hashes: Vec::new() };
    let mut merkle = MemoryBackedTree::new();
    for index in 0..size {
        ours.push(leaf_hash(&leaf(index)));
        let stored = tlog::stored_hashes(index, &leaf(index), &tiles).unwrap();
        tiles.hashes.extend(stored);
        merkle.push(leaf(index));
    }
    (ours, tiles, merkle)
}

fn bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

fn theirs(hashes: &[Hash]) -> Vec<tlog::Hash> {
    hashes.iter().map(|hash| tlog::Hash(hash.0)).collect()
}

#[test]
fn roots_are_those_of_both_other_trees_at_every_size() {
    let (ours, tiles, _) = trees(300);
    let mut merkle = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let mut frontier = Frontier::new();
    for size in 0..=300_u64 {
        assert_eq!(
            tlog::tree_hash(size, &tiles).unwrap().0,
            frontier.root().0,
            "{size}"
        );
        assert_eq!(
            merkle.root().as_bytes().as_slice(),
            frontier.root().0,
            "{size}"
        );
        if size < 300 {
            frontier.push(ours[size as usize]);
            merkle.push(leaf(size));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn inclusion_proofs_are_those_of_both_other_trees(size in 1_u64..400, at: prop::sample::Index) {
        let index = at.index(size as usize) as u64;
        let (ours, tiles, merkle) = trees(size);
        let base = Frontier::new();
        let leaves = Leaves { base: &base, hashes: &ours };
        let proof = prove_inclusion(index, size, &mut |a, b| leaves.node(a, b)).unwrap();
        let root = Hash(tlog::tree_hash(size, &tiles).unwrap().0);
        let id = ours[index as usize];

        let other = tlog::prove_record(size, index, &tiles).unwrap();
        prop_assert_eq!(theirs(&proof), other.clone());
        let (their_root, their_id) = (tlog::Hash(root.0), tlog::Hash(id.0));
        prop_assert!(tlog::check_record(&other, size, their_root, index, their_id).is_ok());
        prop_assert!(verify_inclusion(&id, index, size, &proof, &root));

        let other = merkle.prove_inclusion(index as usize);
        prop_assert_eq!(other.as_bytes(), bytes(&proof));
        let ours = InclusionProof::<Sha256>::from_bytes(bytes(&proof));
        prop_assert!(merkle.root().verify_inclusion(&leaf(index), index, &ours).is_ok());
    }

    #[test]
    fn consistency_proofs_are_those_of_both_other_trees(
        new in 1_u64..400,
        at: prop::sample::Index,
    ) {
        let old = at.index(new as usize) as u64 + 1;
        let (ours, tiles, merkle) = trees(new);
        let base = Frontier::new();
        let leaves = Leaves { base: &base, hashes: &ours };
        let proof = prove_consistency(old, new, &mut |a, b| leaves.node(a, b)).unwrap();
        let root = |size| Hash(tlog::tree_hash(size, &tiles).unwrap().0);
        let (old_root, new_root) = (root(old), root(new));

        let other = tlog::prove_tree(new, old, &tiles).unwrap();
        prop_assert_eq!(theirs(&proof), other.clone());
        let (their_new, their_old) = (tlog::Hash(new_root.0), tlog::Hash(old_root.0));
        prop_assert!(tlog::check_tree(&other, new, their_new, old, their_old).is_ok());
        prop_assert!(verify_consistency(old, new, &old_root, &new_root, &proof));

        let other = merkle.prove_consistency((new - old) as usize);
        prop_assert_eq!(other.as_bytes(), bytes(&proof));
        prop_assert!(ConsistencyProof::<Sha256>::try_from_bytes(bytes(&proof)).is_ok());
    }
}

#[test]
fn checkpoints_are_read_by_the_other_tree_and_the_other_way_round() {
    let (ours, _, _) = trees(11);
    let mut frontier = Frontier::new();
    ours.iter().for_each(|leaf| frontier.push(*leaf));
    let checkpoint = Checkpoint {
        origin: "example.com/log".into(),
        size: 11,
        root: frontier.root(),
    };
    let mut text = Vec::new();
    checkpoint.encode(&mut text);
    let other = tlog_tiles::Checkpoint::from_bytes(&text).unwrap();
    assert_eq!((other.origin(), other.size()), ("example.com/log", 11));
    assert_eq!(other.hash().0, checkpoint.root.0);
    let again = String::from_utf8(other.to_bytes()).unwrap();
    assert_eq!(Checkpoint::parse(&again), Ok(checkpoint));
}
