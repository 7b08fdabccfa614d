//! What must hold, looked at whenever something happens that could break it, and in the end.

use std::collections::BTreeMap;

use hbuf_core::ids::{Epoch, Hash, NodeId, Seq, Uuid};
use hbuf_core::record::Kind as RecordKind;
use hbuf_core::recovery::Repair;
use hbuf_core::replication::{Assignment, LOGS, Member};
use hbuf_core::segment::LogKind;
use hbuf_manager::State as _;

use super::files::LogId;
use super::host::Host;
use super::reads::each_message;
use super::states::Halts;
use super::{About, World};
use crate::history::{FinalLog, HistoryStart, LogRecord, check_logs};
use crate::kinds::Kind;
use crate::tracefile::EventId;

/// A node that has not ticked for so many microseconds stands still.
const STANDS_US: u64 = 1_000_000;

/// Something that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterBroken {
    /// The name of what should have.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
    /// The number of the event at which it was seen.
    pub event: u64,
}

/// What must hold in a world of several nodes while it runs, each with what it says. What clients
/// were told is judged in the end by [`crate::history::Check`]s.
pub const CLUSTER_INVARIANTS: [(&str, &str); 25] = [
    (
        "one-primary-per-epoch",
        "no two nodes are a buffer's primary in one epoch",
    ),
    (
        "one-leader-per-term",
        "no two members lead the manager's group in one term",
    ),
    (
        "catalogs-agree",
        "all nodes that applied a command have the same catalog",
    ),
    (
        "commit-on-in-sync",
        "what is committed is durable on the whole in-sync set",
    ),
    (
        "prefix-agreement",
        "what is committed at one seq is the same everywhere and stays the same",
    ),
    (
        "committed-never-cut",
        "no member of the in-sync set cuts off what is committed, nor comes to where it would have to",
    ),
    (
        "moves-leave-enough",
        "no copy leaves a buffer before as many that stay hold all of it as its move began with",
    ),
    (
        "halted-takes-nothing",
        "a buffer that was paused or closed takes no message until it is opened",
    ),
    (
        "paused-stays-as-it-is",
        "nothing of a paused buffer changes on the disks that hold all of it",
    ),
    (
        "clean-start-mends-nothing",
        "a disk whose process stopped in order is whole at the next start",
    ),
    (
        "core-makes-progress",
        "a majority without faults decides something, whatever the others do",
    ),
    (
        "consumer-ack-not-lost",
        "a message whose ack was answered is not handed out again, whoever leads",
    ),
    (
        "ack-cursor-monotonic",
        "the cursor of a consumer never goes back, whoever leads, unless somebody moves it",
    ),
    (
        "filter-complete",
        "a filter lets through all that matches and nothing else",
    ),
    (
        "topic-read-monotonic",
        "a read of a topic goes on where the one before ended, and skips and repeats nothing",
    ),
    (
        "consumer-within-commit",
        "a consumer is handed only what is committed",
    ),
    (
        "pause-stops-consumers",
        "a paused buffer's consumers stand still",
    ),
    (
        "lease-exclusive",
        "in one epoch a leased message is one worker's until the lease lapses",
    ),
    (
        "in-flight-bounded",
        "in one epoch no more messages are leased than may be",
    ),
    (
        "key-in-order",
        "with order by key, a message waits for the earlier ones of its key",
    ),
    (
        "deliveries-bounded",
        "no message is handed out more often than it may be",
    ),
    (
        "not-before-its-time",
        "a message that was given back is not handed out before its time",
    ),
    (
        "given-up-by-rule",
        "a message is given up when it was handed out too often or is too old",
    ),
    (
        "dead-letter-once",
        "a dead letter that was put away is there once",
    ),
    (
        "converges",
        "when the faults have ended, every buffer has a primary, its copies agree, and its consumers are through with it",
    ),
];

