//! One node: the core's shard with a shell around it, as the server has one, on a made-up disk.
//!
//! Whatever takes time is a queue of steps; each step is one event, so that a crash can come before
//! any of them. Two queues run side by side: the commit pipeline, and the keeper that writes marks,
//! cuts, drops and recovers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use hbuf_core::buffer::Opening;
use hbuf_core::commit_path::Unwritten;
use hbuf_core::effect::{Parts, Write};
use hbuf_core::ids::{Epoch, Micros, Seq};
use hbuf_core::journal::{Entry, EntryLine, encode_entry};
use hbuf_core::record::JournalFile;
use hbuf_core::rules::Rules;
use hbuf_core::segment::{FORMAT, LogKind, SegmentHead};
use hbuf_core::shard::Shard;
use hbuf_core::tree::Frontier;

use crate::disk::{Directory, Name};
use crate::model::Content;
use crate::registry::{DISK, Registry};
use crate::trace::EventId;

/// One thing that the shell does; a crash can come before each.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Bytes for the page cache.
    Write {
        name: Name,
        offset: u64,
        bytes: Rc<[u8]>,
        of: Option<Opened>,
    },
    SetLen {
        name: Name,
        length: u64,
    },
    Sync {
        name: Name,
        of: Option<Opened>,
    },
    SyncNames {
        directory: Directory,
    },
    /// The same, when the file's name was not synced yet.
    SyncNew {
        name: Name,
    },
    Remove {
        name: Name,
    },
    /// Gives a file another name, in the place of the file that has it.
    Rename {
        from: Name,
        to: Name,
    },
    /// Writes what was journaled of a buffer and waits in memory, one piece after the other.
    WriteBehind {
        buffer: usize,
        why: Why,
    },
    /// Puts these files' bytes into the journal, and syncs it.
    Journal {
        groups: Vec<Group>,
    },
    /// Tells the shard what is durable.
    Acknowledge {
        groups: Vec<Group>,
        journaled: bool,
    },
    /// A mark is durable.
    Marked {
        buffer: usize,
        fence: u64,
        generation: u64,
    },
    /// Removes segments below a seq.
    Drop {
        buffer: usize,
        keep_from: Seq,
    },
    /// Removes files of the cursors log below a seq.
    DropCursors {
        buffer: usize,
        keep_from: Seq,
    },
    /// Gives an upload the name of its filter.
    StoreFilter {
        of: Opened,
        number: u64,
    },
    /// Takes a filter away.
    RemoveFilter {
        of: Opened,
        number: u64,
    },
    /// A change of a filter is durable, and answered.
    FilterChanged {
        of: Opened,
        number: u64,
    },
    /// A pause is complete.
    Settle {
        buffer: usize,
        client: usize,
        change: u64,
    },
    /// Recovers a buffer that was cut back.
    Recover {
        buffer: usize,
    },
    /// Hands a buffer to the shard.
    Open {
        buffer: usize,
        opening: Box<Opening>,
    },
    /// The start is over.
    Started,
}

impl Step {
    /// Whether it recovers this buffer.
    pub(crate) fn recovers(&self, of: usize) -> bool {
        matches!(self, Self::Recover { buffer } if *buffer == of)
    }

    /// Its name among the crash points.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Write { name, .. } => format!("write-{}", name.what()),
            Self::SetLen { name, .. } => format!("cut-{}", name.what()),
            Self::Sync { name, .. } => format!("sync-{}", name.what()),
            Self::SyncNames { .. } | Self::SyncNew { .. } => "sync-names".to_string(),
            Self::Remove { name } => format!("remove-{}", name.what()),
            Self::Rename { to, .. } => format!("rename-{}", to.what()),
            Self::WriteBehind { .. } => "write-behind".to_string(),
            Self::Journal { .. } => "choose-journal".to_string(),
            Self::Acknowledge { .. } => "acknowledge".to_string(),
            Self::Marked { .. } => "marked".to_string(),
            Self::Drop { .. } => "drop".to_string(),
            Self::DropCursors { .. } => "drop-cursors".to_string(),
            Self::StoreFilter { .. } => "store-filter".to_string(),
            Self::RemoveFilter { .. } => "remove-filter".to_string(),
            Self::FilterChanged { .. } => "filter-changed".to_string(),
            Self::Settle { .. } => "settle".to_string(),
            Self::Recover { .. } => "recover".to_string(),
            Self::Open { .. } => "open".to_string(),
            Self::Started => "started".to_string(),
        }
    }
}

