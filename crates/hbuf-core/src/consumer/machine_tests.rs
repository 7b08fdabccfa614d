//! Stories of one consumer, then any sequence of events against a list of what is done.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::ids::{Micros, Seq, Uuid};
use crate::input::Token;
use crate::limits::{
    CONSUMER_LOOK_MAX, CONSUMER_NEXT_BYTES_MAX, CONSUMER_WAITING_MAX, CONSUMER_WINDOW_MAX,
};
use crate::rules::Rules;

const CONSUMER: Uuid = Uuid([7; 16]);
const SECOND: u64 = 1_000_000;

/// A consumer with a log of messages before it; a message is its key, its time is its seq.
struct World {
    consumer: Consumer,
    log: Vec<(Option<u64>, Option<Micros>)>,
    /// Length of each record.
    bytes: u32,
    now: Micros,
    token: u64,
    buried: Vec<(Seq, GivenUp)>,
}

impl World {
    fn new(config: Config, messages: usize) -> Self {
        Self {
            consumer: Consumer::open(&Rules::correct(), (config, 1), Progress::default(), 1),
            log: vec![(None, None); messages],
            bytes: 300,
            now: Micros(SECOND),
            token: 0,
            buried: Vec::new(),
        }
    }

    /// Performs what is wished; gives the last answer.
    fn serve(&mut self) -> Option<Vec<Given>> {
        let mut wishes = Vec::new();
        self.consumer.serve(self.now, self.commit(), &mut wishes);
        self.perform(wishes)
    }

    fn perform(&mut self, wishes: Vec<Wish>) -> Option<Vec<Given>> {
        let mut answer = None;
        for wish in wishes {
            match wish {
                Wish::Give { given, .. } => answer = Some(given),
                Wish::Bury { seq, why, .. } => self.buried.push((seq, why)),
                Wish::Look { after, limit } => {
                    let bytes = self.bytes;
                    let found: Vec<Candidate> = (1..)
                        .map(Seq)
                        .zip(&self.log)
                        .skip(after.0 as usize)
                        .take(limit)
                        .map(|(seq, (key, deliver_at))| Candidate {
                            seq,
                            time: Micros(seq.0),
                            key: *key,
                            deliver_at: *deliver_at,
                            bytes,
                        })
                        .collect();
                    let through = found.last().map_or(after, |last| last.seq);
                    self.consumer.looked(after, through, &found);
                    answer = self.serve().or(answer);
                }
            }
        }
        answer
    }

    fn commit(&self) -> Seq {
        Seq(self.log.len() as u64)
    }

    fn next(&mut self, limit: usize) -> Vec<Given> {
        self.token += 1;
        assert!(self.consumer.ask(Token(self.token), limit, false));
        self.serve().expect("who does not wait is answered")
    }

    fn seqs(&mut self, limit: usize) -> Vec<u64> {
        self.next(limit).iter().map(|given| given.seq.0).collect()
    }

    fn settle(&mut self, given: &Given, what: Settling) -> Settled {
        let lease = given.lease.expect("an explicit consumer leases");
        self.consumer.settle(self.now, given.seq, lease, what)
    }

    fn pass(&mut self, micros: u64) {
        self.now = Micros(self.now.0 + micros);
        let mut wishes = Vec::new();
        self.consumer.tick(self.now, &mut wishes);
        self.perform(wishes);
    }

    /// What a restart finds.
    fn restart(&mut self) {
        let config = self.consumer.config().clone();
        let recorded = self.consumer.recorded().clone();
        self.consumer = Consumer::open(&Rules::correct(), (config, 1), recorded, 1_000_000);
    }
}

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

#[test]
fn what_an_older_version_says_is_late_and_changes_nothing() {
    let mut world = World::new(Config::default(), 1);
    let lease = |lease_ms| Config {
        lease_ms,
        ..Config::default()
    };
    world.consumer.configure(lease(7_000), 3);
    world.consumer.configure(lease(60_000), 2);
    assert_eq!(world.consumer.config().lease_ms, 7_000);
    world.consumer.configure(lease(8_000), 3);
    assert_eq!(world.consumer.config().lease_ms, 8_000);
}