/// What is remembered for the checks.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    pub(super) halts: Halts,
    durable: BTreeMap<(usize, LogId), Seq>,
    /// The furthest that each disk ever held a log: what a node said before it lost its disk counts
    /// as long as nobody knows that it did.
    ever: BTreeMap<(usize, LogId), Seq>,
    /// Epoch and checksum of each committed message, of each buffer and history.
    committed: BTreeMap<(usize, usize), Vec<(u32, u32)>>,
    /// When somebody led first in the history behind this one.
    pub(super) ended_at: BTreeMap<(usize, usize), u64>,
    primaries: BTreeMap<(usize, Epoch), usize>,
    leaders: BTreeMap<u64, usize>,
    catalogs: BTreeMap<u64, Hash>,
    /// Each buffer's record as of this index of the manager's log.
    records: (u64, BTreeMap<usize, Assignment>),
    pub(super) broken: Option<ClusterBroken>,
}

impl Watch {
    /// Whether a disk has messages of a buffer behind this one.
    pub(super) fn holds_beyond(&self, host: usize, buffer: usize, end: Seq) -> bool {
        let log = LogKind::Messages;
        let durable = self.durable.get(&(host, LogId { buffer, log }));
        durable.is_some_and(|durable| *durable > end)
    }

    /// Whether a disk has the messages of a buffer through this one.
    pub(super) fn holds_through(&self, host: usize, buffer: usize, end: Seq) -> bool {
        let log = LogKind::Messages;
        let durable = self.durable.get(&(host, LogId { buffer, log }));
        durable.copied().unwrap_or_default() >= end
    }

    pub(super) fn durable(&mut self, host: usize, id: LogId, through: Seq) {
        for known in [&mut self.durable, &mut self.ever] {
            let known = known.entry((host, id)).or_default();
            *known = through.max(*known);
        }
    }

    pub(super) fn recovered(&mut self, host: usize, id: LogId, last: Seq) {
        self.durable(host, id, last);
        self.durable.insert((host, id), last);
    }

    pub(super) fn cut(&mut self, host: usize, id: LogId, to: Seq) {
        self.halts.disturbed(host, id.buffer);
        let known = self.durable.entry((host, id)).or_default();
        *known = to.min(*known);
    }

    pub(super) fn began(&mut self, host: usize, id: LogId, at: Seq) {
        self.halts.disturbed(host, id.buffer);
        self.durable(host, id, at);
        self.durable.insert((host, id), at);
    }

    pub(super) fn reformatted(&mut self, host: usize) {
        self.halts.reformatted(host);
        self.durable.retain(|(of, _), _| *of != host);
    }

    /// What is committed of a buffer in its newest history.
    pub(super) fn committed_through(&self, buffer: usize) -> Seq {
        let of_buffer = self.committed.range((buffer, 0)..=(buffer, usize::MAX));
        Seq(of_buffer.last().map_or(0, |(_, list)| list.len()) as u64)
    }

    /// The same in one of its histories.
    fn committed_in(&self, buffer: usize, history: usize) -> Seq {
        Seq(self.committed.get(&(buffer, history)).map_or(0, Vec::len) as u64)
    }

    /// The history behind this one begins with what was kept of it.
    pub(super) fn begin_history(&mut self, buffer: usize, before: usize, kept: Seq) {
        if self.committed.contains_key(&(buffer, before + 1)) {
            return;
        }
        let mut list = self
            .committed
            .get(&(buffer, before))
            .cloned()
            .unwrap_or_default();
        list.truncate(usize::try_from(kept.0).unwrap_or(usize::MAX));
        self.committed.insert((buffer, before + 1), list);
        self.halts.ended(buffer);
    }
}

impl World {
    pub(super) fn broke(&mut self, cause: EventId, invariant: &'static str, what: String) {
        if self.watch.broken.is_some() {
            return;
        }
        let note = format!("{invariant}: {what}");
        let about = About {
            note: &note,
            ..About::default()
        };
        self.event(&[cause], Kind::InvariantBroken, &about);
        let event = self.trace.events();
        self.watch.broken = Some(ClusterBroken {
            invariant,
            what,
            event,
        });
    }

    /// Recovery has nothing to do for a disk that was left in order, but where it was damaged.
    pub(super) fn check_clean(
        &mut self,
        cause: EventId,
        host: usize,
        buffer: usize,
        found: &hbuf_core::recovery::Recovered,
    ) {
        // A segment of before the first record that was not filled in to its end goes.
        let first = found.opening.first;
        let part = |it: &Repair| match it {
            Repair::Remove { log, file } => *log == LogKind::Messages && *file < first,
            _ => false,
        };
        let mended = !found.repairs.iter().all(part) || found.torn_bytes > 0;
        if self.hosts[host].clean_before && mended && found.damage.is_none() {
            let (node, name) = (&self.names.nodes[host], &self.names.buffers[buffer]);
            let (repairs, torn) = (found.repairs.len(), found.torn_bytes);
            let what = format!("{name} on {node}: {repairs} repairs, {torn} torn bytes");
            self.broke(cause, "clean-start-mends-nothing", what);
        }
    }

