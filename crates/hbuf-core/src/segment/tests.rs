//! Verdicts on damaged segments: what is cut and what is kept.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::commitment::{Leaf, commitment};
use crate::ids::{Epoch, Hash, Micros, Seq, Uuid};
use crate::record::{Facts, Frame, LINE_LEN, Proof, ProofKind, State, encode, head_len};
use crate::tree::Frontier;

mod planted;
mod walking;

const LOG: Uuid = Uuid([0x11; 16]);

/// Builds a segment's bytes; `d` and `r` are the caller's, so that any history can be told.
struct Builder {
    bytes: Vec<u8>,
    next: u64,
    starts: Vec<usize>,
}

impl Builder {
    fn new() -> Self {
        let mut bytes = Vec::new();
        head(Seq(1)).encode(&mut bytes);
        Self {
            bytes,
            next: 1,
            starts: vec![],
        }
    }

    fn push(&mut self, distance: u32, rest: u16, body: &[u8]) -> &mut Self {
        self.starts.push(self.bytes.len());
        record(
            self.next,
            1000 + self.next,
            1,
            distance,
            rest,
            body,
            &mut self.bytes,
        );
        self.next += 1;
        self
    }

    /// Records that were each committed before the next was framed.
    fn pushes(&mut self, count: usize) -> &mut Self {
        for _ in 0..count {
            self.push(1, 0, b"body");
        }
        self
    }

    fn start(&self, seq: u64) -> usize {
        self.starts[seq as usize - 1]
    }

    fn scan(&self) -> (Scan, Vec<u64>) {
        scan_bytes(&self.bytes, Seq(0))
    }

    fn end(&self) -> End {
        self.scan().0.end
    }
}

fn head(first: Seq) -> SegmentHead {
    SegmentHead {
        format: FORMAT,
        kind: LogKind::Messages,
        buffer: Uuid([1; 16]),
        log: LOG,
        history: Uuid([3; 16]),
        first,
        time: Micros(1000),
        epoch: Epoch(1),
        frontier: Frontier::new(),
        epochs: vec![(Epoch(1), Seq(1))],
        compacted: None,
    }
}

fn record(
    seq: u64,
    time: u64,
    epoch: u32,
    distance: u32,
    rest: u16,
    body: &[u8],
    out: &mut Vec<u8>,
) {
    let facts = Facts::default();
    let salt = [seq as u8; 32];
    let leaf = Leaf {
        log: LOG,
        seq: Seq(seq),
        time: Micros(time),
        head_len: head_len(&facts, 0, body.len(), ProofKind::Salted),
        body_len: body.len() as u64,
        facts: crate::commitment::PLAIN_FACTS,
        commitment: commitment(&salt, b"", body),
    };
    let frame = Frame {
        seq: Seq(seq),
        time: Micros(time),
        epoch: Epoch(epoch),
        distance,
        rest,
        facts: &facts,
        lines: b"",
        proof: Proof::Salted {
            salt,
            id: leaf.id(),
        },
        body,
    };
    encode(&frame, out);
}

fn scan_bytes(bytes: &[u8], durable_mark: Seq) -> (Scan, Vec<u64>) {
    let (_, position) = open(bytes).unwrap();
    let mut seen = Vec::new();
    let start = ScanStart {
        offset: position.offset,
        next: position.next,
        durable_mark,
        ..ScanStart::default()
    };
    let scan = scan(bytes, &start, |_, record| seen.push(record.line.seq.0)).unwrap();
    (scan, seen)
}

/// A tail that is cut at a record, here with its own seq and the offset where it stands.
fn torn(seq: u64, offset: usize) -> End {
    torn_in_batch(seq, offset, seq)
}

/// A tail that is cut at the start of the batch in which record `bad` is not good.
fn torn_in_batch(seq: u64, offset: usize, bad: u64) -> End {
    End::Torn {
        seq: Seq(seq),
        offset: offset as u64,
        bad: Seq(bad),
    }
}

