use std::fs;

use hbuf_core::record::{LINE_LEN, Line, decode, erase};

use super::*;
use crate::offline::fixture::{Fixture, age, record};

fn verify(fixture: &Fixture) -> Check {
    let mut checks = verify_path(fixture.path(), None).unwrap();
    checks.pop().unwrap().1
}

fn places(check: &Check) -> Vec<(&'static str, u64, u64)> {
    check
        .damage
        .iter()
        .map(|d| (d.kind.as_str(), d.seq.0, d.last.0))
        .collect()
}

/// Where each record of a segment stands, the head first.
fn spans(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut spans = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let line = Line::parse(&bytes[at..]).unwrap();
        let end = at + usize::try_from(line.record_len()).unwrap();
        spans.push(at..end);
        at = end;
    }
    spans
}

fn write(fixture: &Fixture, first: u64, bytes: &[u8]) {
    let path = fixture.segment(first);
    fs::write(&path, bytes).unwrap();
    age(&path);
}

#[test]
fn what_was_appended_is_intact() {
    let fixture = Fixture::five();
    let check = verify(&fixture);
    assert_eq!(places(&check), []);
    assert_eq!(
        (check.intact, check.last, check.unproven()),
        (5, Some(Seq(5)), false)
    );
    assert_eq!(check.tree().unwrap().size(), 5);
}

#[test]
fn every_flipped_byte_is_reported_at_its_seq_or_in_its_segments_head() {
    let fixture = Fixture::five();
    for (first, mask) in [
        (1, 0x01),
        (1, 0x20),
        (1, 0x80),
        (4, 0x01),
        (4, 0x20),
        (4, 0xff),
    ] {
        let good = fs::read(fixture.segment(first)).unwrap();
        for (index, span) in spans(&good).into_iter().enumerate() {
            for place in span {
                let mut bad = good.clone();
                bad[place] ^= mask;
                write(&fixture, first, &bad);
                let check = verify(&fixture);
                let expected = match index as u64 {
                    0 => ("unreadable", first, first),
                    nth => ("damaged", first + nth - 1, first + nth - 1),
                };
                assert_eq!(
                    places(&check),
                    [expected],
                    "segment {first}, byte {place} ^ {mask:#x}"
                );
            }
        }
        write(&fixture, first, &good);
    }
}

#[test]
fn without_a_mark_a_flip_in_the_last_record_is_a_torn_end_at_its_seq() {
    let fixture = Fixture::five();
    fs::remove_file(fixture.path().join("mark")).unwrap();
    let good = fs::read(fixture.segment(4)).unwrap();
    for place in spans(&good).pop().unwrap() {
        let mut bad = good.clone();
        bad[place] ^= 1;
        write(&fixture, 4, &bad);
        assert_eq!(places(&verify(&fixture)), [("torn", 5, 5)], "byte {place}");
    }
}

#[test]
fn a_single_file_is_verified_by_itself() {
    let fixture = Fixture::five();
    let mut checks = verify_path(&fixture.segment(4), None).unwrap();
    let check = checks.pop().unwrap().1;
    assert_eq!(
        (places(&check).len(), check.intact, check.first),
        (0, 2, Some(Seq(4)))
    );
}

#[test]
fn several_damaged_places_are_all_reported() {
    let fixture = Fixture::five();
    for (first, nth) in [(1, 1), (1, 3), (4, 2)] {
        let mut bytes = fs::read(fixture.segment(first)).unwrap();
        let end = spans(&bytes)[nth].end;
        bytes[end - 1] ^= 1;
        write(&fixture, first, &bytes);
    }
    let expected = [("damaged", 1, 1), ("damaged", 3, 3), ("damaged", 5, 5)];
    assert_eq!(places(&verify(&fixture)), expected);
}

