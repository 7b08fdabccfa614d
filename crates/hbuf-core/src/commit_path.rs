//! Which way a batch of the commit pipeline takes to the disk: straight into the segments, or
//! through the journal.
//!
//! Syncs of different files overlap only so far: a sync for each of many buffers is hundreds of
//! times slower than one sync of a shared journal, while for few buffers the journal would write
//! every byte twice for nothing.
//!
//! What the journal holds durably need not be in its segments at once: it waits in memory, so that
//! several appends to a segment become one write. [`Deferral`] says for how long.

use crate::limits::{JOURNAL_BODY_BYTES_MAX, UNWRITTEN_BYTES_MAX, UNWRITTEN_MICROS_MAX};

/// What one batch of the pipeline wants to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Load {
    /// Files that the batch appends to.
    pub files: usize,
    /// Bytes of all of them.
    pub bytes: u64,
    /// More journaled bytes wait for their segments than may: [`Deferral::is_full`].
    pub full: bool,
}

/// The way of a batch. Per buffer a batch is wholly direct or wholly journaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// Write the segments and sync each.
    Direct,
    /// Write journal entries and sync once; the segments are written later, from memory.
    Journal,
}

/// Journaled bytes of a disk that its segments lack. They are durable, so nothing waits for their
/// writing; it must come before anything that looks at the segments: a reader, a direct batch of
/// the same buffer, a mark, a cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Unwritten {
    /// All of them.
    pub bytes: u64,
    /// How long the oldest of them wait, in microseconds.
    pub micros: u64,
}

/// For how long journaled bytes may wait for their segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Deferral {
    /// Most bytes; one batch may exceed it.
    pub bytes_max: u64,
    /// Longest time, in microseconds.
    pub micros_max: u64,
}

impl Default for Deferral {
    fn default() -> Self {
        Self {
            bytes_max: UNWRITTEN_BYTES_MAX,
            micros_max: UNWRITTEN_MICROS_MAX,
        }
    }
}

impl Deferral {
    /// Whether to write them now. At half the bound, so that the pipeline need not wait.
    #[must_use]
    pub const fn is_due(&self, unwritten: Unwritten) -> bool {
        let long = unwritten.micros >= self.micros_max;
        unwritten.bytes > 0 && (long || unwritten.bytes >= self.bytes_max / 2)
    }

    /// Whether the pipeline must write some before it takes its next batch.
    #[must_use]
    pub const fn is_full(&self, unwritten: Unwritten) -> bool {
        unwritten.bytes > self.bytes_max
    }
}

/// Zeros behind the end of a file of the cursors log that is synced often: the syncs of what comes
/// next change neither its size nor its extents, as in a pre-written segment. Such a file is small,
/// and begins anew often, so it is written ahead in place and piece by piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ahead {
    /// Direct syncs of the file after which it is worth it: of a file that is written once a day
    /// the zeros would be most of it.
    pub syncs: u64,
    /// Zeros at a time.
    pub bytes: u64,
}

impl Default for Ahead {
    fn default() -> Self {
        Self {
            syncs: 16,
            bytes: 64 << 10,
        }
    }
}

impl Ahead {
    /// How many zeros to write behind `end`, where what was just written ends. `written`: where the
    /// zeros end that were written before.
    #[must_use]
    pub const fn zeros(&self, syncs: u64, end: u64, written: u64) -> u64 {
        if syncs >= self.syncs && end > written {
            self.bytes
        } else {
            0
        }
    }
}

/// The bounds of the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Choice {
    /// Up to this many files a batch is direct; 0 journals all that the journal may take.
    pub direct_files_max: usize,
    /// From this many bytes a file on, writing twice costs more than a sync: such batches stay
    /// direct.
    pub direct_bytes_per_file: u64,
}

impl Default for Choice {
    fn default() -> Self {
        Self {
            direct_files_max: 4,
            direct_bytes_per_file: 1 << 20,
        }
    }
}

