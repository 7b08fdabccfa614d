use hbuf_core::ids::{Micros, Seq};
use hbuf_core::limits::PIECE_BYTES;

use super::super::testing::{WRITE_PLAIN, Writer, check_records, time};
use super::super::{ReadError, Readable, derived_files};
use super::{check_range, collect, run, writer_of_three_segments};

#[test]
fn every_range_is_read_over_segments_and_after_a_restart() {
    let writer = writer_of_three_segments();
    run(async {
        for buffer in [&writer.buffer, &writer.reopened()] {
            for (after, through) in [
                (0, 1000),
                (0, 1),
                (1, 2),
                (399, 400),
                (399, 401),
                (400, 401),
                (123, 456),
                (650, 1000),
                (700, 701),
                (701, 702),
                (999, 1000),
            ] {
                check_range(buffer, after, through).await;
            }
        }
    });
}

#[test]
fn a_read_ends_at_its_limit_at_its_bytes_and_at_the_commit() {
    let mut writer = Writer::new(|_| 1000);
    writer.append(10);
    let len = (writer.offset(2) - writer.offset(1)) as usize;
    run(async {
        let last = async |after, limit, max| {
            let records = writer.buffer.read(Seq(after), limit, max).await.unwrap();
            check_records(&records.bytes, after + 1, records.last.0);
            records.last.0
        };
        assert_eq!(last(0, 4, usize::MAX).await, 4);
        assert_eq!(last(0, 0, usize::MAX).await, 0);
        assert_eq!(last(0, 99, 3 * len).await, 3);
        assert_eq!(last(0, 99, 3 * len + len - 1).await, 3);
        assert_eq!(last(3, 99, 1).await, 4);
        assert_eq!(last(3, 99, 0).await, 4);
        assert_eq!(last(0, u64::MAX, usize::MAX).await, 10);
        assert_eq!(last(10, 5, usize::MAX).await, 10);
        assert_eq!(last(77, 5, usize::MAX).await, 77);
    });
    writer.frame(5);
    run(async {
        check_range(&writer.buffer, 5, 10).await;
        let beyond = writer.buffer.read(Seq(10), 9, 9).await.unwrap();
        assert_eq!((beyond.count, beyond.last), (0, Seq(10)));
        let all = collect(writer.buffer.stream(Seq(5), Seq(15)))
            .await
            .unwrap();
        check_records(&all, 6, 10);
    });
    writer.commit();
    run(check_range(&writer.buffer, 5, 15));
}

#[test]
fn records_longer_than_a_piece_are_read_whole_and_streamed_in_parts() {
    let mut writer = Writer::new(|seq| match seq {
        3 | 7 => 3 * PIECE_BYTES + 17,
        5 => PIECE_BYTES - 400,
        _ => 40_000,
    });
    writer.append(9);
    run(check_range(&writer.buffer, 0, 9));
    writer.append(4);
    writer.roll_and_seal();
    run(async {
        for buffer in [&writer.buffer, &writer.reopened()] {
            for after in 0..12 {
                check_range(buffer, after, 13).await;
            }
            let mut pieces = buffer.stream(Seq(2), Seq(3));
            let first = pieces.next().await.unwrap().unwrap();
            assert_eq!(
                (first.bytes.len(), first.whole, first.last),
                (PIECE_BYTES, 0, Seq(2))
            );
            let one = buffer.read(Seq(2), 5, 1000).await.unwrap();
            check_records(&one.bytes, 3, 3);
        }
    });
}

#[test]
fn what_retention_dropped_is_said_to_be_gone() {
    let mut writer = writer_of_three_segments();
    run(check_range(&writer.buffer, 0, 1000));
    let mut under_way = writer.buffer.stream(Seq(0), Seq(1000));
    run(async { check_records(&under_way.next().await.unwrap().unwrap().bytes[..0], 1, 0) });
    writer.drop_oldest();
    run(async {
        for buffer in [&writer.buffer, &writer.reopened()] {
            assert_eq!(buffer.first(), Seq(401));
            let error = buffer.read(Seq(399), 9, 9).await.unwrap_err();
            assert!(
                matches!(error, ReadError::BeforeFirst { first: Seq(401) }),
                "{error}"
            );
            let error = collect(buffer.stream(Seq(0), Seq(1000))).await.unwrap_err();
            assert!(
                matches!(error, ReadError::BeforeFirst { first: Seq(401) }),
                "{error}"
            );
            check_range(buffer, 400, 1000).await;
        }
    });
    assert_eq!(
        ReadError::BeforeFirst { first: Seq(401) }.to_string(),
        "messages below 401 were dropped by retention: read from after=400"
    );
}

