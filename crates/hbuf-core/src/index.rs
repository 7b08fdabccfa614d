//! The sparse index of one segment: where to start walking for a seq or a time.
//!
//! Derived and replaceable: it can always be made again from the segment, so it is checked when it
//! is read and never repaired. One point stands for each [`INDEX_STRIDE_BYTES`] of records.
//!
//! ```text
//! "hbuf-idx"  8      version  4 = 1   crc  4    CRC32C of everything else
//! log uuid   16      first    8       next 8    first seq of the segment, seq behind its last
//! start       8      end      8                 offset of the first record, offset behind the last
//! points: ahead 4, offset 4, time 8             seq − first, where it starts, its time
//! ```
//!
//! All numbers are little-endian; points go on to the end of the file.

use alloc::vec::Vec;

use crate::ids::{Micros, Seq, Uuid};
use crate::limits::{BATCH_BYTES_MAX, SEGMENT_BYTES_MAX};

/// Bytes of records between two points, or one record when it is longer.
pub const INDEX_STRIDE_BYTES: u64 = 16 << 10;

/// The version of the index file that this code writes and reads.
pub const INDEX_FORMAT: u32 = 1;

/// A record of which the index knows where it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The record's number.
    pub seq: Seq,
    /// Where it starts in the file.
    pub offset: u64,
}

/// The index of one segment, from its first record to where the walk has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SegmentIndex {
    first: Seq,
    start: u64,
    next: Seq,
    end: u64,
    last_time: Micros,
    points: Vec<Point>,
}

/// Why bytes are no index of a segment. The index is then made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum IndexError {
    /// Not the start of an index file, or cut off.
    #[error("not an index file, or cut off")]
    Form,
    /// Another version.
    #[error("index version {found}, this hbuf reads {INDEX_FORMAT}")]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// The checksum is another.
    #[error("the checksum of the index is wrong")]
    Crc,
    /// The index of another log.
    #[error("the index is of another log")]
    Log,
    /// Seqs, offsets or times that do not rise.
    #[error("the points of the index are not in order")]
    Order,
}

/// A record met by a walk that cannot stand where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PushError {
    /// Its time is before that of the record before it.
    #[error("a time before that of the message before it")]
    Time,
    /// It ends beyond what any segment holds.
    #[error("a record that ends beyond the longest segment")]
    Length,
}

impl SegmentIndex {
    /// The index of the segment of `first` whose first record stands at `start`.
    #[must_use]
    pub const fn new(first: Seq, start: u64) -> Self {
        Self {
            first,
            start,
            next: first,
            end: start,
            last_time: Micros(0),
            points: Vec::new(),
        }
    }

    /// First seq of the segment.
    #[must_use]
    pub const fn first(&self) -> Seq {
        self.first
    }

    /// The place behind everything that the index covers.
    #[must_use]
    pub const fn end(&self) -> Place {
        Place {
            seq: self.next,
            offset: self.end,
        }
    }

    /// Takes in the record that starts at [`SegmentIndex::end`]; `time` is read only where a point
    /// is due.
    pub fn push<E: From<PushError>>(
        &mut self,
        record_len: u64,
        time: impl FnOnce() -> Result<Micros, E>,
    ) -> Result<(), E> {
        let due = match self.points.last() {
            Some(point) => self.end - u64::from(point.offset) >= INDEX_STRIDE_BYTES,
            None => true,
        };
        let offset = u32::try_from(self.end).map_err(|_| PushError::Length)?;
        let end = self.end.checked_add(record_len).ok_or(PushError::Length)?;
        if u32::try_from(end).is_err() {
            return Err(PushError::Length.into());
        }
        if due {
            let time = time()?;
            if time < self.last_time {
                return Err(PushError::Time.into());
            }
            let ahead = u32::try_from(self.next.0 - self.first.0);
            let ahead = ahead.expect("a record is longer than a byte, and offsets fit 32 bits");
            self.points.push(Point {
                ahead,
                offset,
                time,
            });
            self.last_time = time;
        }
        self.next = self.next.next();
        self.end = end;
        Ok(())
    }

    /// The last known place at or before `seq`: the walk to `seq` starts there.
    #[must_use]
    pub fn at_or_before(&self, seq: Seq) -> Place {
        if seq >= self.next {
            return self.end();
        }
        let behind = self.points.partition_point(|point| self.seq(point) <= seq);
        self.place(behind)
    }

