//! What a link does to packets, the names of its faults, and who is at its ends.

use std::fmt;

use crate::swarm::{Opt, Options};

/// Somebody who sends and receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// A node, by its number in the run: `n1` is number 1.
    Node(u32),
    /// A client, by its number in the run: `c1` is number 1.
    Client(u32),
}

impl Endpoint {
    /// A number of its own, for the keys of draws.
    pub(crate) const fn key(self) -> u64 {
        match self {
            Self::Node(number) => number as u64,
            Self::Client(number) => (1 << 32) | number as u64,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(number) => write!(f, "n{number}"),
            Self::Client(number) => write!(f, "c{number}"),
        }
    }
}

/// One direction between two endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    /// Who sends.
    pub from: Endpoint,
    /// Who receives.
    pub to: Endpoint,
}

impl Link {
    /// The direction from one to the other.
    #[must_use]
    pub const fn new(from: Endpoint, to: Endpoint) -> Self {
        Self { from, to }
    }

    /// The way back.
    #[must_use]
    pub const fn reverse(self) -> Self {
        Self::new(self.to, self.from)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.from, self.to)
    }
}

/// A fault of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetFault {
    /// A packet takes far longer than most.
    Delay,
    /// A packet overtakes an earlier one of its link: it follows from delays.
    Reorder,
    /// A packet is lost.
    Drop,
    /// A packet arrives twice.
    Dup,
    /// Two groups do not reach each other.
    PartitionSym,
    /// One does not reach another, who reaches it.
    PartitionAsym,
    /// A link stands still for a while, then everything arrives.
    Clog,
    /// A link carries few bytes a second.
    Slow,
    /// A link with too much under way loses some of it.
    Capacity,
    /// A connection dies with all that is under way on it, in both directions.
    Reset,
}

impl NetFault {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Delay,
        Self::Reorder,
        Self::Drop,
        Self::Dup,
        Self::PartitionSym,
        Self::PartitionAsym,
        Self::Clog,
        Self::Slow,
        Self::Capacity,
        Self::Reset,
    ];

    /// Its name in traces, counts and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delay => "net.delay",
            Self::Reorder => "net.reorder",
            Self::Drop => "net.drop",
            Self::Dup => "net.dup",
            Self::PartitionSym => "partition.sym",
            Self::PartitionAsym => "partition.asym",
            Self::Clog => "clog",
            Self::Slow => "slow",
            Self::Capacity => "capacity",
            Self::Reset => "reset",
        }
    }

    /// What happens, and what is counted as one time.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Delay => "a packet takes more than three means longer than the minimum",
            Self::Reorder => "a packet arrives after a later one of its link",
            Self::Drop => "a packet is lost",
            Self::Dup => "a packet arrives twice",
            Self::PartitionSym => "a packet is lost between groups that are kept apart",
            Self::PartitionAsym => "a packet is lost on a link that is cut in its direction alone",
            Self::Clog => "a packet waits until its link is free again",
            Self::Slow => "a packet waits for the bytes before it, or takes time for its own",
            Self::Capacity => "a packet is lost since too many are under way",
            Self::Reset => "a connection dies, and what is under way on it with it",
        }
    }
}

/// What links do to packets when nothing is cut. Everything but the delay is a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weather {
    /// The least time under way, in microseconds.
    pub delay_min_us: u64,
    /// The mean of what comes on top, exponentially distributed, in microseconds.
    pub delay_mean_us: u64,
    /// Lost packets in a million.
    pub drop_ppm: u32,
    /// Packets in a million that arrive twice.
    pub dup_ppm: u32,
    /// Packets in a million with which their connection dies.
    pub reset_ppm: u32,
    /// Bytes a second that a link carries; `None` for as many as there are.
    pub bytes_per_second: Option<u64>,
    /// Packets under way on a link, at most; one at random is lost for each further one.
    pub capacity: Option<u32>,
}

impl Weather {
    /// A data centre on a good day: 0.1 ms and as much again on average, and no faults.
    pub const CALM: Self = Self {
        delay_min_us: 100,
        delay_mean_us: 100,
        drop_ppm: 0,
        dup_ppm: 0,
        reset_ppm: 0,
        bytes_per_second: None,
        capacity: None,
    };
}

impl Weather {
    /// The weather that the options of a run say.
    #[must_use]
    pub fn of(options: &Options) -> Self {
        let mut weather = Self::CALM;
        for opt in Self::OPTIONS {
            weather.change(opt, options.get(opt));
        }
        weather
    }

    /// The options that make weather.
    pub const OPTIONS: [Opt; 7] = [
        Opt::DelayMin,
        Opt::DelayMean,
        Opt::Drop,
        Opt::Dup,
        Opt::Reset,
        Opt::Bandwidth,
        Opt::Capacity,
    ];

    /// Changes what one option says; the others say nothing about weather.
    pub fn change(&mut self, opt: Opt, value: u64) {
        let ppm = u32::try_from(value).unwrap_or(u32::MAX);
        match opt {
            Opt::DelayMin => self.delay_min_us = value,
            Opt::DelayMean => self.delay_mean_us = value,
            Opt::Drop => self.drop_ppm = ppm,
            Opt::Dup => self.dup_ppm = ppm,
            Opt::Reset => self.reset_ppm = ppm,
            Opt::Bandwidth => self.bytes_per_second = Some(value).filter(|it| *it > 0),
            Opt::Capacity => self.capacity = Some(ppm).filter(|it| *it > 0),
            _ => {}
        }
    }
}
