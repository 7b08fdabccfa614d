//! The terms of a sealed segment, tags or keys, and the messages with each: a file beside it.
//!
//! ```text
//! head       magic 8, version 4 = 1, CRC32C of head and directory but for itself 4,
//!            log uuid 16, first seq 8, messages 4, blocks 4,
//!            dictionary: tags 4, terms in the file 4, dictionary: check 16, bytes of blocks 8,
//!            bytes of the segment 8                                                       (88)
//! directory  each block: its first term 16, its bytes 4, its CRC32C 4
//! blocks     each term: what it is above the one before, bytes of its postings, postings
//! ```
//!
//! The magic is `hbuf-tag`, where a term is a tag's number and the dictionary's stamp says which
//! dictionary is meant, or `hbuf-key`, where it stands for a key and the stamp is zeros. Terms
//! rise. Fixed numbers are little-endian, the others as in `postings.rs`. A term takes the head,
//! the directory and one block to read: what a filter does not want is not read.

use alloc::vec;
use alloc::vec::Vec;

use super::bits::Bits;
use super::dictionary::Stamp;
use super::postings::{collect, push_number, push_postings, take_number};
use crate::ids::{Seq, Uuid};
use crate::segment::{ReadFailed, Source};

/// What the terms of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TermKind {
    /// Numbers of tags.
    Tags,
    /// Stand-ins of keys.
    Keys,
}

impl TermKind {
    const fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Tags => b"hbuf-tag",
            Self::Keys => b"hbuf-key",
        }
    }
}

/// Which sealed segment terms are of, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TermsOf {
    /// First seq of the segment.
    pub first: Seq,
    /// How many messages it has.
    pub records: u32,
    /// How many bytes it has, its head line included.
    pub bytes: u64,
}

/// The head and directory of a file of terms.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    first: Seq,
    records: u32,
    segment_bytes: u64,
    terms: u32,
    stamp: Stamp,
    blocks: Vec<BlockAt>,
    end: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct BlockAt {
    first: u128,
    offset: u64,
    len: u32,
    crc: u32,
}

/// Why a file is not that of a segment's terms. It is then made again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// Not the start of such a file, or cut off.
    #[error("not a file of terms, or cut off")]
    Form,
    /// Another version.
    #[error("terms of version {found}, this hbuf reads {TERMS_FORMAT}")]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// The checksum is another.
    #[error("the checksum of the terms is wrong")]
    Crc,
    /// The terms of another log.
    #[error("the terms are of another log")]
    Log,
    /// Terms that do not rise, or messages that the segment does not have.
    #[error("the terms are not in order")]
    Order,
    /// The disk did not give the bytes.
    #[error(transparent)]
    Read(#[from] ReadFailed),
}

/// The file of these terms: pairs of a term and the place of a message that has it.
#[must_use]
pub fn encode_terms<T: Copy + Ord + Into<u128>>(
    kind: TermKind,
    log: Uuid,
    of: TermsOf,
    stamp: Stamp,
    pairs: &mut Vec<(T, u32)>,
) -> Vec<u8> {
    pairs.sort_unstable();
    pairs.dedup();
    let (mut directory, mut blocks, mut block) = (Vec::new(), Vec::new(), Vec::new());
    let (mut count, mut terms, mut postings) = (0_u32, 0_u32, Vec::new());
    let (mut block_first, mut before) = (0, 0);
    for group in pairs.chunk_by(|one, other| one.0 == other.0) {
        let term: u128 = group[0].0.into();
        if block.is_empty() {
            (block_first, before) = (term, term);
        }
        postings.clear();
        push_postings(group.iter().map(|pair| pair.1), &mut postings);
        push_number(term - before, &mut block);
        push_number(postings.len() as u128, &mut block);
        block.extend_from_slice(&postings);
        before = term;
        terms += 1;
        if block.len() >= BLOCK_BYTES {
            count += 1;
            close(block_first, &mut block, &mut directory, &mut blocks);
        }
    }
    if !block.is_empty() {
        count += 1;
        close(block_first, &mut block, &mut directory, &mut blocks);
    }
    let mut out = Vec::with_capacity(HEAD_LEN + directory.len() + blocks.len());
    out.extend_from_slice(kind.magic());
    out.extend_from_slice(&TERMS_FORMAT.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&log.0);
    out.extend_from_slice(&of.first.0.to_le_bytes());
    for number in [of.records, count, stamp.tags, terms] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&stamp.check);
    out.extend_from_slice(&(blocks.len() as u64).to_le_bytes());
    out.extend_from_slice(&of.bytes.to_le_bytes());
    out.extend_from_slice(&directory);
    let crc = crc(&out);
    out[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&blocks);
    out
}

