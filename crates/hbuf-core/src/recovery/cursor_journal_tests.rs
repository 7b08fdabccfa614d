//! The cursors log and what the journal holds of it: where a file goes on, and what it needs not.

use alloc::vec::Vec;

use super::cursor_tests::{BUFFER, MESSAGES, World, consumer};
use super::tests::found;
use super::*;
use crate::buffer::ConsumerCall;
use crate::effect::WriteBytes;
use crate::record::JournalFile;
use crate::segment::LogKind;

/// Recovers what is found, in which nothing is damaged; the repairs are not performed.
fn undamaged(found: &Found<'_>) -> (CursorsRecovered, Vec<Repair>) {
    let (mut repairs, mut damage) = (Vec::new(), None);
    let mut replay = Replay::new(&Rules::correct(), found, LogKind::Cursors);
    let out = (&mut repairs, &mut damage);
    let recovered = second_log::recover(&Rules::correct(), &mut replay, found, out).unwrap();
    assert_eq!(damage, None);
    (recovered, repairs)
}

#[test]
fn a_file_that_the_journal_begins_needs_nothing_of_what_was_before_it() {
    let mut world = World::new();
    world.begin(consumer(1));
    world.begin(consumer(2));
    world.sync();
    world.call(consumer(2), ConsumerCall::Forget);
    world.sync();
    let mut writes = Vec::new();
    let mut moves = 0;
    let rolled = |writes: &[WriteBytes]| writes.iter().rposition(|write| write.offset == 0);
    while rolled(&writes).is_none() {
        moves += 1;
        world.call(consumer(1), ConsumerCall::Seek(Seq(moves % MESSAGES)));
        writes.append(&mut world.unsynced.clone());
        world.sync();
    }
    world.call(consumer(1), ConsumerCall::Seek(Seq(59)));
    writes.append(&mut world.unsynced);
    // The older file was removed, and the power took the newer one, which only the journal holds
    // surely. It also holds an end of the older one.
    let entries = writes.iter().skip(writes.len() - 4);
    let entries = entries.map(|write| (JournalFile::Cursors(write.file), write.bytes.to_vec()));
    let entries: Vec<(JournalFile, Vec<u8>)> = entries.collect();
    let found = Found {
        journal: (1..)
            .zip(&entries)
            .map(|(position, (file, bytes))| FoundEntry::held(position, BUFFER, *file, bytes))
            .collect(),
        ..found(&[], None)
    };
    let (recovered, repairs) = undamaged(&found);
    assert_eq!(recovered.consumers.len(), 1);
    assert_eq!(recovered.consumers[&consumer(1)].cursor(), Seq(59));
    let last = writes.last().expect("there are some");
    let length = last.offset + last.bytes.len() as u64;
    let end = (recovered.end.end, recovered.end.file, recovered.end.offset);
    assert_eq!(end, (last.through, last.file, length));
    let file = |repair: &Repair| match repair {
        Repair::Write { file, offset, .. } => Some((*file, *offset)),
        _ => None,
    };
    let written: Vec<_> = repairs.iter().filter_map(file).collect();
    assert_eq!(written, [(last.file, 0), (last.file, last.offset)]);
}

/// Recovers a file of which the journal holds one record; the repairs are not performed.
fn recovered_with(file: &Vec<u8>, journaled: &WriteBytes) -> (CursorsRecovered, Vec<Repair>) {
    let bytes = journaled.bytes.to_vec();
    let found = Found {
        cursors: Vec::from([FoundFile {
            first: Seq(1),
            source: file,
        }]),
        journal: Vec::from([FoundEntry::held(
            1,
            BUFFER,
            JournalFile::Cursors(journaled.file),
            &bytes,
        )]),
        ..found(&[], None)
    };
    undamaged(&found)
}

#[test]
fn behind_a_record_that_the_journal_restores_the_file_goes_on_or_is_cut() {
    let mut world = World::new();
    world.begin(consumer(1));
    world.sync();
    for seq in [10, 20, 30] {
        world.call(consumer(1), ConsumerCall::Seek(Seq(seq)));
    }
    let writes = world.unsynced.clone();
    world.sync();
    let file = world.durable[&1].clone();
    let place = |write: &WriteBytes| usize::try_from(write.offset).unwrap();
    // The first one rots; those behind it were acknowledged.
    let mut rotten = file.clone();
    rotten[place(&writes[0]) + 5] ^= 1;
    let (recovered, _) = recovered_with(&rotten, &writes[0]);
    assert_eq!(recovered.end.end, writes[2].through);
    assert_eq!(recovered.consumers[&consumer(1)].cursor(), Seq(30));
    // The first one is in the journal alone; the disk kept the last one, which nobody was told of.
    let mut torn = file;
    torn[place(&writes[0])..place(&writes[2])].fill(0);
    let (recovered, repairs) = recovered_with(&torn, &writes[0]);
    assert_eq!(recovered.end.end, writes[0].through);
    let cut = Repair::Truncate {
        log: LogKind::Cursors,
        file: Seq(1),
        offset: writes[1].offset,
    };
    assert_eq!(repairs.last(), Some(&cut));
}
