//! Verdicts on damaged segments: what is cut, what is kept, and what a body cannot fake.

use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;

use proptest::prelude::*;

use super::*;
use crate::commitment::{Leaf, commitment};
use crate::ids::{Epoch, Hash, Micros, Seq, Uuid};
use crate::record::{Facts, Frame, LINE_LEN, Proof, ProofKind, State, encode, head_len};
use crate::tree::Frontier;

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

fn planted(seq: u64, distance: u32) -> Vec<u8> {
    let mut out = Vec::new();
    record(seq, 1000 + seq, 1, distance, 0, b"planted", &mut out);
    out
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
        let torn = End::Torn {
            seq: Seq(whole),
            offset: offset as u64,
            bad: Seq(whole),
        };
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
        let torn = End::Torn {
            seq: Seq(3),
            offset: start as u64,
            bad: Seq(3),
        };
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
    let torn = End::Torn {
        seq: Seq(3),
        offset: lost.start as u64,
        bad: Seq(3),
    };
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
    let offset = segment.start(3) as u64;
    let last = segment.start(5);
    for len in last + 1..segment.bytes.len() {
        let end = scan_bytes(&segment.bytes[..len], Seq(2)).0.end;
        assert_eq!(
            end,
            End::Torn {
                seq: Seq(3),
                offset,
                bad: Seq(5)
            },
            "{len}"
        );
    }
    let (scan, seen) = scan_bytes(&segment.bytes[..last], Seq(2));
    assert_eq!(
        scan.end,
        End::Torn {
            seq: Seq(3),
            offset,
            bad: Seq(5)
        }
    );
    assert_eq!(seen, [1, 2, 3, 4]);
    assert_eq!(
        scan.position.batch,
        Some(Batch {
            seq: Seq(3),
            offset,
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
fn records_planted_in_a_body_prove_nothing_while_the_line_can_be_read() {
    let body = [planted(4, 1), planted(5, 1), planted(6, 1)].concat();
    let mut segment = Builder::new();
    segment.pushes(2).push(1, 0, &body);
    let start = segment.start(3);
    let body_at = segment.bytes.len() - body.len() - 2;
    for at in body_at..segment.bytes.len() {
        let mut bytes = segment.bytes.clone();
        bytes[at] ^= 1;
        let torn = End::Torn {
            seq: Seq(3),
            offset: start as u64,
            bad: Seq(3),
        };
        assert_eq!(scan_bytes(&bytes, Seq(0)).0.end, torn, "byte {at}");
    }
}

#[test]
fn records_planted_in_a_body_prove_nothing_when_the_line_is_lost_either() {
    let body = [
        planted(4, 1),
        planted(5, 1),
        planted(6, 1),
        b"tail".to_vec(),
    ]
    .concat();
    let mut segment = Builder::new();
    segment.pushes(2).push(1, 0, &body);
    let start = segment.start(3);
    let torn = End::Torn {
        seq: Seq(3),
        offset: start as u64,
        bad: Seq(3),
    };
    for lost in [1, 60, LINE_LEN, 200] {
        let mut bytes = segment.bytes.clone();
        bytes[start..start + lost].fill(0);
        assert_eq!(scan_bytes(&bytes, Seq(0)).0.end, torn, "{lost}");
    }
    // The real successor knew the commit, and its seqs go on to the end: that is a witness.
    segment.push(1, 0, b"four").push(1, 0, b"five");
    segment.bytes[start..start + 60].fill(0);
    assert!(matches!(
        segment.end(),
        End::Corrupt {
            seq: Seq(3),
            witness: Seq(4),
            ..
        }
    ));
}

#[test]
fn a_planted_chain_that_ends_where_the_real_records_go_on_proves_nothing() {
    // The real successors knew nothing of a commit; the planted ones claim to.
    let body = [planted(4, 1), planted(5, 1)].concat();
    let mut segment = Builder::new();
    segment
        .pushes(2)
        .push(1, 0, &body)
        .push(2, 0, b"four")
        .push(3, 0, b"five");
    let start = segment.start(3);
    segment.bytes[start..start + 60].fill(0);
    assert_eq!(
        segment.end(),
        End::Torn {
            seq: Seq(3),
            offset: start as u64,
            bad: Seq(3)
        }
    );
}

#[test]
fn many_planted_lines_do_not_make_the_search_endless() {
    let mut line = planted(4, 1);
    line.truncate(LINE_LEN);
    let body = line.repeat(40_000);
    let mut segment = Builder::new();
    segment.pushes(2).push(1, 0, &body).push(2, 0, b"four");
    let start = segment.start(3);
    segment.bytes[start..start + 60].fill(0);
    assert_eq!(
        segment.end(),
        End::Torn {
            seq: Seq(3),
            offset: start as u64,
            bad: Seq(3)
        }
    );

    // A long planted chain that breaks at its end is walked once, not once for each of its records.
    let chain: Vec<u8> = (4..20_000)
        .flat_map(|seq| planted(seq, 1))
        .chain(*b"x")
        .collect();
    let mut segment = Builder::new();
    segment.pushes(2).push(1, 0, &chain);
    segment.bytes[start..start + 60].fill(0);
    assert_eq!(
        segment.end(),
        End::Torn {
            seq: Seq(3),
            offset: start as u64,
            bad: Seq(3)
        }
    );
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

#[test]
fn a_record_planted_at_the_end_of_the_last_body_proves_nothing_while_the_line_is_right() {
    let mut body = planted(4, 1);
    body.truncate(body.len() - 2);
    let mut segment = Builder::new();
    segment.pushes(2).push(1, 0, &body);
    let start = segment.start(3);
    segment.bytes[start + LINE_LEN..start + 200].fill(0);
    assert_eq!(
        segment.end(),
        End::Torn {
            seq: Seq(3),
            offset: start as u64,
            bad: Seq(3)
        }
    );
}

#[test]
fn good_records_that_do_not_follow_are_stops() {
    let check = |seq, time, epoch, rest, why: &str| {
        let mut segment = Builder::new();
        segment.pushes(1).push(1, 1, b"batch of two");
        record(seq, time, epoch, 2, rest, b"", &mut segment.bytes);
        let end = segment.end();
        let torn = End::Torn {
            seq: Seq(2),
            offset: segment.start(2) as u64,
            bad: Seq(3),
        };
        assert_eq!(end, torn, "{why}");
        let (_, position) = open(&segment.bytes).unwrap();
        let stop = walk(&segment.bytes, position, |_, _| {}).unwrap().1;
        assert_eq!(alloc::format!("{}", stop.why), why);
    };
    check(4, 2000, 1, 0, "seq 4 where 3 was due");
    check(2, 2000, 1, 0, "seq 2 where 3 was due");
    check(
        3,
        2000,
        0,
        0,
        "epoch 0 is lower than 1 of the record before",
    );
    check(3, 2000, 1, 1, "`r` is 1 where the batch leaves 0");
    check(
        3,
        5,
        1,
        0,
        "time 1970-01-01T00:00:00.000005Z is earlier than \
        1970-01-01T00:00:00.001002Z of the record before",
    );
}

#[test]
fn a_compacted_segment_may_lack_seqs_and_no_other() {
    let mut bytes = Vec::new();
    SegmentHead {
        compacted: Some(Seq(99)),
        ..head(Seq(1))
    }
    .encode(&mut bytes);
    for seq in [2, 3, 17] {
        record(
            seq,
            1000 + seq,
            1,
            1,
            u16::from(seq == 17),
            b"kept",
            &mut bytes,
        );
    }
    let (_, position) = open(&bytes).unwrap();
    assert!(position.gaps);
    let mut seen = Vec::new();
    let (position, stop) =
        walk(&bytes, position, |_, record| seen.push(record.line.seq.0)).unwrap();
    assert_eq!(
        (seen, stop.why, stop.batch),
        (vec![2, 3, 17], Why::End, None)
    );
    record(17, 2000, 1, 1, 0, b"again", &mut bytes);
    let stop = walk(&bytes, position, |_, _| {}).unwrap().1;
    assert_eq!(
        stop.why,
        Why::Seq {
            expected: Seq(18),
            found: Seq(17)
        }
    );
}

#[test]
fn a_walk_goes_on_from_where_bytes_were_repaired() {
    let mut segment = Builder::new();
    segment
        .pushes(2)
        .push(1, 1, b"a")
        .push(2, 0, b"b")
        .pushes(1);
    let torn_at = segment.start(4) + 50;
    let torn = segment.bytes[..torn_at].to_vec();
    let (_, position) = open(&torn).unwrap();
    let (position, stop) = walk(&torn, position, |_, _| {}).unwrap();
    assert_eq!(stop.seq, Seq(4));
    let mut seen = Vec::new();
    let walked = walk(&segment.bytes, position, |_, record| {
        seen.push(record.line.seq.0)
    });
    assert_eq!(seen, [4, 5]);
    let stop = walked.unwrap().1;
    assert_eq!(classify(&segment.bytes, &stop, Seq(5)), Ok(End::Clean));
}

#[test]
fn records_longer_than_the_window_are_walked() {
    let mut segment = Builder::new();
    let body = vec![b'y'; 3 * WINDOW_BYTES + 5];
    segment.pushes(1).push(1, 0, &body).pushes(1);
    let (scan, seen) = segment.scan();
    assert_eq!((scan.end, seen), (End::Clean, vec![1, 2, 3]));
    let at = segment.start(2) + 2 * WINDOW_BYTES;
    segment.bytes[at] ^= 1;
    assert!(matches!(
        segment.end(),
        End::Corrupt {
            seq: Seq(2),
            witness: Seq(3),
            ..
        }
    ));
}

#[test]
fn lines_that_claim_too_much_are_stops() {
    let mut segment = Builder::new();
    segment.pushes(1);
    let at = segment.start(1);
    segment.bytes[at + 99..at + 107].copy_from_slice(b"ffffffff");
    let (_, position) = open(&segment.bytes).unwrap();
    let stop = walk(&segment.bytes, position.clone(), |_, _| {}).unwrap().1;
    assert!(matches!(stop.why, Why::TooLong { .. }));
    segment.bytes[at + 99..at + 107].copy_from_slice(b"0000ffff");
    let stop = walk(&segment.bytes, position, |_, _| {}).unwrap().1;
    assert!(matches!(stop.why, Why::PastEnd { .. }));
}

#[test]
fn heads_between_records_are_shown_by_the_walker_and_left_out_of_scans() {
    let mut segment = Builder::new();
    segment.pushes(1);
    head_at(2, &mut segment.bytes);
    segment.pushes(1);
    let (_, seen) = segment.scan();
    assert_eq!(seen, [1, 2]);
    let (_, position) = open(&segment.bytes).unwrap();
    let mut walker = Walker::new(&segment.bytes, position);
    let mut states = Vec::new();
    while let Step::Record { record, .. } = walker.step().unwrap() {
        states.push(record.line.state);
    }
    assert_eq!(states, [State::Live, State::Head, State::Live]);
}

fn head_at(seq: u64, out: &mut Vec<u8>) {
    let facts = Facts::of(crate::record::Kind::Vote);
    let frame = Frame {
        seq: Seq(seq),
        time: Micros(0),
        epoch: Epoch(1),
        distance: 0,
        rest: 0,
        facts: &facts,
        lines: b"",
        proof: Proof::None,
        body: b"",
    };
    encode(&frame, out);
}

#[test]
fn files_without_a_head_line_say_what_they_are() {
    assert_eq!(open(&b""[..]).unwrap_err(), OpenError::Unused);
    assert_eq!(open(&vec![0; 3 << 20]).unwrap_err(), OpenError::Unused);
    let mut late = vec![0; 3 << 20];
    late[2 << 20] = b'x';
    assert!(matches!(
        open(&late),
        Err(OpenError::Head(HeadError::Record(_)))
    ));
    let mut bytes = Vec::new();
    head(Seq(1)).encode(&mut bytes);
    for len in 1..bytes.len() {
        assert!(
            matches!(open(&bytes[..len]), Err(OpenError::Head(_))),
            "{len}"
        );
    }
    let mut newer = Vec::new();
    SegmentHead {
        format: 9,
        ..head(Seq(1))
    }
    .encode(&mut newer);
    let error = OpenError::Head(HeadError::NewerFormat { found: 9 });
    assert_eq!(open(&newer).unwrap_err(), error);
}

#[test]
fn a_head_line_is_read_without_the_records_behind() {
    struct Counting<'a>(&'a [u8], Cell<usize>);
    impl Source for Counting<'_> {
        fn len(&self) -> u64 {
            Source::len(self.0)
        }
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadFailed> {
            self.1.set(self.1.get() + buf.len());
            self.0.read_at(offset, buf)
        }
    }
    let mut segment = Builder::new();
    segment.push(1, 0, &vec![b'y'; 3 * WINDOW_BYTES]);
    let source = Counting(&segment.bytes, Cell::new(0));
    open(&source).unwrap();
    assert!(source.1.get() <= 16 << 10, "{} bytes", source.1.get());
}

#[test]
fn a_disk_that_does_not_answer_is_no_verdict() {
    struct Failing;
    impl Source for Failing {
        fn len(&self) -> u64 {
            1 << 20
        }
        fn read_at(&self, offset: u64, _: &mut [u8]) -> Result<(), ReadFailed> {
            Err(ReadFailed {
                offset,
                reason: "I/O error".into(),
            })
        }
    }
    let failed = ReadFailed {
        offset: 0,
        reason: "I/O error".into(),
    };
    assert_eq!(open(&Failing).unwrap_err(), OpenError::Read(failed.clone()));
    assert_eq!(
        scan(&Failing, &ScanStart::default(), |_, _| {}).unwrap_err(),
        failed
    );
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

#[test]
fn an_id_is_not_part_of_the_walk() {
    // The scrubber checks ids; recovery must not pay for it. A wrong id with a right CRC walks.
    let mut bytes = Vec::new();
    head(Seq(1)).encode(&mut bytes);
    let facts = Facts::default();
    let proof = Proof::Salted {
        salt: [0; 32],
        id: Hash([0; 32]),
    };
    let (seq, time, epoch) = (Seq(1), Micros(1000), Epoch(1));
    let frame = Frame {
        seq,
        time,
        epoch,
        distance: 1,
        rest: 0,
        facts: &facts,
        lines: b"",
        proof,
        body: b"",
    };
    encode(&frame, &mut bytes);
    assert_eq!(scan_bytes(&bytes, Seq(1)).0.end, End::Clean);
}
