//! Judges the tails that readers were shown: how fresh they are, and that they do not go back.

use std::collections::BTreeMap;

use hbuf_core::ids::Seq;

use super::findings::Check;
use super::lineage::Lineage;
use super::log::Judge;
use super::logged::{Freshness, Level, ReadOp};
use super::operation::{ClientId, Moment, OpId};

/// Somebody was told that a history goes through a seq at least.
#[derive(Clone, Copy)]
struct Told {
    end: Moment,
    history: usize,
    through: Seq,
    operation: OpId,
}

/// A read that was shown a tail.
struct Tail<'a> {
    read: &'a ReadOp,
    history: usize,
    tail: Seq,
}

/// The highest that was told of each history.
#[derive(Default)]
struct Highest {
    told: BTreeMap<usize, Told>,
}

impl Highest {
    fn add(&mut self, told: Told) {
        let highest = self.told.entry(told.history).or_insert(told);
        if highest.through < told.through {
            *highest = told;
        }
    }

    /// What a tail falls short of. A history has of the ones before only what it took over.
    fn missed(&self, lineage: &Lineage, history: usize, tail: Seq) -> Option<&Told> {
        let mut told = self.told.values();
        told.find(|told| {
            told.history > history || lineage.taken_over(told.history, told.through, history) > tail
        })
    }
}

impl<'a> Judge<'a, '_> {
    pub(super) fn tails(&mut self) {
        let mut tails = self.shown_tails();
        tails.sort_by_key(|tail| (tail.read.begin, tail.read.id));
        self.fresh(&tails);
        self.never_back(&tails);
    }

    fn shown_tails(&self) -> Vec<Tail<'a>> {
        let tails = self.reads.iter().filter_map(|read| {
            let shown = read.outcome.answer()?;
            Some(Tail {
                read,
                history: self.lineage.number(shown.history)?,
                tail: shown.tail?,
            })
        });
        tails.collect()
    }

    /// A linearizable read shows all that was acknowledged as in sync, or shown, before it began.
    fn fresh(&mut self, tails: &[Tail<'a>]) {
        let mut told = self.told();
        told.sort_by_key(|told| (told.end, told.operation));
        let mut told = told.into_iter().peekable();
        let mut highest = Highest::default();
        for tail in tails {
            while let Some(one) = told.next_if(|one| one.end < tail.read.begin) {
                highest.add(one);
            }
            if tail.read.call.freshness == Freshness::Linearizable {
                self.compare(Check::TailIsFresh, &highest, tail);
            }
        }
    }

    /// One client and one copy, or the linearizable reads of one client, which may come from any.
    fn never_back(&mut self, tails: &[Tail<'a>]) {
        type Stream<'a> = (ClientId, Freshness, Option<&'a str>);
        let mut streams: BTreeMap<Stream<'a>, Vec<&Tail<'a>>> = BTreeMap::new();
        for tail in tails {
            let read = tail.read;
            let from = read
                .outcome
                .answer()
                .and_then(|shown| shown.from.as_deref());
            let freshness = read.call.freshness;
            let from = from.filter(|_| freshness == Freshness::Any);
            let stream = streams.entry((read.client, freshness, from)).or_default();
            stream.push(tail);
        }
        for stream in streams.into_values() {
            let mut highest = Highest::default();
            let mut ended: Vec<Told> = stream.iter().map(|tail| tail.told()).collect();
            ended.sort_by_key(|told| (told.end, told.operation));
            let mut ended = ended.into_iter().peekable();
            for tail in stream {
                // One client does one thing after the other, so the next may begin in the moment in
                // which the last one ended; a read is not compared with itself.
                let before =
                    |one: &Told| one.end <= tail.read.begin && one.operation != tail.read.id;
                while let Some(one) = ended.next_if(before) {
                    highest.add(one);
                }
                self.compare(Check::TailNeverGoesBack, &highest, tail);
            }
        }
    }

    fn compare(&mut self, check: Check, highest: &Highest, tail: &Tail<'_>) {
        let Some(missed) = highest.missed(&self.lineage, tail.history, tail.tail) else {
            return;
        };
        let (operation, through) = (missed.operation, missed.through);
        let (read, shown) = (tail.read, tail.tail);
        let newer = match missed.history > tail.history {
            true => " of a later history",
            false => "",
        };
        let what = format!(
            "{read}; it shows the tail {shown}, and {operation} had told of {through}{newer} before"
        );
        self.find(check, &[operation, read.id], &what);
    }

    /// All that was told to anybody.
    fn told(&self) -> Vec<Told> {
        let mut all = Vec::new();
        for append in self.groups.iter().flat_map(|group| &group.attempts) {
            let stored = append.outcome.answer();
            let Some(stored) = stored.filter(|stored| stored.level == Level::InSync) else {
                continue;
            };
            let history = self.lineage.number(stored.history);
            if let (Some(history), Some(end)) = (history, append.outcome.end()) {
                all.push(Told {
                    end,
                    history,
                    through: stored.first.plus(append.call.messages.len() as u64 - 1),
                    operation: append.id,
                });
            }
        }
        for read in &self.reads {
            let (Some(shown), Some(end)) = (read.outcome.answer(), read.outcome.end()) else {
                continue;
            };
            let last = shown.messages.last().map(|message| message.seq);
            let history = self.lineage.number(shown.history);
            if let (Some(history), Some(through)) = (history, last.max(shown.tail)) {
                all.push(Told {
                    end,
                    history,
                    through,
                    operation: read.id,
                });
            }
        }
        all
    }
}

impl Tail<'_> {
    fn told(&self) -> Told {
        Told {
            end: self.read.outcome.end().expect("it was answered"),
            history: self.history,
            through: self.tail,
            operation: self.read.id,
        }
    }
}
