//! One buffer as its primary's state machine.
//!
//! ```text
//!   append ──▶ framed (end) ──Synced──▶ durable ──in-sync rule──▶ commit ──▶ readers, replies
//!                 │                        │
//!                 └─ WriteFailed: refused, cut back to durable, opened again
//!   open ⇄ closed, open ⇄ paused (waits until end = durable, then the mark fences the journal)
//! ```
//! Invariants: first ≤ commit + 1; commit ≤ durable ≤ end; the frontier covers exactly `end` leaves
//! (behind those that retention dropped); `waiting` and `units` are in the order of their seqs;
//! `units` are the appends between commit and end, so every seq that the commit may come to has its
//! place; a batch never spans two segments.

mod consumers;
mod copies;
mod cursors;
mod demands;
mod placing;
mod progress;
mod states;
mod streams;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::append::{AckLevel, Appended};
use crate::consumer::Progress;
use crate::dedupe::idempotency::IdempotencyKeys;
use crate::dedupe::producers::Producers;
use crate::dedupe::table;
use crate::ids::{Epoch, Micros, NodeId, Seq, Uuid};
use crate::input::{BufferConfig, BufferState, Token};
use crate::mark::Mark;
use crate::replication::{Assignment, Epochs, Leader, Log, NodeEpoch};
use crate::retention::SegmentFacts;
use crate::rules::Rules;
use crate::segment::LogKind;
use crate::stream::{Shown, Stream};
use crate::tree::Frontier;

pub use consumers::{ConsumerAnswer, ConsumerCall, ConsumerRefused, ConsumerTask};
pub use cursors::{CursorsEnd, parse_retain, retain_body};
pub use demands::Demands;
pub(crate) use placing::Context;

/// Where a log of a buffer is damaged first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DamagedAt {
    /// Which of its two logs.
    pub log: LogKind,
    /// The first damaged seq of that log.
    pub seq: Seq,
}

/// What recovery or creation hands to a shard: everything in it is durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Opening {
    /// The buffer's registration.
    pub buffer: Uuid,
    /// The log's identity, part of every leaf.
    pub log: Uuid,
    /// The log's history.
    pub history: Uuid,
    /// This node.
    pub node: NodeId,
    /// Its registration.
    pub node_epoch: NodeEpoch,
    /// What the manager has decided, as of that registration or later.
    pub assignment: Arc<Assignment>,
    /// First seq of each epoch that the log holds.
    pub epochs: Vec<(Epoch, Seq)>,
    /// First seq that is kept.
    pub first: Seq,
    /// Last seq.
    pub end: Seq,
    /// What the log itself shows as committed; the rest of it may be or not.
    pub known_commit: Seq,
    /// Server time of the last message.
    pub last_time: Micros,
    /// The tree over all leaves through `end`.
    pub frontier: Frontier,
    /// The segments in order, the open one last; empty when no file was made yet.
    pub segments: Vec<SegmentFacts>,
    /// The end of the cursors log.
    pub cursors: CursorsEnd,
    /// How far the consumers have come that this log knows.
    pub consumers: BTreeMap<Uuid, Progress>,
    /// Known producers.
    pub producers: Producers,
    /// Known idempotency keys.
    pub keys: IdempotencyKeys,
    /// The stream that the buffer is.
    pub stream: Option<Stream>,
    /// The configuration.
    pub config: BufferConfig,
    /// The state.
    pub state: BufferState,
    /// What is damaged: the buffer is read only.
    pub damaged: Option<DamagedAt>,
    /// The last segment is sealed: the next append starts another one.
    pub sealed: bool,
    /// Generation of the mark that was found, 0 without one.
    pub mark_generation: u64,
    /// The seq that this mark covers.
    pub marked: Option<Seq>,
    /// The journal position up to which entries are ignored.
    pub fence: u64,
}

impl Opening {
    /// Whether this node is the primary, in this life of it (rule 9).
    #[must_use]
    pub fn leads(&self) -> bool {
        let member = self.assignment.in_sync.get(&self.node);
        let stamped = member.is_some_and(|member| member.node_epoch == self.node_epoch);
        self.assignment.primary == Some(self.node) && stamped
    }

