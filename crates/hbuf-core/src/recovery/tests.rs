use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::ids::{Epoch, Hash, Micros};
use crate::record::JournalFile;
use crate::record::{Facts, Frame, Proof, encode};
use crate::segment::{FORMAT, SegmentHead, open, walk};
use crate::tree::Frontier;

pub(super) const BUFFER: Uuid = Uuid([1; 16]);

/// A record whose primary knew `commit`.
pub(super) fn record(seq: u64, commit: u64, rest: u16) -> Vec<u8> {
    let frame = Frame {
        seq: Seq(seq),
        time: Micros(seq),
        epoch: Epoch(1),
        distance: u32::try_from(seq - commit).unwrap(),
        rest,
        facts: &Facts::default(),
        lines: b"",
        proof: Proof::Salted {
            salt: [7; 32],
            id: Hash([u8::try_from(seq).unwrap(); 32]),
        },
        body: b"body",
    };
    let mut bytes = Vec::new();
    encode(&frame, &mut bytes);
    bytes
}

fn frontier(size: u64) -> Frontier {
    let mut frontier = Frontier::default();
    (1..=size).for_each(|seq| frontier.push(Hash([u8::try_from(seq).unwrap(); 32])));
    frontier
}

fn head(first: u64) -> Vec<u8> {
    let head = SegmentHead {
        format: FORMAT,
        kind: LogKind::Messages,
        buffer: BUFFER,
        log: BUFFER,
        history: BUFFER,
        first: Seq(first),
        time: Micros(first),
        epoch: Epoch(1),
        frontier: frontier(first - 1),
        epochs: Vec::new(),
        compacted: None,
    };
    let mut bytes = Vec::new();
    head.encode(&mut bytes);
    bytes
}

/// A segment of single appends, each known to be committed when the next was framed.
pub(super) fn segment(first: u64, last: u64) -> Vec<u8> {
    let mut bytes = head(first);
    (first..=last).for_each(|seq| bytes.extend(record(seq, seq - 1, 0)));
    bytes
}

pub(super) fn mark(durable: u64, file: u64, offset: usize) -> Mark {
    Mark {
        generation: 1,
        buffer: BUFFER,
        log: BUFFER,
        history: BUFFER,
        time: Micros(durable),
        durable: Seq(durable),
        first: Seq(1),
        file: Seq(file),
        offset: offset as u64,
        frontier: frontier(durable),
        epochs: vec![(Epoch(1), Seq(1))],
        table: None,
        fence: 0,
        clean: false,
    }
}

pub(super) fn found<'a>(files: &'a [(u64, Vec<u8>)], mark: Option<Mark>) -> Found<'a> {
    Found {
        buffer: BUFFER,
        log: BUFFER,
        node: NodeId(1),
        node_epoch: NodeEpoch(1),
        assignment: Arc::new(Assignment::solo(NodeId(1), NodeEpoch(1), Epoch(2), BUFFER)),
        config: BufferConfig::default(),
        state: BufferState::Open,
        mark,
        segments: files
            .iter()
            .map(|(first, bytes)| FoundFile {
                first: Seq(*first),
                source: bytes,
            })
            .collect(),
        cursors: Vec::new(),
        journal: Vec::new(),
        journal_stays: true,
        tables: None,
    }
}

fn recovered(files: &[(u64, Vec<u8>)], mark: Option<Mark>) -> Recovered {
    recover(&Rules::correct(), &found(files, mark)).unwrap()
}

/// End, whether damaged, and repairs.
fn check(files: &[(u64, Vec<u8>)], mark: Option<Mark>) -> (u64, bool, Vec<Repair>) {
    let recovered = recovered(files, mark);
    (
        recovered.opening.end.0,
        recovered.damage.is_some(),
        recovered.repairs,
    )
}

