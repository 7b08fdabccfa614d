//! The naive account of one consumer in one buffer: what it was asked, what it answered, and so
//! what it may do next. It knows the messages by what it is shown of
//! the log alone.
//!
//! What a crash or a lost answer leaves open is `Perhaps`: both ways are right then.

use std::collections::{BTreeMap, BTreeSet};

use hbuf_core::consumer::{AckMode, Config, Given, GivenUp, LeaseId, Progress, Settled, Settling};
use hbuf_core::ids::{Micros, Seq};

use crate::invariants::Invariant;
use crate::model::Labels;

mod asked;
mod heirs;
mod taking;

pub(crate) use asked::Asked;
pub(crate) use taking::Taking;

/// A message, as a consumer chooses by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chosen<'a> {
    pub(crate) labels: &'a Labels,
    pub(crate) time: Micros,
}

/// What an account of consumers knows of the log that they read.
pub(crate) trait LogView {
    /// The first seq that is kept.
    fn first(&self) -> Seq;
    /// The highest seq that readers may see.
    fn commit(&self) -> Seq;
    /// A message that was framed.
    fn entry(&self, seq: Seq) -> Option<Chosen<'_>>;
    /// The number of the change of state since which the buffer stands still, if it does.
    fn still(&self) -> Option<u64>;
    /// Something of it may have been lost by rot.
    fn rotted(&self) -> bool;
}

/// Something that is not as it should be.
pub(crate) struct Finding(pub(crate) Invariant, pub(crate) String);

/// Whether a message is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Done {
    #[default]
    No,
    /// An ack was asked for under a lease that holds: it is done in memory.
    Asked,
    /// An ack was asked for, and nobody knows what came of it.
    Perhaps,
    /// An ack was answered.
    Surely,
    /// It was given up and put away.
    Buried,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    id: LeaseId,
    until: Micros,
    /// The clock was once past its end.
    lapsed: bool,
}

/// What became of one message.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    done: Done,
    /// How often it was handed out; unknown from an opening of the buffer until it is again.
    deliveries: Option<u32>,
    /// The count that is surely on disk.
    counted: u32,
    lease: Option<Lease>,
    /// A worker gave it back until then.
    not_before: Micros,
}

/// What a worker asked for of one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) seq: Seq,
    what: Settling,
    /// The lease holds, so that it will be done.
    holds: bool,
    deliveries: Option<u32>,
}

/// One consumer in one buffer.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    /// What is set, as the shard was told last.
    pub(crate) config: Config,
    /// What was looked at, and what was taken there: it is not looked at again, but may be behind a
    /// restart.
    looks: Vec<(Seq, Seq, Taking)>,
    /// It hands out nothing through here.
    may_after: Seq,
    /// It hands out everything behind here.
    must_after: Seq,
    /// Its beginning is on disk.
    pub(crate) sure: bool,
    fates: BTreeMap<Seq, Fate>,
    /// Everything through here was seen to be done.
    checked: Seq,
    /// Where it stood when the buffer was paused, by the number of that change of state.
    still: Option<(u64, Seq)>,
    /// Messages that may have been done by being handed out into a crash.
    lost_max: u64,
    /// Given up, and not put away yet.
    dying: BTreeSet<Seq>,
    /// How often it was moved.
    pub(crate) moves: u64,
    /// What it was before each move that is not answered yet.
    before: Vec<Self>,
}

impl Ledger {
    /// A consumer that begins behind `after`.
    pub(crate) fn new(config: Config, after: Seq) -> Self {
        Self {
            looks: Vec::new(),
            config,
            may_after: after,
            must_after: after,
            sure: false,
            fates: BTreeMap::new(),
            checked: after,
            still: None,
            lost_max: 0,
            dying: BTreeSet::new(),
            moves: 0,
            before: Vec::new(),
        }
    }

    pub(crate) fn configure(&mut self, config: Config) {
        self.config = config;
    }

    /// The messages behind the one and through the other were looked at.
    pub(crate) fn looked(&mut self, (after, last): (Seq, Seq), taking: Taking) {
        match self.looks.last_mut() {
            Some((_, end, same)) if *end == after && *same == taking => *end = last,
            _ => self.looks.push((after, last, taking)),
        }
    }

