//! What follows from the disk's word: durable, committed, answered, marked; or cut back.

use super::consumers::ConsumerRefused;
use super::{Buffer, Unit};
use crate::append::{AppendRefused, Appended};
use crate::effect::{Effect, Effects};
use crate::ids::Seq;
use crate::rules::Rules;
use crate::segment::LogKind;

impl Buffer {
    /// The primary's disk holds the messages through `through`.
    pub(crate) fn on_synced(
        &mut self,
        rules: &Rules,
        through: Seq,
        journal: u64,
        out: &mut Effects,
    ) {
        assert!(
            through <= self.end,
            "the disk acknowledged more than was framed"
        );
        self.note_journal(journal);
        // All before it was durable when its head was written, so this is what the disk answers to
        // that. The journal may hold the head: were the buffer cut back to the segment before, it
        // would come back at the next start.
        if let Some(empty) = self.empty_segment.take() {
            self.durable_at = empty;
        }
        let done = self.units.partition_point(|unit| unit.last <= through);
        if let Some(unit) = done.checked_sub(1).and_then(|last| self.units.get(last)) {
            self.durable_at = (unit.file, unit.offset);
            self.leader.primary(LogKind::Messages).on_synced(unit.last);
        }
        self.advance(rules, out);
    }

    /// A change of state may be complete only when the copies have answered: then the journal's
    /// place is the one that the last sync told, behind all that the buffer has in it.
    pub(super) fn note_journal(&mut self, journal: u64) {
        self.journal = self.journal.max(journal);
    }

    /// Whatever the in-sync set holds by now is committed.
    pub(super) fn advance(&mut self, rules: &Rules, out: &mut Effects) {
        self.advance_commit(self.leader.agreed(rules, LogKind::Messages), out);
        self.release_marks(out);
        self.settle_state(out);
    }

    /// Moves the commit up to the last whole append within `through`, and answers whoever waited
    /// for it. The commit may stand anywhere within what is durable here, but never in an append:
    /// a copy may hold a part of a batch, readers see all of it or nothing.
    pub(super) fn advance_commit(&mut self, through: Seq, out: &mut Effects) {
        assert!(through <= self.end, "the commit never passes the log's end");
        let done = self.units.partition_point(|unit| unit.last <= through);
        if let Some(unit) = self.units.drain(..done).next_back() {
            let Unit {
                last,
                file,
                offset,
                shown,
            } = unit;
            assert!(last > self.commit, "what is committed is no unit any more");
            self.commit = last;
            self.leader.primary(LogKind::Messages).on_committed(last);
            if let (Some(stream), Some(shown)) = (&mut self.stream, shown) {
                stream.show(shown);
            }
            out.push(Effect::Committed {
                buffer: self.buffer,
                commit: last,
                file,
                offset,
            });
        }
        while let Some(waiting) = self.waiting.front() {
            let level = self.level_of(waiting.appended.last);
            if level < waiting.asked {
                break;
            }
            let outcome = Ok(Appended {
                level,
                ..waiting.appended
            });
            out.push(Effect::Reply {
                token: waiting.token,
                outcome,
            });
            self.waiting.pop_front();
        }
    }

    /// Lets the marks go whose seq is committed: a copy is never cut back to before its mark.
    pub(super) fn release_marks(&mut self, out: &mut Effects) {
        while let Some(pending) = self.marks.front() {
            if pending.mark.durable > self.commit {
                break;
            }
            let pending = self.marks.pop_front().expect("it is there");
            out.push(Effect::WriteMark {
                mark: pending.mark.into(),
                tables: pending.tables,
                cause: pending.cause,
            });
        }
    }

    /// The disk took nothing of what was framed behind `durable`: refuse all that waits. The shard
    /// forgets the buffer; recovery opens it again.
    pub(crate) fn on_write_failed(&mut self, refused: &AppendRefused, out: &mut Effects) {
        self.refuse_waiting(refused, out);
        out.push(Effect::Reopen {
            buffer: self.buffer,
            durable: self.durable(),
            file: self.durable_at.0,
            offset: self.durable_at.1,
        });
    }

