//! The histories of one buffer in their order, and so the one name of each message.
//!
//! A new history takes over the messages of the one before through some seq and loses the others.
//! So one message has a place in each history that took it over; its name is the earliest.

use std::collections::BTreeMap;

use hbuf_core::ids::{Seq, Uuid};

use super::logged::HistoryStart;

/// A message by the earliest history that has it, counted from 0, and its seq.
pub(super) type Place = (usize, Seq);

/// The histories of one buffer.
#[derive(Clone, Debug)]
pub(super) struct Lineage {
    /// What each history took over of the one before.
    kept: Vec<Seq>,
    /// Through where the last history has what each one held.
    surviving: Vec<Seq>,
    numbers: BTreeMap<Uuid, usize>,
}

impl Lineage {
    pub(super) fn new(starts: &[HistoryStart]) -> Self {
        let kept: Vec<_> = starts.iter().map(|start| start.kept).collect();
        let mut surviving = vec![Seq(u64::MAX); kept.len()];
        for number in (1..kept.len()).rev() {
            surviving[number - 1] = surviving[number].min(kept[number]);
        }
        let numbers = starts.iter().zip(0..);
        Self {
            kept,
            surviving,
            numbers: numbers.map(|(start, at)| (start.history, at)).collect(),
        }
    }

    /// The number of a history; none when it is not stated.
    pub(super) fn number(&self, history: Uuid) -> Option<usize> {
        self.numbers.get(&history).copied()
    }

    /// The number of the last history.
    pub(super) const fn last(&self) -> usize {
        self.kept.len().saturating_sub(1)
    }

    /// The place of what a history holds at a seq.
    pub(super) fn place(&self, mut history: usize, seq: Seq) -> Place {
        while history > 0 && seq <= self.kept[history] {
            history -= 1;
        }
        (history, seq)
    }

    /// Whether the last history has what was held there.
    pub(super) fn survives(&self, (history, seq): Place) -> bool {
        seq <= self.surviving[history]
    }

    /// Through where a later history has what an earlier one held through `seq`.
    pub(super) fn taken_over(&self, from: usize, seq: Seq, to: usize) -> Seq {
        let between = self.kept[from + 1..=to].iter().copied();
        between.fold(seq, Seq::min)
    }

    /// The places of the seqs behind `after` through `through` of a history, as runs of one history
    /// each, the earliest first.
    pub(super) fn runs(&self, history: usize, after: Seq, through: Seq) -> Vec<(usize, Seq, Seq)> {
        let mut runs = Vec::new();
        let mut end = through;
        for number in (0..=history).rev() {
            let kept = match number {
                0 => Seq::ZERO,
                _ => self.kept[number],
            };
            let begin = after.max(kept);
            if begin < end {
                runs.push((number, begin.next(), end));
                end = begin;
            }
        }
        runs.reverse();
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_one_name_in_all_histories_that_took_it_over() {
        // The second history keeps 10, the third 7, the fourth 9.
        let start = |history, kept| HistoryStart {
            history: Uuid([history; 16]),
            kept: Seq(kept),
        };
        let lineage = Lineage::new(&[start(1, 0), start(2, 10), start(3, 7), start(4, 9)]);
        let place = |history, seq| lineage.place(history, Seq(seq));
        assert_eq!(
            (lineage.last(), lineage.number(Uuid([3; 16]))),
            (3, Some(2))
        );
        assert_eq!(lineage.number(Uuid([5; 16])), None);
        assert_eq!(place(0, 11), (0, Seq(11)));
        assert_eq!(place(1, 10), (0, Seq(10)));
        assert_eq!(place(1, 11), (1, Seq(11)));
        assert_eq!(place(3, 8), (2, Seq(8)));
        assert_eq!(place(3, 7), (0, Seq(7)));
        let survives = |history, seq| lineage.survives((history, Seq(seq)));
        assert!(survives(0, 7) && !survives(0, 8) && !survives(1, 11));
        assert!(survives(2, 9) && !survives(2, 10) && survives(3, 99));
        assert_eq!(lineage.taken_over(0, Seq(12), 1), Seq(10));
        assert_eq!(lineage.taken_over(0, Seq(12), 3), Seq(7));
        assert_eq!(lineage.taken_over(2, Seq(8), 2), Seq(8));
        let runs = lineage.runs(3, Seq(5), Seq(12));
        let expected = [(0, 6, 7), (2, 8, 9), (3, 10, 12)];
        assert_eq!(
            runs,
            expected.map(|(at, from, to)| (at, Seq(from), Seq(to)))
        );
        assert_eq!(lineage.runs(3, Seq(12), Seq(12)), []);
    }
}
