//! One request for messages of a topic's consumer: which buffer is asked for how many, and what of
//! that is handed out.
//!
//! Each buffer is asked for as many as are wanted, since all of the earliest may be in one of them;
//! what is not among the earliest goes back as if it had not been handed out. What is done by being
//! handed out cannot go back: then the buffers are asked in turn until there is enough.

use alloc::vec::Vec;

use super::config::AckMode;
use super::machine::Given;

/// The state of one such request.
#[derive(Clone, Debug)]
pub struct TopicTurn {
    ack: AckMode,
    limit: usize,
    members: usize,
    /// The buffer that is asked first.
    first: usize,
    asked: usize,
    found: Vec<(usize, Given)>,
}

/// What becomes of what the buffers gave, each with the place of its buffer among the members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicPick {
    /// It is handed out: the earliest first, of one time and of one buffer as they were given.
    pub handed: Vec<(usize, Given)>,
    /// It goes back.
    pub back: Vec<(usize, Given)>,
}

impl TopicTurn {
    /// A request for at most `limit` messages of a topic with so many buffers. `turn` is another
    /// number each time, so that no buffer is always asked first.
    #[must_use]
    pub fn new(ack: AckMode, members: usize, turn: u64, limit: usize) -> Self {
        let first = turn.checked_rem(members as u64).unwrap_or_default();
        Self {
            ack,
            limit,
            members,
            first: usize::try_from(first).unwrap_or_default(),
            asked: 0,
            found: Vec::new(),
        }
    }

    /// Which buffer is asked next, and for how many; nothing when no more are wanted.
    pub fn ask(&mut self) -> Option<(usize, usize)> {
        let enough = match self.ack {
            AckMode::Explicit => 0,
            AckMode::OnDelivery => self.found.len(),
        };
        let left = self.limit.saturating_sub(enough);
        if left == 0 || self.asked == self.members {
            return None;
        }
        let member = (self.first + self.asked) % self.members;
        self.asked += 1;
        Some((member, left))
    }

    /// What a buffer gave. One that could not be asked gives nothing.
    pub fn gave(&mut self, member: usize, given: impl IntoIterator<Item = Given>) {
        self.found
            .extend(given.into_iter().map(|one| (member, one)));
    }

    /// What is handed out, and what goes back.
    #[must_use]
    pub fn pick(self) -> TopicPick {
        let mut handed = self.found;
        handed.sort_by_key(|(_, given)| given.time);
        let back = handed.split_off(self.limit.min(handed.len()));
        TopicPick { handed, back }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::LeaseId;
    use crate::ids::{Micros, Seq};
    use proptest::prelude::*;

    fn given(seq: u64, time: u64) -> Given {
        Given {
            seq: Seq(seq),
            lease: Some(LeaseId(seq)),
            deliveries: 1,
            time: Micros(time),
        }
    }

    /// Asks buffers whose messages have these times; what was asked, and what came of it.
    fn turn(
        ack: AckMode,
        times: &[Vec<u64>],
        turn: u64,
        limit: usize,
    ) -> (Vec<(usize, usize)>, TopicPick) {
        let mut turn = TopicTurn::new(ack, times.len(), turn, limit);
        let mut asked = Vec::new();
        while let Some((member, wanted)) = turn.ask() {
            asked.push((member, wanted));
            let there = (1..).zip(&times[member]).take(wanted);
            turn.gave(member, there.map(|(seq, time)| given(seq, *time)));
        }
        (asked, turn.pick())
    }

    fn places(of: &[(usize, Given)]) -> Vec<(usize, u64)> {
        of.iter().map(|(member, it)| (*member, it.seq.0)).collect()
    }

    #[test]
    fn the_earliest_of_all_buffers_are_handed_out_and_the_rest_goes_back() {
        let times = [Vec::from([1, 4, 9]), Vec::from([2, 3])];
        let (asked, pick) = turn(AckMode::Explicit, &times, 1, 3);
        assert_eq!(asked, [(1, 3), (0, 3)]);
        assert_eq!(places(&pick.handed), [(0, 1), (1, 1), (1, 2)]);
        assert_eq!(places(&pick.back), [(0, 2), (0, 3)]);
    }

    #[test]
    fn what_is_done_by_being_handed_out_is_asked_for_until_there_is_enough() {
        let times = [Vec::from([1, 4, 9]), Vec::from([2, 3]), Vec::from([0])];
        let (asked, pick) = turn(AckMode::OnDelivery, &times, 4, 4);
        assert_eq!(asked, [(1, 4), (2, 2), (0, 1)]);
        assert_eq!(places(&pick.handed), [(2, 1), (0, 1), (1, 1), (1, 2)]);
        assert_eq!(pick.back, []);
    }

    #[test]
    fn a_topic_without_buffers_asks_nobody() {
        assert_eq!(TopicTurn::new(AckMode::Explicit, 0, 7, 1).ask(), None);
    }

    proptest! {
        /// Nothing is lost on the way, nothing that goes back is earlier than what is handed out,
        /// and what is done by being handed out never goes back.
        #[test]
        fn each_message_is_handed_out_or_goes_back(
            mut times in prop::collection::vec(prop::collection::vec(0_u64..50, 0..6), 1..5),
            number in any::<u64>(),
            limit in 1_usize..8,
            on_delivery in any::<bool>(),
        ) {
            times.iter_mut().for_each(|times| times.sort_unstable());
            let ack = if on_delivery { AckMode::OnDelivery } else { AckMode::Explicit };
            let (asked, pick) = turn(ack, &times, number, limit);
            let gave: usize = asked.iter().map(|(of, wanted)| times[*of].len().min(*wanted)).sum();
            prop_assert_eq!(pick.handed.len() + pick.back.len(), gave);
            prop_assert!(pick.handed.is_sorted_by_key(|(_, it)| it.time));
            let last = pick.handed.last().map_or(Micros(0), |(_, it)| it.time);
            prop_assert!(pick.back.iter().all(|(_, it)| it.time >= last));
            prop_assert!(pick.back.is_empty() || (!on_delivery && pick.handed.len() == limit));
            let all: usize = times.iter().map(Vec::len).sum();
            prop_assert_eq!(pick.handed.len(), all.min(limit));
        }
    }
}
