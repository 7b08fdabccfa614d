//! Keyed draws: every random value is a function of (seed, purpose, entity, ordinal).
//!
//! Nothing is drawn in sequence, so taking one decision away leaves all the others as they were:
//! that is what makes a run comparable with a run that differs in one fault.

/// What a value is drawn for. The name is part of the key: renaming one changes every saved seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The plan of a run: which faults, which rates, how many buffers.
    Plan,
    /// What a client does next.
    Workload,
    /// The bytes of a message.
    Content,
    /// The salt of a message.
    Salt,
    /// How long something takes.
    Delay,
    /// What a crash leaves of a write.
    Crash,
    /// Whether the power goes while a mark is written, and when.
    Mark,
    /// What rots.
    Rot,
    /// What a reader of all buffers does next.
    Topic,
    /// What a mirror does next.
    Mirror,
    /// What an operator does with consumers, and what is set on them.
    Consumer,
    /// What a worker does next.
    Worker,
    /// What an operator does with stored filters.
    Filter,
    /// What happens next in a small cluster.
    Cluster,
    /// How long a packet is under way.
    NetDelay,
    /// Whether a packet is lost.
    NetDrop,
    /// Whether a packet arrives twice, and when the second time.
    NetDup,
    /// Which packet a full link loses.
    NetCapacity,
    /// Whether a connection dies with a packet.
    NetReset,
    /// The options of a run.
    Options,
    /// The faults of a run, and when they happen.
    Faults,
}

impl Purpose {
    const fn key(self) -> u64 {
        match self {
            Self::Plan => 0x706c_616e,
            Self::Workload => 0x776f_726b,
            Self::Content => 0x626f_6479,
            Self::Salt => 0x7361_6c74,
            Self::Delay => 0x6465_6c61,
            Self::Crash => 0x6372_6173,
            Self::Mark => 0x6d61_726b,
            Self::Rot => 0x726f_7421,
            Self::Topic => 0x746f_7063,
            Self::Mirror => 0x6d69_7272,
            Self::Consumer => 0x636f_6e73,
            Self::Worker => 0x776b_6572,
            Self::Filter => 0x6669_6c74,
            Self::Cluster => 0x636c_7573,
            Self::NetDelay => 0x6e64_6c79,
            Self::NetDrop => 0x6e64_7270,
            Self::NetDup => 0x6e64_7570,
            Self::NetCapacity => 0x6e63_6170,
            Self::NetReset => 0x6e72_7374,
            Self::Options => 0x6f70_7473,
            Self::Faults => 0x666c_7473,
        }
    }
}

/// The source of all draws of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Draws {
    seed: u64,
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Draw(pub(crate) u64);

impl Draws {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The value of (purpose, entity, ordinal).
    pub(crate) const fn draw(&self, purpose: Purpose, entity: u64, ordinal: u64) -> Draw {
        Draw(mix(
            mix(mix(mix(0, self.seed), purpose.key()), entity),
            ordinal,
        ))
    }
}

impl Draw {
    /// A value below `bound`.
    pub(crate) const fn below(self, bound: u64) -> u64 {
        ((self.0 as u128 * bound as u128) >> 64) as u64
    }

    /// A value from `low` to `high`, both included.
    pub(crate) const fn within(self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True in `percent` of all cases.
    pub(crate) const fn percent(self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// True in so many of a million cases.
    pub(crate) const fn ppm(self, ppm: u32) -> bool {
        self.below(1_000_000) < ppm as u64
    }

    /// A value of the exponential distribution with this mean, at most 44 times the mean.
    ///
    /// In integers alone, for a logarithm of floats may differ from machine to machine: the value
    /// is mean * -ln(u), where u = m / 2^zeros and m is from 1/2 to 1, and
    /// -ln(m) = 2 atanh((1 - m) / (1 + m)).
    pub(crate) const fn exponential(self, mean: u64) -> u64 {
        const LN_2: u128 = 2_977_044_472;
        let value = self.0 | 1;
        let zeros = value.leading_zeros();
        let m = ((value << zeros) >> 32) as u128;
        let z = (((1 << 32) - m) << 32) / ((1 << 32) + m);
        let square = (z * z) >> 32;
        let (mut term, mut sum, mut k) = (z, 0, 1);
        // z is at most 1/3: what follows the eighth term is below 2^-28.
        while k < 16 {
            sum += term / k;
            term = (term * square) >> 32;
            k += 2;
        }
        let units = zeros as u128 * LN_2 + 2 * sum;
        ((units * mean as u128) >> 32) as u64
    }

    /// A further value that depends on nothing but this one.
    pub(crate) const fn next(self) -> Self {
        Self(mix(self.0, 0x6e65_7874))
    }
}

/// A number that follows from a name.
pub(crate) fn key(name: &str) -> u64 {
    name.bytes().fold(0, |state, byte| mix(state, byte.into()))
}

/// One round of a keyed mixer: the finaliser of SplitMix64 over state and input.
pub(crate) const fn mix(state: u64, input: u64) -> u64 {
    let mut value = (state ^ input)
        .wrapping_add(0x9e37_79b9_7f4a_7c15)
        .rotate_left(23);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31) ^ state.rotate_left(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever changes these changes what every saved seed means.
    #[test]
    fn the_draws_are_these_for_ever() {
        let draws = Draws::new(42);
        let values = [
            draws.draw(Purpose::Plan, 0, 0).0,
            draws.draw(Purpose::Plan, 0, 1).0,
            draws.draw(Purpose::Plan, 1, 0).0,
            draws.draw(Purpose::Crash, 0, 0).0,
            Draws::new(43).draw(Purpose::Plan, 0, 0).0,
            draws.draw(Purpose::Plan, 0, 0).next().0,
        ];
        assert_eq!(values, GOLDEN, "{values:#x?}");
    }

    #[test]
    fn values_are_spread_over_their_range() {
        let draws = Draws::new(7);
        let mut counts = [0_u32; 10];
        for ordinal in 0..10_000 {
            let value = draws.draw(Purpose::Delay, 3, ordinal).below(10);
            counts[usize::try_from(value).unwrap()] += 1;
        }
        assert!(
            counts.iter().all(|count| (800..1_200).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn exponential_values_have_their_mean_and_their_tail() {
        let draws = Draws::new(3);
        let value = |ordinal| draws.draw(Purpose::NetDelay, 1, ordinal).exponential(1_000);
        let values: Vec<u64> = (0..100_000).map(value).collect();
        let mean = values.iter().sum::<u64>() / 100_000;
        assert!((980..1_020).contains(&mean), "{mean}");
        // e^-1 and e^-3 of them lie above one and three means.
        let above = |bound| values.iter().filter(|value| **value > bound).count();
        assert!((36_300..37_300).contains(&above(1_000)));
        assert!((4_800..5_200).contains(&above(3_000)));
        assert_eq!(Draw(u64::MAX).exponential(1_000_000), 0);
        assert!(Draw(0).exponential(1_000_000) < 45_000_000);
        // The value in the middle is the median.
        let median = Draw(1 << 63).exponential(1_000_000_000);
        assert!(median.abs_diff(693_147_181) <= 4, "{median}");
    }

    const GOLDEN: [u64; 6] = [
        0x4eee_3367_5919_c3ce,
        0xc700_179f_3215_caa4,
        0x4674_0184_bd3a_175d,
        0x3ade_e994_8716_355e,
        0xde10_42ff_4cd0_676a,
        0xc16d_23ea_8191_9a0c,
    ];
}