    /// What the manager has decided of a buffer, as the node knows that is ahead of all.
    pub(super) fn newest(&self, buffer: usize) -> Option<&Assignment> {
        let known = self.hosts.iter().filter_map(|host| {
            let assignment = host.manager.assignment(self.buffers[buffer])?;
            Some((assignment.version, assignment))
        });
        known.max_by_key(|(version, _)| *version).map(|(_, it)| it)
    }

    /// A primary has committed.
    pub(super) fn committed(&mut self, cause: EventId, host: usize, buffer: usize, commit: Seq) {
        let history = self.history_of(buffer, self.epoch_of(host, buffer));
        self.begin_history(buffer, history);
        let known = self.watch.committed_in(buffer, history);
        let about = About {
            host: Some(host),
            buffer: Some(buffer),
            seqs: Some((known.next().0.min(commit.0), commit.0)),
            ..About::default()
        };
        let event = self.event(&[cause], Kind::CommitAdvanced, &about);
        let uuid = self.buffers[buffer];
        let id = LogId {
            buffer,
            log: LogKind::Messages,
        };
        let led = self.hosts[host].shard.buffer(&uuid);
        let members: Vec<_> = led.map_or_else(Vec::new, |led| {
            let in_sync = &led.leader().assignment().in_sync;
            in_sync.keys().copied().collect()
        });
        for member in members {
            let Some(at) = self.hosts.iter().position(|host| host.id == member) else {
                continue;
            };
            let durable = self.watch.ever.get(&(at, id)).copied();
            if durable.unwrap_or_default() < commit {
                let what = format!(
                    "buffer {buffer}: {commit} is committed, {} has {:?} on disk",
                    self.names.nodes[at],
                    durable.map(|seq| seq.0)
                );
                self.broke(event, "commit-on-in-sync", what);
            }
        }
        self.note_committed(event, host, id, commit);
        // What a primary of an older history goes on with is lost anyway.
        if self.is_of_newest(buffer, history) {
            self.check_halted(event, buffer, commit);
        }
    }

    fn note_committed(&mut self, cause: EventId, host: usize, id: LogId, commit: Seq) {
        self.hosts[host].log(id);
        let history = self.history_of(id.buffer, self.epoch_of(host, id.buffer));
        let files = &self.hosts[host].files[&id];
        let list = self
            .watch
            .committed
            .entry((id.buffer, history))
            .or_default();
        let mut at = list.len() as u64;
        while at < commit.0 {
            at += 1;
            // What retention dropped, or a copy never had, nobody can compare.
            list.push(files.identity(Seq(at)).unwrap_or_default());
        }
        self.compare(cause, host, id, (Seq(commit.0.saturating_sub(3)), commit));
    }

    /// Whether a node's records are those that were committed.
    fn compare(&mut self, cause: EventId, host: usize, id: LogId, (after, through): (Seq, Seq)) {
        if id.log != LogKind::Messages {
            return;
        }
        let history = self.history_of(id.buffer, self.epoch_of(host, id.buffer));
        let list = self.watch.committed.get(&(id.buffer, history));
        let files = &self.hosts[host].files[&id];
        let last = through.0.min(list.map_or(0, Vec::len) as u64);
        let differs = (after.0 + 1..=last).find(|seq| {
            let known = list.and_then(|list| list.get(usize::try_from(seq - 1).ok()?));
            let known = known.copied().filter(|known| *known != (0, 0));
            let here = files.identity(Seq(*seq));
            // What rotted below a mark is damage that nobody has read yet, and no other message.
            let other = known.is_some() && here.is_some() && known != here;
            other && files.is_sound_at(&self.hosts[host].disk, Seq(*seq))
        });
        if let Some(seq) = differs {
            let node = self.names.nodes[host].clone();
            let buffer = id.buffer;
            let what = format!("buffer {buffer}: {node} has another message at {seq}");
            self.broke(cause, "prefix-agreement", what);
        }
    }

