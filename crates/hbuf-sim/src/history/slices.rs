//! Judges reads: each shows a slice of the one log, all of it, and nothing that goes later.

use hbuf_core::ids::{Hash, Seq};

use super::findings::Check;
use super::log::Judge;
use super::logged::{ReadOp, Shown, ShownMessage};
use super::operation::Moment;
use super::places::{Facts, Source};

impl<'a> Judge<'a, '_> {
    pub(super) fn reads(&mut self) {
        let mut reads = self.reads.clone();
        reads.sort_by_key(|read| (read.outcome.end(), read.id));
        for read in reads {
            let (Some(shown), Some(end)) = (read.outcome.answer(), read.outcome.end()) else {
                continue;
            };
            let Some(history) = self.lineage.number(shown.history) else {
                let what = format!("{read}; its history is not stated: {}", shown.history);
                self.find(Check::HistoryStatesItsLoss, &[read.id], &what);
                continue;
            };
            self.verdict.shown += shown.messages.len() as u64;
            self.in_order(read, shown);
            for message in &shown.messages {
                self.shown(read, history, message);
                if let Some(content) = message.content {
                    self.sent_before(read, end, message.seq, &content);
                }
            }
            if !read.call.filtered {
                self.gaps(read, history, shown);
            }
        }
    }

    fn in_order(&mut self, read: &ReadOp, shown: &Shown) {
        let mut before = read.call.after;
        for message in &shown.messages {
            if message.seq <= before {
                let what = format!("{read}; it shows {} behind {before}", message.seq);
                self.find(Check::ReadIsASlice, &[read.id], &what);
                return;
            }
            before = message.seq;
        }
        let (through, tail) = (shown.through, shown.tail);
        if before > through.max(read.call.after) || tail.is_some_and(|tail| tail < before) {
            let what = format!("{read}; it shows {before} and ends with {through}");
            self.find(Check::ReadIsASlice, &[read.id], &what);
        }
    }

    /// A shown message is the one that all others see there, and is there in the end.
    fn shown(&mut self, read: &'a ReadOp, history: usize, message: &ShownMessage) {
        let seq = message.seq;
        let place = self.lineage.place(history, seq);
        let facts = Facts {
            content: message.content,
            id: message.id,
            epoch: None,
            is_message: true,
        };
        let survives = self.lineage.survives(place);
        let taken_back = self.newest.commit < seq
            || seq >= self.newest.first && self.newest.record(seq).is_none();
        if survives && taken_back {
            let (copy, commit) = (&self.newest.copy, self.newest.commit);
            let what = format!("{read}; it shows {seq}, and copy {copy} has committed {commit}");
            self.find(Check::CommitMonotonic, &[read.id], &what);
        }
        if let Err(conflict) = self.places.add(place, facts, Source::Read(read), None) {
            let check = match conflict.by {
                Source::Read(_) => Check::SeqDenseUnique,
                Source::Log(_) | Source::Ack(_) => Check::ReadIsASlice,
            };
            let what = format!("{read}; at {seq} {} has {}", conflict.by, conflict.what);
            let mut operations: Vec<_> = conflict.by.operation().into_iter().collect();
            operations.push(read.id);
            self.find(check, &operations, &what);
        }
    }

    fn sent_before(&mut self, read: &ReadOp, end: Moment, seq: Seq, content: &Hash) {
        match self.sent.get(content).copied() {
            None => {
                let what = format!("{read}; at {seq} it shows what nobody sent: {content}");
                self.find(Check::NothingFromNowhere, &[read.id], &what);
            }
            Some(sent) if sent.times == 0 => {
                let what = format!("{read}; at {seq} it shows {}, which failed", sent.first);
                self.find(Check::FailedNeverThere, &[sent.first, read.id], &what);
            }
            Some(sent) if sent.begin > end => {
                let what = format!(
                    "{read}; at {seq} it shows {}, which began later",
                    sent.first
                );
                self.find(Check::NothingFromNowhere, &[sent.first, read.id], &what);
            }
            Some(_) => {}
        }
    }

    /// Nothing that is known to be in the range is left out, but what may be: records of the
    /// server, what is gone, and before the first that is shown what retention has dropped.
    fn gaps(&mut self, read: &ReadOp, history: usize, shown: &Shown) {
        let first = shown.messages.first().map(|message| message.seq);
        let dropped = self.newest.first.prev();
        let dropped = first.map_or(dropped, |first| dropped.min(first));
        let after = read.call.after.max(dropped);
        let mut shown_seqs = shown.messages.iter().map(|it| it.seq).peekable();
        let mut left_out = None;
        'runs: for (number, from, to) in self.lineage.runs(history, after, shown.through) {
            for ((_, seq), held) in self.places.range((number, from)..=(number, to)) {
                while shown_seqs.next_if(|shown| *shown < seq).is_some() {}
                let there = shown_seqs.peek() == Some(&seq);
                if !there && held.facts.is_message && !self.newest.is_gone(seq) {
                    left_out = Some((seq, held.by));
                    break 'runs;
                }
            }
        }
        if let Some((seq, by)) = left_out {
            let what = format!("{read}; it leaves out {seq}, which {by} has");
            let mut operations: Vec<_> = by.operation().into_iter().collect();
            operations.push(read.id);
            self.find(Check::ReadIsASlice, &operations, &what);
        }
    }
}
