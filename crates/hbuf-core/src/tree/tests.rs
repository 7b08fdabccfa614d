//! The tree against brute force, and its proofs against every wrong variant of small trees.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::*;

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|at| leaf_hash(&at.to_be_bytes())).collect()
}

/// The definition in RFC 6962 §2.1, word by word.
fn root_by_definition(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&root_by_definition(left), &root_by_definition(right))
        }
    }
}

fn frontier(leaves: &[Hash]) -> Frontier {
    let mut frontier = Frontier::new();
    leaves.iter().for_each(|leaf| frontier.push(*leaf));
    frontier
}

#[test]
fn the_frontier_has_the_root_of_the_definition() {
    let leaves = leaves(70);
    for size in 0..=70 {
        let grown = frontier(&leaves[..size]);
        assert_eq!(grown.root(), root_by_definition(&leaves[..size]), "{size}");
        let parts = Frontier::from_parts(grown.size(), grown.nodes().to_vec());
        assert_eq!(parts, Some(grown));
    }
    assert_eq!(Frontier::from_parts(3, leaves[..1].to_vec()), None);
}

#[test]
fn every_inclusion_proof_of_small_trees_is_accepted_and_no_other() {
    let leaves = leaves(34);
    let base = Frontier::new();
    let all = Leaves {
        base: &base,
        hashes: &leaves,
    };
    for size in 1..=34_u64 {
        let root = root_by_definition(&leaves[..size as usize]);
        for index in 0..size {
            let proof = prove_inclusion(index, size, &mut |a, b| all.node(a, b)).unwrap();
            let leaf = &leaves[index as usize];
            assert!(
                verify_inclusion(leaf, index, size, &proof, &root),
                "{index} of {size}"
            );
            assert!(!verify_inclusion(
                &Hash::default(),
                index,
                size,
                &proof,
                &root
            ));
            assert!(!verify_inclusion(
                leaf,
                index,
                size,
                &proof,
                &Hash::default()
            ));
            for other in (0..size).filter(|&other| other != index) {
                assert!(!verify_inclusion(leaf, other, size, &proof, &root));
            }
            if let Some((_, short)) = proof.split_last() {
                assert!(!verify_inclusion(leaf, index, size, short, &root));
            }
            let long = [&proof[..], &[root]].concat();
            assert!(!verify_inclusion(leaf, index, size, &long, &root));
        }
        assert_eq!(
            prove_inclusion(size, size, &mut |a, b| all.node(a, b)),
            None
        );
        assert!(!verify_inclusion(&leaves[0], size, size, &[], &root));
    }
}

#[test]
fn every_consistency_proof_of_small_trees_is_accepted_and_no_other() {
    let leaves = leaves(34);
    let base = Frontier::new();
    let all = Leaves {
        base: &base,
        hashes: &leaves,
    };
    let root = |size: u64| root_by_definition(&leaves[..size as usize]);
    for new in 0..=34_u64 {
        for old in 0..=new {
            let proof = prove_consistency(old, new, &mut |a, b| all.node(a, b)).unwrap();
            let check = |old_root: &Hash, new_root: &Hash, proof: &[Hash]| {
                verify_consistency(old, new, old_root, new_root, proof)
            };
            assert!(check(&root(old), &root(new), &proof), "{old} to {new}");
            assert!(!check(&Hash::default(), &root(new), &proof) || old == new);
            assert!(!check(&root(old), &Hash::default(), &proof) || old == 0);
            let long = [&proof[..], &[Hash::default()]].concat();
            assert!(!check(&root(old), &root(new), &long));
            if let Some((_, short)) = proof.split_last() {
                assert!(!check(&root(old), &root(new), short));
            }
        }
        assert_eq!(
            prove_consistency(new + 1, new, &mut |a, b| all.node(a, b)),
            None
        );
        assert!(!verify_consistency(new + 1, new, &root(0), &root(new), &[]));
    }
}

#[test]
fn what_is_kept_is_provable_without_what_was_dropped() {
    let leaves = leaves(41);
    for kept in 0..=41_u64 {
        let (dropped, hashes) = leaves.split_at(kept as usize);
        let base = frontier(dropped);
        let rest = Leaves {
            base: &base,
            hashes,
        };
        for size in kept..=41 {
            let root = root_by_definition(&leaves[..size as usize]);
            let mut prover = Prover::new(base.clone());
            for index in kept..size {
                prover.want_inclusion(index, size);
            }
            for old in kept..=size {
                prover.want_consistency(old, size);
            }
            hashes[..(size - kept) as usize]
                .iter()
                .for_each(|leaf| prover.push(*leaf));
            assert_eq!(prover.frontier().root(), root);
            for index in kept..size {
                let proof = prove_inclusion(index, size, &mut |a, b| rest.node(a, b));
                assert_eq!(proof, prover.inclusion(index, size));
                let leaf = &leaves[index as usize];
                assert!(verify_inclusion(leaf, index, size, &proof.unwrap(), &root));
            }
            for old in kept..=size {
                let proof = prove_consistency(old, size, &mut |a, b| rest.node(a, b));
                assert_eq!(proof, prover.consistency(old, size));
                let old_root = root_by_definition(&leaves[..old as usize]);
                assert!(verify_consistency(
                    old,
                    size,
                    &old_root,
                    &root,
                    &proof.unwrap()
                ));
            }
        }
        if kept > 1 {
            let proof = prove_inclusion(0, 41, &mut |a, b| rest.node(a, b));
            assert_eq!(proof, None, "a dropped leaf has no proof");
        }
    }
}

#[test]
fn checkpoint_and_proof_files_read_back_and_refuse_other_texts() {
    let leaves = leaves(9);
    let base = Frontier::new();
    let all = Leaves {
        base: &base,
        hashes: &leaves,
    };
    let file = ProofFile {
        index: 4,
        extra: b"leaf".to_vec(),
        hashes: prove_inclusion(4, 9, &mut |a, b| all.node(a, b)).unwrap(),
        checkpoint: Checkpoint {
            origin: "example.com/log".into(),
            size: 9,
            root: root_by_definition(&leaves),
        },
        signatures: "\n\u{2014} example.com/log Az3g\n".into(),
    };
    let mut text = Vec::new();
    file.encode(&mut text);
    let text = core::str::from_utf8(&text).unwrap();
    assert!(
        text.starts_with("c2sp.org/tlog-proof@v1\nextra bGVhZg==\nindex 4\n"),
        "{text}"
    );
    let read = ProofFile::parse(text).unwrap();
    assert_eq!(read, file);
    assert!(read.verify(&leaves[4]));
    assert!(!read.verify(&leaves[5]));
    for end in 0..text.len() - file.signatures.len() {
        assert!(ProofFile::parse(&text[..end]).is_err(), "{end}");
    }
    let error = ProofFile::parse(&text.replace("index 4", "index 04")).unwrap_err();
    assert_eq!(error.to_string(), "line 3: expected `index` and a number");
    assert_eq!(
        Checkpoint::parse("\n9\n\n").unwrap_err().to_string(),
        "line 1: expected the log's origin"
    );
}