/// What needs the bytes that wait in memory in their files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// A direct batch of the same buffer.
    Direct(Opened),
    /// Too much waits.
    Full,
    /// They waited long enough.
    Due,
    /// A mark.
    Mark,
    /// Older files of the cursors log go, and nothing may make them anew.
    DropCursors,
    /// Its file is to be cut.
    CutBack,
}

/// A buffer since it was last opened: what is queued for an earlier opening is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Opened {
    pub(crate) buffer: usize,
    pub(crate) number: u64,
}

/// Framed bytes for one file.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) of: Opened,
    pub(crate) log: LogKind,
    pub(crate) file: Seq,
    pub(crate) offset: u64,
    pub(crate) bytes: Rc<[u8]>,
    pub(crate) through: Seq,
    pub(crate) cause: EventId,
}

/// The chunks of one file.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) of: Opened,
    pub(crate) log: LogKind,
    pub(crate) file: Seq,
    pub(crate) chunks: Vec<Chunk>,
}

impl Group {
    pub(crate) const fn name(&self) -> Name {
        file_name(self.of.buffer, self.log, self.file)
    }

    pub(crate) fn through(&self) -> Seq {
        self.chunks
            .iter()
            .map(|chunk| chunk.through)
            .max()
            .unwrap_or_default()
    }
}

pub(crate) const fn file_name(buffer: usize, log: LogKind, file: Seq) -> Name {
    match log {
        LogKind::Cursors => Name::Cursors(buffer, file),
        _ => Name::Segment(buffer, file),
    }
}

/// The journal as the pipeline writes it.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    current: Option<(Seq, u64)>,
    rolled: Vec<(u64, Seq)>,
    next: u64,
    synced: u64,
    time: Micros,
    file_bytes: u64,
}

/// Bits of a position that count within one run of a node.
const RUN_BITS: u32 = 40;

impl Journal {
    fn new(node_epoch: u64, file_bytes: u64) -> Self {
        let next = (node_epoch << RUN_BITS) + 1;
        Self {
            current: None,
            rolled: Vec::new(),
            next,
            synced: next - 1,
            time: Micros(0),
            file_bytes,
        }
    }

    /// Files of the life before that still answer for messages, with their last positions.
    pub(crate) fn take_over(&mut self, files: Vec<(u64, Seq)>) {
        self.rolled.extend(files);
    }

    /// The position of the last entry.
    pub(crate) const fn last(&self) -> u64 {
        self.next - 1
    }

    /// The next batch starts a new file.
    pub(crate) fn close(&mut self) {
        // A file without an entry keeps its name for the next one.
        if let Some((file, _)) = self.current.take_if(|(file, _)| file.0 <= self.synced) {
            self.rolled.push((self.synced, file));
        }
    }

    /// Steps that put a batch into the journal.
    pub(crate) fn steps(
        &mut self,
        groups: &[Group],
        registry: &Registry,
        now: Micros,
    ) -> Vec<Step> {
        let mut bytes = Vec::new();
        for group in groups {
            let file = match group.log {
                LogKind::Cursors => JournalFile::Cursors(group.file),
                _ => JournalFile::Messages(group.file),
            };
            for chunk in &group.chunks {
                self.time = self.time.max(now);
                let distance = u32::try_from(self.next - self.synced).unwrap_or(u32::MAX);
                let line = EntryLine {
                    position: self.next,
                    time: self.time,
                    epoch: Epoch(0),
                    distance,
                };
                let buffer = registry.uuid(group.of.buffer);
                encode_entry(
                    line,
                    &Entry {
                        buffer,
                        file,
                        body: &chunk.bytes,
                    },
                    &mut bytes,
                );
                self.next += 1;
            }
        }
        let mut steps = Vec::new();
        if self
            .current
            .is_none_or(|(_, offset)| offset + bytes.len() as u64 > self.file_bytes)
        {
            self.roll(&mut steps);
        }
        let (file, offset) = self.current.expect("rolled when there was none");
        self.current = Some((file, offset + bytes.len() as u64));
        let name = Name::Journal(file);
        steps.push(Step::Write {
            name,
            offset,
            bytes: bytes.into(),
            of: None,
        });
        steps.push(Step::Sync { name, of: None });
        steps
    }

