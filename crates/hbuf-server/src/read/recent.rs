//! The records framed last, kept in memory while someone tails the buffer.
//!
//! Invariant: the chunks continue each other's seqs. Only what is committed may leave; the caller
//! says how far that is.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use hbuf_core::ids::Seq;
use hbuf_core::limits::TAIL_BYTES_MAX;
use hbuf_core::skim::skim;

use super::Records;

#[derive(Debug, Default)]
pub(super) struct Tail {
    chunks: VecDeque<Chunk>,
    bytes: usize,
}

#[derive(Debug)]
struct Chunk {
    first: Seq,
    last: Seq,
    bytes: Bytes,
}

impl Tail {
    /// Takes in whole records, back to back.
    pub(super) fn push(&mut self, first: Seq, last: Seq, bytes: Bytes) {
        // Framed anew: what stood there was never committed.
        while let Some(chunk) = self.chunks.back().filter(|chunk| chunk.last >= first) {
            self.bytes -= chunk.bytes.len();
            self.chunks.pop_back();
        }
        let continues = self
            .chunks
            .back()
            .is_none_or(|chunk| chunk.last.next() == first);
        if !continues || bytes.len() > TAIL_BYTES_MAX {
            self.clear();
        }
        if bytes.len() > TAIL_BYTES_MAX {
            return;
        }
        self.bytes += bytes.len();
        self.chunks.push_back(Chunk { first, last, bytes });
        while self.bytes > TAIL_BYTES_MAX
            && let Some(chunk) = self.chunks.pop_front()
        {
            self.bytes -= chunk.bytes.len();
        }
    }

    pub(super) fn clear(&mut self) {
        self.chunks.clear();
        self.bytes = 0;
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The records behind `after` through `commit`, within the bounds; `None` when the first of
    /// them is not here.
    pub(super) fn read(
        &self,
        after: Seq,
        commit: Seq,
        limit: u64,
        max_bytes: usize,
    ) -> Option<Records> {
        let first = after.next();
        let at = self.chunks.partition_point(|chunk| chunk.last < first);
        if self.chunks.get(at)?.first > first {
            return None;
        }
        let mut records = Records {
            bytes: Bytes::new(),
            first,
            last: after,
            count: 0,
        };
        let mut parts: Vec<Bytes> = Vec::new();
        let mut bytes = 0;
        for chunk in self.chunks.range(at..) {
            let through = commit.min(after.plus(limit));
            let cut = cut(
                chunk,
                records.last.next(),
                through,
                max_bytes - bytes,
                bytes == 0,
            );
            let Some((part, last)) = cut else { break };
            bytes += part.len();
            parts.push(part);
            records.last = last;
            if last < chunk.last || bytes >= max_bytes {
                break;
            }
        }
        records.count = records.last.0 - after.0;
        records.bytes = match parts.len() {
            0 => return None,
            1 => parts.remove(0),
            _ => {
                let mut all = BytesMut::with_capacity(bytes);
                parts.iter().for_each(|part| all.extend_from_slice(part));
                all.freeze()
            }
        };
        Some(records)
    }
}

/// The records of a chunk from `first` through `through`, as many as `room` takes, and one even
/// when it takes none if `at_least_one`; with the last of them.
fn cut(
    chunk: &Chunk,
    first: Seq,
    through: Seq,
    room: usize,
    at_least_one: bool,
) -> Option<(Bytes, Seq)> {
    let (mut seq, mut at) = (chunk.first, 0);
    let mut start = 0;
    while seq <= chunk.last && seq <= through {
        let len = usize::try_from(skim(&chunk.bytes[at..])?.record_len()).ok()?;
        if seq == first {
            start = at;
        }
        let taken = seq > first || (seq == first && !at_least_one);
        if taken && at + len - start > room {
            break;
        }
        at += len;
        seq = seq.next();
    }
    (seq > first).then(|| (chunk.bytes.slice(start..at), seq.prev()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::testing::{self, WRITE_PLAIN};

    fn framed(first: u64, last: u64) -> Bytes {
        testing::records(first, last, WRITE_PLAIN).into()
    }

    fn seqs(tail: &Tail, after: u64, commit: u64, limit: u64, max: usize) -> Option<(u64, u64)> {
        let records = tail.read(Seq(after), Seq(commit), limit, max)?;
        testing::check_records(&records.bytes, records.first.0, records.last.0);
        assert_eq!(records.count, records.last.0 - after);
        Some((records.first.0, records.last.0))
    }

    #[test]
    fn reads_within_commit_limit_and_bytes_over_chunks() {
        let mut tail = Tail::default();
        tail.push(Seq(5), Seq(5), framed(5, 5));
        tail.push(Seq(6), Seq(9), framed(6, 9));
        tail.push(Seq(10), Seq(10), framed(10, 10));
        let len = framed(5, 5).len();
        assert_eq!(seqs(&tail, 3, 10, 99, usize::MAX), None);
        assert_eq!(seqs(&tail, 4, 10, 99, usize::MAX), Some((5, 10)));
        assert_eq!(seqs(&tail, 4, 4, 99, usize::MAX), None);
        assert_eq!(seqs(&tail, 4, 8, 99, usize::MAX), Some((5, 8)));
        assert_eq!(seqs(&tail, 6, 10, 2, usize::MAX), Some((7, 8)));
        assert_eq!(seqs(&tail, 6, 10, 9, 1), Some((7, 7)));
        assert_eq!(seqs(&tail, 4, 10, 9, 3 * len), Some((5, 7)));
        assert_eq!(seqs(&tail, 9, 10, 9, usize::MAX), Some((10, 10)));
        assert_eq!(seqs(&tail, 10, 10, 9, usize::MAX), None);
    }

    #[test]
    fn what_is_framed_anew_replaces_what_was_never_committed() {
        let mut tail = Tail::default();
        tail.push(Seq(5), Seq(8), framed(5, 8));
        tail.push(Seq(9), Seq(12), framed(9, 12));
        tail.push(Seq(9), Seq(9), framed(9, 9));
        assert_eq!(seqs(&tail, 4, 12, 99, usize::MAX), Some((5, 9)));
        tail.push(Seq(20), Seq(20), framed(20, 20));
        assert_eq!(seqs(&tail, 4, 20, 99, usize::MAX), None);
        assert_eq!(seqs(&tail, 19, 20, 99, usize::MAX), Some((20, 20)));
    }

    #[test]
    fn the_oldest_chunks_go_when_the_tail_is_full() {
        let mut tail = Tail::default();
        let long = |first, last| Bytes::from(testing::records(first, last, |_| 200_000));
        let each = long(1, 5).len();
        for at in 0..10 {
            let (first, last) = (at * 5 + 1, (at + 1) * 5);
            tail.push(Seq(first), Seq(last), long(first, last));
        }
        assert!(tail.bytes() <= TAIL_BYTES_MAX && tail.bytes() > TAIL_BYTES_MAX - each);
        assert_eq!(seqs(&tail, 0, 50, 1, 1), None);
        assert_eq!(seqs(&tail, 49, 50, 1, 1), Some((50, 50)));
        tail.push(Seq(51), Seq(51), vec![0; TAIL_BYTES_MAX + 1].into());
        assert_eq!(tail.bytes(), 0, "a batch that is too long is not kept");
    }
}
