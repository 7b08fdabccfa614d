//! What clients did with buffers, and what their logs held in the end: plain facts to be judged.

use std::collections::BTreeSet;
use std::fmt;

use hbuf_core::ids::{Epoch, Hash, Seq, Uuid};

use super::operation::Operation;

/// Appends and reads of any number of buffers, and the logs as they were found in the end.
///
/// The judge compares contents by digests. Any digest does, made alike for what is sent, shown and
/// found, of everything that must stay as it was (body, stored headers). Each message is to be sent
/// with a content of its own: only then can one without an answer be told from another in the log.
/// All that is in a buffer must come from appends of the history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogHistory {
    /// The appends, in any order.
    pub appends: Vec<AppendOp>,
    /// The reads that were answered, in any order; others say nothing.
    pub reads: Vec<ReadOp>,
    /// What each copy of each buffer held when all was over.
    pub logs: Vec<FinalLog>,
}

/// An append by a client.
pub type AppendOp = Operation<Append, Stored>;
/// A read by a client.
pub type ReadOp = Operation<Read, Shown>;

/// What an append asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Append {
    /// To which buffer.
    pub buffer: String,
    /// By what a repeated append is known. Of an idempotency key that is older than the buffer
    /// remembers them, leave it out.
    pub token: Option<Token>,
    /// Digests of the messages: one, or those of a batch in their order.
    pub messages: Vec<Hash>,
}

/// By what a buffer knows that an append is the same as an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Token {
    /// `x-hbuf-producer`.
    Producer {
        /// Who produces.
        id: String,
        /// Which life of it.
        epoch: u64,
        /// Its number of the append.
        number: u64,
    },
    /// `Idempotency-Key`.
    Key(String),
}

/// The answer to an append.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stored {
    /// What the answer promises.
    pub level: Level,
    /// The seq of the first message; those of a batch follow each other.
    pub first: Seq,
    /// The epoch of the records.
    pub epoch: Epoch,
    /// The buffer's history.
    pub history: Uuid,
    /// The ids of the messages in their order; none where the recorder did not keep them.
    pub ids: Vec<Hash>,
}

/// How far an append had come when it was answered: `x-hbuf-ack`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// It is on the disks of the whole in-sync set, and never lost.
    InSync,
    /// It is on the primary's disk, and may be lost with it.
    Local,
    /// It has a place, and no more.
    Framed,
}

/// What a read asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Read {
    /// From which buffer.
    pub buffer: String,
    /// Behind which seq.
    pub after: Seq,
    /// How fresh it must be.
    pub freshness: Freshness,
    /// Only some of the messages were asked for, so that gaps mean nothing.
    pub filtered: bool,
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Freshness {
    /// It shows all that was acknowledged or shown before it began.
    Linearizable,
    /// Any copy of the in-sync set may answer it by what it knows.
    Any,
}

/// The answer to a read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shown {
    /// Which copy answered, where that is known.
    pub from: Option<String>,
    /// The buffer's history.
    pub history: Uuid,
    /// Everything behind `after` through this one is in the answer. Less than the tail where a
    /// limit ended it.
    pub through: Seq,
    /// The commit that the answer names.
    pub tail: Option<Seq>,
    /// The messages, by their seqs.
    pub messages: Vec<ShownMessage>,
}

/// A message as it was shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShownMessage {
    /// Its number.
    pub seq: Seq,
    /// The digest of its content; none of one that was shown as erased.
    pub content: Option<Hash>,
    /// Its id, where the recorder kept it.
    pub id: Option<Hash>,
}

/// What one copy of a buffer held in the end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FinalLog {
    /// Whose it is: the name of the node.
    pub copy: String,
    /// Of which buffer.
    pub buffer: String,
    /// It is in the in-sync set, so all that was acknowledged must be in it.
    pub in_sync: bool,
    /// The buffer's histories, the first one first.
    pub histories: Vec<HistoryStart>,
    /// The first seq that is kept: retention has dropped those before.
    pub first: Seq,
    /// The copy knows that all through here is committed. What lies behind may still go.
    pub commit: Seq,
    /// Messages whose contents were erased or compacted away, ever.
    pub gone: BTreeSet<Seq>,
    /// The records, by their seqs.
    pub records: Vec<LogRecord>,
}

/// The beginning of a history of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HistoryStart {
    /// Its id.
    pub history: Uuid,
    /// Through here it has the messages of the one before; what that one held behind is lost. 0 for
    /// the first history.
    pub kept: Seq,
}

/// A record of a log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogRecord {
    /// Its number.
    pub seq: Seq,
    /// Its epoch.
    pub epoch: Epoch,
    /// The digest of its content; none when that is gone.
    pub content: Option<Hash>,
    /// Its id.
    pub id: Option<Hash>,
    /// It is a message of a client. Others are of the server: readers are not shown them.
    pub is_message: bool,
}

impl FinalLog {
    /// The record of a seq, given that the records are dense.
    #[must_use]
    pub fn record(&self, seq: Seq) -> Option<&LogRecord> {
        let at = seq.0.checked_sub(self.records.first()?.seq.0)?;
        let record = self.records.get(usize::try_from(at).ok()?)?;
        (record.seq == seq).then_some(record)
    }

    /// Whether the content of a message went by erasure or compaction.
    #[must_use]
    pub fn is_gone(&self, seq: Seq) -> bool {
        let wiped = |record: &LogRecord| record.is_message && record.content.is_none();
        self.gone.contains(&seq) || self.record(seq).is_some_and(wiped)
    }
}

impl fmt::Display for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.messages.len() {
            1 => f.write_str("append")?,
            count => write!(f, "append of {count}")?,
        }
        write!(f, " to {}", self.buffer)?;
        match &self.token {
            None => Ok(()),
            Some(Token::Producer { id, epoch, number }) => {
                write!(f, " as {id}/{epoch}/{number}")
            }
            Some(Token::Key(key)) => write!(f, " under key {key}"),
        }
    }
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, epoch) = (self.first, self.epoch);
        write!(f, "seq {first} in epoch {epoch}, {}", self.level.name())
    }
}

impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read of {} after {}", self.buffer, self.after)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} messages", self.messages.len())?;
        match self.tail {
            Some(tail) => write!(f, " with tail {tail}"),
            None => Ok(()),
        }
    }
}

impl Level {
    /// As `x-hbuf-ack` writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InSync => "insync",
            Self::Local => "local",
            Self::Framed => "none",
        }
    }
}