    fn looks_at(&self, seq: Seq) -> impl Iterator<Item = &Taking> {
        let looks = self.looks.iter();
        let covers = move |(after, last, _): &&(Seq, Seq, Taking)| *after < seq && seq <= *last;
        looks.filter(covers).map(|(.., taking)| taking)
    }

    pub(crate) fn on_delivery(&self) -> bool {
        self.config.ack == AckMode::OnDelivery
    }

    /// Leases that the clock has passed are over; gives those that end now.
    pub(crate) fn lapse(&mut self, now: Micros) -> Vec<Seq> {
        let mut lapsed = Vec::new();
        for (seq, fate) in &mut self.fates {
            if let Some(lease) = &mut fate.lease
                && lease.until <= now
                && !std::mem::replace(&mut lease.lapsed, true)
            {
                lapsed.push(*seq);
            }
        }
        lapsed
    }

    /// Messages were handed out under leases, or are done by it.
    pub(crate) fn give(
        &mut self,
        now: Micros,
        given: &[Given],
        log: &impl LogView,
    ) -> Result<(), Finding> {
        for one in given {
            self.check_given(now, one, log)?;
            let until = Micros(now.0 + self.config.lease_micros());
            let fate = self.fates.entry(one.seq).or_default();
            fate.deliveries = Some(one.deliveries);
            fate.not_before = Micros(0);
            fate.lease = one.lease.map(|id| Lease {
                id,
                until,
                lapsed: false,
            });
            fate.done = match one.lease {
                Some(_) => Done::No,
                None => Done::Surely,
            };
        }
        let running = |fate: &&Fate| fate.lease.is_some_and(|lease| !lease.lapsed);
        // What retention drops is leased no more.
        let kept = self.fates.range(log.first()..).map(|(_, fate)| fate);
        let open = kept.filter(running).count();
        let most = self.config.in_flight_max as usize;
        if open > most && !given.is_empty() {
            let what = format!("{open} messages are leased, {most} may be");
            return Err(Finding(Invariant::InFlightBounded, what));
        }
        Ok(())
    }

    fn check_given(&self, now: Micros, one: &Given, log: &impl LogView) -> Result<(), Finding> {
        let seq = one.seq;
        let entry = log.entry(seq).filter(|_| seq <= log.commit());
        let Some(entry) = entry else {
            let what = format!("{seq} is handed out, committed is {}", log.commit());
            return Err(Finding(Invariant::ConsumerWithinCommit, what));
        };
        if seq <= self.may_after {
            let what = format!("{seq} is handed out and lies before where the consumer began");
            return Err(Finding(Invariant::ConsumerPassesNothing, what));
        }
        if !self.looks_at(seq).any(|it| it.takes(entry.labels)) {
            let what = format!("{seq} is handed out, and no look at it took it");
            return Err(Finding(Invariant::FilterOfItsTime, what));
        }
        let fate = self.fates.get(&seq).copied().unwrap_or_default();
        if matches!(fate.done, Done::Surely | Done::Asked) {
            let what = format!("{seq} was acked and is handed out again");
            return Err(Finding(Invariant::AckedNeverAgain, what));
        }
        if fate.done == Done::Buried {
            let what = format!("{seq} was put away as a dead letter and is handed out again");
            return Err(Finding(Invariant::GivenUpByRule, what));
        }
        if one.lease.is_none() {
            return Ok(());
        }
        if fate.lease.is_some_and(|lease| !lease.lapsed) {
            let what = format!("{seq} is handed out while another worker has it");
            return Err(Finding(Invariant::LeaseExclusive, what));
        }
        // The clock may go back behind a first delivery, which was in time.
        let first = one.deliveries == 1 && fate.deliveries.is_none();
        let due = entry.labels.deliver_at.filter(|_| first);
        let due = due.unwrap_or_default().max(fate.not_before);
        if now < due {
            let what = format!("{seq} is handed out at {}, due at {}", now.0, due.0);
            return Err(Finding(Invariant::NotBeforeItsTime, what));
        }
        self.check_count(one, &fate)?;
        self.check_key(seq, entry.labels, log)
    }