    /// The last known place whose record is older than `time`, or the segment's start.
    #[must_use]
    pub fn before(&self, time: Micros) -> Place {
        self.place(self.points.partition_point(|point| point.time < time))
    }

    /// Bytes of memory that the points take.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.points.capacity() * size_of::<Point>()
    }

    /// Gives back what the points were allotted and do not use.
    pub fn shrink(&mut self) {
        self.points.shrink_to_fit();
    }

    /// The index file of this index.
    #[must_use]
    pub fn encode(&self, log: Uuid) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_LEN + self.points.len() * POINT_LEN);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&INDEX_FORMAT.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&log.0);
        for number in [self.first.0, self.next.0, self.start, self.end] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for point in &self.points {
            out.extend_from_slice(&point.ahead.to_le_bytes());
            out.extend_from_slice(&point.offset.to_le_bytes());
            out.extend_from_slice(&point.time.0.to_le_bytes());
        }
        let crc = crc(&out);
        out[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads an index file of this log.
    pub fn decode(bytes: &[u8], log: Uuid) -> Result<Self, IndexError> {
        if bytes.len() < HEAD_LEN || !bytes.starts_with(MAGIC) {
            return Err(IndexError::Form);
        }
        let found = read_u32(bytes, 8);
        if found != INDEX_FORMAT {
            return Err(IndexError::Version { found });
        }
        if crc(bytes) != read_u32(bytes, CRC_AT) {
            return Err(IndexError::Crc);
        }
        if bytes[16..32] != log.0 {
            return Err(IndexError::Log);
        }
        let (points, rest) = bytes[HEAD_LEN..].as_chunks::<POINT_LEN>();
        if !rest.is_empty() {
            return Err(IndexError::Form);
        }
        let points: Vec<_> = points
            .iter()
            .map(|bytes| Point {
                ahead: read_u32(bytes, 0),
                offset: read_u32(bytes, 4),
                time: Micros(read_u64(bytes, 8)),
            })
            .collect();
        let index = Self {
            first: Seq(read_u64(bytes, 32)),
            next: Seq(read_u64(bytes, 40)),
            start: read_u64(bytes, 48),
            end: read_u64(bytes, 56),
            last_time: points.last().map_or(Micros(0), |point| point.time),
            points,
        };
        if index.is_in_order() {
            Ok(index)
        } else {
            Err(IndexError::Order)
        }
    }

    fn is_in_order(&self) -> bool {
        let rising = self.points.windows(2).all(|two| {
            two[0].ahead < two[1].ahead
                && two[0].offset < two[1].offset
                && two[0].time <= two[1].time
        });
        let count = self.next.0.checked_sub(self.first.0);
        let (first, last) = (self.points.first(), self.points.last());
        let starts =
            first.is_none_or(|point| point.ahead == 0 && u64::from(point.offset) == self.start);
        let ends = last.is_none_or(|point| {
            u64::from(point.offset) < self.end && Some(u64::from(point.ahead)) < count
        });
        let empty = self.points.is_empty();
        rising
            && starts
            && ends
            && empty == (count == Some(0))
            && empty == (self.start == self.end)
            && self.end <= u64::from(u32::MAX)
    }

    fn seq(&self, point: &Point) -> Seq {
        self.first.plus(point.ahead.into())
    }

    /// The place of the point before index `behind`; the segment's start for 0.
    fn place(&self, behind: usize) -> Place {
        match behind.checked_sub(1).map(|at| &self.points[at]) {
            Some(point) => Place {
                seq: self.seq(point),
                offset: point.offset.into(),
            },
            None => Place {
                seq: self.first,
                offset: self.start,
            },
        }
    }
}

/// 16 bytes for 16 KiB of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Point {
    ahead: u32,
    offset: u32,
    time: Micros,
}

fn crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..CRC_AT]), &bytes[CRC_AT + 4..])
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    let digits = bytes[at..].first_chunk().expect("the length was checked");
    u32::from_le_bytes(*digits)
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    let digits = bytes[at..].first_chunk().expect("the length was checked");
    u64::from_le_bytes(*digits)
}

const MAGIC: &[u8; 8] = b"hbuf-idx";
const CRC_AT: usize = 12;
const HEAD_LEN: usize = 64;
const POINT_LEN: usize = 16;

