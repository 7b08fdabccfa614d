//! Which buffer's message comes next when a topic is read as one.
//!
//! Each buffer's order is kept; over the buffers the message with the earliest server time comes
//! first, and of two with the same time that of the member that was named first. Only what a member
//! says it has is weighed, so nothing is delivered while the next message of one is not known.
//!
//! ```text
//!            Unknown ──looked──▶ Next(time) ──delivered──▶ Unknown …
//!                └───────────▶ Idle(closed)   Gap(since)
//! ```
//! In [`Order::Strict`] a message also waits until every idle member has *closed* its time:
//! whatever comes there later is later. A gap, a member that stands still or cannot be read, closes
//! nothing; it is passed after the patience of the order. Must never: deliver out of one member's
//! order.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::ids::Micros;
use crate::rules::Rules;

/// How far a message waits for others that may be earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// For none: the earliest of what is committed.
    Earliest,
    /// For every member; for a gap at most so many microseconds from its beginning.
    Strict {
        /// Microseconds.
        patience: u64,
    },
}

/// What is known of a member's next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Head {
    /// Nothing: it must be looked at.
    Unknown,
    /// It has this server time.
    Next(Micros),
    /// There is none, and those to come have at least this time.
    Idle {
        /// The time that is closed; [`Micros`] 0 when that is not known.
        closed: Micros,
    },
    /// There is none that can be had, since then.
    Gap {
        /// When that was first seen.
        since: Micros,
    },
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Look at every member that is [`Head::Unknown`].
    Look,
    /// Deliver this member's messages, from its next one on, as long as they come before `bound`;
    /// then say what its head is.
    Deliver {
        /// The member.
        member: usize,
        /// Where its turn ends.
        bound: Bound,
    },
    /// A message of this time waits: have the idle members that have not closed it do so.
    Close {
        /// The time.
        time: Micros,
    },
    /// A message waits for a gap, at the longest until then.
    Patience {
        /// When the gap is passed.
        until: Micros,
    },
    /// There is nothing to deliver.
    Nothing,
}

/// The place before which a member's turn ends: that of another member's next message, or a time
/// that is not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bound {
    time: Micros,
    member: usize,
}

impl Bound {
    /// Whether a message of this time, of this member, still belongs to the turn.
    #[must_use]
    pub fn admits(&self, time: Micros, member: usize) -> bool {
        (time, member) < (self.time, self.member)
    }
}

/// The state of a merge.
#[derive(Clone, Debug)]
pub struct Merge {
    order: Order,
    looks_at_all: bool,
    heads: Vec<Head>,
    /// Members that are [`Head::Unknown`].
    unknown: usize,
    /// Times of next messages; an entry counts only while the member's head says the same.
    queue: BinaryHeap<Reverse<(Micros, usize)>>,
}

impl Merge {
    /// A merge of so many members, of which nothing is known. Their places break ties.
    #[must_use]
    pub fn new(order: Order, members: usize, rules: &Rules) -> Self {
        Self {
            order,
            looks_at_all: rules.merge_looks_at_all,
            heads: alloc::vec![Head::Unknown; members],
            unknown: members,
            queue: BinaryHeap::with_capacity(members),
        }
    }

    /// What is known of a member.
    #[must_use]
    pub fn head(&self, member: usize) -> Head {
        self.heads[member]
    }

    /// Says what is known of a member now.
    pub fn set(&mut self, member: usize, head: Head) {
        self.unknown -= usize::from(self.heads[member] == Head::Unknown);
        self.unknown += usize::from(head == Head::Unknown);
        self.heads[member] = head;
        if let Head::Next(time) = head {
            self.queue.push(Reverse((time, member)));
        }
    }

    /// What to do next, at this time of the clock that gaps are measured by.
    #[must_use]
    pub fn step(&mut self, now: Micros) -> Step {
        if self.unknown > 0 && (self.looks_at_all || self.front().is_none()) {
            return Step::Look;
        }
        let Some((time, member)) = self.front() else {
            return Step::Nothing;
        };
        let floor = self.floor(now);
        if time >= floor {
            return self.waiting(time, now);
        }
        self.queue.pop();
        let mut other = self.front();
        // The same twice: its member has said so twice.
        while other == Some((time, member)) {
            self.queue.pop();
            other = self.front();
        }
        // Put back: a turn that ends at once must find it again.
        self.queue.push(Reverse((time, member)));
        let bound = match other {
            Some((time, member)) if time < floor => Bound { time, member },
            _ => Bound {
                time: floor,
                member: 0,
            },
        };
        Step::Deliver { member, bound }
    }

