//! The dictionary of a buffer's tags: a number for each, counting from 0 in the order of coming.
//!
//! In memory a tag takes seven bytes of a hash table, filled to four fifths at most, and a third of
//! a byte for its place in the file; its text stays in the file. A hash leads to the text, and the
//! text decides, so an answer is exact. Numbers are never given anew: what refers to them names the
//! [`Stamp`] of the dictionary that it means.

use alloc::vec;
use alloc::vec::Vec;

use super::blocks::{BLOCK_HEAD_LEN, Block, HEAD_LEN, Seed, block_head, file_head};
use super::pieced::Pieced;
use super::siphash::siphash;
use super::tag_slots::TagSlots;
use super::tag_text::{FAR_BYTES, NEAR_BYTES, TagText};
use crate::ids::Uuid;
use crate::limits::{DICTIONARY_TAGS_MAX, TAG_BYTES_MAX};
use crate::segment::{ReadFailed, Source};

/// A tag's number in its buffer's dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagId(pub u32);

impl TagId {
    /// Stands for every tag that a full dictionary did not take. No filter holds it: the tags of a
    /// filter have numbers of their own, or the filter is refused.
    pub const OTHER: Self = Self(u32::MAX);
}

/// Names a state of a dictionary's file: so many tags, with this check over all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// How many tags there are.
    pub tags: u32,
    /// The chained check of the blocks that hold them.
    pub check: [u8; 16],
}

/// The tags of one buffer.
#[derive(Clone, Debug)]
pub struct Dictionary {
    log: Uuid,
    seed: Seed,
    slots: TagSlots,
    len: u32,
    /// Offset of every [`MARK`]th tag in the file, saved or to be saved.
    marks: Pieced<5>,
    blocks: Vec<Block>,
    /// Length of the file that is saved.
    end: u64,
    /// The text of the tags that are not saved.
    pending: Vec<u8>,
}

impl Dictionary {
    /// A dictionary without tags, of which nothing is saved. The seed must be random: it keys the
    /// hashes, and tells this dictionary from others of the same log.
    #[must_use]
    pub fn new(log: Uuid, seed: Seed) -> Self {
        Self {
            log,
            seed,
            slots: TagSlots::new(),
            len: 0,
            marks: Pieced::default(),
            blocks: Vec::new(),
            end: 0,
            pending: Vec::new(),
        }
    }

