//! The consumers of a run and the account of each, by epoch: what a primary may hand out follows
//! from what was answered in its own epoch and what it found of those before.

use std::collections::BTreeMap;

use hbuf_core::consumer::{Given, Progress};
use hbuf_core::ids::{Epoch, Hash, Micros, Seq, Uuid};
use hbuf_core::input::BufferState;
use hbuf_core::segment::LogKind;

use super::files::{LogId, is_whole};
use super::reads::each_message;
use super::{About, World};
use crate::invariants::Invariant;
use crate::kinds::Kind;
use crate::ledger::{Chosen, Finding, Ledger, LogView};
use crate::model::Labels;
use crate::tracefile::EventId;

/// A consumer of the manager's record.
#[derive(Clone, Debug)]
pub(super) struct Consumer {
    pub(super) uuid: Uuid,
    pub(super) name: String,
    /// The buffers that it reads.
    pub(super) members: Vec<usize>,
}

/// A consumer in one of its buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) consumer: usize,
    pub(super) buffer: usize,
}

/// What is known of it in one epoch.
#[derive(Clone, Debug, Default)]
struct Account {
    /// None before it was begun.
    ledger: Option<Ledger>,
    /// What the primary of the epoch found of it.
    found: Option<Progress>,
    /// Something of this epoch is surely on record: what epochs before have left beside it is gone.
    proved: bool,
    /// Somebody asked to move it.
    sought: bool,
    /// Where it stood, and how often it had been moved by then.
    stood: Option<(u64, Seq)>,
}

/// The messages of a buffer as whoever chose them knows them.
type Messages = BTreeMap<Seq, (Labels, Micros)>;

/// All consumers of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Crew {
    pub(super) consumers: Vec<Consumer>,
    accounts: BTreeMap<At, BTreeMap<Epoch, Account>>,
    messages: BTreeMap<usize, Messages>,
    /// The cursor that is surely on record, and the epoch of whoever said so; none behind a move.
    cursors: BTreeMap<At, (Epoch, Option<Seq>)>,
    /// Dead letters that were put away: where, and the id of the message.
    pub(super) letters: BTreeMap<(At, Seq, Hash), usize>,
}

/// What a primary shows of a buffer's log.
pub(super) struct Seen<'a> {
    messages: Option<&'a Messages>,
    first: Seq,
    commit: Seq,
}

impl LogView for Seen<'_> {
    fn first(&self) -> Seq {
        self.first
    }

    fn commit(&self) -> Seq {
        self.commit
    }

    fn entry(&self, seq: Seq) -> Option<Chosen<'_>> {
        let (labels, time) = self.messages?.get(&seq)?;
        let time = *time;
        Some(Chosen { labels, time })
    }

    fn still(&self) -> Option<u64> {
        None
    }

    fn rotted(&self) -> bool {
        false
    }
}

