//! A node starts: its files are recovered, it registers, its buffers are opened as what the manager
//! says they are. And how one that was appointed becomes a primary.

use std::sync::Arc;

use hbuf_core::buffer::Opening;
use hbuf_core::ids::{Seq, Uuid};
use hbuf_core::input::{BufferConfig, BufferState, Input};
use hbuf_core::recovery::{Found, FoundFile, Recovered, Repair, recover};
use hbuf_core::replication::{Assignment, Event, LOGS, NodeEpoch};
use hbuf_core::segment::LogKind;
use hbuf_manager::{Action, Assign};

use super::files::{LogFiles, LogId};
use super::{About, Due, World};
use crate::bugs::Bug;
use crate::disk::{Directory, Losses, Name};
use crate::draw::{Draw, Purpose};
use crate::kinds::Kind;
use crate::swarm::Opt;
use crate::tracefile::EventId;

/// A node's tick in microseconds: that of its manager group.
pub(super) const TICK_US: u64 = 20_000;

impl World {
    /// Another process runs, on a node or a copy of its disk; with what it draws its life from.
    pub(super) fn process_begins(&mut self, cause: EventId, host: usize) -> (EventId, Draw) {
        let about = About {
            host: Some(host),
            ..About::default()
        };
        let event = self.event(&[cause], Kind::NodeStarted, &about);
        let draw = self.draw(Purpose::Delay, host as u64, self.hosts[host].life);
        let this = &mut self.hosts[host];
        this.up = true;
        this.life += 1;
        self.go_on(host);
        (event, draw)
    }

    /// The process of a node begins.
    pub(super) fn start(&mut self, cause: EventId, host: usize) {
        if self.hosts[host].copy_of.is_some() {
            return self.start_copy(cause, host);
        }
        let (event, draw) = self.process_begins(cause, host);
        let this = &mut self.hosts[host];
        let mut life = [0x11; 16];
        life[..8].copy_from_slice(&draw.next().next().0.to_be_bytes());
        life[8..].copy_from_slice(&this.life.to_be_bytes());
        let life = Uuid::from_random(life);
        this.lives.begin(life);
        this.manager.start(life);
        this.runs = this.program;
        // Whatever comes now, the next start finds a disk of which nobody said that it is whole.
        this.clean_before = std::mem::replace(&mut this.clean, false);
        if !self.can_run(event, host) {
            return;
        }
        for buffer in 0..self.buffers.len() {
            if self.holds(host, buffer) {
                let found = self.recover(host, buffer, None);
                self.check_clean(event, host, buffer, &found);
                self.repair(host, buffer, &found);
                self.hosts[host].found.insert(buffer, found);
            }
        }
        let life = self.hosts[host].life;
        let after = draw.below(TICK_US);
        self.due_on(event, host, after, Due::Tick { host, life });
    }

    /// Whether the disk has anything of a buffer.
    fn holds(&self, host: usize, buffer: usize) -> bool {
        let id = |log| LogId { buffer, log };
        let disk = &self.hosts[host].disk;
        LOGS.iter().any(|log| !id(*log).names(disk).is_empty())
    }

    /// What the files of a buffer hold. Without an assignment it is nobody's.
    fn recover(&self, host: usize, buffer: usize, assigned: Option<&Assignment>) -> Recovered {
        let this = &self.hosts[host];
        let disk = &this.disk;
        let mark = disk.mark(buffer);
        let tables = mark.as_ref().filter(|mark| mark.table.is_some());
        let tables = tables.and_then(|mark| disk.read(Name::Tables(buffer, mark.generation)));
        let files = |log| {
            let file = |name| {
                let (Name::Segment(_, first) | Name::Cursors(_, first)) = name else {
                    return None;
                };
                let source = disk.read(name)?;
                Some(FoundFile { first, source })
            };
            let names = LogId { buffer, log }.names(disk).into_iter();
            names.filter_map(file).collect()
        };
        let uuid = self.buffers[buffer];
        let nobody = || {
            let mut nobody = Assignment::new(uuid, &[], 1);
            nobody.version = 0;
            nobody
        };
        let assignment = assigned.cloned().unwrap_or_else(nobody);
        let found = Found {
            buffer: uuid,
            log: uuid,
            node: this.id,
            node_epoch: this.node_epoch.unwrap_or(NodeEpoch(0)),
            assignment: Arc::new(assignment),
            config: self.config(),
            state: self.state_known(host, buffer).0,
            mark,
            segments: files(LogKind::Messages),
            cursors: files(LogKind::Cursors),
            journal: Vec::new(),
            journal_stays: false,
            tables: tables.map(Vec::as_slice),
        };
        let recovered = recover(&self.rules, &found).expect("memory can be read");
        self.ask_recovery(&found, &recovered);
        recovered
    }

