//! One file between the page cache and the disk.
//!
//! `volatile` is what every process reads. `stable` is what the disk surely holds. `pending` are
//! the changes in between, oldest first. A pending write holds *whole sectors as they were after
//! it*, because that is what a disk writes: a later version of a sector contains the earlier one,
//! so losing the earlier write and keeping the later one cannot leave a hole inside a sector.

use super::draw::Draws;
use super::pages::{Pages, SECTOR_BYTES};

/// A file's content on both sides of the power line.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileData {
    pub(crate) volatile: Pages,
    stable: Pages,
    pending: Vec<Change>,
}

/// One change that no sync has covered yet.
#[derive(Clone, Debug)]
struct Change {
    id: u64,
    kind: Kind,
    len_after: u64,
}

#[derive(Clone, Debug)]
enum Kind {
    Write { first_sector: u64, data: Snapshot },
    Resize,
    Reserve { offset: u64, len: u64 },
}

/// Whole sectors; zeros of any length cost nothing.
#[derive(Clone, Debug)]
enum Snapshot {
    Zeros(u64),
    Bytes(Vec<u8>),
}

impl Snapshot {
    fn sectors(&self) -> u64 {
        match self {
            Self::Zeros(sectors) => *sectors,
            Self::Bytes(bytes) => bytes.len() as u64 / SECTOR_BYTES,
        }
    }
}

/// How the unsynced changes of one file fare when the power goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// Nothing that was not synced reached the disk.
    Lost,
    /// Everything reached the disk.
    Kept,
    /// A prefix reached it in order, the last write of it torn at a sector.
    Prefix,
    /// Each write, and in some writes each sector, was decided alone.
    Scattered,
}

impl Fate {
    /// One fate of a class of changes (`purpose`) of one entity.
    pub(crate) fn draw(draws: Draws, purpose: &str, entity: u64) -> Self {
        match draws.below(8, purpose, entity, u64::MAX) {
            0..=2 => Self::Lost,
            3 => Self::Kept,
            4..=5 => Self::Prefix,
            _ => Self::Scattered,
        }
    }

    /// Whether change `index` of `count` survives.
    pub(crate) fn keeps(self, draws: Draws, purpose: &str, entity: u64, at: (u64, u64)) -> bool {
        let (index, count) = at;
        match self {
            Self::Lost => false,
            Self::Kept => true,
            Self::Prefix => index < draws.below(count + 1, purpose, entity, u64::MAX - 1),
            Self::Scattered => draws.chance(50, purpose, entity, index),
        }
    }
}

impl FileData {
    /// A file that is wholly on the disk already.
    pub(crate) fn durable(bytes: &[u8]) -> Self {
        let mut pages = Pages::default();
        pages.write(0, bytes);
        Self {
            volatile: pages.clone(),
            stable: pages,
            pending: Vec::new(),
        }
    }

    pub(crate) fn write(&mut self, id: u64, offset: u64, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        self.volatile.write(offset, data);
        let first_sector = offset / SECTOR_BYTES;
        let count = (offset + data.len() as u64).div_ceil(SECTOR_BYTES) - first_sector;
        let bytes = self.volatile.sectors(first_sector, count);
        let snapshot = if bytes.iter().all(|byte| *byte == 0) {
            Snapshot::Zeros(count)
        } else {
            Snapshot::Bytes(bytes)
        };
        self.push(
            id,
            Kind::Write {
                first_sector,
                data: snapshot,
            },
        );
    }

    pub(crate) fn set_len(&mut self, id: u64, len: u64) {
        self.volatile.set_len(len);
        self.push(id, Kind::Resize);
    }

    /// Allocates a range; the file grows over it unless `keep_len`.
    pub(crate) fn reserve(&mut self, id: u64, offset: u64, len: u64, keep_len: bool) {
        self.volatile.reserve(offset, len);
        if !keep_len && offset + len > self.volatile.len() {
            // Not `Pages::set_len`: it would drop the pages that were just reserved.
            self.volatile.grow(offset + len);
        }
        self.push(id, Kind::Reserve { offset, len });
    }

