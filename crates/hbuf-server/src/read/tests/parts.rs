//! Streams whose sealed segments leave unread.

use std::os::unix::fs::FileExt;

use hbuf_core::ids::Seq;

use super::super::testing::{Writer, check_records};
use super::super::{Part, Pieces, ReadError};
use super::{run, writer_of_three_segments};

/// Collects a stream; also how many bytes of it were ranges of files.
async fn collect_parts(mut pieces: Pieces, cold: bool) -> Result<(Vec<u8>, usize), ReadError> {
    let (mut all, mut unread) = (Vec::new(), 0);
    loop {
        if cold {
            pieces.cold = 2;
        }
        match pieces.next_part().await.transpose()? {
            None => return Ok((all, unread)),
            Some(Part::Memory(bytes)) => all.extend_from_slice(&bytes),
            Some(Part::File(range)) => {
                let mut bytes = vec![0; range.len];
                range.file.read_exact_at(&mut bytes, range.offset).unwrap();
                all.extend_from_slice(&bytes);
                unread += range.len;
            }
        }
    }
}

fn long_segments() -> Writer {
    let mut writer = Writer::new(|seq| 2_000 + (seq % 900) as usize);
    for _ in 0..2 {
        writer.append(800);
        writer.roll_and_seal();
    }
    writer.append(400);
    writer
}

#[test]
fn parts_are_the_same_bytes_warm_or_cold() {
    let writer = long_segments();
    run(async {
        for cold in [false, true] {
            for (after, through) in [
                (0, 2000),
                (100, 2000),
                (799, 1600),
                (800, 1999),
                (1700, 2000),
            ] {
                let pieces = writer.buffer.stream(Seq(after), Seq(through));
                let (bytes, unread) = collect_parts(pieces, cold).await.unwrap();
                check_records(&bytes, after + 1, through);
                assert_eq!(
                    unread > 1_000_000,
                    !cold && after <= 800,
                    "{after} {through} {cold}"
                );
            }
        }
    });
}

#[test]
fn a_segment_that_is_not_wanted_whole_is_read() {
    let writer = long_segments();
    run(async {
        let pieces = writer.buffer.stream(Seq(800), Seq(1599));
        let (bytes, unread) = collect_parts(pieces, false).await.unwrap();
        check_records(&bytes, 801, 1599);
        assert_eq!(unread, 0);
        // Nor does its end pass for damage, when what is behind it is of no interest.
        let mut pieces = writer.buffer.stream(Seq(800), Seq(1599));
        while let Some(piece) = pieces.next().await {
            piece.unwrap();
            pieces.cold = 0;
        }
        assert_eq!(writer.buffer.damage(), None);
    });
}

#[test]
fn a_stream_that_turns_cold_within_a_segment_goes_on_unread() {
    let writer = long_segments();
    run(async {
        let mut pieces = writer.buffer.stream(Seq(0), Seq(2000));
        let Some(Ok(Part::Memory(first))) = pieces.next_part().await else {
            panic!("the first piece is looked at")
        };
        let Some(Ok(Part::File(range))) = pieces.next_part().await else {
            panic!("then the file's bytes leave unread")
        };
        let mut all = vec![0; range.len];
        range.file.read_exact_at(&mut all, range.offset).unwrap();
        all.splice(0..0, first);
        let (rest, _) = collect_parts(pieces, true).await.unwrap();
        all.extend(rest);
        check_records(&all, 1, 2000);
    });
}

#[test]
fn once_damage_was_met_every_line_is_looked_at() {
    let writer = long_segments();
    writer.flip(Seq(1), writer.offset(700) + 25);
    run(async {
        let buffer = writer.reopened();
        assert!(buffer.read(Seq(650), 100, usize::MAX).await.is_ok());
        assert!(buffer.read(Seq(699), 1, usize::MAX).await.is_err());
        let error = collect_parts(buffer.stream(Seq(0), Seq(2000)), false)
            .await
            .unwrap_err();
        assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
    });
}

#[test]
fn a_sealed_file_that_was_cut_short_ends_in_an_error() {
    let writer = long_segments();
    let path = writer
        .dir
        .path()
        .join(hbuf_core::segment::file_name(Seq(1)));
    let len = std::fs::metadata(&path).unwrap().len();
    std::fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(len - 5)
        .unwrap();
    run(async {
        for cold in [false, true] {
            let pieces = writer.buffer.stream(Seq(0), Seq(2000));
            let error = collect_parts(pieces, cold).await.unwrap_err();
            assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
        }
    });
}

#[test]
fn short_segments_are_read_as_before() {
    let writer = writer_of_three_segments();
    run(async {
        let pieces = writer.buffer.stream(Seq(0), Seq(1000));
        check_records(&collect_parts(pieces, false).await.unwrap().0, 1, 1000);
    });
}
