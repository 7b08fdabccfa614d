//! What the core asks a node for, done: records framed and written, disks synced, marks written,
//! clients answered.

use hbuf_core::effect::{Effect, Effects, Parts, Write, WriteBytes};
use hbuf_core::ids::{Micros, Seq, Uuid};
use hbuf_core::input::{DiskHealth, Input, Token};
use hbuf_core::record::{Line, State};
use hbuf_core::replication::Event;
use hbuf_core::segment::LogKind;

use super::aimed::Aim;
use super::consumers::Call;
use super::crew::At;
use super::files::LogId;
use super::host::{Dirty, Waiting};
use super::message::{Answer, Ask, Message};
use super::{About, Due, World, node};
use crate::disk::Name;
use crate::draw::Purpose;
use crate::kinds::Kind;
use crate::net::Endpoint;
use crate::tracefile::EventId;

impl World {
    /// What a clock on the wall of a node shows now.
    pub(super) fn wall(&self, host: usize) -> Micros {
        self.hosts[host].clock.wall(self.t)
    }

    /// Gives a node's shard an input and does what it asks for.
    pub(super) fn shard(&mut self, cause: EventId, host: usize, input: Input) {
        let now = self.wall(host);
        let mut effects = std::mem::take(&mut self.hosts[host].effects);
        self.ask_before(host, now, &input);
        let behind = asked_behind(&input);
        self.hosts[host].shard.handle(now, input, &mut effects);
        if let Some(buffer) = behind {
            self.ask_behind(host, buffer);
        }
        self.perform_all(cause, host, effects);
    }

    pub(super) fn perform_all(&mut self, cause: EventId, host: usize, mut effects: Effects) {
        for effect in effects.drain(..) {
            self.perform(cause, host, effect);
        }
        self.hosts[host].effects = effects;
    }

    pub(super) fn replication(&mut self, cause: EventId, host: usize, buffer: usize, event: Event) {
        let buffer = self.buffers[buffer];
        self.shard(cause, host, Input::Replication { buffer, event });
    }

    fn perform(&mut self, cause: EventId, host: usize, effect: Effect) {
        if self.hosts[host].cut_off {
            return;
        }
        match effect {
            Effect::Write(write) => self.write(cause, host, &write),
            Effect::WriteBytes(write) => self.write_bytes(cause, host, &write),
            Effect::Reply { token, outcome } => {
                self.ask_refused(&outcome);
                let waiting = self.hosts[host].waiting.remove(&token);
                if let Some(Waiting::Append {
                    client,
                    operation,
                    buffer,
                    ..
                }) = waiting
                {
                    let hint = self.primary_known(host, buffer);
                    let uuid = self.buffers[buffer];
                    let led = self.hosts[host].shard.buffer(&uuid);
                    let history = led.map_or(uuid, |led| led.history());
                    let answer = Answer::Appended(Box::new(outcome), hint, history);
                    self.answer(cause, host, client, operation, answer);
                }
            }
            Effect::Committed { buffer, commit, .. } => {
                let buffer = self.index(buffer);
                self.committed(cause, host, buffer, commit);
            }
            Effect::WriteMark {
                mark,
                tables,
                cause: why,
            } => self.mark(cause, host, (*mark, tables), why),
            Effect::Replication { buffer, wish } => {
                let buffer = self.index(buffer);
                self.wish(cause, host, buffer, wish);
            }
            Effect::Tail { token, commit } => self.tail(cause, host, token, commit),
            Effect::DropSegments { buffer, keep_from } => {
                let buffer = self.index(buffer);
                self.drop_segments(cause, host, buffer, keep_from);
            }
            Effect::DropCursors { buffer, keep_from } => {
                let buffer = self.index(buffer);
                self.drop_cursors(host, buffer, keep_from);
            }
            Effect::StateReached { token, state } => {
                if let Some(Waiting::State { buffer }) = self.hosts[host].waiting.remove(&token) {
                    self.state_reached(cause, host, buffer, state);
                }
            }
            Effect::StreamUsed { .. } | Effect::TimeClosed { .. } => {}
            Effect::Consumer {
                buffer,
                consumer,
                task,
            } => {
                let place = (self.index(buffer), consumer);
                self.consumer_task(cause, host, place, task);
            }
            Effect::Reopen { .. } => unreachable!("a full disk has a reserve"),
        }
    }

    pub(super) fn index(&self, buffer: Uuid) -> usize {
        let mut buffers = self.buffers.iter();
        let found = buffers.position(|other| *other == buffer);
        found.expect("only these buffers exist")
    }