#[test]
fn a_forged_record_whose_checksum_and_id_are_right_breaks_the_root_of_the_next_head() {
    let fixture = Fixture::five();
    let mut bytes = fs::read(fixture.segment(1)).unwrap();
    let span = spans(&bytes)[1].clone();
    let lines = b"x-hbuf-key: alpha\r\nx-hbuf-tag: web7, eu\r\n";
    let forged = record(Seq(1), lines, b"FIRST line\nsecond line\n");
    bytes.splice(span, forged);
    write(&fixture, 1, &bytes);
    assert_eq!(places(&verify(&fixture)), [("tampered", 1, 3)]);
}

#[test]
fn content_that_does_not_give_its_id_is_tampered_though_the_checksum_is_right() {
    let fixture = Fixture::five();
    let mut bytes = fs::read(fixture.segment(1)).unwrap();
    let span = spans(&bytes)[1].clone();
    let old = decode(&bytes[span.clone()]).unwrap();
    let (id, lines) = (old.id().unwrap().to_string(), old.lines.to_vec());
    let forged = record(Seq(1), &lines, b"FIRST line\nsecond line\n");
    let new_id = decode(&forged).unwrap().id().unwrap().to_string();
    // The forger keeps the old id and makes the checksum right again.
    let text = String::from_utf8(forged).unwrap().replace(&new_id, &id);
    bytes.splice(span, with_crc(text.into_bytes()));
    write(&fixture, 1, &bytes);
    let check = verify(&fixture);
    assert_eq!(places(&check), [("tampered", 1, 1)]);
    assert_eq!(check.tree().unwrap().size(), 5);
}

/// Finds the checksum by asking the decoder what it computes.
fn with_crc(mut record: Vec<u8>) -> Vec<u8> {
    use hbuf_core::record::RecordError;
    let Err(RecordError::Crc { claimed, computed }) = decode(&record) else {
        return record;
    };
    let (claimed, computed) = (format!("&c={claimed:08x}"), format!("&c={computed:08x}"));
    let line = std::str::from_utf8(&record[..LINE_LEN])
        .unwrap()
        .replace(&claimed, &computed);
    record[..LINE_LEN].copy_from_slice(line.as_bytes());
    record
}

/// Wipes the first message on disk.
fn wipe_first(fixture: &Fixture) {
    let mut bytes = fs::read(fixture.segment(1)).unwrap();
    let span = spans(&bytes)[1].clone();
    erase(&mut bytes[span]).unwrap();
    write(fixture, 1, &bytes);
}

#[test]
fn an_erased_record_is_told_from_a_damaged_one_and_the_tree_still_holds() {
    let mut fixture = Fixture::five();
    fixture.append_erase(Seq(1)..=Seq(2));
    fixture.mark();
    wipe_first(&fixture);
    let check = verify(&fixture);
    assert_eq!(
        (places(&check).len(), check.intact, check.erased),
        (0, 5, 1)
    );
    assert!(!check.unproven());
    // A file by itself cannot tell: the erase record may stand in another one.
    let check = verify_path(&fixture.segment(1), None).unwrap().remove(0).1;
    assert_eq!(
        (places(&check).len(), check.erased, check.unproven()),
        (0, 1, true)
    );
}

#[test]
fn a_record_that_was_wiped_without_an_erase_record_is_tampered() {
    let mut fixture = Fixture::five();
    fixture.append_erase(Seq(2)..=Seq(5));
    fixture.mark();
    wipe_first(&fixture);
    let check = verify(&fixture);
    assert_eq!(places(&check), [("tampered", 1, 1)]);
    assert_eq!((check.intact, check.erased), (5, 0));
}

#[test]
fn a_segment_that_is_gone_is_missing() {
    let mut fixture = Fixture::five();
    fixture.roll();
    fixture.append("k", "six");
    fixture.mark();
    fs::remove_file(fixture.segment(4)).unwrap();
    let check = verify(&fixture);
    assert_eq!(places(&check), [("missing", 4, 5)]);
    // The head behind the gap says the tree anew.
    assert_eq!(check.tree().unwrap().size(), 6);
}

