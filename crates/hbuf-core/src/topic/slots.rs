//! The slot table: which of a topic's buffers takes the messages of a key.
//!
//! A key falls into one of [`TOPIC_SLOTS`] slots, for ever; a slot belongs to one buffer. A change
//! of the list of buffers moves slots only to or from the buffers that came or went, and as few as
//! keep the shares even. Invariant: every member's share is the floor or the ceiling of slots by
//! members. Must never: depend on anything but the table before and the two lists.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;

use sha2::{Digest, Sha256};

use crate::ids::{HEX, Uuid, hex_digit};
use crate::limits::{BUFFERS_PER_TOPIC_MAX, TOPIC_SLOTS};

/// The slot of a key or token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The first 12 bits of the SHA-256 of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let hash: [u8; 32] = Sha256::digest(bytes).into();
        Self((u16::from(hash[0]) << 4) | u16::from(hash[1] >> 4))
    }

    /// Its number, below [`TOPIC_SLOTS`].
    #[must_use]
    pub const fn number(self) -> usize {
        self.0 as usize
    }
}

/// For each slot the place of its buffer in the topic's list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SlotTable {
    /// Empty while the topic has one buffer, as most have: all slots are its own.
    places: Box<[u16]>,
}

impl SlotTable {
    /// The table of a new topic.
    #[must_use]
    pub fn even(members: &[Uuid]) -> Self {
        Self::default().moved(&[], members)
    }

    /// The place of the buffer that a slot belongs to.
    #[must_use]
    pub fn place(&self, slot: Slot) -> usize {
        self.places
            .get(slot.number())
            .copied()
            .map_or(0, usize::from)
    }

    /// The table after the list of buffers changed from `old` to `new`.
    ///
    /// # Panics
    /// When `new` is empty or longer than a topic may be.
    #[must_use]
    pub fn moved(&self, old: &[Uuid], new: &[Uuid]) -> Self {
        assert!((1..=BUFFERS_PER_TOPIC_MAX).contains(&new.len()));
        if new.len() == 1 {
            return Self::default();
        }
        let place_of: alloc::collections::BTreeMap<&Uuid, u16> = new.iter().zip(0_u16..).collect();
        let owner = |slot: usize| {
            let place = self.places.get(slot).copied().map_or(0, usize::from);
            place_of.get(old.get(place)?).copied()
        };
        let mut places: Vec<Option<u16>> = (0..TOPIC_SLOTS).map(owner).collect();
        let mut missing = shares(&places, new.len());
        // Who has too many gives up its last slots.
        for place in places.iter_mut().rev() {
            if let Some(owner) = *place
                && missing[usize::from(owner)] < 0
            {
                missing[usize::from(owner)] += 1;
                *place = None;
            }
        }
        let mut takers = missing.iter().zip(0_u16..).flat_map(|(count, place)| {
            let count = usize::try_from(*count).unwrap_or(0);
            core::iter::repeat_n(place, count)
        });
        let filled = places.into_iter().map(|place| {
            place
                .or_else(|| takers.next())
                .expect("shares add up to all slots")
        });
        Self {
            places: filled.collect(),
        }
    }

    /// How many slots each of so many members has.
    #[must_use]
    pub fn counts(&self, members: usize) -> Vec<usize> {
        let mut counts = alloc::vec![0; members];
        if self.places.is_empty() {
            if let Some(first) = counts.first_mut() {
                *first = TOPIC_SLOTS;
            }
            return counts;
        }
        for place in &self.places {
            if let Some(count) = counts.get_mut(usize::from(*place)) {
                *count += 1;
            }
        }
        counts
    }

    /// Whether this is a table of so many members with even shares.
    #[must_use]
    pub fn fits(&self, members: usize) -> bool {
        if members < 2 {
            return self.places.is_empty();
        }
        let floor = TOPIC_SLOTS / members;
        let counts = self.counts(members);
        let even = counts
            .iter()
            .all(|count| (floor..=floor + 1).contains(count));
        even && counts.iter().sum::<usize>() == TOPIC_SLOTS
    }

    /// Three hex digits a slot; `None` when all slots belong to the one buffer.
    #[must_use]
    pub fn to_hex(&self) -> Option<String> {
        let digit = |place: u16, shift: u16| char::from(HEX[usize::from((place >> shift) & 15)]);
        let digits = |place: &u16| [digit(*place, 8), digit(*place, 4), digit(*place, 0)];
        (!self.places.is_empty()).then(|| self.places.iter().flat_map(digits).collect())
    }

    /// Reads what [`SlotTable::to_hex`] wrote.
    #[must_use]
    pub fn parse_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != TOPIC_SLOTS * 3 {
            return None;
        }
        let place = |digits: &[u8]| {
            let add = |number, digit: &u8| Some((number << 4) | u16::from(hex_digit(*digit)?));
            digits.iter().try_fold(0, add)
        };
        let places: Option<Box<[u16]>> = digits.chunks_exact(3).map(place).collect();
        places.map(|places| Self { places })
    }
}