fn close(first: u128, block: &mut Vec<u8>, directory: &mut Vec<u8>, blocks: &mut Vec<u8>) {
    let len = u32::try_from(block.len()).expect("a segment's postings fit 32 bits");
    directory.extend_from_slice(&first.to_le_bytes());
    directory.extend_from_slice(&len.to_le_bytes());
    directory.extend_from_slice(&crc32c::crc32c(block).to_le_bytes());
    blocks.append(block);
}

impl Terms {
    /// Reads head and directory.
    pub fn open(file: &impl Source, kind: TermKind, log: Uuid) -> Result<Self, TermsError> {
        let mut head = vec![0; HEAD_LEN];
        if file.len() < HEAD_LEN as u64 {
            return Err(TermsError::Form);
        }
        file.read_at(0, &mut head)?;
        if !head.starts_with(kind.magic()) {
            return Err(TermsError::Form);
        }
        let found = u32_at(&head, 8);
        if found != TERMS_FORMAT {
            return Err(TermsError::Version { found });
        }
        let count = u32_at(&head, 44);
        let (blocks_len, end) = (
            u64_at(&head, 72),
            HEAD_LEN as u64 + u64::from(count) * ENTRY_LEN,
        );
        if end.checked_add(blocks_len) != Some(file.len()) {
            return Err(TermsError::Form);
        }
        let len = usize::try_from(end).map_err(|_| TermsError::Form)?;
        head.resize(len, 0);
        file.read_at(HEAD_LEN as u64, &mut head[HEAD_LEN..])?;
        if crc(&head) != u32_at(&head, CRC_AT) {
            return Err(TermsError::Crc);
        }
        if head[16..32] != log.0 {
            return Err(TermsError::Log);
        }
        let mut terms = Self {
            first: Seq(u64_at(&head, 32)),
            records: u32_at(&head, 40),
            segment_bytes: u64_at(&head, 80),
            terms: u32_at(&head, 52),
            stamp: Stamp {
                tags: u32_at(&head, 48),
                check: *head[56..].first_chunk().expect("a head is longer"),
            },
            blocks: Vec::with_capacity(count as usize),
            end,
        };
        let (entries, _) = head[HEAD_LEN..].as_chunks::<{ ENTRY_LEN as usize }>();
        entries.iter().for_each(|entry| terms.add(entry));
        let rising = terms.blocks.is_sorted_by(|a, b| a.first < b.first);
        if terms.end == file.len() && rising {
            Ok(terms)
        } else {
            Err(TermsError::Order)
        }
    }

    fn add(&mut self, entry: &[u8; ENTRY_LEN as usize]) {
        let len = u32_at(entry, 16);
        self.blocks.push(BlockAt {
            first: u128::from_le_bytes(*entry.first_chunk().expect("24 bytes")),
            offset: self.end,
            len,
            crc: u32_at(entry, 20),
        });
        self.end += u64::from(len);
    }

    /// The segment.
    #[must_use]
    pub const fn of(&self) -> TermsOf {
        TermsOf {
            first: self.first,
            records: self.records,
            bytes: self.segment_bytes,
        }
    }

    /// How many messages the segment has.
    #[must_use]
    pub const fn records(&self) -> u32 {
        self.records
    }