#[test]
fn a_sound_log_is_walked_from_its_head_or_from_its_mark() {
    let files = [(1, segment(1, 3)), (4, segment(4, 5))];
    assert_eq!(check(&files, None), (5, false, vec![]));
    let offset = head(4).len();
    let from_mark = recovered(&files, Some(mark(3, 4, offset)));
    assert_eq!(from_mark.opening.frontier, frontier(5));
    assert_eq!(from_mark.opening.segments.len(), 2);
}

#[test]
fn a_torn_tail_is_cut_at_every_length() {
    let whole = segment(1, 3);
    let two = segment(1, 2).len();
    for len in two + 1..whole.len() {
        let files = [(1, whole[..len].to_vec())];
        let cut = Repair::Truncate {
            log: LogKind::Messages,
            file: Seq(1),
            offset: two as u64,
        };
        assert_eq!(check(&files, None), (2, false, vec![cut]), "{len}");
    }
}

#[test]
fn damage_that_a_later_record_knew_as_committed_is_kept_and_read_only() {
    let mut bytes = segment(1, 5);
    let at = segment(1, 2).len() + 200;
    bytes[at] ^= 1;
    assert_eq!(check(&[(1, bytes)], None), (2, true, vec![]));
}

#[test]
fn damage_below_the_mark_is_never_cut() {
    let mut bytes = segment(1, 3);
    let offset = bytes.len();
    let last = offset - 20;
    bytes[last] ^= 1;
    // The mark is past the damage: recovery trusts it, readers and the scrubber meet the damage.
    assert_eq!(check(&[(1, bytes.clone())], Some(mark(3, 1, offset))).0, 3);
    // The file is shorter than the mark says.
    bytes.truncate(last);
    let (_, damaged, repairs) = check(&[(1, bytes)], Some(mark(3, 1, offset)));
    assert!(damaged && repairs.is_empty());
}

#[test]
fn a_damaged_head_never_costs_acknowledged_records() {
    for with_mark in [false, true] {
        let mut bytes = segment(1, 4);
        bytes[40] ^= 1;
        let mark = with_mark.then(|| mark(2, 1, segment(1, 2).len()));
        let (_, damaged, repairs) = check(&[(1, bytes)], mark);
        assert!(damaged && repairs.is_empty(), "{with_mark} {repairs:?}");
    }
}

#[test]
fn a_new_segment_that_never_became_durable_is_removed() {
    let files = [(1, segment(1, 3)), (4, vec![0; 4096])];
    let remove = Repair::Remove {
        log: LogKind::Messages,
        file: Seq(4),
    };
    assert_eq!(check(&files, None), (3, false, vec![remove.clone()]));
    let torn = [(1, segment(1, 3)), (4, head(4)[..60].to_vec())];
    assert_eq!(check(&torn, None), (3, false, vec![remove]));
}

#[test]
fn a_roll_whose_new_file_is_not_there_ends_in_the_sealed_one() {
    let files = [(1, segment(1, 3))];
    let recovered = recovered(&files, Some(mark(3, 4, 500)));
    assert_eq!((recovered.opening.end, recovered.damage), (Seq(3), None));
    assert!(recovered.opening.sealed);
}

#[test]
fn a_missing_segment_is_damage() {
    let files = [(1, segment(1, 3)), (7, segment(7, 9))];
    let (end, damaged, repairs) = check(&files, None);
    assert_eq!((end, damaged, repairs.len()), (3, true, 0));
    let (_, damaged, repairs) = check(&[(4, segment(4, 5))], None);
    assert!(damaged && repairs.is_empty());
    let offset = head(4).len();
    let (_, damaged, _) = check(&[(1, segment(1, 3))], Some(mark(5, 4, offset)));
    assert!(damaged);
}

#[test]
fn an_only_segment_that_is_missing_is_damage_when_the_mark_names_the_next_one() {
    // A roll whose file was not made yet.
    let offset = head(6).len();
    let (end, damaged, _) = check(&[], Some(mark(5, 6, offset)));
    assert_eq!((end, damaged), (5, true));
    // Retention let all of it go before.
    let mut swept = mark(5, 6, offset);
    swept.first = Seq(6);
    let (end, damaged, _) = check(&[], Some(swept));
    assert_eq!((end, damaged), (5, false));
}