impl Crew {
    /// Each consumer in each of its buffers.
    pub(super) fn places(&self) -> impl Iterator<Item = At> + '_ {
        let consumers = self.consumers.iter().enumerate();
        consumers.flat_map(|(consumer, it)| {
            let buffers = it.members.iter();
            buffers.map(move |buffer| At {
                consumer,
                buffer: *buffer,
            })
        })
    }

    pub(super) fn number(&self, uuid: Uuid) -> Option<usize> {
        self.consumers.iter().position(|it| it.uuid == uuid)
    }

    fn account(&mut self, at: At, epoch: Epoch) -> &mut Account {
        let epochs = self.accounts.entry(at).or_default();
        epochs.entry(epoch).or_default()
    }

    /// The account of an epoch, once the consumer was begun.
    pub(super) fn ledger(&mut self, at: At, epoch: Epoch) -> Option<&mut Ledger> {
        let account = self.accounts.get_mut(&at)?.get_mut(&epoch)?;
        account.ledger.as_mut()
    }

    /// It begins in an epoch, unless a beginning was answered before.
    pub(super) fn begins(&mut self, at: At, epoch: Epoch, ledger: Ledger) {
        let known = &mut self.account(at, epoch).ledger;
        if known.as_ref().is_none_or(|known| !known.sure) {
            *known = Some(ledger);
        }
    }

    /// The first message of this time or later.
    pub(super) fn first_since(
        &self,
        buffer: usize,
        (first, commit): (Seq, Seq),
        time: Micros,
    ) -> Option<Seq> {
        if first > commit {
            return None;
        }
        let mut kept = self.messages.get(&buffer)?.range(first..=commit);
        kept.find(|(_, (_, at))| *at >= time).map(|(seq, _)| *seq)
    }

    /// Something of an epoch was answered that is on record.
    pub(super) fn proved(&mut self, at: At, epoch: Epoch) {
        self.account(at, epoch).proved = true;
    }

    /// Somebody asks a primary to move it.
    pub(super) fn sought(&mut self, at: At, epoch: Epoch) {
        self.account(at, epoch).sought = true;
        let known = self.cursors.entry(at).or_insert((epoch, None));
        *known = (known.0.max(epoch), None);
    }

    /// Messages that are done by being handed out went to nobody, perhaps.
    pub(super) fn gone(&mut self, at: At, epoch: Epoch, limit: usize) {
        let later = self.accounts.get_mut(&at).into_iter();
        let later = later.flat_map(|epochs| epochs.range_mut(epoch..));
        for ledger in later.filter_map(|(_, account)| account.ledger.as_mut()) {
            ledger.unknown(limit);
        }
    }

    /// Messages that are done by being handed out are answered in an epoch: a later one may have
    /// found that already.
    pub(super) fn given_before(&mut self, at: At, epoch: Epoch, given: &[Given]) {
        let later = self.accounts.get_mut(&at).into_iter();
        let later = later.flat_map(|epochs| epochs.range_mut(epoch.next()..));
        for ledger in later.filter_map(|(_, account)| account.ledger.as_mut()) {
            ledger.given_around_a_move(given);
        }
    }

    /// An ack of an epoch was answered when there is a later one already: it was found there.
    fn acked(&mut self, at: At, epoch: Epoch, seq: Seq) -> Result<(), Finding> {
        let Some(epochs) = self.accounts.get_mut(&at) else {
            return Ok(());
        };
        let sought = epochs.get(&epoch).is_some_and(|account| account.sought);
        for (later, account) in epochs.range_mut(epoch.next()..) {
            if sought || account.sought {
                return Ok(());
            }
            let found = account.found.as_ref();
            if !found.is_some_and(|found| found.is_done(seq)) {
                let what = format!(
                    "{seq} is acked in epoch {epoch}, and the primary of epoch {later} did not find it"
                );
                return Err(Finding(Invariant::AckedNeverAgain, what));
            }
            if let Some(ledger) = &mut account.ledger {
                ledger.acked_before(seq);
            }
        }
        Ok(())
    }
}

impl World {
    /// Something happens to a consumer.
    pub(super) fn consumer_event(
        &mut self,
        cause: EventId,
        kind: Kind,
        host: Option<usize>,
        at: At,
        seqs: Option<(Seq, Seq)>,
    ) -> EventId {
        let note = match self.trace.wants_lines() {
            true => self.crew.consumers[at.consumer].name.clone(),
            false => String::new(),
        };
        let about = About {
            host,
            buffer: Some(at.buffer),
            seqs: seqs.map(|(first, last)| (first.0, last.0)),
            note: &note,
            ..About::default()
        };
        self.event(&[cause], kind, &about)
    }

    pub(super) fn finding(&mut self, cause: EventId, at: At, checked: Result<(), Finding>) {
        if let Err(Finding(invariant, what)) = checked
            && !self.lost_some(at.buffer)
        {
            let consumer = &self.crew.consumers[at.consumer].name;
            let buffer = &self.names.buffers[at.buffer];
            let what = format!("{consumer} in {buffer}: {what}");
            self.broke(cause, cluster_name(invariant), what);
        }
    }

    /// The messages that a primary has come to know as committed, as consumers choose by them.
    pub(super) fn learn_messages(&mut self, host: usize, buffer: usize) {
        let uuid = self.buffers[buffer];
        let led = self.hosts[host].shard.buffer(&uuid);
        let Some(commit) = led.map(|led| led.commit()) else {
            return;
        };
        let id = LogId {
            buffer,
            log: LogKind::Messages,
        };
        let known = self.crew.messages.entry(buffer).or_default();
        let last = known.last_key_value().map_or(Seq::ZERO, |(seq, _)| *seq);
        if last >= commit {
            return;
        }
        // Where they can be read: the primary's disk may rot.
        let hosts = std::iter::once(host).chain(0..self.hosts.len());
        let streams = hosts.map(|at| {
            self.hosts[at].log(id);
            let this = &self.hosts[at];
            this.files[&id].stream(&this.disk, last, commit)
        });
        let whole = streams.into_iter().find(|stream| is_whole(stream, commit));
        let stream = whole.unwrap_or_default();
        each_message(&stream, |record| {
            let said = (Labels::of(record.lines), record.line.time);
            known.insert(record.line.seq, said);
        });
    }