    pub(super) fn config(&self) -> BufferConfig {
        BufferConfig {
            segment_bytes: self.options.get(Opt::SegmentBytes),
            retention: self.retention(),
            follows: None,
        }
    }

    /// Makes what recovery found durable, before anything else.
    fn repair(&mut self, host: usize, buffer: usize, found: &Recovered) {
        let disk = &mut self.hosts[host].disk;
        for repair in &found.repairs {
            match repair {
                Repair::Write {
                    log,
                    file,
                    offset,
                    bytes,
                } => {
                    let name = LogId { buffer, log: *log }.name(*file);
                    disk.write(name, *offset, bytes).expect("there is room");
                }
                Repair::Truncate { log, file, offset } => {
                    disk.set_len(LogId { buffer, log: *log }.name(*file), *offset);
                }
                Repair::Remove { log, file } => {
                    disk.remove(LogId { buffer, log: *log }.name(*file));
                }
            }
        }
        for log in LOGS {
            for name in (LogId { buffer, log }).names(disk) {
                let _ = disk.sync(name, None);
            }
        }
        disk.sync_names(Directory::Buffer(buffer));
        disk.sync_names(Directory::Cursors(buffer));
        for log in LOGS {
            let id = LogId { buffer, log };
            let last = match log {
                LogKind::Cursors => found.opening.cursors.end,
                _ => found.opening.end,
            };
            let mut files = LogFiles::of(id, &self.hosts[host].disk, Seq::MAX);
            if let (LogKind::Messages, Some(last)) = (log, found.opening.segments.last()) {
                // A mark vouches for more than can be read, perhaps.
                files.ends_at(last.first, last.bytes);
            }
            self.hosts[host].files.insert(id, files);
            self.watch.recovered(host, id, last);
        }
    }

    /// The manager knows this life of the node: its buffers are opened.
    pub(super) fn registered(&mut self, cause: EventId, host: usize, epoch: NodeEpoch) {
        self.hosts[host].node_epoch = Some(epoch);
        let about = About {
            host: Some(host),
            ..About::default()
        };
        let event = self.event(&[cause], Kind::NodeRegistered, &about);
        let lives = &mut self.hosts[host].lives;
        lives.earlier.clear();
        self.tell_room(event, host);
        self.tell_decisions(event, host);
    }

    /// Opens a buffer that has, or is to have, a copy here.
    pub(super) fn open_assigned(&mut self, cause: EventId, host: usize, buffer: usize) {
        let uuid = self.buffers[buffer];
        let this = &self.hosts[host];
        let Some(assignment) = this.manager.assignment(uuid).cloned() else {
            return;
        };
        let node_epoch = this.node_epoch.unwrap_or_default();
        if !assignment.copies.contains(&this.id) {
            // It left while this node was down.
            self.hosts[host].found.remove(&buffer);
            if self.holds(host, buffer) {
                self.remove_copy(cause, host, buffer);
            }
            return;
        }
        let member = assignment.in_sync.contains_key(&self.hosts[host].id);
        let found = self.hosts[host].found.remove(&buffer);
        let damaged = found.as_ref().is_some_and(|found| found.damage.is_some());
        let damaged = damaged || self.hosts[host].bad.contains(&buffer);
        let found = match found {
            // Others hold what was committed: the damaged copy is given up and made anew.
            Some(_) if damaged && !member => {
                self.clear(host, buffer);
                self.recover(host, buffer, Some(&assignment))
            }
            Some(found) => found,
            None => {
                let found = self.recover(host, buffer, Some(&assignment));
                match found.damage.is_some() {
                    // It has no copy here yet: what is there was left by an earlier one.
                    true => {
                        self.clear(host, buffer);
                        self.recover(host, buffer, Some(&assignment))
                    }
                    false => {
                        self.repair(host, buffer, &found);
                        found
                    }
                }
            }
        };
        let opening = Opening {
            state: self.state_known(host, buffer).0,
            node_epoch,
            history: assignment.history,
            assignment: Arc::new(assignment),
            ..found.opening
        };
        self.open(cause, host, buffer, opening);
    }

