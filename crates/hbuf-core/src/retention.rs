//! Which sealed segments may go: by age, by bytes, by count. Whole segments only.

use alloc::vec::Vec;

use crate::ids::{Micros, Seq};

/// What a buffer keeps. `None` means without bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Retention {
    /// Messages older than this many microseconds may go.
    pub age_micros: Option<u64>,
    /// The log may go down to this many bytes.
    pub bytes: Option<u64>,
    /// The log may go down to this many messages.
    pub count: Option<u64>,
}

impl Retention {
    /// True when nothing is ever dropped.
    #[must_use]
    pub const fn keeps_all(&self) -> bool {
        self.age_micros.is_none() && self.bytes.is_none() && self.count.is_none()
    }
}

/// One segment as retention sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SegmentFacts {
    /// Seq of its first message.
    pub first: Seq,
    /// Length in bytes, the head line included.
    pub bytes: u64,
    /// Server time of its last message.
    pub last_time: Micros,
}

/// What retention asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Drop {
    /// The first seq that stays.
    pub keep_from: Seq,
    /// True when the open segment has expired as well and must be rolled first.
    pub roll_open: bool,
}

/// Plans what to drop. `segments` are in order, the open one last; `end` is the log's last seq and
/// `commit` bounds what may go: nothing above it is ever dropped.
///
/// A bound is kept from above: a segment goes only if everything that would be left still reaches
/// the bound (bytes, count), or if its last message is older than the age.
#[must_use]
pub fn plan(
    keep: &Retention,
    segments: &[SegmentFacts],
    end: Seq,
    commit: Seq,
    now: Micros,
) -> Option<Drop> {
    let oldest = segments.first()?.first;
    let mut bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let mut keep_from = oldest;
    let mut roll_open = false;
    for (index, segment) in segments.iter().enumerate() {
        let last_segment = index + 1 == segments.len();
        let next = segments
            .get(index + 1)
            .map_or_else(|| end.next(), |next| next.first);
        let empty = next == segment.first;
        if next > commit.next() || empty {
            break;
        }
        let too_old = keep
            .age_micros
            .is_some_and(|age| now.since(segment.last_time) > age);
        // The open segment goes by age only: by size it would take messages that must stay.
        let too_large = keep.bytes.is_some_and(|max| bytes - segment.bytes >= max);
        let left = end.next().0 - next.0;
        let too_many = keep.count.is_some_and(|max| left >= max);
        if !(too_old || (!last_segment && (too_large || too_many))) {
            break;
        }
        bytes -= segment.bytes;
        keep_from = next;
        roll_open = last_segment;
    }
    (keep_from > oldest).then_some(Drop {
        keep_from,
        roll_open,
    })
}

/// Drops the segments that end below `keep_from`; the open one stays.
pub fn apply(segments: &mut Vec<SegmentFacts>, keep_from: Seq) {
    let gone = segments
        .windows(2)
        .take_while(|pair| pair[1].first <= keep_from)
        .count();
    segments.drain(..gone);
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const SECOND: u64 = 1_000_000;

    fn three() -> Vec<SegmentFacts> {
        vec![
            SegmentFacts {
                first: Seq(1),
                bytes: 100,
                last_time: Micros(10 * SECOND),
            },
            SegmentFacts {
                first: Seq(11),
                bytes: 100,
                last_time: Micros(20 * SECOND),
            },
            SegmentFacts {
                first: Seq(21),
                bytes: 50,
                last_time: Micros(30 * SECOND),
            },
        ]
    }

    fn planned(keep: Retention, now: u64, commit: u64) -> Option<(u64, bool)> {
        plan(&keep, &three(), Seq(25), Seq(commit), Micros(now * SECOND))
            .map(|drop| (drop.keep_from.0, drop.roll_open))
    }

    #[test]
    fn age_drops_whole_expired_segments_and_rolls_an_expired_open_one() {
        let keep = Retention {
            age_micros: Some(5 * SECOND),
            ..Retention::default()
        };
        assert_eq!(planned(keep, 15, 25), None);
        assert_eq!(planned(keep, 16, 25), Some((11, false)));
        assert_eq!(planned(keep, 26, 25), Some((21, false)));
        assert_eq!(planned(keep, 36, 25), Some((26, true)));
    }

    #[test]
    fn bytes_and_count_never_go_below_their_bound() {
        let bytes = |max| Retention {
            bytes: Some(max),
            ..Retention::default()
        };
        assert_eq!(planned(bytes(150), 0, 25), Some((11, false)));
        assert_eq!(planned(bytes(151), 0, 25), None);
        assert_eq!(planned(bytes(1), 0, 25), Some((21, false)));
        let count = |max| Retention {
            count: Some(max),
            ..Retention::default()
        };
        assert_eq!(planned(count(15), 0, 25), Some((11, false)));
        assert_eq!(planned(count(16), 0, 25), None);
        assert_eq!(planned(count(0), 0, 25), Some((21, false)));
    }

    #[test]
    fn nothing_above_the_commit_goes() {
        let keep = Retention {
            age_micros: Some(SECOND),
            ..Retention::default()
        };
        assert_eq!(planned(keep, 100, 9), None);
        assert_eq!(planned(keep, 100, 10), Some((11, false)));
        assert_eq!(planned(keep, 100, 24), Some((21, false)));
    }

    #[test]
    fn apply_keeps_the_open_segment() {
        let mut segments = three();
        apply(&mut segments, Seq(21));
        assert_eq!(segments.len(), 1);
        apply(&mut segments, Seq(26));
        assert_eq!(segments.len(), 1);
    }
}
