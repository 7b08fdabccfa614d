//! The cursors log of consumers through crashes: what was answered is there, and nothing more is
//! done than what was acknowledged.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::tests::found;
use super::*;
use crate::buffer::{ConsumerAnswer, ConsumerCall, ConsumerRefused, ConsumerTask};
use crate::consumer::{Candidate, Config, Given, Progress, Settling};
use crate::effect::{Effect, Effects, WriteBytes};
use crate::ids::Micros;
use crate::input::{Input, Token};
use crate::segment::LogKind;
use crate::shard::Shard;

pub(super) const BUFFER: Uuid = Uuid([1; 16]);
pub(super) const MESSAGES: u64 = 60;

/// A consumer's uuid.
pub(super) const fn consumer(number: u8) -> Uuid {
    Uuid([number; 16])
}

/// One buffer that holds messages, with a disk for its cursors log.
pub(super) struct World {
    shard: Shard,
    /// What surely survives a crash.
    pub(super) durable: BTreeMap<u64, Vec<u8>>,
    /// What may survive it, in order.
    pub(super) unsynced: Vec<WriteBytes>,
    now: Micros,
    token: u64,
    answers: BTreeMap<u64, ConsumerAnswer>,
    dropped: Vec<u64>,
    /// What the shell is asked for waits here, when it is slow.
    tasks: Option<Vec<(Uuid, ConsumerTask)>>,
}

impl World {
    pub(super) fn new() -> Self {
        let mut world = Self {
            shard: Shard::new(Rules::correct()),
            durable: BTreeMap::new(),
            unsynced: Vec::new(),
            now: Micros(1_000_000),
            token: 0,
            answers: BTreeMap::new(),
            dropped: Vec::new(),
            tasks: None,
        };
        world.open(CursorsEnd::default(), BTreeMap::new());
        world
    }

    fn open(&mut self, cursors: CursorsEnd, consumers: BTreeMap<Uuid, Progress>) {
        let mut frontier = crate::tree::Frontier::default();
        for _ in 0..MESSAGES {
            frontier.push(crate::ids::Hash([1; 32]));
        }
        let opening = Opening {
            buffer: BUFFER,
            log: BUFFER,
            history: BUFFER,
            node: NodeId(1),
            node_epoch: NodeEpoch(1),
            assignment: Arc::new(Assignment::solo(
                NodeId(1),
                NodeEpoch(1),
                crate::ids::Epoch(1),
                BUFFER,
            )),
            epochs: Vec::new(),
            first: Seq::FIRST,
            end: Seq(MESSAGES),
            known_commit: Seq(MESSAGES),
            last_time: Micros(1),
            frontier,
            segments: Vec::new(),
            cursors,
            consumers,
            producers: Default::default(),
            keys: Default::default(),
            stream: None,
            config: BufferConfig::default(),
            state: BufferState::Open,
            damaged: None,
            sealed: false,
            mark_generation: 0,
            marked: None,
            fence: 0,
        };
        self.shard = Shard::new(Rules::correct());
        self.input(Input::Open(Box::new(opening)));
    }

    fn input(&mut self, input: Input) {
        let mut out = Effects::new();
        self.now = Micros(self.now.0 + 1_000);
        self.shard.handle(self.now, input, &mut out);
        for effect in out {
            match effect {
                Effect::WriteBytes(write) => self.unsynced.push(write),
                Effect::DropCursors { keep_from, .. } => {
                    self.dropped.push(keep_from.0);
                    self.durable.retain(|first, _| *first >= keep_from.0);
                }
                Effect::Consumer { consumer, task, .. } => self.task(consumer, task),
                _ => {}
            }
        }
    }

