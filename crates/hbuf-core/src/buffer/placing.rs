//! Appending: judge, place, roll.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Buffer, DamagedAt, PendingMark, Unit, Waiting};
use crate::append::{AckLevel, AppendRefused, AppendRequest, Appended, Item};
use crate::commitment::{Leaf, PLAIN_FACTS, facts_hash};
use crate::dedupe::producers::Seen;
use crate::dedupe::{Earlier, table};
use crate::effect::{Effect, Effects, MarkCause, Placed, Write};
use crate::ids::{Hash, Micros, Seq};
use crate::input::{BufferState, DiskHealth, Token};
use crate::limits::{BATCH_MESSAGES_MAX, PENDING_APPENDS_MAX};
use crate::mark::Mark;
use crate::mirror::{Mirrored, producer_of};
use crate::record::{Facts, ProofKind, head_len};
use crate::replication::Epochs;
use crate::retention::SegmentFacts;
use crate::rules::Rules;
use crate::segment::{FORMAT, LogKind, SegmentHead};
use crate::stream::{Repeat, Stream, StreamAppend, StreamRefused};

/// What the shard knows and every buffer needs.
pub(crate) struct Context<'a> {
    pub(crate) now: Micros,
    pub(crate) rules: &'a Rules,
    pub(crate) disk: DiskHealth,
}

impl Buffer {
    pub(crate) fn on_append(
        &mut self,
        context: &Context<'_>,
        token: Token,
        request: AppendRequest,
        out: &mut Effects,
    ) {
        if let (Some(stream), Some(_)) = (&mut self.stream, &request.stream) {
            stream.used(context.now);
        }
        match self.judge(context, &request) {
            Ok(None) => self.place(context, token, request, out),
            Ok(Some(repeat)) => self.repeat(token, request.ack, repeat, out),
            Err(refused) => out.push(Effect::Reply {
                token,
                outcome: Err(refused),
            }),
        }
    }

    /// `Ok(None)` for a new append, `Ok(Some)` for a repeated one.
    fn judge(
        &self,
        context: &Context<'_>,
        request: &AppendRequest,
    ) -> Result<Option<Repeat>, AppendRefused> {
        let count = request.items.len();
        if count == 0 || count > BATCH_MESSAGES_MAX {
            return Err(AppendRefused::BatchSize {
                got: count,
                max: BATCH_MESSAGES_MAX,
            });
        }
        // A repeated append is answered in every state: its message is in the log already.
        if let Some(repeat) = self.judge_repeated(context, request)? {
            return Ok(Some(repeat));
        }
        match self.state_waiting.map_or(self.state, |change| change.state) {
            BufferState::Closed if context.rules.closed_refuses => {
                return Err(AppendRefused::Closed);
            }
            BufferState::Paused if context.rules.paused_refuses => {
                return Err(AppendRefused::Paused);
            }
            BufferState::Open | BufferState::Closed | BufferState::Paused => {}
        }
        self.judge_mirrored(context, request)?;
        if let Some(DamagedAt { log, seq: at }) = self.damaged {
            return Err(match log {
                LogKind::Cursors => AppendRefused::CursorsDamaged { at },
                _ => AppendRefused::Damaged { at },
            });
        }
        match context.disk {
            DiskHealth::Sound => {}
            DiskHealth::Full => return Err(AppendRefused::DiskFull),
            DiskHealth::Failed => return Err(AppendRefused::DiskFailed),
        }
        if self.units.len() >= PENDING_APPENDS_MAX {
            return Err(AppendRefused::Busy {
                waiting: self.units.len(),
            });
        }
        request.demands().end_is(self.end)?;
        if self.end.0 > Seq::MAX.0 - count as u64 {
            return Err(AppendRefused::SeqExhausted);
        }
        Ok(None)
    }

