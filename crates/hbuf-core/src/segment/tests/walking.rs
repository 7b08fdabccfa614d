//! What a walk passes, where it stops, and what a file's head says.

use core::cell::Cell;

use super::*;

#[test]
fn good_records_that_do_not_follow_are_stops() {
    let check = |seq, time, epoch, rest, why: &str| {
        let mut segment = Builder::new();
        segment.pushes(1).push(1, 1, b"batch of two");
        record(seq, time, epoch, 2, rest, b"", &mut segment.bytes);
        let end = segment.end();
        let torn = torn_in_batch(2, segment.start(2), 3);
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
