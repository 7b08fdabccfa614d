//! The journal's side of recovery: this buffer's entries, one after the other.

use alloc::vec::Vec;

use super::{Found, FoundEntry};
use crate::ids::{Epoch, Seq};
use crate::journal::{BufferEnd, Entry, Replay as Verdict, replay};
use crate::record::{JournalFile, Line, State};
use crate::rules::Rules;
use crate::segment::LogKind;

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
pub(super) struct Restored<'a> {
    /// First seq of their file.
    pub(super) file: Seq,
    /// They begin with the head line of that file.
    pub(super) new_file: bool,
    /// The records as an entry of their own.
    pub(super) entry: Entry<'a>,
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
    pub(super) fn next(&mut self, end: Seq, epoch: Epoch) -> Option<Restored<'a>> {
        self.end = BufferEnd {
            end,
            epoch,
            ..self.end
        };
        while let Some(found) = self.found.get(self.next).copied() {
            let entry = Entry {
                buffer: found.buffer,
                file: found.file,
                body: found.bytes,
            };
            match replay(&entry, found.position, &self.end) {
                Ok(Verdict::Apply {
                    bytes, new_file, ..
                }) => {
                    self.next += 1;
                    let entry = Entry {
                        body: &found.bytes[bytes],
                        ..entry
                    };
                    return Some(Restored {
                        file: found.file.first(),
                        new_file,
                        entry,
                    });
                }
                Ok(Verdict::Skip(_)) => self.next += 1,
                // The journal is in order: what is missing here comes from nowhere. Above the fence
                // a log's seqs rise with the positions, since whatever takes a log's end back first
                // lets the fence pass all that was journaled; so nothing behind a gap could go on
                // at the end, and the stop needs no rule that could be bent.
                //
                // A file of the cursors log says all that was before it: the files before it may
                // be gone, and what is missing with them.
                Ok(Verdict::Gap { .. }) if let Some((at, first)) = self.begun_behind() => {
                    self.next = at;
                    self.end.end = first.prev();
                }
                Ok(Verdict::Gap { .. }) | Err(_) => {
                    self.end.stopped = true;
                    self.gap = self.gap.or(Some(self.next));
                    self.next += 1;
                }
            }
        }
        None
    }

    /// The next entry with the beginning of a file of the cursors log past the end, and its first
    /// seq.
    fn begun_behind(&self) -> Option<(usize, Seq)> {
        let begins = |found: &FoundEntry<'_>| {
            let line = Line::parse(found.bytes).ok()?;
            let begins = line.state == State::Head && found.file.first() == line.seq;
            let begins = begins && line.seq.prev() > self.end.end;
            (begins && found.position > self.end.fence).then_some(line.seq)
        };
        let mut behind = self.found.iter().enumerate().skip(self.next);
        let cursors = self.log == LogKind::Cursors;
        behind.find_map(|(at, found)| Some((at, begins(found).filter(|_| cursors)?)))
    }

    /// The entries that could not be applied, since something before them is missing.
    pub(super) fn behind_gap(&self) -> impl Iterator<Item = (u64, Entry<'a>)> {
        let behind = self.gap.map_or(&[][..], |gap| &self.found[gap..]);
        let fence = self.end.fence;
        let unfenced = behind.iter().filter(move |found| found.position > fence);
        unfenced.map(|found| {
            let entry = Entry {
                buffer: found.buffer,
                file: found.file,
                body: found.bytes,
            };
            (found.position, entry)
        })
    }

    /// Behind a gap: a record that was framed when `seq`, which the log lacks, was committed.
    ///
    /// What stands before a gap was acknowledged without the journal, from the segment itself, and
    /// is gone from there: it must not pass for a tail that nobody was told of.
    pub(super) fn witness(&self, seq: Seq) -> Option<Seq> {
        let behind = self.behind_gap().filter(|_| self.gap_proves);
        let records = behind.flat_map(|(_, entry)| entry.records().map_while(Result::ok));
        records
            .map(|(_, record)| record.line)
            .filter(|line| line.state != State::Head && line.seq > seq)
            .find(|line| line.known_commit() >= seq)
            .map(|line| line.seq)
    }
}