    /// Whoever was appointed reads what it believes from its disk, by the same rules as at a start.
    pub(super) fn recover_and_open(&mut self, cause: EventId, host: usize, buffer: usize) {
        let uuid = self.buffers[buffer];
        let Some(assignment) = self.hosts[host].manager.assignment(uuid) else {
            return;
        };
        let assignment = self.as_told(host, assignment);
        // What was written and not synced is made durable first.
        let found = self.recover(host, buffer, Some(&assignment));
        if found.damage.is_some() {
            self.damage_found(cause, host, buffer);
            return;
        }
        self.repair(host, buffer, &found);
        let this = &mut self.hosts[host];
        for log in LOGS {
            let id = LogId { buffer, log };
            this.dirty.through.remove(&id);
            if let Some(syncing) = &mut this.syncing {
                syncing.through.remove(&id);
            }
        }
        let opening = Opening {
            node_epoch: this.node_epoch.unwrap_or_default(),
            ..found.opening
        };
        self.open(cause, host, buffer, opening);
    }

    /// A node has found damage in what it holds of a buffer: the core says what is to be done.
    pub(super) fn damage_found(&mut self, cause: EventId, host: usize, buffer: usize) {
        let about = About {
            host: Some(host),
            buffer: Some(buffer),
            ..About::default()
        };
        let event = self.event(&[cause], Kind::BufferDamaged, &about);
        // A start says so too, whether or not it comes across it.
        self.hosts[host].bad.insert(buffer);
        self.replication(event, host, buffer, Event::Damaged);
    }

    /// The manager is told of damage.
    pub(super) fn tell_damaged(
        &mut self,
        cause: EventId,
        host: usize,
        buffer: usize,
        epoch: NodeEpoch,
    ) {
        let (uuid, node) = (self.buffers[buffer], self.hosts[host].id);
        let action = Assign::NoteDamage { uuid, node, epoch };
        self.propose(cause, host, Action::Assign(action));
    }

    /// A copy that is damaged, or was added again, is given up, to begin anew.
    pub(super) fn clear_damaged(&mut self, cause: EventId, host: usize, buffer: usize) {
        let about = About {
            host: Some(host),
            buffer: Some(buffer),
            note: "anew",
            ..About::default()
        };
        self.event(&[cause], Kind::CopyRemoved, &about);
        self.clear(host, buffer);
    }

    /// Nothing of a buffer is left on a node.
    pub(super) fn clear(&mut self, host: usize, buffer: usize) {
        for log in LOGS {
            let id = LogId { buffer, log };
            self.hosts[host].log(id);
            let this = &mut self.hosts[host];
            let files = this.files.get_mut(&id).expect("it was just made");
            let changed = files.clear(&mut this.disk);
            this.settle_log(id, &changed);
            this.files.remove(&id);
            self.watch.cut(host, id, Seq::ZERO);
        }
        self.hosts[host].bad.remove(&buffer);
        let disk = &mut self.hosts[host].disk;
        disk.remove(Name::Mark(buffer));
        disk.sync_names(Directory::Buffer(buffer));
    }

    /// A start trusts its marks; some time later a process has read what they vouch for.
    pub(super) fn scrub_once(&mut self, cause: EventId, host: usize) {
        let this = &mut self.hosts[host];
        if this.node_epoch.is_none() || this.scrubs_in == 0 {
            return;
        }
        this.scrubs_in -= 1;
        if this.scrubs_in == 0 {
            self.scrub(cause, host);
        }
    }

    /// Whoever has a record that is not as it was framed notices.
    pub(super) fn scrub(&mut self, cause: EventId, host: usize) {
        if self.hosts[host].copy_of.is_some() {
            return;
        }
        for buffer in 0..self.buffers.len() {
            for log in LOGS {
                let id = LogId { buffer, log };
                self.hosts[host].log(id);
                let this = &self.hosts[host];
                if !this.files[&id].is_sound(&this.disk) && this.up {
                    self.damage_found(cause, host, buffer);
                }
            }
        }
    }