    fn check_count(&self, one: &Given, fate: &Fate) -> Result<(), Finding> {
        let most = self.config.deliveries_max;
        let goes_on = match fate.deliveries {
            Some(before) => one.deliveries == before + 1,
            None => one.deliveries > fate.counted,
        };
        if goes_on && most.is_none_or(|most| one.deliveries <= most) {
            return Ok(());
        }
        let what = format!(
            "{} is handed out as number {} behind {:?}, on disk {}, of at most {most:?}",
            one.seq, one.deliveries, fate.deliveries, fate.counted
        );
        Err(Finding(Invariant::DeliveriesBounded, what))
    }

    /// No earlier message of the key may be open.
    fn check_key(&self, seq: Seq, labels: &Labels, log: &impl LogView) -> Result<(), Finding> {
        let Some(key) = labels.key.as_ref().filter(|_| self.config.order_by_key) else {
            return Ok(());
        };
        let from = self.checked.max(self.must_after).max(log.first().prev());
        let earlier = (from.0 + 1..seq.0).map(Seq).find(|seq| {
            let entry = log.entry(*seq);
            entry.is_some_and(|it| it.labels.key.as_ref() == Some(key))
                && self.owes(*seq, log)
                && self.fates.get(seq).is_none_or(|it| it.done == Done::No)
        });
        earlier.map_or(Ok(()), |earlier| {
            let what = format!("{seq} is handed out while {earlier} of its key is not done");
            Err(Finding(Invariant::KeyInOrder, what))
        })
    }

    /// Whether the consumer must hand the message out, be it done or not.
    fn owes(&self, seq: Seq, log: &impl LogView) -> bool {
        let entry = log.entry(seq);
        seq > self.must_after
            && seq > log.first().prev()
            && entry.is_some_and(|it| self.looks_at(seq).all(|one| one.takes(it.labels)))
    }

    /// A worker says what becomes of messages.
    pub(crate) fn settle(
        &mut self,
        now: Micros,
        items: &[(Seq, LeaseId, Settling)],
    ) -> Vec<Wanted> {
        let wanted = items.iter().map(|(seq, lease, what)| {
            let fate = self.fates.entry(*seq).or_default();
            let own = fate.lease.filter(|own| own.id == *lease);
            let holds = own.is_some_and(|own| !own.lapsed && own.until > now);
            let deliveries = fate.deliveries;
            fate.settle(now, *what, holds);
            Wanted {
                seq: *seq,
                what: *what,
                holds,
                deliveries,
            }
        });
        wanted.collect()
    }

    /// What came of it, when that is on disk.
    pub(crate) fn settled(
        &mut self,
        wanted: &Wanted,
        settled: Settled,
        on_record: bool,
    ) -> Result<(), Finding> {
        self.sure = true;
        let (seq, fate) = (wanted.seq, self.fates.entry(wanted.seq).or_default());
        let refused = matches!(settled, Settled::LeaseLost | Settled::Unknown);
        if wanted.holds && refused {
            let what = format!("{seq}: {settled:?}, although the lease had not lapsed");
            return Err(Finding(Invariant::LeaseExclusive, what));
        }
        match (wanted.what, settled) {
            (Settling::Ack, Settled::Acked | Settled::AlreadyAcked) => {
                if fate.deliveries > wanted.deliveries {
                    let what = format!("{seq} was handed out again behind an ack that held");
                    return Err(Finding(Invariant::AckedNeverAgain, what));
                }
                fate.done = Done::Surely;
                if !on_record {
                    let what = format!("{seq}: {settled:?}, and the record does not say so");
                    return Err(Finding(Invariant::AckedNeverAgain, what));
                }
            }
            (Settling::Ack, _) if fate.done == Done::Perhaps => fate.done = Done::No,
            (Settling::Nack { .. }, Settled::Nacked) => {
                let count = wanted.deliveries.unwrap_or_default();
                fate.counted = fate.counted.max(count);
            }
            _ => {}
        }
        Ok(())
    }