    /// A copy took records. Those of a copy that is none of the in-sync set may still be cut.
    pub(super) fn check_copied(
        &mut self,
        cause: EventId,
        host: usize,
        id: LogId,
        span: (Seq, Seq),
    ) {
        let member = self.is_member(host, id.buffer);
        if member {
            self.compare(cause, host, id, span);
        }
    }

    fn is_member(&self, host: usize, buffer: usize) -> bool {
        let node = self.hosts[host].id;
        self.newest(buffer)
            .is_some_and(|it| it.in_sync.contains_key(&node))
    }

    /// A copy is about to cut its log back.
    pub(super) fn check_cut(&mut self, cause: EventId, host: usize, id: LogId, to: Seq) {
        if id.log != LogKind::Messages || !self.is_member(host, id.buffer) {
            return;
        }
        self.hosts[host].log(id);
        let newest = self.newest(id.buffer).map_or(0, |it| it.ended.len());
        let committed = self.watch.committed.get(&(id.buffer, newest));
        let files = &self.hosts[host].files[&id];
        let lost = committed.and_then(|list| {
            let behind = list.iter().enumerate().skip(usize::try_from(to.0).ok()?);
            let mut same =
                behind.filter(|(at, known)| files.identity(Seq(*at as u64 + 1)) == Some(**known));
            same.next().map(|(at, _)| at + 1)
        });
        if let Some(seq) = lost {
            let (node, buffer) = (self.names.nodes[host].clone(), id.buffer);
            let what = format!("buffer {buffer}: {node} cuts back to {to}, {seq} is committed");
            self.broke(cause, "committed-never-cut", what);
        }
    }

    /// A node leads a buffer from now on.
    pub(super) fn check_appointed(
        &mut self,
        cause: EventId,
        host: usize,
        buffer: usize,
        epoch: Epoch,
    ) {
        let known = *self.watch.primaries.entry((buffer, epoch)).or_insert(host);
        if known != host {
            let (one, two) = (&self.names.nodes[known], &self.names.nodes[host]);
            let what = format!("buffer {buffer}: {one} and {two} lead in epoch {epoch}");
            self.broke(cause, "one-primary-per-epoch", what);
        }
        // Who hears late that it was appointed leads in an epoch of before.
        if self.newest(buffer).is_some_and(|it| it.epoch > epoch) {
            return;
        }
        let history = self.history_of(buffer, epoch);
        self.begin_history(buffer, history);
        let committed = self.watch.committed_in(buffer, history);
        let uuid = self.buffers[buffer];
        let end = self.hosts[host].shard.buffer(&uuid).map(|it| it.end());
        let damaged = self.hosts[host]
            .shard
            .buffer(&uuid)
            .and_then(|it| it.damaged());
        if end < Some(committed) && damaged.is_none() {
            let node = self.names.nodes[host].clone();
            let end = end.unwrap_or_default();
            let what =
                format!("buffer {buffer}: {node} leads with {end}, {committed} is committed");
            self.broke(cause, "acked-never-lost", what);
        }
        let kept = self.newest(buffer).map(|it| it.kept_from);
        let first = self.hosts[host].shard.buffer(&uuid).map(|it| it.first());
        if first > kept {
            let (node, first) = (&self.names.nodes[host], first.unwrap_or_default());
            let what = format!("buffer {buffer}: {node} leads with what is from {first} on");
            self.broke(cause, "acked-never-lost", what);
        }
        let id = LogId {
            buffer,
            log: LogKind::Messages,
        };
        self.hosts[host].log(id);
        self.compare(cause, host, id, (Seq::ZERO, committed));
    }

    pub(super) fn check_leader(&mut self, host: usize, term: u64) {
        let known = *self.watch.leaders.entry(term).or_insert(host);
        if known != host {
            let what = format!("two members lead in term {term}");
            self.broke(EventId(0), "one-leader-per-term", what);
        }
    }

    /// Rarely, for it costs much: every sixteenth index.
    pub(super) fn check_catalog(&mut self, host: usize, index: u64) {
        if !index.is_multiple_of(16) {
            return;
        }
        let hash = self.hosts[host].manager.catalog.state_hash();
        let known = *self.watch.catalogs.entry(index).or_insert(hash);
        if known != hash {
            let what = format!("another catalog at index {index}");
            self.broke(EventId(0), "catalogs-agree", what);
        }
    }