#[test]
fn a_buffer_that_retention_emptied_says_where_it_goes_on() {
    let mut writer = Writer::new(WRITE_PLAIN);
    writer.append(5);
    writer.roll_and_seal();
    writer.drop_oldest();
    run(async {
        let error = writer.buffer.read(Seq(2), 9, 9).await.unwrap_err();
        assert!(
            matches!(error, ReadError::BeforeFirst { first: Seq(6) }),
            "{error}"
        );
        assert_eq!(writer.buffer.read(Seq(5), 9, 9).await.unwrap().count, 0);
        assert_eq!(
            writer.buffer.seq_at_time(Micros::MAX).await.unwrap(),
            Seq(5)
        );
    });
}

#[test]
fn a_time_gives_the_last_seq_before_it() {
    let mut writer = writer_of_three_segments();
    let check = async |buffer: &std::sync::Arc<Readable>, first: u64| {
        for at in [
            0, 999, 1000, 1001, 1050, 1133, 1134, 1200, 1234, 1300, 1333, 1334, 9999,
        ] {
            let older = (first..=1000)
                .take_while(|seq| time(*seq) < Micros(at))
                .count() as u64;
            let after = buffer.seq_at_time(Micros(at)).await.unwrap();
            assert_eq!(after, Seq(first - 1 + older), "at {at}");
        }
    };
    run(async {
        check(&writer.buffer, 1).await;
        check(&writer.reopened(), 1).await;
    });
    writer.drop_oldest();
    run(async {
        check(&writer.buffer, 401).await;
        check(&writer.reopened(), 401).await;
    });
    let empty = Writer::new(WRITE_PLAIN);
    run(async { assert_eq!(empty.buffer.seq_at_time(Micros(5)).await.unwrap(), Seq(0)) });
}

#[test]
fn indexes_are_written_when_a_segment_is_sealed_and_made_again_when_bad() {
    let writer = writer_of_three_segments();
    let index = |first| writer.dir.path().join(&derived_files(Seq(first))[0]);
    let good = std::fs::read(index(1)).unwrap();
    assert!(index(401).exists() && !index(702).exists());
    run(async {
        for bad in [vec![], good[..30].to_vec(), vec![7; good.len()], {
            let mut flipped = good.clone();
            flipped[70] ^= 1;
            flipped
        }] {
            std::fs::write(index(1), bad).unwrap();
            check_range(&writer.reopened(), 250, 450).await;
        }
        std::fs::copy(index(401), index(1)).unwrap();
        check_range(&writer.reopened(), 250, 450).await;
        std::fs::remove_file(index(1)).unwrap();
        let buffer = writer.reopened();
        check_range(&buffer, 250, 450).await;
        let segment = writer.segments[0];
        buffer.sealed(segment.first, segment.bytes);
        assert_eq!(std::fs::read(index(1)).unwrap(), good);
    });
}

#[test]
fn an_index_that_cannot_be_written_costs_nothing_but_time() {
    let mut writer = Writer::new(WRITE_PLAIN);
    writer.append(300);
    // A directory in the way of the name that the index is written under.
    let name = format!("{}.tmp", derived_files(Seq(1))[0]);
    std::fs::create_dir(writer.dir.path().join(name)).unwrap();
    writer.roll_and_seal();
    assert_eq!(writer.buffer.damage(), None);
    run(check_range(&writer.buffer, 7, 300));
}

#[test]
fn a_reader_that_walked_a_sealed_segment_to_its_end_leaves_its_index() {
    let writer = writer_of_three_segments();
    let index = writer.dir.path().join(&derived_files(Seq(1))[0]);
    let good = std::fs::read(&index).unwrap();
    std::fs::remove_file(&index).unwrap();
    let buffer = writer.reopened();
    run(check_range(&buffer, 250, 300));
    assert!(!index.exists());
    run(buffer.seq_at_time(Micros(1_100))).unwrap();
    assert_eq!(std::fs::read(&index).unwrap(), good);
}
