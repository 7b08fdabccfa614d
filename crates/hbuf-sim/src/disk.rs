//! A disk that keeps only what was synced, and of the rest whatever it likes.
//!
//! Every file has two contents: what the page cache shows, and what is stable. A sync makes the two
//! equal. A crash goes through the writes that were not synced and keeps each of them whole, in
//! part or not at all, in any order; names that were not synced may be missing or come back.

use std::collections::BTreeMap;
use std::rc::Rc;

use hbuf_core::ids::Seq;
use hbuf_core::mark::{self, Mark, SLOT_LEN};

use crate::draw::{Draw, Draws, Purpose};

/// Bytes that a disk writes at once or not at all.
const SECTOR: usize = 512;

/// A directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Directory {
    /// A buffer's own.
    Buffer(usize),
    /// That of its cursors log.
    Cursors(usize),
    /// That of its stored filters.
    Filters(usize),
    /// The journal's.
    Journal,
}

/// A name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Name {
    /// The segment of a buffer that starts with this seq.
    Segment(usize, Seq),
    /// The file of a buffer's cursors log that starts with this seq.
    Cursors(usize, Seq),
    /// A buffer's mark.
    Mark(usize),
    /// A buffer's tables that were written with this generation of the mark.
    Tables(usize, u64),
    /// Journal entries that a damaged buffer's log could not take.
    Unapplied(usize),
    /// What is to become it.
    UnfinishedUnapplied(usize),
    /// The journal file that starts with this position.
    Journal(Seq),
    /// A buffer's stored filter of this number.
    Filter(usize, u64),
    /// What is to become it.
    FilterUpload(usize, u64),
}

impl Name {
    pub(crate) const fn directory(self) -> Directory {
        match self {
            Self::Segment(buffer, _)
            | Self::Mark(buffer)
            | Self::Tables(buffer, _)
            | Self::Unapplied(buffer)
            | Self::UnfinishedUnapplied(buffer) => Directory::Buffer(buffer),
            Self::Cursors(buffer, _) => Directory::Cursors(buffer),
            Self::Journal(_) => Directory::Journal,
            Self::Filter(buffer, _) | Self::FilterUpload(buffer, _) => Directory::Filters(buffer),
        }
    }

    /// The buffer to whose messages or cursors the file belongs.
    pub(crate) const fn log_of(self) -> Option<usize> {
        match self {
            Self::Segment(buffer, _) | Self::Cursors(buffer, _) => Some(buffer),
            _ => None,
        }
    }

    /// What kind of file it is.
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::Segment(..) => "segment",
            Self::Cursors(..) => "cursors",
            Self::Mark(_) => "mark",
            Self::Tables(..) => "tables",
            Self::Unapplied(_) | Self::UnfinishedUnapplied(_) => "unapplied",
            Self::Journal(_) => "journal",
            Self::Filter(..) => "filter",
            Self::FilterUpload(..) => "upload",
        }
    }

    pub(crate) const fn buffer(self) -> Option<usize> {
        match self.directory() {
            Directory::Buffer(buffer) | Directory::Cursors(buffer) | Directory::Filters(buffer) => {
                Some(buffer)
            }
            Directory::Journal => None,
        }
    }
}

/// Why the disk did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskError {
    /// There is no room.
    Full,
    /// The sync failed.
    Sync,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Rc<[u8]> },
    SetLen(usize),
}

#[derive(Clone, Debug, Default)]
struct File {
    cached: Vec<u8>,
    stable: Vec<u8>,
    /// Not synced yet, with the number of the change over all files.
    pending: Vec<(u64, Change)>,
}

#[derive(Clone, Copy, Debug)]
struct NameChange {
    number: u64,
    name: Name,
    inode: Option<u64>,
    /// The name that it had before.
    from: Option<Name>,
}

/// What a loss of power takes of what was not synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PowerLoss {
    /// Chance decides of each write and each name.
    #[default]
    Chance,
    /// All of it.
    All,
    /// A part of the last write; the rest is kept.
    EndOfLast,
}

/// What a crash did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    pub(crate) torn: u64,
    pub(crate) lost: u64,
    pub(crate) reordered: u64,
    pub(crate) names: u64,
}

