//! The files of a member: what a crash leaves is read back, damage is not taken for it.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use ::raft::eraftpb::Entry;
use hbuf_core::ids::{Micros, Seq};
use hbuf_core::limits::VOTES_BYTES_MAX;

use super::world::{Disk, GROUP, disk_of};
use crate::raft::ready::vote_of;
use crate::raft::{
    FileStep, LogFile, MemberId, Members, Persist, RecoverError, Recovered, Roll, VOTES_FILE,
    recover,
};
use crate::{Catalog, State};

struct Files {
    disk: Disk,
    log: LogFile,
    number: u64,
}

fn members() -> Members {
    Members::founding(&(1..=3).map(|id| (MemberId(id), disk_of(id))).collect())
}

fn founding_catalog() -> Catalog {
    let mut catalog = Catalog::new();
    catalog.pass(1);
    catalog
}

fn entry(index: u64, term: u64) -> Entry {
    Entry {
        index,
        term,
        data: alloc::format!("command: {term}.{index}\n")
            .into_bytes()
            .into(),
        ..Entry::default()
    }
}

impl Files {
    fn found() -> Self {
        let (log, steps) = LogFile::found(GROUP, &members(), &founding_catalog(), Micros(5));
        let mut files = Self {
            disk: Disk::default(),
            log,
            number: 0,
        };
        files.perform(&steps);
        files
    }

    fn perform(&mut self, steps: &[FileStep]) {
        steps.iter().for_each(|step| self.disk.perform(step));
    }

    fn plan(&mut self, (term, vote, commit): (u64, u64, u64), entries: &[Entry]) -> Vec<FileStep> {
        self.number += 1;
        let persist = Persist {
            number: self.number,
            vote: vote_of(term, vote, commit),
            members: None,
            snapshot: None,
            entries: entries.to_vec(),
        };
        self.log.plan(&persist, Micros(6))
    }

    fn persist(&mut self, vote: (u64, u64, u64), entries: &[Entry]) {
        let steps = self.plan(vote, entries);
        self.perform(&steps);
    }

    fn read(&self) -> Result<Recovered, RecoverError> {
        let (name, log) = self.disk.log();
        let first = hbuf_core::segment::first_of_name(name).unwrap();
        recover(GROUP, first, log, &self.disk.files[VOTES_FILE])
    }

    fn log_bytes(&mut self) -> &mut Vec<u8> {
        let name = self.log.log_name();
        self.disk.files.get_mut(&name).unwrap()
    }
}

fn entries_of(recovered: &Recovered) -> Vec<(u64, u64)> {
    recovered
        .mirror
        .entries
        .iter()
        .map(|entry| (entry.index, entry.term))
        .collect()
}

#[test]
fn a_founded_group_and_one_that_joins_are_read_back() {
    let files = Files::found();
    let read = files.read().unwrap();
    assert_eq!(read.mirror.members, members());
    assert_eq!((read.mirror.before, read.mirror.hard.commit), ((1, 1), 1));
    assert_eq!(read.log, files.log);
    let none = Members::default();
    let (log, steps) = LogFile::found(GROUP, &none, &Catalog::new(), Micros(5));
    let mut disk = Disk::default();
    steps.iter().for_each(|step| disk.perform(step));
    let bytes = &disk.files[&log.log_name()];
    let read: Recovered = recover(GROUP, Seq(1), bytes, &disk.files[VOTES_FILE]).unwrap();
    assert_eq!((read.mirror.before, read.mirror.hard.term), ((0, 0), 0));
    assert_eq!((read.mirror.members, read.log), (none, log));
}

#[test]
fn votes_commit_and_entries_are_read_back() {
    let mut files = Files::found();
    files.persist((4, 2, 1), &[]);
    files.persist((4, 2, 1), &[entry(2, 4), entry(3, 4)]);
    files.persist((4, 2, 3), &[entry(4, 4)]);
    let read = files.read().unwrap();
    assert_eq!(entries_of(&read), [(2, 4), (3, 4), (4, 4)]);
    let hard = &read.mirror.hard;
    assert_eq!((hard.term, hard.vote, hard.commit), (4, 2, 3));
    assert_eq!(read.log, files.log);
}

