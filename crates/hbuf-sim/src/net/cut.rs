//! Who does not reach whom: partitions, by hand and drawn.

use std::collections::BTreeSet;
use std::fmt;

use super::{Endpoint, Link, NetFault};
use crate::draw::Draw;

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cut {
    /// Those of different groups do not reach each other; who is in no group reaches all.
    Groups(Vec<BTreeSet<Endpoint>>),
    /// Nobody reaches this one, nor does it reach anybody.
    Isolate(Endpoint),
    /// Nothing gets through in this direction.
    OneWay(Link),
}

/// As scenarios write it.
impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Groups(groups) => {
                f.write_str("partition")?;
                for (at, group) in groups.iter().enumerate() {
                    f.write_str(if at == 0 { "" } else { " |" })?;
                    group.iter().try_for_each(|end| write!(f, " {end}"))?;
                }
                Ok(())
            }
            Self::Isolate(end) => write!(f, "isolate {end}"),
            Self::OneWay(link) => write!(f, "cut {link}"),
        }
    }
}

impl Cut {
    /// Whether a packet of this link is lost.
    #[must_use]
    pub fn blocks(&self, link: Link) -> bool {
        match self {
            Self::Groups(groups) => {
                let group = |end| groups.iter().position(|group| group.contains(&end));
                match (group(link.from), group(link.to)) {
                    (Some(from), Some(to)) => from != to,
                    _ => false,
                }
            }
            Self::Isolate(end) => link.from == *end || link.to == *end,
            Self::OneWay(cut) => *cut == link,
        }
    }

    /// The fault that this is.
    #[must_use]
    pub const fn fault(&self) -> NetFault {
        match self {
            Self::Groups(_) | Self::Isolate(_) => NetFault::PartitionSym,
            Self::OneWay(_) => NetFault::PartitionAsym,
        }
    }

    /// A partition of these endpoints in this manner. `random` decides: any value that was drawn
    /// for it. With fewer than two endpoints there is nothing to cut.
    #[must_use]
    pub fn drawn(split: Split, ends: &[Endpoint], random: u64) -> Option<Self> {
        if ends.len() < 2 {
            return None;
        }
        let draw = Draw(random);
        let cut = match split {
            Split::IsolateOne => Self::Isolate(ends[below(draw, ends.len())]),
            Split::Halves => Self::first_of_shuffled(ends, ends.len() / 2, draw),
            Split::UniformSize => {
                let size = 1 + below(draw, ends.len() - 1);
                Self::first_of_shuffled(ends, size, draw.next())
            }
            Split::UniformAssignment => Self::assigned(ends, draw),
            Split::OneWay => {
                let from = below(draw, ends.len());
                let to = (from + 1 + below(draw.next(), ends.len() - 1)) % ends.len();
                Self::OneWay(Link::new(ends[from], ends[to]))
            }
        };
        Some(cut)
    }

    fn first_of_shuffled(ends: &[Endpoint], size: usize, draw: Draw) -> Self {
        let (mut rest, mut draw) = (ends.to_vec(), draw);
        let mut first = BTreeSet::new();
        while first.len() < size {
            first.insert(rest.swap_remove(below(draw, rest.len())));
            draw = draw.next();
        }
        Self::Groups(vec![first, rest.into_iter().collect()])
    }

    /// Each goes to one side or the other; the last one makes sure that both have somebody.
    fn assigned(ends: &[Endpoint], draw: Draw) -> Self {
        let mut sides = [BTreeSet::new(), BTreeSet::new()];
        let mut draw = draw;
        for (at, end) in ends.iter().enumerate() {
            let last = at + 1 == ends.len();
            let empty = sides.iter().position(BTreeSet::is_empty);
            let side = match empty {
                Some(empty) if last => empty,
                _ => below(draw, 2),
            };
            sides[side].insert(*end);
            draw = draw.next();
        }
        Self::Groups(sides.into())
    }
}

/// How a drawn partition comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Split {
    /// One against all others.
    IsolateOne,
    /// Two halves; with an odd number the second one is larger.
    Halves,
    /// The size of the first group is drawn, then who is in it.
    UniformSize,
    /// For each one a side is drawn.
    UniformAssignment,
    /// One direction between two.
    OneWay,
}

impl Split {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::IsolateOne,
        Self::Halves,
        Self::UniformSize,
        Self::UniformAssignment,
        Self::OneWay,
    ];
}

fn below(draw: Draw, bound: usize) -> usize {
    usize::try_from(draw.below(bound as u64)).expect("it is below a usize")
}
