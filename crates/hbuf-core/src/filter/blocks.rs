//! The file of a dictionary: a head, then blocks that are only ever added.
//!
//! ```text
//! head    "hbuf-dic" 8, version 4 = 1, zeros 4, log uuid 16, seed 32               (64 bytes)
//! block   tags in it 4, bytes of text 4, check 16; then each tag: its length − 1 (1), its bytes
//! ```
//!
//! A check is the start of SHA-256(check before ‖ tags 4 ‖ text), the first one's check before that
//! of the head. So a check names everything up to it, and a file that lost its end and grew another
//! is known as such by whoever remembers a check. Numbers are little-endian.

use alloc::vec;

use sha2::{Digest as _, Sha256};

use super::dictionary::{Dictionary, Stamp};
use crate::ids::Uuid;
use crate::limits::DICTIONARY_TAGS_MAX;
use crate::segment::{ReadFailed, Source};

/// What makes a dictionary unlike any other: 32 random bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seed(pub [u8; 32]);

impl Seed {
    pub(super) fn hash_key(&self) -> &[u8; 16] {
        self.0.first_chunk().expect("32 bytes")
    }
}

/// A block of the file, or the one that would be written next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Number of its first tag.
    pub(super) first: u32,
    /// Where its text begins.
    pub(super) body: u64,
    /// The state with it.
    pub(super) stamp: Stamp,
}

/// Why a file is no dictionary of a buffer. It is then made anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DictionaryError {
    /// Not the head of a dictionary.
    #[error("not a dictionary of tags")]
    Form,
    /// Another version.
    #[error("dictionary version {found}, this hbuf reads {DICTIONARY_FORMAT}")]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// The dictionary of another log.
    #[error("the dictionary is of another log")]
    Log,
    /// The disk did not give the bytes.
    #[error(transparent)]
    Read(#[from] ReadFailed),
}

impl Dictionary {
    /// Reads a dictionary's file through the last good block; what stands behind
    /// [`Dictionary::saved_len`] is torn or damaged, and to be cut off before more is written.
    pub fn open(file: &impl Source, log: Uuid) -> Result<Self, DictionaryError> {
        let mut head = [0; HEAD_LEN];
        if file.len() < HEAD_LEN as u64 {
            return Err(DictionaryError::Form);
        }
        file.read_at(0, &mut head)?;
        if !head.starts_with(MAGIC) {
            return Err(DictionaryError::Form);
        }
        let found = u32_at(&head, 8);
        if found != DICTIONARY_FORMAT {
            return Err(DictionaryError::Version { found });
        }
        if head[16..32] != log.0 {
            return Err(DictionaryError::Log);
        }
        let seed = Seed(*head[32..].first_chunk().expect("64 bytes"));
        let mut dictionary = Self::new(log, seed);
        if head != file_head(log, &Seed(*head[32..].first_chunk().expect("64 bytes"))) {
            return Err(DictionaryError::Form);
        }
        dictionary.head_is_saved();
        dictionary.reserve(tags_claimed(file)?);
        while dictionary.read_block(file)? {}
        dictionary.shrink();
        Ok(dictionary)
    }

    /// Reads the next block; false when none that is whole stands there.
    fn read_block(&mut self, file: &impl Source) -> Result<bool, DictionaryError> {
        let at = self.saved_len();
        let body = at + BLOCK_HEAD_LEN as u64;
        if file.len() < body {
            return Ok(false);
        }
        let mut head = [0; BLOCK_HEAD_LEN];
        file.read_at(at, &mut head)?;
        let (count, len) = (u32_at(&head, 0), u32_at(&head, 4));
        let before = self.stamp();
        let room = DICTIONARY_TAGS_MAX - before.tags;
        if count == 0 || count > room || file.len() - body < u64::from(len) {
            return Ok(false);
        }
        let mut text = vec![0; len as usize];
        file.read_at(body, &mut text)?;
        let check = chain(&before.check, count, &text);
        if head[8..] != check || tags_in(&text) != Some(count) {
            return Ok(false);
        }
        let tags = before.tags + count;
        let block = Block {
            first: before.tags,
            body,
            stamp: Stamp { tags, check },
        };
        let whole = self.take_block(block, &text);
        assert!(whole, "the tags of the block were counted");
        Ok(true)
    }
}

/// How many tags the heads of the blocks name, as far as they can be followed: room for them is
/// made at once. They are only believed when the blocks are read.
fn tags_claimed(file: &impl Source) -> Result<u32, ReadFailed> {
    let (mut at, mut tags) = (HEAD_LEN as u64, 0_u32);
    while at + BLOCK_HEAD_LEN as u64 <= file.len() {
        let mut head = [0; BLOCK_HEAD_LEN];
        file.read_at(at, &mut head)?;
        let (count, text) = (u32_at(&head, 0), u32_at(&head, 4));
        // A tag takes two bytes at least.
        if count == 0 || count > text / 2 {
            break;
        }
        tags = tags.saturating_add(count);
        at += BLOCK_HEAD_LEN as u64 + u64::from(text);
    }
    let most = file.len() / 2;
    Ok(tags.min(u32::try_from(most).unwrap_or(u32::MAX)))
}

