//! One consumer of one buffer: what is looked at, leased, done and given up.
//!
//! ```text
//!  look ──▶ free ──hand out──▶ leased ──ack──▶ done
//!            ▲                  │   │
//!            └── nack, lapse ───┘   └ (too often, or too old, when it would be handed out again)
//!                                       ──▶ dying ──buried──▶ done
//! ```
//! Leases are here and nowhere else: after a restart every open message is free. Nothing here is
//! on disk until the caller has framed what [`Consumer::record`] gives.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::candidate::Candidate;
use super::config::{AckMode, Config};
use super::item::{Item, State, given_up};
use super::place::{Delta, Progress};
use crate::ids::{Micros, Seq, Uuid};
use crate::input::Token;
use crate::limits::{
    CONSUMER_DELIVERIES_MAX, CONSUMER_LOOK_MAX, CONSUMER_NEXT_BYTES_MAX, CONSUMER_WAITING_MAX,
    CONSUMER_WINDOW_MAX,
};
use crate::rules::Rules;

/// Names one lease. It means nothing after the buffer was opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

/// A message that is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Given {
    /// Its seq.
    pub seq: Seq,
    /// The lease; nothing when the message is done by being handed out.
    pub lease: Option<LeaseId>,
    /// How often it was handed out, this time included.
    pub deliveries: u32,
    /// Its time.
    pub time: Micros,
}

/// What a worker wants of a message that it was handed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settling {
    /// It is done.
    Ack,
    /// It is to be handed out again, after so many milliseconds.
    Nack {
        /// How many.
        delay_ms: u64,
    },
    /// The lease is to last so many milliseconds from now on.
    Extend {
        /// How many.
        lease_ms: u64,
    },
    /// It did not reach the worker: as if it had not been handed out.
    Return,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settled {
    /// It is done.
    Acked,
    /// It was done before; nothing changed.
    AlreadyAcked,
    /// The lease had lapsed, or was another's; nothing changed.
    LeaseLost,
    /// It will be handed out again.
    Nacked,
    /// The lease lasts longer.
    Extended,
    /// No such message was handed out, or the consumer does not read the buffer.
    Unknown,
}

/// Why a message is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GivenUp {
    /// It was handed out as often as it may be.
    Deliveries,
    /// It is too old to be handed out again.
    Expired,
}

/// What the caller must see to. All of it may be done in any order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wish {
    /// Look for at most `limit` messages that match, behind `after`, and tell [`Consumer::looked`].
    Look {
        /// Behind which seq.
        after: Seq,
        /// At most so many.
        limit: usize,
    },
    /// Answer a request.
    Give {
        /// The request.
        token: Token,
        /// The messages; none when there is none.
        given: Vec<Given>,
    },
    /// Put a message where dead letters go, then tell [`Consumer::buried`].
    Bury {
        /// The message.
        seq: Seq,
        /// How often it was handed out.
        deliveries: u32,
        /// Why.
        why: GivenUp,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Waiting {
    token: Token,
    limit: usize,
    /// It waits for what comes; otherwise it is answered when there is nothing more to look at.
    waits: bool,
}

/// Counts since the buffer was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counts {
    /// Deliveries after the first one of a message.
    pub redelivered: u64,
    /// Messages that were given up.
    pub dead_lettered: u64,
    /// Messages that were dropped before they were done.
    pub lost: u64,
}

/// How a consumer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// Every message through this one is done.
    pub cursor: Seq,
    /// Messages that were found to match and are not done.
    pub pending: u64,
    /// Messages that are leased.
    pub in_flight: u64,
    /// Time of the earliest message that was handed out and is not done.
    pub oldest_unacked: Option<Micros>,
    /// What was counted.
    pub counts: Counts,
}

/// The state machine of one consumer in one buffer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Consumer {
    rules: Rules,
    config: Config,
    /// Of the record that says so.
    version: u64,
    /// What was framed last.
    recorded: Progress,
    /// Everything through here was looked at.
    through: Seq,
    items: BTreeMap<Seq, Item>,
    leased: usize,
    /// The highest seq that was handed out, acked on sight, or given up.
    touched: Seq,
    looking: bool,
    waiting: VecDeque<Waiting>,
    next_lease: u64,
    counts: Counts,
}

