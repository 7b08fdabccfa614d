//! The start of a node: read the journal, recover every buffer, make it durable, open it.

use std::collections::BTreeMap;
use std::sync::Arc;

use hbuf_core::buffer::Opening;
use hbuf_core::ids::{Micros, NodeId, Seq, Uuid};
use hbuf_core::input::{BufferConfig, BufferState, Input};
use hbuf_core::journal::Entry;
use hbuf_core::mark::SLOT_LEN;
use hbuf_core::record::{JournalFile, Line};
use hbuf_core::recovery::{Found, FoundEntry, FoundFile, Recovered, Repair, recover};
use hbuf_core::replication::{Assignment, NodeEpoch};
use hbuf_core::segment::{End, LogKind, classify, open, walk};

use super::World;
use super::keeper::{mark_steps, write_whole};
use crate::bugs::Bug;
use crate::disk::{Directory, Name};
use crate::invariants::Invariant;
use crate::kinds::Kind;
use crate::model::Backup;
use crate::node::{Step, file_name};
use crate::trace::{EventId, Facts};

/// A journal entry, copied out of its file.
#[derive(Clone)]
struct JournalEntry {
    position: u64,
    file: JournalFile,
    bytes: Vec<u8>,
}

/// A journal's entries by buffer.
type Entries = BTreeMap<Uuid, Vec<JournalEntry>>;