    fn judge_repeated(
        &self,
        context: &Context<'_>,
        request: &AppendRequest,
    ) -> Result<Option<Repeat>, AppendRefused> {
        if let Some(append) = &request.stream {
            return self.judge_stream(context, request, append);
        }
        if self.stream.is_some() {
            return Err(StreamRefused::IsStream.into());
        }
        let repeat = |earlier| Some(Repeat { earlier, end: None });
        if let Some(producer) = &request.producer
            && let Seen::Repeated(earlier) = self.producers.judge(producer)?
        {
            return Ok(repeat(earlier));
        }
        let key = request.idem.as_ref();
        let earlier = key.and_then(|key| self.keys.judge(key, context.now));
        Ok(earlier.and_then(repeat))
    }

    /// A mirror takes records of its origin alone, each once and in their order.
    fn judge_mirrored(
        &self,
        context: &Context<'_>,
        request: &AppendRequest,
    ) -> Result<(), AppendRefused> {
        let Some(mirrored) = &request.mirrored else {
            return match self.config.follows {
                Some(_) => Err(AppendRefused::IsMirror),
                None => Ok(()),
            };
        };
        if self.config.follows != Some(mirrored.of) {
            return Err(AppendRefused::NotFollowed { of: mirrored.of });
        }
        assert_eq!(mirrored.records.len(), request.items.len());
        match (
            self.mirrored_through(&mirrored.of),
            mirrored.records.first(),
        ) {
            (Some(last), Some(first))
                if first.seq <= last && context.rules.mirror_resumes_from_its_log =>
            {
                Err(AppendRefused::Mirrored { last })
            }
            _ => Ok(()),
        }
    }

    /// Gives the messages their seqs, time and ids, and hands them to the disk.
    fn place(
        &mut self,
        context: &Context<'_>,
        token: Token,
        request: AppendRequest,
        out: &mut Effects,
    ) {
        let time = match context.rules.time_never_decreases {
            true => context.now.max(self.last_time).max(self.closed_time),
            false => context.now,
        };
        let first = self.end.next();
        let facts = first_facts(&request);
        let mirrored = request.mirrored.as_deref();
        let heads = head_lengths(&request.items, facts.as_deref(), mirrored);
        let bytes = record_bytes(&request.items, &heads);
        let head = self.roll_if_needed(first, time, bytes, out);
        let first_hash = facts.as_deref().map_or(PLAIN_FACTS, facts_hash);
        let placed = self.extend_tree(&request, &heads, time, first_hash);
        let write = Write {
            buffer: self.buffer,
            file: self.open_segment().first,
            offset: self.offset,
            head,
            first,
            time,
            epoch: self.epoch,
            commit: self.commit,
            facts,
            mirrored: request.mirrored.clone(),
            placed,
            bytes,
        };
        self.note_appended(&request, &write);
        self.advance_end(&write);
        let appended = Appended {
            first,
            last: self.end,
            id: write.placed.last().map(|placed| placed.id),
            time,
            epoch: self.epoch,
            level: AckLevel::None,
            replayed: false,
            stream: request
                .stream
                .as_ref()
                .and(self.stream.as_ref())
                .map(|stream| stream.end_for(request.producer.as_ref())),
        };
        out.push(Effect::Write(write));
        self.wait_or_reply(token, request.ack, appended, out);
        if !context.rules.commit_waits_for_disk {
            self.advance_commit(self.end, out);
        }
    }

    /// The log now ends behind what was placed; the commit may stop there.
    fn advance_end(&mut self, write: &Write) {
        self.end = write.last();
        self.last_time = write.time;
        self.offset += write.bytes;
        self.leader.primary(LogKind::Messages).on_framed(self.end);
        let (end, offset) = (self.end, self.offset);
        let segment = self.open_segment();
        segment.bytes = offset;
        segment.last_time = write.time;
        let file = segment.first;
        self.units.push_back(Unit {
            last: end,
            file,
            offset,
            shown: self.stream.as_ref().map(Stream::framed),
        });
    }