#[test]
fn half_a_batch_is_cut_whole() {
    let mut bytes = segment(1, 2);
    let keep = bytes.len() as u64;
    bytes.extend(record(3, 2, 2));
    bytes.extend(record(4, 2, 1));
    let cut = Repair::Truncate {
        log: LogKind::Messages,
        file: Seq(1),
        offset: keep,
    };
    let recovered = recovered(&[(1, bytes)], None);
    assert_eq!(
        (recovered.opening.end, recovered.repairs),
        (Seq(2), vec![cut])
    );
    assert_eq!(recovered.opening.frontier, frontier(2));
}

#[test]
fn the_journal_restores_what_the_segment_lost_and_stops_at_a_gap() {
    let (keep, three, four) = (segment(1, 2), record(3, 2, 0), record(4, 3, 0));
    let six = record(6, 4, 0);
    // Record 3 is lost in the segment, 4 is there: not corruption, for the journal has 3.
    let mut lost = keep.clone();
    lost.extend(vec![0; three.len()]);
    lost.extend(&four);
    let files = [(1, lost)];
    let entry =
        |position, bytes| FoundEntry::held(position, BUFFER, JournalFile::Messages(Seq(1)), bytes);
    let mut found = found(&files, None);
    found.journal = vec![entry(11, &three), entry(12, &four), entry(13, &six)];
    let done = recover(&Rules::correct(), &found).unwrap();
    assert_eq!(
        (done.opening.end, done.replayed, done.damage),
        (Seq(4), 1, None)
    );
    let at = keep.len() as u64;
    let write = Repair::Write {
        log: LogKind::Messages,
        file: Seq(1),
        offset: at,
        bytes: three.clone().into(),
    };
    assert_eq!(done.repairs, [write]);
    // Behind the fence nothing is restored, and then the hole is damage.
    found.mark = Some(Mark {
        fence: 12,
        ..mark(2, 1, keep.len())
    });
    let fenced = recover(&Rules::correct(), &found).unwrap();
    assert!(fenced.damage.is_some());
}

#[test]
fn a_mark_whose_file_only_the_journal_has_is_no_mark_whose_file_retention_let_go() {
    let files = [(1, segment(1, 2)), (3, segment(3, 5))];
    let entries: Vec<(u64, Vec<u8>)> = vec![(6, segment(6, 8)), (9, segment(9, 9))];
    let at = |kept| Mark {
        first: Seq(kept),
        ..mark(5, 6, head(6).len())
    };
    for kept in [1, 4, 9] {
        let mut found = found(&files, Some(at(kept)));
        found.journal = (1..)
            .zip(&entries)
            .map(|(position, (first, bytes))| {
                FoundEntry::held(position, BUFFER, JournalFile::Messages(Seq(*first)), bytes)
            })
            .collect();
        let recovered = recover(&Rules::correct(), &found).unwrap();
        assert_eq!(recovered.damage, None, "kept {kept}");
        assert_eq!(recovered.opening.end, Seq(9), "kept {kept}");
    }
}

#[test]
fn the_head_of_an_empty_segment_that_the_journal_restores_is_the_last_time() {
    let files = [(1, segment(1, 2))];
    let bytes = head(3);
    let mut found = found(&files, None);
    let file = JournalFile::Messages(Seq(3));
    found.journal = vec![FoundEntry::held(1, BUFFER, file, &bytes)];
    let recovered = recover(&Rules::correct(), &found).unwrap();
    assert_eq!(recovered.damage, None);
    assert_eq!(recovered.opening.end, Seq(2));
    // A message behind it that is earlier would count as damage.
    assert_eq!(recovered.opening.last_time, Micros(3));
}

