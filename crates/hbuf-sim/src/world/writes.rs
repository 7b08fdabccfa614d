//! What the shard frames: bytes for the pipeline, and what holds of every append that it takes.

use hbuf_core::buffer::parse_retain;
use hbuf_core::effect::{Write, WriteBytes};
use hbuf_core::input::{BufferState, Token};
use hbuf_core::record::{Line, decode};
use hbuf_core::segment::LogKind;

use super::World;
use crate::bugs::Bug;
use crate::invariants::Invariant;
use crate::kinds::Kind;
use crate::model::DedupeKey;
use crate::node::{Chunk, frame};
use crate::trace::EventId;

impl World<'_> {
    pub(super) fn on_write(&mut self, cause: EventId, write: &Write) {
        let buffer = self.registry.index(write.buffer);
        // The shard frames in the same call in which it judges, so the last token asked for it.
        let ask = self
            .asks
            .get_mut(&Token(self.last_token))
            .expect("an append is being judged");
        ask.framed = Some((write.first, write.last()));
        let sent = ask.contents.clone();
        let keys = ask.keys();
        let mut contents = self.on_the_wire(&sent);
        let framed = self.seqs_event(
            cause,
            Kind::AppendFramed,
            buffer,
            (write.first, write.last()),
        );
        self.counters.messages += write.placed.len() as u64;
        self.check_write(buffer, write, &keys);
        self.check_mirrored(buffer, write);
        let model = &mut self.models[buffer];
        if let Some(head) = &write.head {
            model.heads.insert(write.file, head.len() as u64);
        }
        model.framed(write, &sent, keys);
        self.last_times[buffer] = write.time;
        if self.bug == Some(Bug::SwapBodies)
            && let [first, second, ..] = &mut contents[..]
            && first.body.len() == second.body.len()
        {
            std::mem::swap(&mut first.body, &mut second.body);
        }
        let chunk = Chunk {
            of: self.node.opened(buffer),
            log: LogKind::Messages,
            file: write.file,
            offset: if write.head.is_some() {
                0
            } else {
                write.offset
            },
            bytes: frame(write, &contents).into(),
            through: write.last(),
            cause: framed,
        };
        self.queue_chunk(framed, chunk);
    }

    /// What holds of every append that the shard takes.
    fn check_write(&mut self, buffer: usize, write: &Write, keys: &[DedupeKey]) {
        let model = &self.models[buffer];
        let (end, state, settled) = (model.end(), model.state, model.settled);
        let repeated = keys
            .iter()
            .find_map(|key| model.repeated(key).map(|at| (key.clone(), at)));
        let last_time = self.last_times[buffer];
        self.check(write.first == end.next(), Invariant::SeqDenseUnique, || {
            format!(
                "buffer {buffer}: framed {} where {} was due",
                write.first,
                end.next()
            )
        });
        self.check(repeated.is_none(), Invariant::NoDupAppend, || {
            format!(
                "buffer {buffer}: {repeated:?} is framed again at {}",
                write.first
            )
        });
        self.check(
            write.time >= last_time,
            Invariant::TimeNeverDecreases,
            || {
                format!(
                    "buffer {buffer}: seq {} has {:?} after {last_time:?}",
                    write.first, write.time
                )
            },
        );
        let closed = settled && state == BufferState::Closed;
        self.check(!closed, Invariant::ClosedStaysClosed, || {
            format!(
                "buffer {buffer}: seq {} is framed while it is closed",
                write.first
            )
        });
        let paused = settled && state == BufferState::Paused;
        self.check(!paused, Invariant::PauseMeansNoChange, || {
            format!(
                "buffer {buffer}: seq {} is framed while it is paused",
                write.first
            )
        });
    }

    pub(super) fn on_write_bytes(&mut self, cause: EventId, write: WriteBytes) {
        let buffer = self.registry.index(write.buffer);
        if write.log == LogKind::Messages {
            self.models[buffer]
                .heads
                .insert(write.file, write.bytes.len() as u64);
        } else {
            self.check_retain(buffer, &write.bytes);
        }
        let chunk = Chunk {
            of: self.node.opened(buffer),
            log: write.log,
            file: write.file,
            offset: write.offset,
            bytes: Vec::from(write.bytes).into(),
            through: write.through,
            cause,
        };
        self.queue_chunk(cause, chunk);
    }

    /// What retention writes down may not name what could still be lost.
    fn check_retain(&mut self, buffer: usize, mut bytes: &[u8]) {
        let commit = self.models[buffer].commit;
        while let Ok(line) = Line::parse(bytes) {
            let length = usize::try_from(line.record_len()).expect("it was just framed");
            let record = decode(&bytes[..length]).expect("it was just framed");
            let keep_from = parse_retain(record.body).unwrap_or_default();
            self.check(
                keep_from <= commit.next(),
                Invariant::RetentionKeepsWhatItMust,
                || format!("buffer {buffer}: keeps from {keep_from}, committed is {commit}"),
            );
            bytes = &bytes[length..];
        }
    }
}