    /// Its messages, as replication sees them.
    #[must_use]
    pub fn messages(&self) -> Log {
        Log {
            from: self.first,
            end: self.end,
            durable: self.end,
            commit: self.known_commit,
            epochs: Epochs::of(self.epochs.clone()),
        }
    }

    /// The segments that hold something no mark vouches for, or might.
    pub fn unmarked_segments(&self) -> impl Iterator<Item = Seq> + '_ {
        let from = self.marked.map_or(Seq::FIRST, Seq::next);
        let behind = self.segments.iter().skip(1).map(|segment| segment.first);
        let ends = behind.chain(core::iter::once(Seq::MAX));
        let pairs = self.segments.iter().zip(ends);
        pairs
            .filter(move |(_, next)| *next >= from)
            .map(|(segment, _)| segment.first)
    }

    /// The mark of this state, with the tables if they are not empty: everything is durable, and
    /// the journal is done with up to `fence`.
    #[must_use]
    pub fn mark(&self, fence: u64) -> (Mark, Option<Vec<u8>>) {
        let tables = table::encode(&self.producers, &self.keys, self.stream.as_ref());
        let segment = self.segments.last();
        let mark = Mark {
            generation: self.mark_generation + 1,
            buffer: self.buffer,
            log: self.log,
            history: self.history,
            time: self.last_time,
            durable: self.end,
            first: self.first,
            file: segment.map_or(Seq::ZERO, |segment| segment.first),
            offset: segment.map_or(0, |segment| segment.bytes),
            frontier: self.frontier.clone(),
            epochs: self.epochs.clone(),
            table: None,
            fence: fence.max(self.fence),
            clean: true,
        };
        (mark, tables)
    }
}

/// The end of one append that is not committed yet: a seq where the commit may stop, and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Unit {
    last: Seq,
    file: Seq,
    offset: u64,
    /// What readers of the stream are shown from then on.
    shown: Option<Shown>,
}

/// An append that waits for its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Waiting {
    token: Token,
    asked: AckLevel,
    appended: Appended,
}

/// A change of state that waits until nothing is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct StateChange {
    token: Token,
    state: BufferState,
}

/// A mark that waits until its seq is durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PendingMark {
    mark: Mark,
    tables: Option<Vec<u8>>,
    cause: crate::effect::MarkCause,
}

/// The state machine of one buffer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Buffer {
    buffer: Uuid,
    log: Uuid,
    history: Uuid,
    node_epoch: NodeEpoch,
    epoch: Epoch,
    first: Seq,
    end: Seq,
    commit: Seq,
    /// Both logs and their copies.
    leader: Leader,
    last_time: Micros,
    /// Messages to come have at least this time: it was promised to readers.
    closed_time: Micros,
    frontier: Frontier,
    segments: Vec<SegmentFacts>,
    /// Offset behind the last framed record in the open segment.
    offset: u64,
    /// Where the durable end stands: file and offset.
    durable_at: (Seq, u64),
    /// Where a segment without a message ends whose head line is on its way to the disk.
    empty_segment: Option<(Seq, u64)>,
    /// Framed and not yet committed.
    units: VecDeque<Unit>,
    waiting: VecDeque<Waiting>,
    marks: VecDeque<PendingMark>,
    mark_generation: u64,
    /// Seq of the last mark that was asked for.
    marked: Option<Seq>,
    /// Seq of the last mark that is on disk.
    written_mark: Option<Seq>,
    fence: u64,
    /// The journal's last position that was told: all entries up to it are of what is framed.
    journal: u64,
    cursors: cursors::Cursors,
    consumers: consumers::Consumers,
    producers: Producers,
    keys: IdempotencyKeys,
    stream: Option<Stream>,
    config: BufferConfig,
    state: BufferState,
    state_waiting: Option<StateChange>,
    damaged: Option<DamagedAt>,
    roll_next: bool,
}

