//! The options of a run: their names, ranges and values.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::Unit;

/// An option. See [`Opt::about`] for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the table has a sentence for each")]
pub enum Opt {
    Nodes,
    Copies,
    MinInSync,
    Buffers,
    Clients,
    Keys,
    BodyMax,
    SegmentBytes,
    Workload,
    Pace,
    Safety,
    Liveness,
    TailReads,
    TopicReads,
    Consumers,
    Batches,
    Producers,
    Keyed,
    Conditional,
    DelayMin,
    DelayMean,
    Drop,
    Dup,
    Reset,
    Bandwidth,
    Capacity,
    Partition,
    PartitionLast,
    Clog,
    ClogLast,
    Crash,
    Kill,
    DownLast,
    Pause,
    PauseLast,
    Skew,
    Drift,
    Jump,
    JumpMax,
    SyncFails,
    Full,
    FullLast,
    Rot,
    Reformat,
    SlowDisk,
    SlowLast,
    Move,
    State,
    StateLast,
    Drain,
    DrainLast,
    Rebalance,
    Clone,
    Restore,
    RestoreLast,
    Stop,
    ClusterVersion,
    Upgrade,
    UpgradeLast,
    Core,
    CrashAimed,
    Elect,
    FillRate,
    Tagged,
    FilteredReads,
    Create,
}

/// How a seed chooses a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Always from this to that.
    Within(u64, u64),
    /// In so many of a hundred seeds from this to that, otherwise off.
    Maybe(u64, u64, u64),
}

/// A row of the table.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    /// The least and the largest value that may be set.
    pub(super) range: (u64, u64),
    /// The value of a quiet run.
    pub(super) calm: u64,
    pub(super) choice: Choice,
    pub(super) about: &'static str,
}

const MS: u64 = 1_000;
const S: u64 = 1_000_000;
const KIB: u64 = 1 << 10;
/// The longest that a phase of a run may last: an hour of simulated time.
const PHASE_MAX: u64 = 3_600 * S;

use Choice::{Maybe, Within};
use Unit::{Bytes, Count, Micros, Percent, Ppm};

type Entry = (
    Opt,
    &'static str,
    Unit,
    (u64, u64),
    u64,
    Choice,
    &'static str,
);