#[test]
fn a_whole_segment_is_clean_with_or_without_space_written_ahead() {
    let mut segment = Builder::new();
    segment.pushes(5);
    for zeros in [0, 1, 135, 136, 4096, 3 << 20] {
        let mut bytes = segment.bytes.clone();
        bytes.resize(bytes.len() + zeros, 0);
        let (scan, seen) = scan_bytes(&bytes, Seq(5));
        assert_eq!(scan.end, End::Clean, "{zeros}");
        assert_eq!(seen, [1, 2, 3, 4, 5]);
        assert_eq!(scan.position.offset, segment.bytes.len() as u64);
        assert_eq!(scan.position.known_commit, Seq(4));
    }
}

#[test]
fn a_file_cut_at_any_length_is_cut_back_to_its_last_whole_record() {
    let mut segment = Builder::new();
    segment.pushes(3);
    for len in segment.start(1)..segment.bytes.len() {
        let whole = segment.starts.iter().filter(|&&start| start <= len).count() as u64;
        let offset = segment.start(whole);
        let torn = torn(whole, offset);
        let verdict = if len == offset { End::Clean } else { torn };
        for zeros in [0, 777] {
            let mut bytes = segment.bytes[..len].to_vec();
            bytes.resize(len + zeros, 0);
            assert_eq!(scan_bytes(&bytes, Seq(0)).0.end, verdict, "{len} + {zeros}");
        }
    }
}

#[test]
fn damage_before_a_record_that_knew_it_committed_is_corruption() {
    let mut segment = Builder::new();
    segment.pushes(3);
    let (start, end) = (segment.start(1), segment.start(2));
    for at in start..end {
        let mut bytes = segment.bytes.clone();
        bytes[at] ^= 1;
        let end = scan_bytes(&bytes, Seq(0)).0.end;
        let End::Corrupt {
            seq,
            offset,
            witness,
            ..
        } = end
        else {
            panic!("byte {at}: {end:?}")
        };
        assert_eq!((seq, offset), (Seq(1), start as u64), "byte {at}");
        assert!(witness > seq, "byte {at}");
    }
}

#[test]
fn damage_that_no_later_record_knew_committed_is_a_torn_tail() {
    // Three appends in flight at once, none acknowledged: each knew commit 2.
    let mut segment = Builder::new();
    segment.pushes(2);
    segment
        .push(1, 0, b"three")
        .push(2, 0, b"four")
        .push(3, 0, b"five");
    let (start, end) = (segment.start(3), segment.start(4));
    for at in start..end {
        let mut bytes = segment.bytes.clone();
        bytes[at] ^= 1;
        let verdict = scan_bytes(&bytes, Seq(2)).0.end;
        let torn = torn(3, start);
        assert_eq!(verdict, torn, "byte {at}");
        let covered = scan_bytes(&bytes, Seq(3)).0.end;
        assert!(
            matches!(
                covered,
                End::Corrupt {
                    witness: Seq(3),
                    ..
                }
            ),
            "byte {at}"
        );
    }
}

#[test]
fn a_page_of_zeros_before_later_records_is_judged_by_them() {
    let mut segment = Builder::new();
    segment
        .pushes(2)
        .push(1, 0, &[b'x'; 9000])
        .push(2, 0, b"four");
    let lost = segment.start(3)..segment.start(3) + 4096;
    segment.bytes[lost.clone()].fill(0);
    let torn = torn(3, lost.start);
    assert_eq!(segment.end(), torn);
    segment.push(1, 0, b"five knew that four is committed");
    assert!(matches!(
        segment.end(),
        End::Corrupt {
            seq: Seq(3),
            witness: Seq(5),
            ..
        }
    ));
}

#[test]
fn a_tear_inside_a_batch_cuts_the_whole_batch() {
    let mut segment = Builder::new();
    segment.pushes(2);
    segment.push(1, 2, b"a").push(2, 1, b"b").push(3, 0, b"c");
    assert_eq!(segment.end(), End::Clean);
    let offset = segment.start(3);
    let last = segment.start(5);
    for len in last + 1..segment.bytes.len() {
        let end = scan_bytes(&segment.bytes[..len], Seq(2)).0.end;
        assert_eq!(end, torn_in_batch(3, offset, 5), "{len}");
    }
    let (scan, seen) = scan_bytes(&segment.bytes[..last], Seq(2));
    assert_eq!(scan.end, torn_in_batch(3, offset, 5));
    assert_eq!(seen, [1, 2, 3, 4]);
    assert_eq!(
        scan.position.batch,
        Some(Batch {
            seq: Seq(3),
            offset: offset as u64,
            rest: 1
        })
    );
}

