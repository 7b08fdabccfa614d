//! Forced elections: an operator goes on with one copy when the last members of a buffer are gone,
//! and accepts what is lost by it.

use hbuf_core::ids::{Epoch, Seq, Uuid};
use hbuf_core::replication::{Assignment, Force, Member};
use hbuf_core::segment::LogKind;
use hbuf_manager::{Action as Command, Assign};

use super::World;
use crate::bugs::Bug;
use crate::disk::{Directory, Name};
use crate::draw::{Purpose, key, mix};
use crate::history::{LogHistory, Moment, Outcome};
use crate::scenario::NodeRef;
use crate::tracefile::EventId;

impl World {
    /// An operator looks whether a buffer has anybody to lead it; if not, it goes on with the copy
    /// that has come furthest.
    pub(super) fn force_any(&mut self, cause: EventId, buffer: &str) {
        let Some(at) = self.names.buffers.iter().position(|it| it == buffer) else {
            return;
        };
        let Some(assignment) = self.newest(at).filter(|it| it.primary.is_none()) else {
            return;
        };
        let uuid = self.buffers[at];
        let come = |host: &usize| {
            let copy = self.hosts[*host].shard.copy(&uuid);
            copy.map(|copy| {
                let log = copy.log(LogKind::Messages);
                (log.epochs.at(log.end), log.end)
            })
        };
        let copies = (0..self.hosts.len()).filter(|host| self.serves(*host, at, assignment));
        if let Some(host) = copies.max_by_key(come) {
            self.force(cause, at, host);
        }
    }

    /// The same with a copy that a scenario names.
    pub(super) fn force_named(&mut self, cause: EventId, buffer: &str, node: &NodeRef) {
        let at = self.names.buffers.iter().position(|it| it == buffer);
        if let (Some(at), Some(host)) = (at, self.resolve(node)) {
            self.force(cause, at, host);
        }
    }

    /// Whether a node has a copy with which a buffer could go on.
    fn serves(&self, host: usize, buffer: usize, assignment: &Assignment) -> bool {
        let this = &self.hosts[host];
        let copy = this.shard.copy(&self.buffers[buffer]);
        let whole = copy.is_some_and(|copy| !copy.damaged() && !copy.quarantined());
        this.up && !this.failed && whole && assignment.copies.contains(&this.id)
    }

    fn force(&mut self, cause: EventId, buffer: usize, host: usize) {
        let uuid = self.buffers[buffer];
        let Some(assignment) = self.newest(buffer) else {
            return;
        };
        let version = assignment.version;
        let this = &self.hosts[host];
        let (Some(copy), Some(node_epoch)) = (this.shard.copy(&uuid), this.node_epoch) else {
            return;
        };
        let log = copy.log(LogKind::Messages);
        // What its disk does not hold yet, the next loss of power may take.
        let through = match self.does(Bug::KeptOverstated) {
            false => {
                let known = log.commit.min(log.durable);
                assignment.known_in_history(known, log.epochs.at(known))
            }
            true => log.end,
        };
        let from = log.from;
        let draw = self.draw(Purpose::Faults, mix(key("history"), buffer as u64), version);
        let mut history = [0xf0; 16];
        history[..8].copy_from_slice(&draw.0.to_be_bytes());
        let force = Force {
            node: this.id,
            member: Member { node_epoch, from },
            through,
            history: Uuid::from_random(history),
            last: None,
            although_fit: false,
        };
        let command = Assign::ForceElect {
            uuid,
            expected: Some(version),
            force: Box::new(force),
        };
        self.count_operation("elect");
        self.ask_manager(cause, Command::Assign(command));
    }

    /// Which of a buffer's histories an epoch is of, counted from the first.
    pub(super) fn history_of(&self, buffer: usize, epoch: Epoch) -> usize {
        let ended = self.newest(buffer).map_or(&[][..], |it| &it.ended);
        ended.iter().filter(|ended| ended.epoch < epoch).count()
    }

    /// Whether a history is the one that the buffer has now.
    pub(super) fn is_of_newest(&self, buffer: usize, number: usize) -> bool {
        self.newest(buffer)
            .is_some_and(|it| it.ended.len() == number)
    }

    /// What a primary says that has not heard of a forced election counts for nothing from then on:
    /// it may be alone in its in-sync set, and whoever forces one accepts that.
    pub(super) fn forget_ended(&self, history: &mut LogHistory) {
        let late = |name: &str, of: Uuid, end: Moment| {
            let buffer = self.names.buffers.iter().position(|it| it == name)?;
            let ended = &self.newest(buffer)?.ended;
            let number = ended.iter().position(|it| it.history == of)?;
            let at = self.watch.ended_at.get(&(buffer, number))?;
            Some(end.0 >= *at)
        };
        for op in &mut history.appends {
            if let Outcome::Answered { end, answer } = &op.outcome
                && late(&op.call.buffer, answer.history, *end) == Some(true)
            {
                op.outcome = Outcome::Unknown;
            }
        }
        for op in &mut history.reads {
            if let Outcome::Answered { end, answer } = &op.outcome
                && late(&op.call.buffer, answer.history, *end) == Some(true)
            {
                op.outcome = Outcome::Unknown;
            }
        }
    }

    /// Whether a forced election has lost what clients may have been shown or have acked.
    pub(super) fn lost_some(&self, buffer: usize) -> bool {
        !self.is_of_newest(buffer, 0)
    }

    /// What is committed in a history begins with what was kept of the one before: all else of that
    /// one may be lost, and nothing besides.
    pub(super) fn begin_history(&mut self, buffer: usize, number: usize) {
        let ended = self.newest(buffer).map_or(&[][..], |it| &it.ended);
        let kept: Vec<Seq> = ended.iter().map(|ended| ended.kept_through).collect();
        for (before, kept) in kept.into_iter().enumerate().take(number) {
            self.watch.begin_history(buffer, before, kept);
            let now = self.t;
            self.watch.ended_at.entry((buffer, before)).or_insert(now);
        }
    }

    /// The epoch that a node goes by in a buffer.
    pub(super) fn epoch_of(&self, host: usize, buffer: usize) -> Epoch {
        let (shard, uuid) = (&self.hosts[host].shard, self.buffers[buffer]);
        let led = shard.buffer(&uuid).map(|led| led.epoch());
        let copied = || shard.copy(&uuid).map(|copy| copy.epoch());
        led.or_else(copied).unwrap_or_default()
    }

    /// A log is about to be cut back to before what a mark vouches for: the mark goes first.
    pub(super) fn drop_mark(&mut self, host: usize, buffer: usize, to: Seq) {
        let disk = &mut self.hosts[host].disk;
        let Some(mark) = disk.mark(buffer).filter(|mark| mark.durable > to) else {
            return;
        };
        disk.remove(Name::Mark(buffer));
        disk.sync_names(Directory::Buffer(buffer));
        disk.remove(Name::Tables(buffer, mark.generation));
    }
}
