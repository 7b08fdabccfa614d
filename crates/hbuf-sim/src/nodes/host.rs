//! One node: its process, its disk, its clock.

use std::collections::{BTreeMap, BTreeSet};

use hbuf_core::effect::Effect;
use hbuf_core::ids::{Epoch, NodeId, Seq, Uuid};
use hbuf_core::input::{BufferState, Token};
use hbuf_core::limits::FILL_BYTES_PER_SECOND;
use hbuf_core::recovery::Recovered;
use hbuf_core::replication::{FillPace, NodeEpoch};
use hbuf_core::rules::Rules;
use hbuf_core::shard::Shard;

use super::aimed::Doom;
use super::backups::CopyOf;
use super::chores::{Chore, Posted};
use super::consumers::Called;
use super::crew::At;
use super::files::{LogFiles, LogId};
use super::manager::Manager;
use super::topics::TopicRead;
use super::upgrades::Leaving;
use crate::clock::Clock;
use crate::disk::{Directory, Disk, Name, PowerLoss};
use crate::net::Endpoint;
use crate::scenario::Version;
use crate::tracefile::EventId;

/// Ticks after its registration in which a process reads through what marks vouch for.
const SCRUB_TICKS: u64 = 25;

/// A node.
pub(super) struct Host {
    pub(super) id: NodeId,
    /// The disk's id; a new disk has a new one.
    pub(super) disk_id: Uuid,
    pub(super) clock: Clock,
    pub(super) disk: Disk,
    /// The files of its manager group, and the lives that its disk knows: durable.
    pub(super) manager: Manager,
    pub(super) lives: Lives,
    /// It runs a copy of another host's disk.
    pub(super) copy_of: Option<CopyOf>,
    /// Which program its process runs, and from its next start on.
    pub(super) runs: Version,
    pub(super) program: Version,
    /// Its disk says that it was stopped in order; and that it had said so at the last start.
    pub(super) clean: bool,
    pub(super) clean_before: bool,
    /// What follows from here on is of one life of the process.
    pub(super) up: bool,
    pub(super) life: u64,
    /// It is to stop.
    pub(super) leaving: Option<Leaving>,
    /// Its registration, once it knows of it.
    pub(super) node_epoch: Option<NodeEpoch>,
    pub(super) shard: Shard,
    pub(super) files: BTreeMap<LogId, LogFiles>,
    /// What recovery found at the start, until the node is registered.
    pub(super) found: BTreeMap<usize, Recovered>,
    pub(super) dirty: Dirty,
    /// The sync under way.
    pub(super) syncing: Option<Dirty>,
    pub(super) waiting: BTreeMap<Token, Waiting>,
    /// Messages of primaries whose records, or mark and tables, are still to be taken.
    pub(super) held: BTreeMap<Token, Held>,
    pub(super) last_token: u64,
    /// The version of each buffer's assignment that the shard was told.
    pub(super) decided: BTreeMap<usize, u64>,
    /// The state of each buffer that the shard was told.
    pub(super) states: BTreeMap<usize, BufferState>,
    /// Consumers that the shard was told of: in which epoch, and as of which version.
    pub(super) begun: BTreeMap<At, (Epoch, u64)>,
    /// What is to be done for consumers, by number.
    pub(super) chores: BTreeMap<u64, Chore>,
    pub(super) last_chore: u64,
    /// Reads of topics under way.
    pub(super) topics: BTreeMap<u64, TopicRead>,
    /// Dead letters without an answer.
    pub(super) posted: BTreeMap<u64, Posted>,
    pub(super) failed: bool,
    /// When it ticked last.
    pub(super) ticked_at: u64,
    /// The power is about to go: nothing more is done.
    pub(super) cut_off: bool,
    /// Ticks of this life until it reads through all that it holds, below its marks too.
    pub(super) scrubs_in: u64,
    /// Copies in which damage was found: their files are put aside.
    pub(super) bad: BTreeSet<usize>,
    /// A loss of power that is to come.
    pub(super) doom: Option<Doom>,
    /// What the next loss of power takes.
    pub(super) power_loss: PowerLoss,
    /// Only the reserve of its disk is left.
    pub(super) full: bool,
    /// The next sync fails.
    pub(super) fail_sync: bool,
    /// Each sync takes so much longer.
    pub(super) slow_us: u64,
    pub(super) effects: Vec<Effect>,
    /// How fast old records leave it.
    pub(super) fill_pace: FillPace,
}

/// The processes that a disk knows of.
#[derive(Clone, Debug, Default)]
pub(super) struct Lives {
    pub(super) now: Option<Uuid>,
    pub(super) earlier: Vec<Uuid>,
}

