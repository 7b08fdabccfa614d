//! The keeper: marks, seals, drops and cuts back. Nothing of it is on the way of an append.

use std::collections::BTreeSet;
use std::rc::Rc;

use hbuf_core::effect::MarkCause;
use hbuf_core::ids::{Micros, Seq};
use hbuf_core::input::{BufferState, Input};
use hbuf_core::mark::{Mark, SLOT_LEN};

use super::{Due, World};
use crate::bugs::Bug;
use crate::disk::{Directory, Name};
use crate::invariants::Invariant;
use crate::kinds::Kind;
use crate::node::{Step, Why};
use crate::trace::{EventId, Facts};

impl World<'_> {
    pub(super) fn queue_steps(&mut self, cause: EventId, steps: Vec<Step>) {
        self.node
            .keeper
            .extend(steps.into_iter().map(|step| (cause, step)));
        if !self.node.keeper_busy && !self.node.failed {
            self.node.keeper_busy = true;
            let after = self.delay().within(5, 200);
            self.due(cause, after, Due::Keeper { life: self.life });
        }
    }

    pub(super) fn keeper_step(&mut self) {
        let next = self.node.keeper.pop_front().filter(|_| !self.node.failed);
        let Some((cause, step)) = next else {
            self.node.keeper_busy = false;
            return;
        };
        let after = self.step_time(&step);
        let event = self.perform_step(cause, step);
        self.due(event, after, Due::Keeper { life: self.life });
    }

    /// First whatever only the journal holds, then the sealed segment, then tables, then the mark.
    pub(super) fn queue_mark(
        &mut self,
        cause: EventId,
        mark: Mark,
        tables: Option<Vec<u8>>,
        why: MarkCause,
    ) {
        let buffer = self.registry.index(mark.buffer);
        let mut steps = Vec::new();
        if self.bug != Some(Bug::MarkAhead) {
            steps.push(Step::WriteBehind {
                buffer,
                why: Why::Mark,
            });
            let (dirty, new) = (self.node.dirty.iter(), self.node.new_names.iter());
            let of_buffer = |name: &Name| name.log_of() == Some(buffer);
            let waiting: Vec<Name> = self.node.unwritten_of(buffer).collect();
            let dirty = dirty.filter(|name| of_buffer(name)).chain(&waiting);
            steps.extend(dirty.map(|name| Step::Sync {
                name: *name,
                of: None,
            }));
            let new = new.filter(|name| of_buffer(name)).chain(&waiting);
            steps.extend(new.map(|name| Step::SyncNew { name: *name }));
            if let MarkCause::Roll { sealed, bytes } = why {
                let name = Name::Segment(buffer, sealed);
                steps.push(Step::SetLen {
                    name,
                    length: bytes,
                });
                steps.push(Step::Sync { name, of: None });
            }
        }
        mark_steps(buffer, mark, tables, &mut steps);
        self.queue_steps(cause, steps);
    }

    pub(super) fn on_marked(
        &mut self,
        cause: EventId,
        buffer: usize,
        fence: u64,
        generation: u64,
    ) -> EventId {
        self.node.unmarked.marked(buffer, fence);
        self.counters.marks += 1;
        let event = self.buffer_event(cause, Kind::MarkWritten, buffer);
        let (from, to) = (
            Name::Tables(buffer, 0),
            Name::Tables(buffer, generation.saturating_sub(2)),
        );
        let old: Vec<Step> = self
            .disk
            .names(from, to)
            .map(|name| Step::Remove { name })
            .collect();
        for step in old {
            self.node.keeper.push_front((event, step));
        }
        event
    }

    /// Lets journal files go that every mark has passed, then asks for the next marks.
    pub(super) fn checkpoint(&mut self, cause: EventId) {
        let event = self.event(cause, Kind::CheckpointAsked, &Facts::default());
        if self.node.started && !self.node.failed {
            let last = self.node.position;
            let released = self.node.unmarked.released(last);
            let gone = self.node.journal.release(released);
            self.queue_steps(
                event,
                gone.into_iter().map(|name| Step::Remove { name }).collect(),
            );
            let pending = self.node.unmarked.buffers();
            self.node.close_journal |= !pending.is_empty();
            for buffer in pending {
                let buffer = self.registry.uuid(buffer);
                self.shard(
                    event,
                    Input::Checkpoint {
                        buffer,
                        journal: last,
                    },
                );
            }
        }
        if !self.draining {
            let after = self.delay().within(5_000, 60_000);
            self.due(event, after, Due::Checkpoint);
        }
    }

    /// Retention lets segments go: is it allowed to?
    pub(super) fn on_drop(&mut self, cause: EventId, buffer: usize, keep_from: Seq) {
        let model = &self.models[buffer];
        let (commit, first, keep) = (model.commit, model.first, model.retention);
        self.check(
            keep_from <= commit.next(),
            Invariant::RetentionKeepsWhatItMust,
            || format!("buffer {buffer}: drops below {keep_from}, committed is {commit}"),
        );
        let model = &self.models[buffer];
        let kept = commit.next().0.saturating_sub(keep_from.0);
        let count_kept = keep.count.is_none_or(|count| kept >= count);
        let bytes_kept = keep
            .bytes
            .is_none_or(|bytes| model.bytes_from(keep_from) >= bytes);
        let old_enough = |age: u64| {
            let dropped = (first.0..keep_from.0).filter_map(|seq| model.entry(Seq(seq)));
            let oldest_kept = Micros(self.retention_now.0.saturating_sub(age));
            dropped.into_iter().all(|entry| entry.time < oldest_kept)
        };
        let aged = keep.age_micros.is_none_or(old_enough);
        self.check(
            count_kept && bytes_kept && aged,
            Invariant::RetentionKeepsWhatItMust,
            || {
                format!(
                    "buffer {buffer}: keeps {kept} messages from {keep_from}, has to keep {keep:?}"
                )
            },
        );
        self.models[buffer].first = keep_from.max(first);
        let event = self.seqs_event(
            cause,
            Kind::SegmentsDropped,
            buffer,
            (first, keep_from.prev()),
        );
        self.queue_steps(event, vec![Step::Drop { buffer, keep_from }]);
    }

    pub(super) fn drop_segments(
        &mut self,
        cause: EventId,
        buffer: usize,
        keep_from: Seq,
    ) -> EventId {
        let (from, to) = (
            Name::Segment(buffer, Seq::ZERO),
            Name::Segment(buffer, Seq::MAX),
        );
        let names: Vec<Name> = self.disk.names(from, to).collect();
        // What no durable mark vouches for stays: the tables of repeated appends need it.
        let marked = self.disk.mark(buffer).map_or(Seq::ZERO, |mark| mark.file);
        let goes = |pair: &&[Name]| pair[1] <= Name::Segment(buffer, keep_from.min(marked));
        for pair in names.windows(2).take_while(goes) {
            self.node
                .keeper
                .push_front((cause, Step::Remove { name: pair[0] }));
        }
        cause
    }

    /// A newer file says all that the older ones said. What the journal holds of them is written
    /// first, so that it does not make them anew.
    pub(super) fn on_drop_cursors(&mut self, cause: EventId, buffer: usize, keep_from: Seq) {
        let seqs = (Seq::FIRST, keep_from.prev());
        let event = self.seqs_event(cause, Kind::CursorsDropped, buffer, seqs);
        let why = Why::DropCursors;
        let steps = vec![
            Step::WriteBehind { buffer, why },
            Step::DropCursors { buffer, keep_from },
        ];
        self.queue_steps(event, steps);
    }

    pub(super) fn drop_cursors(
        &mut self,
        cause: EventId,
        buffer: usize,
        keep_from: Seq,
    ) -> EventId {
        let (from, to) = (
            Name::Cursors(buffer, Seq::ZERO),
            Name::Cursors(buffer, keep_from.prev()),
        );
        let names: Vec<Name> = self.disk.names(from, to).collect();
        for name in names {
            self.node.keeper.push_front((cause, Step::Remove { name }));
        }
        cause
    }

    /// There was no room to write what waits: the older files stay until the next ones go.
    pub(super) fn miss_drop(&mut self, buffer: usize) {
        let mut steps = self.node.keeper.iter();
        let drops =
            |step: &Step| matches!(step, Step::DropCursors { buffer: of, .. } if *of == buffer);
        if let Some(at) = steps.position(|(_, step)| drops(step)) {
            self.node.keeper.remove(at);
        }
    }

    /// Nothing behind `offset` was acknowledged: cut it, then open the buffer anew.
    pub(super) fn queue_cut_back(&mut self, cause: EventId, buffer: usize, file: Seq, offset: u64) {
        let mut steps = vec![Step::WriteBehind {
            buffer,
            why: Why::CutBack,
        }];
        let waiting: BTreeSet<Name> = self.node.unwritten_of(buffer).collect();
        let dirty = self
            .node
            .dirty
            .iter()
            .filter(|name| name.log_of() == Some(buffer));
        let dirty: BTreeSet<Name> = dirty.chain(&waiting).copied().collect();
        steps.extend(dirty.into_iter().map(|name| Step::Sync { name, of: None }));
        let (from, to) = (
            Name::Segment(buffer, Seq::ZERO),
            Name::Segment(buffer, Seq::MAX),
        );
        let names: BTreeSet<Name> = self.disk.names(from, to).collect();
        for name in names.union(&waiting).copied() {
            if !matches!(name, Name::Segment(..)) {
                continue;
            }
            if name > Name::Segment(buffer, file) {
                steps.push(Step::Remove { name });
            } else if name == Name::Segment(buffer, file) {
                steps.push(Step::SetLen {
                    name,
                    length: offset,
                });
                steps.push(Step::Sync { name, of: None });
            }
        }
        steps.push(Step::SyncNames {
            directory: Directory::Buffer(buffer),
        });
        steps.push(Step::Recover { buffer });
        self.queue_steps(cause, steps);
    }

    /// A change of state is complete; a pause is when the mark before it in the queue is durable.
    pub(super) fn settle(&mut self, cause: EventId, buffer: usize, client: usize) {
        if self.models[buffer].state == BufferState::Paused {
            let change = self.models[buffer].changes;
            self.queue_steps(
                cause,
                vec![Step::Settle {
                    buffer,
                    client,
                    change,
                }],
            );
        } else {
            self.settled(cause, buffer, client);
        }
    }

    pub(super) fn settled(&mut self, cause: EventId, buffer: usize, client: usize) -> EventId {
        self.models[buffer].settled = true;
        let event = self.buffer_event(cause, Kind::StateReached, buffer);
        self.due(event, 2_000, Due::Client(client));
        event
    }
}

