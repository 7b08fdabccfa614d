//! Keyed draws: every choice of a power loss is a function of the seed and of what is decided,
//! so a seed replays the same choices whatever else changed around them.

/// A source of draws for one seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draws {
    seed: u64,
}

impl Draws {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The draw for one question: `purpose` says what is decided, `entity` and `ordinal` for whom.
    pub(crate) fn at(self, purpose: &str, entity: u64, ordinal: u64) -> u64 {
        let mut state = mix(self.seed ^ 0x9e37_79b9_7f4a_7c15);
        for byte in purpose.bytes() {
            state = mix(state ^ u64::from(byte));
        }
        mix(mix(state ^ entity) ^ ordinal.rotate_left(32))
    }

    /// A number in `0..bound`.
    pub(crate) fn below(self, bound: u64, purpose: &str, entity: u64, ordinal: u64) -> u64 {
        assert!(bound > 0, "a draw needs at least one choice");
        self.at(purpose, entity, ordinal) % bound
    }

    /// True in `percent` of all cases.
    pub(crate) fn chance(self, percent: u64, purpose: &str, entity: u64, ordinal: u64) -> bool {
        self.below(100, purpose, entity, ordinal) < percent
    }
}

/// The finaliser of splitmix64: each input bit reaches each output bit.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_question_has_the_same_answer_and_another_seed_another_one() {
        let draws = Draws::new(7);
        assert_eq!(draws.at("write", 3, 4), draws.at("write", 3, 4));
        assert_ne!(draws.at("write", 3, 4), Draws::new(8).at("write", 3, 4));
        assert_ne!(draws.at("write", 3, 4), draws.at("write", 4, 3));
    }
}
