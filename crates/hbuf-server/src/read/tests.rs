//! Reading what a writer wrote, against the model that every message follows from its seq.

mod concurrent;
mod damage;
mod engine;
mod parts;
mod picking;
mod proofs;
mod ranges;
mod scrubbing;
mod waiting;

use super::testing::{Writer, check_records};
use super::{Pieces, ReadError, Readable};
use hbuf_core::ids::Seq;
use std::sync::Arc;

/// Runs a test on one runtime thread and as many blocking threads as it takes.
fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test)
}

/// Collects a stream; checks what pieces promise on the way.
async fn collect(mut pieces: Pieces) -> Result<Vec<u8>, ReadError> {
    let (mut all, mut whole) = (Vec::new(), 0);
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        assert!(!piece.bytes.is_empty() && piece.whole <= piece.bytes.len());
        if piece.whole > 0 {
            whole = all.len() + piece.whole;
        }
        all.extend_from_slice(&piece.bytes);
    }
    assert_eq!(whole, all.len(), "a stream ends with a whole record");
    Ok(all)
}

/// Reads `after` through `through` in every way and checks each against the model.
async fn check_range(buffer: &Arc<Readable>, after: u64, through: u64) {
    let streamed = collect(buffer.stream(Seq(after), Seq(through)))
        .await
        .unwrap();
    check_records(&streamed, after + 1, through);
    let records = buffer
        .read(Seq(after), through - after, usize::MAX)
        .await
        .unwrap();
    check_records(&records.bytes, after + 1, through);
    assert_eq!((records.first.0, records.last.0), (after + 1, through));
    assert_eq!(records.count, through - after);
}

fn writer_of_three_segments() -> Writer {
    let mut writer = Writer::new(|seq| (seq % 900) as usize);
    writer.append(400);
    writer.roll_and_seal();
    writer.append(1);
    writer.append(300);
    writer.roll_and_seal();
    writer.append(299);
    writer
}
