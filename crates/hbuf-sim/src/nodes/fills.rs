//! Old records for copies that began near the tail: sent slowly, taken a segment at a time.

use hbuf_core::ids::{Micros, NodeId, Seq};
use hbuf_core::input::Token;
use hbuf_core::replication::{Event, Fill};
use hbuf_core::segment::LogKind;

use super::files::LogId;
use super::marks::MarkWrite;
use super::{About, Due, World};
use crate::draw::{Purpose, mix};
use crate::kinds::Kind;
use crate::tracefile::EventId;

/// Records of a piece at most.
const RECORDS_MAX: u64 = 8;

impl World {
    /// A copy is sent old records as soon as the node's pace has room for them.
    pub(super) fn fill_soon(&mut self, cause: EventId, host: usize, buffer: usize, to: NodeId) {
        let this = &self.hosts[host];
        let (life, now) = (this.life, Micros(this.clock.monotonic(self.t)));
        let waits = this.fill_pace.next(now).since(now);
        let entity = mix(((host as u64) << 32) | u64::from(to.0), buffer as u64);
        let after = waits + 10 + self.draw(Purpose::Delay, entity, cause.0).below(60);
        let due = Due::Fill {
            host,
            life,
            buffer,
            to,
        };
        self.due_on(cause, host, after, due);
    }

    /// Few records at once, so that pieces of segments are met by faults.
    pub(super) fn pull_fill(&mut self, cause: EventId, host: usize, buffer: usize, to: NodeId) {
        let entity = mix(((host as u64) << 32) | u64::from(to.0), buffer as u64);
        let draw = self.draw(Purpose::Delay, entity, mix(cause.0, self.t));
        let records = draw.within(1, RECORDS_MAX);
        self.replication(cause, host, buffer, Event::PullFill { to, records });
    }

    /// A node sends so many bytes of old records.
    pub(super) fn filled_from(&mut self, host: usize, bytes: usize) {
        let now = Micros(self.hosts[host].clock.monotonic(self.t));
        self.hosts[host].fill_pace.sent(now, bytes as u64);
    }

    /// A copy puts records before its first one. With the last of a segment it writes its mark
    /// anew, by which the log begins there.
    pub(super) fn take_fill(
        &mut self,
        cause: EventId,
        host: usize,
        buffer: usize,
        token: Token,
        fill: Fill,
    ) {
        let log = LogKind::Messages;
        let id = LogId { buffer, log };
        self.hosts[host].log(id);
        let this = &mut self.hosts[host];
        let Some(held) = this.held.get(&token) else {
            return;
        };
        let files = this.files.get_mut(&id).expect("it was just made");
        let span = (fill.after, fill.through);
        let taken = files.fill(&mut this.disk, &held.body, fill.first, span);
        taken.expect("disks of this world have room");
        self.check_copied(cause, host, id, span);
        if fill.whole && self.begins_at(cause, host, id, fill.first) {
            let about = About {
                host: Some(host),
                buffer: Some(buffer),
                seqs: Some((fill.first.0, fill.through.0)),
                ..About::default()
            };
            let event = self.event(&[cause], Kind::CopyFilled, &about);
            self.replication(event, host, buffer, Event::Filled(fill.first));
        }
    }

    /// Whether the newest mark, written anew, could say that the log begins here.
    fn begins_at(&mut self, cause: EventId, host: usize, id: LogId, first: Seq) -> bool {
        let disk = &self.hosts[host].disk;
        let Some(mut mark) = disk.mark(id.buffer) else {
            return false;
        };
        let tables = disk.read(crate::disk::Name::Tables(id.buffer, mark.generation));
        let tables = tables.cloned().filter(|_| mark.table.is_some());
        (mark.first, mark.generation, mark.clean) = (first, mark.generation + 1, false);
        let files = vec![id.name(first)];
        let write = MarkWrite {
            mark,
            tables,
            files,
        };
        self.write_mark(cause, host, id.buffer, write)
    }
}