    /// Messages were done by being handed out, before or behind a move of the consumer.
    pub(crate) fn given_around_a_move(&mut self, given: &[Given]) {
        for one in given {
            let fate = self.fates.entry(one.seq).or_default();
            if fate.done == Done::No {
                fate.done = Done::Perhaps;
            }
        }
    }

    /// The answer is lost: what was asked for is done, or not.
    pub(crate) fn unknown(&mut self, limit: usize) {
        if self.on_delivery() {
            self.lost_max += limit as u64;
        }
    }

    /// The consumer gives a message up.
    pub(crate) fn give_up(
        &mut self,
        now: Micros,
        letter: (Seq, u32, GivenUp),
        log: &impl LogView,
    ) -> Result<(), Finding> {
        let (seq, deliveries, why) = letter;
        // What could not be put away is tried again, whatever is set by then.
        if !self.dying.insert(seq) {
            return Ok(());
        }
        let time = log.entry(seq).map_or(Micros::MAX, |entry| entry.time);
        let age = now.0.saturating_sub(time.0);
        let by_rule = match why {
            GivenUp::Deliveries => self
                .config
                .deliveries_max
                .is_some_and(|it| deliveries >= it),
            GivenUp::Expired => self.config.expire_ms.is_some_and(|it| age > it * 1_000),
        };
        let fate = self.fates.get(&seq).copied().unwrap_or_default();
        let leased = fate.lease.is_some_and(|lease| !lease.lapsed);
        let done = matches!(fate.done, Done::Surely | Done::Asked);
        if by_rule && deliveries > 0 && !leased && !done {
            return Ok(());
        }
        let what = format!("{seq} is given up as {why:?}, {deliveries} times handed out: {fate:?}");
        Err(Finding(Invariant::GivenUpByRule, what))
    }

    /// The consumer is told that a message is put away.
    pub(crate) fn buried(&mut self, seq: Seq) {
        if self.dying.remove(&seq) {
            self.fates.entry(seq).or_default().done = Done::Buried;
        }
    }

    /// The buffer is opened anew: leases are gone, and what was not answered may be.
    pub(crate) fn reopened(&mut self) {
        self.lose_move();
        self.dying.clear();
        self.checked = self.may_after;
        self.still = None;
        for fate in self.fates.values_mut() {
            fate.lease = None;
            fate.deliveries = None;
            fate.not_before = Micros(0);
            if matches!(fate.done, Done::Asked | Done::Buried) {
                fate.done = Done::Perhaps;
            }
        }
    }

    /// The consumer is moved in memory; on disk it is when that is answered.
    pub(crate) fn seek(&mut self, after: Seq) {
        let mut moved = Self::new(self.config.clone(), after);
        (moved.sure, moved.lost_max) = (self.sure, self.lost_max);
        moved.moves = self.moves + 1;
        let mut before = std::mem::replace(self, moved);
        self.before = std::mem::take(&mut before.before);
        self.before.push(before);
    }

    /// The move that made it the one of this number is on disk.
    pub(crate) fn sought(&mut self, moves: u64) {
        self.sure = true;
        self.before.retain(|before| before.moves >= moves);
    }

    /// Checks what recovery found of it, behind [`Self::reopened`].
    pub(crate) fn check_recovered(
        &self,
        found: Option<&Progress>,
        log: &impl LogView,
    ) -> Result<(), Finding> {
        let Some(found) = found else {
            let what = "its beginning was answered, and recovery knows nothing of it".to_owned();
            let lost = Err(Finding(Invariant::AckedNeverAgain, what));
            return if self.sure { lost } else { Ok(()) };
        };
        let done = |seq: Seq| found.is_done(seq);
        for (seq, fate) in self.fates.range(log.first()..) {
            if fate.done == Done::Surely && !done(*seq) {
                let what = format!("{seq} was acked and is open after recovery");
                return Err(Finding(Invariant::AckedNeverAgain, what));
            }
            let count = found.open.get(seq).copied();
            if fate.done == Done::No && count.is_some_and(|count| count < fate.counted) {
                let what = format!(
                    "{seq} was handed out {} times, found {count:?}",
                    fate.counted
                );
                return Err(Finding(Invariant::DeliveriesBounded, what));
            }
        }
        let open = |seq: &Seq| self.fates.get(seq).is_none_or(|it| it.done == Done::No);
        let mut passed = (self.must_after.0 + 1..=found.through.0).map(Seq);
        let wrong = passed.find(|seq| done(*seq) && open(seq) && self.owes(*seq, log));
        match wrong.filter(|_| !self.on_delivery()) {
            Some(seq) => {
                let what = format!("{seq} is done after recovery, and nobody acked it");
                Err(Finding(Invariant::ConsumerPassesNothing, what))
            }
            None => Ok(()),
        }
    }

