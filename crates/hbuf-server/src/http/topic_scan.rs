//! A read on its way through all buffers of a topic: pages in the order that the core's merge says,
//! in the form asked for.
//!
//! Buffers are fetched beside each other, one page of each ahead; what is held is bounded by
//! [`MERGE_BYTES`] over all of them. Must never: deliver what is not committed, or leave something
//! out without naming its buffer as a gap.

use std::sync::Arc;

use bytes::Bytes;
use hbuf_core::ids::{Micros, Seq};
use hbuf_core::limits::{
    CURSOR_BUFFERS_MAX, MERGE_BYTES, MERGE_PAGE_BYTES_MIN, PIECE_BYTES, READ_LIMIT_MAX,
};
use hbuf_core::rules::Rules;
use hbuf_core::topic::{Bound, Head, Merge, Order, RunHead, Step, TopicCursor};

use super::member::{Member, Reason};
use super::member_page::Fetch;
use super::problem::Problem;
use super::scan::{Filter, Form};
use super::topic_start::Start;
use crate::clock;
use crate::engine::{Engine, TopicMember, TopicStamp, TopicView};
use crate::read::{Bell, ReadError};

/// A read of a topic.
pub(crate) struct TopicScan {
    pub(crate) engine: Engine,
    /// The topic's number.
    pub(super) topic: u64,
    /// Which list of buffers, in which states, was seen last.
    pub(crate) stamp: TopicStamp,
    /// In the order of their uuids, which breaks ties of time.
    pub(super) members: Vec<Member>,
    merge: Merge,
    order: Order,
    filter: Filter,
    form: Form,
    /// How many messages are still wanted; `None` is all.
    pub(crate) left: Option<u64>,
    /// It follows the topic: what is committed later is read too.
    pub(crate) follows: bool,
    /// In strict order, what came later than the start of a read that does not follow stays out.
    started: Micros,
    /// Something was written already.
    begun: bool,
    /// The member whose run is being written in raw form.
    run: Option<usize>,
    bell: Arc<Bell>,
}

/// What a look for messages came to.
pub(crate) enum Found {
    /// Some.
    Page(Bytes),
    /// None, and there will be none.
    End,
    /// None before something happens in a buffer, or before this time.
    Wait(Option<Micros>),
}

/// A message that was read alone.
enum Long {
    Message(Bytes),
    /// The filter leaves it out.
    Unwanted,
    /// It could not be read; its buffer was opened anew, or has a gap now.
    Gone,
}

/// What a read wants.
#[derive(Clone, Debug)]
pub(crate) struct Wants {
    pub(crate) order: Order,
    pub(crate) filter: Filter,
    pub(crate) form: Form,
    pub(crate) limit: Option<u64>,
    pub(crate) follows: bool,
}

impl TopicScan {
    /// Opens all buffers of the topic and places the read at its start.
    pub(crate) async fn open(
        engine: &Engine,
        view: &TopicView,
        wants: Wants,
        start: &Start,
    ) -> Result<Self, Box<Problem>> {
        let mut scan = Self {
            engine: engine.clone(),
            topic: view.id,
            stamp: view.stamp,
            members: Vec::new(),
            merge: Merge::new(wants.order, 0, &Rules::correct()),
            order: wants.order,
            filter: wants.filter,
            form: wants.form,
            left: wants.limit,
            follows: wants.follows,
            started: clock::now(),
            begun: false,
            run: None,
            bell: Arc::default(),
        };
        scan.enter(view).await;
        start.place(&mut scan.members).await?;
        scan.reset();
        Ok(scan)
    }

    /// Brings the list of members up to the topic's: who stays keeps its place, who is new starts
    /// at its beginning.
    async fn enter(&mut self, view: &TopicView) {
        let now = clock::now();
        let mut old = std::mem::take(&mut self.members);
        for of in &view.members {
            let known = old.iter().position(|member| member.uuid == of.uuid);
            let mut member = match known {
                Some(at) => old.swap_remove(at),
                None => Member::new(of, self.fetch(of, view.members.len())),
            };
            member.set_state(of.state, now);
            if member.buffer.is_none() {
                member
                    .open(&self.engine, &self.bell, self.follows, now)
                    .await;
                if known.is_none() {
                    member.start_behind(Seq::ZERO);
                }
            }
            self.members.push(member);
        }
        self.stamp = view.stamp;
        self.run = None;
    }

    fn fetch(&self, of: &TopicMember, members: usize) -> Fetch {
        let page_bytes = (MERGE_BYTES / members.max(1)).clamp(MERGE_PAGE_BYTES_MIN, PIECE_BYTES);
        Fetch {
            filter: self.filter.clone(),
            form: self.form,
            name: of.name.as_str().into(),
            source: match self.form {
                Form::CloudEvents => self.engine.source(of.uuid).into(),
                Form::Raw | Form::Lines | Form::Array | Form::Events => "".into(),
            },
            page_bytes,
        }
    }

