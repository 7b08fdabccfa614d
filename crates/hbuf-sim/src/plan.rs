//! The menu of faults, and what a seed chooses from it. Look here first.
//!
//! A seed first chooses *which* faults and operations a run has at all, and only then their rates:
//! a run with everything at once hides what only a run with little shows.

use std::fmt;

use hbuf_core::commit_path::{Ahead, Choice, Deferral};
use hbuf_core::retention::Retention;

use crate::draw::{Draw, Draws, Purpose};

/// A fault of the menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Power goes: the page cache is lost.
    PowerLoss,
    /// The process is killed: the page cache stays.
    Kill,
    /// The disk is full for a while.
    Full,
    /// A sync fails.
    SyncError,
    /// A durable byte changes.
    Rot,
    /// The clock jumps.
    Clock,
    /// A durable byte of a cursors log changes.
    RotCursors,
}

impl Fault {
    /// The whole menu.
    pub const ALL: [Self; 7] = [
        Self::PowerLoss,
        Self::Kill,
        Self::Full,
        Self::SyncError,
        Self::Rot,
        Self::Clock,
        Self::RotCursors,
    ];

    /// What happens.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::PowerLoss => "power goes: what was not synced is kept, torn or lost",
            Self::Kill => "the process is killed: the page cache stays",
            Self::Full => "the disk has no room for a while",
            Self::SyncError => "a sync fails, and what it should have kept may be gone",
            Self::Rot => "a durable byte changes by itself",
            Self::Clock => "the wall clock jumps back or forth",
            Self::RotCursors => {
                "a durable byte of what is on record of consumers changes by itself"
            }
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PowerLoss => "power-loss",
            Self::Kill => "kill",
            Self::Full => "full",
            Self::SyncError => "sync-error",
            Self::Rot => "rot",
            Self::Clock => "clock",
            Self::RotCursors => "rot-cursors",
        }
    }
}

/// A fault at a point of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// It happens before this step.
    pub(crate) step: u64,
    pub(crate) fault: Fault,
    /// A crash waits a while for this point.
    pub(crate) target: Option<&'static str>,
}

/// What a run is made of.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Steps until the workload ends.
    pub(crate) steps: u64,
    pub(crate) buffers: usize,
    pub(crate) clients: usize,
    pub(crate) choice: Choice,
    pub(crate) deferral: Deferral,
    pub(crate) ahead: Ahead,
    pub(crate) segment_bytes: u64,
    pub(crate) journal_file_bytes: u64,
    /// How often the shard looks at retention, in microseconds.
    pub(crate) retention_every: u64,
    /// The longest that a sync takes, in microseconds.
    pub(crate) sync_max: u64,
    /// The power goes soon after a copy was put back.
    pub(crate) crash_after_restore: bool,
    pub(crate) faults: Vec<Planned>,
    pub(crate) body_max: u64,
    pub(crate) retention: Vec<Retention>,
    /// Percent of appends that are batches, carry a producer number, a key, an If-Match.
    pub(crate) batches: u64,
    pub(crate) producers: u64,
    pub(crate) keys: u64,
    pub(crate) matches: u64,
    /// Percent of good answers that get lost on their way.
    pub(crate) lost_answers: u64,
    /// Percent of a client's turns that change a buffer's state.
    pub(crate) states: u64,
    /// Percent of a client's turns that copy a paused buffer's directory or put it back.
    pub(crate) backups: u64,
    /// The last buffer is a mirror of the first.
    pub(crate) mirror: bool,
    /// Percent of a client's turns that let the next append start a segment.
    pub(crate) rolls: u64,
    /// Starts go on with the journal of the life before, as with a sound one; with a damaged one
    /// they make everything durable first.
    pub(crate) keeps_journal: bool,
    /// Consumers that there are at the same time, at most.
    pub(crate) consumers: usize,
    /// Workers, which share all consumers.
    pub(crate) workers: usize,
    /// Buffers have stored filters, which change.
    pub(crate) filters: bool,
    /// So many times as long a client waits between two appends: leases need time to lapse.
    pub(crate) pace: u64,
}

