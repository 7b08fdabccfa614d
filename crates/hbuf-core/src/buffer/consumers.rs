//! The consumers of a buffer: who is asked what, which records follow, and when who is answered.
//!
//! An answer that depends on a record leaves when the cursors log is committed through it. A crash
//! before loses the record and the answer; a crash behind it only the answer.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::{Buffer, Context};
use crate::consumer::{
    AckMode, Candidate, Config, Consumer, Delta, Given, GivenUp, LeaseId, Load, Progress, Settled,
    Settling, Standing, Wish,
};
use crate::effect::{Effect, Effects};
use crate::ids::{Micros, Seq, Uuid};
use crate::input::{BufferState, DiskHealth, Token};
use crate::record::Kind;
use crate::rules::Rules;

/// What is asked of a consumer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConsumerCall {
    /// It is used from now on as it is set. One that the log does not know begins behind `after`.
    Begin {
        /// What is set.
        config: Box<Config>,
        /// The version of its record that says so. What an older one says changes nothing: the call
        /// was made before the other, and was late.
        version: u64,
        /// Where it begins, as after a seek; nothing when the caller does not know, and is told
        /// that it is needed.
        after: Option<Seq>,
    },
    /// Hand out messages.
    Next {
        /// At most so many.
        limit: usize,
        /// Wait for the first one, until [`ConsumerCall::Stop`].
        waits: bool,
    },
    /// Answer a request that waits with what there is.
    Stop {
        /// The request.
        next: Token,
    },
    /// What becomes of messages that were handed out.
    Settle(Vec<(Seq, LeaseId, Settling)>),
    /// Say whether it could be moved now: whoever moves it in several buffers asks all of them
    /// first.
    MaySeek,
    /// Begin anew behind a seq, or at the end when the log does not reach so far: what is not there
    /// yet was never meant to be passed.
    Seek(Seq),
    /// It was deleted.
    Forget,
    /// What was found behind `after`; nothing when it could not be read.
    Looked {
        /// Behind which seq.
        after: Seq,
        /// The last seq that was looked at, and what matches.
        found: Option<(Seq, Vec<Candidate>)>,
    },
    /// A dead letter was put away, or could not be.
    Buried {
        /// The message.
        seq: Seq,
        /// Whether it was.
        done: bool,
    },
}

/// What a consumer answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConsumerAnswer {
    /// It is done.
    Done,
    /// The consumer is new here: say where it begins.
    NeedsStart,
    /// The messages.
    Given(Vec<Given>),
    /// What came of each, in order.
    Settled(Vec<Settled>),
    /// Nothing was done.
    Refused(ConsumerRefused),
}

/// Why nothing is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ConsumerRefused {
    /// The buffer is between two openings.
    #[error("the buffer is being opened again: try again shortly")]
    NotOpen,
    /// This node is not the buffer's primary.
    #[error("this node is not the buffer's primary: ask the one that is")]
    NotPrimary,
    /// Another primary was appointed before the answer was on record: it may hold or not.
    #[error(
        "the buffer's primary changed before this was on record: it may hold or not; ask again"
    )]
    PrimaryChanged,
    /// The consumer was not begun here, or is deleted.
    #[error("the consumer is not known here")]
    NotBegun,
    /// The consumer was deleted while somebody waited for it.
    #[error("the consumer was deleted")]
    Deleted,
    /// The buffer stands still.
    #[error("the buffer is paused, so that its consumers stand still: set its state to open first")]
    Paused,
    /// Too many requests wait.
    #[error("too many requests wait for this consumer: try again shortly")]
    Busy,
    /// What it looks for next could not be read.
    #[error("messages behind {after} could not be read: try again shortly")]
    Unreadable {
        /// Behind which seq it looked.
        after: Seq,
    },
    /// The buffer is damaged and read only.
    #[error("the buffer is damaged, and its consumers stand still: run `hbuf verify`")]
    Damaged,
    /// The disk has no room.
    #[error("the disk is full: nothing was changed")]
    DiskFull,
    /// The disk failed.
    #[error("the disk failed to sync: nothing more is recorded until the node restarts")]
    DiskFailed,
}

