//! Which epoch each record of a log is of, and from it, how far two logs are the same.
//!
//! In one epoch one primary appends, and a copy takes only what follows its log. So two logs that
//! hold a record of the same seq and epoch hold the same records up to it: the log matching
//! property of Raft (Ongaro and Ousterhout 2014, §5.3), which KIP-101 and KIP-279 came to as well.

use alloc::vec::Vec;

use crate::ids::{Epoch, Seq};

/// Each epoch with the seq at which it began, oldest first. An epoch without a record begins where
/// the next one does.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epochs(Vec<(Epoch, Seq)>);

impl Epochs {
    /// A table of these entries, in rising order of both.
    #[must_use]
    pub fn of(entries: Vec<(Epoch, Seq)>) -> Self {
        debug_assert!(
            entries
                .windows(2)
                .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1)
        );
        Self(entries)
    }

    /// Its entries.
    #[must_use]
    pub fn entries(&self) -> &[(Epoch, Seq)] {
        &self.0
    }

    /// Notes that `epoch` begins at `first`, unless it is there.
    pub fn note(&mut self, epoch: Epoch, first: Seq) {
        if self.0.last().is_none_or(|(last, _)| *last < epoch) {
            self.0.push((epoch, first));
        }
    }

    /// Forgets the epochs that began behind `end`.
    pub fn cut(&mut self, end: Seq) {
        let kept = self.0.partition_point(|(_, first)| *first <= end);
        self.0.truncate(kept);
    }

    /// The epoch of the record `seq`; 0 before the first.
    #[must_use]
    pub fn at(&self, seq: Seq) -> Epoch {
        let behind = self.0.partition_point(|(_, first)| *first <= seq);
        let last = behind.checked_sub(1).and_then(|at| self.0.get(at));
        last.filter(|_| seq > Seq::ZERO)
            .map_or(Epoch(0), |(epoch, _)| *epoch)
    }

    /// The epochs of the records behind `after` through `through`, each with its first seq among
    /// them.
    #[must_use]
    pub fn within(&self, after: Seq, through: Seq) -> Self {
        let mut found = Vec::new();
        for (at, (epoch, first)) in self.0.iter().enumerate() {
            let next = self.0.get(at + 1).map_or(Seq::MAX, |(_, next)| *next);
            let from = after.next().max(*first);
            if from < next && from <= through {
                found.push((*epoch, from));
            }
        }
        Self(found)
    }

    /// The table of the log through `through`.
    #[must_use]
    pub fn through(&self, through: Seq) -> Self {
        let mut table = self.clone();
        let kept = table.0.partition_point(|(_, first)| *first <= through);
        table.0.truncate(kept);
        table
    }

    /// How far this log, which ends at `end`, and another are the same: the last seq of the newest
    /// epoch of which both hold a record. `ZERO` when there is none.
    #[must_use]
    pub fn common(&self, end: Seq, other: &Self, other_end: Seq) -> Seq {
        let same = |(epoch, last): (Epoch, Seq)| Some(last.min(other.last_of(epoch, other_end)?));
        let (mut at, mut found) = (self.0.len(), None);
        while at > 0 && found.is_none() {
            at -= 1;
            let epoch = self.0[at].0;
            found = self
                .last_of(epoch, end)
                .and_then(|last| same((epoch, last)));
        }
        found.unwrap_or(Seq::ZERO)
    }

    /// The last record of an epoch in a log that ends at `end`; `None` when it has none.
    fn last_of(&self, epoch: Epoch, end: Seq) -> Option<Seq> {
        let at = self.0.binary_search_by_key(&epoch, |(of, _)| *of).ok()?;
        let first = self.0[at].1;
        let next = self.0.get(at + 1).map_or(Seq::MAX, |(_, next)| *next);
        let last = end.min(next.prev());
        (first <= last).then_some(last)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn table(entries: &[(u32, u64)]) -> Epochs {
        let entries = entries.iter();
        Epochs::of(
            entries
                .map(|(epoch, first)| (Epoch(*epoch), Seq(*first)))
                .collect(),
        )
    }

    #[test]
    fn a_seq_has_the_epoch_that_began_last() {
        let epochs = table(&[(1, 1), (2, 4), (3, 4), (5, 9)]);
        let at: Vec<u32> = (0..=10).map(|seq| epochs.at(Seq(seq)).0).collect();
        assert_eq!(at, [0, 1, 1, 1, 3, 3, 3, 3, 3, 5, 5]);
    }

    #[test]
    fn logs_are_the_same_up_to_the_last_record_of_an_epoch_that_both_know() {
        let one = table(&[(1, 1), (3, 6)]);
        assert_eq!(one.common(Seq(8), &one, Seq(7)), Seq(7));
        let other = table(&[(1, 1), (2, 4)]);
        assert_eq!(
            one.common(Seq(8), &other, Seq(9)),
            Seq(3),
            "epoch 2 is alone"
        );
        assert_eq!(
            other.common(Seq(9), &one, Seq(8)),
            Seq(3),
            "from either side"
        );
        assert_eq!(table(&[]).common(Seq(0), &one, Seq(8)), Seq(0));
    }

    #[test]
    fn an_epoch_without_a_record_says_nothing() {
        let one = table(&[(1, 1), (2, 4), (3, 4)]);
        let other = table(&[(1, 1), (2, 4)]);
        assert_eq!(one.common(Seq(5), &other, Seq(6)), Seq(3));
    }

    #[test]
    fn a_part_of_a_table_names_each_epoch_from_where_it_is_in_it() {
        let epochs = table(&[(1, 1), (2, 4), (3, 4), (5, 9)]);
        assert_eq!(
            epochs.within(Seq(2), Seq(5)).entries(),
            [(Epoch(1), Seq(3)), (Epoch(3), Seq(4))]
        );
        assert_eq!(epochs.within(Seq(5), Seq(5)).entries(), []);
    }

    #[test]
    fn a_cut_forgets_what_began_behind_it() {
        let mut epochs = table(&[(1, 1), (2, 4)]);
        epochs.cut(Seq(3));
        assert_eq!(epochs, table(&[(1, 1)]));
        epochs.note(Epoch(4), Seq(4));
        epochs.note(Epoch(4), Seq(6));
        assert_eq!(
            epochs.entries(),
            vec![(Epoch(1), Seq(1)), (Epoch(4), Seq(4))]
        );
    }
}