impl Buffer {
    /// Starts from a durable log.
    #[must_use]
    pub fn open(rules: &Rules, opening: Opening) -> Self {
        let (messages, cursors) = (opening.messages(), opening.cursors.log());
        let leader = Leader::appointed(rules, opening.node, &opening.assignment, messages, cursors);
        let open_segment = opening.segments.last();
        let offset = open_segment.map_or(0, |segment| segment.bytes);
        let file = open_segment.map_or(Seq::ZERO, |segment| segment.first);
        assert!(opening.first <= opening.end.next());
        assert_eq!(opening.frontier.size(), opening.end.0);
        let mut buffer = Self {
            buffer: opening.buffer,
            log: opening.log,
            history: opening.history,
            node_epoch: opening.node_epoch,
            epoch: opening.assignment.epoch,
            first: opening.first,
            end: opening.end,
            commit: opening.known_commit,
            leader,
            last_time: opening.last_time,
            closed_time: Micros(0),
            frontier: opening.frontier,
            segments: opening.segments,
            offset,
            durable_at: (file, offset),
            empty_segment: None,
            units: VecDeque::new(),
            waiting: VecDeque::new(),
            marks: VecDeque::new(),
            mark_generation: opening.mark_generation,
            marked: opening.marked,
            written_mark: opening.marked,
            fence: opening.fence,
            journal: opening.fence,
            cursors: cursors::Cursors::open(opening.cursors, opening.config.segment_bytes),
            consumers: consumers::Consumers::open(opening.consumers),
            producers: opening.producers,
            keys: opening.keys,
            stream: opening.stream.map(Stream::recovered),
            config: opening.config,
            state: opening.state,
            state_waiting: None,
            damaged: opening.damaged,
            roll_next: opening.sealed,
        };
        buffer.begin_epoch(rules, (file, offset));
        buffer
    }

    /// Any of the log that an epoch begins with may have been committed. The whole in-sync set has
    /// it when this node is all of it; else the copies tell.
    fn begin_epoch(&mut self, rules: &Rules, (file, offset): (Seq, u64)) {
        if self.commit < self.end {
            self.units.push_back(Unit {
                last: self.end,
                file,
                offset,
                shown: None,
            });
        }
        self.cursors.begin_epoch(self.leader.log(LogKind::Cursors));
        if self.cursors.file() > Seq::FIRST {
            // Where its beginning ends is not known: not behind the log's end.
            let end = self.cursors.end();
            self.leader.primary(LogKind::Cursors).file_begins(end);
        }
        let mut nobody_waits = Vec::new();
        self.advance_commit(
            self.leader.agreed(rules, LogKind::Messages),
            &mut nobody_waits,
        );
        self.advance_cursors(rules, &mut nobody_waits);
    }

    /// The buffer's registration.
    #[must_use]
    pub const fn uuid(&self) -> Uuid {
        self.buffer
    }

    /// Highest committed seq.
    #[must_use]
    pub const fn commit(&self) -> Seq {
        self.commit
    }

    /// Highest framed seq.
    #[must_use]
    pub const fn end(&self) -> Seq {
        self.end
    }

    /// First seq that is kept.
    #[must_use]
    pub const fn first(&self) -> Seq {
        self.first
    }

    /// The epoch of this appointment.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> BufferState {
        self.state
    }

    /// Server time of the last message.
    #[must_use]
    pub const fn last_time(&self) -> Micros {
        self.last_time
    }

    /// The tree through the last framed message.
    #[must_use]
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// What is damaged, if the buffer is read only for that.
    #[must_use]
    pub const fn damaged(&self) -> Option<DamagedAt> {
        self.damaged
    }

    /// The segments, the open one last.
    #[must_use]
    pub fn segments(&self) -> &[SegmentFacts] {
        &self.segments
    }

    /// The last record of an origin that this log has mirrored, or that was dropped from it.
    #[must_use]
    pub fn mirrored_through(&self, origin: &Uuid) -> Option<Seq> {
        crate::mirror::last_of(&self.producers, origin)
    }

    /// The history id.
    #[must_use]
    pub const fn history(&self) -> Uuid {
        self.history
    }

    /// The log id.
    #[must_use]
    pub const fn log(&self) -> Uuid {
        self.log
    }

    /// The seq through which a mark was asked for; `None` before the first.
    #[must_use]
    pub const fn marked(&self) -> Option<Seq> {
        self.marked
    }

    /// True when nothing waits for the disk: the buffer may leave memory.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.units.is_empty()
            && self.waiting.is_empty()
            && self.marks.is_empty()
            && self.cursors_idle()
            && self.consumers.idle()
            && self.state_waiting.is_none()
    }

    fn durable(&self) -> Seq {
        self.leader.log(LogKind::Messages).durable
    }
}