    /// How many tags it has.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether it takes no more tags.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.len >= DICTIONARY_TAGS_MAX
    }

    /// Whether it has no tag.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes room for so many tags more, so that the table takes no more than they need.
    pub fn reserve(&mut self, more: u32) {
        let tags = self.len.saturating_add(more).min(DICTIONARY_TAGS_MAX);
        self.slots.reserve(tags);
    }

    /// Makes room for so many bytes of text that is not saved, so that it is not moved as it comes.
    pub fn reserve_text(&mut self, bytes: usize) {
        let more = bytes.saturating_sub(self.pending.len());
        self.pending.reserve_exact(more);
    }

    /// The number of a tag, if it has one; `text` is the dictionary's file.
    pub fn find(&self, tag: &[u8], text: &impl Source) -> Result<Option<TagId>, ReadFailed> {
        let mut cursor = TagText::new(NEAR_BYTES);
        for id in self.slots.candidates(self.hash(tag)) {
            if cursor.is(self, id, tag, text)? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// The numbers of many tags: the file is read in its order, each part once.
    pub fn find_all(
        &self,
        tags: &[&[u8]],
        text: &impl Source,
    ) -> Result<Vec<Option<TagId>>, ReadFailed> {
        let mut found = vec![None; tags.len()];
        // Most have one or none. Allotted at once: a list that grows leaves what it was before.
        let mut candidates: Vec<(TagId, u32)> = Vec::with_capacity(tags.len());
        for (at, tag) in (0..).zip(tags) {
            let ids = self.slots.candidates(self.hash(tag));
            candidates.extend(ids.map(|id| (id, at)));
        }
        candidates.sort_unstable();
        let mut cursor = TagText::new(FAR_BYTES);
        for (id, at) in candidates {
            let at = at as usize;
            if found[at].is_none() && cursor.is(self, id, tags[at], text)? {
                found[at] = Some(id);
            }
        }
        Ok(found)
    }

    /// The numbers of many tags out of a copy of the file's first part, such as it is. Each step is
    /// taken for all of them, so that they wait for memory together and not one after the other.
    pub fn find_held(
        &self,
        tags: &[&[u8]],
        held: &[u8],
        text: &impl Source,
    ) -> Result<Vec<Option<TagId>>, ReadFailed> {
        let hashes: Vec<u32> = tags.iter().map(|tag| self.hash(tag)).collect();
        let taken = hashes.iter().filter(|&&hash| self.slots.is_taken(hash));
        let mut candidates = Vec::with_capacity(taken.count());
        for (at, &hash) in hashes.iter().enumerate() {
            let ids = self.slots.candidates(hash);
            candidates.extend(ids.map(|id| (at, id, self.near(id))));
        }
        let first = |&(_, _, (_, offset, _)): &(usize, TagId, (u32, u64, u64))| {
            usize::try_from(offset)
                .ok()
                .and_then(|at| held.get(at))
                .copied()
        };
        let firsts: Vec<Option<u8>> = candidates.iter().map(first).collect();
        let mut found = vec![None; tags.len()];
        for ((at, id, (near, offset, _)), first) in candidates.into_iter().zip(firsts) {
            if found[at].is_some() {
                continue;
            }
            let same = match first.and_then(|_| held_entry(held, offset, id.0 - near)) {
                Some(entry) => entry == tags[at],
                None => TagText::new(NEAR_BYTES).is(self, id, tags[at], text)?,
            };
            if same {
                found[at] = Some(id);
            }
        }
        Ok(found)
    }

    /// The number of a tag, which gets one if it has none; [`TagId::OTHER`] when the dictionary is
    /// full. The tag has 1 to [`TAG_BYTES_MAX`] bytes.
    pub fn intern(&mut self, tag: &[u8], text: &impl Source) -> Result<TagId, ReadFailed> {
        match self.find(tag, text)? {
            Some(id) => Ok(id),
            None => Ok(self.add(tag)),
        }
    }

    fn add(&mut self, tag: &[u8]) -> TagId {
        assert!((1..=TAG_BYTES_MAX).contains(&tag.len()), "a tag's length");
        if self.len >= DICTIONARY_TAGS_MAX {
            return TagId::OTHER;
        }
        let id = TagId(self.len);
        if id.0.is_multiple_of(MARK) {
            self.marks
                .push(self.pending_at() + self.pending.len() as u64);
        }
        self.pending.push((tag.len() - 1) as u8);
        self.pending.extend_from_slice(tag);
        self.enter(self.hash(tag), id);
        id
    }

    /// Bytes of text that are not saved.
    #[must_use]
    pub const fn unsaved(&self) -> usize {
        self.pending.len()
    }

    /// What is to be written to save it, and at which offset; then [`Dictionary::saved`] is called.
    /// `None` when everything is.
    #[must_use]
    pub fn unsaved_part(&self) -> Option<(u64, Vec<u8>)> {
        let head = file_head(self.log, &self.seed);
        let block = self.unsaved_block()?;
        let mut part = Vec::with_capacity(HEAD_LEN + BLOCK_HEAD_LEN + self.pending.len());
        if self.end == 0 {
            part.extend_from_slice(&head);
        }
        part.extend_from_slice(&block_head(&block, self.pending.len()));
        part.extend_from_slice(&self.pending);
        Some((self.end, part))
    }

    /// What [`Dictionary::unsaved_part`] gave is written. The room for more stays, until
    /// [`Dictionary::shrink`].
    pub fn saved(&mut self) {
        if let Some(block) = self.unsaved_block() {
            self.end = block.body + self.pending.len() as u64;
            self.blocks.push(block);
            self.pending.clear();
        }
    }

    fn unsaved_block(&self) -> Option<Block> {
        let first = self.stamp().tags;
        (!self.pending.is_empty()).then(|| Block {
            first,
            body: self.pending_at(),
            stamp: Stamp {
                tags: self.len,
                check: super::blocks::chain(&self.stamp().check, self.len - first, &self.pending),
            },
        })
    }

    /// Length of the file: what stands behind it is of no use.
    #[must_use]
    pub const fn saved_len(&self) -> u64 {
        self.end
    }

    /// Names what is saved.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.blocks.last().map_or_else(
            || Stamp {
                tags: 0,
                check: super::blocks::start(&file_head(self.log, &self.seed)),
            },
            |block| block.stamp,
        )
    }

    /// Whether the stamp is of this dictionary, now or earlier: then its numbers mean the same.
    #[must_use]
    pub fn holds(&self, stamp: &Stamp) -> bool {
        let tags = |block: &Block| block.stamp.tags;
        match self.blocks.binary_search_by_key(&stamp.tags, tags) {
            Ok(at) => self.blocks[at].stamp == *stamp,
            Err(_) => stamp.tags == 0 && stamp.check == super::blocks::start(&self.head()),
        }
    }

    fn head(&self) -> [u8; HEAD_LEN] {
        file_head(self.log, &self.seed)
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>()
            + self.slots.memory()
            + self.marks.memory()
            + self.blocks.capacity() * size_of::<Block>()
            + self.pending.capacity()
    }

    /// Gives back what was allotted beyond the need.
    pub fn shrink(&mut self) {
        self.blocks.shrink_to_fit();
        self.pending.shrink_to_fit();
    }

    /// Takes in a block that was read and whose check was compared; false when its text is not
    /// `count` tags.
    pub(super) fn take_block(&mut self, block: Block, text: &[u8]) -> bool {
        let (mut at, mut id) = (0, self.len);
        let count = block.stamp.tags.saturating_sub(id) as usize;
        let mut entries = Vec::with_capacity(count.min(text.len() / 2));
        while at < text.len() {
            let end = at + usize::from(text[at]) + 2;
            let Some(tag) = text.get(at + 1..end) else {
                return false;
            };
            if id >= block.stamp.tags {
                return false;
            }
            if id.is_multiple_of(MARK) {
                self.marks.push(block.body + at as u64);
            }
            entries.push((u64::from(self.hash(tag)) << 32) | u64::from(id));
            id += 1;
            at = end;
        }
        // In the order of the table, whose pages are then touched one after the other.
        self.slots.make_room(id);
        entries.sort_unstable();
        for entry in entries {
            self.slots.place((entry >> 32) as u32, entry as u32);
        }
        self.len = id;
        let whole = self.len == block.stamp.tags;
        self.end = block.body + text.len() as u64;
        self.blocks.push(block);
        whole
    }

    /// What stands in the file is this head, without blocks yet.
    pub(super) const fn head_is_saved(&mut self) {
        self.end = HEAD_LEN as u64;
    }

    fn hash(&self, tag: &[u8]) -> u32 {
        (siphash(self.seed.hash_key(), tag) >> 32) as u32
    }

    /// Puts a number into the table.
    fn enter(&mut self, hash: u32, id: TagId) {
        self.slots.make_room(id.0 + 1);
        self.slots.place(hash, id.0);
        self.len = id.0 + 1;
    }

    /// Where the text of the tags that are not saved will stand in the file.
    pub(super) const fn pending_at(&self) -> u64 {
        let end = if self.end == 0 {
            HEAD_LEN as u64
        } else {
            self.end
        };
        end + BLOCK_HEAD_LEN as u64
    }

    /// The text of the tags that are not saved.
    pub(super) fn pending(&self) -> &[u8] {
        &self.pending
    }

    /// A known place at or before a tag within its block: which tag, where, and where the block's
    /// text ends.
    pub(super) fn near(&self, id: TagId) -> (u32, u64, u64) {
        let mark = id.0 / MARK * MARK;
        let known = (mark, self.marks.at((id.0 / MARK) as usize));
        let at = self
            .blocks
            .partition_point(|block| block.stamp.tags <= id.0);
        let (first, body, end) = match self.blocks.get(at) {
            None => {
                let body = self.pending_at();
                (self.stamp().tags, body, body + self.pending.len() as u64)
            }
            Some(block) => {
                let next = self.blocks.get(at + 1);
                let end = next.map_or(self.end, |next| next.body - BLOCK_HEAD_LEN as u64);
                (block.first, block.body, end)
            }
        };
        let (tag, offset) = known.max((first, body));
        (tag, offset, end)
    }
}

