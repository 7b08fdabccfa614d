//! Recovery of a buffer's messages.

use alloc::boxed::Box;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::replay::{Replay, Restored};
use super::{Damage, Found, FoundFile, Progress, Repair, Unreadable, read_tables};
use crate::dedupe::Earlier;
use crate::dedupe::table::Tables;
use crate::ids::{Epoch, Hash, Micros, Seq};
use crate::mark::Mark;
use crate::mirror::producer_of;
use crate::record::{Kind, Record, State};
use crate::retention::SegmentFacts;
use crate::rules::Rules;
use crate::segment::{
    End, HeadError, LogKind, OpenError, Position, ReadFailed, SegmentHead, Stop, classify, open,
    walk,
};
use crate::stream::Stream;
use crate::stream::control::Control;
use crate::tree::Frontier;

/// The log as far as it was walked.
pub(super) struct Messages {
    pub(super) frontier: Frontier,
    pub(super) epochs: Vec<(Epoch, Seq)>,
    pub(super) segments: Vec<SegmentFacts>,
    pub(super) progress: Progress,
    /// What no file gives, in the order of the seqs.
    pub(super) unreadable: Vec<Unreadable>,
    file: Seq,
    position: Position,
    pub(super) covered: Seq,
    /// The highest commit that a record was framed with.
    known: Seq,
    /// Nothing is known of the tree yet: the head of the first file says it.
    at_head: bool,
    tables: Tables,
    /// Records of a batch whose end was not reached yet.
    open_batch: Vec<Noted>,
}

/// What recovery keeps of a record.
struct Noted {
    id: Hash,
    epoch: Epoch,
    seq: Seq,
    rest: u16,
    time: Micros,
    data: bool,
    /// What few records have.
    facts: Option<Box<NotedFacts>>,
}

/// What a record says besides its message.
struct NotedFacts {
    producer: Option<crate::record::Producer>,
    key: Option<Hash>,
    control: Option<Control>,
    stream_seq: Option<Box<str>>,
}

impl Messages {
    /// Starts at the mark, or at the head of the oldest segment, or at nothing.
    ///
    /// A crash may leave later files while the first one is only in the journal, and, since
    /// retention removes files without waiting for a mark, a mark whose file is let go.
    pub(super) fn start(found: &Found<'_>, kept: Seq, damage: &mut Option<Damage>) -> Self {
        let tables = read_tables(found, damage);
        let mut log = Self {
            frontier: Frontier::default(),
            epochs: Vec::new(),
            segments: Vec::new(),
            progress: Progress::default(),
            unreadable: Vec::new(),
            file: Seq::ZERO,
            position: Position::at(0, kept),
            covered: Seq::ZERO,
            known: Seq::ZERO,
            at_head: true,
            tables,
            open_batch: Vec::new(),
        };
        let present = |seq| found.segments.iter().any(|file| file.first == seq);
        let holds_kept = |file: &&FoundFile<'_>| file.first <= kept;
        let last = found.segments.iter().rev().find(holds_kept);
        // Older files go first. With one of them still there, or none at all, the mark's file was
        // not let go: it is in the journal alone.
        let unwritten = |mark: &&Mark| last.is_none_or(|last| last.first < mark.file);
        let goes_on =
            |mark: &&Mark| present(mark.file) || kept <= mark.durable.next() || unwritten(mark);
        if let Some(mark) = found.mark.as_ref().filter(goes_on) {
            log.at_head = false;
            log.frontier = mark.frontier.clone();
            log.epochs = mark
                .epochs
                .iter()
                .copied()
                .filter(|(_, from)| *from <= mark.durable)
                .collect();
            log.file = mark.file;
            log.covered = mark.durable;
            log.position = Position::at(mark.offset, mark.durable.next());
            log.position.time = mark.time;
            log.position.epoch = log.epochs.last().map_or(Epoch(0), |(epoch, _)| *epoch);
        } else if let Some(mark) = &found.mark {
            log.position.time = mark.time;
            log.file = last.map_or(Seq::ZERO, |file| file.first);
        } else {
            let file = found.segments.first().filter(holds_kept);
            log.file = file.map_or(Seq::ZERO, |file| file.first);
        }
        log
    }

    pub(super) fn oldest(&self) -> Seq {
        self.segments
            .first()
            .map_or(Seq::ZERO, |segment| segment.first)
    }

