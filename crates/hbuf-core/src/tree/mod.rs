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

use sha2::block_api::compress256;
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
    let mut preimage = [0; 128];
    preimage[0] = 1;
    preimage[1..33].copy_from_slice(&left.0);
    preimage[33..65].copy_from_slice(&right.0);
    hash_in_place(&mut preimage, 65)
}

/// SHA-256 of the first `len` bytes of a buffer that is zero behind them and has room for the
/// padding of nine bytes. The general hasher's buffering costs a third more on what a message
/// needs.
pub(crate) fn hash_in_place<const N: usize>(buffer: &mut [u8; N], len: usize) -> Hash {
    let end = (len + 9).next_multiple_of(64);
    buffer[len] = 0x80;
    buffer[end - 8..end].copy_from_slice(&(len as u64 * 8).to_be_bytes());
    let mut state = INITIAL;
    compress256(&mut state, buffer[..end].as_chunks().0);
    let mut hash = Hash::default();
    for (bytes, word) in hash.0.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    hash
}

/// The initial state of SHA-256 (FIPS 180-4 §5.3.3).
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The root of the tree without leaves: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Hash {
    Hash(Sha256::digest([]).into())
}

#[cfg(test)]
mod tests;