    fn write(&mut self, cause: EventId, host: usize, write: &Write) {
        let buffer = self.index(write.buffer);
        let token = Token(self.hosts[host].last_token);
        let Some(Waiting::Append { contents, .. }) = self.hosts[host].waiting.get(&token) else {
            unreachable!("only an append writes messages, and it waits for its answer");
        };
        self.ask_framed(host, write.time);
        let mut bytes = write.head.as_deref().unwrap_or_default().to_vec();
        let parts = contents.iter().map(|content| Parts {
            lines: &content.lines,
            salt: content.salt,
            body: &content.body,
        });
        write.encode(parts, &mut bytes);
        let offset = match write.head {
            Some(_) => 0,
            None => write.offset,
        };
        let about = About {
            host: Some(host),
            buffer: Some(buffer),
            epoch: Some(write.epoch.0),
            seqs: Some((write.first.0, write.last().0)),
            ..About::default()
        };
        let event = self.event(&[cause], Kind::AppendFramed, &about);
        let id = LogId {
            buffer,
            log: LogKind::Messages,
        };
        self.put(event, host, id, (write.file, offset), &bytes);
    }

    fn write_bytes(&mut self, cause: EventId, host: usize, write: &WriteBytes) {
        let buffer = self.index(write.buffer);
        let id = LogId {
            buffer,
            log: write.log,
        };
        self.put(cause, host, id, (write.file, write.offset), &write.bytes);
        let known = self.hosts[host].dirty.through.entry(id).or_default();
        *known = write.through.max(*known);
    }

    /// Bytes for the page cache; they will be synced.
    fn put(
        &mut self,
        cause: EventId,
        host: usize,
        id: LogId,
        (file, offset): (Seq, u64),
        bytes: &[u8],
    ) {
        let this = &mut self.hosts[host];
        let disk = &mut this.disk;
        let files = this.files.entry(id);
        let files = files.or_insert_with(|| super::files::LogFiles::of(id, disk, file.prev()));
        let written = files.write(disk, file, offset, bytes);
        written.expect("a full disk has a reserve");
        let last = last_seq(bytes);
        this.dirty
            .wrote(cause, id, id.name(file), last.unwrap_or_default());
        self.sync_soon(cause, host);
    }

    /// A sync takes all that was written before it began.
    pub(super) fn sync_soon(&mut self, cause: EventId, host: usize) {
        let this = &self.hosts[host];
        if this.syncing.is_some() || this.dirty.is_empty() || this.failed {
            if this.syncing.is_some() && !this.dirty.is_empty() {
                self.is_about(cause, host, Aim::Write);
            }
            return;
        }
        let this = &mut self.hosts[host];
        this.syncing = Some(std::mem::take(&mut this.dirty));
        let life = this.life;
        self.is_about(cause, host, Aim::Sync);
        let eid = self.reserve(cause, Kind::DiskSynced);
        let draw = self.draw(Purpose::Delay, host as u64, eid.0);
        let after = 80 + draw.below(240) + self.hosts[host].slow_us;
        self.due_as_on(cause, eid, host, after, Due::Synced { host, life });
    }

    pub(super) fn synced(&mut self, cause: EventId, event: EventId, host: usize) {
        let Some(dirty) = self.hosts[host].syncing.take() else {
            return;
        };
        let about = About {
            host: Some(host),
            ..About::default()
        };
        self.happens(event, &[cause], Kind::DiskSynced, &about);
        if !self.sync_disk(host, &dirty) {
            self.event(&[event], Kind::DiskSyncFailed, &about);
            self.hosts[host].failed = true;
            self.shard(event, host, Input::Disk(DiskHealth::Failed));
            return;
        }
        for (id, through) in dirty.through {
            self.watch.durable(host, id, through);
            let (buffer, log) = (self.buffers[id.buffer], id.log);
            let input = Input::Synced {
                buffer,
                log,
                through,
                journal: 0,
            };
            self.shard(event, host, input);
        }
        self.sync_soon(event, host);
    }

    /// Says whether it could.
    fn sync_disk(&mut self, host: usize, dirty: &Dirty) -> bool {
        let fails = self.hosts[host].sync_fails();
        let draws = self.draws;
        let disk = &mut self.hosts[host].disk;
        let mut good = true;
        for name in &dirty.names {
            good &= disk.sync(*name, fails.then_some(&draws)).is_ok();
        }
        if good {
            for directory in &dirty.directories {
                disk.sync_names(directory.directory());
            }
        }
        good
    }

    fn drop_segments(&mut self, cause: EventId, host: usize, buffer: usize, keep_from: Seq) {
        let id = LogId {
            buffer,
            log: LogKind::Messages,
        };
        let marked = self.hosts[host].disk.mark(buffer);
        let marked = marked.map_or(Seq::ZERO, |mark| mark.file);
        let names = id.names(&self.hosts[host].disk);
        let goes = |pair: &&[Name]| pair[1] <= Name::Segment(buffer, keep_from.min(marked));
        for pair in names.windows(2).take_while(goes) {
            self.hosts[host].disk.remove(pair[0]);
        }
        self.hosts[host].dirty.touched(id);
        let about = About {
            host: Some(host),
            buffer: Some(buffer),
            seqs: Some((keep_from.0, keep_from.0)),
            ..About::default()
        };
        self.event(&[cause], Kind::SegmentsDropped, &about);
    }

