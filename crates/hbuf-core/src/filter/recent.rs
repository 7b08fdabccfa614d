//! The tags met last and their numbers, texts and all: saves the look into the dictionary's file.

use alloc::vec;
use alloc::vec::Vec;

use super::dictionary::TagId;
use super::siphash::siphash;
use crate::limits::RECENT_TAGS_BYTES_MAX;

/// A bounded map of tags to numbers. When it is full it forgets everything.
#[derive(Clone, Debug)]
pub struct Recent {
    key: [u8; 16],
    /// Hash in the high half, place in `text` + 1 in the low one; 0 is empty.
    slots: Vec<u64>,
    len: usize,
    /// Number 4, length − 1, bytes of each tag.
    text: Vec<u8>,
}

impl Recent {
    /// An empty map; the key must be random.
    #[must_use]
    pub fn new(key: [u8; 16]) -> Self {
        Self {
            key,
            slots: vec![0; SLOTS_MIN],
            len: 0,
            text: Vec::new(),
        }
    }

    /// The number of a tag that was put in.
    #[must_use]
    pub fn get(&self, tag: &[u8]) -> Option<TagId> {
        let hash = self.hash(tag);
        let mut at = hash as usize & (self.slots.len() - 1);
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            if (slot >> 32) as u32 == hash {
                let text = &self.text[slot as u32 as usize - 1..];
                let (number, text) = text.split_first_chunk::<4>()?;
                if text.get(1..usize::from(text[0]) + 2) == Some(tag) {
                    return Some(TagId(u32::from_le_bytes(*number)));
                }
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// Puts in a tag that is not there.
    pub fn put(&mut self, tag: &[u8], id: TagId) {
        if self.memory() + tag.len() > RECENT_TAGS_BYTES_MAX {
            *self = Self::new(self.key);
        }
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        let place = u32::try_from(self.text.len()).expect("the map is bounded");
        self.text.extend_from_slice(&id.0.to_le_bytes());
        self.text.push((tag.len() - 1) as u8);
        self.text.extend_from_slice(tag);
        self.enter(self.hash(tag), place + 1);
        self.len += 1;
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub const fn memory(&self) -> usize {
        size_of::<Self>() + self.slots.capacity() * 8 + self.text.capacity()
    }

    fn enter(&mut self, hash: u32, place: u32) {
        let mut at = hash as usize & (self.slots.len() - 1);
        while self.slots[at] != 0 {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = (u64::from(hash) << 32) | u64::from(place);
    }

    fn grow(&mut self) {
        let more = vec![0; self.slots.len() * 2];
        let old = core::mem::replace(&mut self.slots, more);
        for slot in old.into_iter().filter(|&slot| slot != 0) {
            self.enter((slot >> 32) as u32, slot as u32);
        }
    }

    fn hash(&self, tag: &[u8]) -> u32 {
        siphash(&self.key, tag) as u32
    }
}

const SLOTS_MIN: usize = 64;

const _: () = assert!(RECENT_TAGS_BYTES_MAX < u32::MAX as usize / 2);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::format;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_put_in_is_found_and_nothing_else(
            tags in proptest::collection::vec("[a-c]{1,4}", 0..200), asked in "[a-d]{1,4}",
        ) {
            let (mut recent, mut map) = (Recent::new([3; 16]), BTreeMap::new());
            for (at, tag) in tags.iter().enumerate() {
                if recent.get(tag.as_bytes()).is_none() {
                    recent.put(tag.as_bytes(), TagId(at as u32));
                    map.insert(tag.clone(), TagId(at as u32));
                }
            }
            prop_assert_eq!(recent.get(asked.as_bytes()), map.get(&asked).copied());
            prop_assert!(map.iter().all(|(tag, id)| recent.get(tag.as_bytes()) == Some(*id)));
        }
    }

    #[test]
    fn a_full_map_forgets_and_stays_within_its_bound() {
        let mut recent = Recent::new([3; 16]);
        let mut forgot = false;
        for number in 0..400_000 {
            let len = recent.len;
            recent.put(format!("tag-{number}").as_bytes(), TagId(number));
            forgot |= recent.len < len;
            // Doubling tables may stand above the bound until the next tag comes.
            assert!(recent.memory() <= 2 * RECENT_TAGS_BYTES_MAX);
        }
        assert!(forgot);
        assert_eq!(recent.get(b"tag-399999"), Some(TagId(399_999)));
    }
}