    fn open(&mut self, cause: EventId, host: usize, buffer: usize, opening: Opening) {
        let epoch = opening.assignment.epoch;
        let about = About {
            host: Some(host),
            buffer: Some(buffer),
            epoch: Some(epoch.0),
            seqs: Some((opening.first.0, opening.end.0)),
            ..About::default()
        };
        let event = self.event(&[cause], Kind::BufferOpened, &about);
        if opening.state == BufferState::Paused && self.does(Bug::PausedTouched) {
            self.touch(host, buffer);
        }
        let version = opening.assignment.version;
        let consumers = opening.consumers.clone();
        self.hosts[host].decided.insert(buffer, version);
        self.hosts[host].states.insert(buffer, opening.state);
        self.shard(event, host, Input::Open(Box::new(opening)));
        if self.hosts[host].bad.contains(&buffer) {
            // It was found before there was a copy that could be said to be damaged.
            self.replication(event, host, buffer, Event::Damaged);
        }
        let uuid = self.buffers[buffer];
        if let Some(led) = self.hosts[host].shard.buffer(&uuid) {
            let epoch = led.epoch();
            let about = About {
                host: Some(host),
                buffer: Some(buffer),
                epoch: Some(epoch.0),
                ..About::default()
            };
            self.event(&[event], Kind::PrimaryAppointed, &about);
            self.ask_appointed(host, uuid);
            self.check_appointed(event, host, buffer, epoch);
            self.consumers_appointed(event, host, (buffer, epoch), &consumers);
        }
    }

    /// Something is written behind the end of a buffer's newest segment.
    fn touch(&mut self, host: usize, buffer: usize) {
        let log = LogKind::Messages;
        let disk = &mut self.hosts[host].disk;
        if let Some(name) = (LogId { buffer, log }).names(disk).last().copied() {
            let end = disk.read(name).map_or(0, Vec::len) as u64;
            disk.write(name, end, &[0]).expect("there is room");
        }
    }

    /// What a loss of power took, as events; none for what did not happen.
    fn say_losses(&mut self, cause: EventId, host: usize, losses: Losses) {
        let all = [
            (Kind::WriteTorn, losses.torn),
            (Kind::WriteLost, losses.lost),
            (Kind::WriteReordered, losses.reordered),
            (Kind::NameLost, losses.names),
        ];
        for (kind, count) in all.into_iter().filter(|(_, count)| *count > 0) {
            let note = format!("{count} times");
            let about = About {
                host: Some(host),
                note: &note,
                ..About::default()
            };
            self.event(&[cause], kind, &about);
        }
    }

    /// The process is gone; the disk keeps what was synced, and of the rest whatever it likes.
    pub(super) fn crash(&mut self, cause: EventId, host: usize, power: bool) {
        if !self.hosts[host].up {
            return;
        }
        let about = About {
            host: Some(host),
            note: if power { "power loss" } else { "kill" },
            ..About::default()
        };
        let event = self.event(&[cause], Kind::NodeCrashed, &about);
        let entity = (host as u64) << 32 | self.hosts[host].life;
        let draws = crate::draw::Draws::new(self.draw(Purpose::Crash, entity, 0).0);
        if power {
            self.count_power_loss(host);
        }
        let (rules, forgets_vote) = (self.rules, self.does(Bug::VoteForgotten));
        self.lose_calls(event, host);
        let this = &mut self.hosts[host];
        // After a failed sync the page cache shows what the disk does not have, also to the next
        // process, which is why that one must not use it.
        let power_or_doubt = power || this.failed;
        this.forget(rules);
        this.manager.crash(&draws, power);
        if forgets_vote {
            this.manager.forget_vote();
        }
        if power_or_doubt {
            let loss = std::mem::take(&mut this.power_loss);
            let losses = this.disk.lose_power(&draws, loss);
            if power {
                this.clock.reboot(self.t);
            }
            self.say_losses(event, host, losses);
        }
        for packet in self.net.reset_all(super::node(host)) {
            self.lost(event, packet, crate::net::NetFault::Reset.name());
        }
        for other in 0..self.hosts.len() {
            if other != host {
                self.silence(event, other, host);
            }
        }
    }
}