    fn drop_cursors(&mut self, host: usize, buffer: usize, keep_from: Seq) {
        let id = LogId {
            buffer,
            log: LogKind::Cursors,
        };
        let names = id.names(&self.hosts[host].disk).into_iter();
        let host = &mut self.hosts[host];
        for name in names.filter(|name| *name < Name::Cursors(buffer, keep_from)) {
            host.disk.remove(name);
        }
        host.log(id).dropped(keep_from);
        host.dirty.touched(id);
    }

    /// A client asks something of a node.
    pub(super) fn asked(
        &mut self,
        cause: EventId,
        host: usize,
        client: Endpoint,
        (operation, buffer): (u64, usize),
        ask: &Ask,
    ) {
        let token = self.hosts[host].token();
        let uuid = self.buffers[buffer];
        match ask {
            Ask::Append { request, contents } => {
                let waiting = Waiting::Append {
                    client,
                    operation,
                    buffer,
                    contents: contents.clone(),
                };
                self.hosts[host].waiting.insert(token, waiting);
                let input = Input::Append {
                    buffer: uuid,
                    token,
                    request: request.clone(),
                };
                self.shard(cause, host, input);
            }
            Ask::Work { consumer, work } => {
                let at = At {
                    consumer: *consumer,
                    buffer,
                };
                let call = Call {
                    worker: client,
                    operation,
                    at,
                    work: work.clone(),
                };
                self.work_asked(cause, host, call);
            }
            Ask::Page {
                after,
                limit,
                filter,
            } => {
                let answer = self.page_answer(host, buffer, (*after, *limit), filter);
                self.answer(cause, host, client, operation, answer);
            }
            Ask::Topic(ask) => self.topic_asked(cause, host, (client, operation), ask),
            Ask::Read { after, limit } => {
                let answer = self.read(host, buffer, (*after, *limit));
                self.answer(cause, host, client, operation, answer);
            }
            Ask::ReadTail | Ask::Get { .. } => {
                let key = match ask {
                    Ask::Get { key } => Some(key.clone()),
                    _ => None,
                };
                let waiting = Waiting::Tail {
                    client,
                    operation,
                    buffer,
                    key,
                };
                self.hosts[host].waiting.insert(token, waiting);
                self.replication(cause, host, buffer, Event::ReadTail(token));
            }
        }
    }

    fn tail(&mut self, cause: EventId, host: usize, token: Token, commit: Option<Seq>) {
        let waiting = self.hosts[host].waiting.remove(&token);
        let Some(Waiting::Tail {
            client,
            operation,
            buffer,
            key,
        }) = waiting
        else {
            return;
        };
        let shown = |world: &mut Self, commit| match &key {
            None => Some(Answer::Tail(Box::new(world.shown(host, buffer, commit)?))),
            Some(key) => world.newest_of_key(host, buffer, (commit, key)),
        };
        let answer = match commit.map(|commit| shown(self, commit)) {
            Some(Some(answer)) => answer,
            damaged_or_elsewhere => {
                if damaged_or_elsewhere.is_some() {
                    self.damage_found(cause, host, buffer);
                }
                Answer::NoTail(self.primary_known(host, buffer))
            }
        };
        self.answer(cause, host, client, operation, answer);
    }

    pub(super) fn answer(
        &mut self,
        cause: EventId,
        host: usize,
        client: Endpoint,
        operation: u64,
        answer: Answer,
    ) {
        if client == node(host) {
            return self.letter_answered(cause, host, operation, &answer);
        }
        let message = Message::Answer { operation, answer };
        self.send(cause, node(host), client, message);
    }
}

/// The buffer whose commit or tail may have moved by an input.
const fn asked_behind(input: &Input) -> Option<Uuid> {
    match input {
        Input::Synced { buffer, .. }
        | Input::Replication {
            buffer,
            event: Event::FromCopy { .. } | Event::ReadTail(_),
        } => Some(*buffer),
        _ => None,
    }
}

/// The last record's seq among framed bytes; none when there is a head line alone.
fn last_seq(bytes: &[u8]) -> Option<Seq> {
    let (mut at, mut last) = (0, None);
    while let Ok(line) = Line::parse(bytes.get(at..).unwrap_or_default()) {
        at += usize::try_from(line.record_len()).unwrap_or(usize::MAX);
        if line.state != State::Head {
            last = Some(line.seq);
        }
    }
    last
}
