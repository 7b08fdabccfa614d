//! Framing: from a message's parts to a record's bytes, once per append.

use alloc::vec::Vec;

use super::facts::Facts;
use super::line::{CRC_AT, LINE_LEN, Line, State};
use super::{CONTENT_LENGTH, GONE, HOST, ID, SALT, crc};
use crate::digits::{
    BASE64_HASH_LEN, decimal_len, push_decimal, write_base64url, write_hash, write_hex_8,
};
use crate::ids::{Epoch, Hash, Micros, Seq};

/// What ties a record to its log's tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// A live message: the salt of its commitment, and its id.
    Salted {
        /// 32 random bytes, kept only in the record.
        salt: [u8; 32],
        /// `x-hbuf-id`, the leaf's hash.
        id: Hash,
    },
    /// An erased message: the commitment in the salt's place, and its id.
    Gone {
        /// What the content's commitment was.
        commitment: Hash,
        /// `x-hbuf-id`, the leaf's hash.
        id: Hash,
    },
    /// A log without a tree (journal, cursors, manager) or a head.
    None,
}

/// How a [`Proof`] stands in the head; the first two have the same width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProofKind {
    /// A salt and an id.
    Salted,
    /// A commitment and an id.
    Gone,
    /// Nothing.
    None,
}

/// The parts of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame<'a> {
    /// The message's number.
    pub seq: Seq,
    /// Server time.
    pub time: Micros,
    /// The primary's epoch.
    pub epoch: Epoch,
    /// `d`.
    pub distance: u32,
    /// `r`.
    pub rest: u16,
    /// Server facts.
    pub facts: &'a Facts,
    /// The user's canonical lines, each `name: value` and CRLF.
    pub lines: &'a [u8],
    /// Salt and id, commitment and id, or nothing.
    pub proof: Proof,
    /// The body as stored.
    pub body: &'a [u8],
}

impl Proof {
    /// How this proof stands in the head.
    #[must_use]
    pub const fn kind(&self) -> ProofKind {
        match self {
            Self::Salted { .. } => ProofKind::Salted,
            Self::Gone { .. } => ProofKind::Gone,
            Self::None => ProofKind::None,
        }
    }
}

/// Bytes from `POST` through the empty line, known before anything is hashed: the leaf holds it.
#[must_use]
pub fn head_len(facts: &Facts, lines_len: usize, body_len: usize, proof: ProofKind) -> u32 {
    let proof_len = match proof {
        ProofKind::Salted | ProofKind::Gone => PROOF_LEN,
        ProofKind::None => 0,
    };
    let length = CONTENT_LENGTH.len() + decimal_len(body_len as u64) + 2;
    let len = LINE_LEN + HOST.len() + length + facts.encoded_len() + lines_len + proof_len + 2;
    u32::try_from(len).expect("a head is bounded by limits.rs")
}

/// Appends the record to `out`. The state follows from proof and kind.
pub fn encode(frame: &Frame<'_>, out: &mut Vec<u8>) {
    assert!(
        frame.lines.is_empty() || frame.lines.ends_with(b"\r\n"),
        "user lines end with CRLF"
    );
    let start = out.len();
    let line = line(frame);
    let record_len = usize::try_from(line.record_len()).expect("a record is in memory");
    out.reserve(record_len);
    let mut text = [0; LINE_LEN];
    line.write(&mut text);
    out.extend_from_slice(&text);
    out.extend_from_slice(HOST);
    out.extend_from_slice(CONTENT_LENGTH);
    push_decimal(u64::from(line.body_len), out);
    out.extend_from_slice(b"\r\n");
    frame.facts.encode(out);
    out.extend_from_slice(frame.lines);
    match &frame.proof {
        Proof::Salted { salt, id } => out.extend_from_slice(&proof_text(SALT, salt, id)),
        Proof::Gone { commitment, id } => {
            out.extend_from_slice(&proof_text(GONE, &commitment.0, id));
        }
        Proof::None => {}
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(frame.body);
    out.extend_from_slice(b"\r\n");
    assert_eq!(
        out.len() - start,
        record_len,
        "a head is as long as it was computed"
    );
    seal(&mut out[start..]);
}

/// Puts the CRC of a finished record into its line.
pub(super) fn seal(record: &mut [u8]) {
    let sum = crc(record);
    write_hex_8(sum, &mut record[CRC_AT..]);
}

fn line(frame: &Frame<'_>) -> Line {
    let kind = frame.proof.kind();
    let state = match kind {
        ProofKind::Gone => State::Gone,
        ProofKind::None if frame.facts.kind.is_head() => State::Head,
        ProofKind::Salted | ProofKind::None => State::Live,
    };
    assert_eq!(
        state == State::Head,
        frame.facts.kind.is_head(),
        "a head has no salt and no id"
    );
    Line {
        seq: frame.seq,
        time: frame.time,
        epoch: frame.epoch,
        distance: frame.distance,
        rest: frame.rest,
        head_len: head_len(frame.facts, frame.lines.len(), frame.body.len(), kind),
        body_len: u32::try_from(frame.body.len()).expect("a body is bounded by limits.rs"),
        crc: 0,
        state,
    }
}

/// The lines of salt or commitment and id.
fn proof_text(name: &[u8], value: &[u8; 32], id: &Hash) -> [u8; PROOF_LEN] {
    let mut text = *b"x-hbuf-salt: 0123456789012345678901234567890123456789012\r\n\
        x-hbuf-id: 0123456789012345678901234567890123456789012345678901234567890123\r\n";
    text[..SALT.len()].copy_from_slice(name);
    write_base64url(value, &mut text[SALT.len()..]);
    write_hash(id, &mut text[SALT_LINE_LEN + ID.len()..]);
    text
}

/// Length of the salt's or commitment's line.
const SALT_LINE_LEN: usize = SALT.len() + BASE64_HASH_LEN + 2;
/// Length of that line and the id's.
pub(super) const PROOF_LEN: usize = SALT_LINE_LEN + ID.len() + 64 + 2;

const _: () = assert!(SALT.len() == GONE.len());