/// Steps that make a file hold these bytes and nothing else, durably but for its name. One that a
/// life before left under the name may be longer.
pub(super) fn write_whole(name: Name, bytes: Rc<[u8]>) -> [Step; 3] {
    let length = bytes.len() as u64;
    let write = Step::Write {
        name,
        offset: 0,
        bytes,
        of: None,
    };
    [
        write,
        Step::SetLen { name, length },
        Step::Sync { name, of: None },
    ]
}

/// Steps that write tables and mark.
pub(super) fn mark_steps(
    buffer: usize,
    mut mark: Mark,
    tables: Option<Vec<u8>>,
    steps: &mut Vec<Step>,
) {
    if let Some(tables) = tables {
        let name = Name::Tables(buffer, mark.generation);
        mark.table = Some(format!("tables-{}", mark.generation).into());
        steps.extend(write_whole(name, tables.into()));
        steps.push(Step::SyncNames {
            directory: Directory::Buffer(buffer),
        });
    }
    let mut slot = [0; SLOT_LEN];
    mark.encode(&mut slot);
    let name = Name::Mark(buffer);
    let offset = (mark.slot() * SLOT_LEN) as u64;
    steps.push(Step::Write {
        name,
        offset,
        bytes: slot[..].into(),
        of: None,
    });
    steps.push(Step::Sync { name, of: None });
    steps.push(Step::SyncNew { name });
    steps.push(Step::Marked {
        buffer,
        fence: mark.fence,
        generation: mark.generation,
    });
}
