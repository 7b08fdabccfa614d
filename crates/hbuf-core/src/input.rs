//! Everything that can happen to a shard.

use alloc::boxed::Box;

use crate::append::AppendRequest;
use crate::buffer::{ConsumerCall, Opening};
use crate::ids::{Seq, Uuid};
use crate::replication::Event;
use crate::retention::Retention;
use crate::segment::LogKind;

/// Names a request, so that its answer finds the asker. Unique within a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Whether a buffer takes messages: the manager's word, kept by its shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BufferState {
    /// It takes messages.
    #[default]
    Open,
    /// No more messages; erasure still works.
    Closed,
    /// No change to segments or cursors: the directory may be copied.
    Paused,
}

impl BufferState {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Paused => "paused",
        }
    }

    /// Whether stored filters may change: they are part of the directory that is being copied.
    #[must_use]
    pub const fn takes_filters(self) -> bool {
        !matches!(self, Self::Paused)
    }

    /// Reads the word of the API.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "open" => Some(Self::Open),
            "closed" => Some(Self::Closed),
            "paused" => Some(Self::Paused),
            _ => None,
        }
    }
}

/// What an operator may set on a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BufferConfig {
    /// A segment rolls before it grows past this many bytes.
    pub segment_bytes: u64,
    /// What is kept.
    pub retention: Retention,
    /// The buffer that this one mirrors: it takes nothing else.
    pub follows: Option<Uuid>,
}

impl Default for BufferConfig {
    fn default() -> Self {
        Self {
            segment_bytes: crate::limits::SEGMENT_BYTES_DEFAULT,
            retention: Retention::default(),
            follows: None,
        }
    }
}

/// How the disk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DiskHealth {
    /// It takes writes.
    #[default]
    Sound,
    /// No room: appends are refused until space returns.
    Full,
    /// A sync failed: nothing is written until the node restarts.
    Failed,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// A buffer was made or recovered and may be used.
    Open(Box<Opening>),
    /// A client appends.
    Append {
        /// The buffer.
        buffer: Uuid,
        /// Who waits for the answer.
        token: Token,
        /// What is appended.
        request: AppendRequest,
    },
    /// Somebody asks something of a consumer, or reports what it wanted.
    Consumer {
        /// The buffer.
        buffer: Uuid,
        /// The consumer.
        consumer: Uuid,
        /// Who waits for the answer.
        token: Token,
        /// What is asked.
        call: ConsumerCall,
    },
    /// Leases of consumers may have lapsed.
    ConsumersDue,
    /// Copies may have been silent, or behind, for too long.
    CopiesDue,
    /// Something happened to the copies of a buffer.
    Replication {
        /// The buffer.
        buffer: Uuid,
        /// What.
        event: Event,
    },
    /// The disk holds a log through `through`.
    Synced {
        /// The buffer.
        buffer: Uuid,
        /// Which of its two logs.
        log: LogKind,
        /// The last durable seq.
        through: Seq,
        /// The journal's last position, as in [`Input::Checkpoint`].
        journal: u64,
    },
    /// Writes of a buffer failed for lack of room; nothing of them was synced.
    WriteFailed {
        /// The buffer.
        buffer: Uuid,
    },
    /// The disk's health changed.
    Disk(DiskHealth),
    /// An operator changed the configuration.
    Configure {
        /// The buffer.
        buffer: Uuid,
        /// The new configuration.
        config: BufferConfig,
    },
    /// An operator changes the state.
    SetState {
        /// The buffer.
        buffer: Uuid,
        /// Who waits.
        token: Token,
        /// The new state.
        state: BufferState,
        /// The journal's last position, as in [`Input::Checkpoint`].
        journal: u64,
    },
    /// Write a mark as soon as everything framed so far is durable.
    Checkpoint {
        /// The buffer.
        buffer: Uuid,
        /// The journal's last position: every entry up to it holds only what is framed by now.
        journal: u64,
    },
    /// The mark of a pause found no room: write it again.
    FenceAgain {
        /// The buffer.
        buffer: Uuid,
        /// The journal's last position, as in [`Input::Checkpoint`].
        journal: u64,
    },
    /// The next append starts a new segment (a pre-written one is ready).
    RollNext {
        /// The buffer.
        buffer: Uuid,
    },
    /// Somebody reads the buffer's stream.
    StreamUsed {
        /// The buffer.
        buffer: Uuid,
        /// Who waits for what is there.
        token: Token,
    },
    /// A reader in strict order asks that messages to come be later than what it has.
    CloseTime {
        /// The buffer.
        buffer: Uuid,
        /// Who waits.
        token: Token,
    },
    /// Time to look at retention, in all buffers of the shard.
    Retention,
    /// The buffer was deleted: whatever waits for it is refused.
    Remove {
        /// The buffer.
        buffer: Uuid,
    },
    /// The buffer leaves memory; it must have nothing pending.
    Evict {
        /// The buffer.
        buffer: Uuid,
    },
}
