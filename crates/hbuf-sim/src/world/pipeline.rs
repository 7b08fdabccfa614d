//! The commit pipeline: takes what is queued, writes it on the way that the core chooses, syncs,
//! and tells the shard. Also the steps that both queues share.

use hbuf_core::commit_path::{Load, Path};
use hbuf_core::ids::Seq;
use hbuf_core::input::{BufferState, DiskHealth, Input};
use hbuf_core::segment::LogKind;

use super::{Due, World};
use crate::bugs::Bug;
use crate::disk::{Directory, DiskError, Name};
use crate::draw::Purpose;
use crate::invariants::Invariant;
use crate::kinds::Kind;
use crate::node::{Chunk, Group, Opened, Step, Why};
use crate::plan::Fault;
use crate::trace::{EventId, Facts};

impl World<'_> {
    pub(super) fn queue_chunk(&mut self, cause: EventId, chunk: Chunk) {
        self.node.chunks.push(chunk);
        if !self.node.pipeline_busy && !self.node.failed {
            self.node.pipeline_busy = true;
            let after = self.delay().within(5, 30);
            self.due(cause, after, Due::Pipeline { life: self.life });
        }
    }

    /// Performs the next step of the batch, or begins the next batch.
    pub(super) fn pipeline_step(&mut self) {
        if self.node.failed {
            self.node.pipeline_busy = false;
            return;
        }
        if self.node.pipeline.is_empty() {
            self.next_batch();
        }
        let Some((cause, step)) = self.node.pipeline.pop_front() else {
            self.node.pipeline_busy = false;
            return;
        };
        let after = self.step_time(&step);
        let event = self.perform_step(cause, step);
        self.due(event, after, Due::Pipeline { life: self.life });
    }

    /// How long a step takes.
    pub(super) fn step_time(&mut self, step: &Step) -> u64 {
        let slow = matches!(step, Step::Sync { .. } | Step::SyncNames { .. });
        if slow {
            self.delay().within(100, self.plan.sync_max)
        } else {
            self.delay().within(2, 20)
        }
    }

    fn next_batch(&mut self) {
        if std::mem::take(&mut self.node.close_journal) {
            self.node.journal.close();
        }
        let groups = self.node.next_groups();
        let Some(cause) = groups.first().map(|group| group.chunks[0].cause) else {
            return;
        };
        let chunks = || groups.iter().flat_map(|group| &group.chunks);
        let bytes = chunks().map(|chunk| chunk.bytes.len() as u64).sum();
        let path = self.plan.choice.path(Load {
            files: groups.len(),
            bytes,
            full: self.plan.deferral.is_full(self.node.unwritten_at(self.t)),
        });
        let mut steps = Vec::new();
        match path {
            Path::Direct => direct_steps(&groups, &mut steps),
            Path::Journal => steps.push(Step::Journal {
                groups: groups.clone(),
            }),
        }
        steps.push(Step::Acknowledge {
            groups,
            journaled: path == Path::Journal,
        });
        self.node
            .pipeline
            .extend(steps.into_iter().map(|step| (cause, step)));
    }

    /// One step of either queue.
    pub(super) fn perform_step(&mut self, cause: EventId, step: Step) -> EventId {
        match step {
            Step::Write {
                name,
                offset,
                bytes,
                of,
            } => self.write(cause, name, offset, &bytes, of),
            Step::SetLen { name, length } => self.set_len(cause, name, length),
            Step::Sync { name, of } => {
                if of.is_some_and(|of| self.node.is_void(&of)) {
                    return cause;
                }
                if of.is_some() && matches!(name, Name::Cursors(..)) {
                    self.node.ahead.entry(name).or_default().0 += 1;
                }
                self.sync(cause, name)
            }
            Step::SyncNew { name } => {
                if !self.node.new_names.contains(&name) {
                    return cause;
                }
                self.sync_names(cause, name.directory())
            }
            Step::SyncNames { directory } => self.sync_names(cause, directory),
            Step::Remove { name } => self.remove(cause, name),
            Step::Rename { from, to } => {
                self.disk.rename(from, to);
                self.disk_event(cause, Kind::DiskRenamed, to)
            }
            Step::WriteBehind { buffer, why } => self.write_behind(cause, buffer, why),
            Step::Journal { groups } => self.journal(cause, groups),
            Step::Acknowledge { groups, journaled } => self.acknowledge(cause, &groups, journaled),
            Step::Marked {
                buffer,
                fence,
                generation,
            } => self.on_marked(cause, buffer, fence, generation),
            Step::Drop { buffer, keep_from } => self.drop_segments(cause, buffer, keep_from),
            Step::DropCursors { buffer, keep_from } => self.drop_cursors(cause, buffer, keep_from),
            Step::StoreFilter { of, number } => self.rename_filter(cause, of, number),
            Step::RemoveFilter { of, number } => self.remove_filter(cause, of, number),
            Step::FilterChanged { of, number } => self.filter_changed(cause, of, number),
            Step::Settle {
                buffer,
                client,
                change,
            } => {
                if self.models[buffer].changes == change {
                    if self.node.unmarked.holds(buffer) {
                        let settle = Step::Settle {
                            buffer,
                            client,
                            change,
                        };
                        return self.settle_later(cause, buffer, settle);
                    }
                    return self.settled(cause, buffer, client);
                }
                self.due(cause, 500, Due::Client(client));
                cause
            }
            Step::Recover { buffer } => self.recover_one(cause, buffer),
            Step::Open { buffer, opening } => self.open(cause, buffer, *opening),
            Step::Started => self.on_started(cause),
        }
    }

    pub(super) fn disk_event(&mut self, cause: EventId, kind: Kind, name: Name) -> EventId {
        let seq = match name {
            Name::Segment(_, first) | Name::Cursors(_, first) | Name::Journal(first) => first.0,
            Name::Tables(_, generation) => generation,
            Name::Filter(_, number) | Name::FilterUpload(_, number) => number,
            Name::Mark(_) | Name::Unapplied(_) | Name::UnfinishedUnapplied(_) => 0,
        };
        let (buffer, note) = (name.buffer(), name.what());
        self.event(
            cause,
            kind,
            &Facts {
                buffer,
                seqs: Some((seq, seq)),
                note,
            },
        )
    }

    pub(super) fn check_unpaused(&mut self, name: Name) {
        let Some(buffer) = name.log_of() else { return };
        let model = &self.models[buffer];
        let paused = model.settled && model.state == BufferState::Paused;
        self.check(!paused, Invariant::PauseMeansNoChange, || {
            format!("buffer {buffer}: {name:?} changes while it is paused")
        });
    }

    fn write(
        &mut self,
        cause: EventId,
        name: Name,
        offset: u64,
        bytes: &[u8],
        of: Option<Opened>,
    ) -> EventId {
        if of.is_some_and(|of| self.node.is_void(&of)) {
            return cause;
        }
        self.check_unpaused(name);
        let new = !self.disk.exists(name);
        match self.disk.write(name, offset, bytes) {
            Ok(()) => {
                if new {
                    self.node.new_names.insert(name);
                }
                if of.is_some() && matches!(name, Name::Cursors(..)) {
                    self.write_ahead(name, offset + bytes.len() as u64);
                }
                self.disk_event(cause, Kind::DiskWrote, name)
            }
            Err(DiskError::Full) => self.no_room(cause, name, offset, of),
            Err(DiskError::Sync) => unreachable!("a write syncs nothing"),
        }
    }

    /// Zeros behind what was written to a file of a cursors log; without room there are none.
    fn write_ahead(&mut self, name: Name, end: u64) {
        let (syncs, written) = self.node.ahead.entry(name).or_default();
        let count = self.plan.ahead.zeros(*syncs, end, *written);
        let zeros = vec![0; usize::try_from(count).expect("few are written at a time")];
        if count > 0 && self.disk.write(name, end, &zeros).is_ok() {
            *written = end + count;
        }
    }

    /// A segment without room voids its buffer's opening; a journal without room makes the batch a
    /// direct one; a mark without room is missed.
    fn no_room(&mut self, cause: EventId, name: Name, offset: u64, of: Option<Opened>) -> EventId {
        let event = self.disk_event(cause, Kind::DiskFull, name);
        match (of, name) {
            (Some(of), _) => self.void_opening(event, of),
            (None, Name::Journal(file)) => {
                self.node.journal.abandon(file, offset);
                self.node.unmarked.abandoned(self.node.journal.last());
                self.leave_journal(event);
            }
            (None, Name::FilterUpload(..)) => return self.drop_upload(event, name),
            (None, _) => self.miss_mark(name),
        }
        event
    }

    pub(super) fn void_opening(&mut self, cause: EventId, of: Opened) {
        self.node.void.insert(of);
        let buffer = self.registry.uuid(of.buffer);
        self.shard(cause, Input::WriteFailed { buffer });
    }

    fn leave_journal(&mut self, cause: EventId) {
        while let Some((_, step)) = self.node.pipeline.front() {
            if let Step::Acknowledge { groups, .. } = step {
                let groups = groups.clone();
                self.node.pipeline.pop_front();
                let mut steps = Vec::new();
                direct_steps(&groups, &mut steps);
                self.node
                    .pipeline
                    .extend(steps.into_iter().map(|step| (cause, step)));
                let last = Step::Acknowledge {
                    groups,
                    journaled: false,
                };
                self.node.pipeline.push_back((cause, last));
                return;
            }
            self.node.pipeline.pop_front();
        }
    }

    pub(super) fn miss_mark(&mut self, name: Name) {
        while let Some((_, step)) = self.node.keeper.pop_front() {
            if matches!(step, Step::Marked { buffer, .. } if Some(buffer) == name.buffer()) {
                return;
            }
        }
    }

    fn set_len(&mut self, cause: EventId, name: Name, length: u64) -> EventId {
        let present = self.disk.read(name).map(|bytes| bytes.len() as u64);
        if present.is_none_or(|present| present == length) {
            return cause;
        }
        self.check_unpaused(name);
        self.disk.set_len(name, length);
        self.disk_event(cause, Kind::DiskCut, name)
    }

    fn remove(&mut self, cause: EventId, name: Name) -> EventId {
        if !self.disk.exists(name) {
            return cause;
        }
        self.check_unpaused(name);
        self.disk.remove(name);
        self.node.dirty.remove(&name);
        self.node.ahead.remove(&name);
        self.node.new_names.remove(&name);
        self.disk_event(cause, Kind::DiskRemoved, name)
    }

    fn sync_names(&mut self, cause: EventId, directory: Directory) -> EventId {
        if self.bug != Some(Bug::NoNameSync) {
            self.disk.sync_names(directory);
        }
        self.node
            .new_names
            .retain(|name| name.directory() != directory);
        self.event(cause, Kind::DiskSyncedNames, &Facts::default())
    }

    fn sync(&mut self, cause: EventId, name: Name) -> EventId {
        let fail = std::mem::take(&mut self.fail_next_sync);
        if self.disk.sync(name, fail.then_some(&self.draws)).is_ok() {
            self.node.dirty.remove(&name);
            return self.disk_event(cause, Kind::DiskSynced, name);
        }
        let event = self.disk_event(cause, Kind::DiskSyncFailed, name);
        self.count_fault(Fault::SyncError);
        self.node.failed = true;
        self.node.pipeline.clear();
        self.node.keeper.clear();
        self.shard(event, Input::Disk(DiskHealth::Failed));
        // Nothing but a restart helps; an operator notices after a while.
        self.due(event, 5_000, Due::Restart { life: self.life });
        event
    }

    fn journal(&mut self, cause: EventId, groups: Vec<Group>) -> EventId {
        let groups: Vec<Group> = groups
            .into_iter()
            .filter(|group| !self.node.is_void(&group.of))
            .collect();
        if groups.is_empty() {
            return cause;
        }
        let (now, before) = (self.now(), self.node.journal.last());
        let steps = self.node.journal.steps(&groups, &self.registry, now);
        for group in &groups {
            self.node
                .unmarked
                .journaled(group.of.buffer, before, self.node.journal.last());
        }
        for step in steps.into_iter().rev() {
            self.node.pipeline.push_front((cause, step));
        }
        cause
    }

    fn acknowledge(&mut self, cause: EventId, groups: &[Group], journaled: bool) -> EventId {
        if journaled {
            self.node.journal.committed();
        }
        let journal = self.node.journal.last();
        let event = self.event(cause, Kind::BatchSynced, &Facts::default());
        if journaled {
            // All of them before anybody hears of one: a mark's fence covers the whole batch.
            for group in groups {
                if !self.node.is_void(&group.of) {
                    self.defer(event, group);
                }
            }
            self.node.position = journal;
        }
        for group in groups {
            if self.node.is_void(&group.of) || self.forgets(event) {
                continue;
            }
            let (buffer, through) = (group.of.buffer, group.through());
            if group.log == LogKind::Messages && self.is_on_disk(group, journaled) {
                self.stable[buffer] = self.stable[buffer].max(through);
            }
            let uuid = self.registry.uuid(buffer);
            self.shard(
                event,
                Input::Synced {
                    buffer: uuid,
                    log: group.log,
                    through,
                    journal,
                },
            );
        }
        event
    }

    fn forgets(&self, event: EventId) -> bool {
        let draw = self.draws.draw(Purpose::Delay, u64::MAX, event.0);
        self.bug == Some(Bug::ForgetSync) && draw.percent(3)
    }

    /// By the disk's own word, not by the shell's.
    fn is_on_disk(&self, group: &Group, journaled: bool) -> bool {
        if journaled {
            let mut files = self
                .disk
                .names(Name::Journal(Seq::ZERO), Name::Journal(Seq::MAX));
            return files.all(|name| self.disk.is_durable(name));
        }
        self.disk.is_durable(group.name())
    }
}

/// Writes and syncs each file; what waits for a file of the same buffer comes first.
fn direct_steps(groups: &[Group], steps: &mut Vec<Step>) {
    for group in groups {
        steps.push(Step::WriteBehind {
            buffer: group.of.buffer,
            why: Why::Direct(group.of),
        });
        for chunk in &group.chunks {
            steps.push(Step::Write {
                name: group.name(),
                offset: chunk.offset,
                bytes: chunk.bytes.clone(),
                of: Some(group.of),
            });
        }
    }
    for group in groups {
        steps.push(Step::Sync {
            name: group.name(),
            of: Some(group.of),
        });
    }
    let names = groups.iter().map(Group::name);
    steps.extend(names.map(|name| Step::SyncNew { name }));
}