    /// The dictionary that is meant; zeros for keys.
    #[must_use]
    pub const fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// How many terms the segment has.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.terms
    }

    /// Whether none of its messages has a term.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.terms == 0
    }

    /// How many blocks the file has.
    #[must_use]
    pub const fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Bytes of memory that head and directory take.
    #[must_use]
    pub const fn memory(&self) -> usize {
        size_of::<Self>() + self.blocks.capacity() * size_of::<BlockAt>()
    }

    /// Puts the messages with any of `wanted` into `out`; the terms wanted must rise. Reads the
    /// blocks that may hold one.
    pub fn probe(
        &self,
        file: &impl Source,
        wanted: impl IntoIterator<Item = u128>,
        out: &mut Bits,
    ) -> Result<(), TermsError> {
        let mut block: Option<BlockTerms> = None;
        for term in wanted {
            let behind = self.blocks.partition_point(|block| block.first <= term);
            let Some(at) = behind.checked_sub(1) else {
                continue;
            };
            let open = match block.take().filter(|open| open.at == at) {
                Some(open) => open,
                None => BlockTerms::read(self, at, file)?,
            };
            let open = block.insert(open);
            while open.term()? < Some(term) && open.term()?.is_some() {
                open.pass()?;
            }
            if open.term()? == Some(term) {
                open.collect(self.records, out)?;
            }
        }
        Ok(())
    }

    /// Puts the messages with any term that `wants` takes into `out`. Reads all blocks.
    pub fn scan(
        &self,
        file: &impl Source,
        wants: impl Fn(u128) -> bool,
        out: &mut Bits,
    ) -> Result<(), TermsError> {
        for at in 0..self.blocks.len() {
            let mut block = BlockTerms::read(self, at, file)?;
            while let Some(term) = block.term()? {
                if wants(term) {
                    block.collect(self.records, out)?;
                }
                block.pass()?;
            }
        }
        Ok(())
    }
}

/// The terms of one block, one after the other.
#[derive(Debug)]
pub(super) struct BlockTerms {
    at: usize,
    bytes: Vec<u8>,
    /// Where the next entry begins.
    next: usize,
    before: u128,
    /// The term at hand, and where its postings are.
    here: Option<(u128, usize, usize)>,
}

impl BlockTerms {
    /// Reads a block and checks it.
    pub(super) fn read(terms: &Terms, at: usize, file: &impl Source) -> Result<Self, TermsError> {
        let block = &terms.blocks[at];
        let mut bytes = vec![0; block.len as usize];
        file.read_at(block.offset, &mut bytes)?;
        if crc32c::crc32c(&bytes) != block.crc {
            return Err(TermsError::Crc);
        }
        Ok(Self {
            at,
            bytes,
            next: 0,
            before: block.first,
            here: None,
        })
    }

    /// The term at hand; `None` at the end of the block.
    pub(super) fn term(&mut self) -> Result<Option<u128>, TermsError> {
        if self.here.is_none() && self.next < self.bytes.len() {
            let mut rest = &self.bytes[self.next..];
            let mut read = || {
                let above = take_number(&mut rest)?;
                let len = usize::try_from(take_number(&mut rest)?).ok()?;
                let start = self.bytes.len() - rest.len();
                let end = start.checked_add(len)?;
                let first = self.next == 0;
                let term = self.before.checked_add(above)?;
                let fits = end <= self.bytes.len() && len > 0 && (first || above > 0);
                fits.then_some((term, start, end))
            };
            self.here = Some(read().ok_or(TermsError::Order)?);
        }
        Ok(self.here.map(|(term, ..)| term))
    }

    /// Goes on behind the term at hand.
    pub(super) fn pass(&mut self) -> Result<(), TermsError> {
        self.term()?;
        if let Some((term, _, end)) = self.here.take() {
            (self.before, self.next) = (term, end);
        }
        Ok(())
    }

    /// The postings of the term at hand.
    pub(super) fn postings(&self) -> &[u8] {
        self.here
            .map_or(b"", |(_, start, end)| &self.bytes[start..end])
    }

    fn collect(&self, records: u32, out: &mut Bits) -> Result<(), TermsError> {
        if collect(self.postings(), records, out) {
            Ok(())
        } else {
            Err(TermsError::Order)
        }
    }
}

fn crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..CRC_AT]), &bytes[CRC_AT + 4..])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("the length was checked"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("the length was checked"))
}