#[test]
fn what_retention_let_go_is_removed_only_after_all_else_is_durable() {
    let files = [
        (1, segment(1, 2)),
        (3, segment(3, 5)),
        (6, segment(6, 8)),
        (20, Vec::new()),
    ];
    let at = Mark {
        first: Seq(6),
        ..mark(5, 6, head(6).len())
    };
    let recovered = recovered(&files, Some(at));
    let removed = |last| {
        let repairs = recovered.repairs.iter();
        let removed = repairs.filter_map(|repair| match repair {
            Repair::Remove { file, .. } if recovered.comes_last(repair) == last => Some(file.0),
            _ => None,
        });
        removed.collect::<Vec<_>>()
    };
    assert_eq!(removed(true), [1, 3]);
    assert_eq!(removed(false), [20]);
}

/// Seqs 1 to `last` in the segment, of which the last is damaged, and one journal entry each with
/// the seqs behind it.
fn rotten(last: u64, journaled: core::ops::RangeInclusive<u64>) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut bytes = segment(1, last);
    let at = bytes.len() - 4;
    bytes[at] ^= 1;
    (
        bytes,
        journaled.map(|seq| record(seq, seq - 1, 0)).collect(),
    )
}

pub(super) fn entries(bodies: &[Vec<u8>]) -> Vec<FoundEntry<'_>> {
    let with_positions = (11..).zip(bodies);
    with_positions
        .map(|(position, bytes)| {
            FoundEntry::held(position, BUFFER, JournalFile::Messages(Seq(1)), bytes)
        })
        .collect()
}

#[test]
fn a_later_journal_entry_proves_that_a_damaged_record_was_acknowledged() {
    let (bytes, bodies) = rotten(3, 4..=5);
    let files = [(1, bytes)];
    let mut found = found(&files, None);
    found.journal = entries(&bodies);
    let recovered = recover(&Rules::correct(), &found).unwrap();
    assert_eq!(
        recovered.damage.as_ref().map(|damage| damage.seq),
        Some(Seq(3))
    );
    assert_eq!((recovered.opening.end, recovered.repairs), (Seq(2), vec![]));
    // With what it keeps, and without the journal, the next recovery comes to the same.
    let kept = recovered.unapplied.unwrap();
    let (_, position) = open(&*kept).unwrap();
    let mut again = Vec::new();
    walk(&*kept, position, |_, record| {
        let entry = Entry::parse(record).unwrap();
        again.push((record.line.seq.0, entry.body.to_vec()));
    })
    .unwrap();
    let expected: Vec<(u64, Vec<u8>)> = (11..).zip(bodies).collect();
    assert_eq!(again, expected);
}

#[test]
fn a_journal_entry_that_knew_nothing_of_a_damaged_record_proves_nothing() {
    let (bytes, _) = rotten(3, 4..=4);
    let bodies = [record(4, 2, 0)];
    let files = [(1, bytes)];
    let mut found = found(&files, None);
    found.journal = entries(&bodies);
    let recovered = recover(&Rules::correct(), &found).unwrap();
    assert_eq!((recovered.damage, recovered.unapplied), (None, None));
    assert_eq!(recovered.opening.end, Seq(2));
}

#[test]
fn a_journal_entry_below_the_fence_proves_nothing() {
    let (bytes, bodies) = rotten(3, 4..=5);
    let two = segment(1, 2).len();
    let files = [(1, bytes)];
    let fenced = Mark {
        fence: 12,
        ..mark(2, 1, two)
    };
    let mut found = found(&files, Some(fenced));
    found.journal = entries(&bodies);
    let recovered = recover(&Rules::correct(), &found).unwrap();
    assert_eq!((recovered.damage, recovered.unapplied), (None, None));
}

#[test]
fn a_damaged_record_that_the_journal_holds_is_written_again() {
    let (bytes, _) = rotten(3, 4..=4);
    let bodies = [record(3, 2, 0), record(4, 3, 0)];
    let files = [(1, bytes)];
    let mut found = found(&files, None);
    found.journal = entries(&bodies);
    let recovered = recover(&Rules::correct(), &found).unwrap();
    assert_eq!((recovered.damage, recovered.unapplied), (None, None));
    assert_eq!((recovered.opening.end, recovered.replayed), (Seq(4), 2));
}