#[test]
fn an_overwritten_suffix_is_cut_first_and_takes_no_vote_with_it() {
    let mut files = Files::found();
    files.persist((2, 1, 1), &[entry(2, 2), entry(3, 2), entry(4, 2)]);
    files.persist((5, 3, 1), &[]);
    let steps = files.plan((5, 3, 2), &[entry(3, 5)]);
    let kinds: Vec<&str> = steps
        .iter()
        .map(|step| match step {
            FileStep::Append { .. } => "append",
            FileStep::Cut { .. } => "cut",
            FileStep::Replace { .. } => "replace",
        })
        .collect();
    assert_eq!(kinds, ["cut", "append"]);
    // A crash right behind the cut.
    files.disk.perform(&steps[0]);
    let read = files.read().unwrap();
    assert_eq!(entries_of(&read), [(2, 2)]);
    assert_eq!((read.mirror.hard.term, read.mirror.hard.vote), (5, 3));
    files.disk.perform(&steps[1]);
    let read = files.read().unwrap();
    assert_eq!(entries_of(&read), [(2, 2), (3, 5)]);
    assert_eq!(read.log, files.log);
}

#[test]
fn a_vote_is_durable_before_any_entry_of_its_term() {
    let mut files = Files::found();
    let steps = files.plan((2, 1, 1), &[entry(2, 2)]);
    assert!(matches!(&steps[0], FileStep::Append { file, .. } if file == VOTES_FILE));
    // The other order would leave an entry whose vote is gone: such files are refused.
    files.disk.perform(&steps[1]);
    assert!(matches!(files.read(), Err(RecoverError::VoteLost { .. })));
}

#[test]
fn a_torn_tail_is_cut_wherever_it_tears() {
    let mut files = Files::found();
    files.persist((2, 1, 1), &[entry(2, 2)]);
    let whole = files.log_bytes().clone();
    // A member that lagged: all of it is committed elsewhere, and none of it was durable here.
    files.persist((2, 1, 4), &[entry(3, 2), entry(4, 2)]);
    let longer = files.log_bytes().clone();
    for length in whole.len()..longer.len() {
        files.log_bytes().truncate(length);
        let read = files.read().unwrap();
        let cut = FileStep::Cut {
            file: files.log.log_name(),
            length: read.log.end,
        };
        assert!(read.steps.contains(&cut));
        assert!(read.log.end <= length as u64);
        assert!(read.mirror.last() >= 2 && read.mirror.hard.commit <= read.mirror.last());
        *files.log_bytes() = longer.clone();
    }
    // The first of a batch is gone and the second is there: sectors are written in any order.
    files.log_bytes()[whole.len() + 10..whole.len() + 300].fill(0);
    assert_eq!(files.read().unwrap().mirror.last(), 2);
}

#[test]
fn damage_before_something_durable_refuses_the_start() {
    let mut files = Files::found();
    files.persist((2, 1, 1), &[entry(2, 2)]);
    files.persist((2, 1, 2), &[entry(3, 2)]);
    files.persist((2, 1, 3), &[entry(4, 2)]);
    let base = usize::try_from(files.log.base).unwrap();
    let second = usize::try_from(files.log.offsets[1]).unwrap();
    for at in (0..second).step_by(7) {
        files.log_bytes()[at] ^= 1;
        let read = files.read();
        assert!(
            read.is_err(),
            "byte {at} of {base}: {:?}",
            read.unwrap().mirror.last()
        );
        files.log_bytes()[at] ^= 1;
    }
}