#[test]
fn a_file_that_ends_before_what_the_mark_covers_is_corrupt() {
    let mut segment = Builder::new();
    segment.pushes(3);
    for zeros in [0, 4096] {
        let mut bytes = segment.bytes.clone();
        bytes.resize(bytes.len() + zeros, 0);
        let end = scan_bytes(&bytes, Seq(5)).0.end;
        let why = if zeros == 0 { Why::End } else { Why::Zeros };
        let offset = segment.bytes.len() as u64;
        assert_eq!(
            end,
            End::Corrupt {
                seq: Seq(4),
                offset,
                reason: why,
                witness: Seq(5)
            }
        );
    }
}

#[test]
fn a_flipped_length_does_not_hide_the_records_behind() {
    let mut segment = Builder::new();
    segment.pushes(6);
    let b = segment.start(3) + 99;
    for digit in b"123456789abcdef" {
        for place in 0..7 {
            let mut bytes = segment.bytes.clone();
            bytes[b + place] = *digit;
            let end = scan_bytes(&bytes, Seq(0)).0.end;
            assert!(
                matches!(end, End::Corrupt { seq: Seq(3), .. }),
                "{place} {digit}: {end:?}"
            );
        }
    }
}

#[test]
fn a_damaged_head_and_a_torn_tail_at_once_are_corruption() {
    let mut segment = Builder::new();
    segment.pushes(6);
    let torn = segment.bytes.len() - 20;
    let content_length = segment.start(3) + LINE_LEN + "host:\r\ncontent-length: ".len();
    for at in [content_length, content_length + 10] {
        let mut bytes = segment.bytes[..torn].to_vec();
        bytes[at] ^= 1;
        let end = scan_bytes(&bytes, Seq(0)).0.end;
        assert!(
            matches!(
                end,
                End::Corrupt {
                    seq: Seq(3),
                    witness: Seq(4),
                    ..
                }
            ),
            "{end:?}"
        );
    }
}

proptest! {
    /// Unsynced appends reach the disk in part and in any order: whatever of them is damaged,
    /// nothing that was committed is cut and nothing is called corrupt.
    #[test]
    fn no_loss_of_unsynced_pages_is_taken_for_corruption(
        committed in 1_usize..4,
        bodies in prop::collection::vec(0_usize..3000, 1..6),
        lost in prop::collection::vec(any::<bool>(), 40),
        page in prop::sample::select(vec![64_usize, 512, 4096]),
    ) {
        let mut segment = Builder::new();
        segment.pushes(committed);
        let durable = segment.bytes.len();
        for (at, len) in bodies.iter().enumerate() {
            segment.push(at as u32 + 1, 0, &vec![b'z'; *len]);
        }
        let ends = segment.bytes.len();
        for (at, lost) in lost.iter().enumerate() {
            let start = (durable + at * page).min(ends);
            let end = (start + page).min(ends);
            if *lost {
                segment.bytes[start..end].fill(0);
            }
        }
        match segment.end() {
            End::Clean => {}
            End::Torn { seq, offset, .. } => {
                prop_assert!(seq.0 > committed as u64);
                prop_assert!(offset >= durable as u64);
            }
            corrupt @ End::Corrupt { .. } => prop_assert!(false, "{corrupt:?}"),
        }
    }

    /// Any single byte of a log whose records were all committed: never silently cut, but for the
    /// last record, which nothing behind it covers.
    #[test]
    fn rot_in_committed_records_is_never_cut(at: prop::sample::Index, flip in 1..=255_u8) {
        let mut segment = Builder::new();
        segment.pushes(6);
        let (from, last) = (segment.start(1), segment.start(6));
        let at = from + at.index(last - from);
        segment.bytes[at] ^= flip;
        let end = segment.end();
        prop_assert!(matches!(end, End::Corrupt { .. }), "byte {}: {:?}", at, end);
    }

    #[test]
    fn any_bytes_are_scanned_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let start = ScanStart { next: Seq(1), ..ScanStart::default() };
        let _ = scan(&bytes, &start, |_, _| {}).unwrap();
        let _ = open(&bytes);
    }
}