#[test]
fn records_cut_off_below_the_mark_are_missing() {
    let fixture = Fixture::five();
    let bytes = fs::read(fixture.segment(4)).unwrap();
    write(&fixture, 4, &bytes[..spans(&bytes)[2].start]);
    assert_eq!(places(&verify(&fixture)), [("missing", 5, 5)]);
}

#[test]
fn two_records_exchanged_are_found() {
    let fixture = Fixture::five();
    let bytes = fs::read(fixture.segment(4)).unwrap();
    let spans = spans(&bytes);
    let order = [0, 2, 1].map(|index: usize| &bytes[spans[index].clone()]);
    write(&fixture, 4, &order.concat());
    let check = verify(&fixture);
    assert!(
        !check.damage.is_empty() && check.damage[0].seq == Seq(4),
        "{:?}",
        check.damage
    );
}

#[test]
fn a_checkpoint_from_earlier_finds_a_log_that_was_cut_and_one_that_was_rewritten() {
    let fixture = Fixture::five();
    let root = verify(&fixture).tree().unwrap().root();
    let kept = Checkpoint {
        origin: "hbuf/x".into(),
        size: 5,
        root,
    };
    let check = |kept: &Checkpoint| verify_path(fixture.path(), Some(kept)).unwrap().remove(0).1;
    assert_eq!(places(&check(&kept)), []);
    let longer = Checkpoint {
        size: 7,
        ..kept.clone()
    };
    assert_eq!(places(&check(&longer)), [("missing", 6, 7)]);
    let other = Checkpoint {
        root: hbuf_core::ids::Hash([1; 32]),
        ..kept
    };
    assert_eq!(places(&check(&other)), [("tampered", 1, 5)]);
}

#[test]
fn a_log_whose_first_segments_were_dropped_is_intact() {
    let fixture = Fixture::five();
    fs::remove_file(fixture.segment(1)).unwrap();
    let check = verify(&fixture);
    assert_eq!(
        (places(&check).len(), check.first, check.intact),
        (0, Some(Seq(4)), 2)
    );
    assert_eq!(check.tree().unwrap().size(), 5);
}

#[test]
fn a_damaged_mark_is_reported_and_an_empty_buffer_is_intact() {
    let fixture = Fixture::five();
    let path = fixture.path().join("mark");
    let mut mark = fs::read(&path).unwrap();
    mark[200] ^= 1;
    fs::write(&path, mark).unwrap();
    assert_eq!(verify(&fixture).damage[0].kind, Kind::Mark);
    let check = verify(&Fixture::new());
    assert_eq!((places(&check).len(), check.intact), (0, 0));
}

#[test]
fn a_newer_format_is_refused_and_called_neither_good_nor_damaged() {
    let fixture = Fixture::five();
    let bytes = fs::read(fixture.segment(4)).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let newer = text.replacen("x-hbuf-format: 1\r\n", "x-hbuf-format: 2\r\n", 1);
    assert_ne!(text, newer);
    write(&fixture, 4, newer.as_bytes());
    let error = verify_path(fixture.path(), None).unwrap_err();
    assert!(format!("{error:#}").contains("newer"), "{error:#}");
}

#[test]
fn a_buffers_segment_cannot_pass_for_a_log_without_a_tree() {
    use hbuf_core::segment::{LogKind, SegmentHead};
    let fixture = Fixture::five();
    let bytes = fs::read(fixture.segment(4)).unwrap();
    let span = spans(&bytes)[0].clone();
    let head = SegmentHead::decode(&bytes[span.clone()]).unwrap();
    let frontier = Frontier::new();
    let forged = SegmentHead {
        kind: LogKind::Manager,
        frontier,
        ..head
    };
    let mut out = Vec::new();
    forged.encode(&mut out);
    out.extend_from_slice(&bytes[span.end..]);
    write(&fixture, 4, &out);
    let check = verify(&fixture);
    assert_eq!(places(&check)[0], ("tampered", 4, 4));
    assert!(check.damage[0].reason.contains("another kind"));
}