    /// A node has applied the log through this index, perhaps before all others: was a copy taken
    /// away? What a snapshot brought at once was not one step.
    pub(super) fn check_moves(&mut self, cause: EventId, host: usize, index: u64) {
        let through = self.watch.records.0;
        if index <= through {
            return;
        }
        self.watch.records.0 = index;
        for buffer in 0..self.buffers.len() {
            let Some(now) = self.hosts[host].manager.assignment(self.buffers[buffer]) else {
                continue;
            };
            let now = now.clone();
            let before = self.watch.records.1.insert(buffer, now.clone());
            let Some(before) = before.filter(|_| index == through + 1) else {
                continue;
            };
            let whole = |(_, member): &(&NodeId, &Member)| member.from <= now.kept_from;
            let whole = now.in_sync.iter().filter(whole).count();
            let went = before.copies.iter().any(|node| !now.copies.contains(node));
            if went && whole < before.whole_min {
                let (name, least) = (&self.names.buffers[buffer], before.whole_min);
                let what = format!("a copy of {name} leaves: {whole} hold all of it, not {least}");
                self.broke(cause, "moves-leave-enough", what);
            }
        }
    }

    /// A copy knows more as committed: it is what was committed, whoever is in the in-sync set.
    pub(super) fn known(&mut self, cause: EventId, host: usize, buffer: usize, commit: Seq) {
        let id = LogId {
            buffer,
            log: LogKind::Messages,
        };
        self.hosts[host].log(id);
        self.compare(cause, host, id, (Seq(commit.0.saturating_sub(3)), commit));
        let uuid = self.buffers[buffer];
        let stopped = self.hosts[host].shard.copy(&uuid);
        if stopped.is_some_and(|it| it.quarantined()) {
            let node = self.names.nodes[host].clone();
            let what = format!("buffer {buffer}: {node} would have to cut what is committed");
            self.broke(cause, "committed-never-cut", what);
        }
    }

    /// Everything came to rest: what clients were told is held against what is there.
    pub(super) fn judge(&mut self) {
        self.judge_consumers();
        self.judge_letters();
        self.judge_pages();
        for buffer in 0..self.buffers.len() {
            for host in 0..self.hosts.len() {
                if let Some(log) = self.final_log(host, buffer) {
                    self.history.logs.push(log);
                }
            }
        }
        let offline = (0..self.buffers.len()).filter(|buffer| self.is_offline(*buffer));
        let offline: Vec<String> = offline.map(|it| self.names.buffers[it].clone()).collect();
        let mut history = self.history.clone();
        history
            .appends
            .retain(|op| !offline.contains(&op.call.buffer));
        history
            .reads
            .retain(|op| !offline.contains(&op.call.buffer));
        history.logs.retain(|log| !offline.contains(&log.buffer));
        self.forget_ended(&mut history);
        let verdict = check_logs(&history);
        let first = verdict.findings.told.first();
        if let Some(finding) = first {
            self.broke(EventId(0), finding.check.name(), finding.to_string());
        }
    }

    /// Every member of the in-sync set lost what it held, cannot use it, or began near the tail and
    /// nobody is left who holds the rest: nobody can lead, until an operator decides.
    pub(super) fn is_offline(&self, buffer: usize) -> bool {
        let Some(assignment) = self.newest(buffer).filter(|it| it.primary.is_none()) else {
            return false;
        };
        let kept = assignment.kept_from.max(Seq::FIRST);
        let is_gone = |(node, member): (&NodeId, &Member)| {
            let host = self.hosts.iter().find(|host| host.id == *node);
            let other = host.is_some_and(|host| host.node_epoch != Some(member.node_epoch));
            other || member.from == Member::NOTHING
        };
        let mut members = assignment.in_sync.iter();
        let uuid = self.buffers[buffer];
        let committed = self.watch.committed_through(buffer);
        let holds_all = |host: &Host| {
            let copy = host.shard.copy(&uuid).map(|it| it.log(LogKind::Messages));
            copy.is_some_and(|log| log.from <= kept && log.durable >= committed)
        };
        let lost = members.clone().all(|it| is_gone(it) || it.1.from > kept);
        let late_only = members.all(|it| !is_gone(it));
        lost && (!late_only || !self.hosts.iter().any(holds_all))
    }

