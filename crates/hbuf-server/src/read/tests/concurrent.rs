use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hbuf_core::ids::Seq;

use super::super::testing::{Writer, check_records};
use super::super::{ReadError, Readable};

/// Draws that follow from a seed, enough for a test's choices.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn readers_see_the_model_while_a_writer_rolls_and_drops() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let writer = Writer::new(|seq| (seq * 7 % 3000) as usize);
    let (buffer, done) = (Arc::clone(&writer.buffer), Arc::new(AtomicBool::new(false)));
    let mut readers: Vec<_> = (1..=6)
        .map(|seed| {
            runtime.spawn(jump(
                Arc::clone(&buffer),
                Arc::clone(&done),
                Draws(seed * 77),
            ))
        })
        .collect();
    readers.extend((0..4).map(|_| runtime.spawn(follow(Arc::clone(&buffer), LAST))));
    readers.push(runtime.spawn(catch_up(Arc::clone(&buffer), LAST)));
    let _directory = write(writer, LAST);
    done.store(true, Ordering::Relaxed);
    runtime.block_on(async {
        for reader in readers {
            assert!(reader.await.unwrap() > 0, "every reader read something");
        }
    });
}

/// Appends batches, rolls now and then, keeps the last three segments or so.
fn write(mut writer: Writer, last: u64) -> tempfile::TempDir {
    let mut draws = Draws(5);
    while (writer.ids.len() as u64) < last {
        let left = last - writer.ids.len() as u64;
        writer.frame((1 + draws.below(20)).min(left));
        match draws.below(8) {
            0 => {
                let sealed = *writer.segments.last().unwrap();
                writer.commit();
                writer.roll();
                writer.frame(1.min(last - writer.ids.len() as u64));
                writer.commit();
                writer.buffer.sealed(sealed.first, sealed.bytes);
            }
            1 => {} // Committed together with what comes next.
            _ => writer.commit(),
        }
        if writer.segments.len() > 4 {
            writer.drop_oldest();
        }
    }
    writer.commit();
    writer.dir
}

/// Reads ranges anywhere.
async fn jump(buffer: Arc<Readable>, done: Arc<AtomicBool>, mut draws: Draws) -> u64 {
    let mut read = 0;
    loop {
        let ending = done.load(Ordering::Relaxed);
        let (first, commit) = (buffer.first().0, buffer.commit().0);
        let after = first - 1 + draws.below(commit.saturating_sub(first) + 2);
        let outcome = buffer.read(Seq(after), 1 + draws.below(50), 40_000).await;
        match outcome {
            Ok(records) => {
                check_records(&records.bytes, after + 1, records.last.0);
                read += records.count;
            }
            Err(ReadError::BeforeFirst { first }) => assert!(first.0 > after + 1),
            Err(error) => panic!("after {after}: {error}"),
        }
        if ending && read > 0 {
            return read;
        }
    }
}

/// Tails: misses nothing but what retention took.
async fn follow(buffer: Arc<Readable>, last: u64) -> u64 {
    let tailing = buffer.tailing();
    let (mut after, mut read) = (0, 0);
    while after < last {
        buffer.committed_past(Seq(after)).await.unwrap();
        match buffer.read(Seq(after), 100, 1 << 20).await {
            Ok(records) => {
                check_records(&records.bytes, after + 1, records.last.0);
                assert!(records.count > 0);
                after = records.last.0;
                read += records.count;
            }
            Err(ReadError::BeforeFirst { first }) => after = first.0 - 1,
            Err(error) => panic!("after {after}: {error}"),
        }
    }
    drop(tailing);
    read
}

/// Streams again and again from the first message that is left.
async fn catch_up(buffer: Arc<Readable>, last: u64) -> u64 {
    let (mut after, mut read) = (0, 0);
    while after < last {
        after = after.max(buffer.first().0 - 1);
        buffer.committed_past(Seq(after)).await.unwrap();
        let mut pieces = buffer.stream(Seq(after), Seq(last));
        let (mut bytes, mut through) = (Vec::new(), after);
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok(piece) => {
                    if piece.whole > 0 {
                        bytes.extend_from_slice(&piece.bytes[..piece.whole]);
                        check_records(&bytes, through + 1, piece.last.0);
                        bytes.clear();
                        through = piece.last.0;
                    }
                    bytes.extend_from_slice(&piece.bytes[piece.whole..]);
                }
                Err(ReadError::BeforeFirst { .. }) => break,
                Err(error) => panic!("after {after}: {error}"),
            }
        }
        read += through - after;
        after = through;
    }
    read
}

const LAST: u64 = 12_000;