    pub(super) fn end(&self) -> Seq {
        Seq(self.frontier.size())
    }

    /// What a mark or a record behind it shows as committed.
    pub(super) fn known_commit(&self) -> Seq {
        self.known.max(self.covered).min(self.end())
    }

    pub(super) fn last_time(&self) -> Micros {
        self.position.time
    }

    pub(super) fn tables(&mut self) -> Tables {
        core::mem::take(&mut self.tables)
    }

    /// The mark names a file that a roll did not get to make.
    pub(super) fn last_is_sealed(&self) -> bool {
        self.segments
            .last()
            .is_some_and(|last| last.first != self.file)
    }

    /// Walks files and journal to the log's end and judges what is there.
    pub(super) fn walk(
        &mut self,
        rules: &Rules,
        found: &Found<'_>,
        replay: &mut Replay<'_>,
        (repairs, damage): (&mut Vec<Repair>, &mut Option<Damage>),
    ) -> Result<(), ReadFailed> {
        self.find_behind_mark(found)?;
        self.sealed_before_mark(found, damage);
        let stop = loop {
            let stop = self.walk_file(found)?;
            // The journal is asked only where the files end: what they hold is no gap in it.
            if self.enter_next(found, repairs) {
                continue;
            }
            let end = self.position.next.prev();
            let Some(restored) = replay.next(end, self.position.epoch)? else {
                break stop;
            };
            self.apply(&restored, repairs);
        };
        let lost = replay.witness(self.position.next)?;
        self.judge(rules, found, (&stop, lost), repairs, damage)
    }

    /// The segments that end before the mark: only their lengths count. Their times are those of
    /// the next head, at or after their last message.
    fn sealed_before_mark(&mut self, found: &Found<'_>, damage: &mut Option<Damage>) {
        if found.mark.is_none() {
            return;
        }
        let before = found.segments.iter().filter(|file| file.first < self.file);
        for file in before {
            let next = found.segments.iter().find(|next| next.first > file.first);
            let last_time = next
                .and_then(|next| open(next.source).ok())
                .map_or(self.position.time, |(head, _)| head.time);
            let bytes = file.source.len();
            self.segments.push(SegmentFacts {
                first: file.first,
                bytes,
                last_time,
            });
        }
        // The mark of a roll may be older than the new file's first sync; with records in it, the
        // file must be there, and as long as the mark says.
        let reason = match found.segments.iter().find(|file| file.first == self.file) {
            None if self.file != Seq::ZERO => "the segment that the mark names is missing",
            Some(file) if file.source.len() < self.position.offset => {
                "the segment is shorter than the mark says"
            }
            _ => return,
        };
        if self.covered >= self.file {
            if self.present(found).is_none() {
                self.cannot_read(self.file, reason);
            }
            let (seq, file) = (self.file, self.file);
            *damage = Some(Damage {
                log: LogKind::Messages,
                seq,
                file,
                reason: reason.into(),
            });
        }
    }

    /// Walks on in the present file. Without one, at the end of nothing.
    fn walk_file(&mut self, found: &Found<'_>) -> Result<Option<Stop>, ReadFailed> {
        let Some(file) = self.present(found) else {
            return Ok(None);
        };
        if self
            .segments
            .last()
            .is_none_or(|segment| segment.first != file.first)
            && !self.enter(&file)
        {
            return Ok(None);
        }
        let from = self.position.clone();
        let (position, stop) = walk(file.source, from, |_, record| self.note(Noted::of(record)))?;
        self.known = self.known.max(position.known_commit);
        self.position = position;
        self.measure();
        Ok(Some(stop))
    }

    /// Goes on in another file than that of the mark, behind the last record that it covers.
    pub(super) const fn goes_on_in(&mut self, file: Seq, (offset, time): (u64, Micros)) {
        self.file = file;
        (self.position.offset, self.position.time) = (offset, time);
    }