/// What the shell does for a consumer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConsumerTask {
    /// Answer a request.
    Answer {
        /// The request.
        token: Token,
        /// The answer.
        answer: ConsumerAnswer,
    },
    /// Look for at most `limit` messages that match, behind `after` and through `through`; then
    /// [`ConsumerCall::Looked`].
    Look {
        /// What is looked for.
        config: Box<Config>,
        /// Behind which seq.
        after: Seq,
        /// Through which seq.
        through: Seq,
        /// At most so many.
        limit: usize,
    },
    /// Put a message where dead letters go; then [`ConsumerCall::Buried`].
    Bury {
        /// Where.
        into: Option<Uuid>,
        /// The message.
        seq: Seq,
        /// How often it was handed out.
        deliveries: u32,
        /// Why.
        why: GivenUp,
    },
}

/// The consumers of one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Consumers {
    begun: BTreeMap<Uuid, Consumer>,
    /// Those that the log knows and nobody has used since the buffer was opened.
    dormant: BTreeMap<Uuid, Progress>,
    /// Somebody waits for what is committed next.
    hungry: BTreeSet<Uuid>,
    /// When each has something to do.
    due: BTreeMap<Uuid, Micros>,
    /// Answers that wait until the cursors log is committed through a seq.
    answers: VecDeque<(Seq, Uuid, Token, ConsumerAnswer)>,
}

impl Consumers {
    pub(super) fn open(known: BTreeMap<Uuid, Progress>) -> Self {
        Self {
            dormant: known,
            ..Self::default()
        }
    }

    /// Whether the buffer may leave memory without anybody's notice.
    pub(super) fn idle(&self) -> bool {
        self.answers.is_empty() && self.begun.values().all(Consumer::idle)
    }

    /// The bodies with which a file of the cursors log begins.
    pub(super) fn wholes(&self) -> Vec<Vec<u8>> {
        let begun = self.begun.iter();
        let begun = begun.map(|(uuid, consumer)| consumer.recorded().whole(*uuid));
        let dormant = self.dormant.iter();
        let dormant = dormant.map(|(uuid, progress)| progress.whole(*uuid));
        begun.chain(dormant).map(|delta| delta.encode()).collect()
    }
}

/// How a consumer stands for which nobody has worked since the buffer was opened.
fn dormant_standing(progress: &Progress) -> Standing {
    Standing {
        cursor: progress.cursor(),
        pending: progress.open.len() as u64,
        in_flight: 0,
        oldest_unacked: None,
        counts: Default::default(),
    }
}

impl Buffer {
    /// When a consumer of the buffer has something to do next.
    pub(crate) fn consumers_due(&self) -> Option<Micros> {
        self.consumers.due.values().min().copied()
    }

    /// How a consumer stands, and the commit.
    #[must_use]
    pub fn consumer_standing(&self, consumer: &Uuid) -> Option<Standing> {
        if let Some(begun) = self.consumers.begun.get(consumer) {
            return Some(begun.standing());
        }
        Some(dormant_standing(self.consumers.dormant.get(consumer)?))
    }

    /// What its consumers have before them.
    #[must_use]
    pub fn consumer_load(&self) -> Load {
        let (mut load, commit) = (Load::default(), self.commit());
        for consumer in self.consumers.begun.values() {
            load.add(&consumer.standing(), commit);
        }
        for progress in self.consumers.dormant.values() {
            load.add(&dormant_standing(progress), commit);
        }
        load
    }

    /// What the cursors log says of a consumer, as far as it is framed.
    #[must_use]
    pub fn consumer_recorded(&self, consumer: &Uuid) -> Option<&Progress> {
        let begun = self.consumers.begun.get(consumer);
        begun
            .map(Consumer::recorded)
            .or_else(|| self.consumers.dormant.get(consumer))
    }

    pub(crate) fn on_consumer(
        &mut self,
        context: &Context<'_>,
        uuid: Uuid,
        token: Token,
        call: ConsumerCall,
        out: &mut Effects,
    ) {
        let answer = match self.check_consumer(context, &uuid, &call) {
            Err(refused) => Some(ConsumerAnswer::Refused(refused)),
            Ok(()) => self.call_consumer(context, uuid, token, call, out),
        };
        if let Some(answer) = answer {
            self.answer_consumer(context.rules, uuid, token, answer, out);
        }
        self.serve_consumer(context.rules, context.now, uuid, out);
    }

