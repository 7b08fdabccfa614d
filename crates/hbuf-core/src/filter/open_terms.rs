//! Tags and keys of the open segment, in memory, in the order of its messages.

use alloc::vec;
use alloc::vec::Vec;

use super::bits::Bits;
use super::dictionary::TagId;
use super::tag_set::TagSet;

/// The tags of a segment's messages, from its first on.
#[derive(Clone, Debug, Default)]
pub struct OpenTags {
    /// Place and tag, in order of places.
    pairs: Vec<(u32, u32)>,
    records: u32,
}

impl OpenTags {
    /// Takes in the next message.
    pub fn push(&mut self, tags: impl IntoIterator<Item = TagId>) {
        let place = self.records;
        self.pairs
            .extend(tags.into_iter().map(|tag| (place, tag.0)));
        self.records += 1;
    }

    /// How many messages were taken in.
    #[must_use]
    pub const fn records(&self) -> u32 {
        self.records
    }

    /// Puts the places from `from` up to `end` of messages with a tag of the set into `out`.
    pub fn select(&self, set: &TagSet, from: u32, end: u32, out: &mut Bits) {
        let start = self.pairs.partition_point(|pair| pair.0 < from);
        let pairs = self.pairs[start..].iter();
        for &(place, tag) in pairs.take_while(|pair| pair.0 < end) {
            if set.contains(TagId(tag)) {
                out.insert(place);
            }
        }
    }

    /// Tag and place of each, for the file of a segment that is sealed now.
    #[must_use]
    pub fn pairs(&self) -> Vec<(u32, u32)> {
        self.pairs
            .iter()
            .map(|&(place, tag)| (tag, place))
            .collect()
    }

    /// Bytes of memory that they take.
    #[must_use]
    pub const fn memory(&self) -> usize {
        size_of::<Self>() + self.pairs.capacity() * size_of::<(u32, u32)>()
    }
}

/// The keys of a segment's messages, from its first on; each leads to the one before of its key.
#[derive(Clone, Debug)]
pub struct OpenKeys {
    entries: Vec<Entry>,
    /// Place in `entries` + 1 of the last of a key; 0 is empty.
    slots: Vec<u32>,
    /// How many keys there are.
    keys: usize,
    records: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    term: [u64; 2],
    place: u32,
    /// Place in `entries` + 1 of the one before of its key.
    before: u32,
}

impl Default for OpenKeys {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            slots: vec![0; SLOTS_MIN],
            keys: 0,
            records: 0,
        }
    }
}

impl OpenKeys {
    /// Takes in the next message.
    pub fn push(&mut self, key: Option<u128>) {
        let place = self.records;
        self.records += 1;
        let Some(term) = key else { return };
        if (self.keys + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        let slot = self.slot(halves(term));
        let before = self.slots[slot];
        self.keys += usize::from(before == 0);
        self.entries.push(Entry {
            term: halves(term),
            place,
            before,
        });
        self.slots[slot] = u32::try_from(self.entries.len()).expect("a segment's records fit");
    }

    /// How many messages were taken in.
    #[must_use]
    pub const fn records(&self) -> u32 {
        self.records
    }

    /// The places of messages with this key, the last one first.
    pub fn places(&self, key: u128) -> impl Iterator<Item = u32> + '_ {
        let mut at = self.slots[self.slot(halves(key))];
        core::iter::from_fn(move || {
            let entry = self.entries.get((at as usize).checked_sub(1)?)?;
            at = entry.before;
            Some(entry.place)
        })
    }

    /// Whether a message with this key stands at or behind `from` and before `end`.
    #[must_use]
    pub fn occurs(&self, key: u128, from: u32, end: u32) -> bool {
        let last = self.places(key).find(|&place| place < end);
        last.is_some_and(|place| place >= from)
    }

    /// Stand-in and place of each, for the file of a segment that is sealed now.
    #[must_use]
    pub fn pairs(&self) -> Vec<(u128, u32)> {
        let pair = |entry: &Entry| (whole(entry.term), entry.place);
        self.entries.iter().map(pair).collect()
    }

    /// Bytes of memory that they take.
    #[must_use]
    pub const fn memory(&self) -> usize {
        size_of::<Self>() + self.entries.capacity() * size_of::<Entry>() + self.slots.capacity() * 4
    }

    fn slot(&self, term: [u64; 2]) -> usize {
        // The stand-in is a hash already.
        let mut at = term[0] as usize & (self.slots.len() - 1);
        while let Some(last) = (self.slots[at] as usize).checked_sub(1)
            && self.entries[last].term != term
        {
            at = (at + 1) & (self.slots.len() - 1);
        }
        at
    }

    fn grow(&mut self) {
        let more = vec![0; self.slots.len() * 2];
        let old = core::mem::replace(&mut self.slots, more);
        for last in old.into_iter().filter(|&last| last != 0) {
            let slot = self.slot(self.entries[last as usize - 1].term);
            self.slots[slot] = last;
        }
    }
}

const fn halves(term: u128) -> [u64; 2] {
    [term as u64, (term >> 64) as u64]
}

const fn whole(term: [u64; 2]) -> u128 {
    term[0] as u128 | (term[1] as u128) << 64
}

const SLOTS_MIN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tags_are_found_from_a_place_on(
            messages in proptest::collection::vec(
                proptest::collection::vec(0_u32..20, 0..4), 0..80),
            wanted in proptest::collection::vec(0_u32..20, 0..4),
            from in 0_u32..90, end in 0_u32..90,
        ) {
            let (mut open, mut set) = (OpenTags::default(), TagSet::default());
            messages.iter().for_each(|tags| open.push(tags.iter().map(|&tag| TagId(tag))));
            wanted.iter().for_each(|&tag| { set.insert(TagId(tag)); });
            let mut out = Bits::default();
            open.select(&set, from, end, &mut out);
            let expected: Vec<u32> = (from..end.min(messages.len() as u32))
                .filter(|&at| messages[at as usize].iter().any(|tag| wanted.contains(tag)))
                .collect();
            prop_assert_eq!(out.iter().collect::<Vec<_>>(), expected);
            prop_assert_eq!(open.pairs().len(), messages.iter().map(Vec::len).sum::<usize>());
        }

        #[test]
        fn keys_are_found_between_places(
            keys in proptest::collection::vec(proptest::option::of(0_u128..9), 0..300),
            key in 0_u128..10, from in 0_u32..300, end in 0_u32..300, spread in 1_u128..1 << 100,
        ) {
            let mut open = OpenKeys::default();
            keys.iter().for_each(|key| open.push(key.map(|key| key * spread)));
            let places: Vec<u32> = (0..keys.len() as u32)
                .rev()
                .filter(|&at| keys[at as usize] == Some(key))
                .collect();
            let expected = places.iter().any(|at| (from..end).contains(at));
            prop_assert_eq!(open.occurs(key * spread, from, end), expected);
            prop_assert_eq!(open.places(key * spread).collect::<Vec<_>>(), places);
            prop_assert_eq!(open.records() as usize, keys.len());
        }
    }
}
