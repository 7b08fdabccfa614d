//! What replication asks a node for, done: messages with their records, logs of copies, recovery of
//! who was appointed, questions to the manager.

use hbuf_core::ids::{Epoch, NodeId, Seq};
use hbuf_core::input::{Input, Token};
use hbuf_core::mark::{Mark, SLOT_LEN};
use hbuf_core::replication::{Event, Position, ToCopy, Wish};
use hbuf_core::segment::{FORMAT, LogKind, SegmentHead};
use hbuf_manager::{Action, Assign};

use super::aimed::Aim;
use super::files::{LogFiles, LogId, is_whole};
use super::host::Held;
use super::marks::MarkWrite;
use super::message::Message;
use super::{About, Due, World, node};
use crate::bugs::Bug;
use crate::disk::Name;
use crate::draw::{Purpose, mix};
use crate::kinds::Kind;
use crate::net::Endpoint;
use crate::tracefile::EventId;

impl World {
    pub(super) fn wish(&mut self, cause: EventId, host: usize, buffer: usize, wish: Wish) {
        match wish {
            Wish::News { log, to } => {
                let life = self.hosts[host].life;
                let entity = mix(((host as u64) << 32) | u64::from(to.0), buffer as u64);
                let draw = self.draw(Purpose::Delay, entity, cause.0);
                if self.does(Bug::NewsForgotten) && draw.next().below(50) == 0 {
                    return;
                }
                let after = 10 + draw.below(60);
                let due = Due::Pull {
                    host,
                    life,
                    buffer,
                    log,
                    to,
                };
                self.due_on(cause, host, after, due);
            }
            Wish::ToCopy { log, to, message } => {
                self.send_to_copy(cause, host, (buffer, log), to, message);
            }
            Wish::ToPrimary { log, to, answer } => {
                let message = Message::FromCopy {
                    buffer,
                    log,
                    answer,
                };
                self.say(cause, host, self.host_of(to), message);
            }
            Wish::Ask(alter) => {
                let uuid = self.buffers[buffer];
                let action = Action::Assign(Assign::AlterInSync { uuid, alter });
                self.propose(cause, host, action);
            }
            Wish::TakeRecords {
                log,
                token,
                after,
                through,
            } => {
                let id = LogId { buffer, log };
                self.take_records(cause, host, id, token, (after, through));
            }
            Wish::CutBack { log, to } => self.cut_back(cause, host, LogId { buffer, log }, to),
            Wish::BeginAnew { log, token, at } => {
                self.begin_anew(cause, host, LogId { buffer, log }, token, at);
            }
            Wish::Promote => {
                let life = self.hosts[host].life;
                self.is_about(cause, host, Aim::Promote);
                let due = Due::Recover { host, life, buffer };
                self.due_on(cause, host, 200, due);
            }
            Wish::Fill { to } => self.fill_soon(cause, host, buffer, to),
            Wish::TakeFill { token, fill } => self.take_fill(cause, host, buffer, token, fill),
            Wish::TakeMark { token, at, first } => {
                self.take_mark(cause, host, buffer, token, (at, first));
            }
            Wish::TellKept(epoch, from) => {
                let kept = vec![(self.buffers[buffer], epoch, from)];
                self.propose(cause, host, Action::Assign(Assign::NoteKept { kept }));
            }
            Wish::TellDamaged(epoch) => self.tell_damaged(cause, host, buffer, epoch),
            Wish::Clear => self.clear_damaged(cause, host, buffer),
            Wish::RemoveCopy => self.remove_copy(cause, host, buffer),
            Wish::Known(commit) => self.known(cause, host, buffer, commit),
        }
    }

    pub(super) fn host_of(&self, node: NodeId) -> Option<usize> {
        self.hosts
            .iter()
            .position(|host| host.id == node && host.up)
    }

    /// From one node to another.
    pub(super) fn say(&mut self, cause: EventId, host: usize, to: Option<usize>, message: Message) {
        let Some(to) = to else { return };
        self.send(cause, node(host), node(to), message);
    }

    pub(super) fn pull(
        &mut self,
        cause: EventId,
        host: usize,
        buffer: usize,
        log: LogKind,
        to: NodeId,
    ) {
        self.replication(cause, host, buffer, Event::Pull { log, to });
    }