    fn push(&mut self, id: u64, kind: Kind) {
        self.pending.push(Change {
            id,
            kind,
            len_after: self.volatile.len(),
        });
    }

    /// Moves every change up to `upto` to the disk: what a successful fsync promises.
    pub(crate) fn sync(&mut self, upto: u64) {
        let later = self
            .pending
            .split_off(self.pending.partition_point(|c| c.id <= upto));
        for change in std::mem::replace(&mut self.pending, later) {
            apply(&mut self.stable, &change, |_| true);
            self.stable.set_len(change.len_after);
        }
    }

    /// A failed fsync as Linux has it: the pages count as clean and never reach the disk, while
    /// readers go on seeing them in the cache.
    pub(crate) fn forget_dirty(&mut self, upto: u64) {
        self.pending.retain(|change| change.id > upto);
    }

    /// Writes out of order: all are lost but the newest.
    pub(crate) fn forget_older_writes(&mut self) {
        let is_write = |change: &Change| matches!(change.kind, Kind::Write { .. });
        let newest = self.pending.iter().rev().find(|change| is_write(change));
        if let Some(newest) = newest.map(|change| change.id) {
            self.pending
                .retain(|change| !is_write(change) || change.id == newest);
        }
    }

    /// A lost shrink: what was written before it reached the disk, nothing from it on did.
    pub(crate) fn forget_from_shrink(&mut self) {
        let mut len = self.stable.len();
        let shrinks =
            |change: &Change| change.len_after < std::mem::replace(&mut len, change.len_after);
        if let Some(first) = self.pending.iter().position(shrinks) {
            self.pending.truncate(first);
        }
    }

    /// Damages the content on both sides.
    pub(crate) fn flip(&mut self, offset: u64, bit: u8) {
        self.volatile.flip(offset, bit);
        if offset < self.stable.len() {
            self.stable.flip(offset, bit);
        }
    }

    pub(crate) fn is_dirty(&self) -> bool {
        !self.pending.is_empty()
    }

    /// What the disk holds after the power went, by the draws of `ino`.
    ///
    /// Data and length travel apart: a length is in the file system's journal, in order, while data
    /// goes straight to its place. So a kept write behind a lost length is cut off, and a kept
    /// length over a lost write reads as zeros. A write beyond a shrink that was lost went to
    /// blocks that only the lost journal named, so it is lost too.
    pub(crate) fn surviving(&self, draws: Draws, ino: u64) -> Pages {
        let mut pages = self.stable.clone();
        let mut len = pages.len();
        let mut writable_end = u64::MAX;
        let data_fate = Fate::draw(draws, "data", ino);
        let count = self.pending.len() as u64;
        let lengths_kept = match Fate::draw(draws, "length", ino) {
            Fate::Lost => 0,
            Fate::Kept => count,
            Fate::Prefix | Fate::Scattered => draws.below(count + 1, "lengths", ino, 0),
        };
        for (index, change) in self.pending.iter().enumerate() {
            let index = index as u64;
            let keep = |sector: u64| {
                let whole = data_fate.keeps(draws, "write", ino, (index, count));
                let torn = draws.chance(30, "torn", ino, index);
                let this =
                    whole && (!torn || draws.chance(60, "sector", ino ^ index << 20, sector));
                this && sector * SECTOR_BYTES < writable_end
            };
            apply(&mut pages, change, keep);
            if index < lengths_kept {
                if matches!(change.kind, Kind::Resize) {
                    pages.set_len(change.len_after);
                }
                len = change.len_after;
            } else if matches!(change.kind, Kind::Resize) {
                writable_end = writable_end.min(change.len_after);
            }
        }
        pages.set_len(len);
        pages
    }
}

