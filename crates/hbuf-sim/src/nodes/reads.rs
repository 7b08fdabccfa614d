//! What a node answers to a read of messages, or of a key.

use hbuf_core::ids::Seq;
use hbuf_core::record::{Line, Record, State, decode};
use hbuf_core::segment::LogKind;

use super::World;
use super::client::SHOWN_MAX;
use super::files::{LogId, is_whole};
use super::message::{Answer, Newest};
use crate::history::{Shown, ShownMessage};

impl World {
    /// What a node shows of the end of a buffer.
    pub(super) fn shown(&mut self, host: usize, buffer: usize, commit: Seq) -> Option<Shown> {
        let id = LogId {
            buffer,
            log: LogKind::Messages,
        };
        self.hosts[host].log(id);
        let this = &self.hosts[host];
        let after = Seq(commit.0.saturating_sub(SHOWN_MAX));
        let stream = this.files[&id].stream(&this.disk, after, commit);
        if commit > Seq::ZERO && !is_whole(&stream, commit) {
            return None;
        }
        let uuid = self.buffers[buffer];
        let history = this.shard.buffer(&uuid).map_or(uuid, |it| it.history());
        Some(Shown {
            from: Some(self.names.nodes[host].clone()),
            history,
            through: commit,
            tail: Some(commit),
            messages: messages_of(&stream),
        })
    }

    /// Messages behind a seq, as far as this node knows that they are committed. Only a member of
    /// the in-sync set answers: what another copy has may still be cut.
    pub(super) fn read(
        &mut self,
        host: usize,
        buffer: usize,
        (after, limit): (Seq, u64),
    ) -> Answer {
        let Some((after, commit)) = self.committed_behind(host, buffer, after) else {
            return Answer::NoTail(self.primary_known(host, buffer));
        };
        let through = commit.min(Seq(after.0.saturating_add(limit)));
        let stream = self.stream(host, buffer, after.min(through), through);
        let messages = messages_of(&stream);
        let whole = messages.len() as u64 == through.0 - after.0.min(through.0);
        if !whole {
            return Answer::NoTail(self.primary_known(host, buffer));
        }
        let shown = self.shown_of(host, buffer, through.max(after), commit);
        Answer::Read(Box::new(Shown { messages, ..shown }), None)
    }

    /// Behind which seq a node reads when it is asked for what is behind `after`, and through
    /// where. A copy that began near the tail lacks what others have: it does not pass that over.
    pub(super) fn committed_behind(
        &self,
        host: usize,
        buffer: usize,
        after: Seq,
    ) -> Option<(Seq, Seq)> {
        let (first, commit) = self.committed_here(host, buffer)?;
        let leads = self.hosts[host]
            .shard
            .buffer(&self.buffers[buffer])
            .is_some();
        (leads || first <= after.next()).then(|| (after.max(first.prev()), commit))
    }

    /// The first message of a buffer here, and how far this node knows it as committed.
    pub(super) fn committed_here(&self, host: usize, buffer: usize) -> Option<(Seq, Seq)> {
        let this = &self.hosts[host];
        let uuid = self.buffers[buffer];
        if let Some(led) = this.shard.buffer(&uuid) {
            return Some((led.first(), led.commit()));
        }
        let (assignment, copy) = (this.manager.assignment(uuid)?, this.shard.copy(&uuid)?);
        // Of a primary that the node has not heard of from the manager, it does not know of which
        // history that one is.
        let known = copy.epoch() <= assignment.epoch;
        let log = copy.log(LogKind::Messages);
        let member = assignment.in_sync.contains_key(&this.id);
        (member && known).then_some((log.from, log.commit))
    }

    /// The newest message of a key up to the commit that the tail was asked for; none when the log
    /// cannot be read.
    pub(super) fn newest_of_key(
        &mut self,
        host: usize,
        buffer: usize,
        (commit, key): (Seq, &str),
    ) -> Option<Answer> {
        let first = self
            .committed_here(host, buffer)
            .map_or(Seq::FIRST, |it| it.0);
        let stream = self.stream(host, buffer, first.prev(), commit);
        if !is_whole(&stream, commit) && commit >= first {
            return None;
        }
        let mut newest = None;
        let mut shown = self.shown_of(host, buffer, commit, commit);
        each_message(&stream, |record| {
            if record.key() != Some(key.as_bytes()) {
                return;
            }
            newest = Some(Box::new(Newest {
                seq: record.line.seq,
                time: record.line.time,
                body: record.body.to_vec(),
            }));
            shown.messages = messages_of(record.bytes);
        });
        Some(Answer::Read(Box::new(shown), newest))
    }

    pub(super) fn stream(
        &mut self,
        host: usize,
        buffer: usize,
        after: Seq,
        through: Seq,
    ) -> Vec<u8> {
        let id = LogId {
            buffer,
            log: LogKind::Messages,
        };
        self.hosts[host].log(id);
        let this = &self.hosts[host];
        this.files[&id].stream(&this.disk, after, through)
    }

    fn shown_of(&self, host: usize, buffer: usize, through: Seq, commit: Seq) -> Shown {
        let uuid = self.buffers[buffer];
        let this = &self.hosts[host];
        let led = this.shard.buffer(&uuid).map(|led| led.history());
        let decided = || this.manager.assignment(uuid).map(|it| it.history);
        Shown {
            from: Some(self.names.nodes[host].clone()),
            history: led.or_else(decided).unwrap_or(uuid),
            through,
            tail: Some(commit),
            messages: Vec::new(),
        }
    }
}

/// The messages of a stream of records.
pub(super) fn messages_of(stream: &[u8]) -> Vec<ShownMessage> {
    let mut found = Vec::new();
    each_message(stream, |record| {
        found.push(ShownMessage {
            seq: record.line.seq,
            content: record.commitment(),
            id: record.id(),
        });
    });
    found
}

/// Walks through the messages of framed bytes.
pub(super) fn each_message(stream: &[u8], mut take: impl FnMut(&Record<'_>)) {
    let mut at = 0;
    while let Ok(line) = Line::parse(stream.get(at..).unwrap_or_default()) {
        let len = usize::try_from(line.record_len()).unwrap_or(usize::MAX);
        let Some(Ok(record)) = stream.get(at..at.saturating_add(len)).map(decode) else {
            break;
        };
        at += len;
        if record.line.state != State::Head {
            take(&record);
        }
    }
}