impl Plan {
    pub(crate) fn new(draws: &Draws) -> Self {
        let draw = |ordinal| draws.draw(Purpose::Plan, 0, ordinal);
        let maybe = |ordinal: u64, on: u64, high: u64| {
            let draw: Draw = draws.draw(Purpose::Plan, 1, ordinal);
            if draw.percent(on) {
                draw.next().within(1, high)
            } else {
                0
            }
        };
        let consumers = maybe(8, 60, 4);
        let mut steps = draw(0).within(600, 2_400);
        if consumers > 0 {
            // Workers take a part of them.
            steps += steps / 2;
        }
        let buffers = usize::try_from(draw(1).within(1, 5)).expect("five at most");
        let files = [0, 0, 1, 2, usize::MAX];
        let direct_files_max = files[usize::try_from(draw(3).below(5)).expect("below five")];
        let faults = faults(draws, steps, consumers > 0);
        // A mark that rots could forget a fence, so a run has the one or the other.
        let rot = |planned: &Planned| matches!(planned.fault, Fault::Rot | Fault::RotCursors);
        let rots = faults.iter().any(rot);
        let backups = if rots { 0 } else { maybe(6, 60, 30) };
        // An origin that an operator puts back begins a new history, which a mirror cannot follow.
        let followed = !rots && backups == 0 && buffers > 1;
        Self {
            steps,
            buffers,
            clients: usize::try_from(draw(2).within(1, 6)).expect("six at most"),
            choice: Choice {
                direct_files_max,
                direct_bytes_per_file: 1 << 20,
            },
            deferral: deferral(draw(10), draw(11)),
            ahead: ahead(draw(16), draw(17)),
            segment_bytes: draw(4).within(4 << 10, 24 << 10),
            journal_file_bytes: draw(5).within(2 << 10, 32 << 10),
            retention_every: draw(7).within(200, 20_000),
            sync_max: draw(8).within(200, 6_000),
            crash_after_restore: draw(9).percent(60),
            faults,
            body_max: draw(6).within(8, 1_500),
            retention: (0..buffers)
                .map(|buffer| retention(draws, buffer))
                .collect(),
            batches: maybe(0, 70, 90),
            producers: maybe(1, 60, 60),
            keys: maybe(2, 60, 60),
            matches: maybe(3, 40, 30),
            lost_answers: maybe(4, 60, 30),
            states: maybe(5, 60, 8),
            backups,
            mirror: followed && draw(10).percent(70),
            rolls: maybe(7, 40, 8),
            keeps_journal: draw(14).percent(50),
            consumers: usize::try_from(consumers).expect("four at most"),
            workers: match consumers {
                0 => 0,
                _ => usize::try_from(draw(12).within(1, 4)).expect("four at most"),
            },
            filters: consumers > 0 && draw(15).percent(75),
            pace: match consumers {
                0 => 1,
                _ => draw(13).within(1, 6),
            },
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            steps,
            buffers,
            clients,
            segment_bytes,
            body_max,
            ..
        } = self;
        let files = self.choice.direct_files_max;
        write!(
            f,
            "steps={steps} buffers={buffers} clients={clients} direct_files_max={files} "
        )?;
        write!(
            f,
            "segment_bytes={segment_bytes} body_max={body_max} batches={}% ",
            self.batches
        )?;
        write!(
            f,
            "producers={}% keys={}% matches={}% ",
            self.producers, self.keys, self.matches
        )?;
        write!(
            f,
            "lost_answers={}% states={}% ",
            self.lost_answers, self.states
        )?;
        write!(
            f,
            "backups={}% rolls={}% mirror={} keeps_journal={} ",
            self.backups, self.rolls, self.mirror, self.keeps_journal
        )?;
        write!(
            f,
            "consumers={} workers={} filters={} pace={} faults=",
            self.consumers, self.workers, self.filters, self.pace
        )?;
        for (index, planned) in self.faults.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}@{}", planned.fault.name(), planned.step)?;
        }
        Ok(())
    }
}