    /// Starts the merge anew over what the members have.
    fn reset(&mut self) {
        self.merge = Merge::new(self.order, self.members.len(), &Rules::correct());
        for member in &mut self.members {
            member.look_at_commit();
        }
        self.set_heads();
    }

    fn set_heads(&mut self) {
        for (at, member) in self.members.iter_mut().enumerate() {
            let head = member.head();
            self.merge.set(at, head);
        }
    }

    /// The next messages, as many as make a page.
    pub(crate) async fn page(&mut self) -> Result<Found, ReadError> {
        let mut out = Vec::new();
        let found = loop {
            if self.left == Some(0) {
                break Found::End;
            }
            match self.merge.step(clock::now()) {
                Step::Look => self.look().await?,
                Step::Deliver { member, bound } => {
                    self.deliver(member, bound, &mut out).await?;
                    if out.len() >= PIECE_BYTES {
                        break Found::End;
                    }
                }
                Step::Close { time } if !self.follows && time >= self.started => break Found::End,
                Step::Close { time } => {
                    if !self.close(time).await {
                        break Found::Wait(None);
                    }
                }
                Step::Patience { until } => break Found::Wait(Some(until)),
                Step::Nothing if self.follows => break Found::Wait(None),
                Step::Nothing => break Found::End,
            }
        };
        if out.is_empty() {
            return Ok(found);
        }
        self.begun = true;
        Ok(Found::Page(out.into()))
    }

    /// Fetches the next pages of all members of which the next message is not known, beside each
    /// other.
    async fn look(&mut self) -> Result<(), ReadError> {
        let most = self.left.unwrap_or(READ_LIMIT_MAX).min(READ_LIMIT_MAX);
        for (at, member) in self.members.iter_mut().enumerate() {
            if self.merge.head(at) == Head::Unknown {
                member.fetch_ahead(most);
            }
        }
        for at in 0..self.members.len() {
            if self.merge.head(at) != Head::Unknown {
                continue;
            }
            let member = &mut self.members[at];
            match member.next_page().await {
                Ok(()) => {}
                Err(
                    error @ (ReadError::Stopping
                    | ReadError::NoFilter { .. }
                    | ReadError::FilterDamaged { .. }),
                ) => return Err(error),
                Err(error) => self.mend(at, &error).await,
            }
            let member = &mut self.members[at];
            let more = self
                .left
                .is_none_or(|left| left > member.page.left() as u64);
            if more {
                member.fetch_ahead(most);
            }
            let head = member.head();
            self.merge.set(at, head);
        }
        Ok(())
    }

    /// Goes on after an error of one member: opened anew, or a gap that holds up no other.
    async fn mend(&mut self, at: usize, error: &ReadError) {
        let now = clock::now();
        let member = &mut self.members[at];
        let reason = match error {
            ReadError::Closed => {
                member.let_go();
                member
                    .open(&self.engine, &self.bell, self.follows, now)
                    .await;
                return;
            }
            ReadError::BeforeFirst { first } => {
                member.start_behind(first.prev());
                member.lost = Some(Reason::Dropped);
                return;
            }
            ReadError::Damaged { .. } => Reason::Damaged,
            ReadError::Io { .. }
            | ReadError::NoFilter { .. }
            | ReadError::FilterDamaged { .. }
            | ReadError::Stopping => Reason::Unavailable,
        };
        member.let_go();
        member.stop(reason, now);
    }

    /// Writes one member's messages while it is its turn.
    async fn deliver(
        &mut self,
        at: usize,
        bound: Bound,
        out: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        while self.left != Some(0) && out.len() < PIECE_BYTES {
            let member = &mut self.members[at];
            let Some(entry) = member
                .page
                .next()
                .filter(|next| bound.admits(next.time, at))
            else {
                break;
            };
            let long = match entry.is_long() {
                false => None,
                true => match self.long(at, entry.seq).await? {
                    Long::Message(message) => Some(message),
                    Long::Unwanted => {
                        self.members[at].pass(entry.seq);
                        continue;
                    }
                    Long::Gone => break,
                },
            };
            self.left = self.left.map(|left| left - 1);
            self.members[at].delivered = entry.seq;
            self.write_before(at, entry.seq, entry.time, out);
            let held = self.members[at].page.take();
            out.extend_from_slice(long.as_deref().or(held).unwrap_or_default());
        }
        let head = self.members[at].head();
        self.merge.set(at, head);
        Ok(())
    }

    /// Reads a message that was too long to be held.
    async fn long(&mut self, at: usize, seq: Seq) -> Result<Long, ReadError> {
        let member = &self.members[at];
        let Some(buffer) = member.buffer.clone() else {
            return Ok(Long::Gone);
        };
        match member.fetch.long(buffer.readable(), seq).await {
            Ok(Some(message)) => Ok(Long::Message(message)),
            Ok(None) => Ok(Long::Unwanted),
            Err(ReadError::Stopping) => Err(ReadError::Stopping),
            Err(error) => {
                self.mend(at, &error).await;
                Ok(Long::Gone)
            }
        }
    }

