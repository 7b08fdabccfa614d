//! Which file holds which seqs of one buffer, and how far readers may see.
//!
//! Invariant: the segments' first seqs rise; everything from `first` through `commit` is in one of
//! them.

use hbuf_core::ids::Seq;

/// A segment file, as the engine found or made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SegmentAt {
    /// Its first seq, which names the file.
    pub first: Seq,
    /// Its valid length, the head line included.
    pub bytes: u64,
}

/// What readers know about the files of a buffer.
#[derive(Debug)]
pub(super) struct Layout {
    first: Seq,
    commit: Seq,
    parts: Vec<Part>,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    first: Seq,
    bytes: u64,
    /// Its length is final and its bytes never change: `bytes` is where the file ends.
    sealed: bool,
    /// Recovery could not use it, or did not find it.
    unreadable: bool,
}

/// Why no file holds a seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoView {
    /// Retention dropped it; the first seq that is left.
    Dropped(Seq),
    /// Recovery could not use the file of this first seq.
    Unreadable(Seq),
}

/// The part of one file that a reader may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// First seq of the file.
    pub(super) file: Seq,
    /// The last seq in it that is committed.
    pub(super) last: Seq,
    /// The first seq of the next file, when there is one.
    pub(super) next_file: Option<Seq>,
    /// What is known of its length; the file may be longer while it is open.
    pub(super) bytes: u64,
    /// Whether the file is sealed: trusted, with the index beside it.
    pub(super) sealed: bool,
}

impl Layout {
    pub(super) fn new(first: Seq, commit: Seq, segments: &[SegmentAt]) -> Self {
        assert!(
            segments.is_sorted_by(|a, b| a.first < b.first),
            "segments in order"
        );
        let last = segments.len().saturating_sub(1);
        let part = |(at, segment): (usize, &SegmentAt)| Part {
            first: segment.first,
            bytes: segment.bytes,
            sealed: at < last,
            unreadable: false,
        };
        Self {
            first,
            commit,
            parts: segments.iter().enumerate().map(part).collect(),
        }
    }

    pub(super) fn rolled(&mut self, segment: SegmentAt) {
        let SegmentAt { first, bytes } = segment;
        let last = self.parts.last().map(|part| part.first);
        assert!(
            last.is_none_or(|last| last < first),
            "a segment begins behind the one before"
        );
        self.parts.push(Part {
            first,
            bytes,
            sealed: false,
            unreadable: false,
        });
    }

    /// From `first` to the next file, or to the end, nothing can be read.
    pub(super) fn unreadable(&mut self, first: Seq) {
        let part = Part {
            first,
            bytes: 0,
            sealed: true,
            unreadable: true,
        };
        match self.parts.binary_search_by_key(&first, |part| part.first) {
            Ok(at) => self.parts[at] = part,
            Err(at) => self.parts.insert(at, part),
        }
        // The one before it takes no more.
        let at = self.parts.partition_point(|part| part.first < first);
        if let Some(before) = at.checked_sub(1) {
            self.parts[before].sealed = true;
        }
    }

    pub(super) fn committed(&mut self, commit: Seq, file: Seq, offset: u64) {
        assert!(commit >= self.commit, "the commit never falls");
        self.commit = commit;
        if let Ok(at) = self.parts.binary_search_by_key(&file, |part| part.first) {
            self.parts[at].bytes = self.parts[at].bytes.max(offset);
        }
    }

    pub(super) fn sealed(&mut self, file: Seq, bytes: u64) {
        if let Ok(at) = self.parts.binary_search_by_key(&file, |part| part.first) {
            self.parts[at] = Part {
                first: file,
                bytes,
                sealed: true,
                unreadable: false,
            };
        }
    }

    /// Forgets the files that end below `keep_from`.
    pub(super) fn dropped(&mut self, keep_from: Seq) {
        self.first = self.first.max(keep_from);
        let kept = self.parts.partition_point(|part| part.first <= keep_from);
        self.parts.drain(..kept.saturating_sub(1));
    }

    /// The file that holds `seq`; `None` when it is not committed.
    pub(super) fn view(&self, seq: Seq) -> Result<Option<View>, NoView> {
        if seq < self.first {
            return Err(NoView::Dropped(self.first));
        }
        if seq > self.commit {
            return Ok(None);
        }
        let behind = self.parts.partition_point(|part| part.first <= seq);
        match behind.checked_sub(1) {
            Some(at) if self.parts[at].unreadable => Err(NoView::Unreadable(self.parts[at].first)),
            Some(at) => Ok(Some(self.at(at))),
            None => Err(NoView::Dropped(
                self.parts
                    .first()
                    .map_or_else(|| self.commit.next(), |part| part.first),
            )),
        }
    }