    fn roll(&mut self, steps: &mut Vec<Step>) {
        self.close();
        let first = Seq(self.synced + 1);
        let head = SegmentHead {
            format: FORMAT,
            kind: LogKind::Journal,
            buffer: DISK,
            log: DISK,
            history: DISK,
            first,
            time: Micros(0),
            epoch: Epoch(0),
            frontier: Frontier::default(),
            epochs: Vec::new(),
            compacted: None,
        };
        let mut bytes = Vec::new();
        head.encode(&mut bytes);
        self.current = Some((first, bytes.len() as u64));
        let name = Name::Journal(first);
        steps.push(Step::Write {
            name,
            offset: 0,
            bytes: bytes.into(),
            of: None,
        });
        steps.push(Step::SyncNames {
            directory: Directory::Journal,
        });
    }

    /// The batch is durable.
    pub(crate) const fn committed(&mut self) {
        self.synced = self.next - 1;
    }

    /// There was no room for a write at this offset: the batch's positions are free again.
    pub(crate) fn abandon(&mut self, file: Seq, offset: u64) {
        self.next = self.synced + 1;
        self.current = (offset > 0).then_some((file, offset));
    }

    /// Files that hold nothing behind `position`.
    pub(crate) fn release(&mut self, position: u64) -> Vec<Name> {
        let (gone, kept): (Vec<_>, Vec<_>) = self
            .rolled
            .drain(..)
            .partition(|(last, _)| *last <= position);
        self.rolled = kept;
        gone.into_iter()
            .map(|(_, file)| Name::Journal(file))
            .collect()
    }
}

/// Which buffers the journal still answers for: (fence, last position).
#[derive(Clone, Debug, Default)]
pub(crate) struct Unmarked(BTreeMap<usize, (u64, u64)>);

impl Unmarked {
    pub(crate) fn journaled(&mut self, buffer: usize, before: u64, last: u64) {
        self.0.entry(buffer).or_insert((before, last)).1 = last;
    }

    pub(crate) fn marked(&mut self, buffer: usize, fence: u64) {
        let Some(entry) = self.0.get_mut(&buffer) else {
            return;
        };
        entry.0 = entry.0.max(fence);
        if entry.1 <= entry.0 {
            self.0.remove(&buffer);
        }
    }

    pub(crate) fn forget(&mut self, buffer: usize) {
        self.0.remove(&buffer);
    }

    /// The journal took nothing behind `last` after all.
    pub(crate) fn abandoned(&mut self, last: u64) {
        self.0.retain(|_, (fence, own)| {
            *own = (*own).min(last);
            *own > *fence
        });
    }

    pub(crate) fn holds(&self, buffer: usize) -> bool {
        self.0.contains_key(&buffer)
    }

    pub(crate) fn buffers(&self) -> Vec<usize> {
        self.0.keys().copied().collect()
    }

    pub(crate) fn released(&self, last: u64) -> u64 {
        self.0
            .values()
            .map(|(fence, _)| *fence)
            .min()
            .unwrap_or(last)
    }
}