/// The tag so many behind the one that begins at `offset`, when all up to it is held.
fn held_entry(held: &[u8], offset: u64, behind: u32) -> Option<&[u8]> {
    let mut at = usize::try_from(offset).ok()?;
    for _ in 0..behind {
        at += usize::from(*held.get(at)?) + 2;
    }
    held.get(at + 1..at + 2 + usize::from(*held.get(at)?))
}

/// Tags between two known places.
const MARK: u32 = 16;

// Each tag may stand in a block of its own.
const LONGEST: u64 = (1 + TAG_BYTES_MAX + BLOCK_HEAD_LEN) as u64;
const _: () = assert!(DICTIONARY_TAGS_MAX as u64 * LONGEST < Pieced::<5>::MAX);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::format;
    use proptest::prelude::*;

    fn save(dictionary: &mut Dictionary, file: &mut Vec<u8>) {
        if let Some((offset, part)) = dictionary.unsaved_part() {
            assert_eq!(offset, file.len() as u64);
            file.extend_from_slice(&part);
            dictionary.saved();
            assert_eq!(dictionary.saved_len(), file.len() as u64);
        }
    }

    fn seed(byte: u8) -> Seed {
        Seed([byte; 32])
    }

    proptest! {
        #[test]
        fn a_dictionary_is_a_map_across_saves_and_openings(
            steps in proptest::collection::vec(
                proptest::collection::vec(
                    proptest::collection::vec(b'a'..b'e', 1..6), 0..40), 1..8),
            long in 1_usize..=256, asked in proptest::collection::vec(b'a'..b'e', 1..6),
        ) {
            let (mut file, mut map) = (Vec::new(), BTreeMap::new());
            let mut dictionary = Dictionary::new(Uuid([1; 16]), seed(1));
            let mut stamps = Vec::new();
            for (at, step) in steps.iter().enumerate() {
                let long = vec![b'z'; long];
                for tag in step.iter().chain([&long]) {
                    let next = map.len() as u32;
                    let expected = *map.entry(tag.clone()).or_insert(next);
                    prop_assert_eq!(dictionary.intern(tag, &file).unwrap(), TagId(expected));
                }
                if at % 3 != 2 {
                    save(&mut dictionary, &mut file);
                    stamps.push(dictionary.stamp());
                }
                if at % 3 == 1 {
                    dictionary = Dictionary::open(&file, Uuid([1; 16])).unwrap();
                }
            }
            prop_assert!(stamps.iter().all(|stamp| dictionary.holds(stamp)));
            let found = dictionary.find(&asked, &file).unwrap();
            prop_assert_eq!(found, map.get(&asked).map(|&id| TagId(id)));
            let tags: Vec<&[u8]> = map.keys().map(Vec::as_slice).chain([&asked[..], b"none"]).collect();
            let known = |tag: &&[u8]| map.get(*tag).map(|&id| TagId(id));
            let expected: Vec<_> = tags.iter().map(known).collect();
            prop_assert_eq!(&dictionary.find_all(&tags, &file).unwrap(), &expected);
            for held in [0, file.len() / 2, file.len()] {
                let found = dictionary.find_held(&tags, &file[..held], &file).unwrap();
                prop_assert_eq!(&found, &expected, "{} of {} held", held, file.len());
            }
        }
    }

    #[test]
    fn tags_with_the_same_hash_are_kept_apart_by_their_text() {
        let mut dictionary = Dictionary::new(Uuid([1; 16]), seed(1));
        let file = Vec::new();
        dictionary.intern(b"one", &file).unwrap();
        dictionary.intern(b"two", &file).unwrap();
        // As if `three` had the hash of both.
        let hash = dictionary.hash(b"three");
        dictionary.slots.place(hash, 0);
        dictionary.slots.place(hash, 1);
        assert_eq!(dictionary.find(b"three", &file).unwrap(), None);
        assert_eq!(dictionary.intern(b"three", &file).unwrap(), TagId(2));
        assert_eq!(dictionary.find(b"three", &file).unwrap(), Some(TagId(2)));
        let all = dictionary.find_all(&[b"three", b"two"], &file).unwrap();
        assert_eq!(all, [Some(TagId(2)), Some(TagId(1))]);
        let held = dictionary.find_held(&[b"three", b"two"], &file, &file);
        assert_eq!(held.unwrap(), all);
    }

    #[test]
    fn a_full_dictionary_gives_no_more_numbers_and_keeps_those_it_gave() {
        let mut dictionary = Dictionary::new(Uuid([1; 16]), seed(1));
        let file = Vec::new();
        dictionary.intern(b"one", &file).unwrap();
        dictionary.len = DICTIONARY_TAGS_MAX;
        assert_eq!(dictionary.intern(b"two", &file).unwrap(), TagId::OTHER);
        assert_eq!(dictionary.intern(b"one", &file).unwrap(), TagId(0));
    }

    #[test]
    fn a_stamp_of_another_dictionary_or_of_a_lost_end_is_not_held() {
        let (mut one, mut file) = (Dictionary::new(Uuid([1; 16]), seed(1)), Vec::new());
        let empty = one.stamp();
        assert!(one.holds(&empty));
        one.intern(b"a", &file).unwrap();
        save(&mut one, &mut file);
        let short = file.len();
        one.intern(b"b", &file).unwrap();
        save(&mut one, &mut file);
        let stamp = one.stamp();
        assert!(one.holds(&empty) && one.holds(&stamp));
        assert!(!Dictionary::new(Uuid([1; 16]), seed(2)).holds(&empty));
        file.truncate(short);
        let mut cut = Dictionary::open(&file, Uuid([1; 16])).unwrap();
        assert!(!cut.holds(&stamp));
        cut.intern(b"c", &file).unwrap();
        save(&mut cut, &mut file);
        assert_eq!(cut.stamp().tags, stamp.tags);
        assert!(!cut.holds(&stamp));
    }

    #[test]
    fn five_million_tags_take_less_than_46_mib() {
        let mut dictionary = Dictionary::new(Uuid([1; 16]), seed(1));
        let mut file = Vec::new();
        let count = crate::limits::FILTER_TAGS_MAX;
        dictionary.reserve(count);
        dictionary.reserve_text((1 << 20) + 2 * TAG_BYTES_MAX);
        let room = dictionary.pending.capacity();
        for number in 0..count {
            dictionary.add(format!("tag-{number}").as_bytes());
            if dictionary.unsaved() > 1 << 20 {
                save(&mut dictionary, &mut file);
            }
        }
        save(&mut dictionary, &mut file);
        assert_eq!(dictionary.pending.capacity(), room, "it was never moved");
        dictionary.shrink();
        let filter = super::super::Bits::full(count);
        assert!(dictionary.memory() + filter.memory() < 46 << 20);
        for number in [0, 77, count - 1] {
            let tag = format!("tag-{number}");
            let found = dictionary.find(tag.as_bytes(), &file).unwrap();
            assert_eq!(found, Some(TagId(number)));
        }
        assert_eq!(dictionary.find(b"tag-", &file).unwrap(), None);
    }
}