/// The disk of one node.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    files: BTreeMap<u64, File>,
    names: BTreeMap<Name, u64>,
    stable_names: BTreeMap<Name, u64>,
    pending_names: Vec<NameChange>,
    next_inode: u64,
    changes: u64,
    used: u64,
    capacity: u64,
}

impl Disk {
    pub(crate) const fn new() -> Self {
        Self {
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            stable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            next_inode: 1,
            changes: 0,
            used: 0,
            capacity: u64::MAX,
        }
    }

    /// From now on only so many further bytes fit; `None` for as many as one likes.
    pub(crate) const fn limit(&mut self, room: Option<u64>) {
        self.capacity = match room {
            Some(room) => self.used.saturating_add(room),
            None => u64::MAX,
        };
    }

    /// Whether as many bytes fit as one likes.
    pub(crate) const fn has_room(&self) -> bool {
        self.capacity == u64::MAX
    }

    pub(crate) fn exists(&self, name: Name) -> bool {
        self.names.contains_key(&name)
    }

    /// What a reader sees.
    pub(crate) fn read(&self, name: Name) -> Option<&Vec<u8>> {
        self.names
            .get(&name)
            .and_then(|inode| self.files.get(inode))
            .map(|file| &file.cached)
    }

    /// The newer good slot of a buffer's mark.
    pub(crate) fn mark(&self, buffer: usize) -> Option<Mark> {
        let mut slots = self.read(Name::Mark(buffer))?.clone();
        slots.resize(2 * SLOT_LEN, 0);
        let (a, b) = slots.split_at(SLOT_LEN);
        mark::choose(a, b).ok().flatten()
    }

    /// The names from `from` to `to`, in order.
    pub(crate) fn names(&self, from: Name, to: Name) -> impl Iterator<Item = Name> {
        self.names.range(from..=to).map(|(name, _)| *name)
    }

    /// Writes into the page cache; makes the file when it does not exist.
    pub(crate) fn write(&mut self, name: Name, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let at = usize::try_from(offset).expect("files of a simulation are small");
        let end = at + bytes.len();
        let length = self.read(name).map_or(0, Vec::len);
        let growth = end.saturating_sub(length) as u64;
        if growth > 0 && self.used.saturating_add(growth) > self.capacity {
            return Err(DiskError::Full);
        }
        self.used += growth;
        let file = self.make(name);
        if file.cached.len() < end {
            file.cached.resize(end, 0);
        }
        file.cached[at..end].copy_from_slice(bytes);
        self.note(
            name,
            Change::Write {
                offset: at,
                bytes: bytes.into(),
            },
        );
        Ok(())
    }

    /// Gives a file another length in the page cache.
    pub(crate) fn set_len(&mut self, name: Name, length: u64) {
        let length = usize::try_from(length).expect("files of a simulation are small");
        let file = self.make(name);
        let before = file.cached.len();
        file.cached.resize(length, 0);
        self.used = (self.used + length as u64).saturating_sub(before as u64);
        self.note(name, Change::SetLen(length));
    }

    /// Takes a name away.
    pub(crate) fn remove(&mut self, name: Name) {
        if let Some(inode) = self.names.remove(&name) {
            let length = self.files.get(&inode).map_or(0, |file| file.cached.len());
            self.used = self.used.saturating_sub(length as u64);
            self.name_changed(name, None, None);
        }
    }

    /// Gives a file another name, in the place of the file that has it: a crash leaves both as they
    /// were, or neither.
    pub(crate) fn rename(&mut self, from: Name, to: Name) {
        let inode = self.names.remove(&from).expect("it has this name");
        if let Some(gone) = self.names.insert(to, inode) {
            let length = self.files.get(&gone).map_or(0, |file| file.cached.len());
            self.used = self.used.saturating_sub(length as u64);
        }
        self.name_changed(to, Some(inode), Some(from));
    }

    /// Makes a file's bytes durable. With `fail`, what was not synced is kept or not as a crash
    /// would, and from then on counts as synced: that is what Linux does.
    pub(crate) fn sync(&mut self, name: Name, fail: Option<&Draws>) -> Result<(), DiskError> {
        let Some(inode) = self.names.get(&name) else {
            return Ok(());
        };
        let file = self.files.get_mut(inode).expect("a name leads to a file");
        if let Some(draws) = fail {
            file.lose(*inode, draws, &mut Losses::default());
            return Err(DiskError::Sync);
        }
        if !file.pending.is_empty() {
            file.settle();
        }
        Ok(())
    }