    /// It stands here or there: it owes what all owe, and may hand out what any may.
    fn lose_move(&mut self) {
        for before in std::mem::take(&mut self.before) {
            self.may_after = self.may_after.min(before.may_after);
            self.must_after = self.must_after.max(before.must_after);
            self.looks.extend(before.looks);
            for (seq, old) in before.fates {
                let fate = self.fates.entry(seq).or_default();
                if old.done != Done::No {
                    fate.done = Done::Perhaps;
                }
            }
            for fate in self.fates.values_mut() {
                fate.counted = 0;
                if fate.done != Done::No {
                    fate.done = Done::Perhaps;
                }
            }
        }
    }

    /// Checks where the consumer says that it stands.
    pub(crate) fn stands(&mut self, cursor: Seq, log: &impl LogView) -> Result<(), Finding> {
        // Damage takes back what was committed.
        if cursor > log.commit().max(self.must_after) && !log.rotted() {
            let what = format!("the cursor is {cursor}, committed is {}", log.commit());
            return Err(Finding(Invariant::ConsumerWithinCommit, what));
        }
        if let Some(change) = log.still() {
            let before = self.still.filter(|(known, _)| *known == change);
            self.still = Some((change, cursor));
            if before.is_some_and(|(_, before)| before != cursor) {
                let what = format!("the cursor moves from {before:?} to {cursor}");
                return Err(Finding(Invariant::PauseStopsConsumers, what));
            }
        }
        if self.on_delivery() {
            return Ok(());
        }
        let passed = (self.checked.0 + 1..=cursor.0).map(Seq);
        let open = |seq: &Seq| self.fates.get(seq).is_none_or(|it| it.done == Done::No);
        let wrong = passed.filter(open).find(|seq| self.owes(*seq, log));
        self.checked = cursor;
        wrong.map_or(Ok(()), |seq| {
            let what = format!("the cursor is {cursor}, and {seq} is not done");
            Err(Finding(Invariant::ConsumerPassesNothing, what))
        })
    }

    /// What must be done at the end and is not.
    pub(crate) fn left(&self, log: &impl LogView) -> Option<Seq> {
        let open = |seq: &Seq| self.fates.get(seq).is_none_or(|it| it.done == Done::No);
        let all = (self.must_after.0 + 1..=log.commit().0).map(Seq);
        let mut left = all.filter(open).filter(|seq| self.owes(*seq, log));
        let allowed = usize::try_from(self.lost_max).expect("a run is short");
        left.nth(if self.on_delivery() { allowed } else { 0 })
    }
}

impl Fate {
    fn settle(&mut self, now: Micros, what: Settling, holds: bool) {
        match (what, holds) {
            (Settling::Ack, true) => (self.done, self.lease) = (Done::Asked, None),
            (Settling::Ack, false)
                if self.done == Done::No && self.lease.is_none_or(|it| it.lapsed) =>
            {
                self.done = Done::Perhaps;
            }
            (Settling::Nack { delay_ms }, true) => {
                self.not_before = Micros(now.0 + delay_ms * 1_000);
                self.lease = None;
            }
            (Settling::Return, true) => {
                self.deliveries = self.deliveries.map(|count| count - 1);
                self.lease = None;
            }
            (Settling::Extend { lease_ms }, true) => {
                if let Some(lease) = &mut self.lease {
                    lease.until = Micros(now.0 + lease_ms * 1_000);
                }
            }
            _ => {}
        }
    }
}