impl Consumer {
    /// A consumer that has come so far; everything open is free. `lease` is the number of its first
    /// lease: one that no earlier opening has given.
    #[must_use]
    pub fn open(
        rules: &Rules,
        (config, version): (Config, u64),
        recorded: Progress,
        lease: u64,
    ) -> Self {
        Self {
            rules: *rules,
            config,
            version,
            through: recorded.cursor(),
            touched: recorded.cursor(),
            recorded,
            items: BTreeMap::new(),
            leased: 0,
            looking: false,
            waiting: VecDeque::new(),
            next_lease: lease,
            counts: Counts::default(),
        }
    }

    /// Changes what is set, unless a later version did so already. It holds for what is looked at
    /// from now on.
    pub fn configure(&mut self, config: Config, version: u64) {
        if version >= self.version {
            (self.config, self.version) = (config, version);
        }
    }

    /// What is set.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        // A log's times never go back: the first in it is the earliest.
        let unacked = self.items.values().find(|item| item.deliveries > 0);
        Standing {
            cursor: self.cursor(),
            pending: self.items.len() as u64,
            in_flight: self.leased as u64,
            oldest_unacked: unacked.map(|item| item.time),
            counts: self.counts,
        }
    }

    /// Whether nobody would notice if leases and waiting requests were forgotten.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.leased == 0 && self.waiting.is_empty() && !self.looking && !self.dying()
    }

    /// Whether somebody waits for what is committed next.
    #[must_use]
    pub fn hungry(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Every message through this one is done, in memory.
    #[must_use]
    pub fn cursor(&self) -> Seq {
        let first = self.items.keys().next();
        let cursor = first.map_or(self.through, |first| first.prev());
        // Behind a restart it stands where the record says until that was looked at again.
        if cursor < self.recorded.through {
            let recorded = self.recorded.open.range(cursor.next()..).next();
            let recorded = recorded.map_or(self.recorded.through, |(seq, _)| seq.prev());
            return cursor.max(first.map_or(recorded, |first| recorded.min(first.prev())));
        }
        cursor
    }

    /// Somebody asks for messages. False when too many wait already.
    pub fn ask(&mut self, token: Token, limit: usize, waits: bool) -> bool {
        if self.waiting.len() >= CONSUMER_WAITING_MAX {
            return false;
        }
        self.waiting.push_back(Waiting {
            token,
            limit,
            waits,
        });
        true
    }

    /// A request is to be answered with what there is.
    pub fn stop_waiting(&mut self, token: Token) {
        for waiting in self.waiting.iter_mut().filter(|one| one.token == token) {
            waiting.waits = false;
        }
    }

    /// All who wait, who are answered otherwise.
    pub fn refuse_waiting(&mut self) -> Vec<Token> {
        self.waiting
            .drain(..)
            .map(|waiting| waiting.token)
            .collect()
    }

    /// What was found behind the place that was looked at: everything through `through` that is
    /// not among the candidates does not match.
    pub fn looked(&mut self, after: Seq, through: Seq, candidates: &[Candidate]) {
        // A seek in between has moved the place: what was found is of no use.
        if !core::mem::take(&mut self.looking) || after != self.through {
            return;
        }
        for found in candidates {
            let known = self.recorded.open.get(&found.seq);
            if found.seq <= self.recorded.through && known.is_none() {
                continue;
            }
            let deliver_at = found.deliver_at.filter(|_| self.rules.deliver_at_holds);
            let from = deliver_at.unwrap_or(Micros(0));
            let item = Item {
                time: found.time,
                key: found.key,
                bytes: found.bytes,
                deliveries: known.copied().unwrap_or(0),
                touched: known.is_some(),
                state: State::Free { from },
            };
            self.items.insert(found.seq, item);
        }
        self.through = through.max(self.through);
    }

    /// What was looked for comes while the buffer stands still: it is looked for again.
    pub const fn look_missed(&mut self) {
        self.looking = false;
    }

    /// Nothing could be looked at: whoever waits is to be told. The next request tries again.
    pub fn look_failed(&mut self) -> Vec<Token> {
        self.looking = false;
        self.refuse_waiting()
    }

    /// Hands out what it can and says what else is wanted. `commit` is the last message that
    /// readers see.
    pub fn serve(&mut self, now: Micros, commit: Seq, wishes: &mut Vec<Wish>) {
        let mut gave = false;
        while let Some(front) = self.waiting.front().copied() {
            let given = self.hand_out(now, front.limit, wishes);
            if given.is_empty() && self.room() > 0 && self.may_look(commit) {
                return self.look(wishes);
            }
            if given.is_empty() && front.waits {
                return self.answer_the_hasty(wishes);
            }
            gave |= !given.is_empty();
            self.waiting.pop_front();
            let token = front.token;
            wishes.push(Wish::Give { token, given });
        }
        // Ahead of whoever works on: the next request is then answered without a look.
        let free = self.items.len() - self.leased;
        if gave && free < CONSUMER_LOOK_MAX / 2 && self.may_look(commit) {
            self.look(wishes);
        }
    }

    fn may_look(&self, commit: Seq) -> bool {
        self.through < commit && self.items.len() < CONSUMER_WINDOW_MAX
    }

    fn look(&mut self, wishes: &mut Vec<Wish>) {
        if !core::mem::replace(&mut self.looking, true) {
            let limit = CONSUMER_LOOK_MAX.min(CONSUMER_WINDOW_MAX - self.items.len());
            let after = self.through;
            wishes.push(Wish::Look { after, limit });
        }
    }

    /// There is nothing: whoever does not wait is told so.
    fn answer_the_hasty(&mut self, wishes: &mut Vec<Wish>) {
        let (waiting, hasty): (VecDeque<_>, Vec<_>) = {
            let all = core::mem::take(&mut self.waiting);
            let (waiting, hasty): (Vec<Waiting>, Vec<Waiting>) =
                all.into_iter().partition(|one| one.waits);
            (waiting.into(), hasty)
        };
        self.waiting = waiting;
        wishes.extend(hasty.into_iter().map(|one| Wish::Give {
            token: one.token,
            given: Vec::new(),
        }));
    }

    /// How many more messages may be leased.
    fn room(&self) -> usize {
        let most = match self.rules.in_flight_is_bounded {
            true => self.config.in_flight_max as usize,
            false => CONSUMER_WINDOW_MAX,
        };
        most.saturating_sub(self.leased)
    }

    fn hand_out(&mut self, now: Micros, limit: usize, wishes: &mut Vec<Wish>) -> Vec<Given> {
        let mut given = Vec::new();
        let mut blocked = BTreeSet::new();
        let most = limit.min(self.room());
        let by_key = self.config.order_by_key && self.rules.order_by_key_holds;
        let until = Micros(now.0.saturating_add(self.config.lease_micros()));
        let mut bytes = 0;
        for (seq, item) in &mut self.items {
            if given.len() == most {
                break;
            }
            if by_key && item.key.is_some_and(|key| blocked.contains(&key)) {
                continue;
            }
            if item.may_go(&self.rules, now) {
                if let Some(why) = given_up(&self.rules, &self.config, item, now) {
                    self.leased -= usize::from(item.is_leased());
                    wishes.push(item.bury(*seq, 0, why));
                } else {
                    bytes += u64::from(item.bytes);
                    // One message alone is always given, however long it is.
                    if bytes > CONSUMER_NEXT_BYTES_MAX && !given.is_empty() {
                        break;
                    }
                    let lease = LeaseId(self.next_lease);
                    self.next_lease += 1;
                    self.leased += usize::from(!item.is_leased());
                    item.state = State::Leased { lease, until };
                    item.deliveries = (item.deliveries + 1).min(CONSUMER_DELIVERIES_MAX);
                    item.touched = true;
                    self.counts.redelivered += u64::from(item.deliveries > 1);
                    self.touched = self.touched.max(*seq);
                    given.push(Given {
                        seq: *seq,
                        lease: Some(lease),
                        deliveries: item.deliveries,
                        time: item.time,
                    });
                }
            }
            // Whatever stands before and is not done holds up its key.
            if by_key && let Some(key) = item.key {
                blocked.insert(key);
            }
        }
        if self.config.ack == AckMode::OnDelivery {
            for one in &mut given {
                one.lease = None;
                self.finish(one.seq);
            }
        }
        given
    }

    /// A message is done.
    fn finish(&mut self, seq: Seq) -> Option<Item> {
        let item = self.items.remove(&seq)?;
        self.leased -= usize::from(item.is_leased());
        self.touched = self.touched.max(seq);
        Some(item)
    }

    /// A worker says what becomes of a message.
    pub fn settle(&mut self, now: Micros, seq: Seq, lease: LeaseId, what: Settling) -> Settled {
        let Some(item) = self.items.get_mut(&seq) else {
            return self.settle_passed(seq);
        };
        match item.state {
            State::Leased { lease: own, until } if own == lease && until > now => {}
            State::Free { .. } if !item.touched => return Settled::Unknown,
            _ => return Settled::LeaseLost,
        }
        match what {
            Settling::Ack => {
                self.finish(seq);
                return Settled::Acked;
            }
            Settling::Extend { lease_ms } => {
                let until = Micros(now.0.saturating_add(lease_ms.saturating_mul(1_000)));
                item.state = State::Leased { lease, until };
                return Settled::Extended;
            }
            Settling::Nack { .. } if !self.rules.nacked_stays_open => {
                self.finish(seq);
                return Settled::Nacked;
            }
            Settling::Nack { delay_ms } => {
                let from = Micros(now.0.saturating_add(delay_ms.saturating_mul(1_000)));
                item.state = State::Free { from };
            }
            Settling::Return => {
                self.counts.redelivered -= u64::from(item.deliveries > 1);
                item.deliveries -= 1;
                item.state = State::Free { from: now };
            }
        }
        self.leased -= 1;
        Settled::Nacked
    }

    /// What a worker is told of a message that is not open here: it is done, or the filter did not
    /// take it when it was looked at, as may be behind a seek.
    fn settle_passed(&mut self, seq: Seq) -> Settled {
        let recorded = seq <= self.recorded.through;
        let open = self.recorded.open.contains_key(&seq);
        if seq <= self.through {
            // From now on the record says it too: another filter, behind a restart, does not bring
            // back what was called done.
            if self.rules.passed_acks_are_recorded {
                self.touched = self.touched.max(seq);
            }
            return Settled::AlreadyAcked;
        }
        match (recorded, open) {
            (true, false) => Settled::AlreadyAcked,
            // Handed out before the buffer was opened again.
            (true, true) => Settled::LeaseLost,
            (false, _) => Settled::Unknown,
        }
    }

    /// What has come due: leases lapse, dead letters are tried again. True when there is something
    /// to be put on record: the count of a lease that lapsed, or what was put away.
    pub fn tick(&mut self, now: Micros, wishes: &mut Vec<Wish>) -> bool {
        let mut lapsed = false;
        let mut put = Vec::new();
        for (seq, item) in &mut self.items {
            match item.state {
                State::Leased { until, .. } if until <= now && self.rules.leases_lapse => {
                    item.state = State::Free { from: now };
                    self.leased -= 1;
                    lapsed = true;
                }
                State::Dying { again, tries, why } if again <= now => {
                    wishes.push(item.bury(*seq, tries, why));
                }
                State::Put => put.push(*seq),
                _ => {}
            }
        }
        for seq in &put {
            self.put_away(*seq);
        }
        lapsed || !put.is_empty()
    }

    /// When [`Self::tick`] has something to do next.
    #[must_use]
    pub fn next_deadline(&self, now: Micros) -> Option<Micros> {
        let waited = self.hungry();
        let due = |item: &Item| match item.state {
            State::Leased { until, .. } => self.rules.leases_lapse.then_some(until),
            State::Dying { again, .. } => (again < Micros::MAX).then_some(again),
            State::Free { from } => (waited && from > now).then_some(from),
            State::Put => Some(now),
        };
        self.items.values().filter_map(due).min()
    }

    /// A dead letter is where it goes while the buffer stands still: it is done at the next
    /// [`Self::tick`].
    pub fn buried_while_still(&mut self, seq: Seq) {
        if let Some(item) = self.items.get_mut(&seq)
            && matches!(item.state, State::Dying { .. })
        {
            item.state = State::Put;
        }
    }

    /// A dead letter is where it goes, or could not be put there and is kept.
    pub fn buried(&mut self, now: Micros, seq: Seq, done: bool) {
        let Some(item) = self.items.get_mut(&seq) else {
            return;
        };
        let State::Dying { tries, why, .. } = item.state else {
            return;
        };
        if done {
            return self.put_away(seq);
        }
        let pause = BURY_PAUSE_MICROS << tries.min(BURY_DOUBLINGS);
        let again = Micros(now.0.saturating_add(pause));
        let tries = tries.saturating_add(1);
        item.state = State::Dying { again, tries, why };
    }

    fn put_away(&mut self, seq: Seq) {
        self.finish(seq);
        self.counts.dead_lettered += 1;
    }

    /// Begins anew behind `after`: leases end, everything before is done, everything behind is not.
    pub fn seek(&mut self, consumer: Uuid, after: Seq) -> Delta {
        self.items.clear();
        self.leased = 0;
        self.looking = false;
        self.through = after;
        self.touched = after;
        self.recorded = Progress::behind(after);
        self.recorded.whole(consumer)
    }

    /// Retention dropped what lies before `first`.
    pub fn dropped(&mut self, first: Seq) {
        let kept = self.items.split_off(&first);
        let gone = core::mem::replace(&mut self.items, kept);
        self.leased -= gone.values().filter(|item| item.is_leased()).count();
        let unseen = first.prev().0.saturating_sub(self.through.0);
        self.counts.lost += gone.len() as u64 + unseen;
        if unseen > 0 {
            self.through = first.prev();
            self.looking = false;
        }
        self.touched = self.touched.max(first.prev());
    }

    /// What must be framed so that the log holds what is here; it counts as framed from now on.
    /// What was only looked at stays out.
    pub fn record(&mut self, consumer: Uuid) -> Option<Delta> {
        let next = self.progress();
        let delta = self.recorded.delta(consumer, &next)?;
        self.recorded = next;
        Some(delta)
    }

    /// What was framed last.
    #[must_use]
    pub const fn recorded(&self) -> &Progress {
        &self.recorded
    }

    fn progress(&self) -> Progress {
        let fresh = |(_, item): &(&Seq, &Item)| !item.touched;
        let unseen = self.items.range(self.touched.next()..).find(fresh);
        let through = unseen.map_or(self.through, |(seq, _)| seq.prev());
        let through = through.max(self.touched.min(self.through));
        let items = self.items.range(..=through);
        let mut open: BTreeMap<Seq, u32> = items.map(|(seq, it)| (*seq, it.deliveries)).collect();
        // Behind a restart the rest of what was open is still to be looked at.
        if through < self.recorded.through {
            let rest = self.recorded.open.range(through.next()..);
            open.extend(rest.map(|(seq, count)| (*seq, *count)));
        }
        Progress {
            through: through.max(self.recorded.through),
            open,
        }
    }

    fn dying(&self) -> bool {
        let dying = |item: &Item| matches!(item.state, State::Dying { .. } | State::Put);
        self.items.values().any(dying)
    }
}

/// How long a dead letter that could not be put away waits first; twice as long each time after.
const BURY_PAUSE_MICROS: u64 = 1_000_000;
/// So often it doubles: to about a minute.
const BURY_DOUBLINGS: u32 = 6;