    /// The earliest next message.
    fn front(&mut self) -> Option<(Micros, usize)> {
        while let Some(Reverse((time, member))) = self.queue.peek().copied() {
            if self.heads[member] == Head::Next(time) {
                return Some((time, member));
            }
            self.queue.pop();
        }
        None
    }

    /// The time that some member has not closed.
    fn floor(&self, now: Micros) -> Micros {
        let Order::Strict { patience } = self.order else {
            return UNBOUNDED;
        };
        let closed = |head: &Head| match *head {
            Head::Idle { closed } => closed,
            Head::Gap { since } if now < since.plus(patience) => Micros(0),
            Head::Gap { .. } | Head::Next(_) | Head::Unknown => UNBOUNDED,
        };
        self.heads.iter().map(closed).min().unwrap_or(UNBOUNDED)
    }

    /// What a message of this time waits for. Idle members come first: they can be asked.
    fn waiting(&self, time: Micros, now: Micros) -> Step {
        let Order::Strict { patience } = self.order else {
            return Step::Nothing;
        };
        let open = |head: &Head| matches!(head, Head::Idle { closed } if *closed <= time);
        if self.heads.iter().any(open) {
            return Step::Close { time };
        }
        let ends = self.heads.iter().filter_map(|head| match head {
            Head::Gap { since } => Some(since.plus(patience)).filter(|end| *end > now),
            _ => None,
        });
        let until = ends.max().unwrap_or(now);
        Step::Patience { until }
    }
}

