//! When the journal answers for a buffer, so that nothing of it need be synced, and which entries
//! are read for that.

use alloc::vec;
use core::cell::Cell;

use super::tests::{entries, found, mark, record, segment};
use super::*;
use crate::input::BufferState;
use crate::segment::Source;

/// Files by their first seqs.
type Files = Vec<(u64, Vec<u8>)>;

/// Two messages that a mark covers, and `lost` of the three behind it are in the segment no more.
fn three_behind_a_mark(lost: usize) -> (Files, Vec<Vec<u8>>, Mark) {
    let marked = segment(1, 2);
    let bodies = [record(3, 2, 0), record(4, 3, 0), record(5, 4, 0)].to_vec();
    let mut bytes = marked.clone();
    bytes.extend(bodies[..3 - lost].concat());
    (vec![(1, bytes)], bodies, mark(2, 1, marked.len()))
}

#[test]
fn the_journal_answers_for_what_is_in_the_segment_and_for_what_it_lost() {
    for lost in 0..=3 {
        let (files, bodies, mark) = three_behind_a_mark(lost);
        let mut found = found(&files, Some(mark));
        found.journal = entries(&bodies);
        let recovered = recover(&Rules::correct(), &found).unwrap();
        assert!(recovered.in_journal, "{lost} lost");
        assert_eq!(
            (recovered.opening.end, recovered.replayed),
            (Seq(5), lost as u64)
        );
        let unmarked: Vec<Seq> = recovered.opening.unmarked_segments().collect();
        assert_eq!(unmarked, [Seq(1)]);
    }
}

#[test]
fn a_message_that_went_straight_into_the_segment_is_not_in_the_journal() {
    for missing in 0..3 {
        let (files, mut bodies, mark) = three_behind_a_mark(0);
        bodies.remove(missing);
        let mut found = found(&files, Some(mark));
        found.journal = entries(&bodies);
        let recovered = recover(&Rules::correct(), &found).unwrap();
        assert_eq!(recovered.opening.end, Seq(5), "without entry {missing}");
        assert!(!recovered.in_journal, "without entry {missing}");
    }
}

#[test]
fn entries_below_the_fence_and_cuts_and_a_pause_leave_the_files_to_answer() {
    let (files, bodies, mark) = three_behind_a_mark(0);
    let mut gone = found(&files, Some(mark.clone()));
    gone.journal = entries(&bodies);
    gone.journal_stays = false;
    let gone = recover(&Rules::correct(), &gone).unwrap();
    assert!(!gone.in_journal, "the journal goes");
    let held = |files: &[(u64, Vec<u8>)], fence, state| {
        let mark = Mark {
            fence,
            ..mark.clone()
        };
        let mut found = found(files, Some(mark));
        found.journal = entries(&bodies);
        found.state = state;
        recover(&Rules::correct(), &found).unwrap().in_journal
    };
    assert!(held(&files, 0, BufferState::Open));
    assert!(
        !held(&files, 11, BufferState::Open),
        "the fence passed the first entry"
    );
    assert!(
        !held(&files, 0, BufferState::Paused),
        "no mark will let go of the journal"
    );
    let mut torn = files.clone();
    torn[0].1.extend(&record(6, 5, 0)[..40]);
    assert!(!held(&torn, 0, BufferState::Open), "a tail is cut off");
}

/// Counts the reads of a body.
struct Counted<'a>(&'a [u8], &'a Cell<usize>);

impl Source for Counted<'_> {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadFailed> {
        self.1.set(self.1.get() + 1);
        self.0.read_at(offset, buf)
    }
}

#[test]
fn only_an_entry_that_the_log_lacks_is_read() {
    for lost in 0..=3 {
        let (files, bodies, mark) = three_behind_a_mark(lost);
        let reads = Cell::new(0);
        let sources: Vec<Counted<'_>> = bodies.iter().map(|body| Counted(body, &reads)).collect();
        let held = entries(&bodies);
        let mut found = found(&files, Some(mark));
        found.journal = held
            .into_iter()
            .zip(&sources)
            .map(|(entry, source)| FoundEntry { source, ..entry })
            .collect();
        let recovered = recover(&Rules::correct(), &found).unwrap();
        assert_eq!((recovered.opening.end, reads.get()), (Seq(5), lost));
    }
}