    pub(super) fn present<'a>(&self, found: &Found<'a>) -> Option<FoundFile<'a>> {
        found
            .segments
            .iter()
            .find(|file| file.first == self.file)
            .copied()
    }

    /// Reads the head of a file and stands behind it, or at the mark if it is the mark's file.
    fn enter(&mut self, file: &FoundFile<'_>) -> bool {
        let Ok((head, position)) = open(file.source) else {
            return false;
        };
        if head.first != file.first || head.kind != LogKind::Messages {
            return false;
        }
        let at_mark = self.file == file.first && self.covered >= file.first;
        self.begin_at(head);
        if !at_mark {
            let time = self.position.time.max(position.time);
            let epoch = self.position.epoch;
            self.position = Position {
                time,
                epoch,
                ..position
            };
        }
        self.file = file.first;
        self.segments.push(SegmentFacts {
            first: file.first,
            bytes: self.position.offset,
            last_time: self.position.time,
        });
        true
    }

    /// Goes on to the file whose first seq is due, and cuts zeros off the end of the one before.
    fn enter_next(&mut self, found: &Found<'_>, repairs: &mut Vec<Repair>) -> bool {
        if !self.open_batch.is_empty() || self.file == self.position.next {
            return false;
        }
        let due = self.position.next;
        let Some(next) = found
            .segments
            .iter()
            .find(|file| file.first == due)
            .copied()
        else {
            return false;
        };
        let (before, offset) = (self.present(found), self.position.offset);
        if !self.enter(&next) {
            return false;
        }
        if let Some(before) = before.filter(|before| before.source.len() > offset) {
            let (log, file) = (LogKind::Messages, before.first);
            repairs.push(Repair::Truncate { log, file, offset });
        }
        true
    }

    /// Puts what only the journal held where it belongs.
    fn apply(&mut self, restored: &Restored, repairs: &mut Vec<Repair>) {
        let offset = if restored.new_file {
            0
        } else {
            self.position.offset
        };
        repairs.push(Repair::Write {
            log: LogKind::Messages,
            file: restored.file,
            offset,
            bytes: restored.entry().body.into(),
        });
        self.position.offset = offset;
        for record in restored.entry().records() {
            let (_, record) = record.expect("replay has read every record");
            self.position.offset += record.line.record_len();
            if record.line.state == State::Head {
                self.enter_replayed(&record);
                continue;
            }
            self.progress.replayed += 1;
            self.known = self.known.max(record.line.known_commit());
            self.position.next = record.line.seq.next();
            self.position.time = record.line.time;
            self.position.epoch = record.line.epoch;
            self.note(Noted::of(&record));
        }
        // Each entry holds whole appends.
        self.position.batch = None;
        self.measure();
    }

    fn enter_replayed(&mut self, head: &Record<'_>) {
        self.file = head.line.seq;
        // No record behind a head may be earlier than it.
        self.position.time = self.position.time.max(head.line.time);
        if let Ok(head) = SegmentHead::decode(head.bytes) {
            self.begin_at(head);
        }
        if self
            .segments
            .last()
            .is_some_and(|last| last.first == self.file)
        {
            return;
        }
        self.segments.push(SegmentFacts {
            first: self.file,
            bytes: self.position.offset,
            last_time: head.line.time,
        });
    }

    /// The first head of a log without a mark says what the tree was before it.
    fn begin_at(&mut self, head: SegmentHead) {
        if core::mem::take(&mut self.at_head) {
            self.frontier = head.frontier;
            self.epochs = head.epochs;
        }
    }

    /// Takes a record in; a batch counts only when its last record is there.
    fn note(&mut self, noted: Noted) {
        let whole = noted.rest == 0;
        if whole && self.open_batch.is_empty() {
            // Most records: none of them waits in a list.
            self.count(&noted);
            return;
        }
        self.open_batch.push(noted);
        if whole {
            let mut batch = core::mem::take(&mut self.open_batch);
            batch.drain(..).for_each(|noted| self.count(&noted));
            self.open_batch = batch;
        }
    }

    fn count(&mut self, noted: &Noted) {
        self.frontier.push(noted.id);
        let newer = |(epoch, _): &(Epoch, Seq)| *epoch < noted.epoch;
        if self.epochs.last().is_none_or(newer) {
            self.epochs.push((noted.epoch, noted.seq));
        }
        self.note_tables(noted);
    }

    /// What the record adds to the tables of producers and keys, and to the stream.
    fn note_tables(&mut self, noted: &Noted) {
        let earlier = Earlier {
            first: noted.seq,
            rest: noted.rest,
            time: noted.time,
            epoch: noted.epoch,
        };
        let tables = &mut self.tables;
        let Some(facts) = noted.facts.as_deref() else {
            if let (true, Some(stream)) = (noted.data, &mut tables.stream) {
                stream.note(None, None, earlier);
            }
            return;
        };
        if let Some(producer) = &facts.producer {
            tables.producers.note(producer, earlier);
        }
        if let Some(key) = facts.key {
            tables.keys.note(key, earlier);
        }
        if let Some(Control::Define { definition, closed }) = &facts.control {
            tables.stream = Some(Stream::define(definition.clone(), *closed, earlier));
        }
        if let Some(stream) = &mut tables.stream
            && (noted.data || facts.control.is_some())
        {
            let seq = facts.stream_seq.as_deref();
            stream.note(facts.control.as_ref(), seq, earlier);
        }
    }

    fn measure(&mut self) {
        if let Some(segment) = self.segments.last_mut() {
            segment.bytes = self.position.offset;
            segment.last_time = self.position.time;
        }
    }

    /// The verdict on what stands behind the last record; `lost`: a seq of the journal that proves
    /// more was committed.
    fn judge(
        &mut self,
        rules: &Rules,
        found: &Found<'_>,
        (stop, lost): (&Option<Stop>, Option<Seq>),
        repairs: &mut Vec<Repair>,
        damage: &mut Option<Damage>,
    ) -> Result<(), ReadFailed> {
        let stop = Stop {
            offset: self.position.offset,
            seq: self.position.next,
            batch: self.position.batch,
            why: stop
                .as_ref()
                .map_or(crate::segment::Why::End, |stop| stop.why),
        };
        let covered = if rules.damage_below_commit_is_corruption {
            self.covered
        } else {
            Seq::ZERO
        };
        if let Some(witness) = self.witness_behind(found, &stop)?.or(lost) {
            self.corrupt(&stop, witness, damage);
            return Ok(());
        }
        let present = self.present(found).filter(|_| {
            self.segments
                .last()
                .is_some_and(|last| last.first == self.file)
        });
        let Some(file) = present else {
            return self.judge_headless(found, &stop, covered, repairs, damage);
        };
        // Nor does a file go whose head alone is not good.
        let next = found.segments.iter().find(|next| next.first == stop.seq);
        if let Some(next) =
            next.filter(|next| next.first != self.file && open(next.source).is_err())
            && self.headless(next, covered, damage)?
        {
            return Ok(());
        }
        match classify(file.source, &stop, covered)? {
            End::Clean => self.remove_behind(found, repairs),
            End::Torn { seq, offset, .. } => {
                self.cut(rules, seq, offset, file.source.len(), repairs);
                self.remove_behind(found, repairs);
            }
            End::Corrupt { witness, .. } if rules.damage_below_commit_is_corruption => {
                self.corrupt(&stop, witness, damage);
            }
            End::Corrupt { seq, offset, .. } => {
                self.cut(rules, seq, offset, file.source.len(), repairs);
                self.remove_behind(found, repairs);
            }
        }
        Ok(())
    }

    /// The file in which the log would go on has no usable head line. It may go only if nothing in
    /// it can have been acknowledged.
    fn judge_headless(
        &mut self,
        found: &Found<'_>,
        stop: &Stop,
        covered: Seq,
        repairs: &mut Vec<Repair>,
        damage: &mut Option<Damage>,
    ) -> Result<(), ReadFailed> {
        let due = found
            .segments
            .iter()
            .find(|file| file.first == stop.seq)
            .copied();
        let Some(file) = self.present(found).or(due) else {
            if covered >= stop.seq {
                self.corrupt(stop, covered, damage);
            } else {
                self.remove_behind(found, repairs);
            }
            return Ok(());
        };
        if !self.headless(&file, covered, damage)? {
            self.remove_behind(found, repairs);
        }
        Ok(())
    }

    /// Judges a file without a usable head line: whether it is damage. If not, nothing in it can
    /// have been acknowledged.
    fn headless(
        &mut self,
        file: &FoundFile<'_>,
        covered: Seq,
        damage: &mut Option<Damage>,
    ) -> Result<bool, ReadFailed> {
        let reason = match open(file.source) {
            Err(OpenError::Unused) if covered < file.first => return Ok(false),
            Err(OpenError::Read(failed)) => return Err(failed),
            Err(OpenError::Head(error @ HeadError::NewerFormat { .. })) => error.to_string(),
            Err(error @ OpenError::Unused) => error.to_string(),
            Ok(_) => "its head line is not the one of this segment".to_string(),
            Err(error) => {
                let (_, stop) = walk(file.source, Position::at(0, file.first), |_, _| {})?;
                match classify(file.source, &stop, covered)? {
                    End::Corrupt { .. } => error.to_string(),
                    End::Clean | End::Torn { .. } => return Ok(false),
                }
            }
        };
        // A mark may vouch for what stands behind the head.
        let seq = self.end().next().min(file.first);
        if file.first <= self.end() {
            self.cannot_read(file.first, &reason);
        }
        *damage = Some(Damage {
            log: LogKind::Messages,
            seq,
            file: file.first,
            reason,
        });
        Ok(true)
    }

    fn cannot_read(&mut self, first: Seq, reason: &str) {
        self.unreadable.push(Unreadable {
            first,
            reason: reason.into(),
        });
    }

    /// A record in a later file that knew the stop's seq as committed.
    fn witness_behind(&self, found: &Found<'_>, stop: &Stop) -> Result<Option<Seq>, ReadFailed> {
        for file in found.segments.iter().filter(|file| file.first > self.file) {
            let Ok((_, position)) = open(file.source) else {
                continue;
            };
            let mut witness = None;
            walk(file.source, position, |_, record: &Record<'_>| {
                if record.line.known_commit() >= stop.seq {
                    witness = witness.or(Some(record.line.seq));
                }
            })?;
            if witness.is_some() {
                return Ok(witness);
            }
        }
        Ok(None)
    }

    fn corrupt(&mut self, stop: &Stop, witness: Seq, damage: &mut Option<Damage>) {
        self.open_batch.clear();
        let reason = alloc::format!("{}; seq {witness} shows that it was committed", stop.why);
        let seq = Seq(self.frontier.size()).next();
        *damage = Some(Damage {
            log: LogKind::Messages,
            seq,
            file: self.file,
            reason: reason.to_string(),
        });
    }

    /// Cuts the tail; a batch goes whole.
    fn cut(&mut self, rules: &Rules, seq: Seq, offset: u64, len: u64, repairs: &mut Vec<Repair>) {
        let half = core::mem::take(&mut self.open_batch);
        let mut offset = offset;
        if rules.batch_stays_whole {
            self.position.next = seq;
            self.position.batch = None;
        } else {
            offset = self.position.offset;
            for noted in half {
                self.frontier.push(noted.id);
            }
        }
        self.position.offset = offset;
        self.measure();
        self.progress.torn_bytes += len.saturating_sub(offset);
        repairs.push(Repair::Truncate {
            log: LogKind::Messages,
            file: self.file,
            offset,
        });
    }

    /// Files behind the end hold nothing acknowledged: a roll that never became durable.
    fn remove_behind(&self, found: &Found<'_>, repairs: &mut Vec<Repair>) {
        let last = self
            .segments
            .last()
            .map_or(Seq::ZERO, |segment| segment.first);
        for file in found.segments.iter().filter(|file| file.first > last) {
            repairs.push(Repair::Remove {
                log: LogKind::Messages,
                file: file.first,
            });
        }
    }

    /// Finishes a removal that retention had begun.
    /// What no mark vouches for stays until one does: the tables of repeated appends need it.
    pub(super) fn drop_below(&mut self, keep_from: Seq, vouched: Seq, repairs: &mut Vec<Repair>) {
        let before = self.segments.clone();
        crate::retention::apply(&mut self.segments, keep_from.min(vouched));
        let gone = before.len() - self.segments.len();
        for segment in &before[..gone] {
            repairs.push(Repair::Remove {
                log: LogKind::Messages,
                file: segment.first,
            });
        }
    }
}

impl Noted {
    fn of(record: &Record<'_>) -> Self {
        let line = &record.line;
        debug_assert!(line.state != State::Head);
        let facts = &record.facts;
        let mirrored = facts.origin.as_ref().map(producer_of);
        let producer = facts.producer.clone().or(mirrored);
        let control = (facts.kind == Kind::Stream)
            .then(|| Control::decode(record.body))
            .flatten();
        let some = producer.is_some()
            || facts.idem.is_some()
            || control.is_some()
            || facts.stream_seq.is_some();
        Self {
            id: record.id().unwrap_or_default(),
            epoch: line.epoch,
            seq: line.seq,
            rest: line.rest,
            time: line.time,
            data: facts.kind == Kind::Data,
            facts: some.then(|| {
                Box::new(NotedFacts {
                    producer,
                    key: facts.idem,
                    control,
                    stream_seq: facts.stream_seq.clone(),
                })
            }),
        }
    }
}