// A segment rolls before it reaches its bound; the batch that crosses it may be framed at twice its
// size.
const _: () = assert!(SEGMENT_BYTES_MAX + 2 * BATCH_BYTES_MAX < u32::MAX as u64);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn index(lengths: &[u32], times: &[u64]) -> SegmentIndex {
        let mut index = SegmentIndex::new(Seq(100), 700);
        for (length, time) in lengths.iter().zip(times) {
            let time = Ok::<_, PushError>(Micros(*time));
            index.push(u64::from(*length), || time).unwrap();
        }
        index
    }

    #[test]
    fn a_point_stands_for_each_stride() {
        let index = index(&[1000; 100], &[5; 100]);
        assert_eq!(index.points.len(), 6);
        assert_eq!(
            index.at_or_before(Seq(99)),
            Place {
                seq: Seq(100),
                offset: 700
            }
        );
        assert_eq!(
            index.at_or_before(Seq(116)),
            Place {
                seq: Seq(100),
                offset: 700
            }
        );
        assert_eq!(
            index.at_or_before(Seq(117)),
            Place {
                seq: Seq(117),
                offset: 17_700
            }
        );
        assert_eq!(index.at_or_before(Seq(199)).seq, Seq(185));
        assert_eq!(
            index.at_or_before(Seq(200)),
            Place {
                seq: Seq(200),
                offset: 100_700
            }
        );
        assert_eq!(index.at_or_before(Seq(999)), index.end());
    }

    #[test]
    fn a_time_that_falls_and_a_length_beyond_any_segment_are_refused() {
        let mut index = index(&[20_000, 20_000], &[5, 6]);
        let early = index.push(5, || Ok::<_, PushError>(Micros(5)));
        assert_eq!(early, Err(PushError::Time));
        let long = index.push(u64::from(u32::MAX), || Ok::<_, PushError>(Micros(7)));
        assert_eq!(long, Err(PushError::Length));
    }

    #[test]
    fn every_flipped_byte_of_an_index_file_is_noticed() {
        let index = index(&[9000; 9], &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let bytes = index.encode(Uuid([3; 16]));
        assert_eq!(SegmentIndex::decode(&bytes, Uuid([3; 16])), Ok(index));
        assert_eq!(
            SegmentIndex::decode(&bytes, Uuid([4; 16])),
            Err(IndexError::Log)
        );
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert!(
                SegmentIndex::decode(&bytes, Uuid([3; 16])).is_err(),
                "byte {at}"
            );
            assert!(
                SegmentIndex::decode(&bytes[..at], Uuid([3; 16])).is_err(),
                "cut at {at}"
            );
        }
    }

    #[test]
    fn points_out_of_order_are_refused_even_with_a_good_checksum() {
        let mut wrong = index(&[20_000; 3], &[1, 2, 3]);
        wrong.points[1].time = Micros(9);
        let bytes = wrong.encode(Uuid::default());
        assert_eq!(
            SegmentIndex::decode(&bytes, Uuid::default()),
            Err(IndexError::Order)
        );
        let mut empty = SegmentIndex::new(Seq(5), 600);
        let bytes = empty.encode(Uuid::default());
        assert_eq!(
            SegmentIndex::decode(&bytes, Uuid::default()).as_ref(),
            Ok(&empty)
        );
        empty.next = Seq(6);
        let bytes = empty.encode(Uuid::default());
        assert_eq!(
            SegmentIndex::decode(&bytes, Uuid::default()),
            Err(IndexError::Order)
        );
    }

    proptest! {
        #[test]
        fn places_are_true_and_near(
            lengths in proptest::collection::vec(140_u32..40_000, 1..200),
            gaps in proptest::collection::vec(0_u64..3, 200),
            seq in 90_u64..320, time in 0_u64..400,
        ) {
            let times = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) });
            let times: Vec<u64> = times.collect();
            let index = index(&lengths, &times);
            let mut offsets = vec![700_u64];
            for length in &lengths {
                offsets.push(offsets[offsets.len() - 1] + u64::from(*length));
            }
            let place = index.at_or_before(Seq(seq));
            prop_assert_eq!(place.offset, offsets[(place.seq.0 - 100) as usize]);
            let at = (seq.max(100) - 100).min(lengths.len() as u64) as usize;
            prop_assert!(offsets[at] - place.offset < INDEX_STRIDE_BYTES + 40_000);
            let place = index.before(Micros(time));
            let older = times[..lengths.len()].partition_point(|at| *at < time);
            prop_assert!(place.seq.0 - 100 <= older as u64);
            prop_assert_eq!(place.offset, offsets[(place.seq.0 - 100) as usize]);
        }
    }
}
