use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hbuf_core::ids::{Seq, Uuid};
use hbuf_core::limits::PIECE_BYTES;
use hbuf_core::segment::file_name;
use hbuf_core::skim::skim;
use tokio::time::Instant;

use super::super::scrub::{ScrubProgress, ScrubSource, Scrubber};
use super::super::shared::lock;
use super::super::testing::{LOG, Writer, records};
use super::super::{ReadError, ReadShared, Readable};

fn writer() -> Writer {
    let mut writer = Writer::new(|seq| if seq == 70 { 2 * PIECE_BYTES } else { 500 });
    for _ in 0..3 {
        writer.append(100);
        writer.roll_and_seal();
    }
    writer
}

/// Scrubs a buffer once; answers (segments, damaged).
fn scrub(buffer: &Arc<Readable>, bytes_per_second: u64) -> (u64, u64, Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let progress = Arc::new(ScrubProgress::default());
    let took = runtime.block_on(async {
        let started = Instant::now();
        Scrubber::new(bytes_per_second, Arc::clone(&progress))
            .scrub(buffer)
            .await;
        started.elapsed()
    });
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    (read(&progress.segments), read(&progress.damaged), took)
}

#[test]
fn sound_segments_are_checked_at_the_rate_and_nothing_is_said() {
    let writer = writer();
    let bytes: u64 = writer.segments[..3]
        .iter()
        .map(|segment| segment.bytes)
        .sum();
    let (segments, damaged, took) = scrub(&writer.reopened(), bytes / 10);
    assert_eq!((segments, damaged), (3, 0));
    assert!(
        took > Duration::from_secs(9) && took < Duration::from_secs(11),
        "{took:?}"
    );
}

#[test]
fn every_flipped_byte_is_met_and_the_rest_is_checked_on() {
    let writer = writer();
    let place = (writer.offset(150), writer.offset(151));
    let long = writer.offset(71) - 9;
    for (file, at, seq) in (place.0..place.1)
        .step_by(11)
        .map(|at| (101, at, 150))
        .chain([(1, long, 70), (101, 20, 101), (301, 40, 300)])
    {
        writer.flip(Seq(file), at);
        let buffer = writer.reopened();
        let (segments, damaged, _) = scrub(&buffer, u64::MAX);
        assert_eq!(damaged, 1, "byte {at}");
        assert!(segments >= 2, "byte {at}");
        let damage = buffer.damage().unwrap();
        assert!(
            damage.seq == Seq(seq) || damage.seq == Seq(file),
            "byte {at}: {damage:?}"
        );
        writer.flip(Seq(file), at);
    }
    assert_eq!(scrub(&writer.reopened(), u64::MAX).1, 0);
}

#[test]
fn a_segment_of_another_past_is_met_by_the_tree() {
    let (writer, mut other) = (writer(), Writer::new(|_| 500));
    other.append(200);
    other.roll_and_seal();
    // Good records with good ids, of a log that went another way.
    let name = file_name(Seq(101));
    let path = writer.dir.path().join(&name);
    let sound = std::fs::read(&path).unwrap();
    let another = records(101, 200, |seq| 499 + (seq % 3) as usize);
    let head = sound.len() - (writer.segments[1].bytes as usize - head_len(&sound));
    let other = [&sound[..head], &another].concat();
    std::fs::write(&path, &other).unwrap();
    let mut segments = writer.segments.clone();
    segments[1].bytes = other.len() as u64;
    let dir = writer.dir.path().to_owned();
    let shared = ReadShared::new();
    let buffer = Readable::new(&shared, dir, LOG, Seq(1), Seq(300), &segments);
    assert_eq!(scrub(&buffer, u64::MAX).1, 1);
    let what = "the ids of its file do not lead to the tree in the next file's head line";
    assert_eq!(buffer.damage().unwrap().what, what);
}

fn head_len(bytes: &[u8]) -> usize {
    skim(bytes).unwrap().record_len() as usize
}

/// A source of one buffer.
struct One(Arc<Readable>, Mutex<Vec<String>>);

impl ScrubSource for One {
    fn buffers(&self) -> Vec<Uuid> {
        vec![Uuid::default(), Uuid([1; 16])]
    }

    fn buffer(&self, uuid: Uuid) -> Option<Arc<Readable>> {
        (uuid == Uuid::default()).then(|| Arc::clone(&self.0))
    }

    fn damaged(&self, _: Uuid, error: &ReadError) {
        lock(&self.1).push(error.to_string());
    }

    fn is_gone(&self) -> bool {
        false
    }
}

#[test]
fn zeros_that_were_not_cut_off_are_no_damage() {
    let writer = writer();
    let path = writer.dir.path().join(file_name(Seq(101)));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.resize(bytes.len() + 2 * PIECE_BYTES, 0);
    let mut segments = writer.segments.clone();
    segments[1].bytes = bytes.len() as u64;
    let open = || {
        let dir = writer.dir.path().to_owned();
        let shared = ReadShared::new();
        Readable::new(&shared, dir, LOG, Seq(1), Seq(300), &segments)
    };
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(scrub(&open(), u64::MAX).1, 0);
    *bytes.last_mut().unwrap() = 1;
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(scrub(&open(), u64::MAX).1, 1);
}

#[test]
fn a_scrubber_without_a_rate_ends_at_once_and_one_with_a_rate_goes_on() {
    let writer = writer();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let progress = Arc::new(ScrubProgress::default());
    let source = Arc::new(One(Arc::clone(&writer.buffer), Mutex::default()));
    writer.flip(Seq(201), writer.offset(250));
    runtime.block_on(async {
        let run = |rate| Scrubber::new(rate, Arc::clone(&progress)).run(source.clone());
        run(0).await;
        let ended = tokio::time::timeout(Duration::from_secs(9_000), run(1 << 30)).await;
        assert!(ended.is_err());
    });
    let damaged: Vec<String> = lock(&source.1).drain(..).collect();
    let message = "message 250 in file 00000000000000000201.hbuf is damaged: \
        no record starts at offset ";
    assert_eq!(damaged.len(), 3);
    assert!(
        damaged.iter().all(|text| text.starts_with(message)),
        "{damaged:?}"
    );
    assert_eq!(progress.passes.load(Ordering::Relaxed), 3);
    assert_eq!(progress.segments.load(Ordering::Relaxed), 6);
}