    fn open_segment(&mut self) -> &mut SegmentFacts {
        self.segments
            .last_mut()
            .expect("an append rolls when there is no segment")
    }

    fn extend_tree(
        &mut self,
        request: &AppendRequest,
        heads: &[u32],
        time: Micros,
        first_facts: Hash,
    ) -> Vec<Placed> {
        let mut placed = Vec::with_capacity(heads.len());
        for (index, (item, head_len)) in request.items.iter().zip(heads).enumerate() {
            let facts = match &request.mirrored {
                Some(mirrored) => facts_hash(&mirrored.facts(index)),
                None if index == 0 => first_facts,
                None => PLAIN_FACTS,
            };
            let leaf = Leaf {
                log: self.log,
                seq: self.end.plus(index as u64 + 1),
                time,
                head_len: *head_len,
                body_len: u64::from(item.body_len),
                facts,
                commitment: item.commitment,
            };
            let id = leaf.id();
            self.frontier.push(id);
            placed.push(Placed {
                id,
                head_len: *head_len,
            });
        }
        placed
    }

    fn note_appended(&mut self, request: &AppendRequest, write: &Write) {
        let earlier = Earlier {
            first: write.first,
            rest: u16::try_from(write.placed.len() - 1).expect("a batch fits 16 bits"),
            time: write.time,
            epoch: write.epoch,
        };
        if let Some(producer) = &request.producer {
            self.producers.note(producer, earlier);
        }
        if let Some(key) = request.idem {
            self.keys.note(key, earlier);
        }
        if let Some(append) = &request.stream {
            self.note_stream(append, earlier);
        }
        if let Some(mirrored) = &request.mirrored
            && let Some(last) = mirrored.records.len().checked_sub(1)
            && let Some(origin) = mirrored.facts(last).origin
        {
            self.producers.note(&producer_of(&origin), earlier);
        }
    }

    /// Answers with the first reply, once the asked level is reached for it.
    fn repeat(&mut self, token: Token, asked: AckLevel, repeat: Repeat, out: &mut Effects) {
        let earlier = repeat.earlier;
        let appended = Appended {
            first: earlier.first,
            last: earlier.last(),
            id: None,
            time: earlier.time,
            epoch: earlier.epoch,
            level: AckLevel::None,
            replayed: true,
            stream: repeat.end,
        };
        self.wait_or_reply(token, asked, appended, out);
    }

    fn wait_or_reply(
        &mut self,
        token: Token,
        asked: AckLevel,
        appended: Appended,
        out: &mut Effects,
    ) {
        let level = self.level_of(appended.last);
        if level >= asked {
            let outcome = Ok(Appended { level, ..appended });
            out.push(Effect::Reply { token, outcome });
            return;
        }
        let at = self
            .waiting
            .partition_point(|other| other.appended.last <= appended.last);
        self.waiting.insert(
            at,
            Waiting {
                token,
                asked,
                appended,
            },
        );
    }

    /// The level that a framed seq has reached.
    pub(super) fn level_of(&self, seq: Seq) -> AckLevel {
        if seq <= self.commit {
            AckLevel::InSync
        } else if seq <= self.durable() {
            AckLevel::Local
        } else {
            AckLevel::None
        }
    }

    /// Starts a new segment when there is none, when this one is full or when one was asked for.
    /// A batch never spans two segments, so a segment may be as long as one large batch.
    fn roll_if_needed(
        &mut self,
        first: Seq,
        time: Micros,
        bytes: u64,
        out: &mut Effects,
    ) -> Option<Box<[u8]>> {
        if let Some(open) = self.segments.last() {
            let empty = open.first == first;
            let full = self.offset + bytes > self.config.segment_bytes;
            if empty || !(full || self.roll_next) {
                return None;
            }
        }
        Some(self.roll(first, time, out))
    }