#[test]
fn it_looks_ahead_of_whoever_works_and_of_nobody_else() {
    let mut world = World::new(Config::default(), 3 * CONSUMER_LOOK_MAX);
    let looked = |world: &World| world.consumer.standing().pending as usize;
    assert_eq!(world.seqs(1), [1]);
    assert_eq!(
        looked(&world),
        CONSUMER_LOOK_MAX,
        "enough for what comes next"
    );
    world.seqs(CONSUMER_LOOK_MAX / 2 - 1);
    assert_eq!(looked(&world), CONSUMER_LOOK_MAX);
    world.seqs(1);
    assert_eq!(looked(&world), 2 * CONSUMER_LOOK_MAX);
    world.serve();
    assert_eq!(looked(&world), 2 * CONSUMER_LOOK_MAX);
}

#[test]
fn several_workers_get_different_messages_and_acks_move_the_cursor() {
    let mut world = World::new(Config::default(), 5);
    let one = world.next(2);
    let two = world.next(2);
    assert_eq!(one.iter().map(|it| it.seq.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(two.iter().map(|it| it.seq.0).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(world.settle(&one[1], Settling::Ack), Settled::Acked);
    assert_eq!(world.consumer.cursor(), Seq(0), "1 is not done");
    assert_eq!(world.settle(&one[0], Settling::Ack), Settled::Acked);
    assert_eq!(world.consumer.cursor(), Seq(2));
    assert_eq!(world.settle(&one[0], Settling::Ack), Settled::AlreadyAcked);
    let standing = world.consumer.standing();
    assert_eq!((standing.pending, standing.in_flight), (3, 2));
    assert_eq!(standing.oldest_unacked, Some(Micros(3)));
    assert_eq!(world.seqs(9), [5]);
    assert!(world.next(9).is_empty());
}

#[test]
fn a_lapsed_lease_is_lost_and_its_message_comes_again_with_its_count() {
    let mut world = World::new(config(|c| c.lease_ms = 1_000), 1);
    let first = world.next(1);
    world.pass(SECOND - 1);
    assert!(world.next(1).is_empty());
    world.pass(1);
    assert_eq!(world.settle(&first[0], Settling::Ack), Settled::LeaseLost);
    let again = world.next(1);
    assert_eq!((again[0].seq, again[0].deliveries), (Seq(1), 2));
    let other = LeaseId(77);
    let done = world
        .consumer
        .settle(world.now, Seq(1), other, Settling::Ack);
    assert_eq!(done, Settled::LeaseLost);
    let extend = Settling::Extend { lease_ms: 10_000 };
    assert_eq!(world.settle(&again[0], extend), Settled::Extended);
    world.pass(9 * SECOND);
    assert_eq!(world.settle(&again[0], Settling::Ack), Settled::Acked);
    assert_eq!(world.consumer.standing().counts.redelivered, 1);
    let unknown = world
        .consumer
        .settle(world.now, Seq(9), other, Settling::Ack);
    assert_eq!(unknown, Settled::Unknown);
}

#[test]
fn a_nack_waits_its_delay_and_a_message_its_time() {
    let mut world = World::new(Config::default(), 2);
    world.log[1].1 = Some(Micros(10 * SECOND));
    let given = world.next(9);
    assert_eq!(given.len(), 1, "2 is not due");
    let nack = Settling::Nack { delay_ms: 2_000 };
    assert_eq!(world.settle(&given[0], nack), Settled::Nacked);
    assert!(world.next(9).is_empty());
    world.pass(2 * SECOND);
    assert_eq!(world.seqs(9), [1]);
    world.pass(7 * SECOND);
    assert_eq!(world.seqs(9), [2]);
}

#[test]
fn too_many_deliveries_or_too_much_age_give_a_message_up() {
    let mut world = World::new(config(|c| c.deliveries_max = Some(2)), 1);
    for _ in 0..2 {
        let given = world.next(1);
        world.settle(&given[0], Settling::Nack { delay_ms: 0 });
    }
    assert!(world.next(1).is_empty());
    assert_eq!(world.buried, [(Seq(1), GivenUp::Deliveries)]);
    assert_eq!(
        world.consumer.cursor(),
        Seq(0),
        "it is kept until it is put away"
    );
    world.consumer.buried(world.now, Seq(1), false);
    world.pass(SECOND);
    assert_eq!(world.buried.len(), 2, "tried again");
    world.consumer.buried(world.now, Seq(1), true);
    assert_eq!(world.consumer.cursor(), Seq(1));
    assert_eq!(world.consumer.standing().counts.dead_lettered, 1);

    let mut world = World::new(config(|c| c.expire_ms = Some(5_000)), 1);
    world.pass(60 * SECOND);
    let given = world.next(1);
    assert_eq!(given.len(), 1, "the first delivery is never too late");
    world.settle(&given[0], Settling::Nack { delay_ms: 0 });
    assert!(world.next(1).is_empty());
    assert_eq!(world.buried, [(Seq(1), GivenUp::Expired)]);
}

#[test]
fn leases_are_bounded_and_free_ones_come_back() {
    let mut world = World::new(config(|c| c.in_flight_max = 2), 5);
    let given = world.next(9);
    assert_eq!(given.len(), 2);
    assert!(world.next(9).is_empty());
    world.settle(&given[0], Settling::Ack);
    assert_eq!(world.seqs(9), [3]);
}

#[test]
fn no_more_is_looked_at_than_the_window_holds_and_no_more_wait_than_may() {
    let delayed = CONSUMER_WINDOW_MAX + 3_000;
    let mut world = World::new(Config::default(), delayed);
    let later = Micros(3_600 * SECOND);
    world
        .log
        .iter_mut()
        .for_each(|message| message.1 = Some(later));
    world.log.push((None, None));
    assert!(
        world.next(9).is_empty(),
        "what may go at once is behind the window"
    );
    let pending = world.consumer.standing().pending;
    assert_eq!(pending, CONSUMER_WINDOW_MAX as u64);

    let mut world = World::new(Config::default(), 0);
    for token in 0..CONSUMER_WAITING_MAX as u64 {
        assert!(world.consumer.ask(Token(token), 1, true));
    }
    assert!(!world.consumer.ask(Token(1 << 20), 1, true));
}

#[test]
fn delayed_messages_hold_up_only_what_is_behind_a_full_window() {
    let mut world = World::new(config(|c| c.in_flight_max = 1), CONSUMER_WINDOW_MAX - 1);
    for (number, message) in world.log.iter_mut().enumerate() {
        message.1 = Some(Micros((60 + number as u64) * SECOND));
    }
    world.log.extend([(None, None), (None, None)]);
    let (within, behind) = (CONSUMER_WINDOW_MAX as u64, CONSUMER_WINDOW_MAX as u64 + 1);
    // Those that are delayed are not in flight.
    let given = world.next(9);
    assert_eq!(given.len(), 1);
    assert_eq!(given[0].seq, Seq(within));
    assert!(world.next(9).is_empty());
    // What is done makes room for the next, wherever the cursor stands.
    world.settle(&given[0], Settling::Ack);
    assert_eq!(world.consumer.cursor(), Seq(0));
    assert_eq!(world.seqs(9), [behind]);
}

#[test]
fn what_one_request_is_given_is_bounded_in_bytes_too() {
    let mut world = World::new(Config::default(), 5);
    world.bytes = u32::try_from(CONSUMER_NEXT_BYTES_MAX / 2).unwrap();
    assert_eq!(world.seqs(10), [1, 2]);
    assert_eq!(world.seqs(10), [3, 4]);

    let mut world = World::new(Config::default(), 2);
    world.bytes = u32::try_from(CONSUMER_NEXT_BYTES_MAX).unwrap() + 1;
    assert_eq!(world.seqs(10), [1], "one alone, however long");
    assert_eq!(world.seqs(10), [2]);
}

#[test]
fn one_key_goes_one_by_one_and_the_others_go_on() {
    let mut world = World::new(config(|c| c.order_by_key = true), 6);
    let keys = [Some(1), Some(1), Some(2), None, Some(2), None];
    for (message, key) in world.log.iter_mut().zip(keys) {
        message.0 = key;
    }
    let given = world.next(9);
    let seqs: Vec<u64> = given.iter().map(|it| it.seq.0).collect();
    assert_eq!(seqs, [1, 3, 4, 6]);
    // A message that was given back blocks what follows, also while it is delayed.
    world.settle(&given[0], Settling::Nack { delay_ms: 1_000 });
    assert!(world.next(9).is_empty());
    world.settle(&given[1], Settling::Ack);
    assert_eq!(world.seqs(9), [5]);
    world.pass(SECOND);
    assert_eq!(world.seqs(9), [1]);
}

#[test]
fn done_by_delivery_is_done() {
    let mut world = World::new(config(|c| c.ack = AckMode::OnDelivery), 2);
    let given = world.next(1);
    assert_eq!(given[0].lease, None);
    assert_eq!(world.consumer.cursor(), Seq(1));
    let delta = world.consumer.record(CONSUMER).unwrap();
    assert_eq!(delta.through, Seq(1), "what was only looked at stays out");
    world.restart();
    assert_eq!(world.seqs(9), [2]);
}

#[test]
fn who_waits_is_answered_when_something_comes_or_nobody_wants_it_any_more() {
    let mut world = World::new(Config::default(), 0);
    assert!(world.consumer.ask(Token(1), 5, true));
    assert_eq!(world.serve(), None);
    assert!(world.consumer.hungry());
    world.log.push((None, None));
    assert_eq!(world.serve().unwrap().len(), 1);
    assert!(world.consumer.ask(Token(2), 5, true));
    assert_eq!(world.serve(), None);
    world.consumer.stop_waiting(Token(2));
    assert_eq!(world.serve(), Some(Vec::new()));
}

#[test]
fn dropped_messages_count_as_done_and_lost() {
    let mut world = World::new(Config::default(), 10);
    let given = world.next(2);
    world.settle(&given[0], Settling::Ack);
    world.consumer.dropped(Seq(6));
    // 2 was leased, 3 to 5 were looked at.
    assert_eq!(world.consumer.standing().counts.lost, 4);
    assert_eq!(world.consumer.standing().in_flight, 0);
    assert_eq!(
        world.settle(&given[1], Settling::Ack),
        Settled::AlreadyAcked
    );
    assert_eq!(world.seqs(1), [6]);
}

#[test]
fn a_seek_begins_anew_and_ends_leases() {
    let mut world = World::new(Config::default(), 5);
    let given = world.next(5);
    let delta = world.consumer.seek(CONSUMER, Seq(3));
    assert!(delta.whole);
    assert_eq!(world.settle(&given[4], Settling::Ack), Settled::Unknown);
    assert_eq!(world.seqs(9), [4, 5]);
    world.consumer.seek(CONSUMER, Seq(0));
    assert_eq!(world.seqs(9), [1, 2, 3, 4, 5]);
}

#[test]
fn an_ack_of_what_the_filter_passed_behind_a_seek_is_on_record() {
    let acked = |rules: Rules| {
        let mut world = World::new(Config::default(), 5);
        world.consumer = Consumer::open(&rules, (Config::default(), 1), Progress::default(), 1);
        let given = world.next(5);
        world.consumer.seek(CONSUMER, Seq(0));
        // Another filter takes the first one alone.
        let Some(Wish::Look { after, .. }) = ({
            assert!(world.consumer.ask(Token(99), 1, true));
            let mut wishes = Vec::new();
            world.consumer.serve(world.now, Seq(5), &mut wishes);
            wishes.pop()
        }) else {
            panic!("it looks anew");
        };
        let first = Candidate {
            seq: Seq(1),
            time: Micros(1),
            key: None,
            deliver_at: None,
            bytes: 300,
        };
        world.consumer.looked(after, Seq(5), &[first]);
        let settled = world.settle(&given[3], Settling::Ack);
        assert_eq!(settled, Settled::AlreadyAcked);
        world.consumer.record(CONSUMER);
        world.consumer.recorded().clone()
    };
    let recorded = acked(Rules::correct());
    assert_eq!(recorded.through, Seq(5));
    assert_eq!(recorded.open.keys().copied().collect::<Vec<_>>(), [Seq(1)]);
    let wrong = acked(Rules {
        passed_acks_are_recorded: false,
        ..Rules::correct()
    });
    assert_eq!(wrong.through, Seq(0), "nothing is on record");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever happens, what was acked and put on record never comes again, what was not acked is
    /// never lost, and no message is leased twice at once.
    #[test]
    fn nothing_acked_comes_again_and_nothing_else_is_lost(
        keys in prop::collection::vec(prop::option::of(0_u64..3), 1..24),
        by_key in any::<bool>(),
        events in prop::collection::vec((0_u8..8, 0_usize..9), 0..80),
    ) {
        let mut world = World::new(
            config(|c| (c.order_by_key, c.lease_ms, c.in_flight_max) = (by_key, 1_000, 6)),
            keys.len(),
        );
        for (message, key) in world.log.iter_mut().zip(&keys) {
            message.0 = *key;
        }
        let mut leased: Vec<Given> = Vec::new();
        let mut acked: Vec<Seq> = Vec::new();
        for (event, n) in events {
            match event {
                0..=2 => {
                    for given in world.next(n + 1) {
                        prop_assert!(!acked.contains(&given.seq), "{:?} came again", given.seq);
                        prop_assert!(!leased.iter().any(|it| it.seq == given.seq));
                        leased.push(given);
                    }
                    prop_assert!(leased.len() <= 6);
                }
                3 | 4 if !leased.is_empty() => {
                    let given = leased.remove(n % leased.len());
                    prop_assert_eq!(world.settle(&given, Settling::Ack), Settled::Acked);
                    acked.push(given.seq);
                    world.consumer.record(CONSUMER);
                }
                5 if !leased.is_empty() => {
                    let given = leased.remove(n % leased.len());
                    let nack = Settling::Nack { delay_ms: 0 };
                    let what = if n % 2 == 0 { Settling::Return } else { nack };
                    prop_assert_eq!(world.settle(&given, what), Settled::Nacked);
                }
                6 => {
                    world.pass(SECOND);
                    leased.clear();
                    world.consumer.record(CONSUMER);
                }
                7 => {
                    world.restart();
                    leased.clear();
                }
                _ => {}
            }
            prop_assert_eq!(world.consumer.standing().in_flight, leased.len() as u64);
            let cursor = world.consumer.cursor();
            prop_assert!((1..=cursor.0).all(|seq| acked.contains(&Seq(seq))), "{:?}", cursor);
            let recorded = world.consumer.recorded();
            for seq in (1..=recorded.through.0).map(Seq) {
                prop_assert_eq!(acked.contains(&seq), !recorded.open.contains_key(&seq));
            }
        }
        // In the end every message is handed out until it is acked.
        world.pass(SECOND);
        for _ in 0..200 {
            for given in world.next(9) {
                prop_assert_eq!(world.settle(&given, Settling::Ack), Settled::Acked);
                prop_assert!(!acked.contains(&given.seq));
                acked.push(given.seq);
            }
        }
        prop_assert_eq!(acked.len(), keys.len());
        prop_assert_eq!(world.consumer.cursor(), world.commit());
    }
}