    fn task(&mut self, consumer: Uuid, task: ConsumerTask) {
        match task {
            ConsumerTask::Answer { token, answer } => {
                self.answers.insert(token.0, answer);
            }
            task if self.tasks.is_some() => {
                let tasks = self.tasks.as_mut().expect("it was just seen");
                tasks.push((consumer, task));
            }
            ConsumerTask::Look {
                after,
                through,
                limit,
                ..
            } => {
                let last = through.0.min(after.0 + limit as u64);
                let found = (after.0 + 1..=last).map(|seq| Candidate {
                    seq: Seq(seq),
                    time: Micros(seq),
                    key: None,
                    deliver_at: None,
                    bytes: 300,
                });
                let found = Some((Seq(last), found.collect()));
                self.call(consumer, ConsumerCall::Looked { after, found });
            }
            ConsumerTask::Bury { .. } => unreachable!("nothing is given up here"),
        }
    }

    /// Asks and gives the request's number.
    pub(super) fn call(&mut self, consumer: Uuid, call: ConsumerCall) -> u64 {
        self.token += 1;
        let token = Token(self.token);
        self.input(Input::Consumer {
            buffer: BUFFER,
            consumer,
            token,
            call,
        });
        token.0
    }

    pub(super) fn begin(&mut self, uuid: Uuid) -> u64 {
        let config = Box::new(Config::default());
        let after = Some(Seq::ZERO);
        self.call(
            uuid,
            ConsumerCall::Begin {
                config,
                version: 1,
                after,
            },
        )
    }