    pub(super) fn final_log(&self, host: usize, buffer: usize) -> Option<FinalLog> {
        let this = &self.hosts[host];
        let uuid = self.buffers[buffer];
        let assignment = self.newest(buffer)?;
        let (first, commit) = match (this.shard.buffer(&uuid), this.shard.copy(&uuid)) {
            (Some(led), _) => (led.first(), led.commit()),
            (None, Some(copy)) => {
                let log = copy.log(LogKind::Messages);
                (log.from, log.commit)
            }
            (None, None) => return None,
        };
        let id = LogId {
            buffer,
            log: LogKind::Messages,
        };
        let files = this.files.get(&id)?;
        let stream = files.stream(&this.disk, first.prev(), Seq::MAX);
        Some(FinalLog {
            copy: self.names.nodes[host].clone(),
            buffer: self.names.buffers[buffer].clone(),
            in_sync: assignment.in_sync.contains_key(&this.id) && this.up,
            histories: histories(assignment, uuid),
            first,
            commit,
            gone: Default::default(),
            records: records_of(&stream),
        })
    }

    /// Whether everything has come to rest: every buffer has a primary that answers, and all copies
    /// on running nodes hold what it holds.
    pub(super) fn at_rest(&self) -> Result<(), String> {
        self.moves_at_rest()?;
        if let Some(host) = self.hosts.iter().position(|host| self.stands_idle(host)) {
            return Err(format!("{} stands still", self.names.nodes[host]));
        }
        self.created_all()?;
        for (buffer, uuid) in self.buffers.iter().enumerate() {
            let name = &self.names.buffers[buffer];
            let Some(assignment) = self.newest(buffer) else {
                return Err(format!("{name} has no assignment"));
            };
            if self.is_offline(buffer) {
                continue;
            }
            let primary = assignment.primary.and_then(|node| self.host_of(node));
            let led = primary.and_then(|host| self.hosts[host].shard.buffer(uuid));
            let Some(led) = led else {
                return Err(format!("{name} has no primary"));
            };
            if led.commit() < led.end() {
                let (commit, end) = (led.commit(), led.end());
                return Err(format!("{name} has {end}, and {commit} is committed"));
            }
            self.states_at_rest(buffer, led.state())?;
            for node in &assignment.copies {
                if !assignment.in_sync.contains_key(node) && self.drains(*node) {
                    continue;
                }
                if !assignment.in_sync.contains_key(node) {
                    return Err(format!("{name}: node {} is not in sync", node.0));
                }
                let Some(host) = self.host_of(*node) else {
                    return Err(format!("{name}: node {} is down", node.0));
                };
                let copy = self.hosts[host].shard.copy(uuid);
                for log in LOGS {
                    let (here, there) = (copy.map(|it| it.log(log).end), led.leader().log(log).end);
                    if here.is_some_and(|end| end != there) {
                        return Err(format!("{name}: node {} lacks records", node.0));
                    }
                }
            }
        }
        self.consumers_at_rest()
    }
}

impl World {
    /// Nothing that it says is the last word before it has come back from where it stood still.
    const fn stands_idle(&self, host: &Host) -> bool {
        let ticks = host.up && host.copy_of.is_none();
        ticks && self.t.saturating_sub(host.ticked_at) > STANDS_US
    }
}

fn histories(assignment: &Assignment, first: Uuid) -> Vec<HistoryStart> {
    let mut all = vec![HistoryStart {
        history: assignment
            .ended
            .first()
            .map_or(first, |ended| ended.history),
        kept: Seq::ZERO,
    }];
    let ended = assignment.ended.iter();
    let next = assignment.ended.iter().skip(1).map(|it| it.history);
    let next = next.chain([assignment.history]);
    all.extend(ended.zip(next).map(|(ended, history)| HistoryStart {
        history,
        kept: ended.kept_through,
    }));
    all
}

fn records_of(stream: &[u8]) -> Vec<LogRecord> {
    let mut found = Vec::new();
    each_message(stream, |record| {
        found.push(LogRecord {
            seq: record.line.seq,
            epoch: record.line.epoch,
            content: record.commitment(),
            id: record.id(),
            is_message: record.facts.kind == RecordKind::Data,
        });
    });
    found
}