    /// What stands in the way of a call. What the shell reports is always taken.
    fn check_consumer(
        &self,
        context: &Context<'_>,
        uuid: &Uuid,
        call: &ConsumerCall,
    ) -> Result<(), ConsumerRefused> {
        let begins = matches!(call, ConsumerCall::Begin { .. });
        let reports = matches!(
            call,
            ConsumerCall::Looked { .. } | ConsumerCall::Buried { .. } | ConsumerCall::Stop { .. }
        );
        if !begins && !self.consumers.begun.contains_key(uuid) {
            let forgets = matches!(call, ConsumerCall::Forget);
            if !forgets || !self.consumers.dormant.contains_key(uuid) {
                return Err(ConsumerRefused::NotBegun);
            }
        }
        if reports {
            return Ok(());
        }
        let paused = self.state == BufferState::Paused || self.pausing();
        if paused && context.rules.consumers_stand_still_while_paused {
            return Err(ConsumerRefused::Paused);
        }
        if self.damaged.is_some() {
            return Err(ConsumerRefused::Damaged);
        }
        match context.disk {
            DiskHealth::Sound => Ok(()),
            DiskHealth::Full => Err(ConsumerRefused::DiskFull),
            DiskHealth::Failed => Err(ConsumerRefused::DiskFailed),
        }
    }

    fn call_consumer(
        &mut self,
        context: &Context<'_>,
        uuid: Uuid,
        token: Token,
        call: ConsumerCall,
        out: &mut Effects,
    ) -> Option<ConsumerAnswer> {
        let now = context.now;
        if let ConsumerCall::Begin {
            config,
            version,
            after,
        } = call
        {
            let set = (*config, version);
            return Some(self.begin_consumer(context, uuid, set, after, out));
        }
        if call == ConsumerCall::Forget {
            return Some(self.forget_consumer(now, uuid, out));
        }
        let still = self.state == BufferState::Paused || self.pausing();
        let still = still && context.rules.consumers_stand_still_while_paused;
        let consumer = self.consumers.begun.get_mut(&uuid)?;
        match call {
            ConsumerCall::Next { limit, waits } => {
                let fits = consumer.ask(token, limit, waits);
                return (!fits).then_some(ConsumerAnswer::Refused(ConsumerRefused::Busy));
            }
            ConsumerCall::Stop { next } => {
                consumer.stop_waiting(next);
                return None;
            }
            ConsumerCall::Settle(items) => {
                let settled = items
                    .into_iter()
                    .map(|(seq, lease, what)| consumer.settle(now, seq, lease, what));
                let settled = settled.collect();
                self.record_consumer(now, uuid, out);
                return Some(ConsumerAnswer::Settled(settled));
            }
            ConsumerCall::MaySeek => return Some(ConsumerAnswer::Done),
            ConsumerCall::Seek(after) => {
                let delta = consumer.seek(uuid, after.min(self.commit));
                self.write_cursor(Kind::Cursor, delta.encode(), now, out);
                return Some(ConsumerAnswer::Done);
            }
            ConsumerCall::Looked { .. } if still => consumer.look_missed(),
            ConsumerCall::Looked { after, found } => match found {
                Some((through, candidates)) => consumer.looked(after, through, &candidates),
                None if !context.rules.failed_looks_pass_nothing => {
                    consumer.looked(after, self.commit, &[]);
                }
                None => self.stand_still(uuid, after, out),
            },
            ConsumerCall::Buried { seq, done: true } if still => consumer.buried_while_still(seq),
            ConsumerCall::Buried { seq, done } => {
                consumer.buried(now, seq, done);
                if self.may_record_consumers() {
                    self.record_consumer(now, uuid, out);
                }
            }
            ConsumerCall::Begin { .. } | ConsumerCall::Forget => unreachable!("done above"),
        }
        None
    }

    /// A look failed: also when the stored filter that the consumer names is not there. Whoever
    /// waits is told.
    fn stand_still(&mut self, uuid: Uuid, after: Seq, out: &mut Effects) {
        let consumer = self.consumers.begun.get_mut(&uuid);
        for token in consumer.map_or_else(Vec::new, |consumer| consumer.look_failed()) {
            let answer = ConsumerAnswer::Refused(ConsumerRefused::Unreadable { after });
            out.push(self.task(uuid, ConsumerTask::Answer { token, answer }));
        }
    }

