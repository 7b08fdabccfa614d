//! Which way a batch of the commit pipeline takes to the disk: straight into the segments, or
//! through the journal.
//!
//! Syncs of different files overlap only so far: a sync for each of many buffers is hundreds of
//! times slower than one sync of a shared journal, while for few buffers the journal would write
//! every byte twice for nothing.

use crate::limits::JOURNAL_BODY_BYTES_MAX;

/// What one batch of the pipeline wants to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Load {
    /// Files that the batch appends to.
    pub files: usize,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// The way of a batch. Per buffer a batch is wholly direct or wholly journaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// Write the segments and sync each.
    Direct,
    /// Write journal entries and sync once; segments follow through the page cache.
    Journal,
}

/// The bounds of the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Choice {
    /// Up to this many files a batch is direct; 0 journals everything.
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
        let path = |files, bytes| choice.path(Load { files, bytes });
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
        assert_eq!(
            journal.path(Load {
                files: 1,
                bytes: 1 << 20
            }),
            Path::Journal
        );
        let direct = Choice {
            direct_files_max: usize::MAX,
            direct_bytes_per_file: 1,
        };
        assert_eq!(
            direct.path(Load {
                files: 100_000,
                bytes: 1
            }),
            Path::Direct
        );
    }

    #[test]
    fn a_buffer_is_hot_from_the_bound_on() {
        assert!(!Choice::wants_prewritten(HOT_SYNCS - 1, false));
        assert!(Choice::wants_prewritten(HOT_SYNCS, false));
        assert!(!Choice::wants_prewritten(HOT_SYNCS, true));
    }
}