/// What is known of each option, in their order: name, unit, range, calm value, choice, about.
#[rustfmt::skip]
const TABLE: [Entry; 66] = [
    (Opt::Nodes, "nodes", Count, (1, 9), 3, Within(3, 5), "nodes"),
    (Opt::Copies, "copies", Count, (1, 8), 3, Within(1, 4), "copies of each buffer, at most one a node"),
    (Opt::MinInSync, "min-in-sync", Count, (1, 8), 2, Within(1, 2), "members of the in-sync set that a commit needs"),
    (Opt::Buffers, "buffers", Count, (1, 64), 1, Within(1, 4), "buffers"),
    (Opt::Clients, "clients", Count, (0, 64), 2, Within(1, 6), "clients"),
    (Opt::Keys, "keys", Count, (1, 10_000), 8, Within(1, 40), "different keys of messages"),
    (Opt::BodyMax, "body-max", Bytes, (1, 1 << 20), 200, Within(8, 1_500), "largest body of a message"),
    (Opt::SegmentBytes, "segment-bytes", Bytes, (KIB, 1 << 30), 16 * KIB, Within(4 * KIB, 64 * KIB), "size at which a segment rolls"),
    (Opt::Workload, "workload", Count, (0, 1), 0, Within(1, 1), "1: clients also ask by themselves, as the following say"),
    (Opt::Pace, "pace", Micros, (1, 60 * S), 2 * MS, Within(500, 20 * MS), "mean time between two requests of a client"),
    (Opt::Safety, "safety", Micros, (0, PHASE_MAX), 2 * S, Within(2 * S, 8 * S), "duration of the first phase, in which faults happen"),
    (Opt::Liveness, "liveness", Micros, (0, PHASE_MAX), 5 * S, Within(5 * S, 10 * S), "duration of the second phase, in which a core is healed and must come to its end"),
    (Opt::TailReads, "tail-reads", Percent, (0, 100), 10, Maybe(70, 2, 30), "requests that read the tail"),
    (Opt::TopicReads, "topic-reads", Percent, (0, 100), 0, Maybe(50, 2, 25), "requests that read a topic of all buffers"),
    (Opt::Consumers, "consumers", Percent, (0, 100), 0, Maybe(50, 2, 30), "requests of a consumer's workers"),
    (Opt::Batches, "batches", Percent, (0, 100), 0, Maybe(70, 2, 60), "appends of several messages"),
    (Opt::Producers, "producers", Percent, (0, 100), 0, Maybe(60, 5, 60), "appends with a producer's number"),
    (Opt::Keyed, "keyed", Percent, (0, 100), 0, Maybe(60, 5, 60), "appends with an idempotency key"),
    (Opt::Conditional, "conditional", Percent, (0, 100), 0, Maybe(50, 2, 40), "appends with If-Match"),
    (Opt::DelayMin, "delay-min", Micros, (0, 10 * S), 100, Within(50, 2 * MS), "least time of a packet under way"),
    (Opt::DelayMean, "delay-mean", Micros, (0, 10 * S), 100, Within(50, 10 * MS), "mean of what comes on top of it"),
    (Opt::Drop, "drop", Ppm, (0, 1_000_000), 0, Maybe(50, 100, 50_000), "packets that are lost"),
    (Opt::Dup, "dup", Ppm, (0, 1_000_000), 0, Maybe(40, 100, 50_000), "packets that arrive twice"),
    (Opt::Reset, "reset", Ppm, (0, 1_000_000), 0, Maybe(40, 100, 5_000), "packets with which their connection dies"),
    (Opt::Bandwidth, "bandwidth", Bytes, (0, 1 << 40), 0, Maybe(20, 64 * KIB, 4096 * KIB), "bytes a second that a link carries"),
    (Opt::Capacity, "capacity", Count, (0, 1_000_000), 0, Maybe(20, 16, 256), "packets under way on a link; 0 for no bound"),
    (Opt::Partition, "partition", Micros, (0, PHASE_MAX), 0, Maybe(50, 300 * MS, 3 * S), "mean time between two partitions"),
    (Opt::PartitionLast, "partition-last", Micros, (1, PHASE_MAX), 500 * MS, Within(50 * MS, 2 * S), "mean duration of a partition"),
    (Opt::Clog, "clog", Micros, (0, PHASE_MAX), 0, Maybe(30, 200 * MS, 2 * S), "mean time until a link stands still again"),
    (Opt::ClogLast, "clog-last", Micros, (1, PHASE_MAX), 200 * MS, Within(10 * MS, S), "mean duration of that"),
    (Opt::Crash, "crash", Micros, (0, PHASE_MAX), 0, Maybe(60, 300 * MS, 3 * S), "mean time between two losses of power of a node"),
    (Opt::Kill, "kill", Micros, (0, PHASE_MAX), 0, Maybe(40, 300 * MS, 3 * S), "mean time between two killed processes"),
    (Opt::DownLast, "down-last", Micros, (1, PHASE_MAX), 200 * MS, Within(10 * MS, S), "mean time until such a node starts again"),
    (Opt::Pause, "pause", Micros, (0, PHASE_MAX), 0, Maybe(40, 300 * MS, 3 * S), "mean time between two pauses of a process"),
    (Opt::PauseLast, "pause-last", Micros, (1, PHASE_MAX), 500 * MS, Within(10 * MS, 3 * S), "mean duration of a pause"),
    (Opt::Skew, "skew", Micros, (0, 86_400 * S), 0, Maybe(40, MS, 20 * S), "largest error of a node's time of day"),
    (Opt::Drift, "drift", Ppm, (0, 500_000), 0, Maybe(40, 10, 5_000), "largest error of the rate of a node's clocks"),
    (Opt::Jump, "jump", Micros, (0, PHASE_MAX), 0, Maybe(30, 300 * MS, 3 * S), "mean time between two jumps of a time of day"),
    (Opt::JumpMax, "jump-max", Micros, (1, 86_400 * S), 5 * S, Within(MS, 30 * S), "largest jump, back or forth"),
    (Opt::SyncFails, "sync-fails", Micros, (0, PHASE_MAX), 0, Maybe(20, S, 4 * S), "mean time between two failed syncs, all of one node"),
    (Opt::Full, "full", Micros, (0, PHASE_MAX), 0, Maybe(20, 500 * MS, 4 * S), "mean time until a disk is full again"),
    (Opt::FullLast, "full-last", Micros, (1, PHASE_MAX), 300 * MS, Within(50 * MS, S), "mean time until there is room"),
    (Opt::Rot, "rot", Micros, (0, PHASE_MAX), 0, Maybe(25, 500 * MS, 4 * S), "mean time between two rotten bytes, all of one node"),
    (Opt::Reformat, "reformat", Micros, (0, PHASE_MAX), 0, Maybe(15, S, 6 * S), "mean time between two lost disks, all of one node"),
    (Opt::SlowDisk, "slow-disk", Micros, (0, PHASE_MAX), 0, Maybe(30, 300 * MS, 3 * S), "mean time until a disk is slow again"),
    (Opt::SlowLast, "slow-last", Micros, (1, PHASE_MAX), 300 * MS, Within(50 * MS, 2 * S), "mean duration of that"),
    (Opt::Move, "move", Micros, (0, PHASE_MAX), 0, Maybe(30, 500 * MS, 4 * S), "mean time between two movements of a buffer"),
    (Opt::State, "state", Micros, (0, PHASE_MAX), 0, Maybe(30, 300 * MS, 3 * S), "mean time until a buffer is paused or closed"),
    (Opt::StateLast, "state-last", Micros, (1, PHASE_MAX), 500 * MS, Within(50 * MS, 2 * S), "mean time until it is opened again"),
    (Opt::Drain, "drain", Micros, (0, PHASE_MAX), 0, Maybe(25, 500 * MS, 4 * S), "mean time between two drains, all of one node"),
    (Opt::DrainLast, "drain-last", Micros, (1, PHASE_MAX), S, Within(200 * MS, 4 * S), "mean time until it may hold copies again, if it may"),
    (Opt::Rebalance, "rebalance", Micros, (0, PHASE_MAX), 0, Maybe(25, 500 * MS, 4 * S), "mean time between two rebalances"),
    (Opt::Clone, "clone", Micros, (0, PHASE_MAX), 0, Maybe(15, S, 6 * S), "mean time between two disks that are started twice, all of one node"),
    (Opt::Restore, "restore", Micros, (0, PHASE_MAX), 0, Maybe(15, S, 6 * S), "mean time until an old state of a disk is kept again, of one node"),
    (Opt::RestoreLast, "restore-last", Micros, (1, PHASE_MAX), S, Within(200 * MS, 4 * S), "mean time until it is put back"),
    (Opt::Stop, "stop", Micros, (0, PHASE_MAX), 0, Maybe(30, 300 * MS, 3 * S), "mean time between two processes that end in order"),
    (Opt::ClusterVersion, "cluster-version", Count, (0, 3), 0, Maybe(30, 2, 2), "the cluster version at the beginning; 0 for the newest"),
    (Opt::Upgrade, "upgrade", Micros, (0, PHASE_MAX), 0, Maybe(20, S, 4 * S), "mean time until all nodes in turn run other programs"),
    (Opt::UpgradeLast, "upgrade-last", Micros, (1, PHASE_MAX), 2 * S, Within(500 * MS, 4 * S), "mean duration of that"),
    (Opt::Core, "core", Micros, (0, PHASE_MAX), 0, Maybe(50, 10 * S, 15 * S), "how long a healed majority may take to decide something while the others go on with their faults; off without such a phase"),
    (Opt::CrashAimed, "crash-aimed", Percent, (0, 100), 0, Maybe(75, 30, 90), "losses of power that wait until the node writes, syncs, cuts back or is promoted"),
    (Opt::Elect, "elect", Micros, (0, PHASE_MAX), 0, Maybe(30, 200 * MS, 2 * S), "mean time until an operator looks whether buffers have lost their last members, and goes on with what is left"),
    (Opt::FillRate, "fill-rate", Bytes, (1, 1 << 40), 32 << 20, Within(64 * KIB, 4096 * KIB), "bytes a second of old records that a node sends to copies which began near the tail"),
    (Opt::Tagged, "tagged", Percent, (0, 100), 0, Maybe(60, 10, 80), "messages with tags"),
    (Opt::FilteredReads, "filtered-reads", Percent, (0, 100), 0, Maybe(50, 2, 20), "requests that read what matches a filter"),
    (Opt::Create, "create", Micros, (0, PHASE_MAX), 0, Maybe(25, 500 * MS, 4 * S), "mean time between two buffers that are created"),
];