    /// Only what was written is sent: the stream comes from the files.
    fn send_to_copy(
        &mut self,
        cause: EventId,
        host: usize,
        (buffer, log): (usize, LogKind),
        to: NodeId,
        message: ToCopy,
    ) {
        let id = LogId { buffer, log };
        let (mut body, mut tables) = (Vec::new(), None);
        match &message {
            ToCopy::Append {
                prev: Position { seq: after, .. },
                through,
                ..
            }
            | ToCopy::Fill { after, through, .. }
                if through > after =>
            {
                let (after, through) = (*after, *through);
                self.hosts[host].log(id);
                let this = &self.hosts[host];
                body = this.files[&id].stream(&this.disk, after, through);
                if !is_whole(&body, through) {
                    self.damage_found(cause, host, buffer);
                    return;
                }
            }
            ToCopy::Begin { .. } | ToCopy::Mark { .. } if log == LogKind::Messages => {
                let disk = &self.hosts[host].disk;
                let Some(mark) = disk.mark(buffer) else {
                    return;
                };
                let mut slot = [0; SLOT_LEN];
                mark.encode(&mut slot);
                body = slot.to_vec();
                let name = Name::Tables(buffer, mark.generation);
                tables = disk.read(name).cloned().filter(|_| mark.table.is_some());
            }
            _ => {}
        }
        if matches!(message, ToCopy::Fill { .. }) {
            self.filled_from(host, body.len());
        }
        let message = Message::ToCopy {
            buffer,
            log,
            message,
            body,
            tables,
        };
        self.say(cause, host, self.host_of(to), message);
    }

    /// Another node says something to this one.
    pub(super) fn host_takes(
        &mut self,
        cause: EventId,
        host: usize,
        from: Endpoint,
        message: &Message,
    ) {
        match message {
            Message::Raft(bytes) => self.raft_message(cause, host, bytes),
            Message::Propose(command) => self.proposed(cause, host, command.clone()),
            Message::Heartbeat(beat) => {
                if let Some(from) = super::node_of(from) {
                    self.heard(cause, host, from, *beat);
                }
            }
            Message::Ended(epoch) => {
                if let Some(from) = super::node_of(from) {
                    self.ended(host, from, *epoch);
                }
            }
            Message::Superseded(epoch) => self.superseded(cause, host, *epoch),
            Message::ToCopy {
                buffer,
                log,
                message,
                body,
                tables,
            } => {
                let Some(from) = super::node_of(from) else {
                    return;
                };
                let (body, tables) = (body.clone(), tables.clone());
                let held = Held { body, tables };
                self.told(cause, host, (*buffer, *log), from, message, held);
            }
            Message::FromCopy {
                buffer,
                log,
                answer,
            } => {
                let Some(from) = super::node_of(from) else {
                    return;
                };
                let from = self.hosts[from].id;
                let (log, answer) = (*log, *answer);
                self.replication(cause, host, *buffer, Event::FromCopy { log, from, answer });
            }
            Message::Ask {
                operation,
                buffer,
                ask,
            } => self.asked(cause, host, from, (*operation, *buffer), ask),
            Message::Answer { operation, answer } => {
                self.node_answered(cause, host, *operation, answer);
            }
        }
    }

    fn told(
        &mut self,
        cause: EventId,
        host: usize,
        (buffer, log): (usize, LogKind),
        from: usize,
        message: &ToCopy,
        held: Held,
    ) {
        if self.lacks_room_for(host, message) {
            return;
        }
        let token = self.hosts[host].token();
        self.hosts[host].held.insert(token, held);
        let from = self.hosts[from].id;
        let message = message.clone();
        let event_in = Event::FromPrimary {
            log,
            token,
            from,
            message,
        };
        self.replication(cause, host, buffer, event_in);
        self.hosts[host].held.remove(&token);
    }

    fn take_records(
        &mut self,
        cause: EventId,
        host: usize,
        id: LogId,
        token: Token,
        (after, through): (Seq, Seq),
    ) {
        self.hosts[host].log(id);
        let forgot = self.does(Bug::CutForgotten);
        let this = &mut self.hosts[host];
        let Some(held) = this.held.get(&token) else {
            return;
        };
        let files = this.files.get_mut(&id).expect("it was just made");
        let after = if forgot {
            after.max(files.last())
        } else {
            after
        };
        let appended = files.append(&mut this.disk, &held.body, (after, through));
        appended.expect("a full disk has a reserve");
        let last = files.last().min(through);
        let name = files.last_name();
        if let Some(name) = name {
            this.dirty.wrote(cause, id, name, last);
        }
        let new: Vec<Name> = files.names_from(after);
        this.dirty.names.extend(new);
        let about = About {
            host: Some(host),
            buffer: Some(id.buffer),
            log: Some(id.log),
            seqs: Some((after.next().0, through.0)),
            ..About::default()
        };
        let event = self.event(&[cause], Kind::CopyTook, &about);
        self.check_copied(event, host, id, (after, last));
        self.sync_soon(event, host);
    }

    fn cut_back(&mut self, cause: EventId, host: usize, id: LogId, to: Seq) {
        let about = About {
            host: Some(host),
            buffer: Some(id.buffer),
            log: Some(id.log),
            seqs: Some((to.0, to.0)),
            ..About::default()
        };
        let event = self.event(&[cause], Kind::CopyCut, &about);
        self.check_cut(event, host, id, to);
        if id.log == LogKind::Messages {
            self.drop_mark(host, id.buffer, to);
        }
        let forgets = self.does(Bug::CutForgotten);
        self.hosts[host].log(id);
        let this = &mut self.hosts[host];
        let files = this.files.get_mut(&id).expect("it was just made");
        let changed = match to {
            _ if forgets => Vec::new(),
            Seq::ZERO => files.clear(&mut this.disk),
            to => files.cut(&mut this.disk, to),
        };
        this.settle_log(id, &changed);
        self.watch.cut(host, id, to);
        self.cut_soon(event, host, id);
    }

