//! The journal's side of recovery: this buffer's entries, one after the other.

use alloc::vec::Vec;
use core::ops::Range;

use super::Found;
use super::journaled::{FoundEntry, ReadEntry};
use crate::ids::{Epoch, Seq};
use crate::journal::{BufferEnd, Entry, Replay as Verdict, needless, replay};
use crate::record::{JournalFile, State};
use crate::rules::Rules;
use crate::segment::{LogKind, ReadFailed};

/// One log's journal entries in the order of their positions.
pub(super) struct Replay<'a> {
    log: LogKind,
    found: Vec<FoundEntry<'a>>,
    next: usize,
    end: BufferEnd,
    /// The entry that did not follow, and all behind it.
    gap: Option<usize>,
    gap_proves: bool,
}

/// Records that the journal puts behind the log's end.
pub(super) struct Restored {
    /// First seq of their file.
    pub(super) file: Seq,
    /// They begin with the head line of that file.
    pub(super) new_file: bool,
    read: ReadEntry,
    bytes: Range<usize>,
}

impl Restored {
    /// The records as an entry of their own.
    pub(super) fn entry(&self) -> Entry<'_> {
        let entry = self.read.entry();
        Entry {
            body: &entry.body[self.bytes.clone()],
            ..entry
        }
    }
}

impl<'a> Replay<'a> {
    pub(super) fn new(rules: &Rules, found: &Found<'a>, log: LogKind) -> Self {
        let fence = found.mark.as_ref().map_or(0, |mark| mark.fence);
        let fence = if rules.replay_respects_fence {
            fence
        } else {
            0
        };
        let of_log = |entry: &&FoundEntry<'_>| match entry.file {
            JournalFile::Messages(_) => log == LogKind::Messages,
            JournalFile::Cursors(_) => log == LogKind::Cursors,
        };
        Self {
            log,
            found: found.journal.iter().filter(of_log).copied().collect(),
            next: 0,
            end: BufferEnd {
                end: Seq::ZERO,
                epoch: Epoch(0),
                fence,
                stopped: false,
            },
            gap: None,
            gap_proves: rules.gap_in_journal_proves,
        }
    }

    /// What goes on behind `end`, if an entry has it. Each entry is asked once.
    pub(super) fn next(&mut self, end: Seq, epoch: Epoch) -> Result<Option<Restored>, ReadFailed> {
        self.end = BufferEnd {
            end,
            epoch,
            ..self.end
        };
        while let Some(found) = self.found.get(self.next) {
            let number = self.next;
            self.next += 1;
            if needless(found.position, found.span, &self.end).is_some() {
                continue;
            }
            let read = found.read()?;
            match replay(&read.entry(), found.position, &self.end) {
                Ok(Verdict::Apply {
                    bytes, new_file, ..
                }) => {
                    return Ok(Some(Restored {
                        file: found.file.first(),
                        new_file,
                        read,
                        bytes,
                    }));
                }
                Ok(Verdict::Skip(_)) => {}
                // The journal is in order: what is missing here comes from nowhere. Above the fence
                // a log's seqs rise with the positions, since whatever takes a log's end back first
                // lets the fence pass all that was journaled; so nothing behind a gap could go on
                // at the end, and the stop needs no rule that could be bent.
                //
                // A file of the cursors log says all that was before it: the files before it may
                // be gone, and what is missing with them.
                Ok(Verdict::Gap { .. }) if let Some((at, first)) = self.begun_behind(number) => {
                    self.next = at;
                    self.end.end = first.prev();
                }
                Ok(Verdict::Gap { .. }) | Err(_) => {
                    self.end.stopped = true;
                    self.gap = self.gap.or(Some(number));
                }
            }
        }
        Ok(None)
    }

    /// Whether the entries hold all records `from..=through`, so that they need no file.
    pub(super) fn holds(&self, from: Seq, through: Seq) -> bool {
        let unfenced = self.unfenced(&self.found);
        let spans = unfenced.filter_map(|found| found.span.filter(|span| span.records));
        let due = spans.fold(from, |due, span| {
            if (span.first..=span.last).contains(&due) {
                span.last.next()
            } else {
                due
            }
        });
        due > through
    }

    /// From this entry on, the first with the beginning of a file of the cursors log past the end,
    /// and its first seq.
    fn begun_behind(&self, from: usize) -> Option<(usize, Seq)> {
        let begins = |found: &FoundEntry<'_>| {
            let span = found.span.filter(|span| span.head)?;
            let begins = found.file.first() == span.first && span.first.prev() > self.end.end;
            (begins && found.position > self.end.fence).then_some(span.first)
        };
        let mut behind = self.found.iter().enumerate().skip(from);
        let cursors = self.log == LogKind::Cursors;
        behind.find_map(|(at, found)| Some((at, begins(found).filter(|_| cursors)?)))
    }

    /// The entries that could not be applied, since something before them is missing.
    pub(super) fn behind_gap(&self) -> impl Iterator<Item = Result<ReadEntry, ReadFailed>> {
        let behind = self.gap.map_or(&[][..], |gap| &self.found[gap..]);
        self.unfenced(behind).map(FoundEntry::read)
    }

    fn unfenced<'s>(
        &self,
        found: &'s [FoundEntry<'a>],
    ) -> impl Iterator<Item = &'s FoundEntry<'a>> + use<'s, 'a> {
        let fence = self.end.fence;
        found.iter().filter(move |found| found.position > fence)
    }

    /// Behind a gap: a record that was framed when `seq`, which the log lacks, was committed.
    ///
    /// What stands before a gap was acknowledged without the journal, from the segment itself, and
    /// is gone from there: it must not pass for a tail that nobody was told of.
    pub(super) fn witness(&self, seq: Seq) -> Result<Option<Seq>, ReadFailed> {
        if !self.gap_proves {
            return Ok(None);
        }
        for read in self.behind_gap() {
            let read = read?;
            let records = read.entry().records().map_while(Result::ok);
            let found = records
                .map(|(_, record)| record.line)
                .filter(|line| line.state != State::Head && line.seq > seq)
                .find(|line| line.known_commit() >= seq);
            if let Some(line) = found {
                return Ok(Some(line.seq));
            }
        }
        Ok(None)
    }
}