    fn next(&mut self, uuid: Uuid, limit: usize) -> Vec<Given> {
        let token = self.call(
            uuid,
            ConsumerCall::Next {
                limit,
                waits: false,
            },
        );
        match self.answers.get(&token) {
            Some(ConsumerAnswer::Given(given)) => given.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn settle(&mut self, uuid: Uuid, given: &[Given], what: Settling) -> u64 {
        let items = given.iter();
        let items = items.map(|one| (one.seq, one.lease.expect("it is leased"), what));
        self.call(uuid, ConsumerCall::Settle(items.collect()))
    }

    pub(super) fn sync(&mut self) {
        let writes = core::mem::take(&mut self.unsynced);
        let Some(through) = writes.last().map(|write| write.through) else {
            return;
        };
        for write in writes {
            put(&mut self.durable, &write, write.bytes.len());
        }
        self.input(Input::Synced {
            buffer: BUFFER,
            log: LogKind::Cursors,
            through,
            journal: 0,
        });
    }

    /// What a crash leaves when the disk kept `bytes` of what was not synced.
    fn left(&self, mut bytes: usize) -> BTreeMap<u64, Vec<u8>> {
        let mut files = self.durable.clone();
        for write in &self.unsynced {
            let kept = bytes.min(write.bytes.len());
            bytes -= kept;
            if kept > 0 {
                put(&mut files, write, kept);
            }
        }
        files
    }

    fn unsynced_bytes(&self) -> usize {
        self.unsynced.iter().map(|write| write.bytes.len()).sum()
    }

    fn crash(&mut self, bytes: usize) {
        self.crash_ahead(bytes, 0);
    }

    /// The same with so many zeros behind the end of each file: space written ahead.
    fn crash_ahead(&mut self, bytes: usize, zeros: usize) {
        let mut files = self.left(bytes);
        let ends = files.values_mut();
        ends.for_each(|file| file.resize(file.len() + zeros, 0));
        let recovered = recovered(&mut files);
        self.durable = files;
        self.unsynced.clear();
        self.answers.clear();
        self.open(recovered.end, recovered.consumers);
    }
}

fn put(files: &mut BTreeMap<u64, Vec<u8>>, write: &WriteBytes, kept: usize) {
    let file = files.entry(write.file.0).or_default();
    let offset = usize::try_from(write.offset).unwrap();
    file.resize(file.len().max(offset + kept), 0);
    file[offset..offset + kept].copy_from_slice(&write.bytes[..kept]);
}

/// Recovers the log and performs the repairs; a second recovery must come to the same end.
fn recovered(files: &mut BTreeMap<u64, Vec<u8>>) -> CursorsRecovered {
    let once = recovered_once(files);
    let again = recovered_once(files);
    assert_eq!(again.end, once.end);
    assert_eq!(again.consumers, once.consumers);
    once
}

fn recovered_once(files: &mut BTreeMap<u64, Vec<u8>>) -> CursorsRecovered {
    let (mut repairs, mut damage) = (Vec::new(), None);
    let recovered = {
        let cursors = files.iter().map(|(first, bytes)| FoundFile {
            first: Seq(*first),
            source: bytes,
        });
        let found = Found {
            cursors: cursors.collect(),
            ..found(&[], None)
        };
        let mut replay = Replay::new(&Rules::correct(), &found, LogKind::Cursors);
        second_log::recover(
            &Rules::correct(),
            &mut replay,
            &found,
            (&mut repairs, &mut damage),
        )
        .unwrap()
    };
    assert_eq!(damage, None, "a tear is no damage");
    for repair in repairs {
        match repair {
            Repair::Truncate { file, offset, .. } => {
                let file = files.get_mut(&file.0).expect("it is there");
                file.truncate(usize::try_from(offset).unwrap());
            }
            Repair::Remove { file, .. } => {
                files.remove(&file.0);
            }
            Repair::Write { .. } => unreachable!("there is no journal"),
        }
    }
    recovered
}

#[test]
fn an_ack_is_answered_when_it_is_on_disk_and_not_before() {
    let mut world = World::new();
    let begun = world.begin(consumer(1));
    assert_eq!(world.answers.get(&begun), None, "its place is not on disk");
    world.sync();
    assert_eq!(world.answers.get(&begun), Some(&ConsumerAnswer::Done));
    let given = world.next(consumer(1), 3);
    assert_eq!(
        given.iter().map(|one| one.seq.0).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert!(world.unsynced.is_empty(), "handing out writes nothing");
    let acked = world.settle(consumer(1), &given[..2], Settling::Ack);
    assert_eq!(world.answers.get(&acked), None);
    world.sync();
    assert!(world.answers.contains_key(&acked));
    world.crash(0);
    world.begin(consumer(1));
    let again = world.next(consumer(1), 2);
    assert_eq!(
        again.iter().map(|one| one.seq.0).collect::<Vec<_>>(),
        [3, 4]
    );
    assert_eq!(
        again[0].deliveries, 2,
        "that it was handed out is on record"
    );
}

#[test]
fn zeros_behind_the_log_are_its_end_and_the_log_goes_on_in_them() {
    let mut world = World::new();
    world.begin(consumer(1));
    world.sync();
    let end = world.durable[&1].len();
    world.crash_ahead(0, 4_096);
    assert_eq!(world.durable[&1].len(), end + 4_096, "nothing is cut");
    world.begin(consumer(1));
    let given = world.next(consumer(1), 2);
    for one in &given {
        world.settle(consumer(1), &[*one], Settling::Ack);
        world.sync();
    }
    assert_eq!(world.durable[&1].len(), end + 4_096);
    assert_ne!(world.durable[&1][end], 0, "they are written over");
    let found = recovered(&mut world.left(0));
    assert_eq!(found.consumers[&consumer(1)].cursor(), Seq(2));
    // A record that is torn in them goes, with them.
    let given = world.next(consumer(1), 1);
    world.settle(consumer(1), &given, Settling::Ack);
    let kept = usize::try_from(found.end.offset).unwrap();
    let mut torn = world.left(100);
    let again = recovered(&mut torn);
    assert_eq!((again.end, torn[&1].len()), (found.end, kept));
}

#[test]
fn a_paused_buffer_gives_nothing_takes_nothing_and_writes_nothing() {
    let mut world = World::new();
    world.begin(consumer(1));
    world.sync();
    let given = world.next(consumer(1), 1);
    let set = |world: &mut World, state| {
        world.input(Input::SetState {
            buffer: BUFFER,
            token: Token(0),
            state,
            journal: 0,
        });
    };
    set(&mut world, BufferState::Paused);
    let paused = ConsumerAnswer::Refused(ConsumerRefused::Paused);
    let next = ConsumerCall::Next {
        limit: 1,
        waits: true,
    };
    let asked = [
        world.settle(consumer(1), &given, Settling::Ack),
        world.settle(consumer(1), &given, Settling::Extend { lease_ms: 1_000 }),
        world.call(consumer(1), next),
        world.call(consumer(1), ConsumerCall::Seek(Seq(5))),
        world.call(consumer(1), ConsumerCall::MaySeek),
        world.begin(consumer(2)),
    ];
    for token in asked {
        assert_eq!(world.answers.get(&token), Some(&paused));
    }
    // Its leases lapse meanwhile.
    world.now = Micros(world.now.0 + 60_000_000);
    world.input(Input::ConsumersDue);
    assert!(world.unsynced.is_empty());
    set(&mut world, BufferState::Open);
    world.now = Micros(world.now.0 + 1_000_000);
    world.input(Input::ConsumersDue);
    let again = world.next(consumer(1), 1);
    assert_eq!((again[0].seq, again[0].deliveries), (Seq(1), 2));
}

#[test]
fn a_consumer_never_begins_behind_the_end() {
    let mut world = World::new();
    world.begin(consumer(1));
    world.sync();
    let end = world.shard.buffer(&BUFFER).expect("it is open").commit();
    let through = |world: &World, number| {
        let buffer = world.shard.buffer(&BUFFER).expect("it is open");
        buffer
            .consumer_standing(&consumer(number))
            .expect("it has begun")
            .cursor
    };
    world.call(consumer(1), ConsumerCall::Seek(Seq(end.0 + 5)));
    world.sync();
    assert_eq!(through(&world, 1), end);
    let begin = ConsumerCall::Begin {
        config: Box::new(Config::default()),
        version: 1,
        after: Some(Seq::MAX),
    };
    world.call(consumer(2), begin);
    world.sync();
    assert_eq!(through(&world, 2), end);
}

#[test]
fn who_asks_whether_a_consumer_may_be_moved_moves_nothing() {
    let mut world = World::new();
    world.begin(consumer(1));
    world.sync();
    let given = world.next(consumer(1), 2);
    world.settle(consumer(1), &given[..1], Settling::Ack);
    world.sync();
    let asked = world.call(consumer(1), ConsumerCall::MaySeek);
    assert_eq!(world.answers.get(&asked), Some(&ConsumerAnswer::Done));
    assert!(world.unsynced.is_empty());
    let buffer = world.shard.buffer(&BUFFER).expect("it is open");
    let standing = buffer.consumer_standing(&consumer(1));
    let standing = standing.expect("it has begun");
    assert_eq!((standing.cursor, standing.in_flight), (Seq(1), 1));
    let unknown = world.call(consumer(2), ConsumerCall::MaySeek);
    let refused = ConsumerAnswer::Refused(ConsumerRefused::NotBegun);
    assert_eq!(world.answers.get(&unknown), Some(&refused));
}

#[test]
fn what_is_reported_to_a_paused_buffer_moves_no_cursor() {
    let mut world = World::new();
    let config = Box::new(Config {
        deliveries_max: Some(1),
        lease_ms: 3_600_000,
        ..Config::default()
    });
    let after = Some(Seq::ZERO);
    world.call(
        consumer(1),
        ConsumerCall::Begin {
            config,
            version: 1,
            after,
        },
    );
    world.begin(consumer(2));
    world.sync();
    let given = world.next(consumer(1), 1);
    world.settle(consumer(1), &given, Settling::Nack { delay_ms: 0 });
    world.sync();
    // The first one gives up what it handed out; the other one looks.
    world.tasks = Some(Vec::new());
    world.next(consumer(1), 1);
    let next = ConsumerCall::Next {
        limit: 1,
        waits: true,
    };
    world.call(consumer(2), next);
    let tasks = world.tasks.take().expect("it is slow");
    assert_eq!(tasks.len(), 2);
    let set = |world: &mut World, state| {
        world.input(Input::SetState {
            buffer: BUFFER,
            token: Token(0),
            state,
            journal: 0,
        });
    };
    set(&mut world, BufferState::Paused);
    let cursor = |world: &World, number| {
        let buffer = world.shard.buffer(&BUFFER).expect("it is open");
        let standing = buffer.consumer_standing(&consumer(number));
        standing.expect("it has begun").cursor
    };
    let (seq, done) = (Seq(1), true);
    world.call(consumer(1), ConsumerCall::Buried { seq, done });
    let (after, found) = (Seq::ZERO, Some((Seq(MESSAGES), Vec::new())));
    world.call(consumer(2), ConsumerCall::Looked { after, found });
    world.now = Micros(world.now.0 + 60_000_000);
    world.input(Input::ConsumersDue);
    assert_eq!((cursor(&world, 1), cursor(&world, 2)), (Seq(0), Seq(0)));
    assert!(world.unsynced.is_empty());
    set(&mut world, BufferState::Open);
    world.now = Micros(world.now.0 + 60_000_000);
    world.input(Input::ConsumersDue);
    world.sync();
    assert_eq!(cursor(&world, 1), Seq(1), "it was put away once");
    assert_eq!(world.next(consumer(1), 1)[0].seq, Seq(3));
    assert_eq!(world.next(consumer(2), 1)[0].seq, Seq(1));
}

#[test]
fn a_look_that_fails_passes_nothing_and_who_waits_is_told() {
    let mut world = World::new();
    world.begin(consumer(1));
    world.sync();
    world.tasks = Some(Vec::new());
    let next = |waits| ConsumerCall::Next { limit: 1, waits };
    let waiting = world.call(consumer(1), next(true));
    // Its stored filter was removed, perhaps.
    let (after, found) = (Seq::ZERO, None);
    world.call(consumer(1), ConsumerCall::Looked { after, found });
    let unreadable = ConsumerAnswer::Refused(ConsumerRefused::Unreadable { after });
    assert_eq!(world.answers.get(&waiting), Some(&unreadable));
    world.tasks = None;
    assert_eq!(world.next(consumer(1), 1)[0].seq, Seq(1));
}

#[test]
fn who_waits_for_a_consumer_that_is_deleted_is_told_so() {
    let mut world = World::new();
    world.begin(consumer(1));
    world.sync();
    world.next(consumer(1), 100);
    let next = ConsumerCall::Next {
        limit: 1,
        waits: true,
    };
    let waiting = world.call(consumer(1), next);
    assert_eq!(world.answers.get(&waiting), None);
    world.call(consumer(1), ConsumerCall::Forget);
    let deleted = ConsumerAnswer::Refused(ConsumerRefused::Deleted);
    assert_eq!(world.answers.get(&waiting), Some(&deleted));
}

#[test]
fn a_file_rolls_with_all_consumers_and_a_tear_in_that_falls_back() {
    let mut world = World::new();
    for number in 1..=20 {
        world.begin(consumer(number));
    }
    world.sync();
    world.dropped.clear();
    // The deltas of many moves fill a file.
    let mut moves = 0;
    while world.unsynced.iter().all(|write| write.offset > 0) {
        world.sync();
        moves += 1;
        let number = u8::try_from(moves % 20 + 1).unwrap();
        world.call(consumer(number), ConsumerCall::Seek(Seq(moves % MESSAGES)));
    }
    let place =
        |consumers: &BTreeMap<Uuid, Progress>, number| consumers[&consumer(number)].cursor();
    let last = u8::try_from(moves % 20 + 1).unwrap();
    let bytes = world.unsynced_bytes();
    assert!(bytes > 4_000 && moves > 1_000, "{bytes} {moves}");
    for kept in (0..bytes).step_by(1_499).chain([bytes - 1]) {
        let mut files = world.left(kept);
        let found = recovered(&mut files);
        assert_eq!(found.consumers.len(), 20, "{kept} bytes of the new file");
        assert_ne!(
            place(&found.consumers, last),
            Seq(moves % MESSAGES),
            "{kept}"
        );
    }
    let mut files = world.left(bytes);
    let found = recovered(&mut files);
    assert_eq!(found.consumers.len(), 20);
    assert_eq!(place(&found.consumers, last), Seq(moves % MESSAGES));
    assert_eq!(
        world.dropped,
        [] as [u64; 0],
        "the new file is not durable yet"
    );
    world.sync();
    assert_eq!(world.dropped.len(), 1);
    assert_eq!(world.durable.len(), 1, "the older file is gone");
    world.crash(0);
    assert!(!world.shard.buffer(&BUFFER).unwrap().idle() || world.unsynced.is_empty());
}

/// What may happen.
#[derive(Clone, Debug)]
enum Act {
    Next(u8, usize),
    Settle(u8, usize, bool),
    Sync,
    /// Bytes that the disk kept of what was not synced, and zeros behind them.
    Crash(usize, usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1_u8..4, 1_usize..5).prop_map(|(of, limit)| Act::Next(of, limit)),
        5 => (1_u8..4, 0_usize..6, any::<bool>())
            .prop_map(|(of, at, ack)| Act::Settle(of, at, ack)),
        3 => Just(Act::Sync),
        1 => (0_usize..3_000, 0_usize..1_000)
            .prop_map(|(bytes, zeros)| Act::Crash(bytes, zeros / 2 * (zeros % 2))),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_what_was_answered_is_done_and_nothing_else_is(
        acts in prop::collection::vec(act(), 1..60),
    ) {
        let mut world = World::new();
        let mut held: BTreeMap<u8, Vec<Given>> = BTreeMap::new();
        // Messages that were to be acknowledged, and those of them that were answered.
        let mut asked: BTreeMap<u8, Vec<(u64, Seq)>> = BTreeMap::new();
        let mut sure: BTreeMap<u8, Vec<Seq>> = BTreeMap::new();
        let begin = |world: &mut World| {
            (1..4).for_each(|number| {
                world.begin(consumer(number));
            });
            world.sync();
        };
        begin(&mut world);
        for act in acts {
            match act {
                Act::Next(of, limit) => {
                    let given = world.next(consumer(of), limit);
                    for one in &given {
                        let done = sure.get(&of).is_some_and(|sure| sure.contains(&one.seq));
                        prop_assert!(!done, "{} comes again", one.seq);
                    }
                    held.entry(of).or_default().extend(given);
                }
                Act::Settle(of, at, ack) => {
                    let held = held.entry(of).or_default();
                    if at < held.len() {
                        let one = held.remove(at);
                        let what = if ack { Settling::Ack } else { Settling::Nack { delay_ms: 0 } };
                        let token = world.settle(consumer(of), &[one], what);
                        if ack {
                            asked.entry(of).or_default().push((token, one.seq));
                        }
                    }
                }
                Act::Sync => world.sync(),
                Act::Crash(bytes, zeros) => {
                    world.crash_ahead(bytes, zeros);
                    held.clear();
                    begin(&mut world);
                }
            }
            for (of, asked) in &asked {
                let answered = asked.iter().filter(|(token, _)| world.answers.contains_key(token));
                sure.entry(*of).or_default().extend(answered.map(|(_, seq)| *seq));
            }
        }
        // What is on disk at the end.
        let found = recovered(&mut world.left(0));
        for of in 1..4 {
            let progress = &found.consumers[&consumer(of)];
            for seq in sure.get(&of).into_iter().flatten() {
                prop_assert!(progress.is_done(*seq), "{seq} was acknowledged");
            }
            let all = asked.get(&of).map_or(&[][..], |all| all);
            for seq in (1..=progress.through.0).map(Seq) {
                let acked = all.iter().any(|(_, it)| *it == seq);
                prop_assert!(!progress.is_done(seq) || acked, "{seq} was not");
            }
        }
    }
}