/// Puts the kept sectors of a change; lengths are the caller's.
fn apply(pages: &mut Pages, change: &Change, keep: impl Fn(u64) -> bool) {
    match &change.kind {
        Kind::Resize => {}
        Kind::Reserve { offset, len } => pages.reserve(*offset, *len),
        Kind::Write { first_sector, data } => {
            for index in 0..data.sectors() {
                if !keep(first_sector + index) {
                    continue;
                }
                let from = (index * SECTOR_BYTES) as usize;
                match data {
                    Snapshot::Zeros(_) => {
                        pages.put_sectors(first_sector + index, &[0; SECTOR_BYTES as usize]);
                    }
                    Snapshot::Bytes(bytes) => pages.put_sectors(
                        first_sector + index,
                        &bytes[from..from + SECTOR_BYTES as usize],
                    ),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survivors(file: &FileData) -> Vec<Vec<u8>> {
        (0..400)
            .map(|seed| {
                let pages = file.surviving(Draws::new(seed), 1);
                pages.read(0, pages.len())
            })
            .collect()
    }

    #[test]
    fn a_synced_write_survives_every_draw() {
        let mut file = FileData::default();
        file.write(1, 0, b"kept");
        file.sync(1);
        assert!(survivors(&file).iter().all(|bytes| bytes == b"kept"));
    }

    #[test]
    fn an_unsynced_write_is_kept_in_some_draws_and_lost_in_others() {
        let mut file = FileData::default();
        file.write(1, 0, b"kept");
        file.sync(1);
        file.write(2, 4, b"lost");
        let all = survivors(&file);
        assert!(all.iter().any(|bytes| bytes == b"keptlost"));
        assert!(all.iter().any(|bytes| bytes == b"kept"));
        assert!(all.iter().all(|bytes| bytes.starts_with(b"kept")));
    }

    #[test]
    fn a_sync_covers_only_what_was_written_before_it_began() {
        let mut file = FileData::default();
        file.write(1, 0, b"before");
        file.write(2, 6, b"after");
        file.sync(1);
        let all = survivors(&file);
        assert!(all.iter().all(|bytes| bytes.starts_with(b"before")));
        assert!(all.iter().any(|bytes| bytes == b"before"));
    }

    #[test]
    fn writes_tear_at_sectors_and_survive_out_of_order() {
        let mut file = FileData::default();
        file.write(1, 0, &[0; 4096]);
        file.sync(1);
        file.write(2, 0, &[1; 2048]);
        file.write(3, 2048, &[2; 2048]);
        let all = survivors(&file);
        let sectors = |bytes: &[u8]| -> Vec<u8> { bytes.chunks(512).map(|s| s[0]).collect() };
        assert!(
            all.iter()
                .all(|b| b.chunks(512).all(|s| s.iter().all(|x| *x == s[0])))
        );
        assert!(
            all.iter().any(|b| sectors(b) == [0, 0, 0, 0, 2, 2, 2, 2]),
            "out of order"
        );
        assert!(
            all.iter()
                .any(|b| sectors(b)[..4].windows(2).any(|w| w[0] != w[1])),
            "torn"
        );
    }

    #[test]
    fn a_later_write_to_a_sector_carries_the_earlier_one() {
        let mut file = FileData::default();
        file.write(1, 0, b"one");
        file.write(2, 3, b"two");
        for bytes in survivors(&file) {
            assert!(
                ["onetwo".as_bytes(), b"one", b"", b"\0\0\0", b"\0\0\0\0\0\0"]
                    .contains(&bytes.as_slice())
                    || bytes == b"one\0\0\0",
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn a_lost_shrink_brings_the_old_end_back_and_a_kept_one_never_shows_old_bytes() {
        let mut file = FileData::default();
        file.write(1, 0, &[9; 1024]);
        file.sync(1);
        file.set_len(2, 512);
        file.write(3, 512, &[7; 512]);
        let all = survivors(&file);
        assert!(all.iter().any(|b| b == &[9; 1024]));
        for bytes in &all {
            assert!(bytes.len() == 512 || bytes[512..].iter().all(|x| *x == bytes[512]));
        }
        assert!(all.iter().any(|b| b.len() == 1024 && b[512] == 0));
        assert!(all.iter().any(|b| b.len() == 1024 && b[512] == 7));
    }

    #[test]
    fn after_a_failed_sync_readers_see_bytes_that_the_disk_never_gets() {
        let mut file = FileData::default();
        file.write(1, 0, b"lost");
        file.forget_dirty(1);
        file.sync(1);
        assert_eq!(file.volatile.read(0, 4), b"lost");
        assert!(survivors(&file).iter().all(Vec::is_empty));
    }
}
