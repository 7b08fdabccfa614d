//! What all consumers of some buffers have before them, taken together.

use super::machine::Standing;
use crate::ids::{Micros, Seq};

/// Sums and extremes over consumers; a consumer of several buffers counts in each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Load {
    /// Consumers.
    pub consumers: u64,
    /// Messages behind their cursors.
    pub lag: u64,
    /// The most of them that one consumer has in one buffer.
    pub lag_max: u64,
    /// Messages that were found to match and are not done.
    pub pending: u64,
    /// Messages that are leased.
    pub in_flight: u64,
    /// Time of the earliest message that was handed out and is not done.
    pub oldest_unacked: Option<Micros>,
}

impl Load {
    /// Counts a consumer in a buffer whose readers see everything through `commit`.
    pub fn add(&mut self, standing: &Standing, commit: Seq) {
        let lag = commit.0.saturating_sub(standing.cursor.0);
        self.add_all(&Self {
            consumers: 1,
            lag,
            lag_max: lag,
            pending: standing.pending,
            in_flight: standing.in_flight,
            oldest_unacked: standing.oldest_unacked,
        });
    }

    /// Counts all that another load has counted.
    pub fn add_all(&mut self, other: &Self) {
        self.consumers += other.consumers;
        self.lag += other.lag;
        self.lag_max = self.lag_max.max(other.lag_max);
        self.pending += other.pending;
        self.in_flight += other.in_flight;
        let both = [self.oldest_unacked, other.oldest_unacked];
        self.oldest_unacked = both.into_iter().flatten().min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_summed_and_extremes_kept() {
        let standing = |cursor, oldest| Standing {
            cursor: Seq(cursor),
            pending: 3,
            in_flight: 2,
            oldest_unacked: oldest,
            counts: Default::default(),
        };
        let mut load = Load::default();
        load.add(&standing(4, Some(Micros(70))), Seq(10));
        load.add(&standing(9, None), Seq(10));
        load.add(&standing(12, Some(Micros(50))), Seq(10));
        let expected = Load {
            consumers: 3,
            lag: 7,
            lag_max: 6,
            pending: 9,
            in_flight: 6,
            oldest_unacked: Some(Micros(50)),
        };
        assert_eq!(load, expected);
    }
}