/// The version of the file that this code writes and reads.
const TERMS_FORMAT: u32 = 1;
/// A block is closed when it has so many bytes.
const BLOCK_BYTES: usize = 4 << 10;
const CRC_AT: usize = 12;
const HEAD_LEN: usize = 88;
const ENTRY_LEN: u64 = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    const LOG: Uuid = Uuid([5; 16]);

    const fn of(records: u32) -> TermsOf {
        TermsOf {
            first: Seq(100),
            records,
            bytes: 9000,
        }
    }

    fn file(kind: TermKind, records: u32, pairs: &[(u128, u32)]) -> Vec<u8> {
        let stamp = Stamp {
            tags: 9,
            check: [4; 16],
        };
        encode_terms(kind, LOG, of(records), stamp, &mut pairs.to_vec())
    }

    fn places(pairs: &[(u128, u32)], wants: impl Fn(u128) -> bool) -> Vec<u32> {
        let wanted = pairs.iter().filter(|pair| wants(pair.0));
        let places: BTreeSet<u32> = wanted.map(|pair| pair.1).collect();
        places.into_iter().collect()
    }

    proptest! {
        #[test]
        fn what_is_asked_is_found_and_nothing_else(
            small in proptest::collection::vec((0_u128..40, 0_u32..600), 0..300),
            large in proptest::collection::vec((any::<u128>(), 0_u32..600), 0..600),
            wanted in proptest::collection::btree_set(0_u128..50, 0..10), pick in 0_usize..600,
        ) {
            let pairs: Vec<_> = small.into_iter().chain(large).collect();
            let file = file(TermKind::Keys, 600, &pairs);
            let terms = Terms::open(&file, TermKind::Keys, LOG).unwrap();
            let distinct: BTreeSet<u128> = pairs.iter().map(|pair| pair.0).collect();
            prop_assert_eq!(terms.len() as usize, distinct.len());
            let mut wanted = wanted;
            wanted.extend(pairs.get(pick).map(|pair| pair.0));
            let expected = places(&pairs, |term| wanted.contains(&term));
            let mut probed = Bits::default();
            terms.probe(&file, wanted.iter().copied(), &mut probed).unwrap();
            prop_assert_eq!(probed.iter().collect::<Vec<_>>(), expected.clone());
            let mut scanned = Bits::default();
            terms.scan(&file, |term| wanted.contains(&term), &mut scanned).unwrap();
            prop_assert_eq!(scanned.iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_probe_reads_only_the_block_that_may_hold_the_term() {
        let pairs: Vec<_> = (0..5000_u32).map(|at| (u128::from(at) * 3, at)).collect();
        let mut bytes = file(TermKind::Tags, 5000, &pairs);
        let terms = Terms::open(&bytes, TermKind::Tags, LOG).unwrap();
        assert!(terms.blocks() > 3);
        // All blocks but the second are damaged, and nobody notices.
        let good = terms.blocks[1].offset..terms.blocks[1].offset + u64::from(terms.blocks[1].len);
        for at in terms.blocks[0].offset..bytes.len() as u64 {
            if !good.contains(&at) {
                bytes[at as usize] ^= 1;
            }
        }
        let term = terms.blocks[1].first;
        let mut out = Bits::default();
        terms
            .probe(&bytes, [term, term + 1, term + 3], &mut out)
            .unwrap();
        let at = (term / 3) as u32;
        assert_eq!(out.iter().collect::<Vec<_>>(), [at, at + 1]);
        assert_eq!(terms.scan(&bytes, |_| true, &mut out), Err(TermsError::Crc));
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let pairs: Vec<_> = (0..40_u32).map(|at| (u128::from(at / 2), at)).collect();
        let bytes = file(TermKind::Tags, 40, &pairs);
        let all = |bytes: &Vec<u8>| {
            let terms = Terms::open(bytes, TermKind::Tags, LOG)?;
            terms.scan(bytes, |_| true, &mut Bits::default())
        };
        assert_eq!(all(&bytes), Ok(()));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(all(&flipped).is_err(), "byte {at}");
            assert!(all(&bytes[..at].to_vec()).is_err(), "cut at {at}");
        }
        let open = |kind, log| Terms::open(&bytes, kind, log).unwrap_err();
        assert_eq!(open(TermKind::Keys, LOG), TermsError::Form);
        assert_eq!(open(TermKind::Tags, Uuid([6; 16])), TermsError::Log);
    }

    #[test]
    fn a_segment_without_terms_has_a_file_that_says_so() {
        let bytes = file(TermKind::Keys, 40, &[]);
        let terms = Terms::open(&bytes, TermKind::Keys, LOG).unwrap();
        assert!(terms.is_empty());
        assert_eq!(terms.of(), of(40));
        let mut out = Bits::default();
        terms.probe(&bytes, [7], &mut out).unwrap();
        assert_eq!(out.count(), 0);
    }
}
