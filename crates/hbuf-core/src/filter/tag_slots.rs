//! The table that leads from a tag's hash to the numbers that have it.
//!
//! Five million tags fill 42 MiB, so it grows in place, and by an eighth.

use alloc::vec::Vec;

use super::dictionary::TagId;
use super::pieced::Pieced;
use crate::limits::DICTIONARY_TAGS_MAX;

/// Hashes and numbers with linear probing, at most four fifths full.
#[derive(Clone, Debug)]
pub(super) struct TagSlots {
    /// Hash in the four high bytes, number in the three low ones.
    slots: Slots,
}

impl TagSlots {
    pub(super) fn new() -> Self {
        let mut slots = Slots::default();
        slots.extend(SLOTS_MIN, EMPTY);
        Self { slots }
    }

    /// The numbers with this hash.
    #[inline]
    pub(super) fn candidates(&self, hash: u32) -> impl Iterator<Item = TagId> + '_ {
        let hash = hash.min(HASH_MAX);
        let mut at = self.home(hash);
        core::iter::from_fn(move || {
            loop {
                let slot = self.slots.at(at);
                if slot == EMPTY {
                    return None;
                }
                at = self.behind(at);
                if hash_in(slot) == hash {
                    return Some(TagId(id_in(slot)));
                }
            }
        })
    }

    /// Whether anything stands where a hash belongs. Asked for many hashes in a row, it brings
    /// their slots near: looks that need not wait for each other wait for memory together.
    #[inline]
    pub(super) fn is_taken(&self, hash: u32) -> bool {
        self.slots.at(self.home(hash.min(HASH_MAX))) != EMPTY
    }

    /// Puts a number in; there must be room.
    #[inline]
    pub(super) fn place(&mut self, hash: u32, id: u32) {
        let hash = hash.min(HASH_MAX);
        let mut at = self.home(hash);
        while self.slots.at(at) != EMPTY {
            at = self.behind(at);
        }
        debug_assert!(id < DICTIONARY_TAGS_MAX, "a number of a tag");
        self.slots
            .put(at, (u64::from(hash) << ID_BITS) | u64::from(id));
    }

    /// Grows when it is too full for so many tags.
    pub(super) fn make_room(&mut self, tags: u32) {
        let least = slots_for(tags);
        let len = self.slots.len();
        if least > len {
            self.grow(least.max(len + len / 8));
        }
    }

    /// Makes room for exactly so many tags, when there is less.
    pub(super) fn reserve(&mut self, tags: u32) {
        let slots = slots_for(tags);
        if slots > self.slots.len() {
            self.grow(slots);
        }
    }

    /// Bytes of memory that it takes.
    pub(super) fn memory(&self) -> usize {
        self.slots.memory()
    }

    /// Takes everything further back, from the end to the front: what is moved then lands behind
    /// all that is not moved yet. The few that would not, and those for which only the front has
    /// room, are put in at the end.
    fn grow(&mut self, slots: usize) {
        let before = self.slots.len();
        self.slots.extend(slots, EMPTY);
        let mut waiting = Vec::new();
        for at in (0..before).rev() {
            let slot = self.slots.at(at);
            if slot == EMPTY {
                continue;
            }
            self.slots.put(at, EMPTY);
            let home = self.home(hash_in(slot));
            let mut behind = if home > at { home..slots } else { 0..0 };
            match behind.find(|&to| self.slots.at(to) == EMPTY) {
                Some(to) => self.slots.put(to, slot),
                None => waiting.push(slot),
            }
        }
        for slot in waiting {
            self.place(hash_in(slot), id_in(slot));
        }
    }

    #[inline]
    const fn behind(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() {
            0
        } else {
            at + 1
        }
    }

    /// Where a hash belongs: hashes keep their order in the table, so that it can grow in place,
    /// and a larger one is filled from front to back.
    #[inline]
    const fn home(&self, hash: u32) -> usize {
        ((hash as u64 * self.slots.len() as u64) >> 32) as usize
    }
}

/// The fewest slots for so many tags: four fifths are taken, and one is always empty.
const fn slots_for(tags: u32) -> usize {
    tags as usize * 5 / 4 + 1
}

const fn hash_in(slot: u64) -> u32 {
    (slot >> ID_BITS) as u32
}

const fn id_in(slot: u64) -> u32 {
    slot as u32 & ((1 << ID_BITS) - 1)
}

/// Seven bytes a slot: with eight, every seventh tag would be carried for nothing.
type Slots = Pieced<7>;

const ID_BITS: u32 = 24;
/// Nothing stands there.
const EMPTY: u64 = Slots::MAX;
/// Stands for itself and the hash above, so that no slot that is taken looks empty. Which tag it
/// is, its text decides as ever.
const HASH_MAX: u32 = u32::MAX - 1;

const _: () = assert!(DICTIONARY_TAGS_MAX <= 1 << ID_BITS);
const SLOTS_MIN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    fn check(slots: &TagSlots, all: &BTreeMap<u32, Vec<u32>>) {
        for (&hash, ids) in all {
            let mut found: Vec<u32> = slots.candidates(hash).map(|id| id.0).collect();
            found.sort_unstable();
            assert_eq!(&found, ids, "{hash}");
        }
    }

    proptest! {
        #[test]
        fn every_number_is_found_by_its_hash_however_often_the_table_grew(
            // Bunched at both ends, where what is put in runs over the end and into one another.
            steps in proptest::collection::vec((0_u32..40, 0_u8..3, any::<u32>()), 1..600),
        ) {
            let (mut slots, mut all) = (TagSlots::new(), BTreeMap::<u32, Vec<u32>>::new());
            for (id, (near, kind, any)) in (0..).zip(steps) {
                let hash = [near, HASH_MAX - near, any.min(HASH_MAX)][usize::from(kind)];
                slots.make_room(id + 1);
                slots.place(hash, id);
                all.entry(hash).or_default().push(id);
            }
            check(&slots, &all);
        }
    }

    #[test]
    fn a_large_table_loses_nothing_and_takes_what_it_should() {
        let (mut slots, mut all) = (TagSlots::new(), BTreeMap::<u32, Vec<u32>>::new());
        for id in 0..100_000_u32 {
            let hash = id.wrapping_mul(2_654_435_761);
            slots.make_room(id + 1);
            slots.place(hash, id);
            all.entry(hash).or_default().push(id);
        }
        check(&slots, &all);
        // Between four fifths and an eighth less of them are taken; the last piece may be new.
        assert!(slots.memory() < 100_000 * 7 * 5 / 4 * 9 / 8 + 60_000);
        assert_eq!(
            slots.candidates(1).count(),
            usize::from(all.contains_key(&1))
        );
    }

    #[test]
    fn the_highest_hash_with_the_highest_number_is_no_empty_slot() {
        let mut slots = TagSlots::new();
        slots.place(u32::MAX, DICTIONARY_TAGS_MAX - 1);
        slots.place(u32::MAX - 1, 0);
        for hash in [u32::MAX, u32::MAX - 1] {
            let found: Vec<u32> = slots.candidates(hash).map(|id| id.0).collect();
            assert_eq!(found, [DICTIONARY_TAGS_MAX - 1, 0]);
            assert!(slots.is_taken(hash));
        }
        assert_eq!(slots.candidates(0).count(), 0);
    }

    #[test]
    fn room_that_was_reserved_is_exact() {
        let mut slots = TagSlots::new();
        slots.reserve(50_000);
        assert_eq!(slots.slots.len(), 62_501);
        slots.make_room(50_000);
        assert_eq!(slots.slots.len(), 62_501);
    }
}
