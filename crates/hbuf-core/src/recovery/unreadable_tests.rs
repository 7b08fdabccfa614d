//! What cannot be read of a damaged log is told with its seqs, and never passes for dropped.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::tests::{found, mark, segment};
use super::*;

struct Told {
    first: u64,
    end: u64,
    damaged_at: u64,
    file: u64,
    reason: String,
    unreadable: Vec<u64>,
}

fn told(files: &[(u64, Vec<u8>)], mark: Option<Mark>) -> Told {
    let recovered = recover(&Rules::correct(), &found(files, mark)).unwrap();
    assert_eq!(recovered.repairs, []);
    let damage = recovered.damage.unwrap();
    let damaged = DamagedAt {
        log: LogKind::Messages,
        seq: damage.seq,
    };
    assert_eq!(recovered.opening.damaged, Some(damaged));
    Told {
        first: recovered.opening.first.0,
        end: recovered.opening.end.0,
        damaged_at: damage.seq.0,
        file: damage.file.0,
        reason: damage.reason,
        unreadable: recovered.unreadable.iter().map(|it| it.first.0).collect(),
    }
}

/// The first segment begins with `first`, its head has a wrong byte.
fn headless(first: u64, last: u64) -> Vec<u8> {
    let mut bytes = segment(first, last);
    bytes[40] ^= 1;
    bytes
}

#[test]
fn a_bad_head_of_the_only_segment_is_damage_from_its_first_seq_on() {
    let at = segment(1, 4).len();
    let told = told(&[(1, headless(1, 4))], Some(mark(4, 1, at)));
    assert_eq!((told.first, told.end), (1, 4));
    assert_eq!((told.damaged_at, told.file), (1, 1));
    assert_eq!(told.unreadable, [1]);
}

#[test]
fn a_bad_head_of_the_newest_segment_is_damage_of_that_one() {
    let at = segment(4, 6).len();
    let files = [(1, segment(1, 3)), (4, headless(4, 6))];
    let told = told(&files, Some(mark(6, 4, at)));
    assert_eq!((told.first, told.end), (1, 6));
    assert_eq!((told.damaged_at, told.file), (4, 4));
    assert_eq!(told.unreadable, [4]);
}

#[test]
fn a_bad_head_behind_the_mark_is_damage_behind_the_end() {
    let files = [(1, segment(1, 3)), (4, headless(4, 6))];
    for mark in [None, Some(mark(2, 1, segment(1, 2).len()))] {
        let told = told(&files, mark);
        assert_eq!((told.end, told.damaged_at, told.file), (3, 4, 4));
        assert!(told.unreadable.is_empty());
    }
}

#[test]
fn a_newer_format_says_that_a_newer_hbuf_wrote_it() {
    let text = String::from_utf8(segment(1, 3)).unwrap();
    let newer = text.replacen("x-hbuf-format: 1\r\n", "x-hbuf-format: 2\r\n", 1);
    assert_ne!(text, newer);
    for mark in [None, Some(mark(3, 1, text.len()))] {
        let told = told(&[(1, newer.clone().into_bytes())], mark);
        assert_eq!((told.damaged_at, told.file), (1, 1));
        assert!(told.reason.contains("use a newer hbuf"), "{}", told.reason);
    }
}

#[test]
fn a_missing_segment_is_not_one_that_retention_dropped() {
    let at = segment(4, 6).len();
    // The only one; the first of two; the newest of two.
    let cases = [
        (vec![], mark(4, 1, segment(1, 4).len()), 1),
        (vec![(4, segment(4, 6))], mark(6, 4, at), 1),
        (vec![(1, segment(1, 3))], mark(6, 4, at), 4),
    ];
    for (files, mark, missing) in cases {
        let told = told(&files, Some(mark));
        assert_eq!((told.first, told.damaged_at), (1, missing));
        assert_eq!(told.unreadable, [missing]);
        assert!(told.reason.contains("missing"), "{}", told.reason);
    }
}

#[test]
fn what_retention_dropped_before_stays_dropped() {
    let at = segment(4, 6).len();
    let swept = Mark {
        first: Seq(4),
        ..mark(6, 4, at)
    };
    let told = told(&[(4, headless(4, 6))], Some(swept));
    assert_eq!((told.first, told.damaged_at), (4, 4));
    assert_eq!(told.unreadable, [4]);
}

#[test]
fn a_sound_log_has_nothing_unreadable() {
    let files = [(1, segment(1, 3)), (4, segment(4, 6))];
    let recovered = recover(&Rules::correct(), &found(&files, None)).unwrap();
    assert_eq!((recovered.damage, recovered.unreadable), (None, vec![]));
}
