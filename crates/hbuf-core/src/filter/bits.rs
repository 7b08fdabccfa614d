//! A set of small numbers, one bit each: the tags of a filter, the messages of a segment that it
//! matches.

use alloc::vec;
use alloc::vec::Vec;

/// A set of numbers below a bound that grows as they come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// The empty set, with room for numbers below `len`.
    #[must_use]
    pub fn new(len: u32) -> Self {
        Self {
            words: vec![0; words(len)],
        }
    }

    /// The numbers below `len`.
    #[must_use]
    pub fn full(len: u32) -> Self {
        let mut words = vec![u64::MAX; words(len)];
        if let Some(last) = words.last_mut()
            && !len.is_multiple_of(64)
        {
            *last = (1 << (len % 64)) - 1;
        }
        Self { words }
    }

    /// Puts a number in; answers whether it is new.
    #[inline]
    pub fn insert(&mut self, number: u32) -> bool {
        let (word, bit) = place(number);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        new
    }

    /// Puts `count` numbers from `first` on in.
    pub fn insert_run(&mut self, first: u32, count: u32) {
        for number in first..first.saturating_add(count) {
            self.insert(number);
        }
    }

    /// Takes a number out.
    #[inline]
    pub fn remove(&mut self, number: u32) {
        let (word, bit) = place(number);
        if let Some(word) = self.words.get_mut(word) {
            *word &= !bit;
        }
    }

    /// Whether the number is in the set.
    #[must_use]
    #[inline]
    pub fn contains(&self, number: u32) -> bool {
        let (word, bit) = place(number);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Keeps what the other has too.
    pub fn keep(&mut self, other: &Self) {
        for (at, word) in self.words.iter_mut().enumerate() {
            *word &= other.words.get(at).copied().unwrap_or_default();
        }
    }

    /// The lowest number of the set that is at least `from`.
    #[must_use]
    pub fn next(&self, from: u32) -> Option<u32> {
        let (mut at, bit) = place(from);
        let mut word = self.words.get(at)? & !(bit - 1);
        while word == 0 {
            at += 1;
            word = *self.words.get(at)?;
        }
        u32::try_from(at * 64 + word.trailing_zeros() as usize).ok()
    }

    /// The numbers, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let mut from = Some(0);
        core::iter::from_fn(move || {
            let number = self.next(from?)?;
            from = number.checked_add(1);
            Some(number)
        })
    }

    /// How many numbers are in the set.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.words
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum()
    }

    /// Bytes of memory that the set takes.
    #[must_use]
    pub const fn memory(&self) -> usize {
        size_of::<Self>() + self.words.capacity() * 8
    }
}

const fn words(len: u32) -> usize {
    (len as usize).div_ceil(64)
}

#[inline]
const fn place(number: u32) -> (usize, u64) {
    (number as usize / 64, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_are_a_set(
            ones in proptest::collection::vec(0_u32..700, 0..60),
            others in proptest::collection::vec(0_u32..700, 0..60),
            gone in 0_u32..700, from in 0_u32..800,
        ) {
            let mut bits = Bits::new(100);
            let mut set = BTreeSet::new();
            for &one in &ones {
                prop_assert_eq!(bits.insert(one), set.insert(one));
            }
            bits.remove(gone);
            set.remove(&gone);
            prop_assert_eq!(bits.next(from), set.range(from..).next().copied());
            prop_assert!(bits.iter().eq(set.iter().copied()));
            prop_assert_eq!(bits.count(), set.len() as u64);
            prop_assert!((0..800).all(|one| bits.contains(one) == set.contains(&one)));
            let mut other = Bits::default();
            others.iter().for_each(|&one| { other.insert(one); });
            bits.keep(&other);
            set.retain(|one| others.contains(one));
            prop_assert!(bits.iter().eq(set));
        }

        #[test]
        fn a_full_set_ends_where_it_should(len in 0_u32..300) {
            let full = Bits::full(len);
            prop_assert_eq!(full.iter().collect::<Vec<_>>(), (0..len).collect::<Vec<_>>());
            let mut run = Bits::default();
            run.insert_run(len, 3);
            prop_assert_eq!(run.iter().collect::<Vec<_>>(), (len..len + 3).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_highest_number_has_its_place() {
        let bits = Bits::new(0);
        assert_eq!(bits.next(u32::MAX), None);
        assert!(!bits.contains(u32::MAX));
    }
}