/// How many slots each member lacks; below 0 it has too many. The members that have most get the
/// odd slots, so that these do not move.
fn shares(places: &[Option<u16>], members: usize) -> Vec<i32> {
    let mut counts = alloc::vec![0_i32; members];
    for place in places.iter().flatten() {
        counts[usize::from(*place)] += 1;
    }
    let (floor, odd) = (TOPIC_SLOTS / members, TOPIC_SLOTS % members);
    let floor = i32::try_from(floor).expect("slots are few");
    let mut order: Vec<usize> = (0..members).collect();
    order.sort_by_key(|place| Reverse(counts[*place]));
    let mut missing: Vec<i32> = counts.iter().map(|count| floor - count).collect();
    order
        .into_iter()
        .take(odd)
        .for_each(|place| missing[place] += 1);
    missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use proptest::prelude::*;

    fn members(ids: &[u8]) -> Vec<Uuid> {
        ids.iter().map(|id| Uuid([*id; 16])).collect()
    }

    fn moves(old: &SlotTable, from: &[Uuid], new: &SlotTable, to: &[Uuid]) -> usize {
        let slots = (0..TOPIC_SLOTS).map(|slot| Slot(u16::try_from(slot).unwrap()));
        let moved = |slot: &Slot| from[old.place(*slot)] != to[new.place(*slot)];
        slots.filter(moved).count()
    }

    #[test]
    fn a_slot_is_the_first_twelve_bits_of_the_sha_256() {
        // printf 'user-1717' | sha256sum
        let hash = Sha256::digest(b"user-1717");
        let text: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = u16::from_str_radix(&text[..3], 16).unwrap();
        assert_eq!(Slot::of(b"user-1717"), Slot(expected));
        assert_eq!(Slot::of(b""), Slot(0xe3b));
    }

    #[test]
    fn one_buffer_needs_no_table_and_a_second_one_takes_half() {
        let (one, two) = (members(&[1]), members(&[1, 2]));
        let single = SlotTable::even(&one);
        assert_eq!((single.to_hex(), single.fits(1)), (None, true));
        let table = single.moved(&one, &two);
        assert_eq!(table.counts(2), [2048, 2048]);
        assert_eq!(moves(&single, &one, &table, &two), 2048);
        assert_eq!(table.moved(&two, &one), single);
    }

    #[test]
    fn the_most_buffers_have_four_slots_each() {
        let many: Vec<Uuid> = (0..BUFFERS_PER_TOPIC_MAX)
            .map(|n| {
                let mut bytes = [0; 16];
                bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
                Uuid(bytes)
            })
            .collect();
        let table = SlotTable::even(&many);
        assert!(table.fits(BUFFERS_PER_TOPIC_MAX));
        assert!(table.counts(many.len()).iter().all(|count| *count == 4));
        assert_eq!(SlotTable::parse_hex(&table.to_hex().unwrap()), Some(table));
    }

    #[test]
    fn another_order_of_the_list_moves_nothing() {
        let (old, new) = (members(&[1, 2, 3]), members(&[3, 1, 2]));
        let table = SlotTable::even(&old);
        assert_eq!(moves(&table, &old, &table.moved(&old, &new), &new), 0);
    }

    #[test]
    fn text_that_is_no_table_is_refused() {
        let text = SlotTable::even(&members(&[1, 2])).to_hex().unwrap();
        assert_eq!(SlotTable::parse_hex(&text[1..]), None);
        assert_eq!(SlotTable::parse_hex(&text.replace('1', "g")), None);
    }

    proptest! {
        #[test]
        fn changes_keep_the_shares_even_and_move_the_fewest_slots(
            lists in prop::collection::vec(
                prop::collection::btree_set(0_u8..40, 1..20).prop_map(Vec::from_iter), 1..6),
        ) {
            let mut old = members(&lists[0]);
            let mut table = SlotTable::even(&old);
            for list in &lists[1..] {
                let new = members(list);
                let next = table.moved(&old, &new);
                prop_assert!(next.fits(new.len()));
                let before = table.counts(old.len());
                let after = next.counts(new.len());
                // Whatever left must move, and whatever a member has less than before; no more.
                let kept = |(place, uuid): (usize, &Uuid)| {
                    let at = new.iter().position(|other| other == uuid);
                    at.map_or(0, |at| before[place].min(after[at]))
                };
                let kept: usize = old.iter().enumerate().map(kept).sum();
                prop_assert_eq!(moves(&table, &old, &next, &new), TOPIC_SLOTS - kept);
                let text = next.to_hex();
                if let Some(text) = text {
                    prop_assert_eq!(SlotTable::parse_hex(&text), Some(next.clone()));
                }
                (old, table) = (new, next);
            }
        }
    }
}
