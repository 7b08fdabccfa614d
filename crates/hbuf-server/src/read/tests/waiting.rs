use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hbuf_core::ids::Seq;
use hbuf_core::limits::{READ_FILES_MAX, SPARE_PIECES_MAX, TAIL_TOTAL_BYTES_MAX};
use hbuf_core::segment::file_name;

use super::super::shared::{FileKey, FileKind};
use super::super::testing::{WRITE_PLAIN, Writer, check_records};
use super::super::{ReadError, ReadShared, Readable};
use super::run;

#[test]
fn a_waiter_wakes_at_the_commit_and_not_at_the_framing() {
    let mut writer = Writer::new(WRITE_PLAIN);
    writer.append(3);
    run(async {
        writer.buffer.committed_past(Seq(2)).await.unwrap();
        let buffer = Arc::clone(&writer.buffer);
        let waiter = tokio::spawn(async move {
            buffer.committed_past(Seq(3)).await.unwrap();
            buffer.commit()
        });
        tokio::task::yield_now().await;
        writer.frame(2);
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        writer.commit();
        assert_eq!(waiter.await.unwrap(), Seq(5));
    });
}

#[test]
fn ten_thousand_waiters_of_one_buffer_all_wake() {
    let mut writer = Writer::new(WRITE_PLAIN);
    run(async {
        let woken = Arc::new(AtomicU64::new(0));
        let waiters: Vec<_> = (0..10_000)
            .map(|_| {
                let (buffer, woken) = (Arc::clone(&writer.buffer), Arc::clone(&woken));
                tokio::spawn(async move {
                    for after in 0..3 {
                        buffer.committed_past(Seq(after)).await.unwrap();
                    }
                    woken.fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        for _ in 0..3 {
            tokio::task::yield_now().await;
            writer.append(1);
        }
        for waiter in waiters {
            tokio::time::timeout(Duration::from_secs(20), waiter)
                .await
                .unwrap()
                .unwrap();
        }
        assert_eq!(woken.load(Ordering::Relaxed), 10_000);
    });
}

#[test]
fn the_tail_is_read_from_memory_while_someone_tails_and_only_then() {
    let mut writer = Writer::new(WRITE_PLAIN);
    writer.append(3);
    run(async {
        let tailing = writer.buffer.tailing();
        writer.append(2);
        writer.frame(1);
        // Whatever is read now is not read from the file.
        let path = writer.dir.path().join(file_name(Seq(1)));
        let away = writer.dir.path().join("away");
        std::fs::rename(&path, &away).unwrap();
        let records = writer.buffer.read(Seq(3), 99, usize::MAX).await.unwrap();
        check_records(&records.bytes, 4, 5);
        assert!(writer.buffer.read(Seq(2), 99, usize::MAX).await.is_err());
        writer.commit();
        let another = writer.buffer.tailing();
        drop(tailing);
        let records = writer.buffer.read(Seq(4), 99, usize::MAX).await.unwrap();
        check_records(&records.bytes, 5, 6);
        assert!(writer.shared.tail_bytes.load(Ordering::Relaxed) > 0);
        drop(another);
        assert_eq!(writer.shared.tail_bytes.load(Ordering::Relaxed), 0);
        assert!(writer.buffer.read(Seq(4), 99, usize::MAX).await.is_err());
        writer.append(1);
        assert_eq!(writer.shared.tail_bytes.load(Ordering::Relaxed), 0);
        std::fs::rename(&away, &path).unwrap();
        let records = writer.buffer.read(Seq(0), 99, usize::MAX).await.unwrap();
        check_records(&records.bytes, 1, 7);
    });
}

#[test]
fn a_buffer_that_goes_takes_its_caches_with_it() {
    let mut writer = Writer::new(WRITE_PLAIN);
    let _tailing = writer.buffer.tailing();
    writer.append(3);
    let buffer = writer.reopened();
    run(async { buffer.read(Seq(1), 9, 9).await.unwrap() });
    let shared = Arc::clone(&buffer.shared);
    assert_eq!((shared.files().len(), shared.indexes().len()), (1, 1));
    drop(buffer);
    assert_eq!((shared.files().len(), shared.indexes().len()), (0, 0));
}

#[test]
fn an_idle_buffer_is_small() {
    assert!(
        size_of::<Readable>() <= 320,
        "{} bytes",
        size_of::<Readable>()
    );
    assert!(size_of::<ReadShared>() <= 4096);
}

#[test]
fn a_closed_buffer_wakes_who_waits_and_says_so() {
    let mut writer = Writer::new(WRITE_PLAIN);
    writer.append(3);
    run(async {
        let buffer = Arc::clone(&writer.buffer);
        let waiter = tokio::spawn(async move {
            let waited = buffer.committed_past(Seq(3)).await;
            (waited, buffer.read(Seq(3), 9, 9).await)
        });
        tokio::task::yield_now().await;
        writer.buffer.close();
        let (waited, read) = waiter.await.unwrap();
        assert!(matches!(waited, Err(ReadError::Closed)));
        assert!(matches!(read, Err(ReadError::Closed)));
        assert!(matches!(
            writer.buffer.read(Seq(0), 9, 9).await,
            Err(ReadError::Closed)
        ));
        let mut pieces = writer.buffer.stream(Seq(0), Seq(3));
        assert!(matches!(pieces.next().await, Some(Err(ReadError::Closed))));
    });
}

#[test]
fn what_readers_share_stays_within_its_bounds() {
    let mut writer = Writer::new(WRITE_PLAIN);
    writer.append(3);
    let shared = &writer.shared;
    let file = writer.buffer.segment(Seq(1)).unwrap();
    for number in 0..READ_FILES_MAX as u64 + 50 {
        let key = FileKey {
            buffer: 9,
            file: Seq(number),
            kind: FileKind::Segment,
        };
        shared.files().put(key, Arc::clone(&file), 1);
    }
    assert_eq!(shared.files().len(), READ_FILES_MAX);
    let pieces: Vec<_> = (0..SPARE_PIECES_MAX + 9).map(|_| shared.spare()).collect();
    drop(pieces);
    assert_eq!(shared.spares(), SPARE_PIECES_MAX);
}

#[test]
fn a_tail_is_not_kept_when_all_tails_together_are_too_large() {
    let mut writer = Writer::new(WRITE_PLAIN);
    let tailing = writer.buffer.tailing();
    let others = TAIL_TOTAL_BYTES_MAX - 100;
    writer.shared.tail_bytes.store(others, Ordering::Relaxed);
    writer.append(3);
    assert_eq!(writer.shared.tail_bytes.load(Ordering::Relaxed), others);
    let records = run(async { writer.buffer.read(Seq(0), 9, usize::MAX).await.unwrap() });
    check_records(&records.bytes, 1, 3);
    writer.shared.tail_bytes.store(0, Ordering::Relaxed);
    writer.append(1);
    assert!(writer.shared.tail_bytes.load(Ordering::Relaxed) > 0);
    drop(tailing);
    assert_eq!(writer.shared.tail_bytes.load(Ordering::Relaxed), 0);
}
