use hbuf_core::ids::Seq;
use hbuf_core::segment::file_name;

use super::super::testing::{Writer, check_records};
use super::super::{Damage, ReadError};
use super::{check_range, collect, run, writer_of_three_segments};

#[test]
fn a_flipped_byte_in_an_open_segment_is_met_at_its_message() {
    let mut writer = Writer::new(|_| 20);
    writer.append(6);
    run(async {
        // Every byte of the line, and some of the rest.
        let (start, end) = (writer.offset(4), writer.offset(5));
        for at in (start..start + 136).chain((start + 136..end).step_by(9)) {
            writer.flip(Seq(1), at);
            let buffer = writer.reopened();
            let error = buffer.read(Seq(3), 9, usize::MAX).await.unwrap_err();
            let ReadError::Damaged { seq, file, .. } = &error else {
                panic!("{error}")
            };
            assert_eq!((*seq, *file), (Seq(4), Seq(1)), "byte {at}: {error}");
            assert_eq!(buffer.damage().map(|damage| damage.seq), Some(Seq(4)));
            // What stands before it is good.
            let before = buffer.read(Seq(0), 9, usize::MAX).await.unwrap();
            check_records(&before.bytes, 1, 3);
            let mut pieces = buffer.stream(Seq(0), Seq(6));
            check_records(&pieces.next().await.unwrap().unwrap().bytes, 1, 3);
            assert!(matches!(
                pieces.next().await,
                Some(Err(ReadError::Damaged { seq: Seq(4), .. }))
            ));
            assert!(pieces.next().await.is_none());
            writer.flip(Seq(1), at);
        }
        check_range(&writer.reopened(), 0, 6).await;
    });
}

#[test]
fn a_single_message_of_a_sealed_segment_is_checked() {
    let writer = writer_of_three_segments();
    writer.flip(Seq(1), writer.offset(51) - 1);
    run(async {
        let error = writer.buffer.read(Seq(49), 1, 9).await.unwrap_err();
        let ReadError::Damaged {
            seq: Seq(50), what, ..
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!(what, "its CRC is another");
        check_range(&writer.buffer, 50, 1000).await;
        let damage = Damage {
            seq: Seq(50),
            file: Seq(1),
            what,
        };
        assert_eq!(writer.buffer.damage(), Some(&damage));
    });
}

#[test]
fn a_head_line_with_another_checksum_is_damage_wherever_a_read_enters_its_file() {
    let writer = writer_of_three_segments();
    let second = writer.segments[1].first;
    for at in [150, 200] {
        for file in [Seq(1), second] {
            writer.flip(file, at);
            run(async {
                let buffer = writer.reopened();
                let error = buffer.read(file.prev(), 9, usize::MAX).await.unwrap_err();
                let text = error.to_string();
                let ReadError::Damaged { seq, .. } = error else {
                    panic!("{text}")
                };
                assert_eq!(seq, file);
                assert!(text.contains("head line: CRC is "), "{text}");
                let error = collect(buffer.stream(Seq(0), Seq(1000))).await.unwrap_err();
                assert!(matches!(error, ReadError::Damaged { seq, .. } if seq == file));
            });
            writer.flip(file, at);
        }
    }
    run(check_range(&writer.reopened(), 0, 1000));
}

#[test]
fn a_damaged_line_of_a_sealed_segment_ends_the_read_before_it() {
    let writer = writer_of_three_segments();
    // The seq, a fixed part, the head's and the body's length: the walk would go astray.
    for byte in [25, 2, 95, 106] {
        let at = writer.offset(300) + byte;
        writer.flip(Seq(1), at);
        run(async {
            let buffer = writer.reopened();
            let records = buffer.read(Seq(200), 500, usize::MAX).await.unwrap();
            check_sound(&records.bytes, 201, records.last.0);
            assert!(records.last <= Seq(300));
            let error = buffer.read(records.last, 9, usize::MAX).await.unwrap_err();
            assert!(
                matches!(error, ReadError::Damaged { .. }),
                "byte {byte}: {error}"
            );
            let error = collect(buffer.stream(Seq(0), Seq(1000))).await.unwrap_err();
            assert!(
                matches!(error, ReadError::Damaged { .. }),
                "byte {byte}: {error}"
            );
            check_range(&buffer, 400, 1000).await;
        });
        writer.flip(Seq(1), at);
    }
    run(check_range(&writer.reopened(), 0, 1000));
}

/// A longer body than there is ends in the middle of the next message, which is then missed: the
/// records before it are sound.
fn check_sound(bytes: &[u8], first: u64, last: u64) {
    match last {
        300 => {
            let mut at = 0;
            for _ in first..300 {
                at += hbuf_core::skim::skim(&bytes[at..]).unwrap().record_len() as usize;
            }
            check_records(&bytes[..at], first, 299);
        }
        last => check_records(bytes, first, last),
    }
}

#[test]
fn a_file_that_is_cut_short_or_missing_is_damage_and_not_an_end() {
    let writer = writer_of_three_segments();
    let path = writer.dir.path().join(file_name(Seq(401)));
    let bytes = std::fs::read(&path).unwrap();
    run(async {
        for len in [bytes.len() - 1, writer.offset(500) as usize + 20, 700, 3, 0] {
            std::fs::write(&path, &bytes[..len]).unwrap();
            let buffer = writer.reopened();
            let error = collect(buffer.stream(Seq(0), Seq(1000))).await.unwrap_err();
            assert!(
                matches!(error, ReadError::Damaged { file: Seq(401), .. }),
                "{len}: {error}"
            );
            check_range(&buffer, 0, 400).await;
            check_range(&buffer, 701, 1000).await;
        }
        std::fs::remove_file(&path).unwrap();
        let error = writer.reopened().read(Seq(500), 1, 9).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "message 401 in file 00000000000000000401.hbuf is damaged: \
            the file is missing from the buffer's directory"
        );
        std::fs::create_dir(&path).unwrap();
        let error = writer.reopened().read(Seq(500), 1, 9).await.unwrap_err();
        assert!(
            matches!(error, ReadError::Io { file: Seq(401), .. }),
            "{error}"
        );
    });
}
