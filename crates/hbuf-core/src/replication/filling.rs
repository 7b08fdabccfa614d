//! A copy that began near the tail fills in what is before, from its first record downwards, a
//! segment at a time: in the background, while it takes what is new and counts for the commit.
//!
//! ```text
//!   primary's segments   1 ─ 39   40 ─ 79   80 ─ 119   120 ─ …
//!   the copy begins behind 100:             81 ┄ 100 ┃ 101 ─ …     (1) 80 ─ 100
//!                                  40 ┄ 79 ┃ 80 ─ 100 ┃ 101 ─ …    (2) 40 ─ 79, and so on
//! ```
//! A segment counts when all of it is durable and a mark says that the log begins there. A crash
//! before leaves files of before the mark's first record, and a start removes these.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::copy::{Copy, Taken};
use super::message::{FromCopy, ToCopy, Word};
use super::primary::Primary;
use crate::ids::{Micros, NodeId, Seq};
use crate::limits::{COPY_SILENT_MICROS, FILL_RECORDS_MAX};
use crate::rules::Rules;

/// Records that a copy puts into a segment of before its first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fill {
    /// The segment's first seq.
    pub first: Seq,
    /// The records behind this seq,
    pub after: Seq,
    /// through this one.
    pub through: Seq,
    /// They are its last: make it durable, and then write a mark by which the log begins there.
    pub whole: bool,
}

/// The segment that a copy takes just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Filling {
    pub(super) first: Seq,
    through: Seq,
    /// All of it is here, and is being made durable.
    pub(super) whole: bool,
}

impl Copy {
    /// Records of before its first. What does not go on where the last ones ended is answered with
    /// how far it has come.
    pub(super) fn on_fill(
        &mut self,
        rules: &Rules,
        (first, last): (Seq, Seq),
        (after, through): (Seq, Seq),
        nothing: Taken,
    ) -> Taken {
        let follows = last.next() == self.log().from && first <= last && through <= last;
        if !follows {
            return nothing.answering(self.holds(rules));
        }
        let known = self.filling.filter(|filling| filling.first == first);
        let come = known.map_or_else(|| first.prev(), |filling| filling.through);
        // From its beginning it is taken at any time: a primary that is new does not know better.
        let begins = after.next() == first && !known.is_some_and(|filling| filling.whole);
        if through <= after || !(begins || after == come) {
            return nothing.answering(self.says(Word::Filled {
                first,
                through: come,
            }));
        }
        let whole = through == last;
        self.filling = Some(Filling {
            first,
            through,
            whole,
        });
        let fill = Fill {
            first,
            after,
            through,
            whole,
        };
        let taken = Taken {
            fill: Some(fill),
            ..nothing
        };
        if !rules.filled_segments_are_whole {
            self.begins_at(first);
            return taken.answering(self.holds(rules));
        }
        match whole {
            // It is answered when that is durable.
            true => taken,
            false => taken.answering(self.says(Word::Filled { first, through })),
        }
    }

    /// The segment that begins here is durable, and so is the mark that says so.
    pub(super) fn on_filled(&mut self, rules: &Rules, first: Seq) -> Option<FromCopy> {
        let filling = self.filling.filter(|it| it.first == first && it.whole)?;
        self.filling = None;
        self.begins_at(filling.first);
        self.led().then(|| self.holds(rules))
    }
}

/// What a primary sends to the copies that lack something of before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Fills {
    copies: BTreeMap<NodeId, Sent>,
}

/// What one copy was sent of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Sent {
    first: Seq,
    /// The last record of it that the copy lacks.
    last: Seq,
    /// The last record that it has answered for.
    through: Seq,
    /// Whoever has the connection knows that there is something to send.
    noticed: bool,
    /// It owes an answer since then: nothing else is sent before.
    silent_since: Option<Micros>,
}