    /// Whoever waits for it is told that it is no more.
    fn forget_consumer(&mut self, now: Micros, uuid: Uuid, out: &mut Effects) -> ConsumerAnswer {
        let begun = self.consumers.begun.remove(&uuid);
        for token in begun.map_or_else(Vec::new, |mut begun| begun.refuse_waiting()) {
            let answer = ConsumerAnswer::Refused(ConsumerRefused::Deleted);
            out.push(self.task(uuid, ConsumerTask::Answer { token, answer }));
        }
        self.consumers.dormant.remove(&uuid);
        self.consumers.hungry.remove(&uuid);
        self.consumers.due.remove(&uuid);
        self.write_cursor(Kind::Cursor, Delta::gone(uuid).encode(), now, out);
        ConsumerAnswer::Done
    }

    fn begin_consumer(
        &mut self,
        context: &Context<'_>,
        uuid: Uuid,
        (config, version): (Config, u64),
        after: Option<Seq>,
        out: &mut Effects,
    ) -> ConsumerAnswer {
        if let Some(begun) = self.consumers.begun.get_mut(&uuid) {
            begun.configure(config, version);
            return ConsumerAnswer::Done;
        }
        let known = self.consumers.dormant.remove(&uuid);
        let new = known.is_none();
        let begins = after.map(|after| Progress::behind(after.min(self.commit)));
        let Some(progress) = known.or(begins) else {
            return ConsumerAnswer::NeedsStart;
        };
        // Leases are numbered by the time, so that none has the number of one of before.
        let now = context.now;
        let mut consumer = Consumer::open(context.rules, (config, version), progress, now.0);
        let whole = consumer.recorded().whole(uuid);
        consumer.dropped(self.first);
        self.consumers.begun.insert(uuid, consumer);
        if new {
            self.write_cursor(Kind::Cursor, whole.encode(), now, out);
        }
        ConsumerAnswer::Done
    }

    /// Lets a consumer hand out what it can, and remembers when it is due again.
    fn serve_consumer(&mut self, rules: &Rules, now: Micros, uuid: Uuid, out: &mut Effects) {
        let commit = self.shown_to_consumers(rules);
        let Some(consumer) = self.consumers.begun.get_mut(&uuid) else {
            return;
        };
        let mut wishes = Vec::new();
        consumer.serve(now, commit, &mut wishes);
        let on_delivery = consumer.config().ack == AckMode::OnDelivery;
        if consumer.hungry() {
            self.consumers.hungry.insert(uuid);
        } else {
            self.consumers.hungry.remove(&uuid);
        }
        match consumer.next_deadline(now) {
            Some(due) => self.consumers.due.insert(uuid, due),
            None => self.consumers.due.remove(&uuid),
        };
        let gave = |wish: &Wish| matches!(wish, Wish::Give { given, .. } if !given.is_empty());
        if on_delivery && wishes.iter().any(gave) {
            self.record_consumer(now, uuid, out);
        }
        self.grant(rules, uuid, wishes, out);
    }

    const fn shown_to_consumers(&self, rules: &Rules) -> Seq {
        match rules.consumers_see_commits_only {
            true => self.commit,
            false => self.end,
        }
    }

    fn grant(&mut self, rules: &Rules, uuid: Uuid, wishes: Vec<Wish>, out: &mut Effects) {
        for wish in wishes {
            let Some(consumer) = self.consumers.begun.get(&uuid) else {
                return;
            };
            let task = match wish {
                Wish::Give { token, given } => {
                    let done = given.iter().any(|one| one.lease.is_none());
                    let answer = ConsumerAnswer::Given(given);
                    if done {
                        self.answer_consumer(rules, uuid, token, answer, out);
                        continue;
                    }
                    ConsumerTask::Answer { token, answer }
                }
                Wish::Look { after, limit } => ConsumerTask::Look {
                    config: Box::new(consumer.config().clone()),
                    after,
                    through: self.shown_to_consumers(rules),
                    limit,
                },
                Wish::Bury {
                    seq,
                    deliveries,
                    why,
                } => ConsumerTask::Bury {
                    into: consumer.config().dead_letter,
                    seq,
                    deliveries,
                    why,
                },
            };
            out.push(self.task(uuid, task));
        }
    }

    const fn task(&self, consumer: Uuid, task: ConsumerTask) -> Effect {
        Effect::Consumer {
            buffer: self.buffer,
            consumer,
            task,
        }
    }

    fn may_record_consumers(&self) -> bool {
        self.state != BufferState::Paused && !self.pausing() && self.damaged.is_none()
    }

