//! What rots: a durable byte of a segment or of a cursors log, where something else proves that it
//! was durable. What nothing vouches for cannot be told from a torn tail.

use std::collections::BTreeSet;

use hbuf_core::ids::Seq;
use hbuf_core::segment::{open, walk};

use super::{Due, World};
use crate::disk::Name;
use crate::draw::{Draw, Purpose};
use crate::kinds::Kind;
use crate::plan::{Fault, Planned};
use crate::trace::EventId;

/// A part of a cursors file that a later record proves.
struct ProvenCursor {
    buffer: usize,
    file: Seq,
    seq: Seq,
    offset: u64,
    len: u64,
}

impl World<'_> {
    /// Rots something of which a later record, in a segment or in the journal, or the mark proves
    /// that it was acknowledged: what nothing vouches for cannot be told from a torn tail.
    pub(super) fn rot(&mut self, cause: EventId, step: u64) {
        let draw = self.draws.draw(Purpose::Rot, 0, step);
        let Some((buffer, seq)) = self.proven_by_journal().or_else(|| self.proven(draw)) else {
            return;
        };
        let Some(entry) = self.models[buffer].entry(seq) else {
            return;
        };
        let (name, from) = (Name::Segment(buffer, entry.file), entry.body_at);
        let body = entry.content.body.len() as u64;
        if body == 0 || !self.disk.rot(name, from + draw.next().next().below(body)) {
            return;
        }
        self.rotted(cause, Fault::Rot, (buffer, seq), step);
    }

    fn rotted(&mut self, cause: EventId, fault: Fault, (buffer, seq): (usize, Seq), step: u64) {
        self.models[buffer].rotted = true;
        self.count_fault(fault);
        let event = self.seqs_event(cause, Kind::DiskRotted, buffer, (seq, seq));
        // Soon, while the proof may be in the journal alone.
        let crash = self.draws.draw(Purpose::Rot, 1, step);
        if crash.percent(75) {
            self.due(event, crash.next().within(1, 5_000), Due::PowerLoss);
        }
    }

    /// Rots a byte of what is on record of consumers, the head line of the file included, that a
    /// later record of the file proves to be durable.
    pub(super) fn rot_cursors(&mut self, cause: EventId, step: u64) {
        let draw = self.draws.draw(Purpose::Rot, 3, step);
        let found: Vec<ProvenCursor> = self.proven_cursors().collect();
        let buffers: BTreeSet<usize> = found.iter().map(|one| one.buffer).collect();
        let chosen = draw.below(buffers.len().max(1) as u64);
        let chosen = usize::try_from(chosen).expect("few buffers");
        let Some(buffer) = buffers.iter().nth(chosen).copied() else {
            return;
        };
        let of_buffer: Vec<&ProvenCursor> =
            found.iter().filter(|one| one.buffer == buffer).collect();
        // Mostly a head line, or the last that is proven.
        let draw = draw.next();
        let last = of_buffer.len() - 1;
        let chosen = match draw.below(10) {
            0..3 => 0,
            3..6 => last,
            _ => usize::try_from(draw.next().within(0, last as u64)).expect("few records"),
        };
        let one = of_buffer[chosen];
        let at = one.offset + draw.next().next().below(one.len);
        if self.disk.rot(Name::Cursors(buffer, one.file), at) {
            let place = (buffer, one.seq);
            self.rotted(cause, Fault::RotCursors, place, step);
        }
    }

    /// Head lines and records of cursors logs that a later record of their file knew as durable.
    fn proven_cursors(&self) -> impl Iterator<Item = ProvenCursor> + '_ {
        let whole = |buffer: &usize| !self.models[*buffer].rotted;
        (0..self.plan.buffers)
            .filter(whole)
            .flat_map(move |buffer| {
                let (from, to) = (
                    Name::Cursors(buffer, Seq::ZERO),
                    Name::Cursors(buffer, Seq::MAX),
                );
                let durable = |name: &Name| self.disk.is_durable(*name);
                let names = self.disk.names(from, to).filter(durable);
                names.flat_map(move |name| self.proven_of(buffer, name))
            })
    }

    fn proven_of(&self, buffer: usize, name: Name) -> Vec<ProvenCursor> {
        let Name::Cursors(_, file) = name else {
            return Vec::new();
        };
        let bytes = self.disk.read(name).expect("it was just listed");
        let Ok((_, position)) = open(bytes) else {
            return Vec::new();
        };
        let head = ProvenCursor {
            buffer,
            file,
            seq: file,
            offset: 0,
            len: position.offset,
        };
        let mut records = vec![head];
        let mut known = Seq::ZERO;
        let walked = walk(bytes, position, |offset, record| {
            known = known.max(record.line.known_commit());
            records.push(ProvenCursor {
                buffer,
                file,
                seq: record.line.seq,
                offset,
                len: record.line.record_len(),
            });
        });
        walked.expect("memory can be read");
        records.retain(|one| one.seq <= known);
        records
    }

    /// Rot waits a while for something that it can be told by.
    pub(super) fn rot_waits(&self, planned: Planned) -> bool {
        let aimed = || self.draws.draw(Purpose::Rot, 2, planned.step).percent(75);
        match planned.fault {
            Fault::Rot => aimed() && self.proven_by_journal().is_none(),
            Fault::RotCursors => self.proven_cursors().next().is_none(),
            _ => false,
        }
    }

    /// Any such record.
    fn proven(&self, draw: Draw) -> Option<(usize, Seq)> {
        let buffer = usize::try_from(draw.below(self.plan.buffers as u64)).expect("few buffers");
        let model = &self.models[buffer];
        let proven = model
            .entry(self.stable[buffer])
            .map_or(Seq::ZERO, |last| last.known_commit);
        if proven < model.first || model.rotted {
            return None;
        }
        // Mostly near the end, where a recovery reads.
        let from = if draw.next().percent(70) {
            proven.0.saturating_sub(5)
        } else {
            1
        };
        let seq = draw.next().next().within(from.max(model.first.0), proven.0);
        Some((buffer, Seq(seq)))
    }

    /// The last record that went straight into its segment, of a buffer whose next ones are in the
    /// journal and wait for theirs.
    fn proven_by_journal(&self) -> Option<(usize, Seq)> {
        (0..self.plan.buffers).find_map(|buffer| {
            let model = &self.models[buffer];
            let waits = |name: &Name| matches!(name, Name::Segment(..));
            let name = self.node.unwritten_of(buffer).find(waits)?;
            let waiting = self.node.unwritten[&name].front()?;
            let before = |seq: &Seq| {
                let entry = model.entry(*seq);
                entry.is_some_and(|it| it.file == waiting.file && it.body_at < waiting.offset)
            };
            let stable = self.stable[buffer];
            let seq = (model.first.0..=stable.0).rev().map(Seq).find(before)?;
            let proven = model.entry(stable)?.known_commit >= seq;
            (proven && !model.rotted && self.disk.is_durable(name)).then_some((buffer, seq))
        })
    }
}