impl Choice {
    /// Chooses the way of one batch.
    #[must_use]
    pub fn path(&self, load: Load) -> Path {
        if load.files <= self.direct_files_max || load.bytes > JOURNAL_BODY_BYTES_MAX {
            return Path::Direct;
        }
        // Segments that found no room, or the pipeline would have written them: the next write of
        // one says so to its append, instead of the journal taking ever more of what waits.
        if load.full {
            return Path::Direct;
        }
        let large = load.bytes / load.files as u64 >= self.direct_bytes_per_file;
        if large && self.direct_files_max > 0 {
            Path::Direct
        } else {
            Path::Journal
        }
    }

    /// Whether a buffer that syncs its growing segment so often should move to a pre-written one:
    /// a small sync into such a file is about 1.6 times as fast, for it changes no size or extent.
    #[must_use]
    pub const fn wants_prewritten(syncs_of_segment: u64, prewritten: bool) -> bool {
        !prewritten && syncs_of_segment >= HOT_SYNCS
    }
}

/// Direct syncs of one growing segment after which its buffer counts as hot.
pub const HOT_SYNCS: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_turns_exactly_at_its_bounds() {
        let choice = Choice {
            direct_files_max: 4,
            direct_bytes_per_file: 1000,
        };
        let load = |files, bytes| Load {
            files,
            bytes,
            full: false,
        };
        let path = |files, bytes| choice.path(load(files, bytes));
        assert_eq!(path(4, 10), Path::Direct);
        assert_eq!(path(5, 10), Path::Journal);
        assert_eq!(path(5, 4_999), Path::Journal);
        assert_eq!(path(5, 5_000), Path::Direct);
        assert_eq!(path(5, JOURNAL_BODY_BYTES_MAX + 1), Path::Direct);
    }

    #[test]
    fn both_paths_can_be_forced() {
        let journal = Choice {
            direct_files_max: 0,
            direct_bytes_per_file: 1,
        };
        let load = Load {
            files: 1,
            bytes: 1 << 20,
            full: false,
        };
        assert_eq!(journal.path(load), Path::Journal);
        let direct = Choice {
            direct_files_max: usize::MAX,
            direct_bytes_per_file: 1,
        };
        let load = Load {
            files: 100_000,
            bytes: 1,
            full: false,
        };
        assert_eq!(direct.path(load), Path::Direct);
    }

    #[test]
    fn nothing_more_is_journaled_while_more_than_the_bound_waits_for_its_segments() {
        let path = |full| {
            Choice::default().path(Load {
                files: 64,
                bytes: 64,
                full,
            })
        };
        assert_eq!(path(false), Path::Journal);
        assert_eq!(path(true), Path::Direct);
    }

    #[test]
    fn what_waits_is_written_after_its_time_or_at_half_its_bound() {
        let deferral = Deferral::default();
        let due = |bytes, micros| deferral.is_due(Unwritten { bytes, micros });
        assert!(!due(0, u64::MAX));
        assert!(!due(1, UNWRITTEN_MICROS_MAX - 1));
        assert!(due(1, UNWRITTEN_MICROS_MAX));
        assert!(!due(UNWRITTEN_BYTES_MAX / 2 - 1, 0));
        assert!(due(UNWRITTEN_BYTES_MAX / 2, 0));
        let full = |bytes| deferral.is_full(Unwritten { bytes, micros: 0 });
        assert!(!full(UNWRITTEN_BYTES_MAX));
        assert!(full(UNWRITTEN_BYTES_MAX + 1));
    }

    #[test]
    fn a_file_that_is_synced_often_is_written_ahead_whenever_it_would_grow() {
        let ahead = Ahead {
            syncs: 3,
            bytes: 100,
        };
        assert_eq!(ahead.zeros(2, 50, 0), 0, "it is not synced often yet");
        assert_eq!(ahead.zeros(3, 50, 0), 100);
        assert_eq!(ahead.zeros(4, 150, 150), 0, "it fits what was written");
        assert_eq!(ahead.zeros(5, 151, 150), 100);
    }

    #[test]
    fn a_buffer_is_hot_from_the_bound_on() {
        assert!(!Choice::wants_prewritten(HOT_SYNCS - 1, false));
        assert!(Choice::wants_prewritten(HOT_SYNCS, false));
        assert!(!Choice::wants_prewritten(HOT_SYNCS, true));
    }
}