#[test]
fn damage_in_the_file_of_votes_refuses_the_start_unless_it_is_a_torn_tail() {
    let mut files = Files::found();
    let start = files.disk.files[VOTES_FILE].len();
    files.persist((2, 1, 1), &[]);
    files.persist((3, 3, 1), &[]);
    let whole = files.disk.files[VOTES_FILE].clone();
    for at in (start..start + 100).step_by(9) {
        files.disk.files.get_mut(VOTES_FILE).unwrap()[at] ^= 1;
        assert!(
            matches!(files.read(), Err(RecoverError::Corrupt { .. })),
            "byte {at}"
        );
        files.disk.files.insert(VOTES_FILE.into(), whole.clone());
    }
    files
        .disk
        .files
        .get_mut(VOTES_FILE)
        .unwrap()
        .truncate(whole.len() - 5);
    let hard = files.read().unwrap().mirror.hard;
    assert_eq!((hard.term, hard.vote), (2, 1));
}

#[test]
fn the_file_of_votes_is_written_anew_when_it_is_long() {
    let mut files = Files::found();
    for term in 2..600 {
        files.persist((term, 1 + term % 3, 1), &[]);
        assert!(files.disk.files[VOTES_FILE].len() as u64 <= VOTES_BYTES_MAX);
    }
    let read = files.read().unwrap();
    assert_eq!((read.mirror.hard.term, read.mirror.hard.vote), (599, 3));
    assert_eq!(read.log.votes_end, files.log.votes_end);
}

#[test]
fn a_roll_keeps_the_entries_behind_its_snapshot() {
    let mut files = Files::found();
    files.persist((2, 1, 1), &[entry(2, 2), entry(3, 2), entry(4, 2)]);
    let mut catalog = founding_catalog();
    catalog.pass(3);
    let base = crate::raft::log_file::Base {
        index: 3,
        term: 2,
        members: members(),
    };
    let roll = Roll {
        base,
        vote: vote_of(2, 1, 3),
        entries: vec![entry(4, 2)],
    };
    let steps = files.log.plan_roll(&roll, &catalog, Micros(9));
    files.perform(&steps);
    let read = files.read().unwrap();
    assert_eq!(
        (entries_of(&read), read.mirror.before),
        (vec![(4, 2)], (3, 2))
    );
    assert_eq!((read.state, read.mirror.hard.commit), (catalog, 3));
    assert_eq!(read.log, files.log);
    assert_eq!(
        files.disk.log().0,
        &String::from("00000000000000000004.hbuf")
    );
}

#[test]
fn p1_a_log_that_ends_before_what_was_applied_is_refused_and_the_commit_reaches_it() {
    let mut files = Files::found();
    files.persist((2, 1, 1), &[entry(2, 2), entry(3, 2)]);
    let persist = Persist {
        number: 9,
        vote: vote_of(2, 1, 3),
        members: Some((3, members())),
        snapshot: None,
        entries: vec![],
    };
    let steps = files.log.plan(&persist, Micros(7));
    files.perform(&steps);
    // No commit stands in the log, but what was applied was committed.
    assert_eq!(files.read().unwrap().mirror.hard.commit, 3);
    let end = usize::try_from(files.log.offsets[1]).unwrap();
    files.log_bytes().truncate(end);
    let lost = RecoverError::Lost {
        last: 2,
        applied: 3,
    };
    assert_eq!(files.read().unwrap_err(), lost);
}

#[test]
fn files_of_another_group_or_place_are_refused() {
    let mut files = Files::found();
    files.persist((2, 1, 1), &[entry(2, 2)]);
    let log = files.log_bytes().clone();
    let votes = &files.disk.files[VOTES_FILE];
    let other = hbuf_core::ids::Uuid([1; 16]);
    for read in [
        recover::<Catalog>(other, Seq(2), &log, votes),
        recover(GROUP, Seq(3), &log, votes),
    ] {
        assert!(matches!(read, Err(RecoverError::Misplaced { .. })));
    }
    assert!(recover::<Catalog>(GROUP, Seq(2), &log, b"").is_err());
}