    fn begin_anew(&mut self, cause: EventId, host: usize, id: LogId, token: Token, at: Seq) {
        let about = About {
            host: Some(host),
            buffer: Some(id.buffer),
            log: Some(id.log),
            seqs: Some((at.0, at.0)),
            ..About::default()
        };
        let event = self.event(&[cause], Kind::CopyBegan, &about);
        self.hosts[host].log(id);
        let this = &mut self.hosts[host];
        if id.log == LogKind::Cursors {
            // The file to come says all that was before it, and stays behind what is there.
            let files = this.files.get_mut(&id).expect("it was just made");
            files.jump();
        } else if let Some(held) = this.held.get(&token).cloned()
            && let Ok(mark) = Mark::decode(&held.body)
        {
            let files = this.files.get_mut(&id).expect("it was just made");
            let changed = files.clear(&mut this.disk);
            this.settle_log(id, &changed);
            let write = this.begin_messages(id, mark, held.tables);
            if !self.write_mark(event, host, id.buffer, write) {
                return;
            }
        }
        self.watch.began(host, id, at);
        self.cut_soon(event, host, id);
    }

    fn cut_soon(&mut self, cause: EventId, host: usize, id: LogId) {
        let life = self.hosts[host].life;
        self.is_about(cause, host, Aim::Cut);
        let LogId { buffer, log } = id;
        let due = Due::CutDone {
            host,
            life,
            buffer,
            log,
        };
        self.due_on(cause, host, 150, due);
    }

    pub(super) fn cut_done(&mut self, cause: EventId, host: usize, buffer: usize, log: LogKind) {
        self.replication(cause, host, buffer, Event::CutDone(log));
    }

    pub(super) fn remove_copy(&mut self, cause: EventId, host: usize, buffer: usize) {
        let about = About {
            host: Some(host),
            buffer: Some(buffer),
            ..About::default()
        };
        let event = self.event(&[cause], Kind::CopyRemoved, &about);
        let uuid = self.buffers[buffer];
        self.shard(event, host, Input::Remove { buffer: uuid });
        self.clear(host, buffer);
        self.hosts[host].decided.remove(&buffer);
    }

    /// Whoever hears nothing of another node sends again what it has not answered.
    pub(super) fn silence(&mut self, cause: EventId, host: usize, other: usize) {
        if !self.hosts[host].up {
            return;
        }
        let other = self.hosts[other].id;
        for buffer in 0..self.buffers.len() {
            self.replication(cause, host, buffer, Event::Silence(other));
        }
    }
}

impl super::host::Host {
    /// Files of a log were changed apart from the pipeline: durable before anything else.
    pub(super) fn settle_log(&mut self, id: LogId, changed: &[Name]) {
        for name in changed {
            if self.disk.exists(*name) {
                let _ = self.disk.sync(*name, None);
            }
        }
        self.disk.sync_names(id.directory());
        let gone = |name: &Name| !changed.contains(name);
        self.dirty.names.retain(gone);
        if let Some(syncing) = &mut self.syncing {
            syncing.names.retain(gone);
            syncing.through.remove(&id);
        }
        self.dirty.through.remove(&id);
    }

    /// A log of messages whose records behind the mark are still to come.
    fn begin_messages(&mut self, id: LogId, mut mark: Mark, tables: Option<Vec<u8>>) -> MarkWrite {
        let first = mark.durable.next();
        let head = SegmentHead {
            format: FORMAT,
            kind: LogKind::Messages,
            buffer: mark.buffer,
            log: mark.log,
            history: mark.history,
            first,
            time: mark.time,
            epoch: mark.epochs.last().map_or(Epoch(0), |(epoch, _)| *epoch),
            frontier: mark.frontier.clone(),
            epochs: mark.epochs.clone(),
            compacted: None,
        };
        let mut bytes = Vec::new();
        head.encode(&mut bytes);
        let files: &mut LogFiles = self.files.get_mut(&id).expect("it was just made");
        let written = files.write(&mut self.disk, first, 0, &bytes);
        written.expect("a full disk has a reserve");
        let generation = self.disk.mark(id.buffer).map_or(0, |it| it.generation);
        (mark.first, mark.file, mark.offset) = (first, first, bytes.len() as u64);
        (mark.generation, mark.fence, mark.clean) = (generation + 1, 0, false);
        let files = vec![id.name(first)];
        MarkWrite {
            mark,
            tables,
            files,
        }
    }
}