fn deferral(bytes: Draw, micros: Draw) -> Deferral {
    Deferral {
        bytes_max: bytes.within(1 << 10, 32 << 10),
        micros_max: micros.within(200, 40_000),
    }
}

/// Small, so that files outgrow what was written ahead of them.
fn ahead(syncs: Draw, bytes: Draw) -> Ahead {
    Ahead {
        syncs: syncs.below(12),
        bytes: bytes.within(1, 4 << 10),
    }
}

/// First which faults, then how many of each, then when.
fn faults(draws: &Draws, steps: u64, has_consumers: bool) -> Vec<Planned> {
    let mut planned = Vec::new();
    for (entity, fault) in (10_u64..).zip(Fault::ALL) {
        let draw = draws.draw(Purpose::Plan, entity, 0);
        let (percent, most) = match fault {
            Fault::PowerLoss => (75, 5),
            Fault::Kill => (40, 3),
            Fault::Full => (25, 2),
            Fault::SyncError => (20, 1),
            Fault::Rot => (35, 1),
            Fault::Clock => (30, 4),
            Fault::RotCursors if has_consumers => (25, 1),
            Fault::RotCursors => continue,
        };
        if !draw.percent(percent) {
            continue;
        }
        for ordinal in 1..=draw.next().within(1, most) {
            let step = draws.draw(Purpose::Plan, entity, ordinal).within(20, steps);
            let target = draws.draw(Purpose::Plan, entity + 50, ordinal);
            let crash = matches!(fault, Fault::PowerLoss | Fault::Kill);
            let aimed = crash && target.percent(75);
            let target = aimed.then(|| aim(target.next()));
            planned.push(Planned {
                step,
                fault,
                target,
            });
        }
    }
    planned.sort_by_key(|planned| (planned.step, planned.fault));
    planned
}

/// Any point, and more often the one before which the most is under way to a segment.
fn aim(draw: Draw) -> &'static str {
    if draw.next().percent(22) {
        return "pipeline.sync-segment";
    }
    CRASH_POINTS[below(draw, CRASH_POINTS.len())]
}

fn below(draw: Draw, bound: usize) -> usize {
    usize::try_from(draw.below(bound as u64)).expect("it is below a usize")
}

/// The points that a crash can hit; a sweep fails when it missed one.
pub const CRASH_POINTS: [&str; 37] = [
    "request",
    "pipeline.write-segment",
    "pipeline.write-cursors",
    "pipeline.write-journal",
    "pipeline.sync-segment",
    "pipeline.sync-cursors",
    "pipeline.sync-journal",
    "pipeline.sync-names",
    "pipeline.acknowledge",
    "pipeline.write-behind",
    "keeper.write-behind",
    "keeper.cut-segment",
    "keeper.sync-segment",
    "keeper.sync-names",
    "keeper.write-tables",
    "keeper.cut-tables",
    "keeper.sync-tables",
    "keeper.remove-tables",
    "keeper.write-mark",
    "keeper.sync-mark",
    "keeper.marked",
    "keeper.drop",
    "keeper.drop-cursors",
    "keeper.remove-segment",
    "keeper.remove-journal",
    "keeper.write-upload",
    "keeper.sync-upload",
    "keeper.store-filter",
    "keeper.remove-filter",
    "keeper.filter-changed",
    "start.write-segment",
    "start.sync-journal",
    "start.remove-journal",
    "start.sync-segment",
    "start.sync-names",
    "start.sync-mark",
    "start.open",
];

/// One bound at most, so that what must stay is easy to say.
fn retention(draws: &Draws, buffer: usize) -> Retention {
    let draw = draws.draw(Purpose::Plan, 2, buffer as u64);
    let mut keep = Retention::default();
    match draw.below(6) {
        0 => keep.count = Some(draw.next().within(1, 60)),
        1 => keep.bytes = Some(draw.next().within(4 << 10, 64 << 10)),
        2 => keep.age_micros = Some(draw.next().within(20_000, 400_000)),
        _ => {}
    }
    keep
}