    /// Frames what changed, if anything did.
    fn record_consumer(&mut self, now: Micros, uuid: Uuid, out: &mut Effects) {
        let consumer = self.consumers.begun.get_mut(&uuid);
        if let Some(delta) = consumer.and_then(|consumer| consumer.record(uuid)) {
            self.write_cursor(Kind::Cursor, delta.encode(), now, out);
        }
    }

    /// Answers at once, or when what was framed before is committed.
    fn answer_consumer(
        &mut self,
        rules: &Rules,
        uuid: Uuid,
        token: Token,
        answer: ConsumerAnswer,
        out: &mut Effects,
    ) {
        let refused = matches!(
            answer,
            ConsumerAnswer::Refused(_) | ConsumerAnswer::NeedsStart
        );
        let waits = rules.consumer_answers_wait_for_disk;
        if refused || !waits || self.cursors_committed() {
            let task = ConsumerTask::Answer { token, answer };
            out.push(self.task(uuid, task));
            return;
        }
        let through = self.cursors.end();
        self.consumers
            .answers
            .push_back((through, uuid, token, answer));
    }

    /// The cursors log is committed: whoever waited for that is answered.
    pub(super) fn release_answers(&mut self, through: Seq, out: &mut Effects) {
        while let Some((needs, ..)) = self.consumers.answers.front()
            && *needs <= through
        {
            let answer = self.consumers.answers.pop_front();
            let (_, uuid, token, answer) = answer.expect("it was looked at");
            let task = ConsumerTask::Answer { token, answer };
            out.push(self.task(uuid, task));
        }
    }

    /// There is more to hand out: only those for whom somebody waits are looked at.
    pub(crate) fn feed_consumers(&mut self, rules: &Rules, now: Micros, out: &mut Effects) {
        if self.consumers.hungry.is_empty() {
            return;
        }
        let hungry: Vec<Uuid> = self.consumers.hungry.iter().copied().collect();
        for uuid in hungry {
            self.serve_consumer(rules, now, uuid, out);
        }
    }

    /// What has come due. A paused buffer's leases stay as they are until it is open again.
    pub(crate) fn on_consumers_due(&mut self, rules: &Rules, now: Micros, out: &mut Effects) {
        let due = self.consumers.due.iter().filter(|(_, at)| **at <= now);
        let due: Vec<Uuid> = due.map(|(uuid, _)| *uuid).collect();
        if !self.may_record_consumers() {
            let later = Micros(now.0.saturating_add(STILL_MICROS));
            due.iter().for_each(|uuid| {
                self.consumers.due.insert(*uuid, later);
            });
            return;
        }
        for uuid in due {
            let Some(consumer) = self.consumers.begun.get_mut(&uuid) else {
                continue;
            };
            let mut wishes = Vec::new();
            if consumer.tick(now, &mut wishes) {
                self.record_consumer(now, uuid, out);
            }
            self.grant(rules, uuid, wishes, out);
            self.serve_consumer(rules, now, uuid, out);
        }
    }

    /// Whoever waits is refused: the buffer is about to stand still, or to leave.
    pub(crate) fn refuse_consumers(&mut self, refused: ConsumerRefused, out: &mut Effects) {
        let mut tokens: Vec<(Uuid, Token)> = Vec::new();
        for (uuid, consumer) in &mut self.consumers.begun {
            let waiting = consumer.refuse_waiting();
            tokens.extend(waiting.into_iter().map(|token| (*uuid, token)));
        }
        self.consumers.hungry.clear();
        for (uuid, token) in tokens {
            let answer = ConsumerAnswer::Refused(refused);
            out.push(self.task(uuid, ConsumerTask::Answer { token, answer }));
        }
    }

    /// Answers that waited for the disk, which will not hold what they say.
    pub(super) fn refuse_answers(&mut self, refused: ConsumerRefused, out: &mut Effects) {
        for (_, uuid, token, _) in core::mem::take(&mut self.consumers.answers) {
            let answer = ConsumerAnswer::Refused(refused);
            out.push(self.task(uuid, ConsumerTask::Answer { token, answer }));
        }
    }

    /// Retention dropped messages.
    pub(super) fn consumers_lose(&mut self) {
        let first = self.first;
        let begun = self.consumers.begun.values_mut();
        begun.for_each(|consumer| consumer.dropped(first));
    }
}

/// How long a buffer that stands still is left alone.
const STILL_MICROS: u64 = 250_000;