    /// Seals the open segment and makes the next one's head line.
    pub(super) fn roll(&mut self, first: Seq, time: Micros, out: &mut Effects) -> Box<[u8]> {
        self.roll_next = false;
        let head = SegmentHead {
            format: FORMAT,
            kind: LogKind::Messages,
            buffer: self.buffer,
            log: self.log,
            history: self.history,
            first,
            time,
            epoch: self.epoch,
            frontier: self.frontier.clone(),
            epochs: self.epochs().through(self.end).entries().to_vec(),
            compacted: None,
        };
        let mut bytes = Vec::new();
        head.encode(&mut bytes);
        let sealed = self.segments.last().map(|open| open.first);
        let sealed_bytes = core::mem::replace(&mut self.offset, bytes.len() as u64);
        self.segments.push(SegmentFacts {
            first,
            bytes: self.offset,
            last_time: time,
        });
        // The first segment needs no mark: without one, recovery starts at its head anyway.
        if let Some(sealed) = sealed {
            let cause = MarkCause::Roll {
                sealed,
                bytes: sealed_bytes,
            };
            self.push_mark(cause, self.fence, out);
        }
        bytes.into_boxed_slice()
    }

    /// Captures a mark at the log's end; it leaves when that end is durable.
    pub(super) fn push_mark(&mut self, cause: MarkCause, fence: u64, out: &mut Effects) {
        self.mark_generation += 1;
        self.marked = Some(self.end);
        // What a damaged log could not take of the journal still stands for what is missing.
        if self.damaged.is_none() {
            self.fence = fence.max(self.fence);
        }
        let tables = table::encode(&self.producers, &self.keys, self.stream.as_ref());
        let mark = Mark {
            generation: self.mark_generation,
            buffer: self.buffer,
            log: self.log,
            history: self.history,
            time: self.last_time,
            durable: self.end,
            file: self
                .segments
                .last()
                .map_or(Seq::ZERO, |segment| segment.first),
            offset: self.offset,
            frontier: self.frontier.clone(),
            epochs: self.epochs().entries().to_vec(),
            table: None,
            fence: self.fence,
            clean: cause == MarkCause::Fence,
            first: self.first,
        };
        self.marks.push_back(PendingMark {
            mark,
            tables,
            cause,
        });
        self.release_marks(out);
    }

    /// The epochs of the log, the current one too while it has no record.
    const fn epochs(&self) -> &Epochs {
        &self.leader.log(LogKind::Messages).epochs
    }
}

/// Server facts of an append's first record, when it has any.
fn first_facts(request: &AppendRequest) -> Option<Box<Facts>> {
    let kind = request.items[0].kind;
    let plain = Facts::default();
    let stream_seq = request.stream.as_ref().and_then(StreamAppend::seq);
    let dedupe = request.producer.is_some() || request.idem.is_some();
    if !dedupe && kind == plain.kind && stream_seq.is_none() {
        return None;
    }
    Some(Box::new(Facts {
        kind,
        producer: request.producer.clone(),
        idem: request.idem,
        stream_seq: stream_seq.map(Box::from),
        ..plain
    }))
}

/// The length of each record's head; only the first one carries the append's facts.
fn head_lengths(items: &[Item], first: Option<&Facts>, mirrored: Option<&Mirrored>) -> Vec<u32> {
    let plain = Facts::default();
    let mut own;
    let mut facts = first.unwrap_or(&plain);
    let mut lengths = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        if let Some(mirrored) = mirrored {
            own = mirrored.facts(index);
            facts = &own;
        }
        let (lines, body) = (item.lines_len as usize, item.body_len as usize);
        lengths.push(head_len(facts, lines, body, ProofKind::Salted));
        facts = &plain;
    }
    lengths
}

fn record_bytes(items: &[Item], heads: &[u32]) -> u64 {
    let record = |(item, head): (&Item, &u32)| u64::from(*head) + u64::from(item.body_len) + 2;
    items.iter().zip(heads).map(record).sum()
}
