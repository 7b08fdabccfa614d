//! Damage in the cursors log: what a later record vouches for is told and kept, never cut.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::cursor_tests::{BUFFER, MESSAGES, World, consumer};
use super::tests::found;
use super::*;
use crate::buffer::ConsumerCall;
use crate::ids::Micros;
use crate::mark::Mark;
use crate::record::{JournalFile, Line};
use crate::segment::LogKind;
use crate::tree::Frontier;

/// A consumer that was moved three times, each move on disk before the next one.
fn moved() -> World {
    let mut world = World::new();
    world.begin(consumer(1));
    world.sync();
    for seq in [10, 20, 30] {
        seek(&mut world, seq);
    }
    world
}

fn seek(world: &mut World, seq: u64) {
    world.call(consumer(1), ConsumerCall::Seek(Seq(seq)));
    world.sync();
}

/// A log that has just begun its second file, with the first one still there.
fn rolled() -> (World, u64) {
    let mut world = moved();
    let mut before = world.durable.clone();
    while world.durable.len() == 1 && world.durable.contains_key(&1) {
        before.clone_from(&world.durable);
        let next = world.durable[&1].len() as u64;
        seek(&mut world, next % MESSAGES);
    }
    seek(&mut world, 41);
    seek(&mut world, 42);
    let second = *world.durable.keys().next().expect("it has a file");
    world.durable.extend(before);
    (world, second)
}