/// How many tags the text holds; `None` when it does not end with one.
fn tags_in(text: &[u8]) -> Option<u32> {
    let (mut at, mut count) = (0, 0_u32);
    while at < text.len() {
        at += usize::from(text[at]) + 2;
        count += 1;
    }
    (at == text.len()).then_some(count)
}

/// The head of a dictionary's file.
pub(super) fn file_head(log: Uuid, seed: &Seed) -> [u8; HEAD_LEN] {
    let mut head = [0; HEAD_LEN];
    head[..8].copy_from_slice(MAGIC);
    head[8..12].copy_from_slice(&DICTIONARY_FORMAT.to_le_bytes());
    head[16..32].copy_from_slice(&log.0);
    head[32..].copy_from_slice(&seed.0);
    head
}

/// The head of a block with so many bytes of text.
pub(super) fn block_head(block: &Block, text: usize) -> [u8; BLOCK_HEAD_LEN] {
    let count = block.stamp.tags - block.first;
    let text = u32::try_from(text).expect("what is not saved is less than 4 GiB");
    let mut head = [0; BLOCK_HEAD_LEN];
    head[..4].copy_from_slice(&count.to_le_bytes());
    head[4..8].copy_from_slice(&text.to_le_bytes());
    head[8..].copy_from_slice(&block.stamp.check);
    head
}

/// The check before the first block.
pub(super) fn start(head: &[u8; HEAD_LEN]) -> [u8; 16] {
    *Sha256::digest(head).first_chunk().expect("32 bytes")
}

/// The check with another block.
pub(super) fn chain(before: &[u8; 16], count: u32, text: &[u8]) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(count.to_le_bytes());
    hash.update(text);
    *hash.finalize().first_chunk().expect("32 bytes")
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("heads are longer"))
}

/// The version of the dictionary's file that this code writes and reads.
const DICTIONARY_FORMAT: u32 = 1;
const MAGIC: &[u8; 8] = b"hbuf-dic";
pub(super) const HEAD_LEN: usize = 64;
pub(super) const BLOCK_HEAD_LEN: usize = 24;

// The text of a full dictionary stays countable in 32 bits a block at a time.
const _: () = assert!(DICTIONARY_TAGS_MAX as u64 * 257 <= u32::MAX as u64 * 2);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn file(tags: &[&[&str]]) -> Vec<u8> {
        let mut dictionary = Dictionary::new(Uuid([7; 16]), Seed([9; 32]));
        let mut file = Vec::new();
        for block in tags {
            for tag in *block {
                dictionary.intern(tag.as_bytes(), &file).unwrap();
            }
            let (_, part) = dictionary.unsaved_part().unwrap();
            file.extend_from_slice(&part);
            dictionary.saved();
        }
        file
    }

    #[test]
    fn a_file_counts_up_to_its_first_bad_byte() {
        let whole = file(&[&["a", "bb"], &["ccc"], &["d"]]);
        let opened = Dictionary::open(&whole, Uuid([7; 16])).unwrap();
        assert_eq!((opened.len(), opened.saved_len()), (4, whole.len() as u64));
        let (one, two) = (64 + 24 + 5, 64 + 24 + 5 + 24 + 4);
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            let tags = Dictionary::open(&flipped, Uuid([7; 16])).map(|opened| opened.len());
            let expected = match at {
                0..32 => Err(()),
                32..64 => Ok(0),
                _ if at < one => Ok(0),
                _ if at < two => Ok(2),
                _ => Ok(3),
            };
            assert_eq!(tags.map_err(|_| ()), expected, "byte {at}");
            let cut = Dictionary::open(&whole[..at].to_vec(), Uuid([7; 16]));
            assert_eq!(cut.is_err(), at < 64, "cut at {at}");
        }
        let other = Dictionary::open(&whole, Uuid([8; 16])).unwrap_err();
        assert_eq!(other, DictionaryError::Log);
        assert_eq!(
            Dictionary::open(&b"hbuf".to_vec(), Uuid([8; 16])).unwrap_err(),
            DictionaryError::Form
        );
    }

    #[test]
    fn another_version_is_named() {
        let mut file = file(&[&["a"]]);
        file[8] = 2;
        assert_eq!(
            Dictionary::open(&file, Uuid([7; 16])).unwrap_err(),
            DictionaryError::Version { found: 2 }
        );
    }
}