    /// Makes a directory's names durable.
    pub(crate) fn sync_names(&mut self, directory: Directory) {
        let stable = &mut self.stable_names;
        self.pending_names.retain(|change| {
            if change.name.directory() != directory {
                return true;
            }
            apply_name(stable, change);
            false
        });
    }

    /// Whether the file and its name would outlive a crash as they are. After a failed sync nothing
    /// is pending, and the cache may still show more than the disk has.
    pub(crate) fn is_durable(&self, name: Name) -> bool {
        let inode = self.names.get(&name);
        inode == self.stable_names.get(&name)
            && inode
                .and_then(|inode| self.files.get(inode))
                .is_some_and(|file| file.pending.is_empty() && file.cached == file.stable)
    }

    /// Power goes: the page cache is gone, and what was not synced is kept, torn or lost.
    pub(crate) fn crash(&mut self, draws: &Draws) -> Losses {
        self.lose_power(draws, PowerLoss::Chance)
    }

    /// The same, with a choice of what is lost.
    pub(crate) fn lose_power(&mut self, draws: &Draws, loss: PowerLoss) -> Losses {
        let mut losses = Losses::default();
        let last = self.files.values().filter_map(File::last_write).max();
        for (inode, file) in &mut self.files {
            match loss {
                PowerLoss::Chance => file.lose(*inode, draws, &mut losses),
                PowerLoss::All => losses.lost += std::mem::take(&mut file.pending).len() as u64,
                PowerLoss::EndOfLast => {
                    file.tear_write(last, draws.draw(Purpose::Crash, *inode, 0), &mut losses);
                }
            }
            file.cached.clone_from(&file.stable);
        }
        match loss {
            PowerLoss::Chance => self.lose_names(draws, &mut losses),
            PowerLoss::All => losses.names += std::mem::take(&mut self.pending_names).len() as u64,
            PowerLoss::EndOfLast => {
                for change in std::mem::take(&mut self.pending_names) {
                    apply_name(&mut self.stable_names, &change);
                }
            }
        }
        self.names.clone_from(&self.stable_names);
        let named: Vec<u64> = self.names.values().copied().collect();
        self.files.retain(|inode, _| named.contains(inode));
        self.used = self
            .files
            .values()
            .map(|file| file.cached.len() as u64)
            .sum();
        losses
    }

    /// Of the changes of one name, the first so many are kept: a directory is written in order.
    fn lose_names(&mut self, draws: &Draws, losses: &mut Losses) {
        let mut lost: Vec<Name> = Vec::new();
        for change in std::mem::take(&mut self.pending_names) {
            let draw = draws.draw(Purpose::Crash, u64::MAX, change.number);
            let gone = |name: &Name| lost.contains(name);
            if gone(&change.name) || change.from.as_ref().is_some_and(gone) || draw.percent(50) {
                lost.push(change.name);
                losses.names += 1;
            } else {
                apply_name(&mut self.stable_names, &change);
            }
        }
    }

    /// Flips a bit of a stable byte; `false` when it is not there or not stable.
    pub(crate) fn rot(&mut self, name: Name, at: u64) -> bool {
        if !self.is_durable(name) {
            return false;
        }
        let file = self
            .names
            .get(&name)
            .and_then(|inode| self.files.get_mut(inode));
        let at = usize::try_from(at).expect("files of a simulation are small");
        let Some(file) = file.filter(|file| at < file.stable.len()) else {
            return false;
        };
        file.stable[at] ^= 1;
        file.cached[at] ^= 1;
        true
    }

    /// A copy of a buffer's files, as a person's tool would make.
    pub(crate) fn copy_of(&self, buffer: usize) -> Vec<(Name, Vec<u8>)> {
        let named = self
            .names
            .iter()
            .filter(|(name, _)| name.buffer() == Some(buffer));
        named
            .map(|(name, inode)| (*name, self.files[inode].cached.clone()))
            .collect()
    }