/// Behind every time.
const UNBOUNDED: Micros = Micros(u64::MAX);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Micros = Micros(1_000);

    fn merge(order: Order, heads: &[Head]) -> Merge {
        let mut merge = Merge::new(order, heads.len(), &Rules::correct());
        for (member, head) in heads.iter().enumerate() {
            merge.set(member, *head);
        }
        merge
    }

    fn idle(closed: u64) -> Head {
        Head::Idle {
            closed: Micros(closed),
        }
    }

    fn delivers(step: Step) -> usize {
        match step {
            Step::Deliver { member, .. } => member,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_is_delivered_while_a_member_is_unknown() {
        let mut merge = merge(Order::Earliest, &[Head::Next(Micros(5)), Head::Unknown]);
        assert_eq!(merge.step(NOW), Step::Look);
        merge.set(1, Head::Next(Micros(4)));
        assert_eq!(delivers(merge.step(NOW)), 1);
        merge.set(1, idle(0));
        assert_eq!(delivers(merge.step(NOW)), 0);
        merge.set(0, idle(0));
        assert_eq!(merge.step(NOW), Step::Nothing);
    }

    #[test]
    fn a_turn_ends_before_the_next_message_of_another_member() {
        let mut merge = merge(
            Order::Earliest,
            &[Head::Next(Micros(5)), Head::Next(Micros(7)), idle(0)],
        );
        let Step::Deliver { member: 0, bound } = merge.step(NOW) else {
            panic!("the earliest is that of 0");
        };
        assert!(bound.admits(Micros(6), 0) && bound.admits(Micros(7), 0));
        assert!(!bound.admits(Micros(8), 0));
        assert!(!bound.admits(Micros(7), 2), "a later member loses a tie");
        assert_eq!(delivers(merge.step(NOW)), 0, "asking again changes nothing");
    }

    #[test]
    fn strict_order_waits_until_idle_members_have_closed_the_time() {
        let order = Order::Strict { patience: 100 };
        let mut merge = merge(order, &[Head::Next(Micros(5)), idle(5), idle(9)]);
        assert_eq!(merge.step(NOW), Step::Close { time: Micros(5) });
        merge.set(1, idle(6));
        let Step::Deliver { member: 0, bound } = merge.step(NOW) else {
            panic!("both have closed 5");
        };
        assert!(bound.admits(Micros(5), 0) && !bound.admits(Micros(6), 0));
    }

    #[test]
    fn strict_order_passes_a_gap_after_its_patience() {
        let order = Order::Strict { patience: 100 };
        let gap = Head::Gap { since: Micros(950) };
        let mut merge = merge(order, &[Head::Next(Micros(5)), gap]);
        let until = Micros(1_050);
        assert_eq!(merge.step(NOW), Step::Patience { until });
        assert_eq!(delivers(merge.step(until)), 0);
        let mut merge = self::merge(Order::Earliest, &[Head::Next(Micros(5)), gap]);
        assert_eq!(
            delivers(merge.step(NOW)),
            0,
            "otherwise it holds up nothing"
        );
    }

    /// Times of members' messages, never falling, with some equal.
    fn any_logs() -> impl Strategy<Value = Vec<Vec<u64>>> {
        let log = prop::collection::vec(0_u64..4, 0..30).prop_map(|steps| {
            let mut time = 0;
            let rises = steps.into_iter().map(|step| {
                time += step;
                time
            });
            rises.collect()
        });
        prop::collection::vec(log, 1..9)
    }

    /// Reads logs to their ends, looking at `page` messages of a member at once.
    fn read(logs: &[Vec<u64>], page: usize) -> Vec<(u64, usize)> {
        let mut merge = Merge::new(Order::Earliest, logs.len(), &Rules::correct());
        let (mut at, mut seen) = (alloc::vec![0; logs.len()], alloc::vec![0; logs.len()]);
        let mut out = Vec::new();
        let head = |member: usize, at: usize, seen: usize| match logs[member].get(at) {
            Some(_) if at == seen => Head::Unknown,
            Some(time) => Head::Next(Micros(*time)),
            None => idle(0),
        };
        loop {
            match merge.step(NOW) {
                Step::Look => {
                    for member in 0..logs.len() {
                        if merge.head(member) == Head::Unknown {
                            seen[member] += page;
                            merge.set(member, head(member, at[member], seen[member]));
                        }
                    }
                }
                Step::Deliver { member, bound } => {
                    while at[member] < seen[member].min(logs[member].len())
                        && bound.admits(Micros(logs[member][at[member]]), member)
                    {
                        out.push((logs[member][at[member]], member));
                        at[member] += 1;
                    }
                    merge.set(member, head(member, at[member], seen[member]));
                }
                Step::Nothing => return out,
                other => panic!("{other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn a_merge_is_what_sorting_all_messages_gives(logs in any_logs(), page in 1_usize..9) {
            let all = logs.iter().enumerate().flat_map(|(member, log)| {
                log.iter().map(move |time| (*time, member))
            });
            let mut sorted: Vec<(u64, usize)> = all.collect();
            // Stable: what is equal stays in the order of its member.
            sorted.sort();
            prop_assert_eq!(read(&logs, page), sorted);
        }

        #[test]
        fn strict_order_never_goes_back_whenever_messages_arrive(
            arrivals in prop::collection::vec((0_usize..4, 0_u64..3, any::<bool>()), 1..120),
        ) {
            // Members get messages as time goes on; a look at an idle one closes the time of now.
            let mut reader = Strict::new(4);
            let mut now = 1_u64;
            for (member, wait, read) in arrivals {
                now += wait;
                reader.arrive(member, now);
                if read {
                    reader.read(now);
                }
            }
            reader.read(now + 1);
            prop_assert!(reader.delivered.is_sorted(), "went back");
            let all: usize = reader.logs.iter().map(Vec::len).sum();
            prop_assert_eq!(reader.delivered.len(), all, "in the end all are closed");
        }
    }

    /// A reader in strict order of logs that grow meanwhile.
    struct Strict {
        merge: Merge,
        logs: Vec<Vec<u64>>,
        at: Vec<usize>,
        delivered: Vec<(u64, usize)>,
    }

    impl Strict {
        fn new(members: usize) -> Self {
            let order = Order::Strict { patience: 0 };
            Self {
                merge: Merge::new(order, members, &Rules::correct()),
                logs: alloc::vec![Vec::new(); members],
                at: alloc::vec![0; members],
                delivered: Vec::new(),
            }
        }

        fn arrive(&mut self, member: usize, now: u64) {
            self.logs[member].push(now);
            self.look(member, 0);
        }

        /// Says what a member has; of an idle one that `closed` is closed.
        fn look(&mut self, member: usize, closed: u64) {
            let next = self.logs[member].get(self.at[member]);
            let head = next.map_or_else(|| idle(closed), |time| Head::Next(Micros(*time)));
            self.merge.set(member, head);
        }

        fn read(&mut self, now: u64) {
            loop {
                match self.merge.step(Micros(now)) {
                    Step::Look | Step::Close { .. } => {
                        let open = |member: &usize| match self.merge.head(*member) {
                            Head::Next(_) => false,
                            head => head != idle(now),
                        };
                        let open: Vec<usize> = (0..self.logs.len()).filter(open).collect();
                        if open.is_empty() {
                            return;
                        }
                        open.into_iter().for_each(|member| self.look(member, now));
                    }
                    Step::Deliver { member, bound } => {
                        while let Some(time) = self.logs[member].get(self.at[member])
                            && bound.admits(Micros(*time), member)
                        {
                            self.delivered.push((*time, member));
                            self.at[member] += 1;
                        }
                        self.look(member, 0);
                    }
                    Step::Patience { .. } | Step::Nothing => return,
                }
            }
        }
    }
}
