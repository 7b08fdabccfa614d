//! The Merkle tree of RFC 6962 §2.1 over a log's leaves: index = seq − 1.
//!
//! The tree is never held: a [`Frontier`] grows with the log, and proofs are made from level 0.

mod frontier;
mod note;
mod proof;
mod prover;

pub use frontier::Frontier;
pub use note::{Checkpoint, NoteError, ProofFile};
pub use proof::{prove_consistency, prove_inclusion, verify_consistency, verify_inclusion};
pub use prover::{Leaves, Prover};

use sha2::{Digest, Sha256};

use crate::ids::Hash;

/// SHA-256(0x00 ‖ leaf).
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Hash(
        Sha256::new_with_prefix([0])
            .chain_update(leaf)
            .finalize()
            .into(),
    )
}

/// SHA-256(0x01 ‖ left ‖ right).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut preimage = [1; 65];
    preimage[1..33].copy_from_slice(&left.0);
    preimage[33..].copy_from_slice(&right.0);
    Hash(Sha256::digest(preimage).into())
}

/// The root of the tree without leaves: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Hash {
    Hash(Sha256::digest([]).into())
}

#[cfg(test)]
mod tests;