/// What lives in a node's memory.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) shard: Shard,
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) pipeline: VecDeque<(EventId, Step)>,
    pub(crate) keeper: VecDeque<(EventId, Step)>,
    pub(crate) pipeline_busy: bool,
    pub(crate) keeper_busy: bool,
    pub(crate) journal: Journal,
    /// What was journaled and waits for its file.
    pub(crate) unwritten: BTreeMap<Name, VecDeque<Chunk>>,
    /// The journal's position whose entries wait here or are in their files.
    pub(crate) position: u64,
    /// Since when the oldest of it waits.
    pub(crate) unwritten_since: Option<u64>,
    /// Steps that found no room and are tried again.
    pub(crate) later: Vec<(EventId, Step)>,
    pub(crate) unmarked: Unmarked,
    /// Files with journaled writes that were not synced themselves.
    pub(crate) dirty: BTreeSet<Name>,
    /// Files of cursors logs: how often each was synced directly, and where the zeros end that were
    /// written ahead.
    pub(crate) ahead: BTreeMap<Name, (u64, u64)>,
    /// Files whose names were not synced.
    pub(crate) new_names: BTreeSet<Name>,
    pub(crate) opened: Vec<u64>,
    pub(crate) void: BTreeSet<Opened>,
    /// The next batch starts a new journal file.
    pub(crate) close_journal: bool,
    pub(crate) started: bool,
    pub(crate) failed: bool,
}

impl Node {
    pub(crate) fn new(rules: Rules, node_epoch: u64, buffers: usize, journal_bytes: u64) -> Self {
        Self {
            shard: Shard::new(rules),
            chunks: Vec::new(),
            pipeline: VecDeque::new(),
            keeper: VecDeque::new(),
            pipeline_busy: false,
            keeper_busy: false,
            journal: Journal::new(node_epoch, journal_bytes),
            unwritten: BTreeMap::new(),
            position: (node_epoch << RUN_BITS),
            unwritten_since: None,
            later: Vec::new(),
            unmarked: Unmarked::default(),
            dirty: BTreeSet::new(),
            ahead: BTreeMap::new(),
            new_names: BTreeSet::new(),
            opened: vec![0; buffers],
            void: BTreeSet::new(),
            close_journal: false,
            started: false,
            failed: false,
        }
    }

    pub(crate) fn opened(&self, buffer: usize) -> Opened {
        Opened {
            buffer,
            number: self.opened[buffer],
        }
    }

    pub(crate) fn is_void(&self, of: &Opened) -> bool {
        self.void.contains(of) || self.opened[of.buffer] != of.number
    }

    /// The file of a buffer whose bytes wait, the oldest one.
    pub(crate) fn unwritten_of(&self, buffer: usize) -> impl Iterator<Item = Name> + '_ {
        let names = self.unwritten.keys();
        names
            .filter(move |name| name.log_of() == Some(buffer))
            .copied()
    }

    /// What waits for its file at a time.
    pub(crate) fn unwritten_at(&self, t: u64) -> Unwritten {
        let chunks = self.unwritten.values().flatten();
        Unwritten {
            bytes: chunks.map(|chunk| chunk.bytes.len() as u64).sum(),
            micros: self
                .unwritten_since
                .map_or(0, |since| t.saturating_sub(since)),
        }
    }

    /// Takes what is queued into groups, an older file of a buffer before a newer one.
    pub(crate) fn next_groups(&mut self) -> Vec<Group> {
        let mut groups: BTreeMap<(Opened, LogKind, Seq), Vec<Chunk>> = BTreeMap::new();
        for chunk in std::mem::take(&mut self.chunks) {
            if !self.is_void(&chunk.of) {
                groups
                    .entry((chunk.of, chunk.log, chunk.file))
                    .or_default()
                    .push(chunk);
            }
        }
        let group = |((of, log, file), chunks)| Group {
            of,
            log,
            file,
            chunks,
        };
        groups.into_iter().map(group).collect()
    }
}

/// The bytes of a [`Write`]: head line, if any, and records.
pub(crate) fn frame(write: &Write, contents: &[Content]) -> Vec<u8> {
    let mut bytes = write
        .head
        .as_deref()
        .map(<[u8]>::to_vec)
        .unwrap_or_default();
    let parts = contents.iter().map(|content| Parts {
        lines: &content.lines,
        salt: content.salt,
        body: &content.body,
    });
    write.encode(parts, &mut bytes);
    bytes
}
