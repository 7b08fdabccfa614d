//! The two hashes of a message: its content's commitment and its leaf, whose hash is `x-hbuf-id`.
//!
//! The commitment hides the content behind a salt, so that content and salt can be wiped while the
//! leaf, and with it every proof, stays as it was. Layout and vectors: `docs/FORMAT.md`.

use alloc::vec::Vec;

use sha2::{Digest, Sha256};

use crate::ids::{Hash, Micros, Seq, Uuid};
use crate::record::Facts;
use crate::tree::hash_in_place;

/// First bytes of a commitment's preimage.
pub const CONTENT_LABEL: &[u8; 16] = b"hbuf/content/v1\0";
/// First bytes of the preimage of the server facts' hash.
pub const FACTS_LABEL: &[u8; 14] = b"hbuf/facts/v1\0";
/// First bytes of a leaf. Ten, so that the leaf with its 0x00 fills two blocks of SHA-256 exactly.
pub const LEAF_LABEL: &[u8; 10] = b"hbuf/leaf1";
/// Length of a leaf.
pub const LEAF_LEN: usize = 118;

/// SHA-256(label ‖ salt ‖ be32 length of the lines ‖ the lines ‖ body as stored).
///
/// The lines are the user's `name: value` lines as they stand in the record, CRLFs included. A name
/// holds no colon and a value no CR, so the block reads in one way only and one length suffices.
#[must_use]
pub fn commitment(salt: &[u8; 32], lines: &[u8], body: &[u8]) -> Hash {
    let lines_len = u32::try_from(lines.len()).expect("header lines are bounded by limits.rs");
    let mut start = [0; 52];
    start[..16].copy_from_slice(CONTENT_LABEL);
    start[16..48].copy_from_slice(salt);
    start[48..].copy_from_slice(&lines_len.to_be_bytes());
    let hash = Sha256::new_with_prefix(start)
        .chain_update(lines)
        .chain_update(body);
    Hash(hash.finalize().into())
}

/// SHA-256(label ‖ the facts' lines). A plain message's is [`PLAIN_FACTS`], without hashing.
#[must_use]
pub fn facts_hash(facts: &Facts) -> Hash {
    if facts.is_plain() {
        return PLAIN_FACTS;
    }
    let mut preimage = Vec::with_capacity(FACTS_LABEL.len() + facts.encoded_len());
    preimage.extend_from_slice(FACTS_LABEL);
    facts.encode(&mut preimage);
    Hash(Sha256::digest(preimage).into())
}

/// What a message adds to its log's tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Leaf {
    /// The log, as its copies inherit it.
    pub log: Uuid,
    /// The message's number.
    pub seq: Seq,
    /// Server time.
    pub time: Micros,
    /// Bytes of the record's head.
    pub head_len: u32,
    /// Bytes of the body as stored.
    pub body_len: u64,
    /// Hash of the server facts.
    pub facts: Hash,
    /// The content's commitment.
    pub commitment: Hash,
}

impl Leaf {
    /// The leaf's bytes: label ‖ log ‖ be64 seq ‖ be64 time ‖ be32 head ‖ be64 body ‖ facts ‖
    /// commitment.
    #[must_use]
    pub fn encode(&self) -> [u8; LEAF_LEN] {
        let mut out = [0; LEAF_LEN];
        out[..10].copy_from_slice(LEAF_LABEL);
        out[10..26].copy_from_slice(&self.log.0);
        out[26..34].copy_from_slice(&self.seq.0.to_be_bytes());
        out[34..42].copy_from_slice(&self.time.0.to_be_bytes());
        out[42..46].copy_from_slice(&self.head_len.to_be_bytes());
        out[46..54].copy_from_slice(&self.body_len.to_be_bytes());
        out[54..86].copy_from_slice(&self.facts.0);
        out[86..].copy_from_slice(&self.commitment.0);
        out
    }

    /// `x-hbuf-id`: SHA-256(0x00 ‖ leaf), the leaf hash of RFC 6962 §2.1.
    #[must_use]
    pub fn id(&self) -> Hash {
        let mut preimage = [0; 128];
        preimage[1..=LEAF_LEN].copy_from_slice(&self.encode());
        hash_in_place(&mut preimage, LEAF_LEN + 1)
    }
}

/// [`facts_hash`] of a plain data message: SHA-256 of the label alone.
pub const PLAIN_FACTS: Hash = Hash([
    0x7e, 0xd4, 0xb9, 0xfd, 0xee, 0x2f, 0x65, 0x6b, 0x38, 0xe3, 0xaa, 0xa0, 0xef, 0xcd, 0x3a, 0x56,
    0xa9, 0xb6, 0xe2, 0xc3, 0x7b, 0xef, 0x33, 0xa6, 0x9f, 0x32, 0xcb, 0x42, 0xcc, 0xdd, 0xc0, 0x5b,
]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_no_facts_is_the_constant() {
        assert_eq!(PLAIN_FACTS, Hash(Sha256::digest(FACTS_LABEL).into()));
    }

    #[test]
    fn the_boundary_between_lines_and_body_is_committed() {
        let salt = [7; 32];
        let lines = b"a: 1\r\n";
        assert_ne!(
            commitment(&salt, lines, b"x"),
            commitment(&salt, b"", b"a: 1\r\nx")
        );
    }
}
