//! What workers ask of a consumer, and what they get.

use std::time::Duration;

use std::sync::Arc;

use bytes::Bytes;
use hbuf_core::buffer::ConsumerRefused;
use hbuf_core::consumer::ConfigError;
pub use hbuf_core::consumer::{LeaseId, Settled, Settling};
use hbuf_core::ids::{Micros, Seq, Uuid};
use hbuf_core::name::Name;
use tokio::time::Instant;

use super::open::LookupError;
use crate::read::ReadError;

/// Asks for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextRequest {
    /// At most so many.
    pub limit: usize,
    /// Wait until then for the first one; `None` answers at once.
    pub wait_until: Option<Instant>,
}

impl NextRequest {
    /// The same, waiting no longer than that.
    pub(super) fn cut_to(self, most: Duration) -> Self {
        let wait_until = self
            .wait_until
            .map(|until| until.min(Instant::now() + most));
        Self { wait_until, ..self }
    }
}

/// Messages that were handed out.
#[derive(Clone, Debug, Default)]
pub struct Handed {
    /// The messages: of each buffer in the order of its seqs but for those delivered again, over
    /// the buffers the earliest first.
    pub messages: Vec<HandedMessage>,
    /// The buffers of a topic that were left out.
    pub passed: Vec<Passed>,
}

/// One message that was handed out.
#[derive(Clone, Debug)]
pub struct HandedMessage {
    /// Its buffer.
    pub buffer: Uuid,
    /// The name of its buffer.
    pub name: Name,
    /// Its seq there.
    pub seq: Seq,
    /// What an ack names; nothing when the message was done as it was handed out.
    pub lease: Option<LeaseId>,
    /// How often it was handed out, this time included.
    pub deliveries: u32,
    /// The record as it is stored.
    pub record: Bytes,
}

/// A buffer that was left out, and why.
#[derive(Clone, Debug)]
pub struct Passed {
    /// Its name.
    pub name: Name,
    /// Why, in words.
    pub why: String,
}

/// What becomes of one message that was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settle {
    /// Its buffer.
    pub buffer: Uuid,
    /// Its seq there.
    pub seq: Seq,
    /// The lease under which it was handed out.
    pub lease: LeaseId,
    /// What is wanted.
    pub what: Settling,
}

/// How a consumer stands in one buffer.
#[derive(Clone, Debug)]
pub struct ConsumerMember {
    /// The buffer.
    pub buffer: Uuid,
    /// Its name.
    pub name: Name,
    /// Why nothing more is known: the buffer cannot be opened.
    pub unavailable: Option<String>,
    /// Every message through this one is done.
    pub cursor: Seq,
    /// The highest message that there is for readers.
    pub commit: Seq,
    /// Messages that were found to match and are not done, as far as was looked ahead.
    pub pending: u64,
    /// Messages that are leased now.
    pub in_flight: u64,
    /// When the earliest message was appended that was handed out and is not done.
    pub oldest_unacked: Option<Micros>,
    /// Deliveries after the first one of a message, since the node started.
    pub redelivered: u64,
    /// Messages that were given up, since the node started.
    pub dead_lettered: u64,
    /// Messages that retention dropped or damage hid before they were done.
    pub lost: u64,
}

/// Why a consumer hands out nothing.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// It was deleted.
    #[error("there is no such consumer: create it with PUT")]
    Gone,
    /// This node does not lead the buffer; which one does, the manager knows.
    #[error(transparent)]
    NotPrimary(ConsumerRefused),
    /// Another primary was appointed meanwhile: what was asked may hold or not.
    #[error(transparent)]
    PrimaryChanged(ConsumerRefused),
    /// Every buffer that it reads is paused.
    #[error("the buffer is paused, so that its consumers stand still: set its state to open first")]
    Paused,
    /// There is no such place to seek.
    #[error(transparent)]
    Start(#[from] ConfigError),
    /// The buffer cannot be opened.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// Messages cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The disk has no room for the consumer's record.
    #[error("the disk is full: nothing was changed")]
    Full,
    /// The disk failed.
    #[error("the disk failed to sync: nothing more is recorded until the node restarts")]
    Failed,
    /// The buffer is damaged.
    #[error("the buffer is damaged and read only, and its consumers stand still")]
    Damaged,
    /// A buffer of a topic cannot move the consumer, and so none has.
    #[error("`{buffer}` is in the way: {why}. Nothing was moved")]
    Unmoved {
        /// The buffer.
        buffer: Name,
        /// Why it cannot.
        why: Box<Self>,
    },
    /// Buffers of a topic failed to move the consumer after all of them could have.
    #[error(
        "the consumer was not moved in {}: {why}. In its other buffers it was: seek again", listed(.stayed)
    )]
    MovedInPart {
        /// The buffers where it was not moved.
        stayed: Vec<Name>,
        /// Why the first of them failed.
        why: Box<Self>,
    },
    /// No buffer of a topic can be asked; the reason of one of them.
    #[error("no buffer of the topic hands out anything: {0}")]
    Passed(String),
    /// Too many requests of the consumer wait.
    #[error("too many requests wait for this consumer: try again shortly")]
    Busy,
    /// What it looks for next could not be read, and then it could.
    #[error("messages behind {after} could not be read: try again shortly")]
    Unreadable {
        /// Behind which seq it looked.
        after: Seq,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

impl ConsumerError {
    /// Whether it is one buffer that stands still, while others of the consumer may go on.
    pub(super) const fn is_of_one_buffer(&self) -> bool {
        match self {
            Self::Paused | Self::Damaged | Self::Lookup(_) => true,
            Self::Read(error) => matches!(error, ReadError::Damaged { .. } | ReadError::Io { .. }),
            Self::Gone
            | Self::NotPrimary(_)
            | Self::PrimaryChanged(_)
            | Self::Start(_)
            | Self::Full
            | Self::Failed
            | Self::Unmoved { .. }
            | Self::MovedInPart { .. }
            | Self::Passed(_)
            | Self::Busy
            | Self::Unreadable { .. }
            | Self::Stopping => false,
        }
    }
}

fn listed(names: &[Name]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// What came of a message that was to be settled; the error is why its buffer could not take it.
pub type SettleResult = Result<Settled, Arc<ConsumerError>>;

/// The word of a reply.
#[must_use]
pub const fn settled_word(settled: &SettleResult) -> &'static str {
    match settled {
        Ok(Settled::Acked) => "acked",
        Ok(Settled::AlreadyAcked) => "already-acked",
        Ok(Settled::LeaseLost) => "lease-lost",
        Ok(Settled::Nacked) => "nacked",
        Ok(Settled::Extended) => "extended",
        Ok(Settled::Unknown) => "unknown",
        Err(_) => "refused",
    }
}

/// The text of a lease.
#[must_use]
pub fn lease_text(lease: LeaseId) -> String {
    String::from_utf8_lossy(&lease_digits(lease)).into_owned()
}

/// The same, for who writes many of them.
pub(crate) const fn lease_digits(lease: LeaseId) -> [u8; 16] {
    let mut digits = [0; 16];
    let mut at = 0;
    while at < digits.len() {
        let digit = (lease.0 >> (60 - 4 * at)) as usize & 0xf;
        digits[at] = b"0123456789abcdef"[digit];
        at += 1;
    }
    digits
}

/// Reads the text of a lease.
#[must_use]
pub fn parse_lease(text: &str) -> Option<LeaseId> {
    let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let fits = text.len() == 16 && text.bytes().all(digits);
    fits.then(|| u64::from_str_radix(text, 16).ok().map(LeaseId))?
}
