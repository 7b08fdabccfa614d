//! What one client did once, and what it was told: the same shape for logs, registers and locks.

use std::fmt;

/// The number of an operation within its history, by which findings name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operation {}", self.0)
    }
}

/// Who does one operation after the other. Two that run at the same time are of two clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u32);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}", self.0)
    }
}

/// A point of the one clock that all clients of a history share, in nanoseconds or any other unit
/// that the recorder keeps to. Operations that meet in one moment ran at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is known of an operation's end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome<A> {
    /// An answer came.
    Answered {
        /// When, not before the operation began.
        end: Moment,
        /// What it said.
        answer: A,
    },
    /// It surely had no effect and never will: it was refused before anything was done.
    Failed {
        /// When this was known.
        end: Moment,
    },
    /// Nobody knows: a reply was lost, a time ran out. It may take effect at any time after its
    /// beginning, or never.
    Unknown,
}

impl<A> Outcome<A> {
    /// When an answer came or it was known to have failed.
    #[must_use]
    pub const fn end(&self) -> Option<Moment> {
        match self {
            Self::Answered { end, .. } | Self::Failed { end } => Some(*end),
            Self::Unknown => None,
        }
    }

    /// The answer, if one came.
    #[must_use]
    pub const fn answer(&self) -> Option<&A> {
        match self {
            Self::Answered { answer, .. } => Some(answer),
            Self::Failed { .. } | Self::Unknown => None,
        }
    }
}

/// One operation of one client: what was asked (`C`) and what was answered (`A`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Operation<C, A> {
    /// Its number, different from that of all others of the history.
    pub id: OpId,
    /// Whose it is.
    pub client: ClientId,
    /// When it was sent.
    pub begin: Moment,
    /// What was asked.
    pub call: C,
    /// What became of it.
    pub outcome: Outcome<A>,
}

impl<C, A> Operation<C, A> {
    /// Whether it ended before the other one began, so that nobody may see them the other way
    /// round.
    #[must_use]
    pub fn precedes(&self, other: &Self) -> bool {
        self.outcome.end().is_some_and(|end| end < other.begin)
    }
}

impl<C: fmt::Display, A: fmt::Display> fmt::Display for Operation<C, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, client, begin, call) = (self.id, self.client, self.begin, &self.call);
        match &self.outcome {
            Outcome::Answered { end, answer } => {
                write!(f, "{id} ({client}, {begin} to {end}): {call} gave {answer}")
            }
            Outcome::Failed { end } => {
                write!(f, "{id} ({client}, {begin} to {end}): {call} failed")
            }
            Outcome::Unknown => write!(f, "{id} ({client}, from {begin}): {call}, no answer"),
        }
    }
}