in_order_of_variants!(TABLE);

impl Opt {
    /// All of them, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.0)
    }

    pub(super) const fn row(self) -> Row {
        let (_, name, unit, range, calm, choice, about) = TABLE[self as usize];
        Row {
            name,
            unit,
            range,
            calm,
            choice,
            about,
        }
    }

    /// Its name in texts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// What it sets.
    #[must_use]
    pub const fn about(self) -> &'static str {
        self.row().about
    }

    /// What its numbers count.
    #[must_use]
    pub const fn unit(self) -> Unit {
        self.row().unit
    }

    /// Whether a seed may leave it out.
    pub(crate) const fn can_be_off(self) -> bool {
        matches!(self.row().choice, Maybe(..))
    }

    /// Smaller values that may take the place of this one, the smallest first.
    pub(crate) fn smaller(self, value: u64) -> Vec<u64> {
        let row = self.row();
        // No seed draws less, so nobody has seen whether a run with less makes sense.
        let least = match row.choice {
            Within(low, _) => low.max(row.range.0),
            Maybe(..) => row.range.0,
        };
        let fewer = [least, value / 8, value / 2, value.saturating_sub(value / 4)];
        let mut fewer: Vec<u64> = fewer
            .into_iter()
            .filter(|it| (least..value).contains(it))
            .collect();
        fewer.sort_unstable();
        fewer.dedup();
        fewer
    }

    /// The option of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|opt| opt.name() == name)
    }

    /// Reads a value of this option.
    pub fn parse(self, text: &str) -> Result<u64, OptionError> {
        let row = self.row();
        let wrong = |got: &str| OptionError::Value {
            name: row.name,
            got: got.to_owned(),
            allowed: self.allowed(),
        };
        let value = row.unit.parse(text).ok_or_else(|| wrong(text))?;
        let (least, most) = row.range;
        if (least..=most).contains(&value) {
            Ok(value)
        } else {
            Err(wrong(text))
        }
    }

    /// What a person may write, in words.
    #[must_use]
    pub fn allowed(self) -> String {
        let Row { unit, range, .. } = self.row();
        let (least, most) = (unit.show(range.0), unit.show(range.1));
        format!("{}, from {least} to {most}", unit.allowed())
    }
}