    /// Puts such a copy in the place of what is there, durably.
    pub(crate) fn replace(&mut self, buffer: usize, files: &[(Name, Vec<u8>)]) {
        let present: Vec<Name> = self
            .names
            .keys()
            .copied()
            .filter(|name| name.buffer() == Some(buffer))
            .collect();
        present.into_iter().for_each(|name| self.remove(name));
        for (name, bytes) in files {
            self.replace_file(*name, bytes);
        }
        self.sync_names(Directory::Buffer(buffer));
        self.sync_names(Directory::Cursors(buffer));
        self.sync_names(Directory::Filters(buffer));
    }

    /// Gives a file this content, durably. A person sees to it that there is room.
    pub(crate) fn replace_file(&mut self, name: Name, bytes: &[u8]) {
        self.set_len(name, 0);
        let capacity = std::mem::replace(&mut self.capacity, u64::MAX);
        self.write(name, 0, bytes).expect("there is room");
        self.capacity = capacity;
        self.sync(name, None).expect("this sync does not fail");
    }

    fn make(&mut self, name: Name) -> &mut File {
        let inode = match self.names.get(&name) {
            Some(inode) => *inode,
            None => {
                let inode = self.next_inode;
                self.next_inode += 1;
                self.names.insert(name, inode);
                self.name_changed(name, Some(inode), None);
                inode
            }
        };
        self.files.entry(inode).or_default()
    }

    fn note(&mut self, name: Name, change: Change) {
        self.changes += 1;
        let number = self.changes;
        self.make(name).pending.push((number, change));
    }

    fn name_changed(&mut self, name: Name, inode: Option<u64>, from: Option<Name>) {
        self.changes += 1;
        self.pending_names.push(NameChange {
            number: self.changes,
            name,
            inode,
            from,
        });
    }
}

fn apply_name(names: &mut BTreeMap<Name, u64>, change: &NameChange) {
    if let Some(from) = change.from {
        names.remove(&from);
    }
    match change.inode {
        Some(inode) => names.insert(change.name, inode),
        None => names.remove(&change.name),
    };
}

impl File {
    /// Makes the stable content equal to the cached one.
    fn settle(&mut self) {
        for (_, change) in self.pending.drain(..) {
            apply(&mut self.stable, &change);
        }
    }

    /// The number of its last write that is not synced.
    fn last_write(&self) -> Option<u64> {
        let mut pending = self.pending.iter().rev();
        let last = pending.find(|(_, change)| matches!(change, Change::Write { .. }))?;
        Some(last.0)
    }

    /// Keeps all that is pending but the end of this write.
    fn tear_write(&mut self, torn: Option<u64>, draw: Draw, losses: &mut Losses) {
        for (number, change) in std::mem::take(&mut self.pending) {
            match change {
                Change::Write { offset, bytes } if Some(number) == torn => {
                    losses.torn += 1;
                    let kept = draw.below(bytes.len() as u64);
                    let kept = usize::try_from(kept).unwrap_or(0);
                    put(&mut self.stable, offset, &bytes[..kept]);
                }
                change => apply(&mut self.stable, &change),
            }
        }
    }

    /// Keeps of what is pending what a crash would keep.
    fn lose(&mut self, inode: u64, draws: &Draws, losses: &mut Losses) {
        let mut lost_before = false;
        for (number, change) in std::mem::take(&mut self.pending) {
            let draw = draws.draw(Purpose::Crash, inode, number);
            match (draw.below(4), change) {
                (0 | 1, _) => {
                    losses.lost += 1;
                    lost_before = true;
                    continue;
                }
                (2, Change::Write { offset, bytes }) => {
                    losses.torn += 1;
                    tear(&mut self.stable, offset, &bytes, draw.next());
                }
                (_, change) => apply(&mut self.stable, &change),
            }
            losses.reordered += u64::from(lost_before);
        }
    }
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, bytes } => put(content, *offset, bytes),
        Change::SetLen(length) => content.resize(*length, 0),
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

