//! One buffer of a topic that is being read: where its reader stands, what was fetched of it, and
//! what is missing.

use std::sync::Arc;

use hbuf_core::ids::{Micros, Seq, Uuid};
use hbuf_core::input::BufferState;
use hbuf_core::name::Name;
use hbuf_core::topic::{BufferPlace, Head};
use tokio::task::JoinHandle;

use super::member_page::{Fetch, Page};
use crate::engine::{Buffer, Engine, TopicMember};
use crate::read::{Bell, ReadError, Tailing};

/// A buffer of the topic.
pub(super) struct Member {
    pub(super) uuid: Uuid,
    pub(super) name: Name,
    pub(super) history: Uuid,
    pub(super) state: BufferState,
    /// The buffer while it can be read.
    pub(super) buffer: Option<Arc<Buffer>>,
    /// New messages stay in memory for us.
    tailing: Option<Tailing>,
    /// The last message that was delivered or passed over.
    pub(super) delivered: Seq,
    /// The last one to look at.
    pub(super) through: Seq,
    pub(super) page: Page,
    ahead: Option<Ahead>,
    pub(super) fetch: Arc<Fetch>,
    /// Nothing more can be had of it for now.
    stopped: Option<Gap>,
    /// Something that was before is not there any more.
    pub(super) lost: Option<Reason>,
}

/// Something is missing of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) reason: Reason,
    /// When it was first seen, by the clock.
    pub(super) since: Micros,
}

/// Why something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// It stands still; what it has is here.
    Paused,
    /// A message on disk is damaged; what is behind it is not here.
    Damaged,
    /// It cannot be opened or read.
    Unavailable,
    /// Retention dropped messages between the reader's place and the first that is left.
    Dropped,
    /// Its history is not the one that the reader knew: messages that it saw may be lost.
    History,
}

impl Reason {
    /// The word in `x-hbuf-gaps`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Damaged => "damaged",
            Self::Unavailable => "unavailable",
            Self::Dropped => "dropped",
            Self::History => "history",
        }
    }
}

/// A page that is being fetched; nobody needs it once its reader is gone.
struct Ahead(JoinHandle<Result<Page, ReadError>>);

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Member {
    pub(super) fn new(of: &TopicMember, fetch: Fetch) -> Self {
        Self {
            uuid: of.uuid,
            name: of.name.clone(),
            history: of.history,
            state: of.state,
            buffer: None,
            tailing: None,
            delivered: Seq::ZERO,
            through: Seq::ZERO,
            page: Page::default(),
            ahead: None,
            fetch: Arc::new(fetch),
            stopped: None,
            lost: None,
        }
    }

    /// Opens the buffer, or says why it cannot be read.
    pub(super) async fn open(
        &mut self,
        engine: &Engine,
        bell: &Arc<Bell>,
        tails: bool,
        now: Micros,
    ) {
        match engine.open(self.uuid).await {
            Ok(buffer) => {
                let readable = buffer.readable();
                readable.hang(bell);
                self.tailing = tails.then(|| readable.tailing());
                self.through = self.through.min(readable.commit());
                self.buffer = Some(buffer);
                self.judge(now);
            }
            Err(_) => {
                self.let_go();
                self.stop(Reason::Unavailable, now);
            }
        }
    }

    /// Notes that nothing more can be had of it; a gap lasts from when it was first seen.
    pub(super) fn stop(&mut self, reason: Reason, now: Micros) {
        let since = self.stopped.as_ref().map_or(now, |gap| gap.since);
        self.stopped = Some(Gap { reason, since });
    }

    /// What is missing of it.
    pub(super) fn reasons(&self) -> impl Iterator<Item = Reason> + use<> {
        let stopped = self.stopped.as_ref().map(|gap| gap.reason);
        [self.lost, stopped].into_iter().flatten()
    }

    /// Looks at what an open buffer says about itself.
    fn judge(&mut self, now: Micros) {
        let damaged = self.buffer.as_ref().and_then(|buffer| buffer.status());
        if damaged.is_some_and(|status| status.damaged.is_some()) {
            self.stop(Reason::Damaged, now);
        } else if self.state == BufferState::Paused {
            self.stop(Reason::Paused, now);
        } else if self.buffer.is_some() {
            self.stopped = None;
        }
    }

    /// Takes in the state that the manager knows now.
    pub(super) fn set_state(&mut self, state: BufferState, now: Micros) {
        if self.state != state {
            self.state = state;
            self.judge(now);
        }
    }

    /// Everything that is committed is to be read.
    pub(super) fn look_at_commit(&mut self) {
        if let Some(buffer) = &self.buffer {
            self.through = self.through.max(buffer.readable().commit());
        }
    }

    /// Starts behind `after`; what retention has dropped of it is a gap.
    pub(super) fn start_behind(&mut self, after: Seq) {
        let first = self.buffer.as_ref().map(|buffer| buffer.readable().first());
        let before_first = first.map_or(Seq::ZERO, Seq::prev);
        if after < before_first && after > Seq::ZERO {
            self.lost = Some(Reason::Dropped);
        }
        self.ahead = None;
        self.delivered = after.max(before_first);
        self.page = Page::empty(self.delivered);
    }

    /// Passes over a message that is not wanted.
    pub(super) fn pass(&mut self, seq: Seq) {
        self.page.take();
        self.delivered = seq;
    }

    /// Its place in a cursor.
    pub(super) fn place(&self) -> BufferPlace {
        BufferPlace::new(&self.uuid, &self.history, self.delivered)
    }

    /// What is known of its next message.
    pub(super) fn head(&mut self) -> Head {
        if let Some(entry) = self.page.next() {
            return Head::Next(entry.time);
        }
        self.delivered = self.delivered.max(self.page.last);
        if self.buffer.is_some() && (self.page.last < self.through || self.ahead.is_some()) {
            return Head::Unknown;
        }
        match &self.stopped {
            Some(gap) => Head::Gap { since: gap.since },
            None => Head::Idle { closed: Micros(0) },
        }
    }

    /// Starts to fetch what comes behind its page, at most `most` messages of it, unless that is
    /// under way or there is nothing.
    pub(super) fn fetch_ahead(&mut self, most: u64) {
        let Some(buffer) = &self.buffer else { return };
        if self.ahead.is_some() || self.page.last >= self.through {
            return;
        }
        let (readable, after) = (Arc::clone(buffer.readable()), self.page.last);
        let (fetch, pick) = (Arc::clone(&self.fetch), self.page.pick.take());
        let page = fetch.page(readable, after, self.through, most, pick);
        self.ahead = Some(Ahead(tokio::spawn(page)));
    }

    /// Waits for the page that comes next; an error leaves the page before it, which is used up.
    pub(super) async fn next_page(&mut self) -> Result<(), ReadError> {
        let Some(ahead) = &mut self.ahead else {
            return Ok(());
        };
        let fetched = (&mut ahead.0).await;
        self.ahead = None;
        match fetched {
            Ok(page) => {
                let page = page?;
                if page.last == self.page.last {
                    // Nothing came: it ends sooner than was thought.
                    self.through = page.last;
                }
                self.page = page;
            }
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return Err(ReadError::Stopping),
        }
        Ok(())
    }

    /// Gives up what is open of it: it was closed and is to be looked up again.
    pub(super) fn let_go(&mut self) {
        self.buffer = None;
        self.tailing = None;
        self.ahead = None;
        // What was fetched and not delivered is fetched again.
        self.page = Page::empty(self.delivered);
    }
}