/// What was written and is not durable.
#[derive(Clone, Debug, Default)]
pub(super) struct Dirty {
    pub(super) names: BTreeSet<Name>,
    pub(super) directories: BTreeSet<DirectoryKey>,
    /// How far each log is written.
    pub(super) through: BTreeMap<LogId, Seq>,
    pub(super) cause: EventId,
}

/// A directory, in an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DirectoryKey {
    Buffer(usize),
    Cursors(usize),
}

impl DirectoryKey {
    pub(super) const fn directory(self) -> Directory {
        match self {
            Self::Buffer(buffer) => Directory::Buffer(buffer),
            Self::Cursors(buffer) => Directory::Cursors(buffer),
        }
    }
}

/// Who waits for an answer of the shard.
#[derive(Clone, Debug)]
pub(super) enum Waiting {
    Append {
        client: Endpoint,
        operation: u64,
        buffer: usize,
        contents: Vec<crate::model::Content>,
    },
    Tail {
        client: Endpoint,
        operation: u64,
        buffer: usize,
        /// The newest message of this key is wanted, not the tail.
        key: Option<String>,
    },
    /// A worker.
    Worker(Box<Called>),
    /// An operator, for a state.
    State { buffer: usize },
}

/// What came with a message of a primary.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) body: Vec<u8>,
    pub(super) tables: Option<Vec<u8>>,
}

impl Host {
    pub(super) fn new(
        number: usize,
        disk_id: Uuid,
        rules: Rules,
        clock: Clock,
        manager: Manager,
    ) -> Self {
        Self {
            id: NodeId(u32::try_from(number + 1).expect("few nodes")),
            disk_id,
            clock,
            disk: Disk::new(),
            manager,
            lives: Lives::default(),
            copy_of: None,
            runs: Version::Current,
            program: Version::Current,
            clean: false,
            clean_before: false,
            leaving: None,
            up: false,
            life: 0,
            node_epoch: None,
            shard: Shard::new(rules),
            files: BTreeMap::new(),
            found: BTreeMap::new(),
            dirty: Dirty::default(),
            syncing: None,
            waiting: BTreeMap::new(),
            held: BTreeMap::new(),
            last_token: 0,
            decided: BTreeMap::new(),
            states: BTreeMap::new(),
            begun: BTreeMap::new(),
            chores: BTreeMap::new(),
            last_chore: 0,
            topics: BTreeMap::new(),
            posted: BTreeMap::new(),
            failed: false,
            ticked_at: 0,
            cut_off: false,
            scrubs_in: SCRUB_TICKS,
            bad: BTreeSet::new(),
            doom: None,
            power_loss: PowerLoss::default(),
            full: false,
            fail_sync: false,
            slow_us: 0,
            effects: Vec::new(),
            fill_pace: FillPace::new(FILL_BYTES_PER_SECOND),
        }
    }

    pub(super) fn token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }

    /// The process is gone, and what it had in memory.
    pub(super) fn forget(&mut self, rules: Rules) {
        self.up = false;
        self.life += 1;
        self.node_epoch = None;
        self.leaving = None;
        self.shard = Shard::new(rules);
        self.files.clear();
        self.found.clear();
        self.dirty = Dirty::default();
        self.syncing = None;
        self.waiting.clear();
        self.held.clear();
        self.decided.clear();
        self.states.clear();
        self.begun.clear();
        self.chores.clear();
        self.topics.clear();
        self.posted.clear();
        self.failed = false;
        self.cut_off = false;
        self.fill_pace.restart();
        self.scrubs_in = SCRUB_TICKS;
        self.doom = None;
    }

    /// Whether the sync that ends now fails: once, when that was wished.
    pub(super) const fn sync_fails(&mut self) -> bool {
        std::mem::replace(&mut self.fail_sync, false)
    }

    /// The files of a log, made when they are first asked for.
    pub(super) fn log(&mut self, id: LogId) -> &mut LogFiles {
        let disk = &self.disk;
        self.files
            .entry(id)
            .or_insert_with(|| LogFiles::of(id, disk, Seq::MAX))
    }
}

impl Dirty {
    /// A log was written through `through`, in this file.
    pub(super) fn wrote(&mut self, cause: EventId, id: LogId, name: Name, through: Seq) {
        self.names.insert(name);
        self.touched(id);
        let known = self.through.entry(id).or_insert(Seq::ZERO);
        *known = through.max(*known);
        self.cause = cause;
    }

    pub(super) fn touched(&mut self, id: LogId) {
        self.directories.insert(match id.log {
            hbuf_core::segment::LogKind::Cursors => DirectoryKey::Cursors(id.buffer),
            _ => DirectoryKey::Buffer(id.buffer),
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.directories.is_empty() && self.through.is_empty()
    }
}
