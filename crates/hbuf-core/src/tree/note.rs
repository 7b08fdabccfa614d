//! The texts of C2SP: tlog-checkpoint (a tree's head, here without its signatures) and tlog-proof
//! (one leaf's inclusion in a checkpointed tree).

use alloc::string::String;
use alloc::vec::Vec;

use super::proof::verify_inclusion;
use crate::digits::{
    push_base64, push_decimal, read_base64_any, read_base64_hash, read_decimal_plain,
};
use crate::ids::Hash;

/// A tree's head: the text of a C2SP tlog-checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// What names the log: a schema-less URL such as `example.com/log`, without line breaks.
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// Their root.
    pub root: Hash,
}

/// A C2SP tlog-proof: one leaf's place in a checkpointed tree.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProofFile {
    /// The leaf's index: seq − 1.
    pub index: u64,
    /// Opaque to the format; hbuf puts the leaf's bytes here, so the file can be checked by itself.
    pub extra: Vec<u8>,
    /// The inclusion proof.
    pub hashes: Vec<Hash>,
    /// The tree's head.
    pub checkpoint: Checkpoint,
    /// Whatever follows the checkpoint's text: signature lines, or nothing.
    pub signatures: String,
}

/// Why a text is no checkpoint or proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NoteError {
    /// A line is missing or reads otherwise.
    #[error("line {line}: expected {expected}")]
    Line {
        /// Counting from 1.
        line: usize,
        /// What should stand there.
        expected: &'static str,
    },
}

impl Checkpoint {
    /// Appends the three lines.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.origin.as_bytes());
        out.push(b'\n');
        push_decimal(self.size, out);
        out.push(b'\n');
        push_base64(&self.root.0, out);
        out.push(b'\n');
    }

    /// Reads the text of a checkpoint; lines past the third (extensions, signatures) are passed
    /// over.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        Self::read(&mut Lines {
            rest: text,
            line: 0,
        })
    }

    fn read(lines: &mut Lines<'_>) -> Result<Self, NoteError> {
        let origin = lines.next("the log's origin")?;
        if origin.is_empty() {
            return Err(lines.error("the log's origin"));
        }
        let size = read_decimal_plain(lines.next("the tree's size")?.as_bytes());
        let size = size.ok_or_else(|| lines.error("the tree's size"))?;
        let root = read_base64_hash(lines.next("the root in base64")?.as_bytes());
        let root = root.ok_or_else(|| lines.error("the root in base64"))?;
        Ok(Self {
            origin: origin.into(),
            size,
            root,
        })
    }
}

impl ProofFile {
    /// Appends the file's text.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(HEADER.as_bytes());
        if !self.extra.is_empty() {
            out.extend_from_slice(b"\nextra ");
            push_base64(&self.extra, out);
        }
        out.extend_from_slice(b"\nindex ");
        push_decimal(self.index, out);
        out.push(b'\n');
        for hash in &self.hashes {
            push_base64(&hash.0, out);
            out.push(b'\n');
        }
        out.push(b'\n');
        self.checkpoint.encode(out);
        out.extend_from_slice(self.signatures.as_bytes());
    }

    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut lines = Lines {
            rest: text,
            line: 0,
        };
        if lines.next(HEADER)? != HEADER {
            return Err(lines.error(HEADER));
        }
        let mut line = lines.next("`extra` or `index`")?;
        let mut extra = Vec::new();
        if let Some(text) = line.strip_prefix("extra ") {
            extra = read_base64_any(text.as_bytes()).ok_or_else(|| lines.error("base64"))?;
            line = lines.next("`index`")?;
        }
        let index = line
            .strip_prefix("index ")
            .and_then(|text| read_decimal_plain(text.as_bytes()));
        let index = index.ok_or_else(|| lines.error("`index` and a number"))?;
        let mut hashes = Vec::new();
        loop {
            let line = lines.next("a hash in base64 or the empty line")?;
            if line.is_empty() {
                break;
            }
            let hash = read_base64_hash(line.as_bytes());
            hashes.push(hash.ok_or_else(|| lines.error("a hash in base64 or the empty line"))?);
            if hashes.len() > PROOF_HASHES_MAX {
                return Err(lines.error("at most 63 hashes"));
            }
        }
        let checkpoint = Checkpoint::read(&mut lines)?;
        Ok(Self {
            index,
            extra,
            hashes,
            checkpoint,
            signatures: lines.rest.into(),
        })
    }

    /// Whether the hashes lead from the leaf with this hash to the checkpoint's root.
    #[must_use]
    pub fn verify(&self, leaf: &Hash) -> bool {
        let head = &self.checkpoint;
        verify_inclusion(leaf, self.index, head.size, &self.hashes, &head.root)
    }
}

struct Lines<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self, expected: &'static str) -> Result<&'a str, NoteError> {
        self.line += 1;
        let (line, rest) = self
            .rest
            .split_once('\n')
            .ok_or_else(|| self.error(expected))?;
        self.rest = rest;
        Ok(line)
    }

    const fn error(&self, expected: &'static str) -> NoteError {
        NoteError::Line {
            line: self.line,
            expected,
        }
    }
}

const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// A tree of 2^63 leaves has paths of 63 hashes.
const PROOF_HASHES_MAX: usize = 63;
