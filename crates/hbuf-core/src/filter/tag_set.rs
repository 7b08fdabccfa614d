//! A set of tags by their numbers, and how it meets the terms of a segment.

use super::bits::Bits;
use super::dictionary::TagId;
use super::terms::{Terms, TermsError};
use crate::segment::Source;

/// Some tags of a dictionary: one bit for each of its numbers, however many are in the set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TagSet {
    bits: Bits,
    len: u32,
    /// Whether [`TagId::OTHER`] is in it: it has no bit.
    other: bool,
}

/// How the messages of a segment are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Plan {
    /// Look up each tag of the set: a block each at most.
    Probe,
    /// Go over all terms of the segment, and ask the set about each.
    Scan,
}

impl TagSet {
    /// An empty set, with room for the tags below a number.
    #[must_use]
    pub fn with_room(tags: u32) -> Self {
        Self {
            bits: Bits::new(tags),
            ..Self::default()
        }
    }

    /// Puts a tag in; answers whether it is new.
    pub fn insert(&mut self, tag: TagId) -> bool {
        let new = if tag == TagId::OTHER {
            !core::mem::replace(&mut self.other, true)
        } else {
            self.bits.insert(tag.0)
        };
        self.len += u32::from(new);
        new
    }

    /// Whether a tag is in the set: one look at one bit, whatever the set's size.
    #[must_use]
    #[inline]
    pub fn contains(&self, tag: TagId) -> bool {
        self.bits.contains(tag.0) || (self.other && tag == TagId::OTHER)
    }

    /// Whether a message with these tags is wanted.
    pub fn matches(&self, tags: impl IntoIterator<Item = TagId>) -> bool {
        tags.into_iter().any(|tag| self.contains(tag))
    }

    /// How many tags are in it.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether no tag is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub const fn memory(&self) -> usize {
        size_of::<Self>() + self.bits.memory()
    }

    /// What is less work: a set with fewer tags than the segment has blocks reads less than all.
    #[must_use]
    pub const fn plan(&self, terms: &Terms) -> Plan {
        if (self.len as usize) < terms.blocks() {
            Plan::Probe
        } else {
            Plan::Scan
        }
    }

    /// The messages of a segment that have a tag of the set, by their places.
    pub fn select(&self, terms: &Terms, file: &impl Source) -> Result<Bits, TermsError> {
        let mut out = Bits::new(terms.records());
        match self.plan(terms) {
            Plan::Probe => {
                let other = self.other.then_some(u128::from(TagId::OTHER.0));
                let wanted = self.bits.iter().map(u128::from).chain(other);
                terms.probe(file, wanted, &mut out)?;
            }
            Plan::Scan => {
                let wants = |term| u32::try_from(term).is_ok_and(|id| self.contains(TagId(id)));
                terms.scan(file, wants, &mut out)?;
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::super::dictionary::Stamp;
    use super::super::terms::{TermKind, TermsOf, encode_terms};
    use super::*;
    use crate::ids::{Seq, Uuid};
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const fn of(records: u32) -> TermsOf {
        let (first, bytes) = (Seq(1), 9);
        TermsOf {
            first,
            records,
            bytes,
        }
    }

    proptest! {
        #[test]
        fn probe_and_scan_find_what_a_look_at_each_message_finds(
            tags in proptest::collection::vec((0_u32..3000, 0_u32..400), 0..3000),
            wanted in proptest::collection::vec(0_u32..3200, 0..6), many: bool, other: bool,
        ) {
            let id = |tag: u32| if tag == 7 { TagId::OTHER } else { TagId(tag) };
            let pair = |&(tag, at): &(u32, u32)| (id(tag).0, at);
            let mut pairs: Vec<(u32, u32)> = tags.iter().map(pair).collect();
            let log = Uuid([1; 16]);
            let stamp = Stamp::default();
            let file = encode_terms(TermKind::Tags, log, of(400), stamp, &mut pairs);
            let terms = Terms::open(&file, TermKind::Tags, log).unwrap();
            let mut set = TagSet::with_room(10);
            wanted.iter().for_each(|&tag| { set.insert(id(tag)); });
            if many {
                (0..3000).step_by(2).for_each(|tag| { set.insert(id(tag)); });
            }
            if other {
                set.insert(TagId::OTHER);
            }
            let found = set.select(&terms, &file).unwrap();
            for place in 0..400 {
                let of = tags.iter().filter(|pair| pair.1 == place).map(|pair| id(pair.0));
                prop_assert_eq!(found.contains(place), set.matches(of), "place {}", place);
            }
        }
    }

    #[test]
    fn a_small_set_probes_and_a_large_one_scans() {
        let mut pairs: Vec<(u32, u32)> = (0..9000).map(|at| (at, at)).collect();
        let log = Uuid([1; 16]);
        let file = encode_terms(TermKind::Tags, log, of(9000), Stamp::default(), &mut pairs);
        let terms = Terms::open(&file, TermKind::Tags, log).unwrap();
        let mut set = TagSet::default();
        assert!(set.insert(TagId(4)) && !set.insert(TagId(4)));
        assert_eq!(set.plan(&terms), Plan::Probe);
        (0..9000).for_each(|tag| {
            set.insert(TagId(tag));
        });
        assert_eq!(set.plan(&terms), Plan::Scan);
        assert_eq!(set.select(&terms, &file).unwrap().count(), 9000);
    }
}