    /// What stands before a message in this form.
    fn write_before(&mut self, at: usize, first: Seq, time: Micros, out: &mut Vec<u8>) {
        match self.form {
            Form::Raw if self.run != Some(at) => {
                self.run = Some(at);
                let member = &self.members[at];
                let head = RunHead::Run {
                    buffer: member.uuid,
                    history: member.history,
                    first,
                    time,
                };
                head.encode(out);
            }
            Form::Array | Form::CloudEvents if self.begun || !out.is_empty() => {
                out.extend_from_slice(b",\n");
            }
            Form::Events => {
                out.extend_from_slice(b"id: ");
                out.extend_from_slice(self.cursor().unwrap_or_default().as_bytes());
                out.push(b'\n');
            }
            Form::Raw | Form::Lines | Form::Array | Form::CloudEvents => {}
        }
    }

    /// Has idle members close a time; false when one of them must be waited for.
    async fn close(&mut self, time: Micros) -> bool {
        let mut closed_all = true;
        for at in 0..self.members.len() {
            let Head::Idle { closed } = self.merge.head(at) else {
                continue;
            };
            if closed > time {
                continue;
            }
            let member = &mut self.members[at];
            let Some(buffer) = member.buffer.clone() else {
                continue;
            };
            let closed = buffer.close_time().await;
            // What was committed before the time was closed is to be read first.
            member.look_at_commit();
            let head = match (member.head(), closed) {
                (Head::Idle { .. }, Some(closed)) => {
                    closed_all &= closed > time;
                    Head::Idle { closed }
                }
                (head @ Head::Idle { .. }, None) => {
                    closed_all = false;
                    head
                }
                (head, _) => head,
            };
            self.merge.set(at, head);
        }
        closed_all
    }

    /// Waits until a buffer has something new, then takes it into view.
    pub(crate) async fn rung(&self) {
        self.bell.rung().await;
    }

    /// Takes what was committed since into view.
    pub(crate) fn look_again(&mut self) {
        for at in 0..self.members.len() {
            let member = &mut self.members[at];
            member.look_at_commit();
            if !matches!(self.merge.head(at), Head::Next(_) | Head::Unknown) {
                let head = member.head();
                let known = matches!(
                    (head, self.merge.head(at)),
                    (Head::Idle { .. }, Head::Idle { .. })
                );
                if !known {
                    self.merge.set(at, head);
                }
            }
        }
    }

    /// Takes the topic's list as it is now; false when there is no such topic any more. Members
    /// that could not be opened are tried again.
    pub(crate) async fn refresh(&mut self, view: Option<TopicView>) -> bool {
        let Some(view) = view.filter(|view| view.id == self.topic) else {
            return false;
        };
        self.enter(&view).await;
        self.reset();
        true
    }

    /// Where a reader goes on; nothing when the topic has more buffers than a cursor holds.
    pub(crate) fn cursor(&self) -> Option<String> {
        if self.members.len() > CURSOR_BUFFERS_MAX {
            return None;
        }
        let cursor = TopicCursor {
            topic: self.topic,
            places: self.members.iter().map(Member::place).collect(),
        };
        Some(cursor.encode())
    }

    /// Buffers of which something is missing: name and reason.
    pub(crate) fn gaps(&self) -> Vec<(&str, &'static str)> {
        let of = |member: &'_ Member| member.reasons().map(Reason::as_str).collect::<Vec<_>>();
        let named = self.members.iter().flat_map(|member| {
            let name = member.name.as_str();
            of(member).into_iter().map(move |reason| (name, reason))
        });
        named.collect()
    }

    /// What stands behind the last message of a read that ends.
    pub(crate) fn end(&self) -> Bytes {
        let (cursor, gaps) = (self.cursor(), self.gaps());
        if self.form == Form::Raw {
            let gaps = gaps.iter().map(|(name, reason)| gap_text(name, reason));
            let head = RunHead::End {
                cursor,
                gaps: gaps.collect(),
            };
            let mut out = Vec::new();
            head.encode(&mut out);
            return out.into();
        }
        let mut line = serde_json::json!({ "cursor": cursor });
        if !gaps.is_empty() {
            line["gaps"] = gaps_json(&gaps);
        }
        let text = match self.form {
            Form::Array if self.begun => format!(",\n{line}]\n"),
            Form::Array => format!("[{line}]\n"),
            _ => format!("{line}\n"),
        };
        text.into()
    }
}

/// A gap as `x-hbuf-gaps` has it.
pub(crate) fn gap_text(name: &str, reason: &str) -> String {
    format!("{name}; reason={reason}")
}

/// Gaps as an array of objects.
pub(crate) fn gaps_json(gaps: &[(&str, &'static str)]) -> serde_json::Value {
    let gap =
        |(name, reason): &(&str, &str)| serde_json::json!({ "buffer": name, "reason": reason });
    gaps.iter().map(gap).collect()
}