/// What is wrong with an option.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OptionError {
    /// Not `name=value`.
    #[error("`{0}` is no option: write name=value")]
    Form(String),
    /// There is no such option.
    #[error("there is no option `{got}`; there are: {allowed}")]
    Name {
        /// The name.
        got: String,
        /// All names.
        allowed: String,
    },
    /// A value that it cannot have.
    #[error("`{got}` cannot be {name}; allowed: {allowed}")]
    Value {
        /// The option.
        name: &'static str,
        /// The value.
        got: String,
        /// What it can be.
        allowed: String,
    },
    /// Two options that do not go together.
    #[error("{name}={value} is more than {limit}={most}")]
    TooMany {
        /// The one that is too large.
        name: &'static str,
        /// Its value.
        value: u64,
        /// The one that bounds it.
        limit: &'static str,
        /// Its value.
        most: u64,
    },
}

/// A value for each option.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Options {
    values: [u64; TABLE.len()],
}

impl Default for Options {
    /// A quiet run: three nodes, three copies, no faults.
    fn default() -> Self {
        Self {
            values: std::array::from_fn(|at| TABLE[at].0.row().calm),
        }
    }
}

impl Options {
    /// The value of an option, in its unit: microseconds, bytes, percent, ppm, or a count. 0 is
    /// off.
    #[must_use]
    pub const fn get(&self, opt: Opt) -> u64 {
        self.values[opt as usize]
    }

    /// A count as an index or a length.
    #[must_use]
    pub fn count(&self, opt: Opt) -> usize {
        usize::try_from(self.get(opt)).unwrap_or(usize::MAX)
    }

    /// Whether it is on.
    #[must_use]
    pub const fn is_on(&self, opt: Opt) -> bool {
        self.get(opt) != 0
    }

    pub(crate) const fn set(&mut self, opt: Opt, value: u64) {
        self.values[opt as usize] = value;
    }

    /// Changes one option, written `name=value`. Whether the options go together is for
    /// [`Options::check`], when all are set.
    pub fn change(&mut self, text: &str) -> Result<(), OptionError> {
        let parts = text.split_once('=');
        let (name, value) = parts.ok_or_else(|| OptionError::Form(text.to_owned()))?;
        self.change_named(name, value)
    }

    /// Changes the option of this name.
    pub fn change_named(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        let opt = Opt::named(name).ok_or_else(|| OptionError::Name {
            got: name.to_owned(),
            allowed: Opt::all().map(Opt::name).collect::<Vec<_>>().join(", "),
        })?;
        self.set(opt, opt.parse(value)?);
        Ok(())
    }

    /// Those that differ from a quiet run's, in the form that [`Options::from_str`] reads.
    #[must_use]
    pub fn in_short(&self) -> String {
        let quiet = Self::default();
        let differs = Opt::all().filter(|opt| self.get(*opt) != quiet.get(*opt));
        let texts = differs.map(|opt| format!("{}={}", opt.name(), opt.unit().show(self.get(opt))));
        texts.collect::<Vec<_>>().join(" ")
    }

    /// Whether the options go together.
    pub fn check(&self) -> Result<(), OptionError> {
        for (opt, limit) in [(Opt::Copies, Opt::Nodes), (Opt::MinInSync, Opt::Copies)] {
            let (value, most) = (self.get(opt), self.get(limit));
            if value > most {
                return Err(OptionError::TooMany {
                    name: opt.name(),
                    value,
                    limit: limit.name(),
                    most,
                });
            }
        }
        Ok(())
    }
}

/// All options in one line.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, opt) in Opt::all().enumerate() {
            let space = if at == 0 { "" } else { " " };
            let value = opt.unit().show(self.get(opt));
            write!(f, "{space}{}={value}", opt.name())?;
        }
        Ok(())
    }
}

/// Reads options with spaces between them; what is left out has its quiet value.
impl FromStr for Options {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let mut options = Self::default();
        for part in text.split_whitespace() {
            options.change(part)?;
        }
        options.check()?;
        Ok(options)
    }
}