/// Keeps some of the sectors of a write: the first ones, or any of them.
fn tear(content: &mut Vec<u8>, offset: usize, bytes: &[u8], draw: Draw) {
    let prefix_only = draw.percent(50);
    // A prefix is long enough to hold a record now and then.
    let keeps = if prefix_only { 80 } else { 50 };
    let mut kept = draw;
    let mut at = 0;
    while at < bytes.len() {
        let end = ((offset + at) / SECTOR + 1) * SECTOR - offset;
        let end = end.min(bytes.len());
        kept = kept.next();
        if kept.percent(keeps) {
            put(content, offset + at, &bytes[at..end]);
        } else if prefix_only {
            return;
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Name = Name::Segment(0, Seq(1));

    fn with_name() -> Disk {
        let mut disk = Disk::new();
        disk.write(FILE, 0, b"").unwrap();
        disk.sync_names(Directory::Buffer(0));
        disk
    }

    #[test]
    fn what_was_synced_with_its_name_outlives_every_crash() {
        for seed in 0..200 {
            let mut disk = with_name();
            disk.write(FILE, 0, b"kept").unwrap();
            assert!(!disk.is_durable(FILE));
            disk.sync(FILE, None).unwrap();
            assert!(disk.is_durable(FILE));
            disk.write(FILE, 4, b"perhaps").unwrap();
            disk.crash(&Draws::new(seed));
            assert_eq!(&disk.read(FILE).unwrap()[..4], b"kept");
        }
    }

    #[test]
    fn crashes_lose_tear_and_reorder_what_was_not_synced() {
        let mut seen = Losses::default();
        for seed in 0..200 {
            let mut disk = with_name();
            for number in 0..4 {
                disk.write(FILE, number * 1_000, &[1; 1_000]).unwrap();
            }
            let losses = disk.crash(&Draws::new(seed));
            seen.torn += losses.torn;
            seen.lost += losses.lost;
            seen.reordered += losses.reordered;
        }
        assert!(
            seen.torn > 50 && seen.lost > 50 && seen.reordered > 50,
            "{seen:?}"
        );
    }

    #[test]
    fn a_name_that_was_not_synced_may_be_lost_with_its_synced_bytes() {
        let lost = (0..50).filter(|seed| {
            let mut disk = Disk::new();
            disk.write(FILE, 0, b"bytes").unwrap();
            disk.sync(FILE, None).unwrap();
            disk.crash(&Draws::new(*seed));
            !disk.exists(FILE)
        });
        assert!((10..40).contains(&lost.count()));
    }

    #[test]
    fn a_rename_that_was_not_synced_leaves_the_one_file_or_the_other_and_whole() {
        let (upload, name) = (Name::FilterUpload(0, 1), Name::Filter(0, 1));
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let mut disk = Disk::new();
            for bytes in [b"old", b"new"] {
                disk.write(upload, 0, bytes).unwrap();
                disk.sync(upload, None).unwrap();
                disk.rename(upload, name);
                if bytes == b"old" {
                    disk.sync_names(Directory::Filters(0));
                }
            }
            assert!(!disk.exists(upload));
            assert_eq!(disk.read(name).unwrap(), b"new");
            disk.crash(&Draws::new(seed));
            seen.insert(disk.read(name).unwrap().clone());
        }
        let both = [b"new".to_vec(), b"old".to_vec()];
        assert_eq!(seen, both.into());
    }

    #[test]
    fn a_failed_sync_counts_as_done_and_the_bytes_may_be_gone() {
        let gone = (0..50).filter(|seed| {
            let mut disk = with_name();
            disk.write(FILE, 0, b"bytes").unwrap();
            assert_eq!(
                disk.sync(FILE, Some(&Draws::new(*seed))),
                Err(DiskError::Sync)
            );
            assert_eq!(disk.sync(FILE, None), Ok(()));
            assert_eq!(disk.read(FILE).unwrap(), b"bytes");
            disk.crash(&Draws::new(seed + 1));
            disk.read(FILE).unwrap() != b"bytes"
        });
        assert!(gone.count() > 10);
    }

    #[test]
    fn a_full_disk_takes_what_fits_and_has_room_again_after_a_removal() {
        let mut disk = with_name();
        disk.write(FILE, 0, &[1; 100]).unwrap();
        disk.limit(Some(10));
        assert_eq!(disk.write(FILE, 100, &[1; 11]), Err(DiskError::Full));
        disk.replace_file(FILE, &[2; 200]);
        assert_eq!(disk.read(FILE).map(Vec::len), Some(200));
        assert_eq!(disk.write(FILE, 300, &[1; 111]), Err(DiskError::Full));
        disk.write(FILE, 100, &[1; 10]).unwrap();
        disk.write(FILE, 0, &[2; 110]).unwrap();
        disk.remove(FILE);
        disk.write(Name::Mark(0), 0, &[1; 100]).unwrap();
    }
}