    /// The views of all files that hold something committed, oldest first.
    pub(super) fn views(&self) -> impl Iterator<Item = View> + '_ {
        let all = (0..self.parts.len()).map(|at| self.at(at));
        all.filter(|view| view.file <= view.last && view.last >= self.first)
    }

    /// First seq of the oldest file.
    pub(super) fn oldest(&self) -> Option<Seq> {
        self.parts.first().map(|part| part.first)
    }

    pub(super) const fn first(&self) -> Seq {
        self.first
    }

    fn at(&self, at: usize) -> View {
        let Part {
            first,
            bytes,
            sealed,
            ..
        } = self.parts[at];
        let next_file = self.parts.get(at + 1).map(|part| part.first);
        let last = next_file.map_or(self.commit, |next| next.prev().min(self.commit));
        View {
            file: first,
            last,
            next_file,
            bytes,
            sealed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(first: u64, bytes: u64) -> SegmentAt {
        SegmentAt {
            first: Seq(first),
            bytes,
        }
    }

    fn check(layout: &Layout, seq: u64, expected: Result<Option<(u64, u64)>, u64>) {
        let view = layout.view(Seq(seq)).map_err(|no| match no {
            NoView::Dropped(first) => first.0,
            NoView::Unreadable(first) => panic!("{first} can be read"),
        });
        assert_eq!(
            view.map(|view| view.map(|view| (view.file.0, view.last.0))),
            expected
        );
    }

    #[test]
    fn a_seq_is_in_the_last_file_that_starts_at_or_before_it() {
        let mut layout = Layout::new(Seq(11), Seq(35), &[at(11, 500), at(21, 600), at(31, 700)]);
        check(&layout, 10, Err(11));
        check(&layout, 11, Ok(Some((11, 20))));
        check(&layout, 30, Ok(Some((21, 30))));
        check(&layout, 31, Ok(Some((31, 35))));
        check(&layout, 36, Ok(None));
        layout.rolled(at(41, 90));
        check(&layout, 36, Ok(None));
        layout.committed(Seq(44), Seq(41), 200);
        check(&layout, 36, Ok(Some((31, 40))));
        check(&layout, 41, Ok(Some((41, 44))));
    }

    #[test]
    fn dropped_files_are_gone_and_the_one_with_the_kept_seq_stays() {
        let mut layout = Layout::new(Seq(1), Seq(35), &[at(1, 500), at(21, 600), at(31, 700)]);
        layout.dropped(Seq(21));
        check(&layout, 20, Err(21));
        check(&layout, 21, Ok(Some((21, 30))));
        assert_eq!(layout.oldest(), Some(Seq(21)));
        layout.rolled(at(36, 90));
        layout.dropped(Seq(36));
        check(&layout, 35, Err(36));
        check(&layout, 36, Ok(None));
        assert_eq!(layout.views().count(), 0);
    }

    #[test]
    fn what_recovery_could_not_read_is_neither_dropped_nor_in_the_file_before() {
        let mut layout = Layout::new(Seq(5), Seq(35), &[at(11, 500), at(31, 700)]);
        layout.unreadable(Seq(5));
        layout.unreadable(Seq(21));
        check(&layout, 4, Err(5));
        check(&layout, 20, Ok(Some((11, 20))));
        check(&layout, 31, Ok(Some((31, 35))));
        for (seq, first) in [(5, 5), (10, 5), (21, 21), (30, 21)] {
            let expected = Err(NoView::Unreadable(Seq(first)));
            assert_eq!(layout.view(Seq(seq)), expected, "{seq}");
        }
        layout.unreadable(Seq(31));
        assert_eq!(layout.view(Seq(35)), Err(NoView::Unreadable(Seq(31))));
        check(&layout, 36, Ok(None));
    }

    #[test]
    fn a_buffer_without_files_has_nothing_to_see() {
        let layout = Layout::new(Seq(1), Seq(0), &[]);
        check(&layout, 1, Ok(None));
        assert_eq!(layout.oldest(), None);
    }
}