impl World<'_> {
    /// Reads everything and queues what must be done before the first request.
    pub(super) fn start(&mut self, cause: EventId) {
        let event = self.event(cause, Kind::NodeStarted, &Facts::default());
        self.started_by = event;
        self.check_filters();
        let (journal, files) = self.read_journal();
        let mut steps = self.journal_steps(&files);
        let mut openings = Vec::new();
        for buffer in 0..self.plan.buffers {
            let entries = journal
                .get(&self.registry.uuid(buffer))
                .map_or(&[][..], Vec::as_slice);
            let recovered = self.recover(buffer, entries);
            let last = entries.last().filter(|_| recovered.in_journal);
            self.repair_steps(buffer, &recovered, last.is_some(), &mut steps);
            let mut opening = recovered.opening;
            if let Some(last) = last {
                self.take_over(&opening, buffer, last.position);
            } else if !entries.is_empty() && recovered.damage.is_none() {
                let (mark, tables) = opening.mark(self.node.journal.last());
                (opening.mark_generation, opening.fence) = (mark.generation, mark.fence);
                mark_steps(buffer, mark, tables, &mut steps);
            }
            openings.push(Step::Open {
                buffer,
                opening: Box::new(opening),
            });
        }
        if !self.plan.keeps_journal || self.bug == Some(Bug::DropHeldJournal) {
            // Only when every mark has passed it may it go, unless it is done wrong.
            steps.extend(files.into_iter().map(|(_, file)| Step::Remove {
                name: Name::Journal(file),
            }));
        } else {
            // A checkpoint lets go of them.
            self.node.journal.take_over(files);
        }
        steps.extend(openings);
        steps.push(Step::Started);
        self.queue_steps(event, steps);
    }

    /// What the journal is relied on for, it must have. Where it has, a sync takes no time.
    fn journal_steps(&self, files: &[(u64, Seq)]) -> Vec<Step> {
        let names = files.iter().map(|(_, file)| Name::Journal(*file));
        let loose: Vec<Name> = names.filter(|name| !self.disk.is_durable(*name)).collect();
        let syncs = loose.iter().map(|name| Step::Sync {
            name: *name,
            of: None,
        });
        let directory = Directory::Journal;
        let names = (!loose.is_empty()).then_some(Step::SyncNames { directory });
        syncs.chain(names).collect()
    }

    /// The journal answers for the buffer up to `last`: it goes on where the life before stopped.
    fn take_over(&mut self, opening: &Opening, buffer: usize, last: u64) {
        for first in opening.unmarked_segments() {
            let name = Name::Segment(buffer, first);
            self.node.dirty.insert(name);
            self.node.new_names.insert(name);
        }
        self.node.unmarked.journaled(buffer, opening.fence, last);
    }

    /// The entries by buffer, and the files with their last positions.
    fn read_journal(&mut self) -> (Entries, Vec<(u64, Seq)>) {
        let mut found = Entries::new();
        let (from, to) = (Name::Journal(Seq::ZERO), Name::Journal(Seq::MAX));
        let names: Vec<Name> = self.disk.names(from, to).collect();
        let mut files = Vec::new();
        for name in names {
            let mut last = 0;
            for (buffer, entry) in self.read_entries(name) {
                last = entry.position;
                found.entry(buffer).or_default().push(entry);
            }
            if let Name::Journal(file) = name {
                files.push((last, file));
            }
        }
        (found, files)
    }

    /// The entries of one journal file, or of a buffer's own.
    fn read_entries(&mut self, name: Name) -> Vec<(Uuid, JournalEntry)> {
        let mut entries = Vec::new();
        let Some(bytes) = self.disk.read(name) else {
            return entries;
        };
        // Without a good head the file was made and never synced.
        let Ok((_, position)) = open(bytes) else {
            return entries;
        };
        let walked = walk(bytes, position, |_, record| {
            let Ok(entry) = Entry::parse(record) else {
                return;
            };
            let position = record.line.seq.0;
            let (file, bytes) = (entry.file, entry.body.to_vec());
            entries.push((
                entry.buffer,
                JournalEntry {
                    position,
                    file,
                    bytes,
                },
            ));
        });
        let (_, stop) = walked.expect("memory can be read");
        let end = classify(bytes, &stop, Seq::ZERO).expect("memory can be read");
        if let End::Corrupt { seq, reason, .. } = end {
            let what = format!("{} at position {seq}: {reason}", name.what());
            self.broke(Invariant::NoFalseDamage, what);
        }
        entries
    }

    fn recover(&mut self, buffer: usize, journal: &[JournalEntry]) -> Recovered {
        let uuid = self.registry.uuid(buffer);
        let own = self.read_entries(Name::Unapplied(buffer));
        let own = own.into_iter().map(|(_, entry)| entry);
        let mut entries: Vec<JournalEntry> = own.chain(journal.iter().cloned()).collect();
        entries.sort_by_key(|entry| entry.position);
        let mark = self.disk.mark(buffer);
        self.check_rising(buffer, mark.as_ref().map_or(0, |mark| mark.fence), journal);
        let tables = mark.as_ref().and_then(|mark| {
            let generation = mark
                .table
                .as_deref()?
                .strip_prefix("tables-")?
                .parse()
                .ok()?;
            self.disk.read(Name::Tables(buffer, generation))
        });
        let files = |from: Name, to: Name| -> Vec<FoundFile<'_>> {
            let file = |name| {
                let (Name::Segment(_, first) | Name::Cursors(_, first)) = name else {
                    return None;
                };
                Some(FoundFile {
                    first,
                    source: self.disk.read(name)?,
                })
            };
            self.disk.names(from, to).filter_map(file).collect()
        };
        let found = Found {
            buffer: uuid,
            log: uuid,
            node: NodeId(1),
            node_epoch: NodeEpoch(self.life),
            assignment: Arc::new(Assignment::solo(
                NodeId(1),
                NodeEpoch(self.life),
                self.registry.epoch(buffer),
                uuid,
            )),
            config: self.config(buffer),
            state: self.models[buffer].state,
            mark,
            segments: files(
                Name::Segment(buffer, Seq::ZERO),
                Name::Segment(buffer, Seq::MAX),
            ),
            cursors: files(
                Name::Cursors(buffer, Seq::ZERO),
                Name::Cursors(buffer, Seq::MAX),
            ),
            journal: entries
                .iter()
                .map(|entry| FoundEntry::held(entry.position, uuid, entry.file, &entry.bytes))
                .collect(),
            journal_stays: self.plan.keeps_journal && !self.disk.exists(Name::Unapplied(buffer)),
            tables: tables.map(Vec::as_slice),
        };
        let mut found = recover(&self.rules(), &found).expect("memory can be read");
        // Consumers that were deleted meanwhile are left out.
        let known = |uuid: &Uuid| self.registry.consumer(*uuid).is_some();
        found.opening.consumers.retain(|uuid, _| known(uuid));
        found
    }

    /// Above the fence, a log's seqs never fall with the positions. So nothing behind a gap can go
    /// on at the log's end, and replay may stop there.
    fn check_rising(&mut self, buffer: usize, fence: u64, journal: &[JournalEntry]) {
        let mut last: BTreeMap<LogKind, Seq> = BTreeMap::new();
        for entry in journal.iter().filter(|entry| entry.position > fence) {
            let log = match entry.file {
                JournalFile::Messages(_) => LogKind::Messages,
                JournalFile::Cursors(_) => LogKind::Cursors,
            };
            let seq = Line::parse(&entry.bytes).map_or(Seq::ZERO, |line| line.seq);
            let before = last.insert(log, seq).unwrap_or_default();
            // A head line alone has the seq of the record to come.
            self.check(before <= seq, Invariant::FenceRespected, || {
                let position = entry.position;
                format!("buffer {buffer}: the journal has {seq} at {position}, behind {before}")
            });
        }
    }

    fn config(&self, buffer: usize) -> BufferConfig {
        let retention = self.plan.retention[buffer];
        BufferConfig {
            segment_bytes: self.plan.segment_bytes,
            retention,
            follows: (self.mirror() == Some(buffer)).then(|| self.registry.uuid(0)),
        }
    }

    /// The repairs, then syncs of everything from the mark's file on: after a kill, what was read
    /// from the page cache may not be on disk yet, nor the name of its file. Messages that the
    /// journal holds wait for the next checkpoint.
    fn repair_steps(
        &mut self,
        buffer: usize,
        recovered: &Recovered,
        held: bool,
        steps: &mut Vec<Step>,
    ) {
        if recovered.damage.is_some() {
            // What the journal holds is written all the same: the journal goes.
            self.on_damage(buffer, recovered);
        }
        let opening = &recovered.opening;
        let marked = self.disk.mark(buffer).map_or(Seq::ZERO, |mark| mark.file);
        let mut names: Vec<Name> = self.names_of_log(buffer, opening.first);
        names.retain(|name| *name >= Name::Segment(buffer, marked));
        let (last, first): (Vec<_>, Vec<_>) = recovered
            .repairs
            .iter()
            .partition(|repair| recovered.comes_last(repair));
        for repair in first {
            if let Repair::Write { log, file, .. } = repair {
                names.push(file_name(buffer, *log, *file));
            }
            steps.push(repair_step(buffer, repair));
            self.write_twice(buffer, repair, steps);
        }
        if let Some(bytes) = &recovered.unapplied {
            self.keep_unapplied(buffer, bytes, steps);
        }
        names.sort_unstable();
        names.dedup();
        names.retain(|name| !held || matches!(name, Name::Cursors(..)));
        let only_held = held && names.is_empty();
        steps.extend(names.into_iter().map(|name| Step::Sync { name, of: None }));
        if !only_held {
            steps.push(Step::SyncNames {
                directory: Directory::Buffer(buffer),
            });
            steps.push(Step::SyncNames {
                directory: Directory::Cursors(buffer),
            });
        }
        steps.extend(last.into_iter().map(|repair| repair_step(buffer, repair)));
        let name = Name::Unapplied(buffer);
        if recovered.unapplied.is_none() && self.disk.exists(name) {
            steps.push(Step::Remove { name });
        }
    }

    /// Before the journal goes. A crash in the middle leaves the journal whole; the next recovery
    /// comes to the same entries.
    fn keep_unapplied(&self, buffer: usize, bytes: &[u8], steps: &mut Vec<Step>) {
        let (name, unfinished) = (Name::Unapplied(buffer), Name::UnfinishedUnapplied(buffer));
        if self.disk.read(name).is_none_or(|found| **found != *bytes) {
            steps.extend(write_whole(unfinished, bytes.into()));
            steps.push(Step::Rename {
                from: unfinished,
                to: name,
            });
        }
        steps.push(Step::SyncNames {
            directory: Directory::Buffer(buffer),
        });
    }

    fn write_twice(&self, buffer: usize, repair: &Repair, steps: &mut Vec<Step>) {
        if self.bug == Some(Bug::RepairTwice)
            && let Repair::Write {
                log,
                file,
                offset,
                bytes,
            } = repair
        {
            let (name, offset) = (file_name(buffer, *log, *file), offset + bytes.len() as u64);
            steps.push(Step::Write {
                name,
                offset,
                bytes: bytes.to_vec().into(),
                of: None,
            });
        }
    }

    fn names_of_log(&self, buffer: usize, first: Seq) -> Vec<Name> {
        let segments = self.disk.names(
            Name::Segment(buffer, Seq::ZERO),
            Name::Segment(buffer, Seq::MAX),
        );
        let kept =
            segments.filter(|name| matches!(name, Name::Segment(_, at) if at.next() >= first));
        let cursors = self.disk.names(
            Name::Cursors(buffer, Seq::ZERO),
            Name::Cursors(buffer, Seq::MAX),
        );
        kept.chain(cursors).collect()
    }

    fn on_damage(&mut self, buffer: usize, recovered: &Recovered) {
        let reason = recovered
            .damage
            .as_ref()
            .map_or("", |damage| &damage.reason);
        let facts = Facts {
            buffer: Some(buffer),
            note: reason,
            ..Facts::default()
        };
        self.event(self.started_by, Kind::BufferDamaged, &facts);
        let rotted = self.models[buffer].rotted;
        self.check(rotted, Invariant::NoFalseDamage, || {
            format!("buffer {buffer}: {reason}")
        });
        self.models[buffer].damaged = true;
    }

    /// A buffer that was cut back or restored is recovered without the journal.
    pub(super) fn recover_one(&mut self, cause: EventId, buffer: usize) -> EventId {
        let recovered = self.recover(buffer, &[]);
        let mut steps = Vec::new();
        self.repair_steps(buffer, &recovered, false, &mut steps);
        steps.push(Step::Open {
            buffer,
            opening: Box::new(recovered.opening),
        });
        self.node.unmarked.forget(buffer);
        for step in steps.into_iter().rev() {
            self.node.keeper.push_front((cause, step));
        }
        cause
    }

    /// Gives the shard what recovery found, after checking that it is what must be there.
    pub(super) fn open(&mut self, cause: EventId, buffer: usize, opening: Opening) -> EventId {
        let event = self.seqs_event(
            cause,
            Kind::BufferOpened,
            buffer,
            (opening.first, opening.end),
        );
        self.check_opening(buffer, &opening);
        let model = &mut self.models[buffer];
        // What is damaged may be whole again when its journal entries are applied; until then it
        // may not pass for an end that nobody was told of.
        if opening.damaged.is_none() {
            model.cut(opening.end);
            model.acked = model.acked.min(opening.end);
        }
        model.commit = opening.end;
        model.first = model.first.max(opening.first);
        model.settled |= model.state != BufferState::Paused;
        self.stable[buffer] = opening.end;
        self.last_times[buffer] = opening.last_time;
        self.node.opened[buffer] += 1;
        self.reopen_ledgers(buffer, &opening);
        self.shard(event, Input::Open(Box::new(opening)));
        self.audit(buffer, "after recovery", true);
        event
    }

    fn check_opening(&mut self, buffer: usize, opening: &Opening) {
        let model = &self.models[buffer];
        let (end, acked, commit, last) = (opening.end, model.acked, model.commit, model.end());
        if opening.damaged.is_none() {
            self.check(end >= acked, Invariant::AckedNeverLost, || {
                format!("buffer {buffer}: recovered through {end}, acknowledged was {acked}")
            });
            self.check(end >= commit, Invariant::CommitMonotonic, || {
                format!("buffer {buffer}: recovered through {end}, readers saw {commit}")
            });
            let batch_last = self.models[buffer]
                .entry(end)
                .map_or(end, |entry| entry.batch_last);
            self.check(batch_last == end, Invariant::BatchAllOrNothing, || {
                format!("buffer {buffer}: recovered through {end}, its batch ends at {batch_last}")
            });
        }
        self.check(end <= last, Invariant::FenceRespected, || {
            format!("buffer {buffer}: recovered through {end}, the log ended at {last}")
        });
        if end <= last {
            let same = self.models[buffer].frontier(end) == opening.frontier;
            let fenced = !same && self.brings_back_fenced(buffer);
            self.check(!fenced, Invariant::FenceRespected, || {
                format!("buffer {buffer}: a record from before the fence is back")
            });
            self.check(same || fenced, Invariant::HashChainIntact, || {
                format!("buffer {buffer}: recovery comes to another tree through {end}")
            });
        }
        let cursors = &opening.cursors;
        let behind = self.disk.read(Name::Cursors(buffer, cursors.file));
        // Zeros at the end are space written ahead.
        let data = behind.and_then(|bytes| bytes.iter().rposition(|&byte| byte != 0));
        let behind = data.map_or(0, |last| last as u64 + 1);
        if opening.damaged.is_none() {
            self.check(behind <= cursors.offset, Invariant::SeqDenseUnique, || {
                format!("buffer {buffer}: {behind} bytes of cursors, the log ends at {cursors:?}")
            });
        }
        let loose: Vec<Name> = self.names_of_log(buffer, opening.first);
        // What was not synced of these, the journal holds.
        let held = |name: &Name| self.node.dirty.contains(name);
        let loose = loose
            .into_iter()
            .find(|name| !self.disk.is_durable(*name) && !held(name));
        if opening.damaged.is_none() && self.bug != Some(Bug::NoNameSync) {
            self.check(loose.is_none(), Invariant::AckNeverAheadOfDisk, || {
                format!("buffer {buffer}: opened while {loose:?} is not durable")
            });
        }
    }

    pub(super) fn on_started(&mut self, cause: EventId) -> EventId {
        self.node.started = true;
        for client in 0..self.plan.clients {
            self.due(cause, 100, super::Due::Client(client));
        }
        self.wake_workers(cause);
        cause
    }

    /// An operator puts a copy of a paused buffer's directory in its place. The fence that the
    /// pause left is kept: what the journal holds for the buffer belongs to the log that is given
    /// up.
    pub(super) fn restore(&mut self, cause: EventId, buffer: usize) {
        let backup = self.models[buffer].backup.clone();
        // On a full disk a pause may have gone without its mark; then the copy has no place for the
        // fence.
        let marked = |backup: &Backup| {
            let mut names = backup.files.iter().map(|(name, _)| *name);
            names.any(|name| name == Name::Mark(buffer))
        };
        let Some(backup) = backup.filter(|it| self.disk.has_room() && marked(it)) else {
            return;
        };
        let Some(present) = self.disk.mark(buffer) else {
            return;
        };
        let uuid = self.registry.uuid(buffer);
        self.shard(cause, Input::Evict { buffer: uuid });
        if self.node.shard.buffer(&uuid).is_some() {
            return;
        }
        self.disk.replace(buffer, &backup.files);
        if let Some(mut mark) = self.disk.mark(buffer) {
            (mark.fence, mark.generation) = (present.fence, present.generation + 1);
            let mut slot = [0; SLOT_LEN];
            mark.encode(&mut slot);
            let mut both = vec![0; 2 * SLOT_LEN];
            both[mark.slot() * SLOT_LEN..][..SLOT_LEN].copy_from_slice(&slot);
            self.disk.replace_file(Name::Mark(buffer), &both);
        }
        self.buffer_event(cause, Kind::BackupRestored, buffer);
        if self.plan.crash_after_restore {
            let after = self.delay().within(1, 5_000);
            self.due(cause, after, super::Due::PowerLoss);
        }
        self.restore_ledgers(buffer, backup.ledgers);
        self.models[buffer].filters = backup.filters;
        let model = &mut self.models[buffer];
        model.give_up(backup.end);
        model.first = backup.first;
        model.commit = model.commit.min(backup.end);
        model.acked = model.acked.min(backup.end);
        self.stable[buffer] = self.stable[buffer].min(backup.end);
        self.last_times[buffer] = model
            .entry(backup.end)
            .map_or(Micros(0), |entry| entry.time);
        self.queue_steps(cause, vec![Step::Recover { buffer }]);
    }
}

fn repair_step(buffer: usize, repair: &Repair) -> Step {
    match repair {
        Repair::Write {
            log,
            file,
            offset,
            bytes,
        } => Step::Write {
            name: file_name(buffer, *log, *file),
            offset: *offset,
            bytes: bytes.to_vec().into(),
            of: None,
        },
        Repair::Truncate { log, file, offset } => Step::SetLen {
            name: file_name(buffer, *log, *file),
            length: *offset,
        },
        Repair::Remove { log, file } => Step::Remove {
            name: file_name(buffer, *log, *file),
        },
    }
}
