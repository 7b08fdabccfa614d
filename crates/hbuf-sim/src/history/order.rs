//! Judges the order of appends: who began after another one was acknowledged comes behind it.

use hbuf_core::ids::Seq;

use super::findings::Check;
use super::lineage::Place;
use super::log::Judge;
use super::logged::{AppendOp, ReadOp};
use super::operation::Moment;
use super::places::Source;

/// An append that has a place.
struct Placed<'a> {
    begin: Moment,
    first: Place,
    append: &'a AppendOp,
}

/// Something that was known by an end: whatever begins later comes behind.
struct Known<'a> {
    end: Moment,
    last: Place,
    by: Source<'a>,
}

impl<'a> Judge<'a, '_> {
    pub(super) fn order(&mut self) {
        let (mut placed, mut known) = (Vec::new(), Vec::new());
        for group in &self.groups {
            let begin = group.attempts[0].begin;
            let more = group.attempts[0].call.messages.len() as u64 - 1;
            let acked = self.acked_places(group);
            for (first, append) in acked.iter().copied() {
                placed.push(Placed {
                    begin,
                    first,
                    append,
                });
                known.push(Known {
                    end: append.outcome.end().expect("it was answered"),
                    last: (first.0, first.1.plus(more)),
                    by: Source::Ack(append),
                });
            }
            if acked.is_empty()
                && let Some(seq) = self.located(group)
            {
                placed.push(Placed {
                    begin,
                    first: self.lineage.place(self.lineage.last(), seq),
                    append: group.attempts[0],
                });
            }
        }
        known.extend(self.reads.iter().filter_map(|read| self.seen(read)));
        placed.sort_by_key(|it| (it.begin, it.append.id));
        known.sort_by_key(|it| (it.end, it.by.operation()));
        let mut before = known.into_iter().peekable();
        let mut highest: Option<Known<'a>> = None;
        for one in placed {
            while let Some(known) = before.next_if(|known| known.end < one.begin) {
                if highest.as_ref().is_none_or(|it| it.last < known.last) {
                    highest = Some(known);
                }
            }
            if let Some(it) = highest.as_ref().filter(|it| it.last >= one.first) {
                let (at, seq) = (one.first.1, it.last.1);
                let what = format!(
                    "{}; it is at {at}, although {seq} was known before it began: {}",
                    one.append, it.by
                );
                let mut operations: Vec<_> = it.by.operation().into_iter().collect();
                operations.push(one.append.id);
                self.find(Check::RealTimeOrder, &operations, &what);
            }
        }
    }

    /// How far a read saw the log.
    fn seen(&self, read: &'a ReadOp) -> Option<Known<'a>> {
        let shown = read.outcome.answer()?;
        let history = self.lineage.number(shown.history)?;
        let last = shown.messages.last().map(|message| message.seq);
        let last = last.max(shown.tail).filter(|last| *last > Seq::ZERO)?;
        Some(Known {
            end: read.outcome.end()?,
            last: self.lineage.place(history, last),
            by: Source::Read(read),
        })
    }
}
