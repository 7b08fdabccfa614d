//! Reads a buffer's files as a stranger would and compares them with the model.

use hbuf_core::ids::Seq;
use hbuf_core::record::{Line, Record, State, Verdict, decode};
use hbuf_core::segment::SegmentHead;

use super::World;
use crate::disk::Name;
use crate::invariants::Invariant;

/// Something that is not as it should be.
struct Finding(Invariant, String);

impl World<'_> {
    pub(super) fn audit_all(&mut self, when: &str) {
        for buffer in 0..self.plan.buffers {
            self.audit(buffer, when, false);
        }
    }

    /// `fresh`: nothing was appended since recovery, so nothing may stand behind the end.
    pub(super) fn audit(&mut self, buffer: usize, when: &str, fresh: bool) {
        // Rot is found by whoever reads it; here it would only be found again.
        if self.models[buffer].rotted {
            return;
        }
        if let Err(Finding(invariant, what)) = self.read_log(buffer, fresh) {
            self.broke(invariant, format!("buffer {buffer} {when}: {what}"));
        }
    }

    fn read_log(&self, buffer: usize, fresh: bool) -> Result<(), Finding> {
        let model = &self.models[buffer];
        let commit = model.commit;
        let mut next: Option<Seq> = None;
        let (from, to) = (
            Name::Segment(buffer, Seq::ZERO),
            Name::Segment(buffer, Seq::MAX),
        );
        let names: Vec<Name> = self.disk.names(from, to).collect();
        // What is let go may still be there, in part.
        let let_go = |pair: &&[Name]| pair[1] <= Name::Segment(buffer, model.first);
        let skipped = names.windows(2).take_while(let_go).count();
        for name in names.into_iter().skip(skipped) {
            let Name::Segment(_, first) = name else {
                continue;
            };
            let bytes = self.disk.read(name).expect("it was just listed");
            next = Some(self.read_segment(buffer, first, bytes, next, fresh)?);
        }
        let next = next.unwrap_or(model.first);
        if next <= commit {
            let what = format!("the files end before {next}, readers saw {commit}");
            return Err(Finding(Invariant::AckedNeverLost, what));
        }
        Ok(())
    }

    /// Reads one segment; tells the seq that is due behind it.
    fn read_segment(
        &self,
        buffer: usize,
        first: Seq,
        bytes: &[u8],
        due: Option<Seq>,
        fresh: bool,
    ) -> Result<Seq, Finding> {
        let model = &self.models[buffer];
        let mut at = record_len(bytes, 0);
        let head = SegmentHead::decode(&bytes[..at.min(bytes.len())]);
        let head = match head {
            Ok(head) if head.first == first => head,
            // A file that a roll made and no sync has seen yet.
            _ if !fresh && first > model.commit => return Ok(due.unwrap_or(first)),
            other => {
                return Err(Finding(
                    Invariant::HashChainIntact,
                    format!("head {first}: {other:?}"),
                ));
            }
        };
        if due.is_some_and(|due| due != first) {
            let what = format!("segment {first} where {due:?} was due");
            return Err(Finding(Invariant::SeqDenseUnique, what));
        }
        if first.prev() <= model.end() && head.frontier != model.frontier(first.prev()) {
            let what = format!("the head of segment {first} holds another tree");
            return Err(Finding(Invariant::HashChainIntact, what));
        }
        let mut next = first;
        while next <= model.end() && at < bytes.len() {
            let length = record_len(bytes, at);
            let record = bytes.get(at..at + length).map(decode);
            match record {
                Some(Ok(record)) => self.check_record(buffer, next, &record)?,
                // Framed, and on its way to the disk.
                _ if !fresh && next > model.commit => return Ok(next),
                other => {
                    let what = format!("seq {next} at byte {at}: {:?}", other.map(|it| it.err()));
                    return Err(Finding(Invariant::AckedNeverLost, what));
                }
            }
            at += length;
            next = next.next();
        }
        if fresh && bytes[at.min(bytes.len())..].iter().any(|byte| *byte != 0) {
            let what = format!(
                "segment {first}: something stands behind seq {}",
                next.prev()
            );
            return Err(Finding(Invariant::SeqDenseUnique, what));
        }
        Ok(next)
    }

    fn check_record(&self, buffer: usize, due: Seq, record: &Record<'_>) -> Result<(), Finding> {
        let seq = record.line.seq;
        if seq != due || record.line.state != State::Live {
            return Err(Finding(
                Invariant::SeqDenseUnique,
                format!("{seq} where {due} was due"),
            ));
        }
        let entry = self.models[buffer]
            .entry(due)
            .expect("the caller stops at the log's end");
        if self.models[buffer].is_given_up(record.id()) {
            let what = format!("seq {seq} is from before the fence");
            return Err(Finding(Invariant::FenceRespected, what));
        }
        if record.verify(self.registry.uuid(buffer)) != Verdict::Intact {
            return Err(Finding(
                Invariant::HashChainIntact,
                format!("seq {seq} does not give its id"),
            ));
        }
        if *record.body != *entry.content.body || *record.lines != *entry.content.lines {
            return Err(Finding(
                Invariant::BytesEqual,
                format!("seq {seq} is not what was sent"),
            ));
        }
        if record.id() != Some(entry.id) {
            return Err(Finding(
                Invariant::HashChainIntact,
                format!("seq {seq} has another id"),
            ));
        }
        Ok(())
    }

    /// Whether the files of a buffer hold a record that a restored copy gave up.
    pub(super) fn brings_back_fenced(&self, buffer: usize) -> bool {
        let (from, to) = (
            Name::Segment(buffer, Seq::ZERO),
            Name::Segment(buffer, Seq::MAX),
        );
        let model = &self.models[buffer];
        self.disk
            .names(from, to)
            .filter_map(|name| self.disk.read(name))
            .any(|bytes| {
                let mut at = 0;
                while at < bytes.len() {
                    let length = record_len(bytes, at);
                    let record = bytes
                        .get(at..at + length)
                        .and_then(|bytes| decode(bytes).ok());
                    let Some(record) = record else { return false };
                    if model.is_given_up(record.id()) {
                        return true;
                    }
                    at += length;
                }
                false
            })
    }
}

/// Bytes that the line at `at` claims; 1 when there is no line, so that a walk ends.
fn record_len(bytes: &[u8], at: usize) -> usize {
    let line = bytes.get(at..).and_then(|bytes| Line::parse(bytes).ok());
    line.and_then(|line| usize::try_from(line.record_len()).ok())
        .unwrap_or(1)
}