    /// Answers everything that waits with one refusal; a change of state is told the state that is.
    pub(crate) fn refuse_waiting(&mut self, refused: &AppendRefused, out: &mut Effects) {
        let why = match refused {
            AppendRefused::DiskFull => ConsumerRefused::DiskFull,
            AppendRefused::DiskFailed => ConsumerRefused::DiskFailed,
            AppendRefused::PrimaryChanged => ConsumerRefused::PrimaryChanged,
            _ => ConsumerRefused::NotOpen,
        };
        self.refuse_consumers(why, out);
        self.refuse_answers(why, out);
        if let Some(change) = self.state_waiting.take() {
            let (token, state) = (change.token, self.state);
            out.push(Effect::StateReached { token, state });
        }
        for waiting in self.waiting.drain(..) {
            out.push(Effect::Reply {
                token: waiting.token,
                outcome: Err(refused.clone()),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::{BTreeMap, BTreeSet};
    use alloc::sync::Arc;
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::append::{AckLevel, AppendRequest, Item};
    use crate::buffer::{CursorsEnd, Opening};
    use crate::ids::{Epoch, Hash, Micros, NodeId, Uuid};
    use crate::input::{BufferConfig, BufferState, DiskHealth, Token};
    use crate::record::Kind;
    use crate::replication::{Assignment, FromCopy, Member, NodeEpoch, Wish, Word};

    const SELF: NodeId = NodeId(1);
    const OTHER: NodeId = NodeId(2);

    /// An empty buffer of two copies whose segments take a few records each.
    fn two_copies() -> Buffer {
        let member = |node: NodeId| {
            let (node_epoch, from) = (NodeEpoch(u64::from(node.0)), Seq::FIRST);
            (node, Member { node_epoch, from })
        };
        let assignment = Assignment {
            copies: BTreeSet::from([SELF, OTHER]),
            in_sync: BTreeMap::from([member(SELF), member(OTHER)]),
            min_in_sync: 2,
            ..Assignment::solo(SELF, NodeEpoch(1), Epoch(1), Uuid([3; 16]))
        };
        let opening = Opening {
            buffer: Uuid([1; 16]),
            log: Uuid([2; 16]),
            history: Uuid([3; 16]),
            node: SELF,
            node_epoch: NodeEpoch(1),
            assignment: Arc::new(assignment),
            epochs: Vec::new(),
            first: Seq::FIRST,
            end: Seq::ZERO,
            known_commit: Seq::ZERO,
            last_time: Micros(0),
            frontier: Default::default(),
            segments: Vec::new(),
            cursors: CursorsEnd::default(),
            consumers: Default::default(),
            producers: Default::default(),
            keys: Default::default(),
            stream: None,
            config: BufferConfig {
                segment_bytes: 4 << 10,
                ..BufferConfig::default()
            },
            state: BufferState::Open,
            damaged: None,
            sealed: false,
            mark_generation: 0,
            marked: None,
            fence: 0,
        };
        Buffer::open(&Rules::correct(), opening)
    }

    /// Appends so many messages at once; returns where the log ends then: file and offset.
    fn append(buffer: &mut Buffer, count: usize, out: &mut Effects) -> (Seq, u64) {
        let rules = Rules::correct();
        let context = crate::buffer::Context {
            now: Micros(1),
            rules: &rules,
            disk: DiskHealth::Sound,
        };
        let item = Item {
            kind: Kind::Data,
            lines_len: 0,
            body_len: 500,
            commitment: Hash([7; 32]),
        };
        let request = AppendRequest {
            items: vec![item; count],
            ack: AckLevel::InSync,
            if_match: None,
            producer: None,
            idem: None,
            stream: None,
            mirrored: None,
        };
        let token = Token(buffer.end.0 + count as u64);
        buffer.on_append(&context, token, request, out);
        let segment = buffer.segments.last().expect("an append makes one");
        (segment.first, segment.bytes)
    }

    fn commits(out: &mut Effects) -> Vec<(Seq, Seq, u64)> {
        let commit = |effect: Effect| match effect {
            Effect::Committed {
                commit,
                file,
                offset,
                ..
            } => Some((commit, file, offset)),
            _ => None,
        };
        out.drain(..).filter_map(commit).collect()
    }

    fn ack(buffer: &mut Buffer, node: NodeId, through: u64, out: &mut Effects) {
        let rules = Rules::correct();
        if node == SELF {
            buffer.on_synced(&rules, Seq(through), 0, out);
            return;
        }
        let word = Word::Holds {
            from: Seq::FIRST,
            durable: Seq(through),
            commit: Seq::ZERO,
            round: 0,
        };
        let answer = FromCopy {
            epoch: Epoch(1),
            node_epoch: NodeEpoch(u64::from(node.0)),
            tenure: 0,
            word,
        };
        let answered = (node, answer);
        buffer.on_copy_answer(&rules, Micros(1), LogKind::Messages, answered, out);
    }

    #[test]
    fn the_commit_knows_its_place_anywhere_within_what_is_durable() {
        let (mut buffer, mut out) = (two_copies(), Effects::new());
        // Over several segments: the place of a commit is in the file that holds it.
        let ends: Vec<(Seq, u64)> = (0..12).map(|_| append(&mut buffer, 1, &mut out)).collect();
        assert!(buffer.segments.len() > 2);
        out.clear();
        ack(&mut buffer, SELF, 12, &mut out);
        assert_eq!(commits(&mut out), [], "the other copy holds nothing yet");
        for (from, through) in [(1, 1), (2, 5), (6, 6), (7, 12)] {
            ack(&mut buffer, OTHER, through, &mut out);
            let (file, offset) = ends[through as usize - 1];
            let place = (Seq(through), file, offset);
            assert_eq!(commits(&mut out), [place], "from {from}");
            assert_eq!(buffer.commit(), Seq(through));
            assert_eq!(buffer.durable(), Seq(12));
        }
        assert!(buffer.units.is_empty() && buffer.waiting.is_empty());
    }

    #[test]
    fn the_commit_stops_before_a_batch_that_a_copy_holds_in_part() {
        let (mut buffer, mut out) = (two_copies(), Effects::new());
        let single = append(&mut buffer, 1, &mut out);
        let batch = append(&mut buffer, 3, &mut out);
        out.clear();
        ack(&mut buffer, SELF, 4, &mut out);
        ack(&mut buffer, OTHER, 3, &mut out);
        assert_eq!(commits(&mut out), [(Seq(1), single.0, single.1)]);
        assert_eq!(buffer.level_of(Seq(4)), AckLevel::Local);
        ack(&mut buffer, OTHER, 4, &mut out);
        assert_eq!(commits(&mut out), [(Seq(4), batch.0, batch.1)]);
    }

    #[test]
    fn replies_leave_at_their_commit_and_in_order() {
        let (mut buffer, mut out) = (two_copies(), Effects::new());
        for _ in 0..4 {
            append(&mut buffer, 1, &mut out);
        }
        out.clear();
        ack(&mut buffer, OTHER, 4, &mut out);
        assert_eq!(out, [], "this node is a member of the set too");
        let replied = |out: &mut Effects| -> Vec<u64> {
            let token = |effect: Effect| match effect {
                Effect::Reply { token, .. } => Some(token.0),
                _ => None,
            };
            out.drain(..).filter_map(token).collect()
        };
        ack(&mut buffer, SELF, 2, &mut out);
        assert_eq!(replied(&mut out), [1, 2]);
        ack(&mut buffer, SELF, 4, &mut out);
        assert_eq!(replied(&mut out), [3, 4]);
    }

    #[test]
    fn a_pause_that_waits_for_a_copy_fences_what_the_last_sync_told_of_the_journal() {
        let (mut buffer, mut out) = (two_copies(), Effects::new());
        append(&mut buffer, 1, &mut out);
        buffer.on_set_state(Token(9), BufferState::Paused, 5, &mut out);
        buffer.on_synced(&Rules::correct(), Seq(1), 9, &mut out);
        out.clear();
        ack(&mut buffer, OTHER, 1, &mut out);
        let fence = |effect: &Effect| match effect {
            Effect::WriteMark { mark, .. } => Some(mark.fence),
            _ => None,
        };
        assert_eq!(out.iter().find_map(fence), Some(9));
        assert_eq!(buffer.state(), BufferState::Paused);
    }

    #[test]
    fn what_retention_left_is_told_to_the_manager_when_there_are_copies() {
        let (mut buffer, mut out) = (two_copies(), Effects::new());
        for _ in 0..12 {
            append(&mut buffer, 1, &mut out);
        }
        ack(&mut buffer, SELF, 12, &mut out);
        ack(&mut buffer, OTHER, 12, &mut out);
        let first = buffer.segments[1].first;
        out.clear();
        buffer.keep_from(first, &mut out);
        let told = Effect::Replication {
            buffer: buffer.uuid(),
            wish: Wish::TellKept(Epoch(1), first),
        };
        assert_eq!(out.last(), Some(&told));
    }

    #[test]
    fn a_failed_write_cuts_back_to_what_is_durable_not_to_what_is_committed() {
        let (mut buffer, mut out) = (two_copies(), Effects::new());
        append(&mut buffer, 1, &mut out);
        let durable = append(&mut buffer, 1, &mut out);
        append(&mut buffer, 1, &mut out);
        ack(&mut buffer, SELF, 2, &mut out);
        ack(&mut buffer, OTHER, 1, &mut out);
        out.clear();
        buffer.on_write_failed(&AppendRefused::DiskFull, &mut out);
        let reopen = Effect::Reopen {
            buffer: buffer.uuid(),
            durable: Seq(2),
            file: durable.0,
            offset: durable.1,
        };
        assert_eq!(out.last(), Some(&reopen));
        assert_eq!(buffer.commit(), Seq(1));
    }
}