    /// What a primary shows of a buffer; and the account of a consumer there in its epoch.
    pub(super) fn account_with(
        &mut self,
        host: usize,
        at: At,
        epoch: Epoch,
        check: impl FnOnce(&mut Ledger, &Seen<'_>) -> Result<(), Finding>,
    ) -> Result<(), Finding> {
        self.learn_messages(host, at.buffer);
        let led = self.hosts[host].shard.buffer(&self.buffers[at.buffer]);
        let first = led.map_or(Seq::FIRST, |led| led.first());
        // What a primary begins with is committed at once where it is all of the in-sync set.
        let commit = led.map_or(Seq::ZERO, |led| led.commit());
        let commit = commit.max(self.watch.committed_through(at.buffer));
        let seen = Seen {
            messages: self.crew.messages.get(&at.buffer),
            first,
            commit,
        };
        let account = self.crew.accounts.get_mut(&at);
        let account = account.and_then(|epochs| epochs.get_mut(&epoch));
        match account.and_then(|account| account.ledger.as_mut()) {
            Some(ledger) => check(ledger, &seen),
            None => Ok(()),
        }
    }

    /// An ack was answered.
    pub(super) fn acked_in(&mut self, cause: EventId, at: At, epoch: Epoch, seq: Seq) {
        let checked = self.crew.acked(at, epoch, seq);
        self.finding(cause, at, checked);
    }

    /// A node leads a buffer from now on, and this is what it knows of its consumers.
    pub(super) fn consumers_appointed(
        &mut self,
        cause: EventId,
        host: usize,
        (buffer, epoch): (usize, Epoch),
        found: &BTreeMap<Uuid, Progress>,
    ) {
        let uuid = self.buffers[buffer];
        let led = self.hosts[host].shard.buffer(&uuid);
        let damaged = led.is_none_or(|led| led.damaged().is_some());
        for at in self.crew.places().collect::<Vec<_>>() {
            if at.buffer != buffer {
                continue;
            }
            let found = found.get(&self.crew.consumers[at.consumer].uuid).cloned();
            let epochs = self.crew.accounts.entry(at).or_default();
            let before = epochs.range(..=epoch);
            let from = before.rev().find(|(_, account)| account.proved);
            let from = from.map_or(Epoch(0), |(epoch, _)| *epoch);
            let earlier = epochs.range(from..=epoch);
            let earlier = earlier.filter_map(|(_, account)| account.ledger.as_ref());
            let ledger = Ledger::heir(&earlier.collect::<Vec<_>>());
            let account = Account {
                ledger,
                found: found.clone(),
                ..Account::default()
            };
            epochs.insert(epoch, account);
            if damaged {
                continue;
            }
            let checked = self.account_with(host, at, epoch, |ledger, seen| {
                ledger.check_recovered(found.as_ref(), seen)
            });
            self.finding(cause, at, checked);
            self.check_found_cursor(cause, at, epoch, found.as_ref());
        }
    }

    fn check_found_cursor(
        &mut self,
        cause: EventId,
        at: At,
        epoch: Epoch,
        found: Option<&Progress>,
    ) {
        let Some((before, Some(cursor))) = self.crew.cursors.get(&at).copied() else {
            return;
        };
        let found = found.map(Progress::cursor);
        if before < epoch && found < Some(cursor) && !self.lost_some(at.buffer) {
            let consumer = &self.crew.consumers[at.consumer].name;
            let buffer = &self.names.buffers[at.buffer];
            let what = format!(
                "{consumer} in {buffer} stood at {cursor} in epoch {before}, and the primary of epoch {epoch} found {found:?}"
            );
            self.broke(cause, "ack-cursor-monotonic", what);
        }
    }

    /// Looks at where a consumer stands, by its primary's word.
    pub(super) fn check_stands(&mut self, cause: EventId, host: usize, at: At) {
        let uuid = self.crew.consumers[at.consumer].uuid;
        let led = self.hosts[host].shard.buffer(&self.buffers[at.buffer]);
        let Some(led) = led.filter(|led| led.damaged().is_none()) else {
            return;
        };
        let Some(standing) = led.consumer_standing(&uuid) else {
            return;
        };
        let (epoch, cursor) = (led.epoch(), standing.cursor);
        let log = led.leader().log(LogKind::Cursors);
        let on_record = (log.commit == log.end).then(|| led.consumer_recorded(&uuid));
        if let Some(Some(recorded)) = on_record {
            let known = self.crew.cursors.entry(at).or_insert((epoch, None));
            if known.0 <= epoch {
                *known = (epoch, Some(recorded.cursor()));
            }
        }
        let checked =
            self.account_with(host, at, epoch, |ledger, seen| ledger.stands(cursor, seen));
        self.finding(cause, at, checked);
        let moves = self.crew.ledger(at, epoch).map_or(0, |ledger| ledger.moves);
        let stood = self.crew.account(at, epoch).stood.replace((moves, cursor));
        let back = stood.is_some_and(|(then, before)| then == moves && before > cursor);
        if back && !self.lost_some(at.buffer) {
            let consumer = &self.crew.consumers[at.consumer].name;
            let what = format!("{consumer} goes from {stood:?} back to {cursor}");
            self.broke(cause, "ack-cursor-monotonic", what);
        }
    }

    /// Whether every consumer is through with what is committed.
    pub(super) fn consumers_at_rest(&self) -> Result<(), String> {
        match self.crew.places().find_map(|at| self.left_for(at)) {
            Some(what) => Err(what),
            None => Ok(()),
        }
    }

    /// Whether a consumer may stay behind: its buffer stands still, or that of its dead letters
    /// takes none, and nobody opened it again.
    fn may_stay_behind(&self, at: At) -> bool {
        let consumer = self.crew.consumers[at.consumer].uuid;
        let catalog = self.newest_catalog();
        let record = catalog.consumer(consumer);
        let letters = record.and_then(|record| record.config.dead_letter);
        let letters = letters.map(|uuid| self.index(uuid));
        let still = self.newest_state(at.buffer).0 == BufferState::Paused;
        let shut = |buffer: usize| {
            self.newest_state(buffer).0 != BufferState::Open || self.is_offline(buffer)
        };
        still || self.is_offline(at.buffer) || letters.is_some_and(shut)
    }

    /// What is left of a buffer for a consumer; nothing where nobody can say.
    pub(super) fn left_for(&self, at: At) -> Option<String> {
        if self.may_stay_behind(at) {
            return None;
        }
        let consumer = &self.crew.consumers[at.consumer];
        let name = &self.names.buffers[at.buffer];
        let primary = self.newest(at.buffer).and_then(|it| it.primary);
        let host = primary.and_then(|node| self.host_of(node));
        let led = host.and_then(|host| self.hosts[host].shard.buffer(&self.buffers[at.buffer]));
        let Some(led) = led else {
            return Some(format!("{name} has no primary"));
        };
        let (commit, standing) = (led.commit(), led.consumer_standing(&consumer.uuid));
        let cursor = standing.map_or(Seq::ZERO, |standing| standing.cursor);
        (standing.is_none() || cursor < commit).then(|| {
            let consumer = &consumer.name;
            format!("{consumer} stands at {cursor} of {name}, {commit} is committed")
        })
    }

    /// Everything came to rest: what matches and was never done was passed.
    pub(super) fn judge_consumers(&mut self) {
        for at in self.crew.places().collect::<Vec<_>>() {
            let primary = self.newest(at.buffer).and_then(|it| it.primary);
            let Some(host) = primary.and_then(|node| self.host_of(node)) else {
                continue;
            };
            let led = self.hosts[host].shard.buffer(&self.buffers[at.buffer]);
            let led = led.filter(|led| led.damaged().is_none() && !self.may_stay_behind(at));
            let Some(epoch) = led.map(|led| led.epoch()) else {
                continue;
            };
            let checked = self.account_with(host, at, epoch, |ledger, seen| {
                ledger.left(seen).map_or(Ok(()), |seq| {
                    let what = format!("{seq} is committed, and was not handed out");
                    Err(Finding(Invariant::ConsumerPassesNothing, what))
                })
            });
            self.finding(EventId(0), at, checked);
        }
    }
}

/// What the world of several nodes calls what the account finds: it has a word of its own for what
/// a failover could break, and for what a filter takes.
const fn cluster_name(invariant: Invariant) -> &'static str {
    match invariant {
        Invariant::AckedNeverAgain => "consumer-ack-not-lost",
        Invariant::ConsumerPassesNothing | Invariant::FilterOfItsTime => "filter-complete",
        other => other.name(),
    }
}