impl Fills {
    /// To whom there is something to send, and nobody knows yet.
    pub(super) fn news(&mut self, messages: &Primary) -> Vec<NodeId> {
        let late = |node: &NodeId| messages.begins_late(*node).is_some();
        self.copies.retain(|node, _| late(node));
        let copies = messages.assignment().copies.iter().copied();
        let mut found = Vec::new();
        for node in copies.filter(late) {
            let sent = self.copies.entry(node).or_default();
            if !sent.noticed && sent.silent_since.is_none() {
                sent.noticed = true;
                found.push(node);
            }
        }
        found
    }

    /// What a copy is sent next of the segment that begins at `first` and holds the record before
    /// the copy's first.
    pub(super) fn pull(
        &mut self,
        now: Micros,
        node: NodeId,
        (first, records): (Seq, u64),
        messages: &Primary,
    ) -> Option<ToCopy> {
        let last = messages.begins_late(node)?.prev();
        let sent = self.copies.get_mut(&node)?;
        sent.noticed = false;
        if sent.silent_since.is_some() {
            return None;
        }
        let goes_on = sent.first == first && sent.through < last;
        let after = sent.through.max(first.prev());
        let after = if goes_on { after } else { first.prev() };
        let through = last.min(after.plus(records.clamp(1, FILL_RECORDS_MAX)));
        (sent.first, sent.last, sent.through) = (first, last, after);
        sent.silent_since = Some(now);
        Some(ToCopy::Fill {
            epoch: messages.epoch(),
            first,
            last,
            after,
            through,
        })
    }

    /// What a copy says.
    pub(super) fn on_answer(&mut self, node: NodeId, word: Word) {
        let Some(sent) = self.copies.get_mut(&node) else {
            return;
        };
        match word {
            Word::Filled { first, through } if first == sent.first => {
                sent.through = through;
                // The last ones are answered when the segment is durable.
                sent.silent_since = sent.silent_since.filter(|_| through >= sent.last);
            }
            // It begins there now, or somewhere else.
            Word::Holds { from, .. } if from <= sent.first => sent.silent_since = None,
            Word::NotLed | Word::Quarantined => *sent = Sent::default(),
            _ => {}
        }
    }

    /// What a copy has not answered is sent again.
    pub(super) fn on_silence(&mut self, node: NodeId) {
        self.copies.remove(&node);
    }

    pub(super) fn on_clock_back(&mut self, now: Micros) {
        for sent in self.copies.values_mut() {
            sent.silent_since = sent.silent_since.map(|since| since.min(now));
        }
    }

    pub(super) fn due(&self) -> Option<Micros> {
        let silent = self.copies.values().filter_map(|sent| sent.silent_since);
        silent.map(|since| since.plus(COPY_SILENT_MICROS)).min()
    }

    pub(super) fn on_time(&mut self, now: Micros) {
        for sent in self.copies.values_mut() {
            let silent = |since| now.since(since) >= COPY_SILENT_MICROS;
            sent.silent_since = sent.silent_since.filter(|since| !silent(*since));
        }
    }
}

/// How fast old records leave a node: new ones come first, on its disk too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FillPace {
    bytes_per_second: u64,
    free_at: Micros,
}

impl FillPace {
    /// At most so many bytes a second, at least one.
    #[must_use]
    pub const fn new(bytes_per_second: u64) -> Self {
        let bytes_per_second = match bytes_per_second {
            0 => 1,
            some => some,
        };
        Self {
            bytes_per_second,
            free_at: Micros(0),
        }
    }

    /// When the next message may be sent, by a clock that never goes back.
    #[must_use]
    pub fn next(&self, now: Micros) -> Micros {
        self.free_at.max(now)
    }

    /// The clock begins anew, as at a start.
    pub const fn restart(&mut self) {
        self.free_at = Micros(0);
    }

    /// A message of so many bytes is sent now.
    pub fn sent(&mut self, now: Micros, bytes: u64) {
        let micros = u128::from(bytes) * 1_000_000 / u128::from(self.bytes_per_second);
        let takes = u64::try_from(micros).unwrap_or(u64::MAX);
        self.free_at = Micros(self.next(now).0.saturating_add(takes));
    }
}