/// What recovery says and asks for.
fn judged(
    rules: &Rules,
    files: &BTreeMap<u64, Vec<u8>>,
    (mark, journal): (Option<Mark>, Vec<FoundEntry<'_>>),
) -> (Option<Damage>, Vec<Repair>, Option<Seq>) {
    let cursors = files.iter().map(|(first, bytes)| FoundFile {
        first: Seq(*first),
        source: bytes,
    });
    let found = Found {
        cursors: cursors.collect(),
        journal,
        mark,
        ..found(&[], None)
    };
    let (mut repairs, mut damage) = (Vec::new(), None);
    let mut replay = Replay::new(rules, &found, LogKind::Cursors);
    let recovered =
        second_log::recover(rules, &mut replay, &found, (&mut repairs, &mut damage)).unwrap();
    let cursor = recovered.consumers.get(&consumer(1));
    (
        damage,
        repairs,
        cursor.map(crate::consumer::Progress::cursor),
    )
}

fn alone(files: &BTreeMap<u64, Vec<u8>>) -> (Option<Damage>, Vec<Repair>, Option<Seq>) {
    judged(&Rules::correct(), files, (None, Vec::new()))
}

/// Where the records of a file stand, its head line first.
fn places(file: &[u8]) -> Vec<usize> {
    let mut places = Vec::new();
    let mut at = 0;
    while let Some(line) = file.get(at..).and_then(|rest| Line::parse(rest).ok()) {
        places.push(at);
        at += usize::try_from(line.record_len()).unwrap();
    }
    places
}

fn rot(world: &mut World, file: u64, at: usize) {
    world.durable.get_mut(&file).expect("it is there")[at] ^= 1;
}

#[test]
fn a_rotten_record_that_a_later_one_knew_is_damage_and_nothing_is_cut() {
    let world = moved();
    let places = places(&world.durable[&1]);
    for place in &places[1..places.len() - 1] {
        let mut rotten = moved();
        rot(&mut rotten, 1, place + 9);
        let (damage, repairs, _) = alone(&rotten.durable);
        let damage = damage.expect("a later record vouches for it");
        assert!(damage.reason.starts_with("cursors log: "), "{damage:?}");
        assert_eq!(repairs, []);
        let rules = Rules {
            cursors_damage_is_corruption: false,
            ..Rules::correct()
        };
        let (damage, repairs, cursor) = judged(&rules, &rotten.durable, (None, Vec::new()));
        assert_eq!(damage, None);
        assert!(!repairs.is_empty() && cursor != Some(Seq(30)), "it is cut");
    }
    // Nothing vouches for the last one.
    let mut rotten = moved();
    rot(&mut rotten, 1, places[places.len() - 1] + 9);
    let (damage, repairs, cursor) = alone(&rotten.durable);
    assert_eq!((damage, cursor), (None, Some(Seq(20))));
    assert_eq!(repairs.len(), 1);
}

#[test]
fn a_torn_tail_does_not_excuse_a_request_line_that_rotted() {
    let mut rotten = moved();
    let places = places(&rotten.durable[&1]);
    // Its length can no longer be read.
    rot(&mut rotten, 1, places[places.len() - 3] + 97);
    let file = rotten.durable.get_mut(&1).expect("it is there");
    file.extend_from_slice(b"POST /0000 half of what was on its way");
    let (damage, repairs, _) = alone(&rotten.durable);
    assert!(damage.is_some(), "the record behind it vouches for it");
    assert_eq!(repairs, []);
}

#[test]
fn a_rotten_head_line_is_damage_where_a_record_behind_it_vouches_for_the_file() {
    let mut rotten = moved();
    rot(&mut rotten, 1, 30);
    let (damage, repairs, cursor) = alone(&rotten.durable);
    let damage = damage.expect("the file had been durable");
    assert_eq!((damage.seq, damage.file), (Seq(1), Seq(1)));
    assert_eq!((repairs, cursor), (Vec::new(), None));
}

#[test]
fn a_file_whose_head_line_was_torn_goes_and_the_one_before_it_holds() {
    let (mut world, second) = rolled();
    let first_batch = {
        let file = &world.durable[&second];
        let places = places(file);
        // The head line and the three records that begin a file with one consumer.
        file[..places[4]].to_vec()
    };
    world.durable.insert(second, first_batch);
    rot(&mut world, second, 30);
    let (damage, repairs, cursor) = alone(&world.durable);
    assert_eq!(damage, None, "nobody was told of it");
    let remove = Repair::Remove {
        log: LogKind::Cursors,
        file: Seq(second),
    };
    assert_eq!(repairs, [remove]);
    assert!(cursor.is_some(), "the file before it holds");
}

#[test]
fn a_file_whose_first_batch_rots_does_not_give_way_to_the_one_before_it() {
    let (world, second) = rolled();
    let places = places(&world.durable[&second]);
    for place in &places[..4] {
        let (mut rotten, _) = rolled();
        rot(&mut rotten, second, place + 30);
        let (damage, repairs, _) = alone(&rotten.durable);
        let damage = damage.expect("records behind it vouch for it");
        assert_eq!(damage.file, Seq(second));
        assert_eq!(repairs, [], "nothing is removed");
    }
}

#[test]
fn what_the_fence_has_passed_in_the_journal_does_not_excuse_a_file() {
    let mut world = World::new();
    world.begin(consumer(1));
    let begun = world.unsynced[0].clone();
    world.sync();
    seek(&mut world, 10);
    seek(&mut world, 20);
    rot(&mut world, 1, 30);
    let bytes = begun.bytes.to_vec();
    let file = JournalFile::Cursors(begun.file);
    let entry = || Vec::from([FoundEntry::held(7, BUFFER, file, &bytes)]);
    let mark = |fence| Mark {
        generation: 1,
        buffer: BUFFER,
        log: BUFFER,
        history: BUFFER,
        time: Micros(1),
        durable: Seq(0),
        first: Seq(1),
        file: Seq(1),
        offset: 0,
        frontier: Frontier::default(),
        epochs: Vec::new(),
        table: None,
        fence,
        clean: false,
    };
    let rules = Rules::correct();
    let (damage, _, _) = judged(&rules, &world.durable, (Some(mark(7)), entry()));
    assert!(damage.is_some(), "replay passes over the entry");
    let (damage, _, cursor) = judged(&rules, &world.durable, (Some(mark(6)), entry()));
    assert_eq!(damage, None);
    assert_eq!(cursor, Some(Seq(20)), "the file goes on behind the entry");
}

/// A file of which not even the head line can be read.
struct Unreadable;

impl Source for Unreadable {
    fn len(&self) -> u64 {
        1_000
    }

    fn read_at(&self, offset: u64, _: &mut [u8]) -> Result<(), ReadFailed> {
        let reason = String::from("the disk says no");
        Err(ReadFailed { offset, reason })
    }
}

#[test]
fn a_file_that_the_disk_does_not_give_is_not_taken_for_none() {
    let found = Found {
        cursors: Vec::from([FoundFile {
            first: Seq(1),
            source: &Unreadable,
        }]),
        ..found(&[], None)
    };
    let recovered = recover(&Rules::correct(), &found);
    assert!(recovered.is_err(), "no verdict about it is possible");
}
