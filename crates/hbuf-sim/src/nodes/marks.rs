//! Marks and their tables as a node writes them, step by step: the power may go between any two.

use hbuf_core::effect::MarkCause;
use hbuf_core::ids::Seq;
use hbuf_core::input::{Input, Token};
use hbuf_core::mark::{Mark, SLOT_LEN};
use hbuf_core::replication::Event;
use hbuf_core::segment::LogKind;

use super::files::LogId;
use super::host::Host;
use super::{About, World};
use crate::disk::{Directory, Name};
use crate::draw::{Purpose, mix};
use crate::kinds::Kind;
use crate::swarm::Opt;
use crate::tracefile::EventId;

/// Steps of writing a mark. A crash before the fifth leaves the mark of before; behind it the new
/// one may be there or not, and all that it vouches for is durable.
const STEPS: u64 = 7;
/// Ticks between two looks for logs of which no mark vouches for the end.
pub(super) const CHECKPOINT_TICKS: u64 = 50;
/// Marks of a hundred during which the power goes, in runs in which it does.
const CUT_PERCENT: u64 = 3;
/// The same of marks with which a copy begins near the tail, which are rare.
const BEGIN_CUT_PERCENT: u64 = 40;

/// A mark that is to be written.
pub(super) struct MarkWrite {
    pub(super) mark: Mark,
    pub(super) tables: Option<Vec<u8>>,
    /// What it vouches for, and may not be durable yet.
    pub(super) files: Vec<Name>,
}

impl Host {
    /// Writes a mark as far as these steps go.
    pub(super) fn write_mark(&mut self, buffer: usize, write: MarkWrite, steps: u64) {
        let MarkWrite {
            mut mark,
            tables,
            files,
        } = write;
        let disk = &mut self.disk;
        let name = Name::Tables(buffer, mark.generation);
        if steps > 0 {
            for file in files {
                let _ = disk.sync(file, None);
            }
        }
        mark.table = None;
        if let Some(tables) = tables {
            if steps > 1 {
                disk.write(name, 0, &tables).expect("there is room");
            }
            if steps > 2 {
                let _ = disk.sync(name, None);
            }
            mark.table = Some(mark.generation.to_string().into());
        }
        if steps > 3 {
            disk.sync_names(Directory::Buffer(buffer));
        }
        if steps > 4 {
            let mut slot = [0; SLOT_LEN];
            mark.encode(&mut slot);
            let at = (mark.slot() * SLOT_LEN) as u64;
            let written = disk.write(Name::Mark(buffer), at, &slot);
            written.expect("there is room");
        }
        if steps > 5 {
            let _ = disk.sync(Name::Mark(buffer), None);
        }
        if steps > 6 {
            disk.sync_names(Directory::Buffer(buffer));
        }
    }
}

impl World {
    /// Writes a mark of a primary. Marks are rare, so it takes no time, unless the power goes.
    pub(super) fn mark(
        &mut self,
        cause: EventId,
        host: usize,
        (mark, tables): (Mark, Option<Vec<u8>>),
        why: MarkCause,
    ) {
        let buffer = self.index(mark.buffer);
        let mut files = vec![Name::Segment(buffer, mark.file)];
        if let MarkCause::Roll { sealed, bytes } = why {
            let name = Name::Segment(buffer, sealed);
            self.hosts[host].disk.set_len(name, bytes);
            files.insert(0, name);
        }
        let through = mark.durable;
        let write = MarkWrite {
            mark,
            tables,
            files,
        };
        if !self.write_mark(cause, host, buffer, write) {
            return;
        }
        let event = self.marked(cause, host, buffer, through);
        self.replication(event, host, buffer, Event::Marked(through));
    }

    /// What no mark vouches for gets one, as when a journal begins anew: what rots at the end of a
    /// log is told from what a loss of power tears only by a mark.
    pub(super) fn checkpoint(&mut self, cause: EventId, host: usize) {
        for at in 0..self.buffers.len() {
            let buffer = self.buffers[at];
            let led = self.hosts[host].shard.buffer(&buffer);
            if led.is_some_and(|led| led.marked() < Some(led.end())) {
                let journal = 0;
                self.shard(cause, host, Input::Checkpoint { buffer, journal });
            }
        }
    }

    /// A copy takes a mark of its primary's. Where it ends is where its record does here.
    pub(super) fn take_mark(
        &mut self,
        cause: EventId,
        host: usize,
        buffer: usize,
        token: Token,
        (at, first): (Seq, Seq),
    ) {
        let log = LogKind::Messages;
        let id = LogId { buffer, log };
        self.hosts[host].log(id);
        let this = &self.hosts[host];
        let end = this.files[&id].place(at);
        let (Some(held), Some((Name::Segment(_, file), offset, len))) =
            (this.held.get(&token), end)
        else {
            return;
        };
        // A newer one was written while this was under way: it comes too.
        let Some(mark) = Mark::decode(&held.body).ok().filter(|it| it.durable == at) else {
            return;
        };
        let time = this.files[&id].time(&this.disk, at);
        let generation = this.disk.mark(buffer).map_or(0, |it| it.generation);
        let write = MarkWrite {
            mark: Mark {
                generation: generation + 1,
                first,
                file,
                offset: offset + len,
                // Whoever leads next may have a clock that is behind.
                time: time.unwrap_or(mark.time),
                fence: 0,
                clean: false,
                ..mark
            },
            tables: held.tables.clone(),
            files: vec![Name::Segment(buffer, file)],
        };
        if self.write_mark(cause, host, buffer, write) {
            self.marked(cause, host, buffer, at);
        }
    }

    fn marked(&mut self, cause: EventId, host: usize, buffer: usize, through: Seq) -> EventId {
        let about = About {
            host: Some(host),
            buffer: Some(buffer),
            seqs: Some((through.0, through.0)),
            ..About::default()
        };
        self.event(&[cause], Kind::MarkWritten, &about)
    }

    /// Whether all steps were done. Otherwise the power goes at once, and comes back.
    pub(super) fn write_mark(
        &mut self,
        cause: EventId,
        host: usize,
        buffer: usize,
        write: MarkWrite,
    ) -> bool {
        let entity = mix(host as u64, buffer as u64);
        let ordinal = mix(self.hosts[host].life, write.mark.generation);
        let draw = self.draw(Purpose::Mark, entity, ordinal);
        let begins = self.hosts[host]
            .shard
            .buffer(&self.buffers[buffer])
            .is_none();
        let percent = if begins {
            BEGIN_CUT_PERCENT
        } else {
            CUT_PERCENT
        };
        let cut = self.stormy && self.options.get(Opt::Crash) > 0 && draw.percent(percent);
        let steps = match cut {
            true => draw.next().below(STEPS),
            false => STEPS,
        };
        self.hosts[host].write_mark(buffer, write, steps);
        if cut {
            self.count_mark_cut(begins, steps);
            self.hosts[host].cut_off = true;
            self.power_goes(cause, host, 0);
        }
        !cut
    }
}
