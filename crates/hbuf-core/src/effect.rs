//! What the core asks for. Effects of one `handle` call are independent of each other: whatever
//! must wait for the disk is emitted only after [`crate::input::Input::Synced`] came back.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::append::{AppendRefused, Appended};
use crate::buffer::ConsumerTask;
use crate::ids::{Epoch, Hash, Micros, Seq, Uuid};
use crate::input::{BufferState, Token};
use crate::mark::Mark;
use crate::mirror::Mirrored;
use crate::record::{Facts, Frame, Proof, encode};
use crate::replication::Wish;
use crate::segment::LogKind;
use crate::stream::StreamSeen;

/// The effects of one input, in order.
pub type Effects = Vec<Effect>;

/// Something that the shell must do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Frame the messages of an append and hand them to the disk.
    Write(Write),
    /// Hand bytes that the core framed itself to the disk.
    WriteBytes(WriteBytes),
    /// Answer an append.
    Reply {
        /// The append.
        token: Token,
        /// Its end.
        outcome: Result<Appended, AppendRefused>,
    },
    /// Readers may see messages through `commit`.
    Committed {
        /// The buffer.
        buffer: Uuid,
        /// Its highest committed seq.
        commit: Seq,
        /// First seq of the segment in which it stands.
        file: Seq,
        /// The offset behind it.
        offset: u64,
    },
    /// Everything through `mark.durable` has been acknowledged by the disk: sync the segment's own
    /// file if only the journal holds part of it, then write the mark.
    WriteMark {
        /// What the mark says.
        mark: Box<Mark>,
        /// The tables of producers and keys, when they are not empty.
        tables: Option<Vec<u8>>,
        /// Why it is written.
        cause: MarkCause,
    },
    /// Remove the segments that end below `keep_from`; the retain record is durable.
    DropSegments {
        /// The buffer.
        buffer: Uuid,
        /// The first seq that stays.
        keep_from: Seq,
    },
    /// Remove the files of the cursors log that begin before `keep_from`; that one, which says all
    /// that they said, is durable.
    DropCursors {
        /// The buffer.
        buffer: Uuid,
        /// First seq of the file that stays.
        keep_from: Seq,
    },
    /// Something for the copies of a buffer.
    Replication {
        /// The buffer.
        buffer: Uuid,
        /// What.
        wish: Wish,
    },
    /// Where the log ends, at the earliest when it was asked; nothing when this node cannot say.
    Tail {
        /// The request.
        token: Token,
        /// The highest committed seq.
        commit: Option<Seq>,
    },
    /// Something for a consumer.
    Consumer {
        /// The buffer.
        buffer: Uuid,
        /// The consumer.
        consumer: Uuid,
        /// What.
        task: ConsumerTask,
    },
    /// A change of state is complete.
    StateReached {
        /// The request.
        token: Token,
        /// The state.
        state: BufferState,
    },
    /// What somebody who reads the buffer's stream finds.
    StreamUsed {
        /// The reader.
        token: Token,
        /// The stream.
        seen: StreamSeen,
        /// The use should be put on record: append [`crate::stream::StreamAppend::Use`].
        due: bool,
    },
    /// Messages to come have at least this time; nothing when some are under way, or when the
    /// buffer is not here.
    TimeClosed {
        /// The request.
        token: Token,
        /// The time.
        closed: Option<Micros>,
    },
    /// Writes of the buffer failed and the waiting appends were refused: cut the file back to what
    /// was acknowledged, then open the buffer again through recovery.
    Reopen {
        /// The buffer.
        buffer: Uuid,
        /// The last seq that is kept.
        durable: Seq,
        /// First seq of the segment in which it ends.
        file: Seq,
        /// The offset behind it.
        offset: u64,
    },
}

/// Why a mark is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MarkCause {
    /// A segment was rolled: the file that starts at `sealed` never changes again.
    Roll {
        /// First seq of the sealed segment.
        sealed: Seq,
        /// Its length in bytes.
        bytes: u64,
    },
    /// A checkpoint lets the journal go.
    Checkpoint,
    /// The buffer is paused, or leaves memory: its directory must stand alone.
    Fence,
}

/// Messages that got their seqs; the shell frames them with the contents it holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    /// The buffer.
    pub buffer: Uuid,
    /// First seq of the segment that takes them.
    pub file: Seq,
    /// Where the first record goes, behind the head line when `head` is there.
    pub offset: u64,
    /// A new segment starts with this head line, at offset 0 of its file.
    pub head: Option<Box<[u8]>>,
    /// Seq of the first message.
    pub first: Seq,
    /// Server time of all of them.
    pub time: Micros,
    /// Epoch of all of them.
    pub epoch: Epoch,
    /// The commit that the primary knew: `d` = seq − commit.
    pub commit: Seq,
    /// Server facts of the first record when it carries any; the others are plain.
    pub facts: Option<Box<Facts>>,
    /// Of a mirror, what each record is a copy of; then each has facts of its own.
    pub mirrored: Option<Box<Mirrored>>,
    /// The messages in order.
    pub placed: Vec<Placed>,
    /// Length of all records, without the head line.
    pub bytes: u64,
}

/// One message of a [`Write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Placed {
    /// Its `x-hbuf-id`.
    pub id: Hash,
    /// Length of its head.
    pub head_len: u32,
}

impl Write {
    /// Seq of the last message.
    #[must_use]
    pub fn last(&self) -> Seq {
        self.first.plus(self.placed.len() as u64).prev()
    }

    /// The fields `seq`, `d` and `r` of the message at `index`.
    #[must_use]
    pub fn position(&self, index: usize) -> (Seq, u32, u16) {
        let seq = self.first.plus(index as u64);
        let distance = u32::try_from(seq.0 - self.commit.0).unwrap_or(u32::MAX);
        let rest = u16::try_from(self.placed.len() - 1 - index).expect("a batch fits 16 bits");
        (seq, distance, rest)
    }
}

/// What a message consists of, as its record holds it.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The canonical user header lines.
    pub lines: &'a [u8],
    /// The salt of the commitment.
    pub salt: [u8; 32],
    /// The body as stored.
    pub body: &'a [u8],
}

impl Write {
    /// Frames every message; the order of `contents` is that of the request.
    pub fn encode<'a>(&self, contents: impl Iterator<Item = Parts<'a>>, out: &mut Vec<u8>) {
        let plain = Facts::default();
        let mut own;
        let mut facts = self.facts.as_deref().unwrap_or(&plain);
        for (index, (placed, parts)) in self.placed.iter().zip(contents).enumerate() {
            let (seq, distance, rest) = self.position(index);
            if let Some(mirrored) = &self.mirrored {
                own = mirrored.facts(index);
                facts = &own;
            }
            let frame = Frame {
                seq,
                time: self.time,
                epoch: self.epoch,
                distance,
                rest,
                facts,
                lines: parts.lines,
                proof: Proof::Salted {
                    salt: parts.salt,
                    id: placed.id,
                },
                body: parts.body,
            };
            encode(&frame, out);
            facts = &plain;
        }
    }
}

/// Bytes that the core framed itself: records of the cursors log, an empty segment's head line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WriteBytes {
    /// The buffer.
    pub buffer: Uuid,
    /// Which of its two logs.
    pub log: LogKind,
    /// First seq of the file.
    pub file: Seq,
    /// Where the bytes go; 0 makes the file.
    pub offset: u64,
    /// The bytes.
    pub bytes: Box<[u8]>,
    /// The last seq of that log once they are durable.
    pub through: Seq,
}
